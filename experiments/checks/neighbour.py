"""What a busy foreign process costs: one image and a training step, alone on the machine and beside it.

`python -m experiments.checks.neighbour [--rounds 5] [--seconds 0.5]`

Every number is a process of its own. In each round every network is measured alone, beside, and beside on one worker;
means are over all calls of a process, waiting included, since that is what a neighbour costs. Prints medians over the
rounds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median

import cnncore
import numpy as np

import engine
from engine.cli import command_parser, run
from experiments.measuring.networks import LATER_NETWORKS, NETWORKS

JOBS = (("vgg3", 1), ("mnist_cnn", 1), ("resnet20", 1), ("lenet", 64), ("mnist_cnn", 64), ("vgg3", 64))
"""Network and batch: one image is predicted, a larger batch is a training step."""
ALONE, BESIDE, SINGLE = "alone", "beside", "beside, one worker"
LEAST_STEP = 0.55  # of its speed alone


@contextmanager
def busy() -> Iterator[None]:
    """A process that computes for as long as the block runs."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def call_seconds(network: str, batch: int, seconds: float) -> float:
    """Mean seconds of a prediction, or of a training step, in this process."""
    net = {**NETWORKS, **LATER_NETWORKS}[network].make()
    random = np.random.default_rng(0)
    x = random.standard_normal((batch, *net.input_shape)).astype(np.float32)
    y = random.integers(0, net.output_shape[0], batch)
    session = net.training_session(engine.CrossEntropy(), engine.SGD(lr=0.0, momentum=0.9), batch)

    def call(number: int) -> None:
        if batch == 1:
            net.predict(x)
        else:
            session.step(x, y, 0.0, number, 0)

    for number in range(5):
        call(number)
    calls, start = 0, time.perf_counter()
    while (now := time.perf_counter()) < start + seconds or calls < 5:
        call(calls)
        calls += 1
    return (now - start) / calls


def in_a_process(network: str, batch: int, seconds: float, threads: int) -> float:
    code = f"from experiments.checks import neighbour; print(neighbour.call_seconds({network!r}, {batch}, {seconds}))"
    environment = {**os.environ, "CNN_NUM_THREADS": str(threads)}
    return float(
        subprocess.run([sys.executable, "-c", code], env=environment, check=True, stdout=subprocess.PIPE).stdout
    )


def measure(network: str, batch: int, seconds: float) -> dict[str, float]:
    threads = cnncore.get_num_threads()
    found = {ALONE: in_a_process(network, batch, seconds, threads)}
    with busy():
        found[BESIDE] = in_a_process(network, batch, seconds, threads)
        found[SINGLE] = in_a_process(network, batch, seconds, 1)
    return found


def check(options: argparse.Namespace) -> int:
    print(
        f"Mean time of a call, waiting included; medians of {options.rounds} rounds, {options.seconds:g} s a process.\n"
        f"{cnncore.get_num_threads()} threads on {cnncore.usable_cpus()} cores, instruction set {cnncore.isa()}."
    )
    rounds: dict[tuple[str, int], list[dict[str, float]]] = {job: [] for job in JOBS}
    for _ in range(options.rounds):
        for job in JOBS:
            rounds[job].append(measure(*job, options.seconds))
    print(f"{'network':10} {'call':>9} {'alone, us':>11} {'beside, us':>11} {'one worker, us':>15} {'kept':>6}")
    good = True
    for (network, batch), found in rounds.items():
        alone, beside, single = (median(each[kind] for each in found) for kind in (ALONE, BESIDE, SINGLE))
        kept = median(each[ALONE] / each[BESIDE] for each in found)
        good &= batch == 1 or kept >= LEAST_STEP
        call = "image" if batch == 1 else f"step {batch}"
        print(f"{network:10} {call:>9} {alone * 1e6:11.1f} {beside * 1e6:11.1f} {single * 1e6:15.1f} {kept:6.2f}")
    print("verdict    " + ("every step keeps" if good else "FAILED: a step keeps less than") + f" {LEAST_STEP:g}")
    return 0 if good else 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_parser(
        "experiments.checks.neighbour",
        description="Measure what a busy foreign process costs one image and a training step.",
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of processes (default: 5)")
    parser.add_argument("--seconds", type=float, default=0.5, help="of measuring in each process (default: 0.5)")
    options = parser.parse_args(arguments)
    return check(options)


if __name__ == "__main__":
    sys.exit(run(main))
