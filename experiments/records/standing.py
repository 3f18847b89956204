"""What a report knows of each run: its result where it has ended, else how far its log says it has come."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from engine.training.folder import LOG, read_epochs
from experiments.records.result import Result
from experiments.records.store import Store
from experiments.tasks.keys import Run

State = Literal["finished", "diverged", "failed", "running", "waiting"]


@dataclass(frozen=True)
class ReportedRun:
    """One run as it stands.

    metrics   at the epoch that counts; of a run that goes on, at its last epoch
    epochs    those in the log so far, of `planned`; seconds: training alone, summed over them
    data      SHA-256 of the files that it reads
    folder    the run's own; it need not exist yet
    result    of a run that has ended
    """

    key: str
    row: str
    seed: int
    state: State
    metrics: Mapping[str, float] = field(default_factory=dict)
    best_epoch: int | None = None
    epochs: int = 0
    planned: int = 0
    parameters: int | None = None
    seconds: float = 0.0
    error: str = ""
    data: str = ""
    folder: Path = Path()
    result: Result | None = None

    @property
    def seconds_per_epoch(self) -> float | None:
        return self.seconds / self.epochs if self.epochs else None


def reported_runs(planned: Iterable[Run], store: Store, accept_code: bool = False) -> list[ReportedRun]:
    """The study's runs in their order; with `accept_code` results of other code count, too. UserError for a result or
    log that cannot be read."""
    return [_reported(run, store, accept_code) for run in planned]


def _reported(run: Run, store: Store, accept_code: bool) -> ReportedRun:
    result, folder = store.result(run, accept_code), store.folder(run)
    started = ReportedRun(
        run.key, run.row, run.seed, "waiting", planned=run.config.epochs, data=run.data, folder=folder
    )
    if result is not None:
        return dataclasses.replace(
            started,
            state=result.status,
            metrics=result.metrics,
            best_epoch=result.best_epoch,
            epochs=result.epochs,
            parameters=result.parameters or None,
            seconds=result.seconds,
            error=result.error,
            folder=result.folder,
            result=result,
        )
    if not folder.is_dir():
        return started
    log = read_epochs(folder / LOG)
    seconds = sum(float(record["seconds"]) for record in log)
    metrics = _metrics(log[-1]) if log else {}
    return dataclasses.replace(started, state="running", metrics=metrics, epochs=len(log), seconds=seconds)


def _metrics(record: Mapping[str, Any]) -> dict[str, float]:
    parts = ("train_", "val_", "test_")
    return {name: float(value) for name, value in record.items() if name.startswith(parts) and value is not None}


def of_row(runs: Sequence[ReportedRun], row: str) -> list[ReportedRun]:
    return [run for run in runs if run.row == row]
