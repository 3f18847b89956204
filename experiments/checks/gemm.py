"""How near the kernels come to what the processor can do: matrix products and 3x3 convolutions on one thread.

`python -m experiments.checks.gemm [--rounds 15] [--sizes 512,768,1024,1536,2048] [--channels 16,32,64,128]`

A round times everything once, in turning order: the core's sgemm, numpy's product (OpenBLAS, in its wheels) and
PyTorch's (MKL) where that is installed, and every pass of 3x3 convolutions, direct and by Winograd's algorithm. A run
that does not count comes first: the sides of a product share its operands, and whoever came first would bring them into
the caches for the others. Right before and after each the peak is measured, with FMAs on registers alone, for a few
milliseconds: a share is of the mean of these two, so that a neighbour on the same core, which slows both, is no excuse
and no harm. The table shows medians over the rounds with their quartiles, and beside them the fastest time against the
highest peak of the run.

Shares count the FLOPs of the direct algorithm: with Winograd's they go beyond 100 %. The numbers are compared before
anything is timed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import cnncore
import numpy as np
from numpy.typing import NDArray

from engine.cli import run
from engine.errors import UserError
from engine.layers import Conv2D
from engine.losses import MeanSquaredError
from engine.network.graph import Sequential
from engine.plan import GRADIENTS, Request, make_plan
from engine.plan.algorithms import candidates, convolutions, expand
from engine.plan.tune import make_trial
from experiments.stats import Spread, spread

SIZES = (512, 768, 1024, 1536, 2048)
CHANNELS = (16, 32, 64, 128)
BATCH = 16
SIDES = {16: 32, 32: 32, 64: 16}  # of the map, by channels; a smaller one for more
LEAST_SIDE = 8
LEAST_OF_WINOGRAD = 32  # channels
WINOGRAD = "winograd4"
PEAK_ROUNDS = 300_000  # of the FMA chains: a few milliseconds
ENOUGH = 0.004  # seconds of one measurement, at least
TOLERANCE = 1e-4  # of a product, relative to the largest element
GEMM, DIRECT, EFFECTIVE, NO_SLOWER = 0.85, 0.85, 1.80, 1.0
OURS, OPENBLAS, MKL = "cnncore", "numpy", "torch"


@dataclass(frozen=True)
class Job:
    """Something to time: `once` takes the time of one run, which does so many FLOPs of the direct algorithm."""

    kind: str  # "gemm", "direct" or "winograd"
    name: str
    side: str
    flops: float
    once: Callable[[], float]


@dataclass(frozen=True)
class Sample:
    """FLOP/s of one measurement, and of the peak around it."""

    rate: float
    peak: float

    @property
    def share(self) -> float:
        return self.rate / self.peak


@dataclass(frozen=True)
class Row:
    """A job's samples, summed up: GFLOP/s by median, shares by round, and the best round's rate / the highest peak."""

    kind: str
    name: str
    side: str
    rate: float
    share: Spread
    best: float


# ---- what is timed --------------------------------------------------------------------------------------------------


@contextmanager
def one_thread() -> Iterator[None]:
    """The core, numpy's BLAS and PyTorch on one thread each."""
    from threadpoolctl import threadpool_limits

    threads = cnncore.get_num_threads()
    cnncore.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        cnncore.set_num_threads(threads)


def timed(function: Callable[[], object]) -> Callable[[], float]:
    def once() -> float:
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    return once


def torch_product(a: NDArray[np.float32], b: NDArray[np.float32], out: NDArray[np.float32]) -> Callable[[], object]:
    """PyTorch's product of the same memory."""
    import torch

    torch.set_num_threads(1)
    sides = [torch.from_numpy(each) for each in (a, b, out)]
    return lambda: torch.mm(sides[0], sides[1], out=sides[2])


