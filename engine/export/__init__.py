"""Trained networks as files that other programs run: `python -m engine.export NET OUT`, by the suffix of OUT."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from engine.errors import UserError

if TYPE_CHECKING:
    from engine.quantize.network import AnyNetwork


class Writer(Protocol):
    """What the module of a kind of file has."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options of this kind of file, none of which takes a place of its own on the command line."""

    def write(self, network: AnyNetwork, path: Path, options: Namespace) -> int | None:
        """Write the network to `path`, as a whole or not at all; the exit status, None for 0. UserError for a network
        that cannot be such a file, which names the layer."""


@dataclass(frozen=True)
class Kind:
    """A kind of file: its module, which is a `Writer`, and a line about it."""

    module: str
    line: str


WRITERS: Mapping[str, Kind] = {
    ".onnx": Kind("engine.export.onnx.command", "an ONNX model, which most inference engines run"),
    ".c": Kind("engine.export.c.command", "one C99 file without dependencies"),
    ".html": Kind("engine.export.page.command", "a web page that runs the network in the browser"),
    ".safetensors": Kind("engine.export.checkpoint", "a checkpoint, of a network that --from reads"),
}
"""Suffix of a file that is written → its kind."""


def writer_of(path: Path) -> Writer:
    """The module that writes such a file; UserError for a suffix that none writes."""
    kind = WRITERS.get(path.suffix.lower())
    if kind is None:
        raise UserError(f"{path}: cannot be written: expected a name that ends in {' or '.join(WRITERS)}")
    return cast(Writer, import_module(kind.module))
