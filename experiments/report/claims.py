"""Which claims of a report hold in our runs: paired by seed, with intervals and corrected p-values, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from engine.training.metrics import direction
from experiments.report.summary import Measure, StudySummary
from experiments.report.table import metric_title
from experiments.sequential import more_pairs, sequential_p, shown_alike, why_untested
from experiments.stats import CONFIDENCE, Comparison, Pairs, compare
from experiments.study.claims import Claim, Pair
from experiments.study.study import Study, headline, margin_of

Word = Literal["holds", "does not hold", "open", "no runs"]


@dataclass(frozen=True)
class JudgedPair:
    """One comparison: `comparison` is that of row - than (None: no seed in common, or a value that is
    not finite); `words` say all of it."""

    pair: Pair
    metric: str
    word: Word
    comparison: Comparison | None
    words: str


@dataclass(frozen=True)
class JudgedClaim:
    """A claim holds where all its pairs do, and does not where one does not; `words` say how many there are."""

    claim: Claim
    word: Word
    pairs: tuple[JudgedPair, ...]


def judged_claims(study: Study, summary: StudySummary) -> list[JudgedClaim]:
    """All claims of the study; the p-values are corrected by Holm for all their pairs together."""
    rows = {row.name: row for row in summary.rows}
    of_study = {row.name: row for row in study.rows}
    values: dict[tuple[str, str, str], tuple[list[float], list[float]]] = {}
    for claim in study.claims:
        for pair in claim.pairs:
            metric = claim.metric or headline(study, of_study[pair.row])
            own, theirs = (_values(rows[name].measures, metric) for name in (pair.row, pair.than))
            seeds = [seed for seed in own if seed in theirs]
            values[pair.row, pair.than, metric] = [own[seed] for seed in seeds], [theirs[seed] for seed in seeds]
    test = sequential_p(len(study.seeds)) if study.sequential else None
    found = compare({key: Pairs(*both, direction(key[2]) == "min", test) for key, both in values.items()})
    judged = []
    for claim in study.claims:
        pairs = []
        for pair in claim.pairs:
            key = (pair.row, pair.than, claim.metric or headline(study, of_study[pair.row]))
            pairs.append(_judged(study, claim, pair, key[2], found.get(key), values[key]))
        judged.append(JudgedClaim(claim, _all(pairs), tuple(pairs)))
    return judged


def _values(measures: Mapping[str, Measure], metric: str) -> Mapping[int, float]:
    return measures[metric].values if metric in measures else {}


def _judged(
    study: Study,
    claim: Claim,
    pair: Pair,
    metric: str,
    found: Comparison | None,
    values: tuple[Sequence[float], Sequence[float]],
) -> JudgedPair:
    if found is None:
        if values[0]:
            return JudgedPair(pair, metric, "open", None, "a value is not finite")
        return JudgedPair(pair, metric, "no runs", None, "no seed that both rows finished")
    margin = margin_of(study, metric)
    alike = shown_alike(*values, len(study.seeds) if study.sequential else None, margin)
    differs = found.p is not None and found.p < 1 - CONFIDENCE
    word = _word(claim, found.difference, differs, alike)
    interval = "" if found.bounds is None else f" [{found.bounds.low:+.4f}, {found.bounds.high:+.4f}]"
    seeds = f"{found.count} seed{'s' * (found.count > 1)}"
    words = f"{metric_title(metric)} {found.difference:+.4f}{interval}, {seeds}, {_p_words(study, found)}"
    if word == "open":
        more = more_pairs(*values, margin)
        words += "" if not more else f"; {more} more seed{'s' * (more > 1)} would decide"
    elif word == "does not hold":
        words += f"; {'alike within ' + format(margin, 'g') if alike and margin is not None else _other_way(claim)}"
    return JudgedPair(pair, metric, word, found, words)


def _word(claim: Claim, difference: float, differs: bool, alike: bool) -> Word:
    """A difference that is both shown and within the margin bears out what it bears out: a claim of one holds by its
    sign, a claim of none by the margin."""
    if claim.expects == "alike":
        return "holds" if alike else "does not hold" if differs else "open"
    wanted = difference > 0 if claim.expects == "higher" else difference < 0
    if differs:
        return "holds" if wanted else "does not hold"
    return "does not hold" if alike else "open"


def _other_way(claim: Claim) -> str:
    return "they differ" if claim.expects == "alike" else "the other way round"


def _p_words(study: Study, found: Comparison) -> str:
    if found.p is None:
        return why_untested(found.count, len(study.seeds) if study.sequential else None)
    return "p < 0.001" if found.p < 0.001 else f"p = {found.p:.3f}"


def _all(pairs: Sequence[JudgedPair]) -> Word:
    found = {each.word for each in pairs}
    worst_first: tuple[Word, ...] = ("does not hold", "no runs", "open")
    return next((word for word in worst_first if word in found), "holds")
