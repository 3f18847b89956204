"""Runs sent to workers of a Dask scheduler: `--scheduler tcp://HOST:PORT`, or `local:N` for one on this machine.

Each worker trains one run at a time on as many threads as it has (`dask worker --nthreads`), and each run is sent to a
worker by name, so that this side knows who trains what:

- Workers may come and go. One that dies costs its run nothing but time: the run is sent to another one, which goes on
  from the checkpoint where it sees the store's folder, and begins anew where it does not. A run in which DEATHS workers
  die one after the other, without a new epoch or checkpoint in between, has failed: it is what kills them.
- A worker with other code, or another instruction set, would give other results: it gets no run and is named on stderr.
  Where there is no other one, the study stops (UserError).
- While there is no worker, the study waits and says so: a queue may take hours to begin one.

What happens on the workers is in `experiments.cluster.worker`.
"""

from __future__ import annotations

import dataclasses
import math
import os
import queue
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import cnncore
from distributed import CancelledError, Client, Future, KilledWorker

from engine.errors import UserError
from engine.files import write_atomically
from experiments.cluster import worker
from experiments.cluster.courier import Courier, order_of
from experiments.cluster.local_workers import LocalWorkers, silence
from experiments.cluster.members import Held, Lost, Member, last_step
from experiments.cluster.scheduler import Scheduler
from experiments.records.result import Result
from experiments.running.execute import FULL_DISK, EpochRecord, Job, failed
from experiments.running.executors import OnEpoch
from experiments.tasks.fingerprint import Fingerprints, code_hash

# A run that kills its worker does so again at the same step. Kills from outside hit a run that many times in a row
# without any progress only if they come faster than a worker starts.
DEATHS = 5
CONNECT_SECONDS = 10.0
POLL_SECONDS = 0.5
PATIENCE_SECONDS = 5.0  # without any worker, until a line says so
ANSWER_SECONDS = 60.0  # for a small result of a task that has ended

T = TypeVar("T")


