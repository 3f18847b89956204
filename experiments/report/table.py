"""A study's table as pure data: what stands in every cell and below the table, before anything is formatted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from experiments.report.summary import EPOCH_SECONDS, FIGURES, PARAMETERS, Measure, RowSummary, StudySummary
from experiments.sequential import why_untested
from experiments.stats import CONFIDENCE, MIN_VERDICT, Bounds, Estimate
from experiments.study.study import Study

BETTER = "*"


@dataclass(frozen=True)
class Column:
    """One column: `key` names it in files, `title` on paper; `digits` after the point where it holds floats.

    form    signed: with + or -; general: as short as it goes; p: a probability, tiny ones as "<0.001"
    detail  may be left out where space is short
    """

    key: str
    title: str
    kind: Literal["text", "number"] = "number"
    digits: int = 0
    form: Literal["plain", "signed", "general", "p"] = "plain"
    detail: bool = False


@dataclass(frozen=True)
class Marked:
    """A value with the marks of notes below the table."""

    value: str | int | float
    mark: str


Cell = str | int | float | Estimate | Bounds | Marked | None
Filler = Callable[[RowSummary], Cell]


@dataclass(frozen=True)
class Table:
    """Cells by row in the order of the columns, and the notes that belong below them."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = field(default=())

    def column(self, key: str) -> tuple[Cell, ...]:
        """The cells of one column, by its key; KeyError where the table has none such."""
        places = {column.key: place for place, column in enumerate(self.columns)}
        return tuple(row[places[key]] for row in self.rows)


def study_table(study: Study, summary: StudySummary) -> Table:
    """The table of a study, one line per row: one without any result has empty cells. Of the columns without which a
    study can be read, those with empty cells only are left out."""
    marks = _marks(summary)
    filled = [(column, [fill(row) for row in summary.rows]) for column, fill in _layout(study, summary, marks)]
    kept = {"row", "runs", *(row.headline for row in summary.rows)}
    shown = [
        (column, cells)
        for column, cells in filled
        if column.key in kept or any(cell not in (None, "") for cell in cells)
    ]
    columns = tuple(column for column, _ in shown)
    rows = tuple(zip(*(cells for _, cells in shown)))
    title = f"{study.title} (budget: {summary.budget.name})"
    return Table(study.name, title, columns, rows, _notes(study, summary, marks, {column.key for column in columns}))


def metric_title(key: str) -> str:
    """A metric's name on paper: "val macro F1", "test accuracy", "s/epoch"."""
    return "s/epoch" if key == EPOCH_SECONDS else key.replace("_", " ").replace("f1", "F1")


# ---- columns ----


def _layout(study: Study, summary: StudySummary, marks: dict[str, str]) -> list[tuple[Column, Filler]]:
    """Every column with what fills it."""
    groups = len({row.group for row in summary.rows}) > 1
    rates = len({row.learning_rate for row in summary.rows}) > 1
    headlines = {row.headline for row in summary.rows}
    layout: list[tuple[Column, Filler]] = [
        (Column("group", "table", "text"), lambda row: row.group if groups else None),
        (Column("row", "row", "text"), lambda row: _marked(row.name, _row_notes(summary, row), marks)),
        (Column("learning_rate", "lr", form="general"), lambda row: row.learning_rate if rates else None),
    ]
    for key in summary.columns:
        if key not in FIGURES:
            layout += _metric_columns(study, key, detail=key not in headlines, marks=marks)
    return [
        *layout,
        (Column("verdict", "verdict", "text"), lambda row: _verdict(row, row.headline)),
        (Column("prediction_half_width", "± of one more run", digits=4), lambda row: _half_width(row.main)),
        (Column("vs_base", "vs base", digits=4, form="signed"), _against_base),
        (Column("vs_base_interval", "95 % of vs base", digits=4, detail=True), _base_bounds),
        (Column("p", "p (Holm)", digits=3, form="p"), lambda row: row.comparison and row.comparison.p),
        (Column("more_pairs", "more seeds to decide vs base", detail=True), lambda row: row.more_pairs),
        (Column("runs", "runs", "text"), _runs),
        (Column("published_parameters", "published parameters"), lambda row: _published(row, PARAMETERS, marks)),
        (Column("parameters", "parameters"), lambda row: row.parameters),
        *_ratio_columns(summary),
        (
            Column(f"published_{EPOCH_SECONDS}", "published s/epoch", digits=1, detail=True),
            lambda row: _published(row, EPOCH_SECONDS, marks),
        ),
        (
            Column(EPOCH_SECONDS, metric_title(EPOCH_SECONDS), digits=1, detail=True),
            lambda row: _mean(row.measures[EPOCH_SECONDS].ours),
        ),
        (Column("seconds", "training s", digits=1), lambda row: _mean(row.seconds)),
    ]


