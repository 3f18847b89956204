"""What a study's results say, row by row, as pure data. Tables and documents are made of it, and compute nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from engine.training.metrics import direction
from experiments.records.result import Result
from experiments.sequential import looks, more_pairs, sequential_p, sequential_verdict, shown_alike
from experiments.stats import (
    CONFIDENCE,
    Bounds,
    Comparison,
    Estimate,
    Pairs,
    Verdict,
    bootstrap_interval,
    compare,
    estimate,
    prediction_interval,
    verdict,
)
from experiments.study.schema import FIGURES, PublishedValue
from experiments.study.study import Budget, Row, Study, base_of, headline, margin_of, seeds_of
from experiments.tasks.comparability import incomparable

PARAMETERS, EPOCH_SECONDS = FIGURES  # of a run and no metric: shown beside published ones, never judged


@dataclass(frozen=True)
class Measure:
    """One metric or figure of a row, ours beside the published one.

    values      of the finished runs, by seed, also where they are not finite
    ours        their mean and standard deviation (None: no values, or one that is not finite: a seed that ended without
                a figure is not passed over, since what the others say would be too good)
    interval    bootstrap interval of the mean; prediction: where one more run is expected (None: too few values)
    difference  our mean - the published value
    verdict     on the published value (None: nothing is published, or a figure); margin: that it was held against
    """

    key: str
    values: Mapping[int, float] = field(default_factory=dict)
    ours: Estimate | None = None
    interval: Bounds | None = None
    prediction: Bounds | None = None
    published: PublishedValue | None = None
    difference: float | None = None
    verdict: Verdict | None = None
    margin: float | None = None


@dataclass(frozen=True)
class RowSummary:
    """One row of the study.

    headline      the metric that stands for it
    incomparable  why its published values are not compared with ours; limits: what the data at hand leave open of that
    measures      by metric or figure: every column of the study
    base          the row it is compared with, its own name for the base row itself (None: the study has none)
    comparison    with that row, over the seeds that both finished (None: there are none, or a value is not finite);
                  alike: their means were shown to differ by no more than the margin; more_pairs: how many more seeds of
                  both would decide (None: no number, or decided)
    planned       runs that the study asks for; finished, diverged and failed ones; error: the first one
    seconds       of training, per run
    per_million   accuracy per million parameters; published_per_million: the same from published values
    """

    name: str
    headline: str
    measures: Mapping[str, Measure]
    learning_rate: float
    group: str = ""
    same_as: str | None = None
    footnotes: tuple[str, ...] = ()
    incomparable: str = ""
    limits: str = ""
    base: str | None = None
    comparison: Comparison | None = None
    alike: bool = False
    more_pairs: int | None = None
    planned: int = 0
    finished: int = 0
    diverged: int = 0
    failed: int = 0
    error: str = ""
    parameters: int | None = None
    seconds: Estimate | None = None
    per_million: float | None = None
    published_per_million: float | None = None

    @property
    def main(self) -> Measure:
        """The measure of the headline."""
        return self.measures[self.headline]

    @property
    def without_figure(self) -> int:
        """How many finished runs have a headline that is not finite."""
        return sum(not math.isfinite(value) for value in self.main.values.values())


@dataclass(frozen=True)
class StudySummary:
    """All rows in the study's order, and its columns: metrics first, headlines before others, then figures.

    tests     how many comparisons with a base row share Holm's correction
    accuracy  the metric of `per_million` (None: the study has none)
    sequential  the looks, where seeds are added until rows are decided (`experiments.sequential`)
    """

    columns: tuple[str, ...]
    rows: tuple[RowSummary, ...]
    budget: Budget = Budget()
    tests: int = 0
    accuracy: str | None = None
    sequential: tuple[int, ...] = ()

    @property
    def incomparable(self) -> str:
        """Why no row's published value can be compared with ours, where that is one and the same reason for all."""
        verdicts = {row.main.verdict for row in self.rows if row.main.verdict}
        only = verdicts.pop() if len(verdicts) == 1 else None
        return only.reason if only and only.word == "not comparable" else ""


def summarize(study: Study, results: Sequence[Result]) -> StudySummary:
    """The summary of a study; its results may be incomplete.

    Only finished runs enter means, intervals and tests. A row with `same_as` takes the results of the row it names, and
    a comparison that two rows share is tested once.
    """
    columns = _columns(study)
    by_row = {row.name: _results_of(row, results) for row in study.rows}
    measures = {row.name: _measures(study, row, by_row[row.name], columns) for row in study.rows}
    comparisons = _comparisons(study, measures)
    accuracy = next((key for key in ("test_accuracy", "val_accuracy") if key in columns), None)
    rows = tuple(_row(study, row, by_row[row.name], measures, comparisons, accuracy) for row in study.rows)
    tests = len({_compared(study, row) for row in study.rows if _tested(comparisons.get(row.name))})
    looked = looks(len(study.seeds)) if study.sequential else ()
    return StudySummary(columns, rows, study.budget, tests, accuracy, looked)


def _columns(study: Study) -> tuple[str, ...]:
    shown = [*study.metrics, *(key for row in study.rows for key in row.published)]
    metrics = dict.fromkeys(key for key in shown if key not in FIGURES)
    headlines = {headline(study, row) for row in study.rows}
    ordered = sorted(metrics, key=lambda key: key not in headlines)
    return (*ordered, *FIGURES)


def _results_of(row: Row, results: Sequence[Result]) -> list[Result]:
    """The row's results, else those of the row that it repeats; in the order of seeds."""
    for name in (row.name, row.same_as):
        found = [each for each in results if each.row == name]
        if found:
            return sorted(found, key=lambda each: each.seed)
    return []


