"""A rate that is cut where a metric no longer gets better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.arguments import integer, number, real
from engine.errors import UserError, shown
from engine.training.metrics import direction, is_better
from engine.training.schedules.base import Schedule

MOST_EPOCHS = 2**31  # that a schedule counts


@dataclass
class ReduceLROnPlateau(Schedule):
    """Multiply the rate by `factor` after `patience` epochs in a row without a better `metric`.

    A metric that is NaN counts as worst; a loss that is not finite stops the run before.

    factor     what a cut multiplies the rate by
    patience   epochs in a row without a better metric that lead to a cut
    mode       min or max: where better is (None: a loss is to fall, anything else to rise)
    metric     any metric that the run logs
    threshold  better means by more than this (absolute)
    min_lr     the rate never falls below it
    cooldown   after a cut so many epochs do not count as bad ones
    """

    factor: float = 0.1
    patience: int = 10
    mode: str | None = None
    metric: str = "val_loss"
    threshold: float = 1e-4
    min_lr: float = 0.0
    cooldown: int = 0
    _best: float | None = field(default=None, init=False, repr=False)
    _bad: int = field(default=0, init=False, repr=False)
    _cooling: int = field(default=0, init=False, repr=False)
    _cuts: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        self.mode = direction(self.metric, self.mode)
        name = "ReduceLROnPlateau"
        self.factor = real(name, "factor", self.factor, 0.0, 1.0, above=True, below=True)
        self.patience = integer(name, "patience", self.patience, 1)
        self.cooldown = integer(name, "cooldown", self.cooldown, 0)
        self.threshold = real(name, "threshold", self.threshold, 0.0, math.inf)
        self.min_lr = number(name, "min_lr", self.min_lr, 0.0, math.inf)

    def rate(self, base: float, step: int, epoch: int) -> float:
        return max(base * self.factor**self._cuts, min(self.min_lr, base))

    def observe(self, record: Mapping[str, float]) -> None:
        value = record[self.metric]
        cooling = self._cooling > 0
        self._cooling = max(self._cooling - 1, 0)
        if is_better(value, self._best, direction(self.metric, self.mode), self.threshold):
            self._best = value
            self._bad = 0
        elif not cooling:
            self._bad += 1
        if self._bad >= self.patience:
            self._cuts += 1
            self._bad = 0
            self._cooling = self.cooldown

    def state_dict(self) -> dict[str, Any]:
        return {"best": self._best, "bad": self._bad, "cooling": self._cooling, "cuts": self._cuts}

    def load_state(self, state: Mapping[str, Any]) -> None:
        best = state.get("best")
        if isinstance(best, bool) or not isinstance(best, (int, float, type(None))):
            raise UserError(f"ReduceLROnPlateau: best must be a number or nothing, not {shown(best)}")
        names = ("bad", "cooling", "cuts")
        counts = [integer("ReduceLROnPlateau", name, state.get(name), 0, MOST_EPOCHS) for name in names]
        self._best = best
        self._bad, self._cooling, self._cuts = counts