def _metric_columns(study: Study, key: str, detail: bool, marks: dict[str, str]) -> list[tuple[Column, Filler]]:
    """Published, ours, interval, difference; the verdict too where it is not the headline's."""
    title = metric_title(key)

    def other_verdict(row: RowSummary) -> Cell:
        return None if key == row.headline else _verdict(row, key)

    def other_half_width(row: RowSummary) -> Cell:
        return None if key == row.headline else _half_width(row.measures[key])

    return [
        (
            Column(f"published_{key}", f"{study.published.title}: {title}", digits=4, detail=detail),
            lambda row: _published(row, key, marks),
        ),
        (Column(key, title, digits=4, detail=detail), lambda row: row.measures[key].ours),
        (Column(f"{key}_interval", "95 % of mean", digits=4, detail=True), lambda row: row.measures[key].interval),
        (
            Column(f"{key}_difference", "ours - published", digits=4, form="signed", detail=detail),
            lambda row: row.measures[key].difference,
        ),
        (Column(f"{key}_verdict", f"verdict on {title}", "text", detail=True), other_verdict),
        (Column(f"{key}_half_width", f"± of one more run, {title}", digits=4, detail=True), other_half_width),
    ]


def _ratio_columns(summary: StudySummary) -> list[tuple[Column, Filler]]:
    """Accuracy per million parameters, where rows differ in their number."""
    if len({row.parameters for row in summary.rows} - {None}) < 2:
        return []
    return [
        (
            Column("published_per_million", "published acc/M", digits=4, detail=True),
            lambda row: row.published_per_million,
        ),
        (Column("per_million", "acc/M", digits=4, detail=True), lambda row: row.per_million),
    ]


def _published(row: RowSummary, key: str, marks: dict[str, str]) -> Cell:
    found = row.measures[key].published
    if found is None:
        return None
    value = int(found.value) if key == PARAMETERS and found.value.is_integer() else found.value
    return _marked(value, [found.note] if found.note else [], marks)


def _marked(value: str | int | float, notes: Sequence[str], marks: dict[str, str]) -> Cell:
    return Marked(value, " ".join(marks[note] for note in notes)) if notes else value


def _verdict(row: RowSummary, key: str) -> str | None:
    """The word, and for one that is undecided what would decide it."""
    found = row.measures[key].verdict
    return None if found is None else str(found) if found.word == "compatible" else found.word


def _half_width(measure: Measure) -> float | None:
    """Of the prediction interval that a published value was held against."""
    judged = measure.verdict is not None and measure.verdict.word in ("reproduced", "compatible", "above", "below")
    bounds = measure.prediction
    return (bounds.high - bounds.low) / 2 if judged and bounds is not None else None


def _against_base(row: RowSummary) -> Cell:
    if row.base == row.name:
        return "base"
    if row.comparison is None:
        return None
    return Marked(row.comparison.difference, BETTER) if row.comparison.better else row.comparison.difference


def _base_bounds(row: RowSummary) -> Cell:
    return None if row.comparison is None else row.comparison.bounds


def _runs(row: RowSummary) -> str:
    """ "4/5", and how the others ended."""
    counts = {"diverged": row.diverged, "failed": row.failed, "not finite": row.without_figure}
    ends = [f"{count} {how}" for how, count in counts.items() if count]
    return ", ".join([f"{row.finished}/{row.planned}", *ends])


def _mean(found: Estimate | None) -> float | None:
    return None if found is None else found.mean


# ---- notes ----


def _row_notes(summary: StudySummary, row: RowSummary) -> list[str]:
    """Notes on the row as a whole; what makes every row incomparable is said once for all."""
    same = [f"the runs of {row.same_as}, which trains the same"] if row.same_as else []
    judged = any(each.verdict for each in row.measures.values())
    own = row.incomparable if judged and row.incomparable != summary.incomparable else ""
    limits = [f"as far as the data at hand go: {row.limits}"] if judged and row.limits else []
    return [*row.footnotes, *same, *limits, *([f"not comparable: {own}"] if own else [])]


