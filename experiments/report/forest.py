"""Forest plots as pure data: per row the published value, our seeds, mean and interval, and the verdict in words; and
the paired differences to the base row.

Everything is placed in per cent of a strip's width, so that the page draws it at any width without a library.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from experiments.report.summary import RowSummary, StudySummary
from experiments.report.table import letters, metric_title
from experiments.sequential import why_untested
from experiments.stats import CONFIDENCE, Bounds
from experiments.study.study import Study, margin_of

TICKS = 5  # about so many on an axis
EDGE = 0.04  # of the axis on each side of what it holds
WIDEST = 1.0  # an interval makes the axis at most longer by this share on each side, and is cut there


@dataclass(frozen=True)
class Strip:
    """One row of a forest plot, in the metric's unit.

    figures   the row's numbers in words
    values    one per seed, as differences to the published value or to the base row
    mean      of these; interval: of the mean difference, or where one more run is expected
    kind      good, bad or open; words: the verdict; label: all of it, for who does not see the strip
    """

    number: int
    name: str
    group: str
    figures: str
    values: tuple[float, ...]
    mean: float | None
    interval: Bounds | None
    kind: str
    words: str
    label: str


@dataclass(frozen=True)
class Forest:
    """Rows over one axis from `low` to `high`; `shade` is the margin around 0, `notes` are what marks stand for."""

    name: str
    title: str
    caption: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    strips: tuple[Strip, ...]
    shade: Bounds | None = None
    notes: tuple[str, ...] = ()

    def at(self, value: float) -> str:
        """Where a value stands, as CSS and SVG take it; what lies beyond the axis stands at its end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return f"{100 * share:.2f}%"

    def width(self, bounds: Bounds) -> str:
        low, high = (min(max(each, self.low), self.high) for each in (bounds.low, bounds.high))
        return f"{100 * (high - low) / (self.high - self.low):.2f}%"


def forests(study: Study, summary: StudySummary) -> tuple[Forest, ...]:
    """The plots of a study, verdicts first, one for each headline metric; none without anything to see."""
    found = []
    for metric in dict.fromkeys(row.headline for row in summary.rows):
        numbered = [(number, row) for number, row in enumerate(summary.rows, 1) if row.headline == metric]
        found += [_verdicts(study, metric, numbered), _differences(study, metric, numbered)]
    plots = [each for each in found if each is not None]
    return tuple(sorted(plots, key=lambda each: each.name.startswith("differences")))


def _verdicts(study: Study, metric: str, rows: Sequence[tuple[int, RowSummary]]) -> Forest | None:
    shown = [(number, row) for number, row in rows if row.main.published is not None]
    reasons = dict.fromkeys(row.incomparable for _, row in shown if row.incomparable)
    marks = {reason: f"({letters(place)})" for place, reason in enumerate(reasons)}
    strips = [_verdict_strip(number, row, marks) for number, row in shown]
    if not any(strip.values for strip in strips):
        return None
    margin = margin_of(study, metric)
    shaded = "" if margin is None else f"; shaded: within {margin:g} of it"
    caption = (
        f"{metric_title(metric)}, ours - published: the published value (upright line at 0{shaded}), our seeds (dots), "
        f"their mean (diamond), and where one more run of ours is expected ({100 * CONFIDENCE:g} %, line)."
    )
    notes = tuple(f"{mark} {reason}" for reason, mark in marks.items())
    return _forest(
        f"verdicts-{metric}", f"Ours against published: {metric_title(metric)}", caption, strips, margin, notes
    )


