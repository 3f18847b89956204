"""Networks from the files of other programs, by the suffix of the file."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import UserError

if TYPE_CHECKING:
    from engine.network.network import Network

READERS: Mapping[str, str] = {".onnx": "engine.importing.onnx"}
"""Suffix of a file that is read → the module with its `read(path)`, which gives a network."""


def read(path: Path) -> Network:
    """The network in a file of another program; UserError where the file is none that we read."""
    if path.suffix.lower() not in READERS:
        raise UserError(f"{path}: cannot be read: expected a name that ends in {' or '.join(READERS)}")
    network: Network = import_module(READERS[path.suffix.lower()]).read(path)
    return network
