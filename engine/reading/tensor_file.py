"""Reading safetensors files: what their header says is checked before a tensor is read. It never runs code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from engine.errors import shortened, shown
from engine.reading.strict_json import parse_json

DTYPES = ("BOOL", "U8", "I8", "U16", "I16", "F16", "U32", "I32", "F32", "U64", "I64", "F64", "C64")
"""The types that NumPy has too, by the format's names."""

METADATA = "__metadata__"
LENGTH_BYTES = 8  # at the start of a file: how long its header is, the low byte first


def read_tensors(path: Path) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    """Metadata and tensors of a file; ValueError that says why where it is no whole one. OSError as reading has it."""
    _check_header(path)
    try:
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        raise ValueError(shortened(str(error), 300)) from None


def _check_header(path: Path) -> None:
    """What safetensors itself does not look at: names that stand twice, and types that cannot be read."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        if not 0 < length <= size - LENGTH_BYTES:
            raise ValueError(f"a header of {length} bytes in a file of {size}")
        header = parse_json(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    for name, entry in header.items():
        dtype = entry.get("dtype") if isinstance(entry, dict) else None
        if name != METADATA and dtype not in DTYPES:
            raise ValueError(f"the tensor {shortened(name)!r} has the type {shown(dtype)}; known: {', '.join(DTYPES)}")
