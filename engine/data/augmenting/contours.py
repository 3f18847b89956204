"""The ink of an image as contour cutout sees it: where it may paint squares, and the paper to paint them with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.data.images import Image, load_cv2
from engine.data.steps import ink_mask, paper_of

MOST_KEPT = 64 << 20  # bytes: the contours of 80,000 digits of 48x48, or of 2,000 photographs of 512x512


@dataclass(frozen=True)
class Ink:
    """points: (row, column) of the pixels of all contours, uint16 (P, 2), none in an empty image; paper: uint8 (C,)."""

    points: NDArray[np.uint16]
    paper: NDArray[np.uint8]


def ink_of(image: Image) -> Ink:
    """The ink of a uint8 (C, H, W) image."""
    image = image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
    mask = ink_mask(image)
    points = np.empty((0, 2), np.uint16)
    if mask is not None:
        cv2 = load_cv2()
        contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        points = np.concatenate(contours)[:, 0, ::-1].astype(np.uint16)  # a copy: the contours can go
    return Ink(points, paper_of(image))


class KnownInk:
    """`ink_of` for the samples of a set, found once and not in every epoch; up to MOST_KEPT bytes are kept."""

    def __init__(self, find: Callable[[Image], Ink] = ink_of) -> None:
        self._find = find
        self._kept: dict[int, Ink] = {}
        self._room = MOST_KEPT

    def of(self, sample: int, image: Image) -> Ink:
        """The ink of the sample with this number, whose image is the same whenever it is asked for. Several threads may
        ask."""
        found = self._kept.get(sample)
        if found is None:
            found = self._find(image)
            self._room -= found.points.nbytes + found.paper.nbytes
            if self._room >= 0:
                self._kept[sample] = found
        return found
