"""How far a study is: what is on record, what was begun, what is missing. Looks, and changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from engine.training.folder import logged_epochs
from experiments.records.locks import holder
from experiments.records.result import Result
from experiments.records.store import Store
from experiments.tasks.graph import Graph, Task
from experiments.tasks.keys import Run
from experiments.words import duration

State = Literal["finished", "diverged", "failed", "begun", "stale", "missing"]


@dataclass(frozen=True)
class RunStatus:
    """One run: what it is, and its last epoch of how many; `result` where there is one.

    finished, diverged   done, and not run again
    failed               ended with an error; the next command tries again
    begun                running, or cut off; the next command goes on
    stale                there is a result of other code; the next command runs it again, unless --accept-code
    """

    run: Run
    state: State
    epochs: int
    result: Result | None = None

    @property
    def done(self) -> bool:
        return self.state in ("finished", "diverged")


def run_status(task: Task, store: Store, accept_code: bool = False) -> RunStatus:
    """The state of one run, from the store and its folder."""
    run = task.run
    result = store.result(run, accept_code)
    if result is not None:
        return RunStatus(run, result.status, result.epochs, result)
    folder = store.folder(run)
    if folder.is_dir():
        return RunStatus(run, "begun", len(logged_epochs(folder)))
    stale = store.stale(run)
    return RunStatus(run, "stale" if stale else "missing", 0, stale)


def study_status(graph: Graph, store: Store, accept_code: bool = False) -> list[RunStatus]:
    """Every run of the study once, in the order in which they run."""
    return [run_status(task, store, accept_code) for task in graph.tasks]


def remaining_seconds(runs: Sequence[RunStatus]) -> float | None:
    """Seconds of training that are left, one run after the other, from the seconds per epoch of the same row's results,
    or else of all; None while nothing has finished."""
    measured = [(each.run.row, each.result.seconds_per_epoch) for each in runs if each.result is not None]
    known = [(row, seconds) for row, seconds in measured if seconds is not None]
    if not known:
        return None
    total = 0.0
    for each in runs:
        if not each.done:
            own = [seconds for row, seconds in known if row == each.run.row]
            left = each.run.config.epochs - (0 if each.state == "stale" else each.epochs)
            total += left * fmean(own or [seconds for _, seconds in known])
    return total


def status_text(runs: Sequence[RunStatus], store: Store) -> str:
    """For a reader: a line per row, then what is done, at work and left."""
    rows: dict[str, list[RunStatus]] = {}
    for each in runs:
        rows.setdefault(each.run.row, []).append(each)
    width = max(map(len, rows), default=0)
    text = [f"{row.ljust(width)}  {_row_text(each)}" for row, each in rows.items()]
    counts = Counter(each.state for each in runs)
    text += ["", f"{len(runs)} runs: " + ", ".join(f"{count} {state}" for state, count in counts.most_common())]
    pid = holder(store.root)
    if pid is not None:
        text.append(f"process {pid} is at work on them")
    left = remaining_seconds(runs)
    if left:
        text.append(f"left: about {duration(left)} of training")
    return "\n".join(text)


def _row_text(runs: Sequence[RunStatus]) -> str:
    states = Counter(each.state for each in runs)
    if len(states) == 1 and not {"begun", "failed"} & set(states):
        return f"{runs[0].state} ({len(runs)}/{len(runs)})"
    return "; ".join(f"seed {each.run.seed}: {_run_text(each)}" for each in runs)


def _run_text(each: RunStatus) -> str:
    if each.state == "begun":
        return f"begun, epoch {each.epochs} of {each.run.config.epochs}"
    if each.state == "failed" and each.result is not None:
        return f"failed ({each.result.error})"
    return each.state
