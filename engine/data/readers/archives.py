"""Sets that lie in one archive: NumPy's .npz, and the digits that come with this package."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data import digits
from engine.data.dataset import RawDataset
from engine.data.labels.checks import MOST_CLASSES
from engine.data.readers.files import existing_file
from engine.errors import UserError, unknown
from engine.reading.memory import memory_for
from engine.reading.schema import FilePath

Head = tuple[tuple[int, ...], np.dtype[Any]]  # an array's shape and type

ENCRYPTED = 1  # a bit of a member's flags
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
# What zipfile, zlib and NumPy let out where bytes are damaged.
_ERRORS = (
    *(ValueError, TypeError, LookupError, OSError, EOFError, OverflowError, MemoryError, RecursionError, SyntaxError),
    *(NotImplementedError, RuntimeError, zlib.error, zipfile.BadZipFile, tokenize.TokenError),
)


def read_npz(root: Path | None, path: FilePath, images: str = "x", labels: str = "y") -> RawDataset:
    """A NumPy archive: `images` uint8 (N, H, W) or (N, H, W, 3), `labels` whole numbers from 0; never unpickles.

    `path` is the user's own, like that of a folder: it does not lie under `root`.
    """
    file = Path(path)
    pixels, numbers = read_arrays(file, images, labels)
    return RawDataset(file.stem, pixels, numbers, tuple(str(label) for label in range(int(numbers.max()) + 1)))


def read_arrays(file: Path, images: str, labels: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Two arrays of a NumPy archive: uint8 images and their labels, as in `read_npz`.

    What the archive says of both is checked before either is read.
    """
    existing_file(file)
    try:
        with zipfile.ZipFile(file) as archive:
            members = {each.filename.removesuffix(".npy"): each for each in archive.infolist()}
            for key in (images, labels):
                if key not in members:
                    raise unknown(f"array in {file}:", key, members)
            heads = [_array_header(file, archive, members[key]) for key in (images, labels)]
            _check_heads(file, images, labels, *heads)
            pixels, numbers = (_array(archive, members[key]) for key in (images, labels))
    except UserError:
        raise
    except _ERRORS:
        raise UserError(f"{file}: not a NumPy archive of plain arrays that can be read") from None
    if not 0 <= numbers.min() <= numbers.max() < MOST_CLASSES:
        raise UserError(
            f"{file}: {labels!r} must be whole numbers from 0 to {MOST_CLASSES - 1}, but run from {numbers.min()} to "
            f"{numbers.max()}"
        )
    return pixels, numbers.astype(np.int64)


def _check_heads(file: Path, images: str, labels: str, pixels: Head, numbers: Head) -> None:
    shape, dtype = pixels
    if dtype != np.uint8 or len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3)) or 0 in shape:
        raise UserError(f"{file}: {images!r} must be uint8 (N, H, W) or (N, H, W, 3), got {dtype} {shape}")
    count, kind = numbers
    if kind.kind not in "iu" or count != shape[:1]:
        raise UserError(
            f"{file}: {labels!r} must be whole numbers from 0, one per image: ({shape[0]},), got {kind} {count}"
        )
    # Labels are kept as int64, and for a moment as they lie in the file.
    if math.prod(shape) + 16 * shape[0] > memory_for(file.stat().st_size):
        raise UserError(f"{file}: {images!r} of shape {shape} is more than an archive of its size may hold")


def _array_header(file: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Head:
    """Shape and type of an array, whose bytes are all there by what the archive says."""
    where = f"{file}: {member.filename!r}"
    if member.flag_bits & ENCRYPTED:
        raise UserError(f"{where} is encrypted")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError(f"{where} is compressed in a way that NumPy does not write (method {member.compress_type})")
    if member.file_size > memory_for(file.stat().st_size):
        raise UserError(f"{where} says it has {member.file_size} bytes, more than an archive of its size may hold")
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in _HEADERS:
            raise UserError(f"{where} is an array in the format {version}, expected 1.0 or 2.0")
        shape, _, dtype = _HEADERS[version](stream)
        begun = stream.tell()
    if dtype.hasobject:
        raise UserError(f"{where} holds objects of Python, which might run code: only plain numbers can be read")
    if any(extent < 0 for extent in shape) or math.prod(shape) * dtype.itemsize != member.file_size - begun:
        raise UserError(f"{where} has {member.file_size - begun} bytes for an array {dtype} of shape {shape}")
    return shape, dtype


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(member) as stream:
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def read_digits5k(root: Path | None, sheets: bool = True, seed: int = 0, count: int | None = None) -> RawDataset:
    """5,000 MNIST digits that come with this package: on white sheets of random size (`sheets`), or plain 28x28."""
    if sheets:
        pictures, labels = digits.digits_on_sheets(seed=seed, count=count)
        return RawDataset("digits5k", pictures, labels, digits.CLASSES)
    plain, labels = digits.digits5k()
    if count is not None and not 1 <= count <= len(labels):
        raise UserError(f"digits5k: count must be in 1..{len(labels)}, got {count}")
    return RawDataset("digits5k", plain[:count], labels[:count], digits.CLASSES)
