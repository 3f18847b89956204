"""True labels from a table, matched to images by name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.data.readers import read_csv
from engine.errors import UserError, listed

# What a table of true labels may call its columns. One that has two of these names is refused.
COLUMNS = {"filename": ("filename", "file", "image"), "label": ("label", "digit")}


def read_truth(table: Path, paths: Sequence[Path], names: Sequence[str]) -> NDArray[np.int64]:
    """The true label of each image from a CSV table (see `match_rows`).

    UserError for a missing column, a label that is no class, a file named twice with different labels, rows with
    different labels that fit one image and no other, and an image that the table does not have.
    """
    labels = {name: index for index, name in enumerate(names)}
    known: dict[Path, int] = {}
    for line, row in read_csv(table, COLUMNS):
        label = row["label"]
        if label not in labels:
            raise UserError(f"{table}, line {line}: label {label!r} is none of the classes {listed(names)}")
        name = Path(os.path.normpath(row["filename"]))
        if known.setdefault(name, labels[label]) != labels[label]:
            raise UserError(f"{table}, line {line}: {name} has a second, different label")
    rows = match_rows(table, paths, list(known))
    taken, endings = set(rows), _by_parts(known)
    for path, best in zip(paths, rows, strict=True):
        for other in _fitting(path, endings):
            if known[other] != known[best] and other not in taken:
                raise UserError(f"{table}: {path} has a second, different label: rows {best} and {other} both fit it")
    return np.array([known[row] for row in rows], np.int64)


def match_rows(table: Path, paths: Sequence[Path], rows: Sequence[Path]) -> list[Path]:
    """The table's row for each image: its path as written, else the longest one that its path ends in; else, where the
    table has none of the images' folders, and so was made in another place, the only one of its name. UserError where
    an image has none or several, or a row would stand for two images.
    """
    by_name: dict[str, list[Path]] = {}
    for row in rows:
        by_name.setdefault(row.name, []).append(row)
    missing = [path for path in paths if path.name not in by_name]
    if missing:
        raise UserError(f"{table}: no label for {missing[0].name} ({len(missing)} of {len(paths)} images are missing)")
    image_of: dict[Path, Path] = {}
    matched = []
    endings = _by_parts(rows)
    of_here = _folder_of_both(paths, rows)
    for path in paths:
        fitting, named = _fitting(path, endings), by_name[path.name]
        if not fitting and len(named) > 1:
            raise UserError(f"{table}: {path} is ambiguous, it could be {named[0]} or {named[1]}")
        if not fitting and of_here is not None:
            raise UserError(
                f"{table}: no label for {path}: its row {named[0]} is of another folder, as the table knows {of_here}"
            )
        best = (fitting or named)[0]
        if image_of.setdefault(best, path) != path:
            raise UserError(f"{table}: {best} is ambiguous, it could be {image_of[best]} or {path}")
        matched.append(best)
    return matched


Endings = Mapping[tuple[str, ...], Path]


def _folder_of_both(paths: Iterable[Path], rows: Iterable[Path]) -> Path | None:
    """A folder that images lie in and rows name; None where the rows name none, or those of another place."""
    named = _by_parts({row.parent: None for row in rows if row.parent.parts})
    found = (_fitting(folder, named) for folder in {path.parent: None for path in paths})
    return next((each[0] for each in found if each), None)


def _by_parts(rows: Iterable[Path]) -> Endings:
    """The rows by their parts; those of whole paths with a link in them by the parts of the file's place, too."""
    found = {Path(os.path.realpath(row)).parts: row for row in rows if row.is_absolute()}
    return {**found, **{row.parts: row for row in rows}}


def _fitting(path: Path, rows: Endings) -> list[Path]:
    """The rows that are this image's path as written, or that its path ends in, the longest first."""
    whole = Path(os.path.abspath(path)).parts
    parts = [path.parts, Path(os.path.normpath(path)).parts, Path(os.path.realpath(path)).parts]
    parts += [whole[start:] for start in range(len(whole))]
    return list(dict.fromkeys(rows[each] for each in parts if each in rows))
