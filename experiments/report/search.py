"""The table of a search."""

from __future__ import annotations

from typing import Any

from experiments.report.table import Cell, Column, Table, metric_title
from experiments.running.search import Trial, best_trial
from experiments.study.study import Study


def search_table(study: Study, trials: list[Trial]) -> Table:
    """One line per trial; the best one is named below."""
    search = study.search
    assert search is not None
    columns = (
        Column("trial", "trial"),
        *(Column(name, name, form="general") for name in search.space),
        Column(study.metric, metric_title(study.metric), digits=4),
        Column("status", "ended", "text"),
        Column("epochs", "epochs"),
        Column("seconds", "training s", digits=1),
    )
    rows = tuple(
        (
            each.number,
            *(_cell(each.values[name]) for name in search.space),
            each.value,
            each.status,
            each.epochs,
            each.seconds,
        )
        for each in trials
    )
    best = best_trial(study, trials)
    notes = [f"Budget {study.budget.name}: {study.budget.how}"]
    if best is not None:
        settings = " ".join(f"{name}={value}" for name, value in best.values.items())
        notes.append(
            f"best: trial {best.number} ({settings}). Its value was picked as the best of many on the data that picked "
            "it, and so flatters: train it as a row, with several seeds, before it is compared"
        )
    if search.prune:
        notes.append(
            f"pruned: worse than the median of earlier trials at the same epoch (after {search.startup_trials} trials "
            f"and {search.warmup_epochs} epochs)"
        )
    notes += [f"trial {each.number}: {each.error}" for each in trials if each.error]
    title = f"{study.title}: search from {search.row} (budget: {study.budget.name})"
    return Table(f"{study.name}-search", title, columns, rows, tuple(notes))


def _cell(value: Any) -> Cell:
    return value if isinstance(value, int | float | str) and not isinstance(value, bool) else str(value)
