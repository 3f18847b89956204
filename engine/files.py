"""Writing files so that a reader, or a crash, never meets half of one, and every reader of JSON can read them; and
keeping two processes from writing in one place.

Locks are advisory ones of the operating system (flock), which end with the process that holds them, however it ends: a
lock file that a killed process leaves behind locks nothing.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from engine.errors import UserError, warn

# Seconds in which a process that was just killed has let go of its locks, and one that began has said its number.
PATIENCE = 0.5
_POLL_SECONDS = 0.05
_MOST_LINKS = 40  # that a name is followed through, as Linux does


def _null(value: float) -> Any:
    return None


def json_text(value: Any, indent: int | None = None, stand_in: Callable[[float], Any] = _null) -> str:
    """The value as JSON; `stand_in` says what NaN and infinities, which JSON lacks, become."""
    return json.dumps(_finite(value, stand_in), indent=indent, allow_nan=False)


def _finite(value: Any, stand_in: Callable[[float], Any]) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else stand_in(value)
    if isinstance(value, Mapping):
        return {key: _finite(each, stand_in) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each, stand_in) for each in value]
    return value


@contextmanager
def naming(path: Path, *others: Path) -> Iterator[None]:
    """An error of the operating system in the block that names no file, or one of `others`, names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename not in (None, *map(str, others)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


_END = 1 << 12  # bytes that are read at each end of a file


def file_mark(path: str) -> bytes:
    """What tells a file from any other that lay in its place: its size, times and inode, and the bytes at its ends.

    No single one is enough. Two files of the same size may be written at the same time and exchanged by their folders'
    names, and there are file systems that count whole seconds or make up the numbers of inodes. OSError where the file
    cannot be read.
    """
    facts = os.stat(path)
    # The time of the inode's change tells of a file that was replaced and given its old date.
    mark = f"{facts.st_size} {facts.st_mtime_ns} {facts.st_ctime_ns} {facts.st_ino}\0".encode()
    if not stat.S_ISREG(facts.st_mode):
        return mark
    file = os.open(path, os.O_RDONLY)
    try:
        start = os.pread(file, _END, 0)
        end = os.pread(file, _END, max(_END, facts.st_size - _END))
    finally:
        os.close(file)
    return mark + start + b"\0" + end


def append_text(path: Path, text: str) -> None:
    """Add the text, in UTF-8, at the end of a file."""
    with naming(path), path.open("a", encoding="utf-8") as file:
        file.write(text)


def write_atomically(path: Path, data: bytes, keep: Path | None = None) -> None:
    """Replace `path` by `data`: a temporary file beside it, fsync, rename, fsync of the folder. Makes the folder.

    An error of the operating system, such as that of a full disk, names `path`. What is no file is not replaced: see
    `replacing`.

    keep: the name that the file that was there gets.
    """
    with replacing(path, keep) as file:
        file.write(data)


@contextmanager
def replacing(path: Path, keep: Path | None = None) -> Iterator[BinaryIO]:
    """A temporary file beside `path` that takes its place at the end of the block, and vanishes on an error.

    The file that was there gives its mode, and its owner where that is allowed. A symbolic link stays, and what it
    points to is replaced. A FIFO, a character device and an open file of this process (/dev/stdout, /dev/fd/N) are
    written to as they are. UserError for anything else that is neither file nor folder.

    keep: the name that the file that was there gets. There is always one of the name `path`, but for a moment between
    two renames on a file system without hard links.
    """
    with naming(path):
        before = _status(path)
    descriptor = _own_descriptor(path)
    if descriptor is not None or (before is not None and not _is_replaceable(path, before)):
        with naming(path), open(path if descriptor is None else os.dup(descriptor), "wb") as file:
            yield file
        return
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    with naming(path, temporary, target):
        try:
            with temporary.open("wb") as file:
                if before is not None and stat.S_ISREG(before.st_mode):
                    _make_alike(file, before)
                yield file
                file.flush()
                os.fsync(file.fileno())
            if keep is not None and before is not None:
                if target == path:
                    _keep(path, keep)
                else:  # the target of a link may lie on another file system
                    write_atomically(keep, target.read_bytes())
            temporary.replace(target)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        sync_folder(target.parent)


def _keep(path: Path, keep: Path) -> None:
    """Give the file the name `keep`, which another may have had; where there are hard links it has both then."""
    spare = keep.with_name(f".{keep.name}.{os.getpid()}.tmp")
    try:
        spare.unlink(missing_ok=True)
        os.link(path, spare)
    except OSError:  # no links here, or not to this file
        path.replace(keep)
        return
    spare.replace(keep)
    spare.unlink(missing_ok=True)  # to replace a file by itself does nothing


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _is_replaceable(path: Path, status: os.stat_result) -> bool:
    """Whether a new file can take the place of what is there (the system refuses a folder in its own words); UserError
    where it can be neither replaced nor written to."""
    mode = status.st_mode
    if stat.S_ISSOCK(mode) or stat.S_ISBLK(mode):
        raise UserError(f"{path}: is a {'socket' if stat.S_ISSOCK(mode) else 'block device'}, expected a file's name")
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _own_descriptor(path: Path) -> int | None:
    """The number of the open file of this process that the path stands for, as /dev/stdout does.

    Opened anew by its name, a file that the shell gave us would be written from its beginning once more.
    """
    for _ in range(_MOST_LINKS):
        if path.name.isdecimal() and os.path.realpath(path.parent) == f"/proc/{os.getpid()}/fd":
            return int(path.name)
        if not path.is_symlink():
            return None
        path = path.parent / path.readlink()
    return None


def _make_alike(file: BinaryIO, before: os.stat_result) -> None:
    """Give a new file the owner, where that is allowed, and the mode of the one whose place it takes."""
    now = os.fstat(file.fileno())
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        with suppress(PermissionError):
            os.fchown(file.fileno(), before.st_uid, before.st_gid)
    os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, after a rename in it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ---- locks ----


@contextmanager
def locked(path: Path, refusal: Callable[[str], str], patience: float = PATIENCE) -> Iterator[None]:
    """Hold the lock file `path` for the block. At its end it is removed, and the folders that were made for it alone.

    UserError with the text of `refusal`, which gets the holder in words, where another holds it for `patience` seconds
    more. On a file system that has no locks a warning says so, and nobody is kept out.
    """
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with naming(path.parent, path):
            file = _acquired(path, refusal, time.monotonic() + patience)
        with file:
            try:
                yield
            finally:
                with suppress(OSError):
                    path.unlink()
    finally:
        with suppress(OSError):  # not empty: the usual case
            for folder in made:
                folder.rmdir()


def _acquired(path: Path, refusal: Callable[[str], str], deadline: float) -> TextIO:
    """The lock file, open and locked; another one than its name may stand for by then, if that is so for long."""
    while True:
        file = path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with file:
                file.seek(0)
                holder = _words(file.read())
            if time.monotonic() > deadline:
                raise UserError(refusal(holder)) from None
        except OSError as error:
            warn(f"{path.parent}: the file system has no locks ({error.strerror})")
            return file
        else:
            # Who held it before may have removed it after it was opened here.
            if _is_at(file, path) or time.monotonic() > deadline:
                file.truncate(0)
                file.write(f"{os.getpid()} {socket.gethostname()}\n")
                file.flush()
                return file
            file.close()
            continue
        time.sleep(_POLL_SECONDS)


def _is_at(file: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def lock_holder(path: Path) -> str | None:
    """Who holds the lock file, in words, or None."""
    try:
        file = path.open()
    except OSError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _words(file.read())
        except OSError:  # a file system without locks
            return None
    return None


def _words(content: str) -> str:
    """`process 12 on HOST`, of what stands in a lock file."""
    number, _, host = content.strip().partition(" ")
    place = f" on {host}" if host else ""
    own = ", this one" if (number, host) == (str(os.getpid()), socket.gethostname()) else ""
    return f"process {number or 'unknown'}{place}{own}"
