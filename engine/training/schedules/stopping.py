"""When to stop before the last epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.arguments import assign, integer, real
from engine.training.metrics import direction


@dataclass(frozen=True)
class EarlyStopping:
    """Stop after `patience` epochs in a row without a better metric.

    A metric that is NaN counts as worst; a loss that is not finite stops the run before.

    patience   epochs in a row
    metric     any metric that the run logs (None: the trainer's)
    mode       min or max: where better is (None: a loss is to fall, anything else to rise)
    threshold  better means by more than this (absolute)
    """

    patience: int
    metric: str | None = None
    mode: str | None = None
    threshold: float = 0.0

    def __post_init__(self) -> None:
        patience = integer("EarlyStopping", "patience", self.patience, 1)
        assign(self, patience=patience, threshold=real("EarlyStopping", "threshold", self.threshold, 0.0, math.inf))
        direction(self.metric or "", self.mode)
