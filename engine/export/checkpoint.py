"""Checkpoints, which the engine itself reads: for networks that came from elsewhere."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from engine.quantize.network import AnyNetwork, in_float32


def add_arguments(parser: ArgumentParser) -> None:
    """A checkpoint has no options."""


def write(network: AnyNetwork, path: Path, options: Namespace) -> None:
    """The network with its weights, what is done to images, and the names of its classes."""
    in_float32(network, f"be written as {path.suffix}").save(path)
