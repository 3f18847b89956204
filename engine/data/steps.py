"""Deterministic image steps, run once per image: reverse, morphology and the crop to the digit (NumtaDB report), and
borders to a square.

An image here is a uint8 array (H, W) or (H, W, C) with C in 1..4, as `read_image` gives it. Every function is pure:
the input is not written, and the same input gives the same bytes. Kernel sizes and margins are in pixels of the image
as given and are meant for sheets of about 180 pixels; `enlarge_small` brings smaller images up to that scale first,
since a 3x3 opening at 28x28 wipes out most digits. `apply_steps` does so by itself.

A step of a configuration is a name of `STEPS`, or that name with parameters: `[reverse, {dilation: {kernel: 5}}]`.

Errors: `engine.errors.UserError` for an array that is no such image, or a step that is unknown or cannot be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.data.images import MAX_SIDE, Image, load_cv2
from engine.errors import UserError, unknown
from engine.reading.schema import read_mapping

SMALL_SIDE = 90
ENLARGE_FACTOR = 4
# Ink must differ from the paper by this many grey levels: below it an image counts as an empty sheet with noise.
MIN_CONTRAST = 32
# A square of this side covers a small image, and so far may all squares of a step reach together: OpenCV makes a large
# one of them.
MAX_KERNEL, MAX_REACH = 255, 1000  # pixels


def check_image(image: Image) -> Image:
    """Return `image` when it is a non-empty uint8 array (H, W) or (H, W, C) with C in 1..4; else raise UserError."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise UserError(f"an image must be a uint8 array, got {kind}")
    if image.ndim not in (2, 3) or image.size == 0 or (image.ndim == 3 and image.shape[2] > 4):
        raise UserError(f"an image must have shape (H, W) or (H, W, C) with C in 1..4, got {image.shape}")
    return image


def _square(kernel: int, times: int = 1) -> Image:
    _check_morphology(kernel, times)
    return np.ones((kernel, kernel), np.uint8)


def _same_rank(result: NDArray[np.uint8], image: Image) -> Image:
    """OpenCV drops the last axis of (H, W, 1): put it back."""
    return result[:, :, None] if result.ndim < image.ndim else result


def enlarge_small(image: Image, below: int = SMALL_SIDE, factor: int = ENLARGE_FACTOR) -> Image:
    """Enlarge by `factor` (cubic) when the longer side is under `below` pixels; else return the image itself."""
    check_image(image)
    height, width = image.shape[:2]
    if max(height, width) >= below:
        return image
    cv2 = load_cv2()
    if not 1 <= factor * max(height, width) <= MAX_SIDE:
        raise UserError(
            f"an image of {height}x{width} cannot be enlarged by {factor}: a side has 1 to {MAX_SIDE} pixels"
        )
    size = (width * factor, height * factor)
    return _same_rank(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), image)


def resize(image: Image, height: int, width: int) -> Image:
    """Resize to height x width: area averages when both sides shrink, linear interpolation otherwise."""
    check_image(image)
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise UserError(f"an image cannot be resized to {height}x{width}: a side has 1 to {MAX_SIDE} pixels")
    cv2 = load_cv2()
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return _same_rank(cv2.resize(image, (width, height), interpolation=interpolation), image)


def invert(image: Image) -> Image:
    """Reverse of the report: 255 - value, so that black ink on white paper becomes white on black."""
    return 255 - check_image(image)


def dilation(image: Image, kernel: int = 3, times: int = 1) -> Image:
    """Largest value in a kernel x kernel square: thickens bright strokes (reverse a black-on-white sheet first)."""
    check_image(image)
    return _same_rank(load_cv2().dilate(image, _square(kernel, times), iterations=times), image)


def erosion(image: Image, kernel: int = 3, times: int = 1) -> Image:
    """Smallest value in a kernel x kernel square: thins bright strokes, thickens dark ones."""
    check_image(image)
    return _same_rank(load_cv2().erode(image, _square(kernel, times), iterations=times), image)


def opening(image: Image, kernel: int = 3, times: int = 1) -> Image:
    """Erosion, then dilation: removes bright specks smaller than the kernel."""
    check_image(image)
    cv2 = load_cv2()
    return _same_rank(cv2.morphologyEx(image, cv2.MORPH_OPEN, _square(kernel, times), iterations=times), image)


