"""A study's report as pure data: `build_document` gathers and words everything, a renderer only lays it out."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.reading.yaml_text import dump_yaml
from engine.recipe.config import TrainConfig
from engine.recipe.roles import untold
from experiments.records.standing import STATES, Standing
from experiments.report.forest import Forest, forests
from experiments.report.provenance import Fact
from experiments.report.summary import RowSummary, StudySummary
from experiments.report.table import Cell, Column, Table, metric_title, study_table
from experiments.study.schema import FULL
from experiments.study.study import Row, Study
from experiments.words import exact_duration

UNTOLD = untold(TrainConfig)
TOLD_ELSEWHERE = ("Assumption: ", "About the report: ", "Budget ", "Changed for this table: ")  # of a table's notes


@dataclass(frozen=True)
class Picture:
    """A drawing in the page: `data` is SVG markup or a PNG's bytes; `text` stands for it where it cannot be seen."""

    name: str
    caption: str
    text: str
    data: str | bytes
    width: int = 0  # of a PNG, in pixels, like `height`
    height: int = 0

    @property
    def size(self) -> int:
        """Bytes in the page; base64 makes four of three."""
        return len(self.data.encode()) if isinstance(self.data, str) else (len(self.data) + 2) // 3 * 4


@dataclass(frozen=True)
class Point:
    """A row in a chart: its number in the tables, and the mean and standard deviation of its headline metric."""

    number: int
    row: str
    group: str
    x: float
    y: float
    std: float | None


@dataclass(frozen=True)
class Chart:
    """Rows in a plane; `note` stands in its place where there is nothing to see."""

    name: str
    title: str
    x_title: str
    y_title: str
    points: tuple[Point, ...]
    note: str = ""


@dataclass(frozen=True)
class RowSection:
    """All that is told of a row: what sets it apart, its runs, its pictures, its whole configuration as YAML."""

    number: int
    name: str
    group: str
    outcome: str
    settings: tuple[Fact, ...]
    runs: tuple[Standing, ...]
    configuration: str
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class Document:
    """The report. `live`: runs still go on, and the page shows them as they are now."""

    name: str
    title: str
    budget: str
    tiles: tuple[Fact, ...]
    summary: tuple[str, ...]
    tables: tuple[Table, ...]
    notes: tuple[str, ...]
    charts: tuple[Chart, ...]
    forests: tuple[Forest, ...]
    sections: tuple[RowSection, ...]
    assumptions: tuple[str, ...]
    footnotes: tuple[str, ...]
    failures: tuple[str, ...]
    provenance: tuple[Fact, ...]
    metrics: tuple[str, ...]
    pictures: tuple[Picture, ...] = ()
    missing: tuple[str, ...] = ()
    live: bool = False


def build_document(
    study: Study, summary: StudySummary, runs: Sequence[Standing], provenance: Sequence[Fact] = (), live: bool = False
) -> Document:
    """The report without pictures: those are drawn from it (`experiments.report.figures`). `summary` is that of the
    runs' results."""
    table = study_table(study, summary)
    settings = distinguishing([row.config.to_dict() for row in study.rows])
    failures = tuple(f"{run.row}, seed {run.seed}: {run.error}" for run in runs if run.state in ("diverged", "failed"))
    return Document(
        name=study.name,
        title=study.title,
        budget=f"{study.budget.name}: {study.budget.how}",
        tiles=_tiles(study, runs),
        summary=_summary(study, summary, runs),
        tables=group_tables(study, table),
        notes=tuple(note for note in table.notes if note not in failures and not note.startswith(TOLD_ELSEWHERE)),
        charts=_charts(summary),
        forests=forests(study, summary),
        sections=tuple(
            _section(number, row, own, [run for run in runs if run.row == row.name], facts)
            for number, (row, own, facts) in enumerate(zip(study.rows, summary.rows, settings, strict=True), 1)
        ),
        assumptions=study.assumptions,
        footnotes=study.footnotes,
        failures=failures,
        provenance=tuple(provenance),
        metrics=tuple(dict.fromkeys(row.headline for row in summary.rows)),
        live=live,
    )


def group_tables(study: Study, table: Table) -> tuple[Table, ...]:
    """The study's table, cut into those of the report, without columns that are empty there. The number before a row
    is its place in the study."""
    tables = []
    for group in dict.fromkeys(row.group for row in study.rows):
        places = [place for place, row in enumerate(study.rows) if row.group == group]
        kept = [
            (column, [cells[place] for place in places])
            for column in table.columns
            if column.key != "group" and any((cells := table.column(column.key))[place] is not None for place in places)
        ]
        columns = (Column("number", "no."), *(column for column, _ in kept))
        numbers: list[Cell] = [place + 1 for place in places]
        rows = zip(numbers, *(cells for _, cells in kept))
        tables.append(Table(study.name, group or table.title, columns, tuple(rows)))
    return tuple(tables)


