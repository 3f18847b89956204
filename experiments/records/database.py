"""The SQLite file of a study's records: its tables, and whether a file is such a one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

TABLES = (
    """CREATE TABLE runs (
    key TEXT PRIMARY KEY, identity TEXT NOT NULL, code TEXT NOT NULL, status TEXT NOT NULL, ended REAL NOT NULL,
    record TEXT NOT NULL
) WITHOUT ROWID""",
    """CREATE INDEX runs_identity ON runs (identity, ended)""",
    """CREATE TABLE notes (kind TEXT, name TEXT, value TEXT NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID""",
)


def is_ours(objects: Sequence[tuple[str, str | None]], version: int) -> bool:
    """Whether a database of this version that has these objects, each (name, SQL), has our tables, or is empty yet.

    Any other is somebody else's, or may compute what it likes when it is read.
    """
    written = sorted(_words(sql) for name, sql in objects if sql and not name.startswith("sqlite_"))
    return written == (sorted(map(_words, TABLES)) if version else [])


def _words(sql: str) -> str:
    return " ".join(sql.split())


def file_at(path: Path) -> tuple[int, int] | None:
    """Which file lies there, by device and number."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def free_name(path: Path) -> Path:
    """A name beside `path` for a file that is damaged."""
    number = 1
    while (free := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return free
