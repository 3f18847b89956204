"""Checkpoints, which the engine itself reads: for networks that came from elsewhere."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from engine.network.network import Network
from engine.quantize.network import QuantizedNetwork, in_float32


def add_arguments(parser: ArgumentParser) -> None:
    """A checkpoint has no options."""


def write(network: Network | QuantizedNetwork, path: Path, options: Namespace) -> None:
    """The network with its weights, what is done to images, and the names of its classes."""
    in_float32(network, path.suffix).save(path)
