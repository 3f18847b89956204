"""What `memory: small` saves of a training step's arena, and what it costs of its speed.

`python -m experiments.checks.small_memory [--networks vgg3,scene_15] [--rounds 9]`

A round times steps of both kinds in one process, in turning order, and the ratio is taken within a round. First, both
must have the same loss, and gradients that differ by rounding.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cnncore
import numpy as np

import engine
from engine.cli import command_parser, run
from engine.errors import UserError, unknown
from engine.network.session import TrainingSession
from engine.plan.request import MEMORY, SMALL, USUAL
from engine.plan.table import byte_size, table
from experiments.measuring.networks import LATER_NETWORKS, NETWORKS, Measured
from experiments.options import names
from experiments.stats import Spread, spread

DEFAULT = ("vgg3", "vgg3_bn_dropout", "scene_15", "resnet20", "airbench94", "mobilenet_v2")
ROUND_SECONDS = 0.5  # that a kind is timed for in a round, at least one step
TOLERANCE = 1e-2  # of the largest gradient: rounding moves single pixels over the kinks of activations
AIM, LEAST_SPEED = 0.5, 0.9


@dataclass(frozen=True)
class Saving:
    """Of one network: bytes of the arena and of the whole program, and the speed of a small step, the usual one's 1."""

    network: str
    batch: int
    parts: int
    arena: dict[str, int]
    whole: dict[str, int]
    seconds: dict[str, float]
    speed: Spread


def measure(case: Measured, rounds: int) -> Saving:
    """Compare the gradients, then time the steps, of one network."""
    sessions = {memory: session(case, memory) for memory in MEMORY}
    x, y = samples(case)
    check_gradients({memory: gradients(case, memory, x, y) for memory in MEMORY})
    for each in sessions.values():
        each.step(x, y, 0.0, 0, 0)
    steps = max(1, math.ceil(ROUND_SECONDS / sessions[USUAL].elapsed))
    times: dict[str, list[float]] = {memory: [] for memory in MEMORY}
    for number in range(rounds):
        for memory in MEMORY if number % 2 else reversed(MEMORY):
            times[memory].append(float(np.median([timed(sessions[memory], x, y) for _ in range(steps)])))
    threads = cnncore.get_num_threads()
    return Saving(
        case.name,
        case.batch,
        sessions[SMALL].parts,
        {memory: each.plan.arena_bytes for memory, each in sessions.items()},
        {memory: each.plan.footprint.bytes(threads) for memory, each in sessions.items()},
        {memory: float(np.median(values)) for memory, values in times.items()},
        spread([usual / small for usual, small in zip(times[USUAL], times[SMALL], strict=True)]),
    )


def session(case: Measured, memory: str) -> TrainingSession:
    return case.make().training_session(engine.CrossEntropy(), engine.SGD(lr=0.0), case.batch, memory=memory)


def samples(case: Measured) -> tuple[Any, Any]:
    net, random = case.make(), np.random.default_rng(0)
    x = random.standard_normal((case.batch, *net.input_shape), dtype=np.float32)
    return x, random.integers(0, net.output_shape[0], case.batch)


def timed(trained: TrainingSession, x: Any, y: Any) -> float:
    start = time.perf_counter()
    trained.step(x, y, 0.0, 1, 0)
    return time.perf_counter() - start


def gradients(case: Measured, memory: str, x: Any, y: Any) -> Any:
    net = case.make()
    net.training_session(engine.CrossEntropy(), engine.SGD(lr=0.0), case.batch, memory=memory).step(x, y, 0.0, 0, 0)
    return net.store.gradients.copy()


def check_gradients(found: dict[str, Any]) -> None:
    """UserError unless both kinds learn the same."""
    largest = float(np.abs(found[USUAL]).max())
    worst = float(np.abs(found[SMALL] - found[USUAL]).max())
    if not worst <= TOLERANCE * largest:
        raise UserError(f"the gradients differ by {worst:.2g}, the largest is {largest:.2g}")


def row(saving: Saving) -> tuple[str, ...]:
    speed = saving.speed
    return (
        saving.network,
        str(saving.batch),
        str(saving.parts),
        byte_size(saving.arena[USUAL]),
        byte_size(saving.arena[SMALL]),
        f"{saving.arena[SMALL] / saving.arena[USUAL]:.2f}",
        f"{saving.whole[SMALL] / saving.whole[USUAL]:.2f}",
        f"{saving.seconds[USUAL] * 1e3:.2f}",
        f"{saving.seconds[SMALL] * 1e3:.2f}",
        f"{speed.median:.3f}",
        f"{speed.low:.3f} ... {speed.high:.3f}",
    )


HEADINGS = ("network", "batch", "parts", "arena", "small", "ratio", "all", "ms", "ms, small", "speed", "quartiles")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_parser("experiments.checks.small_memory", description="Time training steps in less memory.")
    parser.add_argument("--networks", type=names, default=[], metavar="A,B", help=f"only these of {', '.join(DEFAULT)}")
    parser.add_argument("--rounds", type=int, default=9, help="interleaved rounds (default: 9)")
    options: Any = parser.parse_args(arguments)
    known = {name: {**NETWORKS, **LATER_NETWORKS}[name] for name in DEFAULT}
    for name in options.networks:
        if name not in known:
            raise unknown("network", name, known)
    print(
        f"Training step (SGD), {cnncore.get_num_threads()} threads, {options.rounds} interleaved rounds; "
        f"instruction set {cnncore.isa()}\n"
        "all: arena, parameters, gradients and workspace; speed: the usual step's time / the small one's"
    )
    savings = [measure(known[name], options.rounds) for name in options.networks or known]
    print("\n".join(table([HEADINGS, *map(row, savings)], numeric=set(range(1, 10)))))
    good = [
        each.network
        for each in savings
        if each.arena[SMALL] <= AIM * each.arena[USUAL] and each.speed.median >= LEAST_SPEED
    ]
    print(f"half the arena at {LEAST_SPEED:g} of the speed: {', '.join(good) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
