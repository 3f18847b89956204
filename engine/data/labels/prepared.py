"""What is done to a set's images once, done to their maps of labels: by nearest pixels, so that no number is mixed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data import cache
from engine.data.images import ImageFiles, checked_header, read_file, read_image
from engine.data.labels.files import LabelMap, LabelMapFiles, read_label_map
from engine.data.preprocess import Preprocess
from engine.data.steps import ENLARGE_FACTOR, SMALL_SIDE, BoundingBox, Pad, pad_to_square, works_in_pixels
from engine.data.workers import in_parts
from engine.errors import UserError, listed

PER_CHECK = 256  # maps whose numbers are looked at together
MARK = b"maps of labels"  # tells an entry of the cache from one of images


def check_preparable(name: str, preprocess: Preprocess, ignore: int | None) -> None:
    """UserError for a step that cannot be done with maps of labels."""
    for step in preprocess.steps:
        if isinstance(step, BoundingBox):
            raise UserError(
                f"{name}: the step bbox crops to what an image shows, which is not done with masks; leave it out, or "
                "crop images and masks beforehand"
            )
        if isinstance(step, Pad) and ignore is None:
            raise UserError(
                f"{name}: the step pad makes borders, which have no class; name the number of pixels that do not count "
                "(ignore of the data set, such as 255, and loss.ignore_index)"
            )


def prepared_map(numbers: LabelMap, preprocess: Preprocess, ignore: int | None) -> LabelMap:
    """A map (H, W) as `Preprocess.prepare` makes its image: the same places, each with the number of the nearest pixel
    (of two the lower or right one)."""
    if works_in_pixels(preprocess.steps) and max(numbers.shape) < SMALL_SIDE:
        numbers = numbers.repeat(ENLARGE_FACTOR, axis=0).repeat(ENLARGE_FACTOR, axis=1)
    if any(isinstance(step, Pad) for step in preprocess.steps):
        numbers = pad_to_square(numbers, ignore or 0)
    return numbers if preprocess.size is None else resized(numbers, *preprocess.size)


def resized(numbers: LabelMap, height: int, width: int) -> LabelMap:
    """A map of another size: a pixel has the number of the one that its middle lies in."""
    rows, columns = (
        (2 * np.arange(side) + 1) * before // (2 * side) for side, before in zip((height, width), numbers.shape)
    )
    return np.ascontiguousarray(numbers[rows][:, columns])


def prepared_maps(
    name: str,
    images: Any,
    maps: LabelMapFiles,
    preprocess: Preprocess,
    class_names: Sequence[str] = (),
    *,
    threads: int | None = None,
    use_cache: bool = True,
) -> NDArray[np.uint8]:
    """The maps of all images, (N, H, W), on several threads; from the cache as images are.

    The steps are such as `check_preparable` lets be. UserError for a map that cannot be read, is not of its image's
    size, or has a number that is none of the classes.
    """
    folder = cache.cache_folder() if use_cache else None
    entry = None
    if folder is not None and isinstance(images, ImageFiles):
        mark = np.frombuffer(MARK + str(maps.ignore).encode(), np.uint8)
        key = cache.entry_key([*maps.paths, *images.paths, mark], preprocess)
        if key is not None:
            build = partial(_parts, images, maps, preprocess, threads)
            entry = cache.load_or_build(f"the masks of {name}", key, folder, build)
    if entry is not None:
        found: NDArray[np.uint8] = entry.samples[:, 0]
    else:
        found = np.concatenate([part[:, 0] for part, _ in _parts(images, maps, preprocess, threads)])
    _check_classes(found, maps, class_names)
    return found


def _parts(images: Any, maps: LabelMapFiles, preprocess: Preprocess, threads: int | None) -> cache.Parts:
    def part(indices: range) -> list[LabelMap]:
        return [_one(images, maps, index, preprocess) for index in indices]

    made: Iterator[list[LabelMap]] = in_parts(part, len(maps.paths), threads)
    for each in made:
        yield np.stack(each)[:, None], []


def _one(images: Any, maps: LabelMapFiles, index: int, preprocess: Preprocess) -> LabelMap:
    path = maps.paths[index]
    numbers = read_label_map(path)
    if isinstance(images, ImageFiles):
        of, size = str(images.paths[index]), size_of(images.paths[index])
    else:
        of, size = f"image {index}", tuple(images[index].shape[:2])
    if numbers.shape != size:
        raise UserError(
            f"{path}: the mask has {numbers.shape[0]}x{numbers.shape[1]} pixels, but its image {of} {size[0]}x{size[1]}"
        )
    return prepared_map(numbers, preprocess, maps.ignore)


def size_of(path: Path) -> tuple[int, int]:
    """(height, width) of an image file as it is read, upright. It is decoded where its header leaves turning to the
    decoder."""
    header = checked_header(path, read_file(path))
    if header.size is None or header.orientation is None:
        image = read_image(path)
        return image.shape[0], image.shape[1]
    height, width = header.size
    return (width, height) if header.orientation >= 5 else (height, width)


def _check_classes(found: NDArray[np.uint8], maps: LabelMapFiles, class_names: Sequence[str]) -> None:
    """UserError for a number that is none of the named classes."""
    if not class_names:
        return
    for start in range(0, len(found), PER_CHECK):
        part = found[start : start + PER_CHECK]
        bad = part >= len(class_names)
        if maps.ignore is not None:
            bad &= part != maps.ignore
        if bad.any():
            sample, row, column = map(int, np.argwhere(bad)[0])
            raise UserError(
                f"{maps.paths[start + sample]}: has the number {part[sample, row, column]}, but there are "
                f"{len(class_names)} classes, {listed(class_names)}; a number that does not count is named by `ignore`"
            )
