"""A run as Markdown, its columns aligned so that it reads as plain text too. Nothing is measured or decided here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from experiments.peers.cases import TASKS, Case
from experiments.peers.frameworks import OURS, PEERS
from experiments.peers.goals import goal_of, judged_ratio, verdicts
from experiments.peers.job import INFERENCE, INT8, TRAINING
from experiments.peers.records import FIVE_DIGITS, CaseRecord, Run, best_ratio, geometric_mean
from experiments.stats import spread

MEGA = 1e6
NOTHING = "-"
COARSE = "~"
TITLES = {TRAINING: "Training step", INFERENCE: "Inference", INT8: "Inference with integers"}

HOW = (
    "A peer's figure is its time divided by ours, so that more than 1 means that ours is faster: the median over the "
    "rounds, and in brackets the range. In a round every side is timed once, in turning order, while the processes of "
    "all others are stopped; a side far behind the fastest peer is timed in one round only.",
    "All sides start from the same weights and take the same batch; losses of the first steps (training) or the "
    "outputs (inference) were compared with ours before anything was timed.",
)
ERRORS = (
    "The error is the largest difference from the same ONNX model in float64, by the standard's reference evaluator, "
    f"as a share of the largest value. A peer above {FIVE_DIGITS:g} has not five correct digits: it is marked {COARSE},"
    " has no place, and counts neither as the best peer nor in a mean.",
    "95 % and 99 % are the times that so many of all timed calls stayed within.",
)
INTEGERS = (
    "With integers all sides but two take the file that `engine.quantize` makes and ONNX's QDQ form says; "
    "onnxruntime-static is ONNX Runtime's own quantisation of the float32 model, and ours-float this engine with that "
    "model, which is no peer. Where the difference is below 1e-6 the "
    "integers are the same, and only the softmax behind them, in float32, is each side's own."
)
DROPOUT = "*: compared with dropout switched off, timed with it, as every side draws masks of its own."
TABLES: tuple[tuple[str, Callable[[CaseRecord, str], str]], ...] = (
    ("Images per CPU-second", lambda record, side: f"{per_cpu_second(record, side):,.0f}"),
    ("Peak memory beyond the imports, MB (in brackets: as planned)", lambda record, side: memory(record, side)),
    ("Seconds from the start of the process to the first result (in brackets: imports)", lambda r, s: first(r, s)),
)


def markdown(run: Run) -> str:
    """The whole document."""
    parts = ["# Beside the peers", _facts(run)]
    for task in TASKS:
        records = [record for record in run.records if record.case.task == task and record.peers]
        if not records:
            continue
        sides = [side for side in PEERS if any(side in record.peers for record in records)]
        title = TITLES[task]
        parts += [f"## {title}", _speed(records, sides), _means(records, sides)]
        shown = "differences to ours" if task == INT8 else "errors"
        if task == INT8 or any(each.error is not None for record in records for each in record.sides.values()):
            parts += [f"### {title}: Places, {shown} and times of single calls", _places(records)]
        for caption, cell in TABLES:
            parts += [f"### {title}: {caption}", _each_side(records, [OURS, *sides], cell)]
    parts += [_verdicts(run), _absent(run), "\n".join(f"- {note}" for note in _notes(run))]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], texts: int) -> str:
    """A Markdown table; the first `texts` columns stand left, the others right."""
    widths = [max(3, *(len(row[place]) for row in [header, *rows])) for place in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if place < texts else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = "|".join(
        "-" * (width + 2) if place < texts else "-" * (width + 1) + ":" for place, width in enumerate(widths)
    )
    return "\n".join([line(header), f"|{rule}|", *map(line, rows)])


def per_cpu_second(record: CaseRecord, side: str) -> float:
    return record.case.batch / spread(record.sides[side].cpu_seconds).median


def memory(record: CaseRecord, side: str) -> str:
    each = record.sides[side]
    planned = "" if each.planned_bytes is None else f" ({each.planned_bytes / MEGA:.0f})"
    return f"{each.peak_bytes / MEGA:.0f}{planned}"


def first(record: CaseRecord, side: str) -> str:
    each = record.sides[side]
    return f"{each.first_result:.2f} ({each.imports:.2f})"


def _facts(run: Run) -> str:
    versions = ", ".join(dict.fromkeys(run.versions.values()))
    return "\n".join(f"- {name}: {text}" for name, text in {**run.facts, "versions": versions}.items())


def _names(record: CaseRecord) -> list[str]:
    case = record.case
    mark = "*" if record.dropout_apart else ""
    return [f"{case.network}{mark}", *([case.optimizer] if case.optimizer else []), str(case.batch), str(case.threads)]


def _header(records: Sequence[CaseRecord]) -> list[str]:
    return ["network", *(["optimizer"] if records[0].case.optimizer else []), "batch", "threads"]


def _speed(records: Sequence[CaseRecord], sides: Sequence[str]) -> str:
    rows = []
    for record in records:
        seconds = spread(record.sides[OURS].seconds).median
        cells = [f"{seconds * 1e3:.3f}", f"{record.case.batch / seconds:,.0f}"]
        cells += [_ratio(record, side) if side in record.peers else NOTHING for side in sides]
        goal = goal_of(record.case)
        ratio = judged_ratio(record)
        verdict = NOTHING if goal is None or ratio is None else f"{goal:g} {'reached' if ratio >= goal else 'missed'}"
        best = best_ratio(record)
        rows.append(
            [*_names(record), *cells, record.best or NOTHING, NOTHING if best is None else f"{best:.2f}", verdict]
        )
    header = _header(records)
    columns = [*header, "ours, ms", "images/s", *sides, "best peer", "to best", "goal"]
    return table(columns, rows, len(header) - 2)


def _ratio(record: CaseRecord, side: str) -> str:
    ratios = record.ratios(side)
    each = spread(ratios)
    mark = "" if record.sides[side].precise else f" {COARSE}"
    return f"{each.median:.2f}" + (f" ({each.least:.2f}-{each.most:.2f})" if len(ratios) > 1 else " (once)") + mark


def _places(records: Sequence[CaseRecord]) -> str:
    """A row for each side of a case, in the order of their places; `COARSE` for those that have none."""
    integers = records[0].case.task == INT8
    rows = []
    for record in records:
        for side, place in record.ranking().items():
            each = record.sides[side]
            median = spread(each.seconds).median
            cells = [
                side,
                COARSE if place is None else str(place),
                f"{each.difference:.1e}" if integers else NOTHING if each.error is None else f"{each.error:.1e}",
            ]
            times = [NOTHING if value is None else f"{value * 1e3:.3f}" for value in (median, each.p95, each.p99)]
            calls = NOTHING if each.calls is None else f"{each.calls:,}"
            rows.append([*_names(record), *cells, *times, calls])
    shown = "difference" if integers else "error"
    columns = [*_header(records), "side", "place", shown, "median, ms", "95 %, ms", "99 %, ms", "calls"]
    return table(columns, rows, 1)


def _means(records: Sequence[CaseRecord], sides: Sequence[str]) -> str:
    """Geometric means over the networks, for every optimizer, batch size and number of threads; of a side, over those
    for which it has five correct digits."""
    groups: dict[tuple[str, ...], list[CaseRecord]] = {}
    for record in records:
        groups.setdefault(tuple(_names(record)[1:]), []).append(record)
    rows = []
    for key, group in groups.items():
        cells = []
        for side in sides:
            timed = [each for each in group if side in each.peers and each.sides[side].precise]
            mean = geometric_mean([spread(each.ratios(side)).median for each in timed])
            cells.append(NOTHING if mean is None else f"{mean:.2f}")
        best = geometric_mean([ratio for each in group if (ratio := best_ratio(each)) is not None])
        rows.append([*key, str(len(group)), *cells, NOTHING if best is None else f"{best:.2f}"])
    header = [*_header(records)[1:], "networks", *sides, "to best"]
    return "Geometric means over the networks:\n\n" + table(header, rows, len(header) - len(sides) - 4)


def _each_side(records: Sequence[CaseRecord], sides: Sequence[str], cell: Callable[[CaseRecord, str], str]) -> str:
    rows = [
        [*_names(record), *(cell(record, side) if side in record.sides else NOTHING for side in sides)]
        for record in records
    ]
    header = _header(records)
    return table([*header, *sides], rows, len(header) - 2)


def _verdicts(run: Run) -> str:
    judged = verdicts(run.records)
    if not judged:
        return ""
    reached = sum(each.reached for each in judged)
    lines = [f"## Goals: {reached} of {len(judged)} reached", ""]
    lines += [f"- missed: {each.what}: {each.ratio:.2f}, wanted {each.goal:g}" for each in judged if not each.reached]
    return "\n".join(lines).rstrip()


def _absent(run: Run) -> str:
    lines = [f"- {side}: {reason}" for side, reason in run.missing.items()]
    lines += [f"- {r.case}: {side}: {reason}" for r in run.records for side, reason in r.left_out.items()]
    lines += [f"- {case}: no time was left" for case in run.skipped]
    return "\n".join(["## Left out", "", *lines]) if lines else ""


def _notes(run: Run) -> list[str]:
    errors = any(each.error is not None for record in run.records for each in record.sides.values())
    apart = any(record.dropout_apart for record in run.records)
    integers = any(record.case.task == INT8 for record in run.records)
    return [*HOW, *(ERRORS if errors else ()), *([INTEGERS] if integers else ()), *([DROPOUT] if apart else ())]


def progress(record: CaseRecord) -> str:
    """One line about a case that is done."""
    if record.best is None:
        reasons = "; ".join(f"{side}: {reason}" for side, reason in record.left_out.items())
        return f"{record.case}: nothing to compare ({reasons or 'no peer'})"
    ours = spread(record.sides[OURS].seconds).median * 1e3
    return f"{record.case}: ours {ours:.3f} ms, {record.best} {_ratio(record, record.best)}"


def label(case: Case) -> str:
    """Short name of a case where task and threads are known."""
    return " ".join(filter(None, (case.network, case.optimizer, f"b{case.batch}")))
