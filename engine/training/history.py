"""What a run did, and where it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.plan.table import preformatted, table

Record = dict[str, Any]

SHOWN, COLUMNS = 10, 6  # epochs and metrics that a notebook shows


@dataclass
class History:
    """What a run did: a record per epoch, which one was best (counted from 1), and whether it stopped early.

    best_hash: of the network of the best epoch (`engine.network.checkpoint.weights_hash`), where it was written.
    """

    metric: str
    epochs: list[Record] = field(default_factory=list)
    best_epoch: int | None = None
    best_value: float | None = None
    stopped_early: bool = False
    best_hash: str | None = None

    def __getitem__(self, name: str) -> list[float]:
        """The values of one metric, epoch by epoch."""
        return [record[name] for record in self.epochs]

    def __repr__(self) -> str:
        best = "" if self.best_value is None else f", best {self.best_epoch}: {self.metric} {self.best_value:.4g}"
        return f"History({len(self.epochs)} epochs{best}{', stopped early' if self.stopped_early else ''})"

    def _repr_html_(self) -> str:
        return preformatted(repr(self), "", *_brief(self.epochs))


def _brief(epochs: Sequence[Record]) -> list[str]:
    """A table of the metrics for a notebook: the first epochs and the last of many."""
    names = [name for name in (epochs[0] if epochs else ()) if name.startswith(("train_", "val_"))][:COLUMNS]
    figures = [tuple(f"{each[name]:.4g}" for name in names) for each in epochs]
    rows = [(str(each["epoch"]), *values) for each, values in zip(epochs, figures, strict=True)]
    lines = table([("epoch", *names), *rows], numeric=range(1 + COLUMNS))
    if len(rows) > SHOWN:
        lines[1 + SHOWN // 2 : -SHOWN // 2] = [f"… {len(rows) - SHOWN} more epochs"]
    return lines


@dataclass
class Position:
    """Where a run is: everything of it that a checkpoint must hold besides arrays; JSON-able.

    libraries: those that decide bytes of the run, each with the versions with which it was trained so far.
    """

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
    libraries: dict[str, list[str]] = field(default_factory=dict)

    def next_epoch(self) -> None:
        self.epoch += 1
        self.batch = self.samples = 0
        self.loss_sum = self.seconds = self.waited = 0.0
