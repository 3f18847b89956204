"""Subsets that a file lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

import numpy as np

from engine.data.choose.splits import Indices
from engine.data.dataset import RawDataset
from engine.data.images import ImageFiles
from engine.errors import UserError, unknown
from engine.reading.schema import FilePath, read_json


def read_listed(dataset: RawDataset, listed: Listed, folder: Path | None = None) -> Indices:
    """Sorted indices of the samples that a publisher's file lists, as the scenes' folds.json does.

    The file is JSON: {subset: {part: ["class/file.jpg", …]}}. Samples are found by class folder and file name; one
    that is not there by its name without suffix, since the images may have been converted. UserError for a subset or
    part that the file lacks, and for a listed image that the data lack, or that several of them could be.
    """
    path = Path(listed.file)
    if not path.is_file() and folder is not None and (folder / path).is_file():
        path = folder / path
    names = _listed_names(path, listed)
    if not isinstance(dataset.images, ImageFiles):
        raise UserError(f"{path}: lists files, but the images of {dataset.name} are not files")
    files = dataset.images.paths
    by_name, by_stem = _grouped(files, _name), _grouped(files, _stem)
    found = [by_name.get(_name(place)) or by_stem.get(_stem(place)) or [] for place in map(PurePosixPath, names)]
    missing = [name for name, places in zip(names, found, strict=True) if not places]
    if missing:
        raise UserError(
            f"{path}: {len(missing)} of the {len(names)} images that {listed.name} lists are not in the data, the "
            f"first is {missing[0]}"
        )
    for name, places in zip(names, found, strict=True):
        if len(places) > 1:
            raise UserError(
                f"{path}: {listed.name} lists {name}, which could be {files[places[0]]} or {files[places[1]]}"
            )
    indices = np.array([place for (place,) in found], np.int64)
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


def _grouped(files: Sequence[PurePath], key: Callable[[PurePath], str]) -> dict[str, list[int]]:
    """The places of the files that have one key."""
    groups: dict[str, list[int]] = {}
    for index, file in enumerate(files):
        groups.setdefault(key(file), []).append(index)
    return groups


def _name(place: PurePath) -> str:
    return f"{place.parent.name}/{place.name}"


def _stem(place: PurePath) -> str:
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
