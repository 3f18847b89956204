"""Views of an image: test-time augmentation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from engine.data.augment import turned
from engine.errors import UserError, shortened, unknown

MOVES = ("shift", "diagonal")  # kinds that move by whole pixels

Pixels = NDArray[np.uint8]
Change = Callable[[Pixels], Pixels]  # uint8 (N, C, H, W) -> the same shape


@dataclass(frozen=True)
class View:
    """Changes of images, one after the other, and the weight of what is said about them in a mean over views."""

    changes: tuple[Change, ...] = ()
    weight: int = 1

    def __call__(self, images: Pixels) -> Pixels:
        for change in self.changes:
            images = change(images)
        return images


def parse_views(text: str) -> tuple[View, ...]:
    """The views that `flip,shift:1,rotate:5` asks for: every combination, the unchanged image first.

    flip         mirrored left to right
    shift:N      moved by N pixels to either side, up and down; the outermost pixels are repeated (see `check_shift`)
    diagonal:N   moved by N pixels up and to the left, and down and to the right, each with half of the weight of the
               unmoved image; the image goes on as in a mirror (Jordan 2024, where N is 1)
    rotate:D   turned about the centre by D degrees either way, linear interpolation, outermost pixels repeated

    UserError for anything else, or a kind given twice.
    """
    choices: list[list[View]] = []
    kinds: list[str] = []
    for part in text.split(","):
        kind, colon, amount = part.strip().partition(":")
        if kind not in ("flip", *MOVES, "rotate"):
            known = ("flip", *(f"{each}:PIXELS" for each in MOVES), "rotate:DEGREES")
            raise unknown("test-time augmentation", kind, known)
        if kind in kinds:
            raise UserError(f"test-time augmentation: {kind} is given twice in {text!r}")
        kinds.append(kind)
        if kind == "flip":
            if colon:
                raise UserError(f"test-time augmentation: flip takes no amount, got {part.strip()!r}")
            choices.append([View(), View((_flip,))])
        elif kind == "shift":
            pixels = int(_amount(part, amount, whole=True))
            steps = [(0, -pixels), (0, pixels), (-pixels, 0), (pixels, 0)]
            choices.append([View(), *(View((partial(_shift, rows=y, columns=x),)) for y, x in steps)])
        elif kind == "diagonal":
            pixels = int(_amount(part, amount, whole=True))
            moved = [partial(_shift, rows=each, columns=each, mirror=True) for each in (-pixels, pixels)]
            choices.append([View(weight=2), *(View((each,)) for each in moved)])
        else:
            degrees = _amount(part, amount, whole=False)
            choices.append([View(), *(View((partial(_rotate, degrees=each),)) for each in (degrees, -degrees))])
    return tuple(_joined(combination) for combination in itertools.product(*choices))


def check_shift(text: str, size: Sequence[int]) -> None:
    """UserError where a shift among the views leaves nothing of images of this size, (H, W), but a repeated edge."""
    for part in text.split(","):
        kind, _, amount = part.strip().partition(":")
        if kind in MOVES and int(_amount(part, amount, whole=True)) >= min(size):
            raise UserError(
                f"test-time augmentation: {part.strip()} moves images of {size[0]}x{size[1]} pixels out of sight; "
                f"give a shift below {min(size)}"
            )


def _amount(part: str, text: str, whole: bool) -> float:
    try:
        amount = float(int(text)) if whole else float(text)
    except (ValueError, OverflowError):
        amount = 0.0
    if not 0 < amount < (2**15 if whole else 180):
        wanted = (
            f"{part.strip().partition(':')[0]}:PIXELS, a positive whole number"
            if whole
            else "rotate:DEGREES, between 0 and 180"
        )
        raise UserError(f"test-time augmentation: expected {wanted}, got {shortened(part.strip())!r}")
    return amount


def _joined(views: Sequence[View]) -> View:
    changes = tuple(change for view in views for change in view.changes)
    return View(changes, math.prod(view.weight for view in views))


def _flip(images: Pixels) -> Pixels:
    return images[..., ::-1]


def _shift(images: Pixels, rows: int, columns: int, mirror: bool = False) -> Pixels:
    """Every pixel takes the value of the one `rows` above and `columns` to the left of it, the nearest within, or the
    one that a mirror in the outermost pixels shows, which is not far outside.
    """
    places = [np.arange(side) - by for side, by in zip(images.shape[2:], (rows, columns), strict=True)]
    if mirror:
        places = [side - 1 - abs(side - 1 - abs(each)) for side, each in zip(images.shape[2:], places, strict=True)]
    from_rows, from_columns = (np.clip(each, 0, side - 1) for side, each in zip(images.shape[2:], places, strict=True))
    return images[:, :, from_rows[:, None], from_columns]


def _rotate(images: Pixels, degrees: float) -> Pixels:
    count = len(images)
    same = np.full(count, degrees), np.ones(count)
    return turned(np.ascontiguousarray(images), np.arange(count), *same, fill="nearest")
