"""What the readers share: finding folders and files, and saying what is missing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.data.listing import is_folder
from engine.errors import UserError, unknown

GZIP = b"\x1f\x8b"
DIGIT_NAMES = tuple("0123456789")


def set_folder(root: Path | None, name: str) -> Path:
    """The folder of the set `name`, which must exist; the error says how to get the set or where to point at it."""
    places = "--data-root, the key data_root or the variable CNN_DATA"
    if root is None:
        raise UserError(f"where is the data set {name!r}? Give {places}: the folder that holds {name}/")
    folder = place_of(root, name)
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder (expected the data set {name!r} in it); `python -m engine.data fetch {name}` "
            f"gets it or says how, and {places} names another place"
        )
    return folder


def place_of(root: Path, name: str) -> Path:
    """`root`/`name`, or where that is not there a folder whose name differs in case only, as torchvision's MNIST."""
    place = root / name
    if place.is_dir() or not root.is_dir():
        return place
    alike = sorted(each for each in root.iterdir() if each.name.lower() == name.lower() and each.is_dir())
    return alike[0] if alike else place


def nested(folder: Path, *names: str) -> Path:
    """The first of the folders `names` in `folder` that is there, else `folder` itself."""
    return next((folder / name for name in names if (folder / name).is_dir()), folder)


def existing_file(path: Path) -> Path:
    """`path` if it is a file, else UserError."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    return path


def find_idx(folders: Iterable[Path], name: str) -> Path | None:
    """The idx file `name` in the first folder that has it: train-images-idx3-ubyte, or .idx3-ubyte as some unpack it,
    plain or gzipped, also in a folder of its own name, where an archive was unpacked into one.
    """
    spellings = (name, name.replace("-idx", ".idx"))
    names = [f"{spelling}{ending}" for spelling in spellings for ending in ("", ".gz")]
    places = (folder / inner for folder in folders for inner in (*names, *(f"{each}/{each}" for each in spellings)))
    return next((place for place in places if place.is_file()), None)


def is_gzipped(path: Path) -> bool:
    """Whether the file begins as gzip does, whatever its name."""
    with path.open("rb") as file:
        return file.read(len(GZIP)) == GZIP


def choice(what: str, value: str, known: Mapping[str, Any] | Sequence[str] | str) -> str:
    """`value` if it is one of `known`, else UserError."""
    if value not in known:
        raise unknown(what, value, known)
    return value


def check_table_files(table: Path, paths: Sequence[Path]) -> None:
    """UserError where the table names a file twice, in whatever spelling, or files that are missing (counted, the first
    one named)."""
    if not paths:
        raise UserError(f"{table}: the table names no images")
    twice = [path for path, count in Counter(paths).items() if count > 1]
    if twice:
        raise UserError(f"{table}: names {twice[0].name} more than once ({len(twice)} files are named repeatedly)")
    links = {folder: _entries(folder) for folder in {path.parent for path in paths}}
    missing = [path for path in paths if path.name not in links[path.parent]]
    if missing:
        raise UserError(
            f"{missing[0]}: no such file ({len(missing)} of the {len(paths)} images in {table.name} are missing)"
        )
    folders = {folder: os.path.realpath(folder) for folder in links}
    seen: dict[str, Path] = {}
    for path in paths:
        is_link = links[path.parent][path.name]
        place = os.path.realpath(path) if is_link else os.path.join(folders[path.parent], path.name)
        if (first := seen.setdefault(place, path)) != path:
            raise UserError(f"{table}: names one file more than once: as {first} and as {path}")


def _entries(folder: Path) -> dict[str, bool]:
    """What lies in the folder, and whether it is a link: one listing, not a look at each file."""
    return {entry.name: entry.is_symlink() for entry in os.scandir(folder)} if is_folder(folder) else {}