class Cluster:
    """An executor (`experiments.running.executors`) whose runs are trained by the workers of a Dask scheduler.

    root           of the store
    fingerprints   of the runner, which spare it the hashing of what it has hashed before
    """

    def __init__(self, scheduler: Scheduler, root: Path, fingerprints: Fingerprints | None = None):
        self._scheduler, self._fingerprints = scheduler, fingerprints or Fingerprints()
        self._client: Client | None = None
        self._local: LocalWorkers | None = None
        self._session = uuid.uuid4().hex
        self._token = Path(os.path.abspath(root), f".runner-{self._session}")
        self._inbox: queue.SimpleQueue[tuple[str, str, EpochRecord]] = queue.SimpleQueue()
        self._members: dict[str, Member] = {}
        self._queue: deque[Held] = deque()
        self._ended: deque[Result] = deque()
        self._courier = Courier(self._session, self._ask)
        self._told = 0
        self._welcomed = False
        self._refusals: list[str] = []  # not told yet
        self._looked = 0.0
        self._lonely_since = time.monotonic()
        if scheduler.address:
            self._connect()  # a wrong address shows at once; workers are started when there is something to train

    # ---- as an executor ----

    @property
    def capacity(self) -> int:
        """Workers that are there now and take runs, at least 1: a job can always be handed over, and waits here."""
        if self._client is None:
            return self._scheduler.workers
        return max(1, sum(each.state != "refused" for each in self._members.values()))

    def submit(self, job: Job) -> None:
        self._connect()
        if not self._token.exists():
            self._token.parent.mkdir(parents=True, exist_ok=True)
            for stale in self._token.parent.glob(".runner-*"):  # the store is ours by now: their runners were killed
                stale.unlink()
            write_atomically(self._token, b"")
        self._queue.append(Held(job, self._order(job)))

    def wait(self, on_epoch: OnEpoch) -> Result | None:
        while True:
            self._look()
            if self._ended:
                return self._ended.popleft()
            self._assign()
            grown, self._told = self.capacity > self._told, self.capacity
            if grown:
                return None
            try:
                kind, key, record = self._inbox.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            member = next((each for each in self._members.values() if each.key == key), None)
            if member is None:  # of a worker that was given up
                continue
            if kind == "epoch":
                self._tell(member.held, record, on_epoch)
            elif member.state == "asked":
                self._welcome(member)
            else:
                self._take(member, on_epoch)

    def close(self) -> None:
        client, local = self._client, self._local
        self._client = self._local = None
        self._queue.clear()
        if client is not None:
            running = [each.future for each in self._members.values() if each.future is not None]
            self._members = {}
            if client.status == "running":
                client.cancel(running)  # which ends their trainings (`experiments.cluster.worker.while_wanted`)
            client.close(timeout=CONNECT_SECONDS)
        if local is not None:
            local.close()
        self._token.unlink(missing_ok=True)

    # ---- the scheduler ----

    def _connect(self) -> None:
        """Connect to the scheduler; the one on this machine is started first."""
        if self._client is not None:
            return
        silence()
        address = self._scheduler.address
        if not address:
            self._local = LocalWorkers(self._scheduler.workers)
            address = self._local.address
        try:
            self._client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            detail = " ".join(str(error).split())
            raise UserError(
                f"--scheduler {address}: no Dask scheduler answered within {CONNECT_SECONDS:g} s ({detail})"
            ) from None
        self._client.subscribe_topic(self._session, self._heard)

    @property
    def _dask(self) -> Client:
        assert self._client is not None, "nothing was submitted"
        return self._client

    def _heard(self, event: tuple[float, Any]) -> None:
        """Called by the client's thread for each epoch that a worker tells of."""
        message = event[1]
        self._inbox.put(("epoch", message["task"], message["record"]))

    def _workers(self) -> set[str]:
        """Addresses of the workers that are there now; UserError where the scheduler has gone."""
        try:
            if self._dask.status == "running":
                return set(self._dask.nthreads())
        except OSError:
            pass
        raise UserError(
            f"the scheduler {self._scheduler.address or 'of this machine'} has gone; what has finished is on record, "
            "and the same command goes on from there"
        )

    def _look(self) -> None:
        """Greet workers that have come, and give the runs of those that have gone to others."""
        if time.monotonic() - self._looked < POLL_SECONDS:
            return
        self._looked = time.monotonic()
        if self._local is not None:
            self._local.tend(any(each.state in ("idle", "busy") for each in self._members.values()))
        there = self._workers()
        for address in set(self._members) - there:
            self._lose(self._members[address])
        for address in sorted(there - set(self._members)):
            member = self._members[address] = Member(address)
            self._send(member, worker.greeting)
        asked = any(each.state == "asked" for each in self._members.values())
        if self._refusals and not asked and not self._welcomed:
            raise UserError(f"no worker can train this study: {'; '.join(self._refusals)}")
        if self._welcomed:
            self._say_all(self._refusals)
        self._say_where_lonely()

    def _say_where_lonely(self) -> None:
        """A line on stderr after a while without workers."""
        now = time.monotonic()
        if any(each.state != "refused" for each in self._members.values()):
            self._lonely_since = now
        elif self._scheduler.address and self._lonely_since < now - PATIENCE_SECONDS:
            self._lonely_since = math.inf  # said once
            where = self._scheduler.address
            print(f"no worker at {where}; waiting for one (Ctrl-C ends)", file=sys.stderr, flush=True)

    def _say_all(self, texts: list[str]) -> None:
        while texts:
            print(texts.pop(0), file=sys.stderr, flush=True)

    def _send(self, member: Member, task: Callable[..., Any], *arguments: Any) -> None:
        """Begin a task on a worker; that it has ended is told in the inbox."""
        key, inbox = f"{task.__name__}-{uuid.uuid4().hex}", self._inbox
        member.key = key
        member.future = self._dask.submit(task, *arguments, key=key, workers=[member.address])
        member.future.add_done_callback(lambda future: inbox.put(("done", key, {})))

    def _ask(self, member: Member, task: Callable[..., T], *arguments: Any) -> T:
        """The result of a short task on a worker, waited for; Lost where the worker goes meanwhile."""
        key, done = f"{task.__name__}-{uuid.uuid4().hex}", threading.Event()
        future = self._dask.submit(task, *arguments, key=key, workers=[member.address])
        future.add_done_callback(lambda future: done.set())
        while not done.wait(1.0):
            if member.address not in self._workers():
                raise Lost
        result: T = self._result(future)
        return result

    def _result(self, future: Future) -> Any:
        """The result of a task that has ended, or its error; Lost where it went with its worker."""
        try:
            return future.result(timeout=ANSWER_SECONDS)
        except (CancelledError, KilledWorker, TimeoutError):
            raise Lost from None

    # ---- workers and their runs ----

    def _order(self, job: Job) -> worker.Order:
        return order_of(job, self._fingerprints, self._token, self._session)

    def _welcome(self, member: Member) -> None:
        """Read the answer of a worker that was greeted: it gets runs, or is refused."""
        assert member.future is not None
        try:
            answer = self._result(member.future)
        except Lost:
            self._lose(member)
            return
        except Exception as error:  # it has no such module, or cannot import it
            self._refuse(member, f"it cannot train ({type(error).__name__}: {' '.join(str(error).split())})")
            return
        member.future, member.host = None, answer["host"]
        if answer["code"] != code_hash():
            self._refuse(member, f"it has other code ({answer['code'][:12]}) than the runner ({code_hash()[:12]})")
        elif answer["isa"] != cnncore.isa():
            why = f"its instruction set is {answer['isa']}, the runner's {cnncore.isa()}"
            self._refuse(member, f"{why}, which rounds otherwise; set CNN_ISA to one that both have")
        else:
            member.state, self._welcomed = "idle", True

    def _refuse(self, member: Member, why: str) -> None:
        member.state, member.future = "refused", None
        advice = "" if "CNN_ISA" in why else "; install the same version of this project on both (pip install)"
        self._refusals.append(f"worker {member.address} gets no run: {why}{advice}")
        self._welcomed = any(each.state in ("idle", "busy") for each in self._members.values())

    def _lose(self, member: Member) -> None:
        """Forget a worker that has gone; its run is the next that another one gets."""
        self._members.pop(member.address, None)
        if member.future is not None:
            member.future.release()
        held, member.held = member.held, None
        if held is None:
            return
        progress = (held.epochs, last_step(held.job.folder))
        held.deaths = 1 if progress > held.progress else held.deaths + 1
        held.progress = max(progress, held.progress)
        if held.deaths < DEATHS:
            self._queue.appendleft(held)
            return
        text = (
            f"{held.deaths} workers died in this run one after the other, without a new epoch or checkpoint in between "
            f"(the last one: {member.address}); out of memory? The next command tries again"
        )
        self._ended.append(failed(held.job, RuntimeError(text)))

    def _assign(self) -> None:
        for member in self._members.values():
            if self._queue and member.state == "idle":
                self._begin(member, self._queue.popleft())

    def _begin(self, member: Member, held: Held) -> None:
        member.state, member.held = "busy", held
        self._send(member, worker.work, held.order)

    def _tell(self, held: Held | None, record: EpochRecord, on_epoch: OnEpoch) -> None:
        """Hand on an epoch, unless it was trained before by a worker that died then."""
        if held is not None and record["epoch"] > held.epochs:
            held.epochs = record["epoch"]
            on_epoch(held.job, record)

    def _take(self, member: Member, on_epoch: OnEpoch) -> None:
        """What a worker says when its task has ended."""
        held = member.held
        assert held is not None and member.future is not None
        try:
            reply = self._result(member.future)
            if isinstance(reply, worker.Missing):
                self._courier.supply(member, held, reply)
                self._begin(member, held)
                return
            if isinstance(reply, worker.Refused):
                self._refuse(member, reply.why)
                member.held = None
                self._queue.appendleft(held)
                return
            for record in reply.epochs:  # what it told may still be on its way
                self._tell(held, record, on_epoch)
            if reply.fetch is not None:
                self._courier.fetch(member, held.job, reply.fetch)
            result = dataclasses.replace(reply.result, folder=held.job.folder)
        except Lost:
            self._lose(member)
            return
        except OSError as error:
            if error.errno in FULL_DISK:
                raise OSError(error.errno, f"{error.strerror} (worker {member.address})", error.filename) from None
            result = failed(held.job, error)
        except Exception as error:  # such as a set of data that was changed while it was sent
            result = failed(held.job, error)
        member.state, member.held, member.future = "idle", None, None
        self._ended.append(result)
