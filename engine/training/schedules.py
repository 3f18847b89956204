"""Learning rates over time, and when to stop.

A schedule answers `rate(base, step, epoch)`: the learning rate for the optimiser step number `step` (from 0, over the
whole run) in epoch `epoch` (from 0), where `base` is the optimiser's own. All but ReduceLROnPlateau are pure functions
of that position. `observe` is told the metrics at the end of each epoch; `state_dict` and `load_state` carry what a
schedule remembers through a checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.arguments import integer, number
from engine.errors import UserError, shown
from engine.training.metrics import direction, is_better

UNITS = ("step", "epoch")
MOST_EPOCHS = 2**31  # that a schedule counts


class Schedule:
    """Base of all schedules; it remembers nothing."""

    #: name of the metric that `observe` needs, or None
    metric: str | None = None

    def rate(self, base: float, step: int, epoch: int) -> float:
        """The learning rate at this position."""
        raise NotImplementedError

    def for_run(self, epochs: int, steps: int) -> Schedule:
        """The schedule for a run of so many epochs of so many steps: another one where it is as long as the run."""
        return self

    def observe(self, record: Mapping[str, float]) -> None:
        """The metrics of an epoch that has just ended."""

    def state_dict(self) -> dict[str, Any]:
        """What must survive a restart, in JSON's own types."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""


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
        _check_unit(self.unit)
        if len(self.values) != len(self.boundaries) + 1:
            raise UserError(
                f"a piecewise schedule needs one value more than boundaries, got {len(self.values)} values "
                f"for {len(self.boundaries)} boundaries"
            )
        if any(left >= right for left, right in zip(self.boundaries, self.boundaries[1:], strict=False)):
            raise UserError(f"boundaries must rise, got {list(self.boundaries)}")
        _check_rates("values", self.values)

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
        _check_unit(self.unit)
        total = math.inf if self.total is None else self.total
        if self.restarts < 0 or self.warmup < 0 or total <= self.warmup:
            raise UserError(
                f"a cosine schedule needs total > warmup >= 0 and restarts >= 0, got total {self.total}, "
                f"warmup {self.warmup}, restarts {self.restarts}"
            )
        if not self.growth > 0:
            raise UserError(f"the growth of the periods must be positive, got {self.growth}")
        _check_rates("minimum", [self.minimum])

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
        if not 0 < self.factor < 1:
            raise UserError(f"the factor of a plateau schedule must lie between 0 and 1, got {self.factor}")
        if self.patience < 1 or self.cooldown < 0 or self.threshold < 0:
            raise UserError(
                f"a plateau schedule needs patience >= 1, cooldown >= 0 and threshold >= 0, got {self.patience}, "
                f"{self.cooldown} and {self.threshold}"
            )
        _check_rates("min_lr", [self.min_lr])

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
        if self.patience < 1 or self.threshold < 0:
            raise UserError(
                f"early stopping needs patience >= 1 and threshold >= 0, got {self.patience} and {self.threshold}"
            )
        direction(self.metric or "", self.mode)


SCHEDULES: Mapping[str, type[Schedule]] = {
    "Constant": Constant,
    "PiecewiseConstant": PiecewiseConstant,
    "Cosine": Cosine,
    "ReduceLROnPlateau": ReduceLROnPlateau,
}


def _check_unit(unit: str) -> None:
    if unit not in UNITS:
        raise UserError(f"the unit of a schedule must be step or epoch, got {unit!r}")


def _check_rates(name: str, rates: Sequence[float]) -> None:
    for rate in rates:
        number("schedule", name, rate, 0.0, math.inf)
