"""All published rows of all reports beside ours, and the reports' claims: made of ledgers alone, as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.records.ledger import read_ledger
from experiments.records.recalled import recalled
from experiments.records.standing import results_of
from experiments.report.claims import JudgedClaim, judged_claims
from experiments.report.render import markdown_line, markdown_text
from experiments.report.summary import RowSummary, summarize
from experiments.report.table import metric_title
from experiments.stats import CONFIDENCE, MIN_VERDICT, paired_interval
from experiments.study.read import load_study
from experiments.study.study import Study

REPORTS = ("numtadb", "mnist", "scenes", "cifar10", "midas")
WORDS = ("reproduced", "compatible", "above", "below", "not comparable", "too few seeds", "no runs")
CLAIM_WORDS = ("holds", "does not hold", "open", "no runs")


@dataclass(frozen=True)
class Line:
    """One published row: the value and ours in words, the verdict's word, and why there is no other or what it leaves
    open."""

    row: str
    metric: str
    published: str
    ours: str
    verdict: str
    why: tuple[str, ...]


@dataclass(frozen=True)
class ReportOverview:
    """One report. lines: of its published rows; claims: what it says of them; runs: how many the ledger has."""

    study: Study
    lines: tuple[Line, ...]
    claims: tuple[JudgedClaim, ...]
    runs: int


def overview(ledgers: Path, names: Sequence[str] = REPORTS) -> list[ReportOverview]:
    """The reports in their order; one without a ledger NAME.jsonl in the folder has no runs. UserError for a ledger
    that was changed."""
    found = []
    for name in names:
        path = ledgers / f"{name}.jsonl"
        entries = read_ledger(path) if path.is_file() else []
        recall = recalled(load_study(name), entries, ledgers)
        results = results_of(recall.runs)
        summary = summarize(recall.study, results)
        lines = tuple(line(row) for row in summary.rows if row.main.published is not None)
        keys = {each.key for each in results}
        found.append(ReportOverview(recall.study, lines, tuple(judged_claims(recall.study, summary)), len(keys)))
    return found


def line(row: RowSummary) -> Line:
    """A published row in words."""
    main = row.main
    assert main.published is not None
    ours = ""
    if main.ours is not None:
        values = list(main.values.values())
        interval = paired_interval(values, [0.0] * len(values))
        half = "" if interval is None or interval.half_width is None else f" ± {interval.half_width:.4f}"
        ours = f"{main.ours.mean:.4f}{half} ({len(values)})"
    word, why = _verdict(row)
    return Line(row.name, metric_title(row.headline), f"{main.published.value:.4f}", ours, word, why)


def _verdict(row: RowSummary) -> tuple[str, tuple[str, ...]]:
    found = row.main.verdict
    assert found is not None
    if found.word == "too few seeds" and not row.main.values:
        return "no runs", (f"{row.diverged} diverged" if row.diverged else "no run at full length is in the ledger",)
    limits = [f"as far as the data at hand go: {row.limits}"] if row.limits else []
    return found.word, (*([found.reason] if found.reason else []), *limits)


def markdown(reports: Sequence[ReportOverview], level: int = 1) -> str:
    """The whole page. level: of its first heading. A reason that several rows share stands below their table."""
    head = "#" * level
    lines = [each for report in reports for each in report.lines]
    claims = [each for report in reports for each in report.claims]
    counts = [f"{_counted((each.verdict for each in lines), WORDS)}."] if lines else []
    if claims:
        counts.append(f"Of {len(claims)} claims: {_counted((each.word for each in claims), CLAIM_WORDS)}.")
    parts = [
        f"{head} {len(lines)} published rows",
        *([" ".join(counts)] if counts else []),
        f"Ours is the mean at full length with its {100 * CONFIDENCE:g} % t interval and the number of seeds; "
        f"a verdict needs {MIN_VERDICT} of them. Claims are tested paired by seed, with Holm's correction "
        "for all pairs of a report.",
    ]
    for report in reports:
        parts.append(f"{head}# {markdown_text(report.study.title)}")
        if report.lines:
            parts.append(_rows(report.lines))
        if report.claims:
            parts.append(_claims(report.claims))
    return "\n\n".join(parts) + "\n"


def _counted(words: Iterable[str], order: Sequence[str]) -> str:
    counts = Counter(words)
    return ", ".join(f"{counts[word]} {word}" for word in order if counts[word])


def _rows(lines: Sequence[Line]) -> str:
    shared = [why for why, count in Counter(why for each in lines for why in each.why).items() if count > 1]
    marks = {why: f"({place})" for place, why in enumerate(shared, 1)}
    rows = ["| row | metric | published | ours | verdict | why not |", "|---|---|---:|---:|---|---|"]
    for each in lines:
        why = "; ".join(marks.get(reason, reason) for reason in each.why)
        cells = (each.row, each.metric, each.published, each.ours or "-", each.verdict, why)
        rows.append(markdown_line(cells))
    notes = [f"- {mark} {why}" for why, mark in marks.items()]
    return "\n".join([*rows, *([""] if notes else []), *notes])


def _claims(claims: Sequence[JudgedClaim]) -> str:
    rows = ["| claim | where | in our runs | row, than | difference |", "|---|---|---|---|---|"]
    for each in claims:
        for place, pair in enumerate(each.pairs):
            first = (each.claim.text, each.claim.place, each.word) if place == 0 else ("", "", "")
            own = f"{pair.word}: " if len(each.pairs) > 1 else ""
            cells = (*first, f"{pair.pair.row}, {pair.pair.than}", f"{own}{pair.words}")
            rows.append(markdown_line(cells))
    return "\n".join(rows)
