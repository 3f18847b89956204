"""The inner end of a measured process: it answers requests, one JSON object a line. The standard library is enough."""

from __future__ import annotations

import ctypes
import json
import signal
import sys
from collections.abc import Callable
from typing import IO, Any

Answer = dict[str, Any]


def serve(handle: Callable[..., Answer], answers: IO[str] | None = None) -> None:
    """Answer every line of standard input by `handle(**request)` until it is closed."""
    _die_with_parent()
    for line in sys.stdin:
        print(json.dumps(handle(**json.loads(line))), file=answers, flush=True)


def _die_with_parent() -> None:
    """A process that is stopped could not notice that its parent was killed: let Linux end it then."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
