"""The folder of a run: the names of its files, and what its log says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.errors import UserError

# Files of a run folder; any of RUN_FILES with something in it makes the folder one that holds a run.
BEST, LAST, CONFIG, RESULT, LOG = "best.safetensors", "last.safetensors", "config.yaml", "result.json", "log.jsonl"
RUN_FILES = (BEST, LAST, RESULT, LOG)


def read_epochs(path: Path) -> list[dict[str, Any]]:
    """The epochs in a log.jsonl, none where there is no file. A last line without its end is being written and not
    counted; UserError for any other that is no record."""
    try:
        lines = path.read_text("utf-8").split("\n")
    except FileNotFoundError:
        return []
    except UnicodeDecodeError:
        raise UserError(f"{path}: is damaged, it is not UTF-8 text") from None
    records = []
    for number, line in enumerate(lines[:-1], 1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise UserError(f"{path}, line {number}: is damaged, expected one JSON object")
        if "event" not in record:
            records.append(record)
    return records


def logged_epochs(folder: Path) -> list[dict[str, Any]]:
    """The epochs in a run's log so far; a line that is only half written is left out."""
    path = folder / LOG
    if not path.is_file():
        return []
    records = []
    for line in path.read_text("utf-8", "replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and "epoch" in record and "event" not in record:
            records.append(record)
    return records
