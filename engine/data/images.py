"""Reading image files through OpenCV, with errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError

Image = NDArray[np.uint8]

GREY_PNG, ALPHA_PNG = (0, 4), (4, 6)  # colour types of a PNG's header

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


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
    """Decode one image file: uint8 (H, W) when it is stored grey, else (H, W, 3) in the order red, green, blue.

    A transparent PNG is laid on white. UserError for a file that is missing, empty, truncated or no image.
    """
    cv2 = load_cv2()
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if not data:
        raise UserError(f"{path}: the image file is empty")
    if _is_cut_off(data):
        raise UserError(f"{path}: the image file is truncated")
    try:
        pixels = np.frombuffer(data, np.uint8)
        if _is_transparent(data):
            return _on_white(cv2.imdecode(pixels, cv2.IMREAD_UNCHANGED), grey=data[25] in GREY_PNG)
        image = cv2.imdecode(pixels, cv2.IMREAD_ANYCOLOR)
    except (cv2.error, TypeError, AttributeError):
        image = None
    if image is None:
        raise UserError(f"{path}: not an image that can be decoded (expected PNG or JPEG)")
    return np.ascontiguousarray(image[:, :, ::-1]) if image.ndim == 3 else image


def _is_transparent(data: bytes) -> bool:
    """True for a PNG with an alpha channel or a tRNS chunk."""
    png = data.startswith(b"\x89PNG") and len(data) > 25
    return png and (data[25] in ALPHA_PNG or b"tRNS" in data[: max(data.find(b"IDAT"), 0)])


def _on_white(image: NDArray[Any], grey: bool) -> Image:
    """Blue, green, red, alpha of 8 or 16 bits over white: alpha * colour + (1 - alpha) * white."""
    if image.dtype == np.uint16:
        image = (image // 257).astype(np.uint8)
    if image.ndim == 3 and image.shape[2] == 4:
        alpha = image[:, :, 3:].astype(np.uint32)
        image = ((image[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    if image.ndim == 3:
        image = image[:, :, 0] if grey else image[:, :, ::-1]
    return np.ascontiguousarray(image)


def _is_cut_off(data: bytes) -> bool:
    """True for a PNG or JPEG without its end marker: decoders fill the missing part with grey and do not complain."""
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-32:]
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in data[2:]
    return False


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
