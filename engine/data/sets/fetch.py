"""Gets a data set from its publisher: download, unpack, check, and only then give it its place."""

from __future__ import annotations

import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path

from engine.data.readers import read_dataset
from engine.data.readers.files import place_of
from engine.data.sets.record import Download, Record
from engine.data.sets.registry import find
from engine.data.sets.verify import check_file
from engine.errors import UserError, shortened
from engine.files import locked, naming, sync_folder

ROOM, MOST_GROWTH = 10_000_000, 100  # bytes that any archive may unpack to, and so many more for each of its own
TOO_LARGE = "it would unpack to far more than a set has"
ENCRYPTED = 1  # a bit of a zip member's flags
# What the readers of archives let out where bytes are damaged, or compressed in a way that they do not know.
_ERRORS = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(EOFError, OSError, ValueError, NotImplementedError, RuntimeError),
)
DOWNLOADS = ".downloads"  # in the data root: what is not a data set yet


def fetch(record: Record, root: Path, progress: bool = True, pause: float = 1.0) -> Path:
    """Download the set into `root`/NAME and return that folder; what is there already is left alone.

    Everything happens in `root`/.downloads/NAME until files, sizes and hashes are as the record says; then the folder
    is renamed in one step. A download that breaks off stays there and is gone on with by the next call. UserError for
    a set that cannot be downloaded (it says what to put where), a folder that is in the way, or files that differ.
    """
    place = place_of(root, record.name)
    if not record.downloads:
        raise UserError(instructions(record, root))
    if place.is_dir() and any(place.iterdir()):
        fault = first_fault(record, root)
        if fault is None:
            return place
        raise UserError(f"{place}: is there, but is not the whole set ({fault}); move it out of the way")
    work = root / DOWNLOADS / record.name
    work.mkdir(parents=True, exist_ok=True)
    lock = root / DOWNLOADS / f"{record.name}.lock"
    # Two downloads of a set would write into the same files.
    with locked(lock, lambda holder: f"another process is fetching {record.name} into {root} ({holder})"):
        _fetch(record, work, progress, pause)
        os.replace(work / record.name, place)
        sync_folder(root)
        shutil.rmtree(work)
    return place


def _fetch(record: Record, work: Path, progress: bool, pause: float) -> None:
    """Bring the whole set to `work`/NAME, checked and on the disk."""
    from engine.data.sets.download import download  # only now: HTTP takes longer to load than a list of sets

    files = [download(each, work, progress, pause) for each in record.downloads]
    stage = work / record.name
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir()
    for each, archive in zip(record.downloads, files):
        with naming(stage / (each.unpack or each.name), archive):
            _unpack(each, archive, stage)
    fault = first_fault(record, work)
    if fault is not None:
        shutil.rmtree(work)  # to go on from these files would give the same again
        raise UserError(f"the download of {record.name} is not the published set ({fault}); nothing was kept")
    for path in stage.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    for folder in (stage, *(each for each in stage.rglob("*") if each.is_dir())):
        sync_folder(folder)


def first_fault(record: Record, root: Path) -> str | None:
    """What keeps `root`/NAME from being the whole published set: a file, its size or hash, or a part's count."""
    for file in record.files:
        checked = check_file(find(place_of(root, record.name), record, file.name), file)
        if checked.faulty:
            return f"{checked.name}: {checked.outcome}"
    for split in record.splits:
        if split.again:
            continue
        try:
            count = len(read_dataset(record.name, root, split.options))
        except UserError as error:
            return str(error)
        if count != split.images:
            return f"{split.name}: {count:,} images, expected {split.images:,}"
    return None


def instructions(record: Record, root: Path) -> str:
    """How to get a set that cannot be downloaded: what to put where."""
    if not record.in_root:
        return f"{record.name} is not downloaded: {record.obtain}"
    page = f" from {record.page}" if record.page else ""
    return (
        f"{record.name} cannot be downloaded by a program; get it{page}: {record.obtain}. "
        f"The folder {record.name}/ belongs into {root}. Then check it: python -m engine.data verify {record.name}"
    )


def _unpack(wanted: Download, file: Path, stage: Path) -> None:
    if wanted.unpack is None:
        shutil.copy2(file, stage / wanted.name)
        return
    target = stage / wanted.unpack
    try:
        if tarfile.is_tarfile(file):
            _unpack_tar(file, target)
        else:
            _unpack_zip(file, target)
    except _ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's, not the archive's
            raise
        file.unlink()
        shutil.rmtree(stage)
        raise UserError(f"{wanted.name}: damaged or unsafe archive ({error}); it was deleted") from None


def _unpack_tar(file: Path, target: Path) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise UserError("this Python cannot unpack archives safely: update it (3.10.12, 3.11.4 or later)")
    left = _room(file)

    def counted(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
        nonlocal left
        left -= member.size
        if left < 0:
            raise tarfile.TarError(TOO_LARGE)
        return tarfile.data_filter(member, path)

    with tarfile.open(file) as archive:
        archive.extractall(target, filter=counted)


def _unpack_zip(file: Path, target: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            # zipfile would quietly put a file with such a name elsewhere.
            if member.filename.startswith(("/", "\\")) or ".." in Path(member.filename).parts:
                raise zipfile.BadZipFile(f"it holds the unsafe path {shortened(member.filename)!r}")
            if member.flag_bits & ENCRYPTED:
                raise zipfile.BadZipFile(f"{shortened(member.filename)!r} in it is encrypted")
        if sum(member.file_size for member in archive.infolist()) > _room(file):
            raise zipfile.BadZipFile(TOO_LARGE)
        archive.extractall(target)


def _room(file: Path) -> int:
    """Bytes that an archive may unpack to."""
    return ROOM + MOST_GROWTH * file.stat().st_size
