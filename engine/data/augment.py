"""Random changes of training images: what the section `augment` of a configuration may say, and how a batch gets them.

They come in this order: rotation and scaling (one movement), resized crop, colours, shift or crop, flips, contour
cutout, cutout, random erasing, and mixup or CutMix on the normalised batch. Movements are the C core's
(`cnncore.warp_images`, in whole numbers), and so are colours (`cnncore.recolour_images`), shift, flips and the painting
of rectangles (`cnncore.gather_images`): their bytes are the same everywhere. The contours are OpenCV's.

Draws are words of Philox4x32-10, keyed (seed; sample, block, epoch, which augmentation): an image gets the same change
in the same epoch whatever its batch, and one augmentation more or less does not change the draws of the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import cnncore
import numpy as np
from numpy.typing import NDArray

from engine.data.augment_config import MAX_ALPHA, AugmentConfig, ContourCutout, Cutout, Fill, RandomErasing
from engine.data.augmenting.contours import Ink, KnownInk, ink_of
from engine.data.augmenting.rectangles import WORDS, crop_maps, rectangles
from engine.data.images import Image
from engine.draws import (
    COLOURS,
    CONTOUR_CUTOUT,
    CROP,
    CUTOUT,
    ERASING,
    FLIP,
    RESIZED_CROP,
    ROTATION,
    SCALING,
    SHIFT,
    VERTICAL_FLIP,
    augmentation_words,
)
from engine.errors import UserError

Words = NDArray[np.uint32]

# Raised whenever `turned`, `cropped` or `recoloured` gives other bytes; part of the key of a run that uses one.
WARP_VERSION = 1
MAX_SIDE = 1 << 15  # of images that are warped, in pixels
SMALLEST_FACTOR = 2.0**-13
TAYLOR_TERMS = 9


def uniform(words: NDArray[Any], low: float, high: float) -> NDArray[np.float64]:
    """Words as numbers in low … high."""
    return low + (high - low) * (words * 2.0**-32)


def whole(words: NDArray[Any], low: int, high: int) -> NDArray[np.int64]:
    """Words as whole numbers in low … high, both included."""
    return low + (words.astype(np.int64) * (high - low + 1) >> 32)


def redrawn(
    images: Image, places: NDArray[np.int64], augment: AugmentConfig, seed: int, epoch: int, samples: NDArray[np.int64]
) -> tuple[Image, NDArray[np.int64]]:
    """All that makes new pixels (rotation and scaling, resized crop, colours) of images[places], which have the numbers
    `samples`; then images and places of what came of it. UserError for images too large to warp.
    """
    for asked, change in (
        (augment.warps, rotated_and_scaled),
        (augment.resized_crop, cropped),
        (augment.colour_jitter, recoloured),
    ):
        if asked:
            images, places = change(images, places, augment, seed, epoch, samples), np.arange(len(samples))
    return images, places


def cropped(
    images: Image, places: NDArray[np.int64], augment: AugmentConfig, seed: int, epoch: int, samples: NDArray[np.int64]
) -> Image:
    """images[places] with a rectangle of each stretched over all of it: uint8 (n, C, H, W) of its own."""
    moved = drawn_crops(augment, seed, epoch, samples, *images.shape[2:])
    return cnncore.warp_images(images, places, moved, fill="nearest")


def drawn_crops(
    augment: AugmentConfig, seed: int, epoch: int, samples: NDArray[np.int64], height: int, width: int
) -> NDArray[np.int64]:
    """Coefficients (n, 2, 3) of `cnncore.warp_images` that stretch a rectangle of each sample over all of it."""
    how = augment.resized_crop
    assert how is not None
    _check_side("resized_crop", height, width)
    words = augmentation_words(seed, epoch, samples, RESIZED_CROP, WORDS)
    boxes, _ = rectangles(words, how.smallest, how.largest, how.ratio, height, width)
    return crop_maps(boxes, height, width)


def recoloured(
    images: Image, places: NDArray[np.int64], augment: AugmentConfig, seed: int, epoch: int, samples: NDArray[np.int64]
) -> Image:
    """images[places] with another brightness, contrast and saturation: uint8 (n, C, H, W) of its own."""
    assert augment.colour_jitter is not None
    words = augmentation_words(seed, epoch, samples, COLOURS, 3)
    spread = np.rint(np.array(augment.colour_jitter.amounts) * cnncore.COLOUR_ONE).astype(np.int64)
    factors = cnncore.COLOUR_ONE - spread + (words.astype(np.int64) * (2 * spread + 1) >> 32)
    return cnncore.recolour_images(images, places, factors.astype(np.int32))


def rotated_and_scaled(
    images: Image, places: NDArray[np.int64], augment: AugmentConfig, seed: int, epoch: int, samples: NDArray[np.int64]
) -> Image:
    """images[places], which have the numbers `samples`, rotated and scaled: uint8 (n, C, H, W) of its own.

    UserError for images too large to warp.
    """
    how = augment.warps
    assert how is not None
    return turned(images, places, *drawn_turns(augment, seed, epoch, samples), how.fill, how.value)


def drawn_turns(
    augment: AugmentConfig, seed: int, epoch: int, samples: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each sample the angle in degrees and the factor, (n,) each."""
    angles, factors = np.zeros(len(samples)), np.ones(len(samples))
    if augment.rotation:
        degrees = augment.rotation.degrees
        angles = uniform(augmentation_words(seed, epoch, samples, ROTATION, 1)[:, 0], -degrees, degrees)
    if augment.scaling:
        amount = augment.scaling.amount
        factors = uniform(augmentation_words(seed, epoch, samples, SCALING, 1)[:, 0], 1 - amount, 1 + amount)
    return angles, factors


