"""Processes that are measured in turn: each answers requests, one JSON object a line, and is stopped in between.

A side keeps its network, its data and its thread pool to itself. While another side works it is stopped by a signal, so
that nothing of it runs: no pool that spins, no thread that prepares data.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from engine.errors import UserError
from experiments.measuring.serving import Answer, serve

T = TypeVar("T")

__all__ = ["Answer", "Side", "SideEnded", "serve", "turns"]


class SideEnded(UserError):
    """The process of a side cannot answer any more; the message says why."""


class Side:
    """The process of one side. `command` runs `serve`.

    environment  is laid over this process's own
    python       the interpreter (default: this process's)
    messages     takes what the process writes to standard error; without it that is shown
    limit        seconds that an answer may take (default: any)
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        python: str = sys.executable,
        messages: Path | None = None,
        limit: float | None = None,
    ):
        self.name = name
        self._messages = messages
        self._limit = limit
        with ExitStack() as stack:
            self._process = subprocess.Popen(
                [python, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if messages is None else stack.enter_context(open(messages, "wb")),
                text=True,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # so that a signal reaches whatever processes the side starts
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Side:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._signal(signal.SIGKILL)
        self._process.communicate()

    def ask(self, **request: Any) -> Answer:
        """Wake the process, have it answer this request, and stop it again; SideEnded when it has ended or is late."""
        assert self._process.stdin is not None
        self._signal(signal.SIGCONT)
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None
        answer = self._answer()
        self._stop()
        return answer

    def _answer(self) -> Answer:
        assert self._process.stdout is not None
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self._signal(signal.SIGKILL)

        timer = threading.Timer(self._limit or threading.TIMEOUT_MAX, give_up)
        timer.start()
        line = self._process.stdout.readline()
        timer.cancel()
        if late.is_set():
            raise SideEnded(f"{self.name!r} gave no answer within {self._limit:g} s")
        try:
            answer: Answer = json.loads(line)
        except json.JSONDecodeError:
            raise self._ended() from None
        return answer

    def _ended(self) -> SideEnded:
        what = f"the process of {self.name!r} has ended"
        if self._messages is None:
            return SideEnded(f"{what}: its message stands above")
        status = self._process.wait()
        lines = self._messages.read_text(errors="replace").strip().splitlines()
        return SideEnded(f"{what} with status {status}" + (f": {lines[-1]}" if lines else ""))

    def _stop(self) -> None:
        """Return when the process stands still."""
        self._signal(signal.SIGSTOP)
        if hasattr(os, "waitid"):
            # An end must not be collected here: Popen wants to see it.
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            os.killpg(self.pid, number)


def turns(sides: Sequence[T], rounds: int) -> list[list[T]]:
    """The order of the sides in every round: each begins equally often."""
    return [[*sides[number % len(sides) :], *sides[: number % len(sides)]] for number in range(rounds)]
