"""What a schedule is.

A schedule answers `rate(base, step, epoch)`: the learning rate for the optimiser step number `step` (from 0, over the
whole run) in epoch `epoch` (from 0), where `base` is the optimiser's own. All but ReduceLROnPlateau are pure functions
of that position. `observe` is told the metrics at the end of each epoch; `state_dict` and `load_state` carry what a
schedule remembers through a checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.errors import UserError

UNITS = ("step", "epoch")


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


def check_unit(unit: str) -> None:
    if unit not in UNITS:
        raise UserError(f"the unit of a schedule must be step or epoch, got {unit!r}")
