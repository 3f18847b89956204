"""Files of indices: stratified folds that are saved and read again, and subsets that a publisher lists.

A file of folds is JSON: {"format", "set", "count", "content", "validation": [[indices of fold 0], …]}. `content` is the
hash of all pixels and labels in their order (`duplicates.content_hash`), so that the indices are never
used on other samples. The images are those on disk, before any preprocessing, so that rows of a table share their folds
whatever they do to the images.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.choose.duplicates import content_hash
from engine.data.choose.splits import Indices, stratified_folds
from engine.data.dataset import Dataset, RawDataset
from engine.errors import UserError
from engine.files import write_atomically
from engine.reading.schema import read_json

MOST = 1 << 62  # no set has so many samples
FORMAT = "cnn-engine folds, version 1"
Fold = tuple[Indices, Indices]  # train, validation; both sorted


@dataclass(frozen=True)
class FoldsFile:
    """What a file of folds holds."""

    set: str
    count: int
    content: str
    validation: tuple[tuple[int, ...], ...]


def folds_text(dataset: RawDataset | Dataset, folds: Sequence[Fold], where: str = "folds") -> str:
    """What a file with the folds of the set holds: every sample must be in the validation part of exactly one."""
    validation = tuple(tuple(int(index) for index in held_out) for _, held_out in folds)
    _check_partition(where, validation, len(dataset))
    content = {
        "format": FORMAT,
        "set": dataset.name,
        "count": len(dataset),
        "content": content_hash(dataset.images, dataset.labels),
        "validation": validation,
    }
    return json.dumps(content) + "\n"


def save_folds(path: Path, dataset: RawDataset | Dataset, folds: Sequence[Fold]) -> None:
    """Write the file."""
    write_atomically(path, folds_text(dataset, folds, str(path)).encode())


def load_folds(path: Path, dataset: RawDataset | Dataset) -> list[Fold]:
    """The saved folds, as `engine.data.choose.splits.stratified_folds` gives them.

    UserError where the file is none of folds, or belongs to another set, another number of samples or other contents.
    """
    stored = _read_folds_file(path)
    if stored.set != dataset.name:
        raise UserError(f"{path}: these are folds of the set {stored.set!r}, not of {dataset.name!r}")
    if stored.count != len(dataset):
        raise UserError(f"{path}: these folds are for {stored.count} samples, but the data now have {len(dataset)}")
    if stored.content != content_hash(dataset.images, dataset.labels):
        raise UserError(
            f"{path}: these folds belong to other data: the pixels, labels or their order differ from those they were "
            "drawn for"
        )
    _check_partition(str(path), stored.validation, stored.count)
    everything = np.arange(stored.count)
    held = [np.sort(np.array(indices, np.int64)) for indices in stored.validation]
    return [(np.setdiff1d(everything, indices, assume_unique=True), indices) for indices in held]


def saved_folds(
    path: Path,
    dataset: RawDataset | Dataset,
    strata: NDArray[Any],
    count: int,
    seed: int,
    names: Sequence[str] = (),
) -> list[Fold]:
    """The folds in the file; where there is none yet, stratified folds are drawn with the seed and saved in it.

    UserError as in `load_folds` and `stratified_folds`, and where the file holds another number of folds.
    """
    if path.exists():
        folds = load_folds(path, dataset)
        if len(folds) != count:
            raise UserError(f"{path}: holds {len(folds)} folds, but split.folds is {count}")
        return folds
    folds = stratified_folds(strata, count, seed, names)
    save_folds(path, dataset, folds)
    return folds


def _read_folds_file(path: Path) -> FoldsFile:
    given = read_json(path)
    if given.get("format") != FORMAT:
        raise UserError(f"{path}: not a file of folds (expected the format {FORMAT!r})")
    validation = given.get("validation")
    indices_only = isinstance(validation, list) and all(
        isinstance(fold, list) and all(type(index) is int and 0 <= index < MOST for index in fold)
        for fold in validation
    )
    named = isinstance(given.get("set"), str) and isinstance(given.get("content"), str)
    if not (indices_only and named and type(given.get("count")) is int):
        raise UserError(f"{path}: expected the keys set, count, content and validation (a list of indices per fold)")
    assert isinstance(validation, list)
    return FoldsFile(given["set"], given["count"], given["content"], tuple(map(tuple, validation)))


def _check_partition(where: str, validation: Sequence[Sequence[int]], count: int) -> None:
    flat = np.array([index for fold in validation for index in fold], np.int64)
    if len(validation) < 2 or not all(map(len, validation)) or not np.array_equal(np.sort(flat), np.arange(count)):
        raise UserError(f"{where}: two folds or more must hold each index from 0 to {count - 1} exactly once")
