"""Sends what a run logs to TensorBoard and to Weights & Biases as well, where its configuration asks for it.

A tracker hears what `RunLog` writes: `restart` with the epochs that there are when a run begins or goes
on, `append` with each new one, `event` with anything else. Packages are imported when a tracker is made.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engine.errors import UserError
from engine.training.folder import BOARD, EVENTS

Record = Mapping[str, Any]
UNTOLD = ("epoch", "step")  # of an epoch's record: places, and no values


@dataclass(frozen=True)
class WandbConfig:
    """How runs stand at Weights & Biases.

    project  as wandb.init takes it
    entity   as wandb.init takes it
    name     of the run (null: its folder's)
    group    as wandb.init takes it
    tags     as wandb.init takes them
    mode     offline keeps everything in the run's folder, for `wandb sync`; online needs an account (`wandb login`)
    """

    project: str = "cnn-engine"
    entity: str | None = None
    name: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()
    mode: Literal["online", "offline", "disabled"] = "offline"


class Tracker:
    """Hears nothing; base of the others."""

    def restart(self, records: Sequence[Record]) -> None:
        """The run begins with these epochs behind it (none for a new run)."""

    def append(self, record: Record) -> None:
        """An epoch has ended."""

    def event(self, record: Record) -> None:
        """Something that is not an epoch, named by its key "event"."""

    def close(self) -> None:
        """The run has ended, well or not."""


class TensorBoard(Tracker):
    """Scalars by epoch in FOLDER/tensorboard; `tensorboard --logdir` on any folder above shows them."""

    def __init__(self, folder: Path):
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError:
            raise UserError('tensorboard: true needs TensorBoard: pip install "cnn-engine[tensorboard]"') from None
        self._make_writer = EventFileWriter
        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        self._folder = folder / BOARD
        self._writer: Any = None

    def restart(self, records: Sequence[Record]) -> None:
        # A run that goes on tells its epochs again: those that a killed process wrote after its last checkpoint go.
        for stale in self._folder.glob(EVENTS):
            stale.unlink()
        self._writer = self._make_writer(str(self._folder))
        for record in records:
            self.append(record)

    def append(self, record: Record) -> None:
        numbers_by_tag = {tag(name): value for name, value in numbers(record).items()}
        values = [self._summary.Value(tag=name, simple_value=value) for name, value in numbers_by_tag.items()]
        summary = self._summary(value=values)
        self._writer.add_event(self._event(wall_time=time.time(), step=record["epoch"], summary=summary))
        self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class Wandb(Tracker):
    """A run at Weights & Biases, with the configuration; files of offline runs lie in FOLDER/wandb."""

    def __init__(self, folder: Path, settings: WandbConfig, config: Mapping[str, Any]):
        try:
            import wandb
        except ImportError:
            raise UserError('wandb needs its package: pip install "cnn-engine[wandb]"') from None
        self._wandb: Any = wandb
        self._folder, self._settings, self._config = folder, settings, config
        self._run: Any = None

    def restart(self, records: Sequence[Record]) -> None:
        settings = self._settings
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._run = self._wandb.init(
                project=settings.project,
                entity=settings.entity,
                name=settings.name or self._folder.name,
                group=settings.group,
                tags=list(settings.tags),
                mode=settings.mode,
                dir=str(self._folder),
                config=dict(self._config),
                # The same folder is the same run, however often it goes on.
                id=hashlib.sha256(str(self._folder.resolve()).encode()).hexdigest()[:16],
                resume="allow",
                settings=self._wandb.Settings(silent=True),
            )
        except self._wandb.errors.Error as error:
            raise UserError(f"wandb: {' '.join(str(error).split())} (mode: offline needs no account)") from None
        for record in records:
            self.append(record)

    def append(self, record: Record) -> None:
        self._run.log({tag(name): value for name, value in numbers(record).items()}, step=record["epoch"])

    def event(self, record: Record) -> None:
        self._run.summary[f"event/{record['event']}"] = str(record.get("message", True))

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()
            self._run = None


def make_trackers(
    folder: Path | None, tensorboard: bool, wandb: WandbConfig | None, config: Mapping[str, Any]
) -> list[Tracker]:
    """Those that a configuration asks for. UserError, with pip's command, where the package is missing."""
    if folder is None:
        return []
    trackers: list[Tracker] = []
    if tensorboard:
        trackers.append(TensorBoard(folder))
    if wandb is not None:
        trackers.append(Wandb(folder, wandb, config))
    return trackers


def tag(name: str) -> str:
    """val_macro_f1 as val/macro_f1, so that both tools show the parts of a run as groups."""
    part, _, metric = name.partition("_")
    return f"{part}/{metric}" if part in ("train", "val", "test") else name


def numbers(record: Record) -> dict[str, float]:
    """The finite numbers of an epoch by name."""
    return {
        name: float(value)
        for name, value in record.items()
        if name not in UNTOLD and isinstance(value, (int, float)) and math.isfinite(value)
    }
