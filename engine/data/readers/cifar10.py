"""CIFAR-10: the binary batches, or the Python batches where only these are there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.data.dataset import RawDataset
from engine.data.readers.files import choice, existing_file, nested, set_folder
from engine.data.readers.safe_pickle import load_plain
from engine.errors import UserError

VALUES = 3 * 32 * 32
RECORD = 1 + VALUES
BINARY, PYTHON = "cifar-10-batches-bin", "cifar-10-batches-py"
BATCHES = {"train": tuple(f"data_batch_{part}" for part in range(1, 6)), "test": ("test_batch",)}


def read_cifar10(root: Path | None, split: str = "train") -> RawDataset:
    """CIFAR-10 (Krizhevsky 2009): colour 32x32. split: train (five files) or test.

    The files lie in the folder that the publisher's archive unpacks to, or directly in cifar10/. The Python batches are
    pickles: they are read by a reader that knows numbers, texts, containers and byte arrays and runs no code.
    """
    names = BATCHES[choice("cifar10 split", split, BATCHES)]
    folder = nested(set_folder(root, "cifar10"), BINARY, PYTHON)
    if any((folder / name).is_file() for each in BATCHES.values() for name in each):
        parts = [_python_batch(existing_file(folder / name)) for name in names]
        classes = _python_classes(existing_file(folder / "batches.meta"))
    else:
        parts = [_binary_batch(existing_file(folder / f"{name}.bin")) for name in names]
        classes = _binary_classes(existing_file(folder / "batches.meta.txt"))
    if len(classes) != 10:
        raise UserError(f"{folder}: batches.meta gives {len(classes)} class names, expected 10")
    values = np.concatenate([values for values, _ in parts])
    images = values.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return RawDataset("cifar10", images, np.concatenate([labels for _, labels in parts]), classes)


def _binary_classes(path: Path) -> tuple[str, ...]:
    try:
        return tuple(path.read_text(encoding="utf-8").split())
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a list of class names in UTF-8") from None


def _binary_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    data = np.fromfile(path, np.uint8)
    if data.size == 0 or data.size % RECORD:
        raise UserError(f"{path}: {data.size} bytes, expected a multiple of {RECORD}")
    records = data.reshape(-1, RECORD)
    return records[:, 1:], _labels(path, records[:, 0].astype(np.int64))


def _python_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    batch = load_plain(path)
    if not isinstance(batch, dict) or not {b"data", b"labels"} <= batch.keys():
        raise UserError(f"{path}: not a batch of CIFAR-10 (expected the keys data and labels)")
    data, labels = batch[b"data"], batch[b"labels"]
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != VALUES or len(data) == 0:
        raise UserError(f"{path}: data must be a uint8 array (N, {VALUES})")
    if not isinstance(labels, list) or len(labels) != len(data) or not all(type(label) is int for label in labels):
        raise UserError(f"{path}: labels must be a list of {len(data)} whole numbers")
    return data, _labels(path, np.array(labels, np.int64))


def _python_classes(path: Path) -> tuple[str, ...]:
    meta = load_plain(path)
    names = meta.get(b"label_names") if isinstance(meta, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, bytes) for name in names):
        raise UserError(f"{path}: not the class names of CIFAR-10 (expected the key label_names)")
    return tuple(name.decode("utf-8", "replace") for name in names)


def _labels(path: Path, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    if not 0 <= labels.min() <= labels.max() <= 9:
        raise UserError(f"{path}: labels run from {labels.min()} to {labels.max()}, expected 0 to 9")
    return labels