def products(size: int) -> list[Job]:
    """The product of two square matrices by every library. UserError where they do not agree."""
    random = np.random.default_rng(size)
    a, b = (random.standard_normal((size, size), np.float32) for _ in range(2))
    outs = {side: np.zeros((size, size), np.float32) for side in (OURS, OPENBLAS, MKL)}
    functions: dict[str, Callable[[], object]] = {
        OURS: lambda: cnncore.sgemm(a, b, out=outs[OURS]),
        OPENBLAS: lambda: np.matmul(a, b, out=outs[OPENBLAS]),
    }
    if find_spec("torch"):  # otherwise the verdict says that it was not measured
        functions[MKL] = torch_product(a, b, outs[MKL])
    for function in functions.values():
        function()
    for side in functions:
        error = float(np.abs(outs[side] - outs[OPENBLAS]).max() / np.abs(outs[OPENBLAS]).max())
        if not error <= TOLERANCE:
            raise UserError(f"sgemm {size}^3: {side} and {OPENBLAS} differ by {error:.2g} of the largest element")
    return [Job("gemm", f"{size}^3", side, 2.0 * size**3, timed(each)) for side, each in functions.items()]


def convolutions_of(channels: int) -> list[Job]:
    """A 3x3 layer as wide as its source: all passes, direct and, where there are channels enough, by Winograd's."""
    side = SIDES.get(channels, LEAST_SIDE)
    layers = [Conv2D(channels, channels, 3, 1, 1), Conv2D(channels, channels, 3, 1, 1)]
    net = Sequential(layers, (channels, side, side))
    slots = net.store.slots, net.store.buffer_slots
    request = Request(GRADIENTS, BATCH, MeanSquaredError(), targets="targets", algorithm="direct")
    code = make_plan(net.topology, *slots, request, cnncore.isa()).code
    jobs: dict[tuple[str, str], Job] = {}
    for _, direction, instruction in convolutions(code):
        for algorithm in candidates(instruction.op, instruction.geometry):
            kind = "winograd" if algorithm == WINOGRAD else algorithm
            if kind not in ("direct", "winograd") or (kind == "winograd" and channels < LEAST_OF_WINOGRAD):
                continue
            made, value = expand(instruction, algorithm, len(code.values))
            values = code.values if value is None else (*code.values, value)
            trial = make_trial(made, values, BATCH)
            name = f"{channels}->{channels} at {side}x{side}, {direction}"
            flops = 2.0 * BATCH * side * side * channels * channels * 9
            jobs[direction, kind] = Job(kind, name, OURS, flops, trial.seconds)
    return sorted(jobs.values(), key=lambda job: job.kind)


# ---- measuring ------------------------------------------------------------------------------------------------------


def measure_peak() -> float:
    """FLOP/s of FMAs on registers."""
    start = time.perf_counter()
    flops = cnncore.fma_burst(PEAK_ROUNDS)
    return flops / (time.perf_counter() - start)


def take(job: Job, before: float) -> tuple[Sample, float]:
    """One measurement, given the peak before it, and the peak after. A run that does not count fills the caches."""
    job.once()
    spent, runs = 0.0, 0
    while spent < ENOUGH:
        spent += job.once()
        runs += 1
    after = measure_peak()
    return Sample(job.flops * runs / spent, 0.5 * (before + after)), after


def measure(jobs: Sequence[Job], rounds: int) -> list[list[Sample]]:
    """Samples by job and round; every round begins with another job. The first round warms up and does not count."""
    samples: list[list[Sample]] = [[] for _ in jobs]
    for turn in range(rounds + 1):
        peak = measure_peak()
        for place in range(len(jobs)):
            index = (place + turn) % len(jobs)
            sample, peak = take(jobs[index], peak)
            if turn > 0:
                samples[index].append(sample)
    return samples


def summarise(job: Job, samples: Sequence[Sample], highest: float) -> Row:
    rate = float(np.median([each.rate for each in samples])) * 1e-9
    best = max(each.rate for each in samples) / highest
    return Row(job.kind, job.name, job.side, rate, spread([each.share for each in samples]), best)


def ratios(jobs: Sequence[Job], samples: Sequence[Sequence[Sample]], other: str) -> dict[str, Spread]:
    """By product: how many times the other library's share the core's is, round by round."""
    by = {(job.name, job.side): taken for job, taken in zip(jobs, samples, strict=True) if job.kind == "gemm"}
    return {
        name: spread([mine.share / its.share for mine, its in zip(taken, by[name, other], strict=True)])
        for (name, side), taken in by.items()
        if side == OURS and (name, other) in by
    }


