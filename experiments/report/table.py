"""A report as pure data: what a study's table says, before anything is formatted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from experiments.config import PublishedValue, Row, Study, headline
from experiments.stats import Estimate, estimate
from experiments.store import Result
from experiments.study.schema import FULL


@dataclass(frozen=True)
class Column:
    """One column: `key` names it in files, `title` on paper; `digits` after the point where it holds floats."""

    key: str
    title: str
    kind: Literal["text", "number"] = "number"
    digits: int = 0


@dataclass(frozen=True)
class Marked:
    """A value with the mark of a note below the table."""

    value: float
    mark: str


Cell = str | int | float | Estimate | Marked | None


@dataclass(frozen=True)
class Table:
    """Cells by row in the order of the columns, and the notes that belong below them."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = field(default=())


def study_table(study: Study, results: Sequence[Result]) -> Table:
    """The table of a study: one line per row, averaged over the seeds that finished.

    `results` may be incomplete: a row without any has empty cells. A diverged run does not enter the mean; the column
    "runs" then shows how many of how many did.
    """
    columns = (
        Column("row", "row", "text"),
        Column("learning_rate", "lr", digits=4),
        Column("published", study.published.title, digits=4),
        Column(study.metric, study.metric.replace("_", " ").replace("f1", "F1"), digits=4),
        Column("runs", "runs", "text"),
        Column("parameters", "parameters"),
        Column("seconds", "training s", digits=1),
    )
    marks = _footnote_marks(study)
    lines = tuple(
        _line(row, study.metric, _published(study, row), [each for each in results if each.row == row.name], marks)
        for row in study.rows
    )
    return Table(study.name, study.title, columns, lines, _notes(study, results, marks))


def _published(study: Study, row: Row) -> PublishedValue | None:
    return row.published.get(headline(study, row))


def _line(
    row: Row, metric: str, published: PublishedValue | None, results: Sequence[Result], marks: dict[str, str]
) -> tuple[Cell, ...]:
    finished = [each for each in results if each.status == "finished"]
    shown: Cell = None
    if published is not None:
        shown = published.value
        notes = _row_notes(row, published)
        if notes:
            shown = Marked(published.value, " ".join(marks[note] for note in notes))
    seconds = estimate([each.seconds for each in finished])
    return (
        row.name,
        row.learning_rate,
        shown,
        estimate([each.metrics[metric] for each in finished if metric in each.metrics]),
        f"{len(finished)}/{len(results)}",
        results[0].parameters if results else None,
        seconds.mean if seconds else None,
    )


def _row_notes(row: Row, published: PublishedValue) -> list[str]:
    incomparable = f"not comparable: {row.incomparable}" if row.incomparable else ""
    return [note for note in (published.note, *row.footnotes, incomparable) if note]


def _footnote_marks(study: Study) -> dict[str, str]:
    """A mark (a), (b), ... for each distinct note of a published value, in order of appearance."""
    published = [(row, _published(study, row)) for row in study.rows]
    notes = dict.fromkeys(note for row, value in published if value for note in _row_notes(row, value))
    return {note: f"({chr(ord('a') + place)})" for place, note in enumerate(notes)}


def _notes(study: Study, results: Sequence[Result], marks: dict[str, str]) -> tuple[str, ...]:
    published = (f"{study.published.title}: {study.published.source}",) if study.published.source else ()
    footnotes = tuple(f"{mark} {note}" for note, mark in marks.items())
    failures = tuple(f"{each.row}, seed {each.seed}: {each.error}" for each in results if each.status != "finished")
    report = tuple(f"About the report: {text}" for text in study.footnotes)
    budget = (f"Budget {study.budget.name}: {study.budget.how}",) if study.budget.name != FULL else ()
    assumptions = tuple(f"Assumption: {text}" for text in study.assumptions)
    overrides = (f"Changed for this table: {', '.join(study.overrides)}",) if study.overrides else ()
    return published + budget + footnotes + report + assumptions + overrides + failures
