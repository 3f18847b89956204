"""How a run ended, and its record as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from engine.errors import UserError
from engine.files import json_text
from engine.training.folder import BEST, LAST
from experiments.tasks.keys import Run

SCHEMA_VERSION = 1

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
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); remove the file to run it again") from None
    return parse_record(text, path.parent.parent, str(path))


def parse_record(text: str, runs: Path, place: str) -> Record:
    """The record in a JSON text; `runs` is the folder of the runs' folders. UserError names `place`."""
    try:
        content: Any = json.loads(text)
    except ValueError as error:
        raise UserError(f"{place}: not a readable record ({error}); remove it to run this again") from None
    names = [each.name for each in dataclasses.fields(Result)]
    if not isinstance(content, dict) or not {*names, "version", "identity", "code", "ended"} <= set(content):
        raise UserError(f"{place}: not the record of a run; remove it to run this again")
    if not isinstance(content["metrics"], dict):
        raise UserError(f"{place}: not the record of a run (its metrics are no mapping); remove it to run this again")
    if content["version"] > SCHEMA_VERSION:
        raise UserError(f"{place}: written by a newer version of this project (layout {content['version']})")
    values = {name: content[name] for name in names}
    values["metrics"] = {name: math.nan if value is None else value for name, value in values["metrics"].items()}
    result = Result(**{**values, "folder": runs / content["folder"]})
    return Record(result, content["identity"], content["code"], content["ended"])


def checkpoint_of(result: Result, run: Run) -> Path:
    """The checkpoint with the weights of the epoch that counts."""
    last = run.score_epoch == "last" or run.config.split.kind == "none"
    return result.folder / (LAST if last else BEST)
