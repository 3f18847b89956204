"""Sets that lie in one archive: NumPy's .npz, and the digits that come with this package."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.data import digits
from engine.data.dataset import RawDataset
from engine.data.readers.files import existing_file
from engine.errors import UserError, unknown
from engine.schema import FilePath


def read_npz(root: Path | None, path: FilePath, images: str = "x", labels: str = "y") -> RawDataset:
    """A NumPy archive: `images` uint8 (N, H, W) or (N, H, W, 3), `labels` whole numbers from 0; never unpickles.

    `path` is the user's own, like that of a folder: it does not lie under `root`.
    """
    file = Path(path)
    pixels, numbers = read_arrays(file, images, labels)
    return RawDataset(file.stem, pixels, numbers, tuple(str(label) for label in range(int(numbers.max()) + 1)))


def read_arrays(file: Path, images: str, labels: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Two arrays of a NumPy archive: uint8 images and their labels, as in `read_npz`."""
    existing_file(file)
    try:
        with np.load(file, allow_pickle=False) as archive:
            for key in (images, labels):
                if key not in archive.files:
                    raise unknown(f"array in {file}:", key, archive.files)
            pixels, numbers = archive[images], archive[labels]
    except UserError:
        raise
    except (ValueError, TypeError, AttributeError, OSError, EOFError, zlib.error, zipfile.BadZipFile):
        raise UserError(f"{file}: not a NumPy archive of plain arrays that can be read") from None
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or (pixels.ndim == 4 and pixels.shape[3] not in (1, 3)):
        raise UserError(
            f"{file}: {images!r} must be uint8 (N, H, W) or (N, H, W, 3), got {pixels.dtype} {pixels.shape}"
        )
    if numbers.ndim != 1 or not np.issubdtype(numbers.dtype, np.integer) or numbers.size == 0 or numbers.min() < 0:
        raise UserError(f"{file}: {labels!r} must be whole numbers from 0, one per image")
    return pixels, numbers.astype(np.int64)


def read_digits5k(root: Path | None, sheets: bool = True, seed: int = 0, count: int | None = None) -> RawDataset:
    """5,000 MNIST digits that come with this package: on white sheets of random size (`sheets`), or plain 28x28."""
    if sheets:
        pictures, labels = digits.digits_on_sheets(seed=seed, count=count)
        return RawDataset("digits5k", pictures, labels, digits.CLASSES)
    plain, labels = digits.digits5k()
    if count is not None and not 1 <= count <= len(labels):
        raise UserError(f"digits5k: count must be in 1..{len(labels)}, got {count}")
    return RawDataset("digits5k", plain[:count], labels[:count], digits.CLASSES)
