"""Writing files so that a reader, or a crash, never meets half of one."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

# Files of a run folder; any of RUN_FILES with something in it makes the folder one that holds a run.
BEST, LAST, CONFIG, RESULT, LOG = "best.safetensors", "last.safetensors", "config.yaml", "result.json", "log.jsonl"
RUN_FILES = (BEST, LAST, RESULT, LOG)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace `path` by `data`: a temporary file beside it, fsync, rename, fsync of the folder. Makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
