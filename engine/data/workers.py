"""Work on threads with its results in order, however many threads there are."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import cnncore

Item = TypeVar("Item")
Result = TypeVar("Result")


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
