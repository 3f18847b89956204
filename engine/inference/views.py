"""Views of an image: test-time augmentation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from engine.data.augment import turned
from engine.errors import UserError, shortened, unknown

Pixels = NDArray[np.uint8]
View = Callable[[Pixels], Pixels]  # uint8 (N, C, H, W) -> the same shape


# ---- views: test-time augmentation ----


def parse_views(text: str) -> tuple[View, ...]:
    """The views that `flip,shift:1,rotate:5` asks for: every combination, the unchanged image first.

    flip       mirrored left to right
    shift:N    moved by N pixels to either side, up and down; the outermost pixels are repeated (see `check_shift`)
    rotate:D   turned about the centre by D degrees either way, linear interpolation, outermost pixels repeated

    UserError for anything else, or a kind given twice.
    """
    choices: list[list[View]] = []
    kinds: list[str] = []
    for part in text.split(","):
        kind, colon, amount = part.strip().partition(":")
        if kind not in ("flip", "shift", "rotate"):
            raise unknown("test-time augmentation", kind, ("flip", "shift:PIXELS", "rotate:DEGREES"))
        if kind in kinds:
            raise UserError(f"test-time augmentation: {kind} is given twice in {text!r}")
        kinds.append(kind)
        if kind == "flip":
            if colon:
                raise UserError(f"test-time augmentation: flip takes no amount, got {part.strip()!r}")
            choices.append([_unchanged, _flip])
        elif kind == "shift":
            pixels = int(_amount(part, amount, whole=True))
            steps = [(0, -pixels), (0, pixels), (-pixels, 0), (pixels, 0)]
            choices.append([_unchanged, *(partial(_shift, rows=rows, columns=columns) for rows, columns in steps)])
        else:
            degrees = _amount(part, amount, whole=False)
            choices.append([_unchanged, *(partial(_rotate, degrees=each) for each in (degrees, -degrees))])
    return tuple(partial(_in_turn, views=combination) for combination in itertools.product(*choices))


def check_shift(text: str, size: Sequence[int]) -> None:
    """UserError where a shift among the views leaves nothing of images of this size, (H, W), but a repeated edge."""
    for part in text.split(","):
        kind, _, amount = part.strip().partition(":")
        if kind == "shift" and int(_amount(part, amount, whole=True)) >= min(size):
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
        wanted = "shift:PIXELS, a positive whole number" if whole else "rotate:DEGREES, between 0 and 180"
        raise UserError(f"test-time augmentation: expected {wanted}, got {shortened(part.strip())!r}")
    return amount


def _in_turn(images: Pixels, views: Sequence[View]) -> Pixels:
    for view in views:
        images = view(images)
    return images


def _unchanged(images: Pixels) -> Pixels:
    return images


def _flip(images: Pixels) -> Pixels:
    return images[..., ::-1]


def _shift(images: Pixels, rows: int, columns: int) -> Pixels:
    """Every pixel takes the value of the one `rows` above and `columns` to the left of it, the nearest within."""
    height, width = images.shape[2:]
    from_rows = np.clip(np.arange(height) - rows, 0, height - 1)
    from_columns = np.clip(np.arange(width) - columns, 0, width - 1)
    return images[:, :, from_rows[:, None], from_columns]


def _rotate(images: Pixels, degrees: float) -> Pixels:
    count = len(images)
    same = np.full(count, degrees), np.ones(count)
    return turned(np.ascontiguousarray(images), np.arange(count), *same, fill="nearest")