def _tiles(study: Study, runs: Sequence[Standing]) -> tuple[Fact, ...]:
    states = Counter(run.state for run in runs)
    counts = [Fact(state, str(states[state])) for state in STATES if states[state] or state == "finished"]
    seconds = sum({run.key: run.seconds for run in runs}.values())  # rows may share runs
    return (
        Fact("rows", str(len(study.rows))),
        Fact("seeds", f"{len(study.seeds)} ({', '.join(map(str, study.seeds))})"),
        *(Fact(f"runs {each.name}", f"{each.value} of {len(runs)}") for each in counts),
        Fact("training time", exact_duration(seconds)),
        Fact("budget", study.budget.name),
    )


def _summary(study: Study, summary: StudySummary, runs: Sequence[Standing]) -> tuple[str, ...]:
    """What a reader in a hurry should know, in sentences."""
    sentences = []
    for metric in dict.fromkeys(row.headline for row in summary.rows):
        own = [row for row in summary.rows if row.headline == metric]
        means = {row.name: row.main.ours.mean for row in own if row.main.ours is not None}
        if len(means) > 1 and len(set(means.values())) == 1:
            sentences.append(
                f"By {metric_title(metric)}, all rows have the same mean: {next(iter(means.values())):.4f}."
            )
        elif means:
            first, last = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
            text = f"By {metric_title(metric)}, {first} has the highest mean: {means[first]:.4f}"
            sentences.append(f"{text}; {last} has the lowest: {means[last]:.4f}." if len(means) > 1 else f"{text}.")
        words = Counter(row.main.verdict.word for row in own if row.main.verdict is not None)
        if words and means:
            counts = ", ".join(f"{count} {word}" for word, count in words.items())
            sentences.append(f"Published values of {metric_title(metric)}: {counts}.")
    ended = sum(run.result is not None for run in runs)
    if ended < len(runs):
        sentences.append(f"{ended} of {len(runs)} runs have ended; the figures are those of the runs that finished.")
    if study.budget.name != FULL:
        sentences.append(f"Budget {study.budget.name}: {study.budget.how}.".replace("..", "."))
    if study.overrides:
        sentences.append(f"Changed for this report: {', '.join(study.overrides)}.")
    return tuple(sentences)


def _charts(summary: StudySummary) -> tuple[Chart, ...]:
    by_count: list[Point] = []
    by_time: list[Point] = []
    for number, row in enumerate(summary.rows, 1):
        score, seconds = row.main.ours, row.seconds
        if score is None:
            continue
        for points, x in ((by_count, row.parameters), (by_time, None if seconds is None else seconds.mean)):
            if x is not None:
                points.append(Point(number, row.name, row.group, float(x), score.mean, score.std))
    y_title = " or ".join(metric_title(name) for name in dict.fromkeys(row.headline for row in summary.rows))
    note = ""
    if by_count and len({point.x for point in by_count}) == 1:
        note = f"Every row has {by_count[0].x:,.0f} parameters."
    return (
        Chart("parameters", f"{y_title} against parameters", "parameters", y_title, tuple(by_count), note),
        Chart("seconds", f"{y_title} against training time", "training time in seconds", y_title, tuple(by_time)),
    )


def _section(
    number: int, row: Row, summary: RowSummary, runs: Sequence[Standing], settings: Mapping[str, Any]
) -> RowSection:
    score, states = summary.main.ours, Counter(run.state for run in runs)
    outcome = ", ".join(f"{states[state]} {state}" for state in STATES if states[state])
    if score is not None:
        spread = f" ± {score.std:.4f}" if score.std is not None else ""
        outcome = f"{metric_title(summary.headline)} {score.mean:.4f}{spread}; {outcome}"
    facts = tuple(Fact(name, _worded(value)) for name, value in settings.items())
    told = {key: value for key, value in row.config.to_dict().items() if key not in UNTOLD}
    text = dump_yaml(told, default_flow_style=None, width=100)
    return RowSection(number, row.name, row.group, outcome, facts, tuple(runs), text)


def distinguishing(configs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each configuration the settings, as dotted keys, in which not all of them agree."""
    flat = [_flat(config) for config in configs]
    keys = [key for key in dict.fromkeys(key for each in flat for key in each) if key.split(".")[0] not in UNTOLD]
    differing = [key for key in keys if any(each.get(key) != flat[0].get(key) for each in flat)]
    return [{key: each[key] for key in differing if each.get(key) not in (None, [], {}, ())} for each in flat]


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _worded(value: Any) -> str:
    if isinstance(value, (list, tuple)) and all(isinstance(each, (str, int, float)) for each in value):
        return ", ".join(map(str, value))
    return dump_yaml(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()


def with_pictures(
    document: Document,
    pictures: Sequence[Picture],
    by_row: Mapping[str, Sequence[Picture]],
    missing: Sequence[str] = (),
) -> Document:
    """The document with its drawings; `missing` says which could not be made, and why."""
    sections = tuple(
        dataclasses.replace(section, pictures=tuple(by_row.get(section.name, ()))) for section in document.sections
    )
    return dataclasses.replace(document, pictures=tuple(pictures), sections=sections, missing=tuple(missing))
