"""How runs stand: their results where they have ended, else how far their logs say they have come. Looks, and changes
nothing; --status, --dry-run, --export, the report and the live page all ask here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from engine.errors import UserError
from engine.training.folder import LOG, PARTS, read_epochs, trained_seconds
from experiments.records.result import Result, Status
from experiments.records.store import Store
from experiments.tasks.keys import Run

State = Literal[Status, "begun", "stale", "missing"]
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True)
class Standing:
    """One run as it stands.

    state     finished, diverged   done, and not run again
              failed               ended with an error; the next command tries again
              begun                running, or cut off; the next command goes on
              stale                there is a result of other code; the next command runs it again, unless --accept-code
              missing              nothing of it is there
    folder    the run's own, or that of its accepted result; it need not exist yet
    result    of a run that has ended
    outdated  of a stale run, the result of other code
    epochs    those that were trained, of `planned`; seconds: of training alone, summed over them
    metrics   at the epoch that counts; of a run that was begun, at its last epoch
    error     what a failed or diverged run ended with, or what is wrong with the log of one that was begun
    """

    run: Run
    state: State
    folder: Path
    result: Result | None = None
    outdated: Result | None = None
    epochs: int = 0
    seconds: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    error: str = ""

    @classmethod
    def ended(cls, run: Run, result: Result) -> Standing:
        """Of a run with a result."""
        return cls(
            run,
            result.status,
            result.folder,
            result,
            epochs=result.epochs,
            seconds=result.seconds,
            metrics=result.metrics,
            error=result.error,
        )

    @property
    def key(self) -> str:
        return self.run.key

    @property
    def row(self) -> str:
        return self.run.row

    @property
    def seed(self) -> int:
        return self.run.seed

    @property
    def planned(self) -> int:
        return self.run.config.epochs

    @property
    def best_epoch(self) -> int | None:
        return None if self.result is None else self.result.best_epoch

    @property
    def done(self) -> bool:
        """Whether the next command leaves it alone."""
        return self.result is not None and self.result.final

    @property
    def seconds_per_epoch(self) -> float | None:
        """From what is on record, also by other code."""
        known = self.result or self.outdated
        return None if known is None else known.seconds_per_epoch


def standings(runs: Iterable[Run], store: Store, accept_code: bool = False) -> list[Standing]:
    """How the runs stand, in their order; with `accept_code` results of other code count, too.

    UserError for a result that cannot be read. A log that cannot is no reason to tell nothing of the other runs: its
    own stands as begun, without epochs, and with the error.
    """
    return [_standing(run, store, accept_code) for run in runs]


def results_of(runs: Iterable[Standing]) -> list[Result]:
    """The results of those that have ended."""
    return [each.result for each in runs if each.result is not None]


def _standing(run: Run, store: Store, accept_code: bool) -> Standing:
    result, folder = store.result(run, accept_code), store.folder(run)
    if result is not None:
        return Standing.ended(run, result)
    if not folder.is_dir():
        outdated = store.stale(run)
        return Standing(run, "stale" if outdated else "missing", folder, outdated=outdated)
    try:
        log = read_epochs(folder / LOG)
    except UserError as error:
        return Standing(run, "begun", folder, error=str(error))
    metrics = _metrics(log[-1]) if log else {}
    return Standing(run, "begun", folder, epochs=len(log), seconds=trained_seconds(log), metrics=metrics)


def _metrics(record: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in record.items() if name.startswith(PARTS) and value is not None}
