"""A training step beside PyTorch eager: interleaved rounds in one run, on the same cores.

`python -m experiments.checks.torch_step [--rounds 9] [--steps 30] [--threads N]`

Each side is a process of its own that holds the same network, weights and batch, and sleeps while another is timed, so
that no thread pool spins beside another. A step is forward, cross-entropy, backward and SGD with momentum, and gives
the loss as a Python float. Losses of the first steps are compared before anything is timed. A round times every side
once, in turning order; the table has the median over the rounds, and of each round's ratio to ours the median and the
range.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.cli import run

MODELS = ("lenet", "model3")
SIDES = ("ours", "torch", "torch channels_last")
BATCH = 64
LEARNING_RATE, MOMENTUM = 0.01, 0.9
COMPARED_STEPS = 5
LOSS_TOLERANCE = 1e-3
PAUSE = 0.3  # seconds between two sides: longer than any pool spins
WARM_UP = 5

Step = Callable[[], float]


# ---- the two sides --------------------------------------------------------------------------------------------------


def batch_for(shape: tuple[int, ...], classes: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    random = np.random.default_rng(0)
    x = random.standard_normal((BATCH, *shape)).astype(np.float32)
    return x, random.integers(0, classes, BATCH)


def our_step(model: str, threads: int) -> Step:
    import cnncore

    from engine.models import make_model
    from engine.optim import SGD
    from engine.trainer import Trainer

    cnncore.set_num_threads(threads)
    net = make_model(model)
    x, y = batch_for(net.input_shape, net.output_shape[0])
    trainer = Trainer(net, SGD(lr=LEARNING_RATE, momentum=MOMENTUM), batch_size=BATCH)
    return lambda: trainer.step(x, y)


def torch_step(model: str, threads: int, channels_last: bool) -> Step:
    from engine.layers import Softmax
    from engine.models import make_model
    from experiments.checks.torch_network import chain, torch

    torch.set_num_threads(threads)
    net = make_model(model)
    arrays = batch_for(net.input_shape, net.output_shape[0])
    x, y = (torch.from_numpy(array) for array in arrays)
    network = chain(net, Softmax).train()
    if channels_last:
        x, network = x.to(memory_format=torch.channels_last), network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    criterion = torch.nn.CrossEntropyLoss()

    def step() -> float:
        optimizer.zero_grad()
        loss = criterion(network(x), y)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def serve(side: str, model: str, threads: int) -> None:
    """Worker: for every number read from standard input, take that many steps; print seconds and losses as JSON."""
    step = our_step(model, threads) if side == "ours" else torch_step(model, threads, side != "torch")
    for line in sys.stdin:
        losses, seconds = [], []
        for _ in range(int(line)):
            start = time.perf_counter()
            losses.append(step())
            seconds.append(time.perf_counter() - start)
        print(json.dumps({"seconds": seconds, "losses": losses}), flush=True)


class Worker:
    """The process of one side."""

    def __init__(self, side: str, model: str, threads: int):
        self.side = side
        arguments = ["--serve", side, "--model", model, "--threads", str(threads)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "experiments.checks.torch_step", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.communicate()

    def steps(self, count: int) -> dict[str, list[float]]:
        """Seconds and losses of `count` steps; everybody else sleeps meanwhile."""
        from engine.errors import UserError

        assert self.process.stdin is not None and self.process.stdout is not None
        time.sleep(PAUSE)
        try:
            self.process.stdin.write(f"{count}\n")
            self.process.stdin.flush()
            answer: dict[str, list[float]] = json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            raise UserError(f"the process of {self.side!r} has ended: its message stands above") from None
        return answer


# ---- the comparison -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Timing:
    """Of one side: seconds per step (median over rounds of each round's median), and ratios to ours by round."""

    side: str
    seconds: float
    ratios: list[float]


def compare_losses(losses: dict[str, list[float]]) -> float:
    """Largest relative difference of any side's losses to ours; UserError where they do not agree."""
    from engine.errors import UserError

    ours = np.array(losses["ours"])
    worst = float(np.max([np.abs(np.array(values) / ours - 1.0).max() for values in losses.values()]))  # NaN if any is
    if not worst <= LOSS_TOLERANCE:
        raise UserError(f"the losses differ by {worst:.2g}, at most {LOSS_TOLERANCE:g} is allowed: {losses}")
    return worst


def compare(model: str, rounds: int, steps: int, threads: int) -> tuple[float, list[Timing]]:
    """(largest difference of losses, timing of every side)"""
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(side, model, threads)) for side in SIDES]
        difference = compare_losses({worker.side: worker.steps(COMPARED_STEPS)["losses"] for worker in workers})
        medians: dict[str, list[float]] = {side: [] for side in SIDES}
        for number in range(rounds):
            first = number % len(workers)
            for worker in workers[first:] + workers[:first]:
                seconds = worker.steps(WARM_UP + steps)["seconds"][WARM_UP:]
                medians[worker.side].append(float(np.median(seconds)))
    ours = medians["ours"]
    return difference, [
        Timing(side, float(np.median(values)), [theirs / own for theirs, own in zip(values, ours, strict=True)])
        for side, values in medians.items()
    ]


def print_table(model: str, difference: float, timings: Sequence[Timing]) -> None:
    print(f"\n{model}, batch {BATCH}; losses of {COMPARED_STEPS} steps agree to {difference:.1e}")
    print(f"{'':22} {'ms per step':>12} {'images/s':>10} {'time / ours':>12} {'range over rounds':>20}")
    for each in timings:
        spread = f"{min(each.ratios):.2f} ... {max(each.ratios):.2f}"
        print(
            f"{each.side:22} {each.seconds * 1e3:12.3f} {BATCH / each.seconds:10.0f} "
            f"{float(np.median(each.ratios)):12.2f} {spread:>20}"
        )


def check(options: argparse.Namespace) -> int:
    import cnncore

    from experiments.checks.torch_network import torch

    threads = options.threads or cnncore.get_num_threads()
    print(
        f"Training step, {threads} threads, {options.rounds} interleaved rounds of {options.steps} steps; "
        f"instruction set {cnncore.isa()}, torch {torch.__version__} eager"
    )
    behind = []
    for model in options.model or MODELS:
        difference, timings = compare(model, options.rounds, options.steps, threads)
        print_table(model, difference, timings)
        behind += [f"{model}: {each.side}" for each in timings if float(np.median(each.ratios)) < 1.0]
    print("\nverdict: " + (f"FAILED: behind {', '.join(behind)}" if behind else "ours is at least as fast"))
    return 1 if behind else 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.checks.torch_step",
        description="Time a training step beside PyTorch eager, in interleaved rounds.",
    )
    parser.add_argument("--rounds", type=int, default=9, help="interleaved rounds (default: 9)")
    parser.add_argument("--steps", type=int, default=30, help="timed steps in a round (default: 30)")
    parser.add_argument("--threads", type=int, default=0, help="for both sides (default: the engine's default)")
    parser.add_argument("--model", action="append", help="only this network; may be repeated")
    parser.add_argument("--serve", choices=SIDES, help=argparse.SUPPRESS)
    options: Any = parser.parse_args(arguments)
    if options.serve:
        return run(lambda: serve(options.serve, options.model[0], options.threads))
    return run(lambda: check(options))


if __name__ == "__main__":
    sys.exit(main())
