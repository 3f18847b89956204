"""Work on threads with its results in order, however many threads there are."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import cnncore

Item = TypeVar("Item")
Result = TypeVar("Result")

PER_PART = 16  # images that a thread has at a time: so few that a set of some hundred photographs fills all threads
GAIN = 0.9  # of the time of one thread that several must stay below to be worth it


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int, ahead: int, name: str = "cnn-worker"
) -> Iterator[Result]:
    """work(item) for each item, in order, on so many threads; up to `ahead` items are begun before their turn.

    An error is raised at the turn of its item. When the iterator is closed, what has not begun is not done any more.
    """
    pool = ThreadPoolExecutor(threads, name, cnncore.release)
    try:
        rest = iter(items)
        waiting: deque[Future[Result]] = deque(pool.submit(work, item) for item in islice(rest, ahead))
        while waiting:
            result = waiting.popleft().result()
            # The next is begun before this one is handed on: the threads work while the caller does.
            waiting.extend(pool.submit(work, item) for item in islice(rest, 1))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


def in_parts(work: Callable[[range], Result], count: int, threads: int | None = None) -> Iterator[Result]:
    """work(indices) for all indices below `count`, PER_PART at a time, in order: for images that are read and changed.

    On `threads` threads (None: the core's number), or on one where that is faster. Small images are: most of their time
    is spent under the interpreter's lock, which several threads take from each other at every call into OpenCV. The
    first parts tell, since it depends on the kind of file, the steps and the machine. OpenCV starts no threads of its
    own meanwhile.
    """
    threads = threads or cnncore.get_num_threads()
    parts = (range(start, min(start + PER_PART, count)) for start in range(0, count, PER_PART))
    yield from map(work, islice(parts, 1))  # what is loaded at the first call, OpenCV as well, does not count
    with _opencv_on_one_thread:
        if threads > 1:
            alone, together = _Stopwatch(), _Stopwatch()
            yield from alone.timed(map(work, islice(parts, 2)))
            yield from together.timed(in_order(work, islice(parts, 4 * threads), threads, 2 * threads))
            threads = threads if together.mean < GAIN * alone.mean else 1
        yield from in_order(work, parts, threads, 2 * threads) if threads > 1 else map(work, parts)


class _Stopwatch:
    """The mean seconds that an iterator takes to give an item."""

    def __init__(self) -> None:
        self.seconds, self.items = 0.0, 0

    def timed(self, items: Iterator[Item]) -> Iterator[Item]:
        """The items; what their user does in between does not count."""
        begin = time.perf_counter()
        for item in items:
            self.items += 1
            self.seconds += time.perf_counter() - begin
            yield item
            begin = time.perf_counter()

    @property
    def mean(self) -> float:
        return self.seconds / max(1, self.items)


class _OneThread:
    """OpenCV's own threads are off while anyone is within, if it is loaded: its setting is one for the whole process,
    and whoever comes first and leaves last keeps and gives back what it was."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._within = self._before = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._within and (cv2 := sys.modules.get("cv2")) is not None:
                self._before = cv2.getNumThreads()
                cv2.setNumThreads(1)
            self._within += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._within -= 1
            if not self._within and self._before:
                sys.modules["cv2"].setNumThreads(self._before)
                self._before = 0


_opencv_on_one_thread = _OneThread()