def paper_of(image: Image) -> NDArray[np.uint8]:
    """The paper's value in each channel, (C,): the median of the outermost pixels."""
    pixels = image.reshape(*image.shape[:2], -1)
    border = np.sort(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]), axis=0)
    half = len(border) // 2  # of an even number of pixels
    return ((border[half - 1].astype(np.uint16) + border[half]) // 2).astype(np.uint8)


def ink_mask(image: Image, contrast: int = MIN_CONTRAST) -> NDArray[np.uint8] | None:
    """255 where there is ink, 0 on the paper, (H, W); None where nothing differs from the paper by `contrast`.

    Ink is what differs from the paper, whichever of the two is darker, by more than Otsu's threshold (1979).
    """
    cv2 = load_cv2()
    grey = check_image(image)
    if image.ndim == 3:
        grey = cv2.cvtColor(image[:, :, :3], cv2.COLOR_RGB2GRAY) if image.shape[2] >= 3 else image[:, :, 0]
    strength = cv2.absdiff(grey, np.full_like(grey, paper_of(grey)[0]))
    if strength.max() < contrast:
        return None
    mask: NDArray[np.uint8] = cv2.threshold(strength, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[1]
    return mask


def ink_box(image: Image, kernel: int = 3, contrast: int = MIN_CONTRAST) -> tuple[int, int, int, int] | None:
    """Box (top, left, bottom, right), ends exclusive, round all contours of the ink; None for an empty sheet.

    The ink of `ink_mask`, opened with `kernel` against specks; outer contours; union of their rectangles.
    """
    mask = ink_mask(image, contrast)
    if mask is None:
        return None
    cv2 = load_cv2()
    contours, _ = cv2.findContours(opening(mask, kernel), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return None
    boxes = np.array([cv2.boundingRect(contour) for contour in contours])
    left, top = boxes[:, :2].min(axis=0)
    right, bottom = (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
    return int(top), int(left), int(bottom), int(right)


def bounding_box(image: Image, kernel: int = 3, margin: int = 4, contrast: int = MIN_CONTRAST) -> Image:
    """BBox of the report: crop to the ink's box plus `margin` pixels, kept inside the image.

    An empty sheet (no contour left after the opening) is returned unchanged.
    """
    _check_margin(margin)
    box = ink_box(image, kernel, contrast)
    if box is None:
        return image
    top, left, bottom, right = box
    rows = slice(max(top - margin, 0), bottom + margin)
    columns = slice(max(left - margin, 0), right + margin)
    return np.ascontiguousarray(image[rows, columns])


def pad_to_square(image: Image, value: int = 0) -> Image:
    """Borders of `value`, in all channels, on the shorter sides, so that the image becomes a square with its content in
    the middle; of an odd number the last row or column is at the bottom or right. A square is returned unchanged."""
    _check_grey("a border", value)
    height, width = check_image(image).shape[:2]
    side = max(height, width)
    if side > MAX_SIDE:
        raise UserError(f"an image of {height}x{width} cannot be padded to a square: a side has 1 to {MAX_SIDE} pixels")
    if height == width:
        return image
    top, left = (side - height) // 2, (side - width) // 2
    square = np.full((side, side, *image.shape[2:]), value, np.uint8)
    square[top : top + height, left : left + width] = image
    return square


def _check_grey(what: str, value: int) -> None:
    if not 0 <= value <= 255:
        raise UserError(f"the value of {what} must be in 0..255, got {value}")


def _check_morphology(kernel: int, times: int = 1) -> None:
    if not 1 <= kernel <= MAX_KERNEL or kernel % 2 == 0:
        raise UserError(f"the kernel of a morphological step must be odd, from 1 to {MAX_KERNEL}, got {kernel}")
    if not 1 <= times * max(1, kernel // 2) <= MAX_REACH:
        raise UserError(
            f"a morphological step runs 1 or more times and reaches {MAX_REACH} pixels at most; times is {times} and "
            f"kernel {kernel}"
        )


def _check_margin(margin: int) -> None:
    if not 0 <= margin <= MAX_SIDE:
        raise UserError(f"the margin of a bounding box must be from 0 to {MAX_SIDE} pixels, got {margin}")


@dataclass(frozen=True)
class Reverse:
    """Black on white becomes white on black."""

    in_pixels: ClassVar[bool] = False

    def __call__(self, image: Image) -> Image:
        return invert(image)


@dataclass(frozen=True)
class Dilation:
    """The largest value in a square round each pixel.

    kernel  side of the square, odd, up to 255
    times   how often; with half the kernel up to 1000 pixels
    """

    in_pixels: ClassVar[bool] = True
    kernel: int = 3
    times: int = 1

    def __post_init__(self) -> None:
        _check_morphology(self.kernel, self.times)

    def __call__(self, image: Image) -> Image:
        return dilation(image, self.kernel, self.times)


@dataclass(frozen=True)
class Erosion(Dilation):
    """The smallest value in a square round each pixel.

    kernel  side of the square, odd, up to 255
    times   how often; with half the kernel up to 1000 pixels
    """

    def __call__(self, image: Image) -> Image:
        return erosion(image, self.kernel, self.times)


@dataclass(frozen=True)
class Opening(Dilation):
    """Erosions, then as many dilations.

    kernel  side of the square, odd, up to 255
    times   how many of either; with half the kernel up to 1000 pixels
    """

    def __call__(self, image: Image) -> Image:
        return opening(image, self.kernel, self.times)


@dataclass(frozen=True)
class BoundingBox:
    """Crop to the ink (see `bounding_box`).

    kernel    side of the opening's square, odd; 1 for none
    margin    pixels round the box
    contrast  grey levels that something must differ from the paper by to be ink
    """

    in_pixels: ClassVar[bool] = True
    kernel: int = 3
    margin: int = 4
    contrast: int = MIN_CONTRAST

    def __post_init__(self) -> None:
        _check_morphology(self.kernel)
        _check_margin(self.margin)
        if not 1 <= self.contrast <= 255:
            raise UserError(f"the contrast of a bounding box must be in 1..255 grey levels, got {self.contrast}")

    def __call__(self, image: Image) -> Image:
        return bounding_box(image, self.kernel, self.margin, self.contrast)


@dataclass(frozen=True)
class Pad:
    """Borders on the shorter sides make the image a square: a size that is one then keeps the proportions.

    value  of the border, in all channels: 0 black, 255 white
    """

    in_pixels: ClassVar[bool] = False
    value: int = 0

    def __post_init__(self) -> None:
        _check_grey("a border", self.value)

    def __call__(self, image: Image) -> Image:
        return pad_to_square(image, self.value)


Step = Reverse | Dilation | Erosion | Opening | BoundingBox | Pad
STEPS: Mapping[str, type[Step]] = MappingProxyType(
    {"bbox": BoundingBox, "reverse": Reverse, "dilation": Dilation, "erosion": Erosion, "opening": Opening, "pad": Pad}
)


def read_step(given: object) -> Step:
    """The step that a name, a name with parameters, `{dilation: {kernel: 3}}`, or a step itself stands for."""
    if isinstance(given, (Reverse, Dilation, BoundingBox, Pad)):
        return given
    name, parameters = given, None
    if isinstance(given, Mapping) and len(given) == 1:
        name, parameters = next(iter(given.items()))
    if not isinstance(name, str):
        raise UserError(f"an image step is a name, or one name with its parameters, got {given!r}")
    if name not in STEPS:
        raise unknown("image step", name, STEPS)
    return read_mapping(STEPS[name], {} if parameters is None else parameters, name)


def describe_step(step: Step) -> str | dict[str, dict[str, int]]:
    """What `read_step` makes the step from; parameters at their defaults are left out, so these are fixed for good."""
    name = next(name for name, kind in STEPS.items() if type(step) is kind)
    parameters = {
        each.name: getattr(step, each.name) for each in fields(step) if getattr(step, each.name) != each.default
    }
    return {name: parameters} if parameters else name


def check_steps(steps: Iterable[object]) -> tuple[Step, ...]:
    """The steps as `read_step` reads them; UserError for one that is unknown or has parameters that cannot be."""
    return tuple(read_step(each) for each in steps)


def works_in_pixels(steps: Iterable[Step]) -> bool:
    """Whether the scale of the image matters to a step, so that `apply_steps` enlarges small images."""
    return any(step.in_pixels for step in steps)


def apply_steps(image: Image, steps: Iterable[object]) -> Image:
    """Apply the steps in order; with a step that works in pixels a small image is enlarged once, at the start."""
    chosen = check_steps(steps)
    check_image(image)
    if works_in_pixels(chosen):
        image = enlarge_small(image)
    for step in chosen:
        image = step(image)
    return image
