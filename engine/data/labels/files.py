"""Maps of labels in files: a PNG for each image, which has the number of a class in the place of every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.arguments import assign, integer
from engine.data.headers import png
from engine.data.images import UnreadableImage, checked_header, load_cv2, read_file
from engine.errors import UserError

LabelMap = NDArray[np.uint8]

MOST = 255  # the largest number of a class, and of what does not count
EXPECTED = "expected a PNG with one number for each pixel: grey, or of a palette"


@dataclass(frozen=True)
class LabelMapFiles:
    """The maps of a set's images, in their order.

    paths   a PNG for each image
    ignore  the number of pixels that do not count (None: all do)
    """

    paths: tuple[Path, ...]
    ignore: int | None = None

    def __post_init__(self) -> None:
        if self.ignore is not None:
            assign(self, ignore=integer("masks", "ignore", self.ignore, 0, MOST))

    def subset(self, indices: NDArray[np.int64]) -> LabelMapFiles:
        """Those of the samples with these indices, in this order."""
        return replace(self, paths=tuple(self.paths[index] for index in indices))


def read_label_map(path: Path) -> LabelMap:
    """The numbers in a PNG, uint8 (H, W): the values of a grey one, as they are stored (0 and 1 where they have one
    bit), or the places in the palette of one that has such, whatever the colours there.

    UserError for a file that is no such PNG, is damaged, has numbers above 255, or says that it is to be turned.
    """
    cv2 = load_cv2()
    data = read_file(path)
    header = checked_header(path, data)
    if header.kind != "PNG":
        raise UserError(f"{path}: a mask is no {header.kind} ({EXPECTED})")
    if header.orientation not in (None, 1):
        raise UserError(f"{path}: the mask says that it is to be turned or mirrored; save it upright")
    if header.size is None:
        raise UnreadableImage(f"{path}: the mask cannot be decoded, its header is damaged")
    found = png.numbers_of(data)
    if found is None:
        raise UserError(f"{path}: holds colours or alpha, not numbers of classes, or is damaged ({EXPECTED})")
    numbers, depth = found
    decoded = None
    with suppress(cv2.error):
        decoded = cv2.imdecode(np.frombuffer(numbers, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.shape != header.size:
        raise UnreadableImage(f"{path}: the mask cannot be decoded, it is damaged")
    if depth < 8:  # widened to 0 … 255 by the decoder
        decoded = decoded // (MOST // ((1 << depth) - 1))
    if (most := decoded.max()) > MOST:
        raise UserError(f"{path}: has the number {most}, but those of classes end at {MOST}")
    return np.asarray(decoded, np.uint8)


def paired(folder: Path, images: Sequence[Path], masks: Sequence[Path]) -> tuple[Path, ...]:
    """The mask of each image: the file of the same name but for its ending. UserError unless every image has one, and
    every mask an image."""
    by_stem = {path.stem: path for path in masks}
    check_stems("masks", masks)
    check_stems("images", images)
    for path in images:
        if path.stem not in by_stem:
            raise UserError(f"{path}: has no mask (expected {path.stem}.png in {folder})")
    stems = {path.stem for path in images}
    for path in masks:
        if path.stem not in stems:
            raise UserError(f"{path}: the mask has no image of the same name beside it")
    return tuple(by_stem[path.stem] for path in images)


def check_stems(what: str, paths: Sequence[Path]) -> None:
    """UserError where two files have one name but for its ending; `what` says what they are."""
    seen: dict[str, Path] = {}
    for path in paths:
        if (first := seen.setdefault(path.stem, path)) != path:
            raise UserError(f"{path}: {first.name} has the same name but for its ending, so that {what} are ambiguous")
