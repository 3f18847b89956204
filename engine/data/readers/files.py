"""What the readers share: finding folders and files, and saying what is missing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.errors import UserError, unknown

DIGIT_NAMES = tuple("0123456789")


def set_folder(root: Path | None, name: str) -> Path:
    """The folder of the set `name`, which must exist; the error says how to get the set or where to point at it."""
    places = "--data-root, the key data_root or the variable CNN_DATA"
    if root is None:
        raise UserError(f"where is the data set {name!r}? Give {places}: the folder that holds {name}/")
    folder = root / name
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder (expected the data set {name!r} in it); `python -m engine.data fetch {name}` "
            f"gets it or says how, and {places} names another place"
        )
    return folder


def nested(folder: Path, *names: str) -> Path:
    """The first of the folders `names` in `folder` that is there, else `folder` itself."""
    return next((folder / name for name in names if (folder / name).is_dir()), folder)


def existing_file(path: Path) -> Path:
    """`path` if it is a file, else UserError."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    return path


def plain_or_gzipped(folder: Path, name: str) -> Path:
    """The plain file, or the gzipped one when only that is there."""
    plain = folder / name
    return plain if plain.is_file() else existing_file(folder / f"{name}.gz")


def choice(what: str, value: str, known: Mapping[str, Any] | Sequence[str] | str) -> str:
    """`value` if it is one of `known`, else UserError."""
    if value not in known:
        raise unknown(what, value, known)
    return value


def check_table_files(table: Path, paths: Sequence[Path]) -> None:
    """UserError where the table names a file twice, or files that are missing (counted, the first one named)."""
    if not paths:
        raise UserError(f"{table}: the table names no images")
    twice = [path for path, count in Counter(paths).items() if count > 1]
    if twice:
        raise UserError(f"{table}: names {twice[0].name} more than once ({len(twice)} files are named repeatedly)")
    missing = _missing(paths)
    if missing:
        raise UserError(
            f"{missing[0]}: no such file ({len(missing)} of the {len(paths)} images in {table.name} are missing)"
        )


def _missing(paths: Iterable[Path]) -> list[Path]:
    """The paths that do not exist: one listing per folder, not one look per file."""
    folders = {path.parent for path in paths}
    listings = {
        folder: {entry.name for entry in os.scandir(folder)} if folder.is_dir() else set() for folder in folders
    }
    return [path for path in paths if path.name not in listings[path.parent]]
