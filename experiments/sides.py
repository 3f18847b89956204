"""Processes that are measured in turn: each answers requests, one JSON object a line, and is stopped in between.

A side keeps its network, its data and its thread pool to itself. While another side works it is stopped by a signal, so
that nothing of it runs: no pool that spins, no thread that prepares data.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

Request = Mapping[str, Any]
Answer = dict[str, Any]


class Side:
    """The process of one side. `command` runs `serve`; `environment` is laid over this process's own."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None):
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Side:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._signal(signal.SIGCONT)
        self._process.communicate()

    def ask(self, **request: Any) -> Answer:
        """Wake the process, have it answer this request, and stop it again."""
        from engine.errors import UserError

        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._signal(signal.SIGCONT)
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer: Answer = json.loads(self._process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            raise UserError(f"the process of {self.name!r} has ended: its message stands above") from None
        self._signal(signal.SIGSTOP)
        return answer

    def _signal(self, number: int) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)


def serve(handle: Callable[..., Answer]) -> None:
    """The other end: answer every line of standard input by `handle(**request)` until it is closed."""
    _die_with_parent()
    for line in sys.stdin:
        print(json.dumps(handle(**json.loads(line))), flush=True)


def _die_with_parent() -> None:
    """A process that is stopped could not notice that its parent was killed: let Linux end it then."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def turns(sides: Sequence[Side], rounds: int) -> list[list[Side]]:
    """The order of the sides in every round: each begins equally often."""
    return [[*sides[number % len(sides) :], *sides[: number % len(sides)]] for number in range(rounds)]
