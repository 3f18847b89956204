"""Chars74K's handwritten English characters: a table with a folder, or the publisher's folders of samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.data.dataset import RawDataset
from engine.data.images import ImageFiles
from engine.data.listing import Unread, images_in
from engine.data.readers.files import DIGIT_NAMES, check_table_files, choice, set_folder
from engine.data.readers.tables import read_csv
from engine.errors import UserError

CHARS74K_NAMES = tuple("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
PUBLISHED = Path("English") / "Hnd" / "Img"


def read_chars74k(root: Path | None, classes: str = "all", skip: int = 0, per_class: int | None = None) -> RawDataset:
    """Chars74K EnglishHnd (de Campos et al. 2009): black on white, 1200x900, 55 images per class.

    The files are english.csv (image, label) and Img/, or as the publisher's archive has them:
    English/Hnd/Img/Sample001 … Sample062.

    classes: all (62) or digits (10). Of each class the first `skip` images are left out and then `per_class` are
    taken (None: the rest), in the order of the table, or of the file names.
    """
    folder = set_folder(root, "chars74k")
    names = {"all": CHARS74K_NAMES, "digits": DIGIT_NAMES}
    class_names = names[choice("chars74k classes", classes, names)]
    if skip < 0 or (per_class is not None and per_class < 1):
        raise UserError(f"chars74k: skip must be 0 or more and per_class 1 or more, got {skip} and {per_class}")
    samples = folder / PUBLISHED
    tabled = (folder / "english.csv").is_file() or not samples.is_dir()
    by_class, unread = (_from_table(folder), ()) if tabled else _from_samples(samples)
    stop = None if per_class is None else skip + per_class
    chosen = [(path, label) for label, name in enumerate(class_names) for path in by_class[name][skip:stop]]
    if not chosen:
        raise UserError(f"{folder}: no images are left with skip {skip}")
    paths = [path for path, _ in chosen]
    labels = np.array([label for _, label in chosen], np.int64)
    return RawDataset("chars74k", ImageFiles(paths), labels, class_names, unread=unread)


def _from_table(folder: Path) -> dict[str, list[Path]]:
    table = folder / "english.csv"
    by_class: dict[str, list[Path]] = {name: [] for name in CHARS74K_NAMES}
    for line, row in read_csv(table, ("image", "label")):
        if row["label"] not in by_class:
            raise UserError(f"{table}, line {line}: label {row['label']!r}, expected 0-9, A-Z or a-z")
        by_class[row["label"]].append(folder / row["image"])
    check_table_files(table, [path for paths in by_class.values() for path in paths])
    return by_class


def _from_samples(folder: Path) -> tuple[dict[str, list[Path]], tuple[Unread, ...]]:
    by_class: dict[str, list[Path]] = {}
    unread: list[Unread] = []
    for number, name in enumerate(CHARS74K_NAMES, 1):
        inside = folder / f"Sample{number:03d}"
        found = images_in(inside) if inside.is_dir() else None
        if found is None or not found.images:
            raise UserError(f"{inside}: no images of the class {name!r} there")
        by_class[name] = list(found.images)
        unread += found.unread
    return by_class, tuple(unread)
