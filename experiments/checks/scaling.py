"""How a training step gets faster with threads: measured on the cores there are, and what limits it beyond.

`python -m experiments.checks.scaling [--networks lenet,vgg3] [--threads 1,2] [--rounds 5]`

Thread counts take turns in every round. The limit is Amdahl's, from the times of all instructions on one thread: what
one worker runs alone stays as it is, everything else is divided by the threads, and after it the team meets once. It
leaves out bandwidth, and that an op may have fewer tasks than there are threads: it says what cannot be passed, not
what would be reached. Last, the weights after some steps must have the same bits on all counts, 64 included.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cnncore
import numpy as np

import engine
from engine.cli import command_parser, run
from engine.errors import UserError
from experiments.checks.determinism import by_session, digits_for, require_team, weights_digest
from experiments.measuring.networks import Measured, chosen
from experiments.options import names

BEYOND = (4, 8, 16, 32, 64)  # threads of the modelled limits
MEETING = 1e-6  # seconds, of two cores; doubled with the threads: every worker writes to one line
WARM_UP, STEPS = 5, 8  # of a turn: once a worker had to sleep, the next meetings spin but briefly
TRAINED = 3  # steps before the bits are compared


@dataclass(frozen=True)
class Scaling:
    """Of one network: median seconds of a step and the digest of its weights by threads, and the limits beyond."""

    network: str
    batch: int
    seconds: Mapping[int, float]
    limits: Mapping[int, float]  # threads -> times as fast as one
    digests: Mapping[int, str]


def limit(seconds: Sequence[float], alone: frozenset[int], threads: int) -> float:
    """How many times as fast as one thread so many can be at most."""
    divided = [each for index, each in enumerate(seconds) if index not in alone]
    serial = sum(seconds) - sum(divided)
    meetings = len(divided) * MEETING * np.log2(threads)
    return float(sum(seconds) / (serial + sum(divided) / threads + meetings))


def measure(case: Measured, threads: Sequence[int], rounds: int) -> Scaling:
    """Steps of SGD on one random batch."""
    net = case.make()
    x, y = digits_for(net, case.batch)
    session = net.training_session(engine.CrossEntropy(), engine.SGD(lr=0.0), case.batch)
    plan, program = session.compiled.plan, session.compiled.program
    times: dict[int, list[float]] = {count: [] for count in threads}
    single: list[np.ndarray[tuple[int], np.dtype[np.float64]]] = []
    for each in range(-1, rounds):
        for count in threads:
            require_team(count)
            for step in range(WARM_UP + STEPS):
                session.step(x, y, 0.0, step, 0)
                if each >= 0 and step >= WARM_UP:
                    times[count].append(session.elapsed)
        require_team(1)
        parts = np.zeros(len(plan.instructions))
        program.run(case.batch, (x, y), seconds=parts)
        single.append(parts)
    medians = list(np.median(single[1:], axis=0))
    limits = {count: limit(medians, plan.alone, count) for count in BEYOND}
    counts = sorted({*threads, max(BEYOND)})
    return Scaling(
        case.name,
        case.batch,
        {count: float(np.median(values)) for count, values in times.items()},
        limits,
        {count: trained(case, count) for count in counts},
    )


def trained(case: Measured, threads: int) -> str:
    """The digest of the weights after some steps on so many threads."""
    require_team(threads)
    net = case.make()
    x, y = digits_for(net, TRAINED * case.batch)
    by_session(net, x, y, case.batch)
    return weights_digest(net)


def line(result: Scaling) -> str:
    first = min(result.seconds)
    measured = "".join(f"{result.seconds[first] / each:9.2f}" for each in result.seconds.values())
    beyond = "".join(f"{each:7.1f}" for each in result.limits.values())
    same = "same" if len(set(result.digests.values())) == 1 else "DIFFER"
    return f"{result.network:16} {result.batch:5} {result.seconds[first] * 1e3:9.2f} {measured} |{beyond}   {same}"


def check(options: argparse.Namespace) -> int:
    if options.rounds < 1:
        raise UserError(f"--rounds: at least 1, not {options.rounds}")
    threads = sorted(set(options.threads))
    counts = ", ".join(str(count) for count in sorted({*threads, max(BEYOND)}))
    print(
        f"Training step, SGD: times as fast as on {threads[0]} thread(s), medians of {options.rounds} rounds on "
        f"{os.cpu_count()} cores;\nthe limit of more threads; and whether the bits are the same on {counts} threads\n"
    )
    head = "".join(f"{f'{count} thr.':>9}" for count in threads)
    beyond = "".join(f"{count:7}" for count in BEYOND)
    print(f"{'network':16} {'batch':>5} {'step, ms':>9} {head} |{beyond}   bits")
    failed = []
    try:
        for case in chosen(options.networks):
            result = measure(case, threads, options.rounds)
            print(line(result), flush=True)
            if len(set(result.digests.values())) > 1:
                failed.append(case.name)
    finally:
        cnncore.set_num_threads(0)
    print(f"\nverdict: FAILED, other bits: {', '.join(failed)}" if failed else "\nverdict: the same bits")
    return 1 if failed else 0


def thread_counts(text: str) -> list[int]:
    """`1,2` as numbers, for argparse."""
    counts = [int(each) for each in names(text)]
    if not counts or min(counts) < 1 or max(counts) > cnncore.MAX_THREADS:
        raise ValueError(text)
    return counts


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_parser(
        "experiments.checks.scaling",
        description="Measure a training step on several numbers of threads, and model the limit of more.",
    )
    cores = list(range(1, (os.cpu_count() or 1) + 1))
    parser.add_argument("--networks", type=names, default=[], help="names, separated by commas (default: all)")
    parser.add_argument("--threads", type=thread_counts, default=cores, help="counts (default: 1 to all cores)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of measuring (default: 5)")
    options = parser.parse_args(arguments)
    return check(options)


if __name__ == "__main__":
    sys.exit(run(main))
