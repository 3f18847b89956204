"""Rates that rise once and fall once over a run."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from engine.arguments import integer, number, real
from engine.errors import UserError, unknown
from engine.training.schedules.base import Schedule

SHAPES = ("cosine", "linear")


@dataclass
class OneCycle(Schedule):
    """The 1cycle policy (Smith & Topin 2018), with the positions of PyTorch's OneCycleLR: one rise to the optimiser's
    rate, one fall to far below the first one. Where the rise has less than a step, as in runs of a few steps, the first
    step has the optimiser's rate; PyTorch's is on its way down by then. The momentum is left as it is.

    total    length in steps (None: that of the run, whose `epochs` a resume can then not change)
    start    the first step's rate, as a share of the optimiser's
    peak_at  share of the run's steps after which the rate is the optimiser's
    end      the last step's rate, as a share of the optimiser's
    shape    of rise and fall: cosine or linear
    """

    total: int | None = None
    start: float = 0.04
    peak_at: float = 0.3
    end: float = 4e-6
    shape: str = "cosine"

    def __post_init__(self) -> None:
        if self.total is not None:
            self.total = integer("OneCycle", "total", self.total, 1)
        self.start = number("OneCycle", "start", self.start, 0.0, math.inf)
        self.peak_at = real("OneCycle", "peak_at", self.peak_at, 0.0, 1.0)
        self.end = number("OneCycle", "end", self.end, 0.0, math.inf)
        if self.shape not in SHAPES:
            raise unknown("OneCycle: shape", self.shape, SHAPES)

    def for_run(self, epochs: int, steps: int) -> Schedule:
        return self if self.total is not None else replace(self, total=epochs * steps)

    def rate(self, base: float, step: int, epoch: int) -> float:
        total = _length(self, self.total)
        peak, last = self.peak_at * total - 1.0, total - 1.0
        if step >= last:
            return base * self.end
        if step < peak:
            return base * _between(self.start, 1.0, step / peak, self.shape)
        return base * _between(1.0, self.end, (step - max(peak, 0.0)) / (last - max(peak, 0.0)), self.shape)


@dataclass
class Triangular(Schedule):
    """Up in a straight line, then down in one, as the CIFAR-10 recipe airbench94 has it (Jordan 2024).

    Step 0 has `start`, step `peak_at` * total (rounded down) the optimiser's rate; `end` would be that of the step
    behind the last.

    start    share of the optimiser's rate
    peak_at  share of the run's steps
    end      share of the optimiser's rate
    total    length in steps (None: that of the run, whose `epochs` a resume can then not change)
    """

    start: float = 0.0
    peak_at: float = 0.5
    end: float = 0.0
    total: int | None = None

    def __post_init__(self) -> None:
        if self.total is not None:
            self.total = integer("Triangular", "total", self.total, 1)
        self.start = number("Triangular", "start", self.start, 0.0, math.inf)
        self.peak_at = real("Triangular", "peak_at", self.peak_at, 0.0, 1.0)
        self.end = number("Triangular", "end", self.end, 0.0, math.inf)

    def for_run(self, epochs: int, steps: int) -> Schedule:
        return self if self.total is not None else replace(self, total=epochs * steps)

    def rate(self, base: float, step: int, epoch: int) -> float:
        total = _length(self, self.total)
        peak = int(self.peak_at * total)
        if step >= total:
            return base * self.end
        if step < peak:
            return base * _between(self.start, 1.0, step / peak, "linear")
        return base * _between(1.0, self.end, (step - peak) / (total - peak), "linear")


def _length(schedule: Schedule, total: int | None) -> int:
    if total is None:
        name = type(schedule).__name__
        raise UserError(f"{name} without total is as long as a run of Trainer.fit; give total for any step")
    return total


def _between(first: float, last: float, fraction: float, shape: str) -> float:
    """From `first` at 0 to `last` at 1."""
    if shape == "linear":
        return first + (last - first) * fraction
    return last + (first - last) * (1.0 + math.cos(math.pi * fraction)) / 2.0
