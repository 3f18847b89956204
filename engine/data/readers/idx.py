"""MNIST and EMNIST: idx files of unsigned bytes, gzipped or plain as their first bytes say."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from engine.data.dataset import RawDataset
from engine.data.readers.files import DIGIT_NAMES, choice, existing_file, find_idx, is_gzipped, set_folder
from engine.errors import UserError
from engine.reading.memory import memory_for

MNIST_PREFIX = {"train": "train", "test": "t10k"}
UPPER = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
LOWER = tuple("abcdefghijklmnopqrstuvwxyz")
# Where the files lie in the set's folder: as the publisher packs them, and as torchvision does.
MNIST_PLACES = ("", "raw", "MNIST/raw")
EMNIST_PLACES = ("gzip", "", "raw", "raw/gzip", "EMNIST/raw", "EMNIST/raw/gzip")
MERGED = DIGIT_NAMES + UPPER + tuple("abdefghnqrt")
# Class names of EMNIST's parts (Cohen et al. 2017, table II). `balanced` and `bymerge` merge the 15 letters whose two
# cases look alike into the upper case; `letters` merges all of them and counts its labels from 1.
EMNIST_CLASSES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "digits": DIGIT_NAMES,
        "letters": UPPER,
        "balanced": MERGED,
        "byclass": DIGIT_NAMES + UPPER + LOWER,
        "bymerge": MERGED,
        "mnist": DIGIT_NAMES,
    }
)


def read_mnist(root: Path | None, split: str = "train") -> RawDataset:
    """MNIST's idx files (LeCun, Cortes, Burges), gzipped or plain: grey 28x28. split: train or test."""
    folder = set_folder(root, "mnist")
    prefix = MNIST_PREFIX[choice("mnist split", split, MNIST_PREFIX)]
    images = read_idx(_idx_file(folder, MNIST_PLACES, f"{prefix}-images-idx3-ubyte"), 3)
    labels = read_idx(_idx_file(folder, MNIST_PLACES, f"{prefix}-labels-idx1-ubyte"), 1).astype(np.int64)
    return RawDataset("mnist", images, labels, DIGIT_NAMES)


def read_emnist(root: Path | None, part: str = "digits", split: str = "train") -> RawDataset:
    """EMNIST (Cohen et al. 2017): grey 28x28, upright. part: digits, letters, balanced, byclass, bymerge, mnist; split:
    train, test.

    The files hold every image transposed; it is turned back here.
    """
    folder = set_folder(root, "emnist")
    classes = EMNIST_CLASSES[choice("emnist part", part, EMNIST_CLASSES)]
    stem = f"emnist-{part}-{choice('emnist split', split, ('train', 'test'))}"
    images = read_idx(_idx_file(folder, EMNIST_PLACES, f"{stem}-images-idx3-ubyte"), 3)
    path = _idx_file(folder, EMNIST_PLACES, f"{stem}-labels-idx1-ubyte")
    first = 1 if part == "letters" else 0
    labels = read_idx(path, 1).astype(np.int64) - first
    if labels.size and not 0 <= labels.min() <= labels.max() < len(classes):
        raise UserError(
            f"{path}: labels run from {labels.min() + first} to {labels.max() + first}, "
            f"expected {first} to {len(classes) - 1 + first}"
        )
    return RawDataset(f"emnist-{part}", images.transpose(0, 2, 1), labels, classes)


def _idx_file(folder: Path, places: Sequence[str], name: str) -> Path:
    return find_idx([folder / place for place in places], name) or existing_file(folder / f"{name}.gz")


def read_idx(path: Path, rank: int) -> NDArray[np.uint8]:
    """An idx file of unsigned bytes: magic 0, 0, 8, rank; `rank` big-endian int32 extents; the values."""
    header = 4 + 4 * rank
    size = path.stat().st_size
    gzipped = is_gzipped(path)
    try:
        with gzip.open(path) if gzipped else path.open("rb") as file:
            start = file.read(header)
            if len(start) < header or start[:4] != bytes((0, 0, 8, rank)):
                raise UserError(f"{path}: not an idx file of unsigned bytes with {rank} dimensions")
            shape = tuple(int(extent) for extent in np.frombuffer(start, ">i4", rank, 4))
            if min(shape) < 1:
                raise UserError(f"{path}: its header gives the extents {shape}, expected 1 or more of each")
            expected = math.prod(shape)
            # Labels become int64, and for a moment twice.
            if expected * (1 if rank > 1 else 17) > (memory_for(size) if gzipped else 17 * size):
                raise UserError(f"{path}: {size} bytes, but its header {shape} asks for more than such a file may hold")
            values = file.read(expected + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: damaged gzip file ({error})") from None
    if len(values) != expected:
        found = f"{header + len(values)} bytes" if len(values) < expected else "more bytes"
        raise UserError(f"{path}: {found}, but its header {shape} asks for {header + expected}")
    return np.frombuffer(values, np.uint8).reshape(shape)
