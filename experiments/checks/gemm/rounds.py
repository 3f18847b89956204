"""Interleaved rounds: the rate of every job, and the peak of FMAs on registers right before and after it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import cnncore

from experiments.checks.gemm.jobs import Job

PEAK_ROUNDS = 300_000  # of the FMA chains: a few milliseconds
ENOUGH = 0.004  # seconds of one measurement, at least


@dataclass(frozen=True)
class Sample:
    """FLOP/s of one measurement, and of the peak around it."""

    rate: float
    peak: float

    @property
    def share(self) -> float:
        return self.rate / self.peak


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
