"""How far a study is, in words: what is on record, what was begun, what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from experiments.records.locks import holder
from experiments.records.standing import Standing
from experiments.records.store import Store
from experiments.words import duration


def remaining_seconds(runs: Sequence[Standing]) -> float | None:
    """Seconds of training that are left, one run after the other, from the seconds per epoch of the same row's results,
    or else of all; None while nothing has finished."""
    known = [(each.row, each.seconds_per_epoch) for each in runs if each.seconds_per_epoch is not None]
    if not known:
        return None
    total = 0.0
    for each in runs:
        if not each.done:
            own = [seconds for row, seconds in known if row == each.row]
            total += (each.planned - each.epochs) * fmean(own or [seconds for _, seconds in known])
    return total


def status_text(runs: Sequence[Standing], store: Store) -> str:
    """For a reader: a line per row, then what is done, at work and left."""
    rows: dict[str, list[Standing]] = {}
    for each in runs:
        rows.setdefault(each.row, []).append(each)
    width = max(map(len, rows), default=0)
    text = [f"{row.ljust(width)}  {_row_text(each)}" for row, each in rows.items()]
    counts = Counter(each.state for each in runs)
    text += ["", f"{len(runs)} runs: " + ", ".join(f"{count} {state}" for state, count in counts.most_common())]
    runner = holder(store.root)
    if runner is not None:
        text.append(f"{runner} is at work on them")
    left = remaining_seconds(runs)
    if left:
        text.append(f"left: about {duration(left)} of training")
    return "\n".join(text)


def _row_text(runs: Sequence[Standing]) -> str:
    states = Counter(each.state for each in runs)
    if len(states) == 1 and not {"begun", "failed"} & set(states):
        return f"{runs[0].state} ({len(runs)}/{len(runs)})"
    return "; ".join(f"seed {each.seed}: {_run_text(each)}" for each in runs)


def _run_text(each: Standing) -> str:
    if each.state == "begun" and not each.error:
        return f"begun, epoch {each.epochs} of {each.planned}"
    if each.state in ("begun", "failed"):
        return f"{each.state} ({each.error})"
    return each.state