def turned(
    images: Image,
    places: NDArray[np.int64],
    degrees: NDArray[np.float64],
    factors: NDArray[np.float64],
    fill: Fill,
    value: int = 0,
) -> Image:
    """images[places], uint8 (N, C, H, W), each turned against the clock and enlarged about its middle, bilinear.

    The same bytes on every machine: see `movements` and `cnncore.warp_images`. UserError for images too large to warp.
    """
    height, width = images.shape[2:]
    _check_side("rotation and scaling", height, width)
    moved = movements(degrees, factors, height, width)
    return cnncore.warp_images(images, places, moved, fill=fill, fill_value=value)


def _check_side(what: str, height: int, width: int) -> None:
    if max(height, width) > MAX_SIDE:
        takes = "take" if " and " in what else "takes"
        raise UserError(f"{what} {takes} images of at most {MAX_SIDE} pixels a side, got {height}x{width}")


def movements(degrees: NDArray[np.float64], factors: NDArray[np.float64], height: int, width: int) -> NDArray[np.int64]:
    """Coefficients (n, 2, 3) of `cnncore.warp_images` that turn by `degrees` and enlarge by `factors`, (n,) each.

    Cosine and sine are rounded once, to 2^-32; the middle of the image stays where it is to half of that. Factors below
    SMALLEST_FACTOR, with which nothing but a pixel would be left, count as that.
    """
    factors = np.maximum(factors, SMALLEST_FACTOR)
    cosines, sines = (np.rint(each / factors * cnncore.WARP_ONE).astype(np.int64) for each in cosine_and_sine(degrees))
    right, bottom, still = width - 1, height - 1, cnncore.WARP_ONE - cosines
    across = (still * right + sines * bottom) // 2
    down = (still * bottom - sines * right) // 2
    return np.stack([cosines, -sines, across, sines, cosines, down], axis=1).reshape(-1, 2, 3)


