"""Prepared samples on disk: the deterministic steps of a data set run once, later runs map the result into memory.

An entry is a folder `KEY/` under the cache folder: samples.u8, the bytes of uint8 (N, C, H, W), and about.json, which
says their shape and which images were left out. The key is the SHA-256 of
- the images: path, size, times of change, inode and both ends of every file (not all of its content: 50,000 files are
  looked at in two seconds), or the bytes of arrays in memory. A file that is touched is prepared again;
- the steps: the preprocessing without what is done per batch (scaling, mean, std);
- the version: of this format, of OpenCV and of the sources of engine.data, so that an entry that another version made
  is never used. Entries that nobody used for `KEEP_DAYS` days are removed when another one is made.

Beside them `KEY/numbers.f64` holds what else takes long to find out about images (`kept_numbers`), behind its hash.

An entry is written into a hidden folder beside it, brought to the disk and then renamed, so that a process that is
killed leaves none that is half written. One process builds it, and another that wants the same waits and finds it
(where the file system has no locks both build, and the first to finish wins).

The folder is the user's cache folder for "cnn-engine", or the one that the variable CNN_CACHE names; CNN_CACHE=off does
without, as does `cache: false` in a configuration.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import math
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.images import ABSENT, load_cv2
from engine.data.location import user_cache
from engine.data.preprocess import PER_BATCH, Preprocess
from engine.errors import UserError, warn
from engine.files import file_mark, write_atomically

FORMAT = 1
KEEP_DAYS = 30
VARIABLE, OFF = "CNN_CACHE", "off"
SAMPLES, ABOUT, NUMBERS = "samples.u8", "about.json", "numbers.f64"
BUILDING = ".building-"

Samples = NDArray[np.uint8]


@dataclass(frozen=True)
class Left:
    """An image that was left out: its place in the raw set, and why, beginning with its path."""

    index: int
    reason: str


@dataclass(frozen=True)
class Entry:
    """samples: uint8 (N, C, H, W), read-only and mapped; left: the images that are not among them, in order."""

    samples: Samples
    left: tuple[Left, ...]


# What a build yields, in order: a part of the samples (n, C, H, W), and the images left out of it.
Parts = Iterator[tuple[Samples, list[Left]]]


def cache_folder() -> Path | None:
    """Where entries lie; None where CNN_CACHE is "off"."""
    given = os.environ.get(VARIABLE)
    if given:
        return None if given.lower() == OFF else Path(given)
    return user_cache() / "samples"


def entry_key(images: Sequence[Any], preprocess: Preprocess) -> str | None:
    """The key of these images (paths, or arrays) after this preprocessing; None where they cannot be told apart."""
    source = _source(images)
    if source is None:
        return None
    steps = {name: value for name, value in preprocess.to_dict().items() if name not in PER_BATCH}
    content = {"format": FORMAT, "code": _code(), "opencv": load_cv2().__version__, "steps": steps, "images": source}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@cache
def _code() -> str:
    """SHA-256 of the sources of this package, `headers` and `labels`: what changes what a step does changes the key."""
    digest, here = hashlib.sha256(), Path(__file__).parent
    for path in sorted([*here.glob("*.py"), *here.glob("headers/*.py"), *here.glob("labels/*.py")]):
        digest.update(str(path.relative_to(here)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _source(images: Sequence[Any]) -> str | None:
    digest = hashlib.sha256()
    one: Any = images
    for each in [one] if isinstance(one, np.ndarray) else images:
        if isinstance(each, Path):
            place = os.path.abspath(each)
            try:
                mark = file_mark(place)
            except OSError as error:
                if error.errno not in ABSENT:
                    raise UserError(f"{each}: cannot be read ({error.strerror})") from None
                mark = b"absent"
            digest.update(os.fsencode(place) + b"\0%d\0" % len(mark) + mark)
        elif isinstance(each, np.ndarray):
            digest.update(f"{each.dtype} {each.shape}\0".encode())
            digest.update(np.ascontiguousarray(each).data)
        else:
            return None
    return digest.hexdigest()


def load_or_build(name: str, key: str, folder: Path, build: Callable[[], Parts]) -> Entry | None:
    """The entry, built first where there is none yet. None, with a warning, where the folder cannot be written.

    `name` is the data set's, for messages. UserError where the disk is full; what was written is removed again.
    """
    place = folder / key
    if (found := _read(place)) is not None:
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _building(place) as temporary:
            if (found := _read(place)) is not None:  # another process has built it meanwhile
                return found
            _tidy(folder)
            _build(place, temporary, build)
    except OSError as error:
        # An error in reading an image is a UserError: this one is about the cache.
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"{folder}: the disk is full, so that the samples of {name} cannot be kept there; make room, name "
                f"another folder ({VARIABLE}), or do without the cache ({VARIABLE}={OFF})"
            ) from None
        warn(
            f"{folder}: no cache can be kept there ({error.strerror}), so the images of {name} are prepared in memory; "
            f"{VARIABLE} names another folder",
        )
        return None
    return _read(place)


def _read(place: Path) -> Entry | None:
    """The entry at this place; None for none, or one that was damaged from outside."""
    try:
        about = json.loads((place / ABOUT).read_text("utf-8"))
        shape = tuple(about["shape"])
        left = tuple(Left(int(each["index"]), str(each["reason"])) for each in about["left"])
        whole = len(shape) == 4 and all(type(extent) is int and extent >= 0 for extent in shape)
        if not whole or (place / SAMPLES).stat().st_size != math.prod(shape):
            return None
        samples = np.memmap(place / SAMPLES, np.uint8, "r", shape=shape)
    except (OSError, ValueError, OverflowError, LookupError, TypeError, RecursionError):
        return None
    _note_use(place)
    return Entry(samples, left)


def _note_use(place: Path) -> None:
    with suppress(OSError):  # a cache that is shared and read-only has no record of its use
        os.utime(place)


def kept_numbers(key: str, make: Callable[[], NDArray[np.float64]]) -> NDArray[np.float64]:
    """The numbers (N,) that `make` gives, kept in the cache folder under a key that says all that they depend on.

    Two processes that want the same at once both make it. Where nothing can be kept they are made every time: whoever
    prepares images is told of that.
    """
    folder = cache_folder()
    if folder is None:
        return make()
    file = folder / key / NUMBERS
    with suppress(OSError, ValueError):  # none are there, or they were damaged from outside
        numbers = np.frombuffer(_checked(file.read_bytes()), np.float64)
        _note_use(file.parent)
        return numbers
    numbers = make()
    with suppress(OSError):
        data = numbers.tobytes()
        write_atomically(file, hashlib.sha256(data).digest() + data)
    return numbers


def _checked(data: bytes) -> bytes:
    """What follows its own hash; ValueError where it is not what was written."""
    size = hashlib.sha256().digest_size
    if hashlib.sha256(data[size:]).digest() != data[:size]:
        raise ValueError("the numbers are damaged")
    return data[size:]


def _build(place: Path, temporary: Path, build: Callable[[], Parts]) -> None:
    """Write an entry in `temporary`, beside its place, and rename that."""
    try:
        count, shape = 0, (0, 0, 0)
        left: list[Left] = []
        # Written and not mapped: on a full disk a write fails with an error, a mapped page with a signal.
        with (temporary / SAMPLES).open("wb") as file:
            for samples, out in build():
                file.write(np.ascontiguousarray(samples).data)
                count, left = count + len(samples), left + out
                shape = samples.shape[1:] if len(samples) else shape
            _to_disk(file)
        about = {"shape": [count, *shape], "left": [asdict(each) for each in left]}
        with (temporary / ABOUT).open("w", encoding="utf-8") as text:
            json.dump(about, text)
            _to_disk(text)
        if place.exists():  # it was damaged
            shutil.rmtree(place)
        with suppress(FileExistsError):
            temporary.rename(place)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # without locks: another process was faster
            raise


def _to_disk(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def _building(place: Path) -> Iterator[Path]:
    """A hidden folder beside the place to build its entry in, this process's alone: another one that wants the same
    waits here, and the system lets it go on when this one ends, however it ends. Whatever goes wrong, nothing stays.

    Where the file system has no locks every process gets a folder of its own.
    """
    temporary = place.with_name(f"{BUILDING}{place.name}")
    handle = _locked(temporary)
    if handle is None:
        temporary = place.with_name(f"{BUILDING}{uuid.uuid4().hex}")
        temporary.mkdir()
    try:
        yield temporary
    finally:
        # Once it is renamed, one of the same name is another process's.
        if handle is None or _is_open(handle, temporary):
            shutil.rmtree(temporary, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def _locked(folder: Path) -> int | None:
    """The folder, made where it is not there, as a handle that holds its lock; None where there are no locks."""
    while True:
        folder.mkdir(exist_ok=True)
        try:
            handle = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # renamed or removed just now
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:
            os.close(handle)
            with suppress(OSError):
                folder.rmdir()
            return None
        if _is_open(handle, folder):
            return handle
        os.close(handle)  # whoever held the lock has renamed or removed what it locks


def _is_open(handle: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(folder))
    except FileNotFoundError:
        return False


def _tidy(folder: Path) -> None:
    """Remove what killed processes left, and what nobody uses."""
    now = time.time()
    for each in folder.iterdir():
        with suppress(OSError):
            days = (now - each.stat().st_mtime) / 86400
            if each.name.startswith(BUILDING):
                _remove_dead(each, days)
            elif each.is_dir() and days >= KEEP_DAYS:
                shutil.rmtree(each)


def _remove_dead(folder: Path, days: float) -> None:
    """Remove a folder in which nobody builds: its lock is free, or where there are no locks it was made a day ago."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        free = True
    except BlockingIOError:
        free = False
    except OSError:
        free = days >= 1
    try:
        if free:
            shutil.rmtree(folder)
    finally:
        os.close(handle)
