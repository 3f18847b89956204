"""Rates that do not change, that fall in steps, and that fall along a cosine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.arguments import each, integer, number, real
from engine.errors import UserError
from engine.training.schedules.base import Schedule, check_unit

MOST_GROWTH = 690.0  # the logarithm of 1e300: how much longer than another a period may be


@dataclass
class Constant(Schedule):
    """The optimiser's learning rate, always."""

    def rate(self, base: float, step: int, epoch: int) -> float:
        return base


@dataclass
class PiecewiseConstant(Schedule):
    """values[i] up to and including boundaries[i], the last value after that (Keras's PiecewiseConstantDecay).

    boundaries  positions, from 0
    values      learning rates in place of the optimiser's, one more than boundaries
    unit        what positions count: step or epoch
    """

    boundaries: Sequence[int]
    values: Sequence[float]
    unit: str = "step"

    def __post_init__(self) -> None:
        check_unit(self.unit)
        self.boundaries = each("PiecewiseConstant", "boundaries", self.boundaries, _position)
        self.values = each("PiecewiseConstant", "values", self.values, _rate)
        if len(self.values) != len(self.boundaries) + 1:
            raise UserError(
                f"a piecewise schedule needs one value more than boundaries, got {len(self.values)} values "
                f"for {len(self.boundaries)} boundaries"
            )
        if any(left >= right for left, right in zip(self.boundaries, self.boundaries[1:], strict=False)):
            raise UserError(f"boundaries must rise, got {list(self.boundaries)}")

    def rate(self, base: float, step: int, epoch: int) -> float:
        position = step if self.unit == "step" else epoch
        passed = sum(position > boundary for boundary in self.boundaries)
        return self.values[passed]


@dataclass
class Cosine(Schedule):
    """Cosine annealing from the optimiser's rate to `minimum`, with linear warm-up and warm restarts.

    eta(t) = minimum + (base - minimum) · (1 + cos(pi · t / T)) / 2   (Loshchilov & Hutter 2017, SGDR, equation 5)

    total     length in `unit`s, warm-up included; after it the rate stays at `minimum` (None: that of the run, whose
              `epochs` a resume can then not change)
    warmup    the first so many units rise in a straight line; unit 0 already has base / (warmup + 1)
    minimum   the rate at the end of a period
    restarts  times that the cosine begins anew: the rest of `total` is cut into restarts + 1 periods
    growth    how many times as long as the one before each period is
    unit      what lengths count: step or epoch
    """

    total: int | None = None
    warmup: int = 0
    minimum: float = 0.0
    restarts: int = 0
    growth: float = 1.0
    unit: str = "step"

    def __post_init__(self) -> None:
        check_unit(self.unit)
        self.warmup = integer("Cosine", "warmup", self.warmup, 0)
        self.restarts = integer("Cosine", "restarts", self.restarts, 0)
        if self.total is not None:
            self.total = integer("Cosine", "total", self.total, 1)
            if self.total <= self.warmup:
                raise UserError(f"a cosine schedule needs total > warmup, got total {self.total}, warmup {self.warmup}")
        self.growth = real("Cosine", "growth", self.growth, 0.0, math.inf, above=True)
        self.minimum = number("Cosine", "minimum", self.minimum, 0.0, math.inf)
        if not -MOST_GROWTH <= self.restarts * math.log(self.growth) <= MOST_GROWTH:
            raise UserError(
                f"Cosine: with growth = {self.growth:g} and {self.restarts} restarts the lengths of the periods differ "
                "by more than numbers can"
            )

    def for_run(self, epochs: int, steps: int) -> Schedule:
        if self.total is not None:
            return self
        return replace(self, total=epochs if self.unit == "epoch" else epochs * steps)

    def rate(self, base: float, step: int, epoch: int) -> float:
        if self.total is None:
            raise UserError(
                "a cosine schedule without total is as long as a run of Trainer.fit; give total for any step"
            )
        position = step if self.unit == "step" else epoch
        if position < self.warmup:
            return base * (position + 1) / (self.warmup + 1)
        done = position - self.warmup
        span = self.total - self.warmup
        if done >= span:
            return self.minimum
        weights = [self.growth**period for period in range(self.restarts + 1)]
        start = 0.0
        for weight in weights:
            length = span * weight / sum(weights)
            if done < start + length:
                break
            start += length
        fraction = min((done - start) / length, 1.0)
        return self.minimum + (base - self.minimum) * (1 + math.cos(math.pi * fraction)) / 2


def _position(value: Any) -> int:
    return integer("PiecewiseConstant", "boundaries", value, 0)


def _rate(value: Any) -> float:
    return number("PiecewiseConstant", "values", value, 0.0, math.inf)
