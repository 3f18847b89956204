"""Readers: one function per data set, from its publisher's files to a RawDataset; a file per family of formats.

Each takes the folder that holds the sets (`root`, the set lies in `root/<name>`) and options of its own. A file that is
missing, cut off or not what it should be raises UserError with its name and what was expected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from engine.data.dataset import RawDataset
from engine.data.readers.archives import read_digits5k, read_npz
from engine.data.readers.chars74k import read_chars74k
from engine.data.readers.cifar10 import read_cifar10
from engine.data.readers.folders import read_cmaterdb, read_folder, read_scenes
from engine.data.readers.idx import read_emnist, read_mnist
from engine.data.readers.masks import read_segmentation
from engine.data.readers.numtadb import read_numtadb
from engine.data.readers.tables import read_csv
from engine.errors import UserError, unknown
from engine.reading.schema import read_arguments

__all__ = ["READERS", "WITH_MASKS", "read_csv", "read_dataset"]

READERS: Mapping[str, Callable[..., RawDataset]] = MappingProxyType(
    {
        "mnist": read_mnist,
        "emnist": read_emnist,
        "cifar10": read_cifar10,
        "numtadb": read_numtadb,
        "cmaterdb": read_cmaterdb,
        "scenes": read_scenes,
        "chars74k": read_chars74k,
        "digits5k": read_digits5k,
        "folder": read_folder,
        "npz": read_npz,
        "segmentation": read_segmentation,
    }
)


# Sets of grey images, and of others, that no library decodes or resizes. Of every other one OpenCV decides the pixels.
GREY_AS_STORED, AS_STORED = frozenset({"mnist", "emnist"}), frozenset({"mnist", "emnist", "cifar10", "npz"})

WITH_MASKS = frozenset({"segmentation"})  # sets that have a label for every pixel


def read_dataset(name: str, root: Path | None, options: Mapping[str, Any]) -> RawDataset:
    """Read the set `name` with the options of its reader; UserError for a name or option that does not exist."""
    if name not in READERS:
        if Path(name).is_dir():
            raise UserError(
                f"unknown data set {name!r}; for a folder of images of your own write "
                f"dataset: {{name: folder, train: {{path: {name}}}}}"
            )
        raise unknown("data set", name, READERS)
    reader = READERS[name]
    arguments = read_arguments(partial(reader, root), options, f"data set {name!r}")
    return reader(root, **arguments)
