"""Records of runs on disk: one folder per run, keyed by the content of its configuration.

    OUT/runs/ROW-seedN-KEY/   config.yaml, log.jsonl, log.csv and checkpoints, as the trainer writes them
                              result.json, written last: where it stands, the run is finished and never repeated

The key is the SHA-256 of the configuration as canonical JSON, so that a changed setting is another run and a renamed
row is not.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from engine.errors import UserError
from engine.files import write_atomically
from experiments.config import Settings

RECORD_VERSION = 1
_KEY_CHARACTERS = 12


@dataclass(frozen=True)
class Run:
    """One training: the settings of a row with one seed."""

    row: str
    seed: int
    settings: Settings

    def content(self) -> dict[str, Any]:
        """What the result depends on, as JSON-able data; the row's name is not part of it."""
        return {"record": RECORD_VERSION, "seed": self.seed, "settings": asdict(self.settings)}

    @property
    def key(self) -> str:
        """SHA-256 of the content, hexadecimal."""
        return hashlib.sha256(_json(self.content()).encode()).hexdigest()

    @property
    def label(self) -> str:
        return f"{self.row}, seed {self.seed}"


@dataclass(frozen=True)
class Result:
    """How a run ended. `score` is the best validation macro-F1, reached in `best_epoch` (from 1)."""

    key: str
    row: str
    seed: int
    status: Literal["finished", "diverged"]
    score: float
    best_epoch: int
    parameters: int
    seconds: float
    error: str = ""


def _json(content: Any) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


@dataclass(frozen=True)
class Store:
    """The runs under one folder."""

    root: Path

    def folder(self, run: Run) -> Path:
        """The folder of a run; it need not exist yet. One that was made under another row's name is found as well."""
        runs, key = self.root / "runs", run.key[:_KEY_CHARACTERS]
        return next(iter(sorted(runs.glob(f"*-{key}"))), runs / f"{_slug(run.row)}-seed{run.seed}-{key}")

    def result(self, run: Run) -> Result | None:
        """The result of a finished run, or None. UserError for a record that cannot be read."""
        path = self.folder(run) / "result.json"
        try:
            content = json.loads(path.read_text("utf-8"))
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

    def write_text(self, name: str, text: str) -> Path:
        """Write a file of the study beside its runs; returns its path."""
        path = self.root / name
        write_atomically(path, text.encode())
        return path
