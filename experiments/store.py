"""Records of runs on disk: one folder per run, keyed by the content of its configuration.

    OUT/runs/ROW-seedN-KEY/   config.yaml, log.jsonl, log.csv and checkpoints, as the trainer writes them
                              result.json, written last: where it stands, the run is finished and never repeated

    OUT/choices.json      algorithms of tuned runs, measured once for each network, batch size and instruction set

The key is the SHA-256 of the configuration as canonical JSON, so that a changed setting is another run and a renamed
row is not. A tuned run is one with the measured algorithms in its configuration: they are part of its key.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import cnncore

from engine.config import TrainConfig
from engine.errors import UserError
from engine.files import write_atomically
from engine.plan import Choices
from experiments.study.schema import ScoreEpoch

RECORD_VERSION = 1
# Keys that say where and how fast a run works, or what is done with it later: its result does not depend on them.
INDIFFERENT_KEYS = ("data_root", "threads", "out", "checkpoint_every", "checkpoint_path", "gt_csv", "strict", "cache")
_KEY_CHARACTERS = 12


class Run:
    """One training: the configuration of a row with one seed, and which epoch's figures count."""

    def __init__(self, row: str, seed: int, config: TrainConfig, score_epoch: ScoreEpoch = "best"):
        self.row = row
        self.seed = seed
        self.config = dataclasses.replace(config, seed=seed)
        self.score_epoch = score_epoch
        self.key = _digest(self.config, score_epoch)

    @property
    def label(self) -> str:
        return f"{self.row}, seed {self.seed}"


def _digest(config: TrainConfig, score_epoch: ScoreEpoch) -> str:
    """SHA-256, hexadecimal, of what the result of a run depends on."""
    content = {key: value for key, value in config.to_dict().items() if key not in INDIFFERENT_KEYS}
    if score_epoch != "best":
        content["score_epoch"] = score_epoch
    text = json.dumps({"record": RECORD_VERSION, **content}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Result:
    """How a run ended. `score` is the value of the study's metric in the epoch that counts: the best one or the last.

    `best_epoch` counts from 1.

    Both are None for a run that diverged; `error` then says where. seconds: training alone, summed over epochs.
    """

    key: str
    row: str
    seed: int
    status: Literal["finished", "diverged"]
    score: float | None
    best_epoch: int | None
    parameters: int
    seconds: float
    error: str = ""


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


@dataclass(frozen=True)
class Store:
    """The runs under one folder."""

    root: Path

    def folder(self, run: Run) -> Path:
        """The folder of a run; it need not exist yet. One made under another row's name is found as well."""
        runs, key = self.root / "runs", run.key[:_KEY_CHARACTERS]
        return next(iter(sorted(runs.glob(f"*-{key}"))), runs / f"{_slug(run.row)}-seed{run.seed}-{key}")

    def result(self, run: Run) -> Result | None:
        """The result of a finished run, or None. UserError for a record that cannot be read."""
        path = self.folder(run) / "result.json"
        try:
            content: Any = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: not a readable result ({error}); remove the folder to run it again") from None
        names = {each.name for each in fields(Result)}
        if not isinstance(content, dict) or set(content) != names or content["key"] != run.key:
            raise UserError(f"{path}: not the result of this run; remove the folder to run it again")
        return Result(**{**content, "row": run.row})

    def finish(self, run: Run, result: Result) -> None:
        """Write the result: from now on the run counts as finished."""
        text = json.dumps(asdict(result), indent=2) + "\n"
        write_atomically(self.folder(run) / "result.json", text.encode())

    def tuned(self, run: Run, measure: Callable[[], Choices]) -> Run:
        """The run with its algorithms in place of `tune`: those on record, or what `measure` gives, then recorded."""
        if not run.config.tune:
            return run
        path = self.root / "choices.json"
        known: dict[str, Any] = {}
        if path.is_file():
            try:
                known = json.loads(path.read_text("utf-8"))
            except (OSError, ValueError) as error:
                raise UserError(f"{path}: not a readable record ({error}); remove it to measure again") from None
        named = [dataclasses.asdict(run.config.model), run.config.batch_size, run.config.optimizer, cnncore.isa()]
        name = hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:_KEY_CHARACTERS]
        if name not in known:
            known[name] = measure()
            self.write_text(path.name, json.dumps(known, indent=2) + "\n")
        config = dataclasses.replace(run.config, tune=False, algorithm=known[name])
        return Run(run.row, run.seed, config, run.score_epoch)

    def write_text(self, name: str, text: str) -> Path:
        """Write a file of the study beside its runs; returns its path."""
        path = self.root / name
        write_atomically(path, text.encode())
        return path
