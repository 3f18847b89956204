"""Records of a study's runs: a SQLite file, and a folder per run.

    OUT/study.sqlite          a row per run with its `Result`, and what was measured once (hashes of data, algorithms)
    OUT/study.lock            held by the one runner that may write here (see `experiments.records.locks`)
    OUT/runs/ROW-seedN-KEY/   config.yaml, log.jsonl, log.csv, checkpoints and result.json, as the trainer writes them,
                              and record.json: the run's `Result` once more, written before the row

What a run gave is thus written twice, and no single damage loses it: a run whose row is missing or cannot be read takes
it from record.json, and a database that is no longer one is put aside (study.sqlite.damaged-N) and made anew from the
folders. A run counts as done where its status is final (FINAL); one that failed is tried again by the next command.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cnncore

from engine.errors import UserError, shortened, warn
from engine.files import write_atomically
from engine.plan import Choices
from experiments.records.database import TABLES, file_at, free_name, is_ours
from experiments.records.result import KEY_CHARACTERS, SCHEMA_VERSION, Record, Result, parse_record, read_record
from experiments.tasks.fingerprint import code_hash
from experiments.tasks.keys import Run, digest

DATABASE, RECORD, RUNS = "study.sqlite", "record.json", "runs"
_BUSY_SECONDS = 30.0
_FULL = ("full", "I/O")  # what SQLite says of a full disk


class Store:
    """The runs under one folder. One process writes (`experiments.records.locks.only_runner`), any number may read."""

    def __init__(self, root: Path):
        self.root = root
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None  # which file that is, if any

    # ---- results ----

    def folder(self, run: Run) -> Path:
        """The folder of a run; it need not exist yet. One made under another row's name is found as well."""
        runs, key = self.root / RUNS, run.key[:KEY_CHARACTERS]
        return next(iter(sorted(runs.glob(f"*-{key}"))), runs / f"{_slug(run.row)}-seed{run.seed}-{key}")

    def result(self, run: Run, accept_code: bool = False) -> Result | None:
        """The last result of the run, a failed one too, or None. UserError for a record that cannot be read.

        accept_code: where there is none, the latest final one that other code gave for the same run.
        """
        record = self._by_key(run)
        if accept_code and (record is None or not record.result.final):
            record = self._stale(run) or record
        return None if record is None else dataclasses.replace(record.result, row=run.row, seed=run.seed)

    def stale(self, run: Run) -> Result | None:
        """The latest final result that other code gave for the same run."""
        record = self._stale(run)
        return None if record is None else dataclasses.replace(record.result, row=run.row, seed=run.seed)

    def finish(self, run: Run, result: Result) -> None:
        """Record the result: first in the run's folder, then in the database."""
        folder = self.folder(run)
        record = Record(dataclasses.replace(result, folder=folder), run.identity, code_hash(), time.time())
        write_atomically(folder / RECORD, f"{record.to_json()}\n".encode())
        self._insert(record)

    def records(self) -> list[Record]:
        """Every result on record, whatever study, configuration and code it belongs to, in the order of their ends."""
        rows = self._read("SELECT key, record FROM runs ORDER BY ended, key")
        return [self._parsed(key, text) for key, text in rows]

    def _by_key(self, run: Run) -> Record | None:
        rows = self._read("SELECT record FROM runs WHERE key = ?", run.key)
        if rows:
            return self._parsed(run.key, rows[0][0])
        path = self.folder(run) / RECORD
        if not path.is_file():
            return None
        record = read_record(path)
        if record.result.key != run.key:
            raise UserError(f"{path}: not the record of this run; remove the file to run it again")
        self._insert(record)  # the runner was stopped between folder and database
        return record

    def _stale(self, run: Run) -> Record | None:
        same = "SELECT key, record FROM runs WHERE identity IN (?, ?) ORDER BY ended DESC"
        rows = self._read(same, run.identity, run.former)
        records = (self._parsed(key, text) for key, text in rows if key != run.key)
        asked = (run.identity, run.former)  # a row may say of its record what it does not say itself
        return next((each for each in records if each.result.final and each.identity in asked), None)

    def _parsed(self, key: str, text: object) -> Record:
        """The record in a row; where it is damaged or another run's, the one in the run's folder, which then mends it.

        UserError where the folder has none either.
        """
        place = f"{self.root / DATABASE}, run {key[:KEY_CHARACTERS]}"
        try:
            record = parse_record(text, self.root / RUNS, place)
            if record.result.key == key:
                return record
            raise UserError(f"{place}: is the record of another run, {shortened(record.result.key)}")
        except UserError as error:
            for path in sorted((self.root / RUNS).glob(f"*-{key[:KEY_CHARACTERS]}/{RECORD}")):
                record = read_record(path)
                if record.result.key == key:
                    self._insert(record)
                    return record
            raise UserError(f"{error}, and its folder has no {RECORD} of it") from None

    def _insert(self, record: Record) -> None:
        values = (record.result.key, record.identity, record.code, record.result.status, record.ended, record.to_json())
        self._write("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?)", *values)

    # ---- what is measured once ----

    def notes(self, kind: str) -> MutableMapping[str, str]:
        """A mapping in the database, for texts that took long to find out."""
        return _Notes(self, kind)

    def tuned(self, run: Run, measure: Callable[[], Choices]) -> Run:
        """The run with its algorithms in place of `tune`: those on record, or what `measure` gives, then recorded."""
        if not run.config.tune:
            return run
        known = self.notes("choices")
        config = run.config
        name = digest([asdict(config.model), config.batch_size, config.optimizer, cnncore.isa()])
        choices = _choices(known.get(name, ""))
        if choices is None:
            known[name] = json.dumps(measure())
            choices = json.loads(known[name])
        return dataclasses.replace(run, config=dataclasses.replace(config, tune=False, algorithm=choices))

    def write_text(self, name: str, text: str) -> Path:
        """Write a file of the study beside its runs; returns its path."""
        path = self.root / name
        write_atomically(path, text.encode())
        return path

    # ---- the database ----

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _read(self, statement: str, *values: Any) -> list[Any]:
        if self._connection is None and not (self.root / DATABASE).exists() and not (self.root / RUNS).exists():
            return []  # asking an empty store leaves no file behind
        with self._explained() as connection:
            return connection.execute(statement, values).fetchall()

    def _write(self, statement: str, *values: Any) -> None:
        with self._explained() as connection, connection:
            connection.execute(statement, values)

    @contextmanager
    def _explained(self) -> Iterator[sqlite3.Connection]:
        """The connection; what SQLite may complain of is said in our words."""
        path = self.root / DATABASE
        try:
            if self._connection is not None and self._file is not None and self._file != file_at(path):
                warn(f"{path}: was removed or replaced; what follows goes into the file that is there now")
                self.close()
            if self._connection is None:
                self._connection = self._opened(path)
                at_path = self._connection.execute("PRAGMA database_list").fetchone()[2]
                self._file = file_at(path) if at_path else None
            yield self._connection
        except sqlite3.DatabaseError as error:
            text = str(error)
            if any(word in text for word in _FULL):
                raise OSError(errno.ENOSPC, f"{text}; what has finished is kept", str(path)) from None
            raise UserError(f"{path}: {text}") from None

    def _opened(self, path: Path) -> sqlite3.Connection:
        self._refuse_old_layout()
        if self.root.exists() and not os.access(self.root, os.W_OK):
            return self._copied(path)
        try:
            return self._connected(path)
        except sqlite3.DatabaseError as error:
            if any(word in str(error) for word in _FULL):  # as for the index of the log that every reader makes
                return self._copied(path)
            if not any(word in str(error) for word in ("not a database", "malformed")):
                raise
            aside = free_name(path)
            for suffix in ("", "-wal", "-shm"):
                part = path.with_name(path.name + suffix)
                if part.exists():
                    part.rename(aside.with_name(aside.name + suffix))
            warn(
                f"{path}: {error}; kept as {aside.name}, and made anew from the folders of the runs",
            )
            return self._connected(path)

    def _copied(self, path: Path) -> sqlite3.Connection:
        """The database in memory, where nothing can be written: what is found by looking is forgotten afterwards.

        Who wants to record a run meets the disk's error all the same, as its folder is written first.
        """
        memory = sqlite3.connect(":memory:")
        if path.exists():
            wal = path.with_name(f"{path.name}-wal")
            # Unless told that the file never changes, SQLite writes beside it; but then it does not see its log either.
            mode = "mode=ro" if wal.exists() and wal.stat().st_size else "immutable=1"
            try:
                with closing(sqlite3.connect(f"file:{quote(os.path.abspath(path))}?{mode}", uri=True)) as source:
                    source.backup(memory)
                return self._checked(memory, path)
            except sqlite3.DatabaseError as error:
                warn(f"{path}: {error}; what follows is read from the folders of the runs")
                memory.close()
                memory = sqlite3.connect(":memory:")
        return self._checked(memory, path)

    def _connected(self, path: Path) -> sqlite3.Connection:
        path.parent.mkdir(parents=True, exist_ok=True)
        return self._checked(sqlite3.connect(path, timeout=_BUSY_SECONDS), path)

    def _checked(self, connection: sqlite3.Connection, path: Path) -> sqlite3.Connection:
        """The connection, ready for use, with tables; closed on an error."""
        try:
            connection.text_factory = lambda content: content.decode("utf-8", "replace")
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("BEGIN")  # both as another process leaves them
            objects = connection.execute("SELECT name, sql FROM sqlite_master").fetchall()
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            connection.execute("COMMIT")
            if version > SCHEMA_VERSION:
                raise UserError(
                    f"{path}: written by a newer version of this project (layout {version}, this one knows "
                    f"{SCHEMA_VERSION}); use that version, or choose another folder (--out)"
                )
            if not is_ours(objects, version):
                raise UserError(f"{path}: not the database of a study; move it away, or choose another folder (--out)")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            if version == 0:
                self._make_tables(connection)
            with closing(connection.execute("PRAGMA quick_check")) as check:
                found = check.fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(f"malformed: {found}")
            return connection
        except BaseException:
            connection.close()
            raise

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        """In one transaction: tables, what the folders of runs know, and the version that says that all is there."""
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            if connection.execute("PRAGMA user_version").fetchone()[0]:
                return  # another process was faster
            for statement in TABLES:
                connection.execute(statement)
            for path in sorted((self.root / RUNS).glob(f"*/{RECORD}")):
                try:
                    record = read_record(path)
                except UserError as error:
                    warn(str(error))
                    continue
                values = (record.result.key, record.identity, record.code, record.result.status, record.ended)
                connection.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?)", (*values, record.to_json()))
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _refuse_old_layout(self) -> None:
        """UserError for a folder of the version that kept nothing but result.json: it tells no code, data or test."""
        if (self.root / DATABASE).exists():
            return
        for path in (self.root / RUNS).glob("*/result.json"):
            if '"score"' in path.read_text("utf-8", "replace") and not (path.parent / RECORD).exists():
                raise UserError(
                    f"{self.root}: holds runs of an earlier version, whose records cannot be compared; "
                    "move the folder away, or choose another one (--out)"
                )


class _Notes(MutableMapping[str, str]):
    def __init__(self, store: Store, kind: str):
        self._store, self._kind = store, kind

    def __getitem__(self, name: str) -> str:
        rows = self._store._read("SELECT value FROM notes WHERE kind = ? AND name = ?", self._kind, name)
        if not rows:
            raise KeyError(name)
        return str(rows[0][0])

    def __setitem__(self, name: str, value: str) -> None:
        self._store._write("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", self._kind, name, value)

    def __delitem__(self, name: str) -> None:
        self._store._write("DELETE FROM notes WHERE kind = ? AND name = ?", self._kind, name)

    def __iter__(self) -> Iterator[str]:
        return iter([row[0] for row in self._store._read("SELECT name FROM notes WHERE kind = ?", self._kind)])

    def __len__(self) -> int:
        return len(list(iter(self)))


def _choices(text: str) -> dict[str, dict[str, str]] | None:
    """The algorithms in a note, by operation and pass; None where it is damaged."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    layers = found.values() if isinstance(found, dict) else [None]
    good = all(isinstance(each, dict) and all(isinstance(name, str) for name in each.values()) for each in layers)
    return found if good else None


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")
