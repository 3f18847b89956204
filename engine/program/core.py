"""The compiled core: whether it fits the sources beside this package, and the size of its team."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cnncore

from engine.arguments import integer

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


def set_num_threads(threads: int) -> None:
    """Size of the core's team from now on; 0 goes back to the default: CNN_NUM_THREADS, else OMP_NUM_THREADS, else the
    usable cores. UserError for what is no such number."""
    cnncore.set_num_threads(integer("set_num_threads", "the number of threads", threads, 0, cnncore.MAX_THREADS))
