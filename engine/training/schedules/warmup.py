"""A slow beginning, whatever the schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from engine.arguments import assign, instance, integer, number
from engine.errors import UserError
from engine.training.schedules.base import Schedule
from engine.training.schedules.fixed import Constant


@dataclass(frozen=True)
class WarmupConfig:
    """A slow beginning (Goyal et al. 2017): what the schedule gives, times a factor that rises in a straight line to 1.

    steps   so many optimiser steps; step 0 has the factor `start`, the first one behind the warm-up 1
    epochs  instead: the steps of so many epochs
    start   the first factor
    """

    steps: int | None = None
    epochs: int | None = None
    start: float = 0.1

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise UserError("warmup: give either steps or epochs")
        for name in ("steps", "epochs"):
            value = getattr(self, name)
            if value is not None:
                assign(self, **{name: integer("warmup", name, value, 1)})
        assign(self, start=number("warmup", "start", self.start, 0.0, math.inf))


@dataclass
class Warmup(Schedule):
    """A slow beginning of any schedule (Goyal et al. 2017): its rate times a factor that rises in a straight line to 1.

    The schedule counts its steps from the beginning of the run, so that with a warm-up its later rates are the same.

    schedule  what is begun slowly
    steps     so many optimiser steps; step 0 has the factor `start`, the first one behind the warm-up 1
    epochs    instead: the steps of so many epochs, whose length Trainer.fit tells
    start     the first factor
    """

    schedule: Schedule = field(default_factory=Constant)
    steps: int | None = None
    epochs: int | None = None
    start: float = 0.1

    def __post_init__(self) -> None:
        instance("Warmup", "schedule", self.schedule, Schedule, "a schedule such as Cosine()")
        checked = WarmupConfig(self.steps, self.epochs, self.start)
        self.steps, self.epochs, self.start = checked.steps, checked.epochs, checked.start
        self._length = self.steps

    @property
    def metric(self) -> str | None:  # type: ignore[override]  # that of the schedule
        return self.schedule.metric

    def for_run(self, epochs: int, steps: int) -> Schedule:
        found = replace(self, schedule=self.schedule.for_run(epochs, steps))
        found._length = self.steps if self.epochs is None else self.epochs * steps
        return found

    def rate(self, base: float, step: int, epoch: int) -> float:
        if self._length is None:
            raise UserError("a warm-up of epochs belongs to a run of Trainer.fit; give steps for any step")
        rate = self.schedule.rate(base, step, epoch)
        if step >= self._length:
            return rate
        return rate * (self.start + (1.0 - self.start) * step / self._length)

    def observe(self, record: Mapping[str, float]) -> None:
        self.schedule.observe(record)

    def state_dict(self) -> dict[str, Any]:
        return self.schedule.state_dict()

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.schedule.load_state(state)
