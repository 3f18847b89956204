"""Writing files so that a reader, or a crash, never meets half of one, and every reader of JSON can read them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO


def _null(value: float) -> Any:
    return None


def json_text(value: Any, indent: int | None = None, stand_in: Callable[[float], Any] = _null) -> str:
    """The value as JSON; `stand_in` says what NaN and infinities, which JSON lacks, become."""
    return json.dumps(_finite(value, stand_in), indent=indent, allow_nan=False)


def _finite(value: Any, stand_in: Callable[[float], Any]) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else stand_in(value)
    if isinstance(value, Mapping):
        return {key: _finite(each, stand_in) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each, stand_in) for each in value]
    return value


def write_atomically(path: Path, data: bytes, keep: Path | None = None) -> None:
    """Replace `path` by `data`: a temporary file beside it, fsync, rename, fsync of the folder. Makes the folder.

    keep: the name that the file that was there gets. For a moment between two renames there is none of the name `path`.
    """
    with replacing(path, keep) as file:
        file.write(data)


@contextmanager
def replacing(path: Path, keep: Path | None = None) -> Iterator[BinaryIO]:
    """A temporary file beside `path` that takes its place at the end of the block, and vanishes on an error.

    keep: the name that the file that was there gets.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if keep is not None and path.exists():
            path.replace(keep)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, after a rename in it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
