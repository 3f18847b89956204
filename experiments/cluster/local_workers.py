"""A Dask scheduler and its workers on this machine (`--scheduler local:N`).

The scheduler lives in this process, each worker in one of its own. Dask's nannies would replace a worker that is
killed, but give up one that is killed while it begins; so this process tends its workers itself. They end with it, even
when it is killed. All listen on the loopback interface alone, and there is no dashboard.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import signal
import threading
from multiprocessing.context import SpawnProcess

import cnncore
import dask
import distributed

from engine.cli import in_plain_lines
from engine.errors import UserError
from experiments.running.executors import end_with_parent, threads_each

HOST = "127.0.0.1"
# So many that end in a row before any has got through its beginning: it is not a matter of being killed any more.
FALSE_STARTS = 20
# Dask's pages of facts and figures: none are served.
_NO_PAGES: dict[str, list[str]] = {"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []}


class LocalWorkers:
    """`number` workers that share the usable cores; `tend` replaces those that have ended."""

    def __init__(self, number: int):
        self._threads = threads_each(number)
        self._ended = 0
        with dask.config.set(_NO_PAGES):
            self._cluster = distributed.LocalCluster(
                n_workers=0,
                host=HOST,
                dashboard_address=f"{HOST}:0",
                scheduler_kwargs={"dashboard": False},
                silence_logs=logging.CRITICAL + 1,
            )
        self.address: str = self._cluster.scheduler_address
        self._processes = [self._begun() for _ in range(number)]

    def tend(self, welcomed: bool) -> None:
        """Begin a new worker for each that has ended; `welcomed` says that one has got through its beginning since the
        last call. UserError where they all end before that."""
        if welcomed:
            self._ended = 0
        for index, process in enumerate(self._processes):
            if process.is_alive():
                continue
            self._ended += 1
            if self._ended > FALSE_STARTS:
                raise UserError(f"workers on this machine end as soon as they begin (status {process.exitcode})")
            self._processes[index] = self._begun()

    def close(self) -> None:
        """End the workers at once (their checkpoints stay), and the scheduler."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()
        self._cluster.close()

    def _begun(self) -> SpawnProcess:
        process = multiprocessing.get_context("spawn").Process(
            target=serve, args=(self.address, self._threads), daemon=True
        )
        cnncore.release()  # the worker inherits where this thread may run
        process.start()
        return process


def serve(address: str, threads: int) -> None:
    """A worker's life, until its scheduler or the process that began it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the runner ends its workers itself
    threading.Thread(target=end_with_parent, daemon=True).start()
    with in_plain_lines():
        asyncio.run(_serve(address, threads))


def silence() -> None:
    """Keep Dask's loggers quiet: what they have to say of workers that come and go is said by the cluster."""
    for name in (distributed.__name__, *logging.root.manager.loggerDict):
        if name.split(".")[0] == distributed.__name__:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


async def _serve(address: str, threads: int) -> None:
    silence()
    with dask.config.set(_NO_PAGES):
        # A training needs the memory that it needs: its worker is not to be paused for that.
        worker = distributed.Worker(address, nthreads=threads, host=HOST, dashboard_address=f"{HOST}:0", memory_limit=0)
        async with worker:
            await worker.finished()
