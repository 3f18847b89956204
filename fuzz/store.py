"""The records of a study: rows of its SQLite file, the record in a run's folder, and the run's log.

An input is a JSON object of these. Rows are put in by SQLite itself, so that what varies is what stands in a good file.
A result that comes out is one of the run that was asked for.
"""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import sqlite3
from contextlib import closing
from typing import Any

from engine.recipe.config import DatasetConfig, ModelConfig, TrainConfig
from engine.training.folder import LOG
from experiments.records.database import TABLES
from experiments.records.export import frame, lines
from experiments.records.result import KEY_CHARACTERS, SCHEMA_VERSION, read_record
from experiments.records.standing import results_of, standings
from experiments.records.status import status_text
from experiments.records.store import DATABASE, RECORD, RUNS, Store
from experiments.tasks.fingerprint import code_hash
from experiments.tasks.keys import Run
from fuzz.promises import promised, scratch
from fuzz.values import Plain, changed, sprinkled

ROOT = scratch()
CONFIG = TrainConfig(DatasetConfig("npz"), ModelConfig("lenet"), epochs=2)
ASKED = tuple(Run("raw", seed, CONFIG, data="0") for seed in range(2))
TUNED = Run("raw", 0, dataclasses.replace(CONFIG, tune=True), data="0")
COLUMNS = ("key", "identity", "code", "status", "ended", "record")
CHOICES = {"0": {"forward": "direct"}}
# Hashes depend on the code and stand in no input: these words stand for them.
HASHES = {"CODE": code_hash()}
for _run in ASKED:
    HASHES |= {
        f"KEY{_run.seed}": _run.key,
        f"SHORT{_run.seed}": _run.key[:KEY_CHARACTERS],
        f"SAME{_run.seed}": _run.identity,
    }


def corpus() -> dict[str, bytes]:
    """A study of two runs of which one has ended, one whose rows are other code's, and one that has only folders."""
    record = {
        "key": "KEY0",
        "row": "raw",
        "seed": 0,
        "status": "finished",
        "metrics": {"val_accuracy": 0.5, "test_loss": None},
        "best_epoch": 2,
        "epochs": 2,
        "parameters": 100,
        "seconds": 1.5,
        "seconds_per_epoch": 0.5,
        "error": "",
        "folder": "raw-seed0-SHORT0",
        "version": SCHEMA_VERSION,
        "identity": "SAME0",
        "code": "CODE",
        "ended": 1e9,
    }
    row = {"key": "KEY0", "identity": "SAME0", "code": "CODE", "status": "finished", "ended": 1e9, "record": record}
    other = "0" * 64
    stale = {**row, "key": other, "record": {**record, "key": other, "folder": f"raw-seed0-{other[:KEY_CHARACTERS]}"}}
    log = '{"epoch": 1, "val_loss": null, "val_accuracy": 0.5, "seconds": 0.5}\n{"event": "resumed"}\n'
    notes = [["choices", "a", json.dumps(CHOICES)], ["data", "a", "b"]]
    whole = {"rows": [row], "notes": notes, "record": record, "log": log}
    inputs = {
        "finished": whole,
        "stale": {**whole, "rows": [stale]},
        "folders": {**whole, "rows": []},
        "begun": {**whole, "record": None, "rows": []},
    }
    return {name: json.dumps(each).encode() for name, each in inputs.items()}


def run(data: bytes) -> int | None:
    try:
        text = data.decode()
        for word, each in HASHES.items():
            text = text.replace(word, each)
        given = json.loads(text)
        _lay_out(given if isinstance(given, dict) else {})
    except (ValueError, TypeError, RecursionError, OverflowError, sqlite3.Error):
        return -1  # no such study can be laid out: libFuzzer is to forget this input
    store = Store(ROOT)
    try:
        _look(data, store)
    finally:
        store.close()
    return None


def _lay_out(given: dict[str, Any]) -> None:
    """The files of the study."""
    shutil.rmtree(ROOT / RUNS, ignore_errors=True)
    for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"):
        (ROOT / name).unlink(missing_ok=True)
    with closing(sqlite3.connect(ROOT / DATABASE, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        for statement in TABLES:
            connection.execute(statement)
        for row in _listed(given.get("rows")):
            values = [_stored(row.get(column)) for column in COLUMNS] if isinstance(row, dict) else []
            if len(values) == len(COLUMNS):
                connection.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?)", values)
        for note in _listed(given.get("notes")):
            if len(values := [_stored(each) for each in _listed(note)]) == 3:
                connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", values)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    folder = ROOT / RUNS / f"raw-seed0-{ASKED[0].key[:KEY_CHARACTERS]}"
    for name, content in ((RECORD, given.get("record")), (LOG, given.get("log"))):
        if content is not None:
            folder.mkdir(parents=True, exist_ok=True)
            written = content if isinstance(content, str) else json.dumps(content)
            (folder / name).write_bytes(written.encode("utf-8", "surrogateescape"))


def _listed(value: Any) -> list[Any]:
    return value[:20] if isinstance(value, list) else []


def _stored(value: Any) -> Any:
    """A value as SQLite takes it: a mapping or list as the JSON text of it, one text alone in a list as bytes."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        return value[0].encode("utf-8", "surrogateescape")
    return json.dumps(value) if isinstance(value, (dict, list, bool)) else value


def _look(data: bytes, store: Store) -> None:
    folder = store.folder(ASKED[0])
    if (folder / RECORD).is_file():
        with promised(data):
            read_record(folder / RECORD)
    for asked in ASKED:
        with promised(data):
            for result in (store.result(asked), store.result(asked, accept_code=True), store.stale(asked)):
                if result is not None:
                    assert result.seed == asked.seed and result.folder.parent == ROOT / RUNS
    with promised(data):
        frame([each.result for each in store.records()]).to_csv()
    with promised(data):
        told = standings(ASKED, store)
        assert status_text(told, store)
        assert len(lines(results_of(told))) <= len(ASKED)
    with promised(data):
        assert store.tuned(TUNED, lambda: CHOICES).config.tune is False
        assert all(isinstance(text, str) for text in store.notes("data").values())


def mutate(data: bytes, most: int, seed: int, plain: Plain) -> bytes:
    rng = random.Random(seed)
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict) or rng.randrange(16) == 0:
        return sprinkled(data, rng, plain, most)
    if rng.randrange(4) == 0 and isinstance(given.get("log"), str):
        given["log"] = _log_changed(given["log"], rng)
    else:
        given = changed(given, rng)
    return json.dumps(given).encode()


def _log_changed(log: str, rng: random.Random) -> str:
    """A log with one of its lines changed."""
    written = log.split("\n")
    place = rng.randrange(len(written))
    try:
        written[place] = json.dumps(changed(json.loads(written[place]), rng))
    except (ValueError, RecursionError):
        written.insert(
            place, rng.choice(('{"epoch": 2}', '{"epoch": NaN}', "{", "null", '{"epoch": 1e400}', "[" * 2000))
        )
    return "\n".join(written)
