"""What a worker of a cluster does: it trains the runs that `experiments.cluster.cluster` sends it, one at a time.

Where the worker sees the store's folder (a shared file system, or the same machine), it trains there, so that a run
that was cut off goes on from its checkpoint. Where it does not, it trains in a folder of its own, named after the run's
key, and the runner fetches that folder when the run has ended. Data are used where they lie if their content is what
the runner has; else they are sent once and kept under their hash.

    LOCAL/dask-scratch-space/cnn-engine/data/HASH/         sets that were sent (LOCAL: the worker's --local-directory)
    LOCAL/dask-scratch-space/cnn-engine/runs/NAME-KEY/     runs that the runner has not fetched yet
"""

from __future__ import annotations

import dataclasses
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import cnncore
from distributed import Worker, get_worker

from engine.errors import UserError
from engine.recipe.config import TrainConfig
from experiments.cluster.shipping import PIECE, moved, pack, put_piece, remove_stale, unpack_data
from experiments.records.result import Result
from experiments.running.execute import EpochRecord, Job, attempt
from experiments.tasks.fingerprint import Fingerprints, code_hash, files_of
from experiments.tasks.keys import Run
from experiments.tasks.samples import DataCache

FOLDER = "cnn-engine"
WATCH_SECONDS = 0.5


@dataclass(frozen=True)
class Order:
    """A job for a worker, which may have another disk, other data, or even another version of this code.

    job      its folder is absolute
    key      of the run, as the runner has it
    code     hash of the runner's code
    configs  the job's configuration, and the same with absolute paths: where the data may lie on the worker, too
    places   files and folders that it reads, with the hash of each (those of a package are left out)
    data     hash of all that it reads
    token    a file that exists where the worker sees the store
    topic    under which the worker tells of epochs, each with the key of its task
    """

    job: Job
    key: str
    code: str
    configs: tuple[TrainConfig, ...]
    places: tuple[tuple[Path, str], ...]
    data: str
    token: Path
    topic: str


@dataclass(frozen=True)
class Refused:
    """The worker must not train this run."""

    why: str


@dataclass(frozen=True)
class Missing:
    """The worker does not have the data; `hashes` of those places that would have to be sent."""

    hashes: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Ended:
    """How the run ended, and its epochs that were trained here. `fetch`: its packed folder, where the runner does not
    see it."""

    result: Result
    epochs: tuple[EpochRecord, ...]
    fetch: Path | None = None


@dataclass
class _State:
    """What a worker process keeps from run to run. `turn`: the size of the thread team is the process's, so one trains
    at a time, however many threads Dask has."""

    data: DataCache = field(default_factory=DataCache)
    fingerprints: Fingerprints = field(default_factory=Fingerprints)
    turn: threading.Lock = field(default_factory=threading.Lock)


@cache
def _state() -> _State:
    return _State()


class Unwanted(BaseException):
    """The runner has gone or has withdrawn the run. No Exception, so that nothing takes it for a failure of the run."""


# ---- tasks; each runs on the worker that it is sent to ----


def greeting() -> dict[str, str]:
    """What the runner must know of a worker before it sends runs there. Plain, so that every version understands it."""
    return {"code": code_hash(), "isa": cnncore.isa(), "host": f"{socket.gethostname()}:{own_folder()}"}


def work(order: Order) -> Ended | Refused | Missing:
    """Train the run, or say why not. OSError where the disk is full."""
    state = _state()
    with state.turn:
        why = refusal(order)
        if why:
            return Refused(why)
        config, errors = located(order, state.fingerprints)
        if config is None:
            kept = [content for place, content in order.places if _kept(content, place).exists()]
            return Missing(tuple(each for _, each in order.places if each not in kept), "; ".join(errors))
        return trained(dataclasses.replace(order, job=dataclasses.replace(order.job, config=config)), state.data)


def receive(name: str, offset: int, piece: bytes) -> None:
    """A piece of a packed set of data."""
    archive = _arrived(name)
    if offset == 0:
        remove_stale(archive.parent)
    put_piece(archive, offset, piece)


