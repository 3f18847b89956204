"""Ledgers: the results of full-length runs, one line each, in a file that can be checked without the runs.

A ledger is JSON Lines, `experiments/results/ledger/STUDY.jsonl` for the studies that come with the project. A line has

    row, seed            whose run it is; of a stage, its name and the seed of its own
    status               finished or diverged
    metrics, best_epoch, epochs, parameters, seconds   as in `Result`
    key                  of the run (`experiments.tasks.keys`)
    asked                what was asked for: settings, seed and the epoch that counts, without data, libraries and code
                         (the first ASKED characters of `Run.asked`). A ledger has one line of it, whatever the row is
                         called. A line whose row asks for something else by now is passed over
    weights, data, isa, build, code, commit, machine   as in `Origin`; no weights where it diverged
    sum                  of all characters of the line before it (the first SUM of their SHA-256)

The sum tells of a line that was changed by accident or in haste. Whoever computes it anew meets the weights: a training
of the same run ends in other bits than the line says (`experiments.running.verify`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from engine.errors import UserError, shortened
from engine.files import write_atomically
from engine.training.folder import is_duration, is_figure
from experiments.records.origin import Origin
from experiments.records.result import Result
from experiments.tasks.keys import Run

ASKED, SUM = 16, 16
MOST_BYTES = 1000  # of a line of the project's own studies
FOLDER = Path(__file__).parents[1] / "results" / "ledger"
_MARK = ',"sum":"'
_KNOWN = ("finished", "diverged")


@dataclass(frozen=True)
class Entry:
    """One line of a ledger, without its sum."""

    row: str
    seed: int
    status: str
    metrics: Mapping[str, float]
    best_epoch: int | None
    epochs: int
    parameters: int
    seconds: float
    key: str
    asked: str
    weights: str
    data: str
    isa: str
    build: str
    code: str
    commit: str
    machine: str

    @property
    def label(self) -> str:
        return f"{self.row}, seed {self.seed}"

    @property
    def line(self) -> str:
        """The line with its sum, without its end."""
        metrics = {name: value if math.isfinite(value) else None for name, value in sorted(self.metrics.items())}
        content = {**asdict(self), "metrics": metrics}
        return _summed(json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False))

    def result(self, folder: Path) -> Result:
        """The result that the line tells of."""
        per_epoch = self.seconds / self.epochs if self.epochs and self.status == "finished" else None
        origin = Origin(self.weights, self.data, self.isa, self.build, self.code, self.commit, self.machine)
        return Result(
            self.key,
            self.row,
            self.seed,
            "finished" if self.status == "finished" else "diverged",
            dict(self.metrics),
            self.best_epoch,
            self.epochs,
            self.parameters,
            self.seconds,
            per_epoch,
            "" if self.status == "finished" else "the training diverged",
            folder,
            origin,
        )


def entry_of(run: Run, result: Result) -> Entry | None:
    """The line of a run that has ended; None for one that failed, or that tells not what made it."""
    if result.status not in _KNOWN or result.origin is None:
        return None
    return Entry(
        run.row,
        run.seed,
        result.status,
        dict(result.metrics),
        result.best_epoch,
        result.epochs,
        result.parameters,
        round(result.seconds, 2),
        result.key,
        run.asked[:ASKED],
        **asdict(result.origin),
    )


def read_ledger(path: Path) -> list[Entry]:
    """All lines. UserError that names file and line for one that was changed, is damaged, or stands there twice, under
    one name or two."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a ledger ({error})") from None
    entries: list[Entry] = []
    known: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        entry = parse_line(line, f"{path}, line {number}")
        first, label = known.setdefault(entry.asked, (number, entry.label))
        if first != number:
            name = "" if label == entry.label else f" as {label}"
            raise UserError(
                f"{path}, line {number}: {entry.label} stands in line {first} already{name}; remove one of them"
            )
        entries.append(entry)
    return entries


def parse_line(line: str, place: str) -> Entry:
    """The entry in a line; UserError, which begins with `place`, where it is none or was changed."""
    before, mark, _ = line.rpartition(_MARK)
    try:
        content: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place}: not a line of a ledger ({shortened(str(error), 200)})") from None
    if not mark or not isinstance(content, dict) or content.keys() != {*_FITS, "sum"}:
        raise UserError(f"{place}: not a line of a ledger: expected the keys {', '.join([*_FITS, 'sum'])}")
    if _summed(f"{before}}}") != line:
        raise UserError(f"{place}: was changed after it was written (its sum is not {shortened(repr(content['sum']))})")
    for name, fits in _FITS.items():
        if not fits(content[name]):
            raise UserError(f"{place}: {name} cannot be {shortened(repr(content[name]))}")
    metrics = {name: math.nan if value is None else float(value) for name, value in content["metrics"].items()}
    return Entry(**{each.name: content[each.name] for each in fields(Entry)} | {"metrics": metrics})


def write_ledger(path: Path, entries: Iterable[Entry]) -> None:
    write_atomically(path, "".join(f"{each.line}\n" for each in entries).encode())


def merged(old: Sequence[Entry], new: Sequence[Entry], order: Sequence[str]) -> list[Entry]:
    """The lines of a ledger with further ones, in the order of `order` (names of rows and stages), then by seed.

    A line that is there stays as it is, but for the name of its row, which may be another one by now; one whose row
    asks for something else than the new lines of it is replaced. UserError where a run of the same key ended in other
    weights.
    """
    asked = {(each.row, each.seed): each.asked for each in new}
    wanted = set(asked.values())
    stays = [each for each in old if each.asked in wanted or (each.row, each.seed) not in asked]
    kept = {each.asked: each for each in stays}
    for each in new:
        there = kept.get(each.asked, each)
        if there.key == each.key and there.weights != each.weights:
            raise UserError(
                f"{each.label}: the ledger has weights {there.weights[:12]}…, but this run of the same key ended in "
                f"{each.weights[:12]}…; one of the two was changed, or is no run of this code"
            )
        kept[each.asked] = replace(there, row=each.row, seed=each.seed)
    places = {name: place for place, name in enumerate(order)}
    return sorted(kept.values(), key=lambda each: (places.get(each.row, len(places)), each.row, each.seed))


def _summed(text: str) -> str:
    """The JSON object in `text` with the sum of what stands before the sum."""
    before = text[:-1]
    return f'{before}{_MARK}{hashlib.sha256(before.encode()).hexdigest()[:SUM]}"}}'


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 64


def _is_hash(value: object, length: int = 64) -> bool:
    return isinstance(value, str) and len(value) == length and set(value) <= set("0123456789abcdef")


def _are_metrics(value: object) -> bool:
    return isinstance(value, dict) and all(each is None or is_figure(each) for each in value.values())


# What a line holds, and whether a value can be that.
_FITS = {
    "row": lambda value: isinstance(value, str) and value != "",
    "seed": _is_count,
    "status": lambda value: isinstance(value, str) and value in _KNOWN,
    "metrics": _are_metrics,
    "best_epoch": lambda value: value is None or _is_count(value),
    "epochs": _is_count,
    "parameters": _is_count,
    "seconds": is_duration,
    "key": _is_hash,
    "asked": lambda value: _is_hash(value, ASKED),
    "weights": lambda value: value == "" or _is_hash(value),
    "data": _is_hash,
    **dict.fromkeys(("isa", "build", "commit", "machine"), lambda value: isinstance(value, str)),
    "code": _is_hash,
}
