"""What a run did, and where it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Record = dict[str, Any]


@dataclass
class History:
    """What a run did: a record per epoch, which one was best (counted from 1), and whether it stopped early."""

    metric: str
    epochs: list[Record] = field(default_factory=list)
    best_epoch: int | None = None
    best_value: float | None = None
    stopped_early: bool = False

    def __getitem__(self, name: str) -> list[float]:
        """The values of one metric, epoch by epoch."""
        return [record[name] for record in self.epochs]


@dataclass
class Position:
    """Where a run is: everything of it that a checkpoint must hold besides arrays; JSON-able."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    samples: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    stale: int = 0
    stop_best: float | None = None
    history: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)