def unpack(name: str, content: str) -> None:
    """All pieces are there: keep the set under its hash. UserError where it has another one."""
    unpack_data(_arrived(name), own_folder() / "data" / content, content)


def fetch(archive: Path, offset: int) -> bytes:
    """The piece of a packed run that begins at `offset`; empty at its end."""
    with archive.open("rb") as file:
        file.seek(offset)
        return file.read(PIECE)


def forget(archive: Path) -> None:
    """The runner has the run: remove what was kept for it."""
    archive.unlink(missing_ok=True)
    shutil.rmtree(archive.with_suffix(""), ignore_errors=True)


# ---- what they consist of ----


def own_folder() -> Path:
    """Where this worker keeps files, beside Dask's own; shared by all workers of the host."""
    return Path(get_worker().local_directory).parent / FOLDER


def _arrived(name: str) -> Path:
    return own_folder() / "arrived" / f"{name}.zip"


def _kept(content: str, place: Path) -> Path:
    return own_folder() / "data" / content / place.name


def refusal(order: Order) -> str:
    """Why this worker would not give the run's result; empty where it would."""
    if order.code != code_hash():
        return f"other code ({code_hash()[:12]}) than the runner's ({order.code[:12]})"
    run = order.job.run
    here = Run(run.row, run.seed, run.config, run.score_epoch, run.data, run.needs)
    if here.key != order.key:
        return f"it makes run {here.key[:12]} of the runner's {order.key[:12]} (instruction set here: {cnncore.isa()})"
    return ""


def located(order: Order, fingerprints: Fingerprints) -> tuple[TrainConfig | None, list[str]]:
    """The configuration with the data where this worker finds them, or None and what was wrong in each place."""
    kept = {place: _kept(content, place) for place, content in order.places}
    candidates = [*order.configs, *([moved(order.configs[0], kept)] if kept else [])]
    errors: list[str] = []
    for config in candidates:
        try:
            content = fingerprints.data(config)
        except UserError as error:
            errors.append(str(error))
            continue
        if content == order.data:
            return config, errors
        errors.append(f"other content ({content[:12]}) than the runner has ({order.data[:12]})")
    return None, list(dict.fromkeys(errors))


def trained(order: Order, cache: DataCache) -> Ended:
    """Train the order's job, in the store where it is seen from here, else in a folder of this worker's own."""
    worker = get_worker()
    task = worker.get_current_task()
    seen = order.token.exists()
    folder = order.job.folder if seen else own_folder() / "runs" / order.job.folder.name
    epochs: list[EpochRecord] = []

    def tell(record: EpochRecord) -> None:
        epochs.append(record)
        worker.log_event(order.topic, {"task": task, "record": record})

    job = dataclasses.replace(order.job, folder=folder).on(worker.state.nthreads)
    with while_wanted(worker) as check:
        result = attempt(job, cache, tell, check)
    if seen or not folder.is_dir() or not files_of(folder):
        return Ended(result, tuple(epochs))
    archive = folder.with_name(f"{folder.name}.zip")
    pack(folder, archive)
    return Ended(result, tuple(epochs), archive)


@contextmanager
def while_wanted(worker: Worker) -> Iterator[Callable[[], None]]:
    """Gives a function that raises `Unwanted` once the scheduler no longer wants this task: the runner was stopped or
    killed, or has lost this worker. Dask itself lets a task that has begun run to its end, which may take hours."""
    key = worker.get_current_task()
    ended, unwanted = threading.Event(), threading.Event()

    def watch() -> None:
        while not ended.wait(WATCH_SECONDS):
            task = worker.state.tasks.get(key)
            if task is None or task.state != "executing":
                unwanted.set()

    def check() -> None:
        if unwanted.is_set():
            raise Unwanted

    threading.Thread(target=watch, name="while-wanted", daemon=True).start()
    try:
        yield check
    finally:
        ended.set()
