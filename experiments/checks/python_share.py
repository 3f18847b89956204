"""How much of a training step is spent in Python.

`python -m experiments.checks.python_share [--steps 300]`

Measures the wall time of every `Trainer.step` and takes off the seconds that the core counted inside its one call
(session.elapsed, the same clock, from entry to return). What is left is Python and the Cython layer. Prints medians.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import cnncore
import numpy as np

import engine
from engine.cli import command_parser, run
from experiments.measuring.networks import NETWORKS

MODELS = ("lenet", "model3")
BATCH = 64
ALLOWED = 0.03
WARM_UP = 20


@dataclass(frozen=True)
class Share:
    """Medians over all steps, in seconds; share is the median of each step's own share."""

    model: str
    step: float
    python: float
    share: float


def measure(model: str, steps: int, average: engine.Average | None = None) -> Share:
    """Train `model` on one random batch for `steps` steps, with averages of its weights or without."""
    random = np.random.default_rng(0)
    net = NETWORKS[model].make()
    x = random.standard_normal((BATCH, *net.input_shape)).astype(np.float32)
    y = random.integers(0, net.output_shape[0], BATCH)
    trainer = engine.Trainer(net, engine.SGD(lr=0.001, momentum=0.9), batch_size=BATCH, average=average)
    session = trainer.open_session(BATCH)
    wall, inside = np.zeros(steps), np.zeros(steps)
    for i in range(-WARM_UP, steps):
        start = time.perf_counter()
        trainer.step(x, y)
        if i >= 0:
            wall[i], inside[i] = time.perf_counter() - start, session.elapsed
    outside = wall - inside
    name = model if average is None else f"{model}+{average.kind}"
    return Share(name, *(float(np.median(values)) for values in (wall, outside, outside / wall)))


def check(options: argparse.Namespace) -> int:
    print(
        f"Time of Trainer.step outside the core's one call: wall time of the step less session.elapsed.\n"
        f"Batch {BATCH}, {options.steps} steps after {WARM_UP}, medians; {cnncore.get_num_threads()} threads, "
        f"instruction set {cnncore.isa()}."
    )
    print(f"{'network':12} {'step, ms':>10} {'Python, us':>12} {'share':>8}")
    shares = [measure(model, options.steps, average) for model in MODELS for average in (None, engine.Average())]
    for each in shares:
        print(f"{each.model:12} {each.step * 1e3:10.3f} {each.python * 1e6:12.1f} {each.share:8.2%}")
    good = all(each.share < ALLOWED for each in shares)
    print("verdict    " + (f"below {ALLOWED:.0%}" if good else f"FAILED: {ALLOWED:.0%} or more"))
    return 0 if good else 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_parser(
        "experiments.checks.python_share",
        description="Measure the share of a training step that is spent in Python.",
    )
    parser.add_argument("--steps", type=int, default=300, help="steps to measure for each network (default: 300)")
    options = parser.parse_args(arguments)
    return check(options)


if __name__ == "__main__":
    sys.exit(run(main))