def _verdict_strip(number: int, row: RowSummary, marks: Mapping[str, str]) -> Strip:
    main = row.main
    assert main.published is not None and main.verdict is not None
    target, word = main.published.value, main.verdict.word
    kinds = {"reproduced": "good", "above": "bad", "below": "bad"}
    reason = main.verdict.reason
    words = f"{word} {marks[reason]}" if reason in marks else str(main.verdict)
    figures = f"published {target:.4f}"
    if main.ours is not None:
        spread = "" if main.ours.std is None else f" ± {main.ours.std:.4f}"
        figures += f", ours {main.ours.mean:.4f}{spread}"
    values = tuple(value - target for value in main.values.values() if math.isfinite(value))
    mean = None if main.ours is None else main.ours.mean - target
    interval = main.prediction and Bounds(main.prediction.low - target, main.prediction.high - target)
    label = f"{row.name}: {figures}, {len(values)} seeds; {main.verdict}"
    return Strip(number, row.name, row.group, figures, values, mean, interval, kinds.get(word, "open"), words, label)


def _differences(study: Study, metric: str, rows: Sequence[tuple[int, RowSummary]]) -> Forest | None:
    by_name = {row.name: row for _, row in rows}
    margin = margin_of(study, metric)
    compared = [(number, row) for number, row in rows if row.comparison is not None and row.base in by_name]
    if not compared:
        return None
    first = len(study.seeds) if study.sequential else None
    strips = [_difference_strip(number, row, by_name[str(row.base)], first) for number, row in compared]
    title = metric_title(metric)
    shaded = "" if margin is None else f"; shaded: a difference of at most {margin:g}"
    caption = (
        f"{title}, row - base row, seed by seed (dots), their mean (diamond) and its {100 * CONFIDENCE:g} % t interval "
        f"(line, not corrected for the number of rows){shaded}."
    )
    return _forest(f"differences-{metric}", f"Differences to the base row: {title}", caption, strips, margin)


def _difference_strip(number: int, row: RowSummary, base: RowSummary, first: int | None) -> Strip:
    found = row.comparison
    assert found is not None
    own, theirs = row.main.values, base.main.values
    values = tuple(own[seed] - theirs[seed] for seed in own if seed in theirs)
    kind, words = difference_words(row, first)
    figures = f"{found.difference:+.4f}"
    label = f"{row.name} - {base.name}: {figures}, {found.count} seeds; {words}"
    return Strip(number, row.name, row.group, figures, values, found.difference, found.bounds, kind, words, label)


def difference_words(row: RowSummary, first: int | None = None) -> tuple[str, str]:
    """How a row stands to its base row: good, bad or open, and in words. `first` as in `why_untested`."""
    found = row.comparison
    assert found is not None
    if found.p is not None and found.p < 1 - CONFIDENCE:
        word = "better" if found.better else "worse"
        p = "p < 0.001" if found.p < 0.001 else f"p = {found.p:.3f}"
        return ("good" if found.better else "bad"), f"{word} than {row.base} ({p})"
    if row.alike:
        return "open", f"alike: the difference to {row.base} is within the margin"
    more = "" if row.more_pairs is None else f"; {row.more_pairs} more seed{'s' * (row.more_pairs > 1)} would decide"
    p = why_untested(found.count, first) if found.p is None else f"p = {found.p:.3f}"
    return "open", f"open ({p}{more})"


def _forest(
    name: str, title: str, caption: str, strips: Sequence[Strip], margin: float | None, notes: tuple[str, ...] = ()
) -> Forest:
    shade = None if margin is None else Bounds(-margin, margin)
    held = [0.0, *(value for strip in strips for value in strip.values), *((shade.low, shade.high) if shade else ())]
    low, high = min(held), max(held)
    length = (high - low) or 1.0
    ends = [end for strip in strips if strip.interval for end in (strip.interval.low, strip.interval.high)]
    low = max(min([low, *ends]), low - WIDEST * length)
    high = min(max([high, *ends]), high + WIDEST * length)
    pad = EDGE * ((high - low) or length)
    low, high = low - pad, high + pad
    return Forest(name, title, caption, low, high, tuple(_ticks(low, high)), tuple(strips), shade, notes)


def _ticks(low: float, high: float) -> Iterable[tuple[float, str]]:
    """Round numbers on the axis, and their texts."""
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    first = math.ceil(low / step)
    for place in range(first, math.floor(high / step) + 1):
        yield place * step, f"{place * step:+.{digits}f}" if place else "0"
