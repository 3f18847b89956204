"""Where runs are trained: in this process one after the other, or in several processes at once. The workers of a
cluster are a third place (`experiments.cluster.cluster`).

An executor takes jobs and gives results back as they come. It knows nothing of stores and of the order of runs, so that
the same runner drives any of them. The results are the same: a training's bits depend neither on the number of threads
nor on what else runs.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Protocol

import cnncore

from engine.cli import in_plain_lines
from engine.errors import UserError
from experiments.records.result import Result
from experiments.running.execute import EpochRecord, Job, attempt_and_draw, failed
from experiments.tasks.samples import DataCache

OnEpoch = Callable[[Job, EpochRecord], None]


class Executor(Protocol):
    """Trains jobs, at most `capacity` at a time."""

    @property
    def capacity(self) -> int: ...

    def submit(self, job: Job) -> None:
        """Begin a job, or queue it."""

    def wait(self, on_epoch: OnEpoch) -> Result | None:
        """The result of the next job that ends, or None once the capacity has grown; meanwhile `on_epoch` hears of
        every epoch of any job.

        OSError where a job found the disk full."""

    def close(self) -> None:
        """End what still runs; its checkpoints stay."""


class InProcess:
    """One job after the other, in this process, on all threads."""

    capacity = 1

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._cache = DataCache()

    def submit(self, job: Job) -> None:
        self._jobs.append(job)

    def wait(self, on_epoch: OnEpoch) -> Result:
        job = self._jobs.popleft()
        return attempt_and_draw(job, self._cache, lambda record: on_epoch(job, record))

    def close(self) -> None:
        self._jobs.clear()


class Processes:
    """Jobs in processes of their own, which share the usable cores: each gets `threads` of them.

    The processes are spawned, not forked (OpenMP's team does not survive a fork), and end with this one, even when it
    is killed. A process that is killed costs its job, which has then failed; a new process takes its place.
    """

    def __init__(self, jobs: int):
        self.capacity = jobs
        self.threads = threads_each(jobs)
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []

    def submit(self, job: Job) -> None:
        worker = self._idle.pop() if self._idle else _Worker(self.threads)
        try:
            worker.begin(job)
        except ConnectionError:  # it was killed while it had nothing to do
            worker.end()
            worker = _Worker(self.threads)
            worker.begin(job)
        self._busy.append(worker)

    def wait(self, on_epoch: OnEpoch) -> Result:
        while True:
            for connection in wait([worker.connection for worker in self._busy]):
                worker = next(each for each in self._busy if each.connection is connection)
                assert worker.job is not None
                try:
                    kind, content = worker.connection.recv()
                except (EOFError, ConnectionError):
                    self._busy.remove(worker)
                    return failed(worker.job, RuntimeError(worker.obituary()))
                if kind == "epoch":
                    on_epoch(worker.job, content)
                    continue
                self._busy.remove(worker)
                self._idle.append(worker)
                if kind == "full":
                    raise OSError(*content)
                result: Result = content
                return result

    def close(self) -> None:
        for worker in (*self._idle, *self._busy):
            worker.end()
        self._idle, self._busy = [], []


class _Worker:
    """A process and the connection to it."""

    def __init__(self, threads: int):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=serve, args=(theirs, threads), daemon=True)
        cnncore.release()  # the worker inherits where this thread may run
        self.process.start()
        theirs.close()  # so that the process's end is an end of file here
        self.job: Job | None = None

    def begin(self, job: Job) -> None:
        self.job = job
        self.connection.send(job)

    def obituary(self) -> str:
        """Why the process is no more."""
        self.process.join()
        status = self.process.exitcode or 0
        self.connection.close()
        if status < 0:
            return f"its process was killed ({signal.Signals(-status).name}); the next command goes on with it"
        return f"its process ended with status {status}"

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def serve(connection: Connection, threads: int) -> None:
    """A worker's life: train what arrives, until the connection or the process that began it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the runner ends its workers itself
    threading.Thread(target=end_with_parent, daemon=True).start()
    with in_plain_lines():
        _train_all(connection, threads)


def _train_all(connection: Connection, threads: int) -> None:
    cache = DataCache()
    while True:
        try:
            job: Job = connection.recv()
        except EOFError:
            return
        message: tuple[str, Any]
        try:
            result = attempt_and_draw(job.on(threads), cache, lambda record: connection.send(("epoch", record)))
            message = "result", result
        except OSError as error:  # only a full disk comes through
            message = "full", (error.errno, error.strerror, str(error.filename or job.folder))
        connection.send(message)


def end_with_parent() -> None:
    """For a thread of a process that another one began: end this one when that one has ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def threads_each(jobs: int) -> int:
    """Threads of each of so many runs at a time; UserError for more runs than usable cores."""
    usable = usable_cores()
    if not 1 <= jobs <= usable:
        raise UserError(f"-j {jobs}: the number of processes must be in 1..{usable}, the number of usable cores")
    return min(usable // jobs, _default_team())


def usable_cores() -> int:
    """Cores that trainings may use together: CNN_NUM_THREADS, else affinity and quota. (OMP_NUM_THREADS says how many a
    process may use, not how many processes there may be.)"""
    return _default_team() if os.environ.get("CNN_NUM_THREADS") else cnncore.usable_cpus()


def _default_team() -> int:
    """Size of a process's team where nothing was said here."""
    before = cnncore.get_num_threads()
    cnncore.set_num_threads(0)
    try:
        return cnncore.get_num_threads()
    finally:
        cnncore.set_num_threads(before)
