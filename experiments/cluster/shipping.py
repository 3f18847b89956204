"""Files between a study's runner and workers that share no disk with it: packed, cut into pieces, put in place whole.

A set of data travels under the hash of its content (`experiments.tasks.fingerprint`) and is checked against it where it
arrives. Nothing here knows how the pieces travel.
"""

from __future__ import annotations

import shutil
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from engine.data.sets.registry import record
from engine.errors import UserError
from engine.files import naming, sync_folder
from engine.recipe.config import TrainConfig, read_config
from experiments.tasks.fingerprint import Fingerprints, files_of
from experiments.tasks.places import PACKAGED, PAIRED_FOLDERS, places

PIECE = 4 << 20  # bytes; what travels at once, well below what Dask takes for too large a message
STALE_SECONDS = 24 * 3600.0  # pieces of a transfer that broke off longer ago are removed
_EPOCH_OF_ZIP = (1980, 1, 1, 0, 0, 0)


def pack(place: Path, archive: Path) -> None:
    """Write the file, or the files of the folder, to an archive; hidden ones stay where they are."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with naming(archive), zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for path in files_of(place):
            inner = Path(place.name) if path == place else Path(place.name, path.relative_to(place))
            # One date for all: a ZIP cannot hold those before 1980, and nobody asks for them.
            with path.open("rb") as source, packed.open(_entry(inner, path), "w") as target:
                shutil.copyfileobj(source, target, 1 << 20)


def _entry(inner: Path, path: Path) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(inner.as_posix(), _EPOCH_OF_ZIP)
    entry.file_size = path.stat().st_size
    return entry


def pieces(archive: Path) -> Iterator[tuple[int, bytes]]:
    """The content of a file in pieces, each with its offset."""
    with archive.open("rb") as file:
        offset = 0
        while piece := file.read(PIECE):
            yield offset, piece
            offset += len(piece)


def put_piece(archive: Path, offset: int, piece: bytes) -> None:
    """Write a piece of a file. The first one makes it."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with naming(archive), archive.open("wb" if offset == 0 else "r+b") as file:
        file.seek(offset)
        file.write(piece)


def unpack_data(archive: Path, target: Path, content: str) -> None:
    """Put the file or folder in an archive into the folder `target`, all or nothing; the archive is removed.

    UserError where its content has another hash than `content`.
    """
    fresh = target.with_name(f".{archive.stem}")
    try:
        _extract(archive, fresh)
        (place,) = fresh.iterdir()
        if Fingerprints().files((place,)) != content:
            raise UserError(
                f"{place.name}: arrived with other content than it was sent with; was it changed meanwhile?"
            )
        if not target.exists():
            fresh.rename(target)
            sync_folder(target.parent)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        archive.unlink(missing_ok=True)


def unpack_run(archive: Path, folder: Path) -> None:
    """Put the folder of a run that was trained elsewhere in the place of `folder`, whole; the archive is removed."""
    fresh, old = (folder.with_name(f".{folder.name}.{what}") for what in ("incoming", "old"))
    for rest in (fresh, old):
        shutil.rmtree(rest, ignore_errors=True)
    _extract(archive, fresh)
    (inner,) = fresh.iterdir()
    if folder.exists():
        folder.rename(old)
    inner.rename(folder)
    sync_folder(folder.parent)
    for rest in (fresh, old):
        shutil.rmtree(rest, ignore_errors=True)
    archive.unlink()


def _extract(archive: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with naming(folder), zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)  # which keeps every name inside the folder


def remove_stale(folder: Path) -> None:
    """Remove what arrived in the folder by transfers that broke off long ago."""
    for path in folder.glob("*.zip"):
        try:
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                path.unlink()
        except FileNotFoundError:  # another worker of this host was faster
            continue


# ---- where a configuration finds its files ----


def places_of(config: TrainConfig) -> tuple[Path, ...]:
    """Files and folders that the configuration names and that can lie elsewhere: all but those of a package."""
    found = places(config)
    if config.dataset.name == PACKAGED:
        found = found[1:]
    folds = config.split.file
    if folds is not None and Path(folds).is_file():  # else it is drawn where the run is trained
        found = (*found, Path(folds))
    return tuple(dict.fromkeys(found))


def moved(config: TrainConfig, where: Mapping[Path, Path]) -> TrainConfig:
    """The configuration with the files and folders of its `places_of`, in their order, where the mapping says."""
    content = config.to_dict()

    def name(value: str) -> str:
        return str(where.get(Path(value), value))

    section = content["dataset"]
    if record(section["name"]).in_root:
        content["data_root"] = str(next(iter(where.values())).parent)
    elif section["name"] != PACKAGED:
        for part in filter(None, (section["train"], section["test"])):
            inner = {key: Path(part["path"], part[key]) for key in PAIRED_FOLDERS if part.get(key)}
            part |= {key: str(where[place]) for key, place in inner.items() if place in where}
            part |= {key: name(part[key]) for key in ("path", "table") if part.get(key)}
    if content["split"]["file"]:
        content["split"]["file"] = name(content["split"]["file"])
    if content["select"]["listed"]:
        content["select"]["listed"]["file"] = name(content["select"]["listed"]["file"])
    if content["initialize_from"]:
        content["initialize_from"]["checkpoint"] = name(content["initialize_from"]["checkpoint"])
    if labels := content["pseudo_labels"]:
        labels |= {key: [name(each) for each in labels[key]] for key in ("checkpoints", "images")}
    return read_config(content)
