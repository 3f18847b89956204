"""Learning rates over time, and when to stop."""

from __future__ import annotations

from collections.abc import Mapping

from engine.training.schedules.base import Schedule
from engine.training.schedules.cycles import OneCycle, Triangular
from engine.training.schedules.fixed import Constant, Cosine, PiecewiseConstant
from engine.training.schedules.plateau import ReduceLROnPlateau
from engine.training.schedules.stopping import EarlyStopping
from engine.training.schedules.warmup import Warmup, WarmupConfig

__all__ = [
    "SCHEDULES",
    "Constant",
    "Cosine",
    "EarlyStopping",
    "OneCycle",
    "PiecewiseConstant",
    "ReduceLROnPlateau",
    "Schedule",
    "Triangular",
    "Warmup",
    "WarmupConfig",
]

SCHEDULES: Mapping[str, type[Schedule]] = {
    each.__name__: each for each in (Constant, PiecewiseConstant, Cosine, ReduceLROnPlateau, OneCycle, Triangular)
}
"""By the name that a configuration uses; any of them can have a warm-up, which has a key of its own."""
