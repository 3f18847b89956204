"""How a run ended, and its record as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from engine.errors import UserError, shortened
from engine.files import json_text
from engine.training.folder import BEST, LAST, is_duration, is_figure
from experiments.records.origin import Origin
from experiments.tasks.keys import Run

SCHEMA_VERSION = 1
KEY_CHARACTERS = 12  # of a run's key, at the end of the name of its folder

Status = Literal["finished", "diverged", "failed"]
FINAL = ("finished", "diverged")  # a run that diverged would do so again


@dataclass(frozen=True)
class Result:
    """How a run ended. Apart from `experiments.records.standing.Standing`, which is asked for and never kept.

    metrics      by name: val_* and train_* at the epoch that counts, test_* measured with the weights of that epoch.
                 Empty unless the run finished
    best_epoch   the epoch that counts (from 1): the best one where validation picks it, else the last
    epochs       how many were trained; seconds: training alone, summed over them
    error        the first error of a run that diverged or failed
    folder       the run's own
    origin       what made it (None: recorded before there were origins)
    """

    key: str
    row: str
    seed: int
    status: Status
    metrics: Mapping[str, float] = field(default_factory=dict)
    best_epoch: int | None = None
    epochs: int = 0
    parameters: int = 0
    seconds: float = 0.0
    seconds_per_epoch: float | None = None
    error: str = ""
    folder: Path = Path()
    origin: Origin | None = None

    @property
    def final(self) -> bool:
        return self.status in FINAL


@dataclass(frozen=True)
class Record:
    """A result with what tells whether it still holds; `ended` in seconds since 1970.

    Apart from `Result`, which whoever trains gives back: what it was made by and when, the store alone says.
    """

    result: Result
    identity: str
    code: str
    ended: float

    def to_json(self) -> str:
        content = {**asdict(self.result), "metrics": dict(self.result.metrics), "folder": self.result.folder.name}
        content |= {"version": SCHEMA_VERSION, "identity": self.identity, "code": self.code, "ended": self.ended}
        return json_text(content, indent=2)


def read_record(path: Path) -> Record:
    """The record in a run's folder, whatever folder it names itself; UserError names the file."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); remove the file to run it again") from None
    record = parse_record(text, path.parent.parent, str(path))
    return dataclasses.replace(record, result=dataclasses.replace(record.result, folder=path.parent))


def parse_record(text: object, runs: Path, place: str) -> Record:
    """The record in a JSON text; `runs` is the folder of the runs' folders. UserError names `place`."""
    try:
        content: Any = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError) as error:
        reason = shortened(str(error), 200)
        raise UserError(f"{place}: not a readable record ({reason}); remove it to run this again") from None
    version = content.get("version") if isinstance(content, dict) else None
    if type(version) is int and version > SCHEMA_VERSION:
        raise UserError(f"{place}: written by a newer version of this project (layout {shortened(str(version))})")
    if not isinstance(content, dict) or not _FITS.keys() <= content.keys():
        raise UserError(f"{place}: not the record of a run; remove it to run this again")
    for name, fits in _FITS.items():
        if not fits(content[name]):
            value = shortened(repr(content[name]))
            raise UserError(f"{place}: not the record of a run ({name} is {value}); remove it to run this again")
    if not content["folder"].endswith(f"-{content['key'][:KEY_CHARACTERS]}"):
        raise UserError(f"{place}: its folder, {shortened(content['folder'])}, is not that of the run {content['key']}")
    values = {each.name: content[each.name] for each in dataclasses.fields(Result) if each.name != "origin"}
    if content.get("origin") is not None:
        values["origin"] = _origin(content["origin"], place)
    values["metrics"] = {name: math.nan if value is None else value for name, value in values["metrics"].items()}
    result = Result(**{**values, "folder": runs / content["folder"]})
    return Record(result, content["identity"], content["code"], content["ended"])


def _origin(content: object, place: str) -> Origin:
    names = {each.name for each in dataclasses.fields(Origin)}
    if not isinstance(content, dict) or content.keys() != names or not all(map(_is_text, content.values())):
        raise UserError(f"{place}: not the record of a run (its origin is damaged); remove it to run this again")
    return Origin(**content)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 64


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_folder(value: object) -> bool:
    """Whether it is the name of a folder, which leads nowhere else."""
    return isinstance(value, str) and value not in ("", "..") and Path(value).name == value and "\0" not in value


def _are_metrics(value: object) -> bool:
    """Numbers by name; null stands for NaN."""
    return isinstance(value, dict) and all(each is None or is_figure(each) for each in value.values())


# What a record holds, and whether a value can be that.
_FITS: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("key", "row", "error", "identity", "code"), _is_text),
    **dict.fromkeys(("seed", "epochs", "parameters"), _is_count),
    "version": lambda value: type(value) is int and value > 0,
    "status": lambda value: _is_text(value) and value in get_args(Status),
    "metrics": _are_metrics,
    "best_epoch": lambda value: value is None or _is_count(value),
    "seconds": is_duration,
    "seconds_per_epoch": lambda value: value is None or is_duration(value),
    "ended": is_figure,
    "folder": _is_folder,
}


def checkpoint_of(result: Result, run: Run) -> Path:
    """The checkpoint with the weights of the epoch that counts."""
    last = run.score_epoch == "last" or run.config.split.kind == "none"
    return result.folder / (LAST if last else BEST)
