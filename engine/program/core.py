"""Whether the compiled core fits the sources beside this package."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cnncore

HEADER = Path(__file__).resolve().parents[2] / "csrc" / "include" / "cnn.h"


def require_matching_core(header: Path = HEADER) -> None:
    """In a source checkout: ImportError where the core was built from another cnn.h than the one that lies there.

    An installed package has no header beside it, and nothing is compared.
    """
    if not header.is_file():
        return
    if hashlib.sha256(header.read_bytes()).hexdigest() != cnncore.header_hash():
        raise ImportError(
            f"the compiled core was built from another version of {header.name} than the one in this checkout: "
            "rebuild it with `pip install .`"
        )
