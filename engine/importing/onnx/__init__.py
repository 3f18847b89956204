"""Networks from ONNX models."""

from __future__ import annotations

from pathlib import Path

from engine.importing.onnx.network import from_onnx
from engine.network.network import Network


def read(path: Path) -> Network:
    """The network in the file, for `python -m engine.export --from`."""
    return from_onnx(path)
