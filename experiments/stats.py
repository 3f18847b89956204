"""Statistics over the seeds of one row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """Mean and sample standard deviation of `count` values; std is None below two values."""

    mean: float
    std: float | None
    count: int


def estimate(values: Sequence[float]) -> Estimate | None:
    """Mean and standard deviation (divisor count - 1) in double precision; None for no values."""
    count = len(values)
    if count == 0:
        return None
    mean = math.fsum(values) / count
    if count == 1:
        return Estimate(mean, None, 1)
    return Estimate(mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1)), count)


@dataclass(frozen=True)
class Interval:
    """mean ± half_width, from `count` values; half_width is None below two values."""

    mean: float
    half_width: float | None
    count: int

    @property
    def contains_zero(self) -> bool:
        return self.half_width is not None and abs(self.mean) <= self.half_width


def paired_interval(first: Sequence[float], second: Sequence[float], confidence: float = 0.95) -> Interval | None:
    """Student's t interval for the mean of first[i] - second[i]; None for no pairs."""
    from scipy.special import stdtrit

    differences = estimate([a - b for a, b in zip(first, second, strict=True)])
    if differences is None:
        return None
    if differences.std is None:
        return Interval(differences.mean, None, differences.count)
    quantile = float(stdtrit(differences.count - 1, (1 + confidence) / 2))
    return Interval(differences.mean, quantile * differences.std / math.sqrt(differences.count), differences.count)


@dataclass(frozen=True)
class Spread:
    """Of some ratios: the median, the quartiles around it, and the extremes."""

    median: float
    low: float
    high: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    """Quartiles by linear interpolation, as numpy has them."""
    import numpy as np

    least, low, median, high, most = (float(value) for value in np.quantile(values, [0, 0.25, 0.5, 0.75, 1]))
    return Spread(median, low, high, least, most)
