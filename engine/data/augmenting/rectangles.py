"""Random rectangles of a wished area and ratio of sides, and images cropped to them.

Every number comes from additions, products, quotients and square roots, each of which IEEE 754 rounds in one way, so
that the same words give the same rectangles on every machine.
"""

from __future__ import annotations

import math
from typing import Any

import cnncore
import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

ATTEMPTS = 10  # as in torchvision
WORDS = 2 * ATTEMPTS + 2  # that a rectangle takes
HALVINGS = 4  # of a logarithm, after which a few terms of its series are enough
TERMS = 12


def rectangles(
    words: Words, smallest: float, largest: float, ratio: float, height: int, width: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """A rectangle within images of this size for each row of `words`, (n, WORDS or more): (top, left, height, width).

    Its area is uniform in smallest … largest of the image's, its width / height log-uniform in 1/ratio … ratio, its
    sides are rounded, its place is uniform. The first of ATTEMPTS such draws that fits counts; where none does, the
    rectangle is the whole image, and its entry in the second array, (n,), is False.
    """
    low: NDArray[np.float64] = words.astype(np.float64) * 2.0**-32
    areas = (smallest + (largest - smallest) * low[:, :ATTEMPTS]) * (height * width)
    ratios = powers(ratio, 2 * low[:, ATTEMPTS : 2 * ATTEMPTS] - 1)
    heights, widths = np.rint(np.sqrt(areas / ratios)), np.rint(np.sqrt(areas * ratios))
    fits = (heights >= 1) & (heights <= height) & (widths >= 1) & (widths <= width)
    first = fits.argmax(axis=1)[:, None]
    found = np.logical_or.reduce(fits, axis=1)
    sides = np.concatenate([np.take_along_axis(each, first, axis=1) for each in (heights, widths)], axis=1)
    sides = np.where(found[:, None], sides, (height, width)).astype(np.int64)
    room = np.array([height, width]) - sides
    corners = words[:, 2 * ATTEMPTS : WORDS].astype(np.int64) * (room + 1) >> 32
    return np.concatenate([corners, sides], axis=1), found


def powers(base: float, exponents: NDArray[np.float64]) -> NDArray[np.float64]:
    """base ** exponents, for 1 <= base <= 16 and exponents in -1 … 1, to 1e-14."""
    root = base
    for _ in range(HALVINGS):
        root = math.sqrt(root)
    # ln((1 + z) / (1 - z)) = 2 z (1 + z^2/3 + z^4/5 + …), by Horner's scheme: sum() and ** round as their version does.
    step = (root - 1) / (root + 1)
    series = 0.0
    for term in range(TERMS, -1, -1):
        series = series * (step * step) + 1 / (2 * term + 1)
    logarithm = 2 * step * series
    found: NDArray[np.float64] = np.ones_like(exponents)
    for term in range(TERMS, 0, -1):
        found = 1 + found * (exponents * logarithm) / term
    for _ in range(HALVINGS):
        found = found * found
    return found


def crop_maps(boxes: NDArray[np.int64], height: int, width: int) -> NDArray[np.int64]:
    """Coefficients (n, 2, 3) of `cnncore.warp_images` that stretch the rectangles (n, 4) to images of this size.

    Pixels are squares: the middle of pixel x of the result lies at left + (x + 1/2) * box width / width of the source.
    """
    one = cnncore.WARP_ONE
    maps: NDArray[Any] = np.zeros((len(boxes), 2, 3), np.int64)
    for axis, (place, side, whole) in enumerate(((1, 3, width), (0, 2, height))):
        maps[:, axis, axis] = (2 * boxes[:, side] * one + whole) // (2 * whole)
        maps[:, axis, 2] = boxes[:, place] * one + (boxes[:, side] - whole) * one // (2 * whole)
    return maps