def _marks(summary: StudySummary) -> dict[str, str]:
    """A mark (a), (b), ..., (z), (aa), ... for each distinct note, in order of appearance."""
    notes: dict[str, None] = {}
    for row in summary.rows:
        published = [each.published for each in row.measures.values()]
        notes |= dict.fromkeys([*_row_notes(summary, row), *(each.note for each in published if each and each.note)])
    return {note: f"({letters(place)})" for place, note in enumerate(notes)}


def letters(place: int) -> str:
    """a, b, ..., z, aa, ..."""
    rest, letter = divmod(place, 26)
    return (letters(rest - 1) if rest else "") + chr(ord("a") + letter)


def _notes(study: Study, summary: StudySummary, marks: dict[str, str], columns: set[str]) -> tuple[str, ...]:
    source = study.published
    notes = [f"{source.title}: {source.source}"] if source.source else []
    places = [f"{metric_title(key)}, {place}" for key, place in source.columns.items() if f"published_{key}" in columns]
    if places:
        notes.append(f"{source.title}, columns: {'; '.join(places)}")
    notes.append(f"Budget {summary.budget.name}: {summary.budget.how}")
    notes += [f"{mark} {note}" for note, mark in marks.items()]
    notes += [f"About the report: {text}" for text in study.footnotes]
    notes += _reading_notes(summary, columns)
    notes += [f"Assumption: {text}" for text in study.assumptions]
    if study.overrides:
        notes.append(f"Changed for this table: {', '.join(study.overrides)}")
    notes += [f"{row.name}, {row.error}" for row in summary.rows if row.error]
    return tuple(notes)


def _margins(summary: StudySummary) -> str:
    """ "val macro F1: 0.01": the margin of every metric that was judged."""
    judged = {key: each.margin for row in summary.rows for key, each in row.measures.items() if each.verdict}
    return ", ".join(
        f"{metric_title(key)}: {'none stated' if margin is None else f'{margin:g}'}" for key, margin in judged.items()
    )


def _reading_notes(summary: StudySummary, columns: set[str]) -> list[str]:
    """How the statistics are to be read: only of those that the table has."""
    percent = f"{100 * CONFIDENCE:g} %"
    notes = []
    if any(row.main.ours and row.main.ours.std is not None for row in summary.rows):
        notes.append(
            "mean ± standard deviation over the seeds that finished; "
            f"{percent} of mean: BCa bootstrap interval, of two or three seeds about their range"
        )
    if "verdict" in columns:
        notes.append(
            f"verdict: reproduced where the published value lies in the {percent} t prediction interval of our seeds "
            f"(from {MIN_VERDICT} seeds up) and our mean is equivalent to it within the margin ({_margins(summary)}; "
            f"two one-sided t-tests at {1 - CONFIDENCE:.2f}); compatible: the first alone; above, below: our runs lie "
            "above or below it; seeds that would decide: were mean and standard deviation to stay as they are"
        )
        verdicts = [row.main.verdict for row in summary.rows if row.main.verdict and not row.incomparable]
        reasons = dict.fromkeys(each.reason for each in verdicts if each.word == "not comparable")
        notes += [f"not comparable: {each}" for each in dict.fromkeys([summary.incomparable, *reasons]) if each]
    if "vs_base" in columns:
        bases = dict.fromkeys(row.base for row in summary.rows if row.base)
        text = f"vs base: mean difference, seed by seed, to {' or '.join(map(str, bases))}"
        if summary.tests:
            text += (
                f"; p: paired t-test, two-sided, corrected by Holm for {summary.tests} comparisons; "
                f"{BETTER} better than the base row (p < {1 - CONFIDENCE:.2f})"
            )
        first = summary.sequential[0] if summary.sequential else None
        untested = [row.comparison.count for row in summary.rows if row.comparison and row.comparison.p is None]
        reasons = dict.fromkeys(why_untested(count, first) for count in untested)
        notes.append("; ".join([text, *(reasons or ([] if summary.tests else [why_untested(0, first)]))]))
    if summary.sequential:
        numbers = ", ".join(map(str, summary.sequential))
        notes.append(
            f"seeds were added until rows were decided, and looked at after {numbers} of them: the "
            f"looks spend {1 - CONFIDENCE:.2f} in all, in proportion to their seeds (Kim & DeMets 1987), and so do "
            "those of the tests against the base row"
        )
    if "per_million" in columns and summary.accuracy:
        notes.append(f"acc/M: {metric_title(summary.accuracy)} per million parameters")
    return notes
