"""True labels from a table, matched to images by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.data.readers import read_csv
from engine.errors import UserError, listed

# What a table of true labels may call its columns, in the order in which the names are looked for.
COLUMNS = {"filename": ("filename", "file", "image"), "label": ("label", "digit")}


def read_truth(table: Path, paths: Sequence[Path], names: Sequence[str]) -> NDArray[np.int64]:
    """The true label of each image from a CSV table (see `match_rows`).

    UserError for a missing column, a label that is no class, a file named twice with different labels, and an image
    that the table does not have.
    """
    labels = {name: index for index, name in enumerate(names)}
    known: dict[Path, int] = {}
    for line, row in read_csv(table, COLUMNS):
        label = row["label"]
        if label not in labels:
            raise UserError(f"{table}, line {line}: label {label!r} is none of the classes {listed(names)}")
        name = Path(row["filename"])
        if known.setdefault(name, labels[label]) != labels[label]:
            raise UserError(f"{table}, line {line}: {name} has a second, different label")
    rows = match_rows(table, paths, list(known))
    return np.array([known[row] for row in rows], np.int64)


def match_rows(table: Path, paths: Sequence[Path], rows: Sequence[Path]) -> list[Path]:
    """The table's row for each image: its path as written, else the longest one that its path ends in, else the only
    one of its name. UserError where an image has none or several, or a row would stand for two images.
    """
    by_name: dict[str, list[Path]] = {}
    for row in rows:
        by_name.setdefault(row.name, []).append(row)
    missing = [path for path in paths if path.name not in by_name]
    if missing:
        raise UserError(f"{table}: no label for {missing[0].name} ({len(missing)} of {len(paths)} images are missing)")
    image_of: dict[Path, Path] = {}
    matched = []
    for path in paths:
        named = by_name[path.name]
        whole = path.absolute().parts
        endings = [row for row in named if row == path or row.parts == whole[-len(row.parts) :]]
        if not endings and len(named) > 1:
            raise UserError(f"{table}: {path} is ambiguous, it could be {named[0]} or {named[1]}")
        best = path if path in endings else max(endings or named, key=lambda row: len(row.parts))
        if image_of.setdefault(best, path) != path:
            raise UserError(f"{table}: {best} is ambiguous, it could be {image_of[best]} or {path}")
        matched.append(best)
    return matched
