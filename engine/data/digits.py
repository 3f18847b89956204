"""The 5,000 real MNIST digits that lie beside this file, plain or set on larger sheets: data without a download.

`digits_on_sheets` turns them black on white and sets each at a random size and place on a sheet of its own size, as a
photographed form would have them. Draws are Philox words keyed by (seed, sample): the same digits for the same seed,
whatever subset is asked for and in whatever order.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.data.images import MAX_SIDE, Image
from engine.data.steps import invert, resize
from engine.draws import SHEETS, place_words
from engine.errors import UserError

# Under licences of its own, which stand beside it. Finished runs are known by the hash of these very bytes.
FILE = Path(__file__).parent / "packaged" / "mnist_5k.csv.gz"
SIDE = 28
CLASSES = tuple(str(digit) for digit in range(10))
SHEET_SIDES = (44, 76)
DIGIT_SIDES = (22, 40)
_DRAWS = 4


def digits5k() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The digits as MNIST has them: images (5000, 28, 28) uint8, white on black, and labels (5000,), 500 per digit."""
    if not FILE.is_file():
        raise UserError(f"{FILE}: the digits that come with cnn-engine are missing here, install it again")
    table = np.loadtxt(FILE, delimiter=",", dtype=np.uint8)
    images = np.ascontiguousarray(table[:, :-1]).reshape(-1, SIDE, SIDE)
    return images, table[:, -1].astype(np.int64)


def sample_words(seed: int, sample: int) -> NDArray[np.uint64]:
    """Four Philox4x64 words for one sample: key (seed, purpose), counter (sample, 0, 0, 0)."""
    if seed < 0 or sample < 0:
        raise UserError(f"seed and sample must not be negative, got {seed} and {sample}")
    return place_words(_DRAWS, seed, SHEETS, sample)


def _in_range(word: np.uint64, low: int, high: int) -> int:
    """A draw in low..high, both included: the upper 32 bits of the word, scaled."""
    return low + ((int(word) >> 32) * (high - low + 1) >> 32)


def set_on_sheet(
    digit: Image, words: NDArray[np.uint64], sheet_sides: tuple[int, int], digit_sides: tuple[int, int]
) -> Image:
    """Set one white-on-black digit (28, 28) black on a white square sheet: side, size and place from four words."""
    sheet_side = _in_range(words[0], *sheet_sides)
    digit_side = _in_range(words[1], *digit_sides)
    top = _in_range(words[2], 0, sheet_side - digit_side)
    left = _in_range(words[3], 0, sheet_side - digit_side)
    sheet = np.full((sheet_side, sheet_side), 255, np.uint8)
    sheet[top : top + digit_side, left : left + digit_side] = invert(resize(digit, digit_side, digit_side))
    return sheet


def digits_on_sheets(
    seed: int = 0,
    sheet_sides: tuple[int, int] = SHEET_SIDES,
    digit_sides: tuple[int, int] = DIGIT_SIDES,
    count: int | None = None,
) -> tuple[list[Image], NDArray[np.int64]]:
    """The digits black on white, each on a sheet of its own.

    sheet_sides, digit_sides: smallest and largest side in pixels; equal ends fix the size. A digit's side counts its
    28-pixel frame, of which the ink takes 20. count: the first so many of the set, spread evenly over the classes
    (None: all 5,000). Returns a list of uint8 images (side, side) and the labels.
    """
    for name, (low, high) in (("sheet_sides", sheet_sides), ("digit_sides", digit_sides)):
        if not 1 <= low <= high <= MAX_SIDE:
            raise UserError(f"{name} must be a smallest and a largest side from 1 to {MAX_SIDE}, got {low} and {high}")
    if digit_sides[1] > sheet_sides[0]:
        raise UserError(
            f"the largest digit ({digit_sides[1]} pixels) must fit on the smallest sheet ({sheet_sides[0]} pixels)"
        )
    digits, labels = digits5k()
    picked = _spread(labels, count)
    sheets = [
        set_on_sheet(digits[sample], sample_words(seed, int(sample)), sheet_sides, digit_sides) for sample in picked
    ]
    return sheets, labels[picked]


def _spread(labels: NDArray[np.int64], count: int | None) -> NDArray[np.int64]:
    """Indices of `count` samples in the set's order, every class taken as often as the others (give or take one)."""
    if count is None:
        return np.arange(len(labels))
    if not 1 <= count <= len(labels):
        raise UserError(f"count must be in 1..{len(labels)}, got {count}")
    place_in_class = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        place_in_class[members] = np.arange(len(members))
    return np.sort(np.lexsort((labels, place_in_class))[:count])
