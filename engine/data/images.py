"""Reading image files through OpenCV, with errors that say what to do."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.headers import KINDS, START, Header, other_kind, read_header
from engine.data.listing import Unread, images_below, images_in, is_folder, is_there, warn_unread
from engine.errors import UserError, twice
from engine.reading.memory import memory_for

Image = NDArray[np.uint8]

# The largest image that is decoded, 8192 x 8192. A file of a few kilobytes can state a size that fills the memory.
MAX_SIDE = 1 << 13
MAX_PIXELS = MAX_SIDE**2
# No file of that many pixels is larger than four channels of 16 bits each, stored as they are, and as much again.
MAX_BYTES = 16 * MAX_PIXELS
SPACES = 8  # in a name that a shell has cut there
BAND = 1 << 18  # pixels that are converted at a time

# What the system says of a link that leads nowhere, round in a circle, or through a file.
ABSENT = (errno.ENOENT, errno.ELOOP, errno.ENOTDIR)


class UnreadableImage(UserError):
    """An image file that is not there, empty, damaged, too large or no image: a data set may go on without it."""


class OversizedImage(UnreadableImage):
    """An image of more pixels, bytes or memory than one is given."""


class NoImage(UnreadableImage):
    """What is none of the kinds of images that are read."""


def load_cv2() -> ModuleType:
    """Import OpenCV; where the system lacks a library that it needs, UserError says what to install.

    What it prints of images that it cannot decode is switched off: `read_image` says it. Who has imported it before, or
    set OPENCV_LOG_LEVEL, has chosen how much it says.
    """
    ours = "cv2" not in sys.modules and "OPENCV_LOG_LEVEL" not in os.environ
    try:
        import cv2
    except ImportError as error:
        raise UserError(
            f"OpenCV cannot be loaded ({error}): install the system's libraries with "
            "`apt-get install libgl1 libglib2.0-0`, or use the build that needs none: "
            "`pip uninstall opencv-python && pip install opencv-python-headless`"
        ) from None
    if ours:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2


def read_image(path: Path | str) -> Image:
    """Decode one image: uint8 (H, W) when it is stored grey, else (H, W, 3) in the order red, green, blue.

    The content tells the kind, whatever the name: PNG, JPEG, BMP, WebP, TIFF and PNM, and with OpenCV 4.12 or later
    GIF and AVIF. Of several images in a file (TIFF, animations) the first is read; of an animated PNG the one for
    viewers that show no animations.

    16 bits   the upper eight are kept; so are the upper eight of AVIF's 10 and 12
    palette   its colours; transparent ones as alpha
    alpha     laid on white, as is a colour that a PNG names as transparent; whoever trained on another background lays
              the images on it beforehand
    CMYK      converted without a colour profile: red = (255 - cyan) * (255 - black) / 255, and so on
    Exif      turned and mirrored upright, as the tags or boxes of TIFF and AVIF say too

    UnreadableImage for a file that is not there (as where a link leads nowhere), empty, truncated, damaged (a JPEG has
    no checksum, so that not all damage shows), of more than MAX_PIXELS pixels or more memory than `memory_for` its
    bytes (seen in its header, before anything is decoded), of a form that OpenCV decodes wrong, or no such image;
    UserError for one that the system does not let us read.
    """
    path = Path(path)
    return decode_image(read_file(path), path)


def decode_image(data: bytes, path: object = "the image") -> Image:
    """What `read_image` gives for a file of these bytes; `path` names it in errors."""
    cv2 = load_cv2()
    header = checked_header(path, data)
    image = None
    if header.size is not None:
        with suppress(cv2.error):
            # Unchanged keeps alpha and 16 bits, and leaves CMYK alone: only for what is put right here.
            flags = cv2.IMREAD_UNCHANGED if header.as_stored else cv2.IMREAD_ANYCOLOR
            if header.orientation is not None:
                flags |= cv2.IMREAD_IGNORE_ORIENTATION
            image = cv2.imdecode(np.frombuffer(header.shown(data), np.uint8), flags)
    if image is None:
        why = f"it is damaged, or of a form that OpenCV {cv2.__version__} does not decode"
        raise UnreadableImage(f"{path}: not an image that can be decoded ({header.kind}: {why})")
    return _upright(_eight_bits_on_white(image, header), header.orientation or 1)


def checked_header(path: object, data: bytes) -> Header:
    """What the content of an image file says of itself; UnreadableImage where that alone tells that it is not to be
    decoded."""
    if not data:
        raise UnreadableImage(f"{path}: the image file is empty")
    header = read_header(data)
    if header is None:
        kind = other_kind(data[:START])
        what = f"it is a file of the kind {kind}; " if kind else ""
        raise NoImage(f"{path}: not an image that can be decoded ({what}expected {KINDS})")
    if header.cut_off:
        raise UnreadableImage(f"{path}: the image file is truncated")
    if header.refused:
        raise UnreadableImage(f"{path}: not an image that can be decoded ({header.kind}: {header.refused})")
    size = header.size
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        raise OversizedImage(f"{path}: the image has {size[1]}x{size[0]} pixels, more than the {MAX_PIXELS} allowed")
    if size is not None and header.memory > memory_for(len(data)):
        raise OversizedImage(
            f"{path}: the image has {size[1]}x{size[0]} pixels in {len(data)} bytes, and would take "
            f"{header.memory // 1_000_000} MB to decode: more than an image in a file of that size is given"
        )
    return header


def read_file(path: Path) -> bytes:
    """The content of an image file; UnreadableImage where there is none, UserError where the system does not let us."""
    try:
        with path.open("rb") as file:
            # As much memory is taken as is asked for: a file's size and a byte, and the rest of what has none or grew.
            data = file.read(min(os.fstat(file.fileno()).st_size, MAX_BYTES) + 1)
            data += file.read(MAX_BYTES + 1 - len(data)) if file.peek(1) else b""
    except OSError as error:
        if error.errno in ABSENT:
            raise UnreadableImage(f"{path}: cannot be read ({error.strerror})") from None
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise UserError(f"{str(path)!r}: cannot be read (no file has a zero byte in its name)") from None
    if len(data) > MAX_BYTES:
        raise OversizedImage(f"{path}: the image file is larger than {MAX_BYTES} bytes")
    return data


def _eight_bits_on_white(image: NDArray[Any], header: Header) -> Image:
    """What was decoded as grey, or as blue, green, red (and alpha): red first, alpha laid on white.

    Bands of rows, one after the other: all of them at once would take several times the memory of the image.
    """
    three = image.ndim == 3
    if image.dtype == np.uint8 and not (three and (header.grey or image.shape[2] == 4)) and header.clear is None:
        if three:
            cv2 = load_cv2()
            cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
        return image
    opaque = three and image.shape[2] == 4 and header.unused_alpha and not image[:, :, 3].any()
    result = np.empty(image.shape[:2] if header.grey or not three else (*image.shape[:2], 3), np.uint8)
    rows = max(1, BAND // image.shape[1])
    for start in range(0, len(image), rows):
        result[start : start + rows] = _band(image[start : start + rows], header, opaque)
    return result


def _band(image: NDArray[Any], header: Header, opaque: bool) -> Image:
    """alpha * colour + (1 - alpha) * white for some rows, red first."""
    clear = image == header.clear if header.clear is not None and image.ndim == 2 else None
    if image.dtype == np.uint16:
        image = (image >> (header.depth - 8)).astype(np.uint8)
    if clear is not None:
        image = np.where(clear, np.uint8(255), image)
    if image.ndim == 3 and image.shape[2] == 4:
        alpha, image = image[:, :, 3:].astype(np.uint16), image[:, :, :3]
        if not opaque and alpha.min() < 255:
            room = 255 - alpha  # for the paper
            laid = np.minimum(image + room, 255) if header.premultiplied else (image * alpha + 255 * room + 127) // 255
            image = laid.astype(np.uint8)
    if image.ndim == 3:
        image = image[:, :, 0] if header.grey else image[:, :, ::-1]
    return image


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


def find_images(places: Iterable[Path | str], recursive: bool = False, absent: bool = False) -> list[Path]:
    """All image files named or, for a folder, lying directly in it (sorted by name), as `images_in` knows them.

    recursive: also those in the folders inside it, behind its own; each of them may be without images.
    absent: also the places that do not exist, as files that cannot be read.

    A warning counts what else lies in a folder. UserError for a place that does not exist, a folder without images, or
    a file given twice.
    """
    found, unread = list_images(places, recursive, absent)
    warn_unread("the images given", unread)
    return found


def list_images(
    places: Iterable[Path | str], recursive: bool = False, absent: bool = False
) -> tuple[list[Path], tuple[Unread, ...]]:
    """The same without the warning, and what it would be about."""
    found: list[Path] = []
    unread: list[Unread] = []
    given = [Path(place) for place in places]
    for number, place in enumerate(given):
        if is_folder(place):
            listing = images_below(place) if recursive else images_in(place)
            if not listing.images:
                raise UserError(f"{place}: the folder holds no images{listing.instead}")
            found += listing.images
            unread += listing.unread
        elif absent or is_there(place):
            found.append(place)
        else:
            raise UserError(f"{place}: no such file or folder{_meant(place, given[number + 1 :])}")
    if (again := twice(found)) is not None:
        raise UserError(f"{again}: the image is given twice")
    return found, tuple(unread)


def _meant(place: Path, rest: Sequence[Path]) -> str:
    """What a name that is not there may be, as shells have it: one that was cut at its spaces, or a pattern that they
    have left as it is."""
    name = str(place)
    for each in rest[:SPACES]:
        name += f" {each}"
        if is_there(Path(name)):
            return f"; a name with spaces stands in quotes: '{name}'"
    if any(letter in place.name for letter in "*?["):
        with suppress(OSError, ValueError):
            if next(place.parent.glob(place.name), None) is not None:
                return "; it is a pattern: without quotes the shell puts the names in its place"
    return ""


class ImageFiles(Sequence[Image]):
    """Images that are decoded when they are asked for."""

    def __init__(self, paths: Sequence[Path]):
        self.paths = list(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        return ImageFiles(self.paths[index]) if isinstance(index, slice) else read_image(self.paths[index])
