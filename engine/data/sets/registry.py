"""The registry of data sets: for each one what it is, who publishes it, which files it has and how to get them.

Sizes and hashes are those of a file's contents, which for a gzipped file is what it unpacks to: a set that was
compressed anew is still the published one. A hash that could not be computed from the published files is None, and
`verify` reports counts and structure only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from engine.data.readers.files import find_idx, place_of, set_folder
from engine.data.readers.idx import EMNIST_PLACES, MNIST_PLACES
from engine.data.sets.known import RECORDS
from engine.data.sets.record import Record
from engine.errors import UserError, shortened, unknown
from engine.reading.schema import merge, parse_override, plain_path

# Readers of images of one's own, with what the path is that each of them takes.
OWN: Mapping[str, Callable[[Path], bool]] = MappingProxyType(
    {"folder": Path.is_dir, "npz": lambda path: path.suffix == ".npz" and path.is_file()}
)


def record(name: str) -> Record:
    """The record of the set `name`; UserError where there is none, which says how to write a path."""
    if name in RECORDS:
        return RECORDS[name]
    for reader, there in OWN.items():
        if there(Path(name)):
            own = f"{reader} path={plain_path(name)}"
            raise UserError(f"unknown data set {shortened(name)!r}; for images of your own write {own}")
    raise unknown("data set", name, RECORDS)


def reader_options(name: str, texts: Sequence[str]) -> dict[str, Any]:
    """The options of the set's reader that `key=value` texts give; UserError for another, which may be a path."""
    options: dict[str, Any] = {}
    for text in texts:
        try:
            options = merge(options, parse_override(text))
        except UserError as error:
            path = "=" not in text and name in OWN and OWN[name](Path(text))
            raise UserError(f"{error}; did you mean path={plain_path(text)}?" if path else str(error)) from None
    if name in OWN and not options:
        raise UserError(f"data set {name!r}: the option 'path' is missing; write path=PLACE, where the images are")
    return options


def own_folder(name: str, root: Path | None) -> Path | None:
    """The folder of the set `name` under the data root; None for a set that lies elsewhere (`in_root`).

    UserError where the set is not known, or has no folder there.
    """
    return set_folder(root, name) if record(name).in_root else None


def find(folder: Path, each: Record, name: str) -> Path | None:
    """The file or folder `name` of a set that lies in `folder`, plain or gzipped, as the readers find it; None where it
    is not there."""
    bases = (folder / each.folder, folder)
    places = (base / f"{name}{ending}" for base in bases for ending in ("", ".gz"))
    found = next((place for place in places if place.exists()), None)
    if "-idx" not in name or (found is not None and found.is_file()):
        return found
    return find_idx([folder / place for place in (*EMNIST_PLACES, *MNIST_PLACES)], name)


def image_count(each: Record) -> int | None:
    """The number of images in all parts of the set, None for a set of any size."""
    counts = [split.images for split in each.splits if split.images is not None and not split.again]
    return sum(counts) if counts else None


def data_state(each: Record, root: Path) -> str:
    """Whether a set is at hand, in a word or two: all of it, which part, or nothing; empty where that has no meaning.

    Looks at names only: `engine.data.sets.verify` reads the files.
    """
    if not each.in_root:
        return ""
    folder = place_of(root, each.name)
    if not folder.is_dir():
        return "not here"
    marked = [split for split in each.splits if split.markers]
    here = [split for split in marked if any(find(folder, each, marker) for marker in split.markers)]
    return f"{len(here)} of {len(marked)} parts" if marked else "here"


def describe(each: Record) -> str:
    """All that the registry knows of a set, as text."""
    lines = [f"{each.name}: {each.title}", f"images: {each.images}"]
    if each.classes:
        lines.append(f"classes ({len(each.classes)}): {', '.join(each.classes)}")
    lines += [f"{split.name}: {split.images:,} images" for split in each.splits if split.images is not None]
    lines += [f"licence: {each.licence}"] + ([f"page: {each.page}"] if each.page else [])
    for file in each.files:
        size = "size unknown" if file.size is None else f"{file.size:,} bytes"
        lines.append(f"file: {file.name}, {size}, SHA-256 {file.sha256 or 'unknown'}")
    lines += [f"download: {url}" for wanted in each.downloads for url in wanted.urls]
    return "\n".join([*lines, f"by hand: {each.obtain}"])
