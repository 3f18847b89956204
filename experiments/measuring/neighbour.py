"""A foreign process that is busy all the time, as on a machine that others use too."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from engine.errors import UserError

COMMAND = ("yes",)
WORDS = "a busy process, `yes > /dev/null`, on whatever processor the system gives it"


@contextmanager
def busy() -> Iterator[int]:
    """The process id of one that runs until the end of the block; UserError where there is no `yes`."""
    try:
        process = subprocess.Popen(COMMAND, stdout=subprocess.DEVNULL)
    except OSError as error:
        raise UserError(f"a busy neighbour needs the command {COMMAND[0]}: {error.strerror}") from None
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()
