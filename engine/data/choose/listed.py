"""Subsets that a file lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from engine.data.choose.splits import Indices
from engine.data.dataset import RawDataset
from engine.data.images import ImageFiles
from engine.errors import UserError, unknown
from engine.reading.schema import FilePath, read_json


def read_listed(dataset: RawDataset, listed: Listed, folder: Path | None = None) -> Indices:
    """Sorted indices of the samples that a publisher's file lists, as the scenes' folds.json does.

    The file is JSON: {subset: {part: ["class/file.jpg", …]}}. Samples are found by class folder and file name without
    suffix, since the images may have been converted. UserError for a subset or part that the file lacks, or a listed
    image that the data lack.
    """
    path = Path(listed.file)
    if not path.is_file() and folder is not None and (folder / path).is_file():
        path = folder / path
    names = _listed_names(path, listed)
    if not isinstance(dataset.images, ImageFiles):
        raise UserError(f"{path}: lists files, but the images of {dataset.name} are not files")
    by_stem = {f"{file.parent.name}/{file.stem}": index for index, file in enumerate(dataset.images.paths)}
    missing = [name for name in names if _stem(name) not in by_stem]
    if missing:
        raise UserError(
            f"{path}: {len(missing)} of the {len(names)} images that {listed.name} lists are not in the data, the "
            f"first is {missing[0]}"
        )
    indices = np.array([by_stem[_stem(name)] for name in names], np.int64)
    if len(np.unique(indices)) < len(indices):
        raise UserError(f"{path}: {listed.name} lists an image twice")
    return np.sort(indices)


def _listed_names(path: Path, listed: Listed) -> list[str]:
    subsets = read_json(path)
    if listed.name not in subsets:
        raise unknown(f"subset in {path}:", listed.name, subsets)
    parts = subsets[listed.name]
    if not isinstance(parts, Mapping) or listed.part not in parts:
        raise unknown(f"part of {listed.name} in {path}:", listed.part, parts if isinstance(parts, Mapping) else ())
    names = parts[listed.part]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path}: expected a list of file names in {listed.name}, {listed.part}")
    return names


def _stem(name: str) -> str:
    place = PurePosixPath(name)
    return f"{place.parent.name}/{place.stem}"


@dataclass(frozen=True)
class Listed:
    """A part of a subset that its publisher lists in a JSON file (see `engine.data.choose.listed.read_listed`).

    file  relative to the working folder, or else to the set's own
    name  which subset
    part  train or test
    """

    file: FilePath
    name: str
    part: str = "train"
