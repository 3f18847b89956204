"""Locks on files: one runner per store, one process per run.

They are advisory locks of the operating system (flock), which end with the process that holds them, however it ends: a
lock file that a killed process leaves behind locks nothing. It holds the number of the process, for messages.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import UserError

LOCK = "study.lock"


@contextmanager
def only_runner(root: Path) -> Iterator[None]:
    """Hold the store in `root` for this process; UserError, which names the holder, where another one has it."""
    path = root / LOCK
    root.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise UserError(
                f"{root}: another runner (process {holder}) is at work here; wait until it has ended, "
                "or choose another folder (--out)"
            ) from None
        _write_number(file.fileno())
        yield


def holder(root: Path) -> str | None:
    """The number of the process that runs in the store, or None."""
    try:
        file = (root / LOCK).open()
    except OSError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read().strip() or "unknown"
    return None


@contextmanager
def only_process(folder: Path) -> Iterator[None]:
    """Hold a run's folder for this process; waits while another one, perhaps about to die, still works in it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _write_number(file.fileno())
        yield


def _write_number(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
