"""One runner per store."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from engine.files import lock_holder, locked

LOCK = "study.lock"


def only_runner(root: Path) -> AbstractContextManager[None]:
    """Hold the store in `root` for this process; UserError, which names the holder, where another one has it."""
    return locked(
        root / LOCK,
        lambda holder: (
            f"{root}: another runner ({holder}) is at work here; wait until it has ended, "
            "or choose another folder (--out)"
        ),
    )


def holder(root: Path) -> str | None:
    """The process that runs in the store, in words, or None."""
    return lock_holder(root / LOCK)
