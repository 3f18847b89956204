"""Which rows of a study are still open, and the seeds that the next look at them needs (`experiments.sequential`)."""

from __future__ import annotations

import dataclasses

from experiments.report.summary import RowSummary, StudySummary
from experiments.sequential import looks
from experiments.stats import CONFIDENCE
from experiments.study.study import Row, Study, seeds_of

OPEN = ("compatible", "too few seeds")


def open_verdict(row: RowSummary) -> bool:
    """Whether more seeds could still decide on the row's published value."""
    found = row.main.verdict
    return found is not None and found.word in OPEN and row.main.margin is not None


def open_comparison(row: RowSummary) -> bool:
    """Whether more seeds could still decide how the row stands to its base row."""
    found = row.comparison
    return found is not None and not row.alike and (found.p is None or found.p >= 1 - CONFIDENCE)


def with_next_seeds(study: Study, summary: StudySummary, most: int) -> Study:
    """The study with the seeds of the next look for every row that is open, and for the base row where it is the
    comparison that is; the same study where nothing is open, or a row has `most` seeds. A row of which a run failed or
    diverged gets no more: what it lacks are not seeds."""
    wanted: dict[str, int] = {}
    names = {row.name: row for row in study.rows}
    for row in summary.rows:
        if row.finished < row.planned or not (open_verdict(row) or open_comparison(row)):
            continue
        count = _next(study, names[row.name], most)
        pair = [row.name, row.base] if open_comparison(row) and row.base else [row.name]
        for name in pair:
            trained = names[name].same_as or name
            for each in {name, trained}:
                wanted[each] = max(wanted.get(each, 0), count)
    rows = tuple(
        dataclasses.replace(row, more_seeds=_further(study, row, wanted.get(row.name, 0))) for row in study.rows
    )
    return dataclasses.replace(study, rows=rows)


def _next(study: Study, row: Row, most: int) -> int:
    """How many seeds the row's next look has, or its own number where that was the last."""
    count = len(seeds_of(study, row))
    return next((look for look in looks(len(study.seeds)) if count < look <= most), count)


def _further(study: Study, row: Row, count: int) -> tuple[int, ...]:
    """The row's seeds beyond the study's where it has `count` in all: the numbers that follow the largest one."""
    following = max((*study.seeds, *row.more_seeds)) + 1
    missing = max(0, count - len(study.seeds) - len(row.more_seeds))
    return (*row.more_seeds, *range(following, following + missing))