def cosine_and_sine(degrees: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of angles in degrees, to 4e-16; exact for multiples of 90.

    From additions, products and quotients alone, each of which IEEE 754 rounds in one way: those of a mathematical
    library end in other bits with another library or processor. Taylor's series up to 45 degrees, turned by quadrants.
    """
    quadrants = np.rint(degrees / 90)
    angle = (degrees - quadrants * 90) * (math.pi / 180)
    square = angle * angle
    cosine, sine = np.ones_like(square), np.ones_like(square)
    for term in range(TAYLOR_TERMS, 0, -1):
        cosine = 1 - cosine * square / (2 * term * (2 * term - 1))
        sine = 1 - sine * square / (2 * term * (2 * term + 1))
    sine = sine * angle
    quarter = quadrants.astype(np.int64) % 4
    turns = [(cosine, sine), (-sine, cosine), (-cosine, -sine), (sine, -cosine)]
    return np.choose(quarter, [turn[0] for turn in turns]), np.choose(quarter, [turn[1] for turn in turns])


def changes(
    images: Image,
    indices: NDArray[np.int64],
    augment: AugmentConfig,
    seed: int,
    epoch: int,
    samples: NDArray[np.int64],
    known: KnownInk | None = None,
) -> dict[str, Any]:
    """The arguments of `cnncore.gather_images` that shift, flip and paint a batch.

    images[indices] are the samples with the numbers `samples`, uint8 (C, H, W) each. known: keeps what is found out
    about them, where their images are the same in every epoch.
    """
    height, width = images.shape[2:]
    found: dict[str, Any] = {}
    shifts = np.zeros((len(samples), 2), np.int32)
    flips, turns = np.zeros((2, len(samples)), np.bool_)
    if augment.moves is not None:
        shifts = _shifts(augment, seed, epoch, samples, height, width)
        found |= {"shifts": shifts, "fill": augment.moves.fill, "fill_value": augment.moves.value}
    if augment.flip:
        found["flips"] = flips = _flips(augment.flip, seed, epoch, samples)
    if augment.vertical_flip:
        turns = uniform(augmentation_words(seed, epoch, samples, VERTICAL_FLIP, 1)[:, 0], 0, 1) < augment.vertical_flip
        found["turns"] = turns
    squares = []
    if augment.contour_cutout:
        words = augmentation_words(seed, epoch, samples, CONTOUR_CUTOUT, 2 * augment.contour_cutout.count)
        inks = partial(_ink, images, indices, samples, known)
        squares.append(_contour_squares(images.shape, inks, augment.contour_cutout, words, shifts, (turns, flips)))
    if augment.cutout:
        words = augmentation_words(seed, epoch, samples, CUTOUT, 3 * augment.cutout.count)
        squares.append(_squares(augment.cutout, words, images.shape[1], height, width))
    if augment.random_erasing:
        words = augmentation_words(seed, epoch, samples, ERASING, WORDS + 1 + images.shape[1])
        squares.append(_erased(augment.random_erasing, words, images.shape[1], height, width))
    if squares:
        found["boxes"] = np.concatenate([boxes for boxes, _ in squares], axis=1)
        found["paints"] = np.concatenate([paints for _, paints in squares], axis=1)
    return found


def _shifts(
    augment: AugmentConfig, seed: int, epoch: int, samples: NDArray[np.int64], height: int, width: int
) -> NDArray[np.int32]:
    if augment.crop:
        padding = augment.crop.padding
        return whole(augmentation_words(seed, epoch, samples, CROP, 2), -padding, padding).astype(np.int32)
    assert augment.shift is not None
    fraction = augment.shift.fraction
    moved = uniform(augmentation_words(seed, epoch, samples, SHIFT, 2), -fraction, fraction) * (height, width)
    return np.rint(moved).astype(np.int32)


def _flips(flip: float | str, seed: int, epoch: int, samples: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which samples are mirrored, (n,). Alternating (Jordan 2024), a sample's coin of the first epoch counts in every
    other one and the other way round in those between, so that two epochs show both views.
    """
    if isinstance(flip, str):
        return (uniform(augmentation_words(seed, 0, samples, FLIP, 1)[:, 0], 0, 1) < 0.5) ^ bool(epoch % 2)
    return uniform(augmentation_words(seed, epoch, samples, FLIP, 1)[:, 0], 0, 1) < flip


def _boxes_round(centres: NDArray[np.int64], side: int, there: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Boxes (…, 4) of this side round centres (…, 2); an empty one where none is `there`."""
    first = centres - side // 2
    boxes = np.concatenate([first, first + side], axis=-1)
    return np.where(there[..., None], boxes, 0).astype(np.int32)


def _side(size: float, height: int, width: int) -> int:
    return max(1, round(size * min(height, width)))


def _squares(
    cutout: Cutout, words: Words, channels: int, height: int, width: int
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Boxes (n, count, 4) and their pixels (n, count, C)."""
    parts = words.reshape(len(words), cutout.count, 3)
    there = uniform(parts[..., 0], 0, 1) < cutout.probability
    centres = np.stack([whole(parts[..., 1], 0, height - 1), whole(parts[..., 2], 0, width - 1)], axis=-1)
    paints = np.full((len(words), cutout.count, channels), cutout.value, np.uint8)
    return _boxes_round(centres, _side(cutout.size, height, width), there), paints


def _erased(
    erasing: RandomErasing, words: Words, channels: int, height: int, width: int
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Boxes (n, 1, 4), empty ones where nothing is erased, and their pixels (n, 1, C)."""
    found, fits = rectangles(words, erasing.smallest, erasing.largest, erasing.ratio, height, width)
    there = fits & (uniform(words[:, WORDS], 0, 1) < erasing.probability)
    corners, sides = found[:, :2], found[:, 2:]
    boxes = np.where(there[:, None], np.concatenate([corners, corners + sides], axis=1), 0).astype(np.int32)
    paints = words[:, WORDS + 1 :] >> 24 if erasing.value is None else np.full((len(words), channels), erasing.value)
    return boxes[:, None], paints.astype(np.uint8)[:, None]


def _ink(
    images: Image, indices: NDArray[np.int64], samples: NDArray[np.int64], known: KnownInk | None, place: int
) -> Ink:
    """The ink of a batch's image at this place."""
    image = images[indices[place]]
    return ink_of(image) if known is None else known.of(int(samples[place]), image)


def _contour_squares(
    shape: tuple[int, ...],
    ink: Callable[[int], Ink],
    cutout: ContourCutout,
    words: Words,
    shifts: NDArray[np.int32],
    mirrored: tuple[NDArray[np.bool_], NDArray[np.bool_]],
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Boxes (n, count, 4) in the shifted and mirrored images of shape (N, C, H, W), and their pixels (n, count, C).

    ink: that of the image at a place of the batch.
    mirrored: whether an image is top to bottom, and whether it is left to right, (n,) each.
    """
    channels, height, width = shape[1:]
    parts = words.reshape(len(words), cutout.count, 2)
    there = uniform(parts[..., 0], 0, 1) < cutout.probability
    centres = np.zeros((len(words), cutout.count, 2), np.int64)
    paints = np.full((len(words), cutout.count, channels), cutout.value or 0, np.uint8)
    picks = parts[..., 1].astype(np.int64)
    for place in np.flatnonzero(there.any(axis=1)).tolist():
        found = ink(place)
        if not len(found.points):
            there[place] = False
            continue
        centres[place] = found.points[picks[place] * len(found.points) >> 32]
        if cutout.value is None:
            paints[place] = found.paper
    centres += shifts[:, None]
    for axis, (side, which) in enumerate(zip((height, width), mirrored, strict=True)):
        centres[which, :, axis] = side - 1 - centres[which, :, axis]
    return _boxes_round(centres, _side(cutout.size, height, width), there), paints


def mixup(
    images: NDArray[np.float32], labels: NDArray[np.float32], alpha: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mixup of one batch (Zhang et al. 2017, equation 1 with one lambda ~ Beta(alpha, alpha) for the batch).

    images (N, ...) float32; labels (N, classes) float32, one-hot or already soft. Returns new arrays
    lambda * batch + (1 - lambda) * the batch in a random order, for both. All draws come from `rng`: pass one keyed by
    (seed, purpose, epoch, batch), and the same batch gives the same mix whatever ran before it.
    """
    if not 0 < alpha <= MAX_ALPHA:
        raise UserError(f"mixup needs an alpha above 0 and at most {MAX_ALPHA}, got {alpha}")
    if labels.ndim != 2 or len(labels) != len(images):
        raise UserError(f"mixup needs labels (N, classes) for {len(images)} images, got shape {labels.shape}")
    weight = np.float32(rng.beta(alpha, alpha))
    order = rng.permutation(len(images))
    rest = np.float32(1) - weight
    return weight * images + rest * images[order], weight * labels + rest * labels[order]
