"""What the rounds say: a row for each job, and whether the bars are reached."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cnncore
import numpy as np

from experiments.checks.gemm.jobs import BATCH, MKL, OPENBLAS, OURS, Job, convolutions_of, one_thread, products
from experiments.checks.gemm.rounds import Sample, measure
from experiments.stats import Spread, spread

GEMM, DIRECT, EFFECTIVE, NO_SLOWER = 0.85, 0.85, 1.80, 1.0


@dataclass(frozen=True)
class Row:
    """A job's samples, summed up: GFLOP/s by median, shares by round, and the best round's rate / the highest peak."""

    kind: str
    name: str
    side: str
    rate: float
    share: Spread
    best: float


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
