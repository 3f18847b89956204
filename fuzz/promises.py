"""What every harness holds its part of the project to, whatever the bytes are.

Out comes a value or a UserError, and nothing else; an error or a warning fills less than a screen; an input takes
at most MOST_SECONDS of computing, and one of less than SMALL bytes less than MOST_BYTES of memory.
"""

from __future__ import annotations

import logging
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import LONGEST, TREES, UserError

SMALL, MOST_BYTES = 100_000, 500_000_000
MOST_SECONDS = 10.0  # of the processor: a machine that others use, too, finds nothing because of them
MOST_LINES = 40
PAGE = resource.getpagesize()
RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class _Checked(logging.Handler):
    """Takes the warnings, which would fill the terminal, and holds them to the same length."""

    def emit(self, record: logging.LogRecord) -> None:
        check_message(record.getMessage())


_HANDLER = _Checked()


def check_message(text: str) -> None:
    """AssertionError for an empty message, or one of more than a screen."""
    assert text.strip(), "a message without words"
    assert len(text) <= LONGEST + 100, f"a message of {len(text)} characters: {text[:200]}"
    assert text.count("\n") <= MOST_LINES, f"a message of {text.count(chr(10))} lines: {text[:200]}"


@contextmanager
def promised(data: bytes) -> Iterator[None]:
    """Around all that reads the input: lets a UserError pass for an answer, and raises for a broken promise."""
    for tree in TREES:
        logger = logging.getLogger(tree)
        logger.propagate = False
        if _HANDLER not in logger.handlers:
            logger.addHandler(_HANDLER)
    before, peak, began = _resident(), _peak(), time.process_time()
    try:
        yield
    except UserError as error:
        check_message(str(error))
    seconds = time.process_time() - began
    assert seconds < MOST_SECONDS, f"{len(data)} bytes of input took {seconds:.1f} s"
    # A peak that an input before has reached says nothing about this one.
    if _peak() > peak and len(data) < SMALL:
        taken = _peak() - before
        assert taken < MOST_BYTES, f"{len(data)} bytes of input took {taken} of memory"


@contextmanager
def quiet() -> Iterator[None]:
    """Around a call of a library that prints of itself: its words go nowhere."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _resident() -> int:
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * PAGE if statm.is_file() else 0


def _peak() -> int:
    """Bytes of memory, the most that this process ever had; the system keeps it, so that no thread need watch."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT


def scratch() -> Path:
    """A new folder for the files of a harness, in memory where there is such a place; it goes with the process."""
    memory = Path("/dev/shm")
    folder = tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory if memory.is_dir() else None)
    _FOLDERS.append(folder)
    return Path(folder.name)


_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []
