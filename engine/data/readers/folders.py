"""Image files in folders: one per class, or one folder with a CSV table. The user's own data, scenes, CMATERdb."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from engine.data.dataset import RawDataset
from engine.data.images import ImageFiles
from engine.data.listing import Unread, images_in, scan
from engine.data.readers.archives import read_arrays
from engine.data.readers.files import DIGIT_NAMES, check_table_files, choice, nested, set_folder
from engine.data.readers.tables import read_csv
from engine.errors import UserError, warn
from engine.reading.schema import ClassName, FilePath

SCENES = ("Opencountry", "coast", "forest", "highway", "inside_city", "mountain", "street", "tallbuilding")
CMATERDB_FILES = {"train": "training-images.npz", "test": "testing-images.npz"}


def read_folder(
    root: Path | None,
    path: FilePath,
    table: FilePath | None = None,
    file_column: str = "filename",
    label_column: str = "label",
    classes: tuple[ClassName, ...] = (),
) -> RawDataset:
    """The user's own images: one folder per class, or a folder and a CSV table. `path` is taken as given, no root.

    Without `table`, each folder in `path` is a class; files beside them, and folders in them, are not read but named
    (RawDataset.unread), as are hidden folders with images, unless `classes` names them. With it, `file_column` names
    files relative to `path`, and `label_column` their classes; the table lies in `path` or is given with its folder.
    classes: the class names in the order of their numbers, where any other is an error (default: those found, sorted).
    """
    folder = Path(path)
    if len(set(classes)) < len(classes):
        raise UserError(f"the classes of {folder} must be given once each, got {', '.join(classes)}")
    if not folder.is_dir():
        from_here = "" if folder.is_absolute() else f"; it is looked for in {Path.cwd()}, the current folder"
        raise UserError(
            f"{folder}: no such folder (expected one folder of images per class, or images and a table){from_here}"
        )
    if table is None:
        return _class_folders(folder.name, folder, classes)
    place = folder / table if (folder / table).is_file() else Path(table)
    return _folder_with_table(folder, place, file_column, label_column, classes)


def read_scenes(root: Path | None, split: str = "train") -> RawDataset:
    """MIT 8 scenes (Oliva & Torralba 2001) in the MIT_split layout: colour, a folder per class. split: train, test."""
    folder = nested(set_folder(root, "scenes"), "MIT_split")
    return _class_folders("scenes", folder / choice("scenes split", split, ("train", "test")), SCENES)


def read_cmaterdb(root: Path | None, split: str = "train") -> RawDataset:
    """CMATERdb 3.1.1 (Das et al. 2012), handwritten Bangla digits, colour 32x32.

    split: train or test, from training-images.npz and testing-images.npz (arrays images and labels); or all, from
    folders 0 … 9 of image files.
    """
    folder = set_folder(root, "cmaterdb")
    if choice("cmaterdb split", split, ("train", "test", "all")) == "all":
        return _class_folders("cmaterdb", folder, DIGIT_NAMES, beside=CMATERDB_FILES.values())
    images, labels = read_arrays(folder / CMATERDB_FILES[split], "images", "labels")
    if labels.max() > 9:
        raise UserError(f"{folder / CMATERDB_FILES[split]}: label {labels.max()}, expected 0 to 9")
    return RawDataset("cmaterdb", images, labels, DIGIT_NAMES)


def _class_folders(name: str, folder: Path, classes: Sequence[str] = (), beside: Iterable[str] = ()) -> RawDataset:
    """beside: names of files that belong next to the class folders."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder (expected one folder of images per class)")
    listing = scan(folder, classes)
    found = sorted(each.name for each in listing.folders)
    if not found:
        images = f" ({len(listing.images)} images lie in it directly)" if listing.images else ""
        hidden = next((f"; there is {each.path.name}: {each.reason}" for each in listing.unread if each.images), "")
        raise UserError(f"{folder}: holds no class folders{images or hidden}")
    names = tuple(classes) or tuple(found)
    for wrong, what in ((set(names) - set(found), "is missing"), (set(found) - set(names), "is none of the classes")):
        if wrong:
            raise UserError(f"{folder / min(wrong)}: the folder {what} (expected {', '.join(names)})")
    _check_names(folder, names)
    places: dict[str, str] = {}
    for each in names:
        first = places.setdefault(os.path.realpath(folder / each), each)
        if first != each:
            raise UserError(
                f"{folder / each}: is the same folder as {folder / first}, and each class needs one of its own"
            )
    paths: list[Path] = []
    labels: list[int] = []
    unread = [Unread(each, "an image beside the class folders, in no class", 1) for each in listing.images]
    unread += [each for each in listing.unread if each.path.name not in set(beside)]
    for label, each in enumerate(names):
        inside = images_in(folder / each)
        if not inside.images:
            way_out = "" if classes else f"; every folder in {folder} is a class: move this one elsewhere"
            raise UserError(f"{folder / each}: the class folder holds no images{inside.instead}{way_out}")
        paths += inside.images
        labels += [label] * len(inside.images)
        unread += inside.unread
    return RawDataset(name, ImageFiles(paths), np.array(labels, np.int64), names, unread=tuple(unread))


INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200e\u200f\u2060\ufeff"))


def _check_names(where: Path, names: Sequence[str]) -> None:
    """UserError where two class names differ in nothing that can be seen: how letters with accents are put together,
    characters without width, spaces. A warning for a space at an end, which is taken off values of tables.
    """
    seen: dict[str, str] = {}
    for name in names:
        look = " ".join(unicodedata.normalize("NFC", name).translate(INVISIBLE).split())
        if seen.setdefault(look, name) != name:
            raise UserError(f"{where}: the classes {ascii(seen[look])} and {ascii(name)} look the same; make them one")
    spaced = [name for name in names if name != name.strip()]
    if spaced:
        warn(
            f"{where}: the name of the class {spaced[0]!r} begins or ends with a space, so that no table of labels can "
            "name it"
        )


def _folder_with_table(
    folder: Path, table: Path, file_column: str, label_column: str, classes: Sequence[str]
) -> RawDataset:
    rows = list(read_csv(table, (file_column, label_column)))
    names = tuple(classes) or tuple(sorted({row[label_column] for _, row in rows}))
    _check_names(table, names)
    numbers = {name: number for number, name in enumerate(names)}
    for line, row in rows:
        if row[label_column] not in numbers:
            raise UserError(f"{table}, line {line}: label {row[label_column]!r}, expected one of {', '.join(names)}")
    paths = [folder / row[file_column] for _, row in rows]
    check_table_files(table, paths)
    labels = np.array([numbers[row[label_column]] for _, row in rows], np.int64)
    return RawDataset(folder.name, ImageFiles(paths), labels, names)
