"""Image functions of the NumtaDB report: reverse, morphology, crop to the digit, and mixup.

An image here is a uint8 array (H, W) or (H, W, C) with C in 1..4, as `read_image` gives it. Every function is pure:
the input is not written, and the same input gives the same bytes. Kernel sizes and margins are in pixels of the image
as given and are meant for sheets of about 180 pixels; `enlarge_small` brings smaller images up to that scale first,
since a 3x3 opening at 28x28 wipes out most digits. `apply_steps` does so by itself.

Errors: `engine.errors.UserError` for an array that is no such image, an even or negative kernel, or an unknown step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from engine.data.images import Image, load_cv2
from engine.errors import UserError, unknown

SMALL_SIDE = 90
ENLARGE_FACTOR = 4
# Ink must differ from the paper by this many grey levels: below it an image counts as an empty sheet with noise.
MIN_CONTRAST = 32


def check_image(image: Image) -> Image:
    """Return `image` when it is a non-empty uint8 array (H, W) or (H, W, C) with C in 1..4; else raise UserError."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise UserError(f"an image must be a uint8 array, got {kind}")
    if image.ndim not in (2, 3) or image.size == 0 or (image.ndim == 3 and image.shape[2] > 4):
        raise UserError(f"an image must have shape (H, W) or (H, W, C) with C in 1..4, got {image.shape}")
    return image


def _square_kernel(size: int) -> Image:
    if size < 1 or size % 2 == 0:
        raise UserError(f"the kernel of a morphological step must be odd and positive, got {size}")
    return np.ones((size, size), np.uint8)


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
    size = (width * factor, height * factor)
    return _same_rank(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), image)


def resize(image: Image, height: int, width: int) -> Image:
    """Resize to height x width: area averages when both sides shrink, linear interpolation otherwise."""
    check_image(image)
    if height < 1 or width < 1:
        raise UserError(f"an image cannot be resized to {height}x{width}")
    cv2 = load_cv2()
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return _same_rank(cv2.resize(image, (width, height), interpolation=interpolation), image)


def invert(image: Image) -> Image:
    """Reverse of the report: 255 - value, so that black ink on white paper becomes white on black."""
    return 255 - check_image(image)


def dilation(image: Image, kernel: int = 3) -> Image:
    """Largest value in a kernel x kernel square: thickens bright strokes (reverse a black-on-white sheet first)."""
    check_image(image)
    return _same_rank(load_cv2().dilate(image, _square_kernel(kernel)), image)


def erosion(image: Image, kernel: int = 3) -> Image:
    """Smallest value in a kernel x kernel square: thins bright strokes, thickens dark ones."""
    check_image(image)
    return _same_rank(load_cv2().erode(image, _square_kernel(kernel)), image)


def opening(image: Image, kernel: int = 3) -> Image:
    """Erosion, then dilation: removes bright specks smaller than the kernel."""
    check_image(image)
    cv2 = load_cv2()
    return _same_rank(cv2.morphologyEx(image, cv2.MORPH_OPEN, _square_kernel(kernel)), image)


def _ink_strength(image: Image) -> Image:
    """Distance of each pixel from the paper, (H, W): the paper's value is the median of the outermost pixels."""
    cv2 = load_cv2()
    if image.ndim == 3 and image.shape[2] >= 3:
        grey = cv2.cvtColor(image[:, :, :3], cv2.COLOR_RGB2GRAY)
    else:
        grey = image[:, :, 0] if image.ndim == 3 else image
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    paper = np.full_like(grey, int(np.median(border)))
    return cv2.absdiff(grey, paper)


def ink_box(image: Image, kernel: int = 3) -> tuple[int, int, int, int] | None:
    """Box (top, left, bottom, right), ends exclusive, round all contours of the ink; None for an empty sheet.

    Ink is what differs from the paper, whichever of the two is darker: threshold by Otsu's method (1979), opening with
    `kernel` against specks, outer contours, union of their rectangles.
    """
    strength = _ink_strength(check_image(image))
    if int(strength.max()) < MIN_CONTRAST:
        return None
    cv2 = load_cv2()
    _, mask = cv2.threshold(strength, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    contours, _ = cv2.findContours(opening(mask, kernel), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return None
    boxes = np.array([cv2.boundingRect(contour) for contour in contours])
    left, top = boxes[:, :2].min(axis=0)
    right, bottom = (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
    return int(top), int(left), int(bottom), int(right)


def bounding_box(image: Image, kernel: int = 3, margin: int = 4) -> Image:
    """BBox of the report: crop to the ink's box plus `margin` pixels, kept inside the image.

    An empty sheet (no contour left after the opening) is returned unchanged.
    """
    if margin < 0:
        raise UserError(f"the margin of a bounding box must not be negative, got {margin}")
    box = ink_box(image, kernel)
    if box is None:
        return image
    top, left, bottom, right = box
    rows = slice(max(top - margin, 0), bottom + margin)
    columns = slice(max(left - margin, 0), right + margin)
    return np.ascontiguousarray(image[rows, columns])


STEPS: Mapping[str, Callable[[Image], Image]] = MappingProxyType(
    {
        "bbox": bounding_box,
        "reverse": invert,
        "dilation": dilation,
        "erosion": erosion,
        "opening": opening,
    }
)
# These work in pixels, so that the scale of the image matters to them.
SCALE_STEPS = frozenset({"bbox", "dilation", "erosion", "opening"})


def check_steps(steps: Iterable[str]) -> tuple[str, ...]:
    """Return the steps as a tuple; an unknown one raises UserError that names the nearest."""
    names = tuple(steps)
    for name in names:
        if name not in STEPS:
            raise unknown("image step", name, STEPS)
    return names


def apply_steps(image: Image, steps: Iterable[str]) -> Image:
    """Apply the named steps in order; with a step that works in pixels a small image is enlarged once, at the start."""
    names = check_steps(steps)
    check_image(image)
    if SCALE_STEPS.intersection(names):
        image = enlarge_small(image)
    for name in names:
        image = STEPS[name](image)
    return image


def mixup(
    images: NDArray[np.float32], labels: NDArray[np.float32], alpha: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mixup of one batch (Zhang et al. 2017, equation 1 with one lambda ~ Beta(alpha, alpha) for the batch).

    images (N, ...) float32; labels (N, classes) float32, one-hot or already soft. Returns new arrays
    lambda * batch + (1 - lambda) * the batch in a random order, for both. All draws come from `rng`: pass one keyed by
    (seed, purpose, epoch, batch), and the same batch gives the same mix whatever ran before it.
    """
    if not (alpha > 0 and np.isfinite(alpha)):
        raise UserError(f"mixup needs a finite alpha > 0, got {alpha}")
    if labels.ndim != 2 or len(labels) != len(images):
        raise UserError(f"mixup needs labels (N, classes) for {len(images)} images, got shape {labels.shape}")
    weight = np.float32(rng.beta(alpha, alpha))
    order = rng.permutation(len(images))
    rest = np.float32(1) - weight
    return weight * images + rest * images[order], weight * labels + rest * labels[order]
