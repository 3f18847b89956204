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