# ---- what it says ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bar:
    """What is wanted of some figures, by name."""

    title: str
    least: float
    figures: Mapping[str, float]

    @property
    def missed(self) -> list[str]:
        return [f"{name} {figure:.0%}" for name, figure in self.figures.items() if not figure >= self.least]

    def __str__(self) -> str:
        if not self.figures:
            return f"{self.title}: not measured"
        mean = float(np.exp(np.mean(np.log(list(self.figures.values())))))
        found = f"{len(self.figures) - len(self.missed)} of {len(self.figures)}, geometric mean {mean:.0%}"
        below = f"; below: {', '.join(self.missed)}" if self.missed else ""
        return f"{self.title}, at least {self.least:.0%}: {found}{below}"


def bars(rows: Sequence[Row], against: Mapping[str, Mapping[str, Spread]]) -> list[Bar]:
    def shares(kind: str) -> dict[str, float]:
        return {row.name: row.share.median for row in rows if row.kind == kind and row.side == OURS}

    return [
        Bar("sgemm, of the FMA peak", GEMM, shares("gemm")),
        *(
            Bar(f"sgemm, of the speed of {other}", NO_SLOWER, {name: ratio.median for name, ratio in found.items()})
            for other, found in against.items()
        ),
        Bar("direct 3x3, of the FMA peak", DIRECT, shares("direct")),
        Bar("Winograd, effective share of the FMA peak", EFFECTIVE, shares("winograd")),
    ]


def line(row: Row) -> str:
    share = row.share
    return (
        f"{row.kind:9} {row.name:36} {row.side:8} {row.rate:9.1f} {share.median:8.1%} "
        f"{f'{share.low:.1%} ... {share.high:.1%}':>18} {row.best:8.1%}"
    )


def check(options: argparse.Namespace) -> int:
    with one_thread():
        jobs = [job for size in options.sizes for job in products(size)]
        jobs += [job for channels in options.channels for job in convolutions_of(channels)]
        samples = measure(jobs, options.rounds)
    peaks = [sample.peak for taken in samples for sample in taken]
    print(
        f"One thread, {options.rounds} interleaved rounds, convolutions of {BATCH} samples; instruction set "
        f"{cnncore.isa()}\nFMA peak, GFLOP/s: median {np.median(peaks) * 1e-9:.1f}, lowest {min(peaks) * 1e-9:.1f}, "
        f"highest {max(peaks) * 1e-9:.1f}\nshare: of the peak measured right before and after; "
        f"best: the fastest round / the highest peak\n"
        f"{'kind':9} {'what':36} {'side':8} {'GFLOP/s':>9} {'share':>8} {'quartiles':>18} {'best':>8}"
    )
    rows = [summarise(job, taken, max(peaks)) for job, taken in zip(jobs, samples, strict=True)]
    for row in rows:
        print(line(row))
    against = {other: ratios(jobs, samples, other) for other in (OPENBLAS, MKL)}
    for other, found in against.items():
        for name, ratio in found.items():
            print(f"sgemm {name}: {ratio.median:.2f} times {other} ({ratio.low:.2f} ... {ratio.high:.2f})")
    found_bars = bars(rows, against)
    print("\n".join(str(bar) for bar in found_bars))
    missed = [bar.title for bar in found_bars if bar.missed]
    print("verdict: " + (f"MISSED: {'; '.join(missed)}" if missed else "every measured bar is reached"))
    return 1 if missed else 0


def whole_numbers(text: str) -> tuple[int, ...]:
    """Positive whole numbers separated by commas."""
    numbers = tuple(int(each) for each in text.split(",") if each)
    if any(number < 1 for number in numbers):
        raise ValueError(text)
    return numbers


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.checks.gemm",
        description="Hold matrix products and 3x3 convolutions against the FMA peak, OpenBLAS and MKL, on one thread.",
    )
    parser.add_argument("--rounds", type=int, default=15, help="interleaved rounds (default: 15)")
    parser.add_argument("--sizes", type=whole_numbers, default=SIZES, metavar="M,N", help="of the square products")
    parser.add_argument("--channels", type=whole_numbers, default=CHANNELS, metavar="C,D", help="of the 3x3 layers")
    options: Any = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return run(lambda: check(options))


if __name__ == "__main__":
    sys.exit(main())
