"""Images with a mask each: a PNG that has the number of a class in the place of every pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.data.dataset import RawDataset
from engine.data.images import ImageFiles
from engine.data.labels.files import LabelMapFiles, paired
from engine.data.listing import images_in
from engine.errors import UserError, twice
from engine.reading.schema import ClassName, FilePath


def read_segmentation(
    root: Path | None,
    path: FilePath,
    images: str = "images",
    masks: str = "masks",
    classes: tuple[ClassName, ...] = (),
    ignore: int | None = None,
) -> RawDataset:
    """Images and their masks, in two folders of `path`, which is taken as given, no root.

    A mask has the name of its image but for the ending, and its size; it is a PNG, grey or of a palette, whose values
    are the numbers of classes. images, masks: the folders. classes: the names of the classes in the order of their
    numbers (default: none). ignore: the number of pixels that do not count.
    """
    folder = Path(path)
    if (again := twice(classes)) is not None:
        raise UserError(f"the classes of {folder} must be given once each, got {again!r} twice")
    found = []
    for name in (images, masks):
        place = folder / name
        if not place.is_dir():
            raise UserError(f"{place}: no such folder (expected the folders {images} and {masks} in {folder})")
        listing = images_in(place)
        if not listing.images:
            raise UserError(f"{place}: the folder holds no images{listing.instead}")
        found.append(listing)
    pictures, numbers = found
    maps = LabelMapFiles(paired(folder / masks, pictures.images, numbers.images), ignore)
    labels = np.zeros(len(pictures.images), np.int64)
    unread = pictures.unread + numbers.unread
    return RawDataset(folder.name, ImageFiles(pictures.images), labels, tuple(classes), unread=unread, maps=maps)
