"""Reading image files through OpenCV, with errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data import headers
from engine.errors import UserError

Image = NDArray[np.uint8]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
# The largest image that is decoded, 8192 x 8192. A file of a few kilobytes can state a size that fills the memory.
MAX_PIXELS = 1 << 26
# No file of that many pixels is larger than four channels of 16 bits each, stored as they are, and as much again.
MAX_BYTES = 16 * MAX_PIXELS


class UnreadableImage(UserError):
    """An image file that is empty, damaged, too large or no image: a data set may go on without it."""


def load_cv2() -> ModuleType:
    """Import OpenCV; where the system lacks a library that it needs, UserError says what to install."""
    try:
        import cv2
    except ImportError as error:
        raise UserError(
            f"OpenCV cannot be loaded ({error}): install the system's libraries with "
            "`apt-get install libgl1 libglib2.0-0`, or use the build that needs none: "
            "`pip uninstall opencv-python && pip install opencv-python-headless`"
        ) from None
    return cv2


def read_image(path: Path | str) -> Image:
    """Decode one PNG, JPEG or BMP: uint8 (H, W) when it is stored grey, else (H, W, 3) in the order red, green, blue.

    16 bits   the upper eight are kept
    palette   its colours; transparent ones as alpha
    alpha     laid on white
    CMYK      converted without a colour profile: red = (255 - cyan) * (255 - black) / 255, and so on
    Exif      turned and mirrored upright

    UnreadableImage for a file that is empty, truncated, damaged (a JPEG has no checksum, so that not all damage shows),
    of more than MAX_PIXELS pixels (seen in its header, before anything is decoded) or no such image; UserError for one
    that the system does not let us read.
    """
    cv2 = load_cv2()
    path = Path(path)
    data = _read(path)
    if not data:
        raise UnreadableImage(f"{path}: the image file is empty")
    if headers.is_cut_off(data):
        raise UnreadableImage(f"{path}: the image file is truncated")
    size = headers.image_size(data)
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        raise UnreadableImage(f"{path}: the image has {size[1]}x{size[0]} pixels, more than the {MAX_PIXELS} allowed")
    image = None
    if size is not None:
        with suppress(cv2.error):
            # Unchanged keeps alpha, and leaves orientation and CMYK alone: only for what has alpha.
            flags = cv2.IMREAD_UNCHANGED if headers.is_transparent(data) else cv2.IMREAD_ANYCOLOR
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None:
        raise UnreadableImage(f"{path}: not an image that can be decoded (expected PNG, JPEG or BMP)")
    if headers.is_transparent(data):
        return _upright(_on_white(image, headers.is_grey(data)), headers.png_orientation(data))
    return np.ascontiguousarray(image[:, :, ::-1]) if image.ndim == 3 else image


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if len(data) > MAX_BYTES:
        raise UnreadableImage(f"{path}: the image file is larger than {MAX_BYTES} bytes")
    return data


def _on_white(image: NDArray[Any], grey: bool) -> Image:
    """Blue, green, red, alpha of 8 or 16 bits over white: alpha * colour + (1 - alpha) * white."""
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.ndim == 3 and image.shape[2] == 4:
        alpha = image[:, :, 3:].astype(np.uint32)
        image = ((image[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    if image.ndim == 3:
        image = image[:, :, 0] if grey else image[:, :, ::-1]
    return np.ascontiguousarray(image)


def _upright(image: Image, orientation: int) -> Image:
    """Undo an Exif orientation: 2 to 4 are mirrored left to right, turned by half, mirrored top to bottom; 5 to 8 are
    the same, from 1 on, of the transposed image.
    """
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def find_images(places: Iterable[Path | str]) -> list[Path]:
    """All image files named or, for a folder, lying directly in it (sorted by name).

    UserError for a place that does not exist, a folder without images, or a file given twice.
    """
    found: list[Path] = []
    for place in map(Path, places):
        if place.is_dir():
            files = (each for each in place.iterdir() if each.is_file())
            inside = sorted(each for each in files if each.suffix.lower() in IMAGE_SUFFIXES)
            if not inside:
                raise UserError(f"{place}: the folder holds no images ({', '.join(IMAGE_SUFFIXES)})")
            found += inside
        elif place.exists():
            found.append(place)
        else:
            raise UserError(f"{place}: no such file or folder")
    if len(set(found)) < len(found):
        twice = next(each for each in found if found.count(each) > 1)
        raise UserError(f"{twice}: the image is given twice")
    return found
