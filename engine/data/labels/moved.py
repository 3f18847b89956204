"""Random changes of a batch's images, done to their maps of labels: the same movements, by nearest pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cnncore
import numpy as np
from numpy.typing import NDArray

from engine.data.augment import drawn_crops, drawn_turns, movements
from engine.data.augment_config import AugmentConfig
from engine.errors import UserError

Numbers = NDArray[np.int64]

MOVES = ("shifts", "fill", "flips", "turns")  # of a batch's changes, what moves pixels
PAINTING = ("contour_cutout", "cutout", "random_erasing")
MOST = 255


def check_movable(name: str, augment: AugmentConfig, ignore: int | None) -> None:
    """UserError for an augmentation that cannot be done with maps of labels, or whose border has no class."""
    for key in (*PAINTING, "mixup", "cutmix"):
        if getattr(augment, key):
            raise UserError(f"{name}: augment.{key} changes what an image shows, which is not done with maps of labels")
    moving = {key: getattr(augment, key) for key in ("rotation", "scaling", "shift", "crop")}
    for key, section in moving.items():
        if section is not None and section.fill == "constant" and (ignore is None or not 0 <= ignore <= MOST):
            raise UserError(
                f"{name}: augment.{key} fills the border with a constant, which has no class; choose another fill "
                "(nearest, reflect, mirror, wrap), or name the number of pixels that do not count (ignore of the data "
                "set, such as 255, and loss.ignore_index)"
            )


def check_numbers(name: str, maps: NDArray[Any]) -> None:
    """UserError for maps with numbers that are not moved."""
    if not 0 <= maps.min() <= maps.max() <= MOST:
        raise UserError(
            f"{name}: augmentation moves maps of labels with numbers from 0 to {MOST}, these run from {maps.min()} to "
            f"{maps.max()}"
        )


def moves_anything(augment: AugmentConfig) -> bool:
    """Whether pixels come to lie elsewhere."""
    return bool(augment.warps or augment.resized_crop or augment.moves or augment.flip or augment.vertical_flip)


def moved_maps(
    maps: NDArray[Any],
    augment: AugmentConfig,
    changes: Mapping[str, Any],
    ignore: int | None,
    seed: int,
    epoch: int,
    samples: NDArray[np.int64],
) -> Numbers:
    """Maps (n, H, W) of numbers 0 … 255 moved as the images of the samples with these numbers are.

    changes: what `engine.data.augment.changes` says of the batch. Borders of a constant become `ignore`. The same
    numbers on every machine.
    """
    height, width = maps.shape[1:]
    numbers = maps.astype(np.uint8)
    border = ignore or 0  # 0 where nothing comes from outside: see `check_movable`
    if augment.warps:
        turned = movements(*drawn_turns(augment, seed, epoch, samples), height, width)
        numbers = warped(numbers, turned, augment.warps.fill, border)
    if augment.resized_crop:
        numbers = warped(numbers, drawn_crops(augment, seed, epoch, samples, height, width), "nearest", border)
    moves = {name: changes[name] for name in MOVES if name in changes}
    if moves:
        one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
        plane = np.ascontiguousarray(numbers[:, None])
        gathered = cnncore.gather_images(plane, np.arange(len(plane)), one, zero, fill_value=border, **moves)
        return gathered[:, 0].astype(np.int64)
    return numbers.astype(np.int64)


def warped(maps: NDArray[np.uint8], coefficients: NDArray[np.int64], fill: str, border: int) -> NDArray[np.uint8]:
    """`cnncore.warp_images` of maps (n, H, W), each pixel from the one that is nearest to its place, a half up."""
    height, width = maps.shape[1:]
    rows, columns = np.arange(height)[:, None], np.arange(width)
    by_row = coefficients[:, :, :, None, None]
    half, bits = cnncore.WARP_ONE // 2, cnncore.WARP_ONE.bit_length() - 1
    places = by_row[:, :, 0] * columns + by_row[:, :, 1] * rows + by_row[:, :, 2] + half >> bits
    x, y = source(fill, places[:, 0], width), source(fill, places[:, 1], height)
    found = maps[np.arange(len(maps))[:, None, None], y, x]
    return np.where((x < 0) | (y < 0), np.uint8(border), found)


def source(fill: str, at: Numbers, extent: int) -> Numbers:
    """The row or column that stands for each of `at`, which may lie outside of 0 … extent - 1; -1: the border does
    (`cnn_fill_source` in the core)."""
    if fill == "nearest":
        return np.clip(at, 0, extent - 1)
    if fill == "wrap":
        return at % extent
    if fill == "reflect":
        place = at % (2 * extent)
        return np.where(place < extent, place, 2 * extent - 1 - place)
    if fill == "mirror":
        period = max(2 * extent - 2, 1)
        place = at % period
        return np.where(place < extent, place, period - place)
    return np.where((at >= 0) & (at < extent), at, -1)