def _measures(study: Study, row: Row, results: Sequence[Result], columns: Sequence[str]) -> dict[str, Measure]:
    finished = [each for each in results if each.status == "finished"]
    reason = incomparable(study, row)
    return {key: _measure(study, row, finished, key, reason) for key in columns}


def _measure(study: Study, row: Row, finished: Sequence[Result], key: str, reason: str) -> Measure:
    found = {each.seed: _value(each, key) for each in finished}
    values = {seed: value for seed, value in found.items() if value is not None}
    numbers = list(values.values())
    ours, published = estimate(numbers), row.published.get(key)
    difference = None if published is None or ours is None else ours.mean - published.value
    judged, margin = published is not None and key not in FIGURES, margin_of(study, key)
    return Measure(
        key,
        values,
        ours,
        bootstrap_interval(numbers),
        prediction_interval(numbers),
        published,
        difference,
        _verdict(study, published.value, numbers, reason, margin) if published and judged else None,
        margin if judged else None,
    )


def _verdict(study: Study, published: float, values: Sequence[float], reason: str, margin: float | None) -> Verdict:
    """By the looks of `experiments.sequential` where seeds are added until rows are decided."""
    if study.sequential:
        return sequential_verdict(published, values, len(study.seeds), reason, margin)
    return verdict(published, values, reason, margin)


def _value(result: Result, key: str) -> float | None:
    if key == PARAMETERS:
        return result.parameters
    if key == EPOCH_SECONDS:
        return result.seconds_per_epoch
    return result.metrics.get(key)


def _trained(row: Row) -> str:
    """The row that trains this one's configuration."""
    return row.same_as or row.name


def _compared(study: Study, row: Row) -> tuple[str, str, str] | None:
    """Trained row, metric and trained base row; None where there is no other row to compare with."""
    base = base_of(study, row)
    if base is None or _trained(base) == _trained(row):
        return None
    return _trained(row), headline(study, row), _trained(base)


def _comparisons(study: Study, measures: Mapping[str, Mapping[str, Measure]]) -> dict[str, Comparison]:
    """By row."""
    pairs: dict[tuple[str, str, str], Pairs] = {}
    keys: dict[str, tuple[str, str, str]] = {}
    for row in study.rows:
        key, base = _compared(study, row), base_of(study, row)
        if key is None or base is None:
            continue
        keys[row.name] = key
        metric = key[1]
        own, theirs = measures[row.name][metric].values, measures[base.name][metric].values
        seeds = [seed for seed in own if seed in theirs]
        lower = direction(metric) == "min"
        test = sequential_p(len(study.seeds)) if study.sequential else None
        pairs[key] = Pairs([own[seed] for seed in seeds], [theirs[seed] for seed in seeds], lower, test)
    found = compare(pairs)
    return {name: found[key] for name, key in keys.items() if key in found}


def _tested(comparison: Comparison | None) -> bool:
    return comparison is not None and comparison.p is not None


def _row(
    study: Study,
    row: Row,
    results: Sequence[Result],
    by_row: Mapping[str, Mapping[str, Measure]],
    comparisons: Mapping[str, Comparison],
    accuracy: str | None,
) -> RowSummary:
    measures = by_row[row.name]
    statuses = [str(each.status) for each in results]
    finished = [each for each in results if each.status == "finished"]
    base = base_of(study, row)
    parameters = next((each.parameters for each in results if each.parameters), None)
    published = row.published
    ratio = published_ratio = None
    if accuracy is not None:
        ours = measures[accuracy].ours
        ratio = _per_million(None if ours is None else ours.mean, parameters)
        values = [published[key].value if key in published else None for key in (accuracy, PARAMETERS)]
        published_ratio = _per_million(*values)
    alike, more = _undecided(study, row, comparisons.get(row.name), by_row)
    return RowSummary(
        name=row.name,
        headline=headline(study, row),
        measures=measures,
        learning_rate=row.learning_rate,
        group=row.group,
        same_as=row.same_as,
        footnotes=row.footnotes,
        incomparable=incomparable(study, row),
        limits=row.limits,
        base=None if base is None else base.name,
        comparison=comparisons.get(row.name),
        alike=alike,
        more_pairs=more,
        planned=len(seeds_of(study, row)),
        finished=len(finished),
        diverged=statuses.count("diverged"),
        failed=statuses.count("failed"),
        error=next((f"seed {each.seed}: {each.error}" for each in results if each.status != "finished"), ""),
        parameters=parameters,
        seconds=estimate([each.seconds for each in finished]),
        per_million=ratio,
        published_per_million=published_ratio,
    )


def _undecided(
    study: Study, row: Row, comparison: Comparison | None, by_row: Mapping[str, Mapping[str, Measure]]
) -> tuple[bool, int | None]:
    """Whether row and base row were shown to be alike; and how many more pairs would decide, where nothing is."""
    base = base_of(study, row)
    if comparison is None or base is None:
        return False, None
    metric = headline(study, row)
    own, theirs = by_row[row.name][metric].values, by_row[base.name][metric].values
    seeds = [seed for seed in own if seed in theirs]
    pairs = [own[seed] for seed in seeds], [theirs[seed] for seed in seeds]
    margin = margin_of(study, metric)
    alike = shown_alike(*pairs, len(study.seeds) if study.sequential else None, margin)
    if alike or (comparison.p is not None and comparison.p < 1 - CONFIDENCE):
        return alike, None
    return False, more_pairs(*pairs, margin)


def _per_million(accuracy: float | None, parameters: float | None) -> float | None:
    return None if accuracy is None or not parameters else accuracy / parameters * 1e6
