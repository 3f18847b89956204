"""Checks a data set on disk: files, counts, class balance, images that cannot be read, and exact duplicates."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cnncore
import numpy as np

from engine.data.choose.duplicates import duplicate_places, read_digests
from engine.data.dataset import RawDataset, emptied_classes
from engine.data.images import ImageFiles
from engine.data.listing import Unread
from engine.data.readers import read_dataset
from engine.data.readers.files import is_gzipped
from engine.data.sets.record import DataFile, Record, Split
from engine.data.sets.registry import find, own_folder
from engine.errors import UserError, listed

CHUNK = 1 << 20
SHOWN = 10  # groups of duplicates, and unreadable images, that are named


@dataclass(frozen=True)
class FileCheck:
    """A file, the outcome in words, and whether that is a fault."""

    name: str
    outcome: str
    faulty: bool = False


@dataclass(frozen=True)
class SplitCheck:
    """A part of the set as it was read.

    unreadable  messages of the images that cannot be decoded
    emptied     classes of which no image can be decoded
    unread      what lies among the images and is not read
    """

    name: str
    expected: Split
    class_names: tuple[str, ...]
    per_class: tuple[int, ...]
    unreadable: tuple[str, ...]
    emptied: tuple[str, ...] = ()
    unread: tuple[Unread, ...] = ()

    @property
    def images(self) -> int:
        return sum(self.per_class)

    @property
    def faults(self) -> list[str]:
        """What is wrong with this part, in words."""
        wanted, classes = self.expected.images, sum(count > 0 for count in self.per_class)
        found = []
        if wanted is not None and self.images != wanted:
            found.append(f"{self.name}: {self.images:,} images, expected {wanted:,}")
        if self.expected.classes is not None and classes != self.expected.classes:
            found.append(f"{self.name}: {classes} classes have images, expected {self.expected.classes}")
        if self.unreadable:
            found.append(f"{self.name}: {_count(len(self.unreadable), 'image')} cannot be read")
        found += [f"{self.name}: no image of the class {name!r} can be read" for name in self.emptied]
        if beside := sum(each.images for each in self.unread):
            found.append(f"{self.name}: {_count(beside, 'image file')} of other kinds or in other places, not read")
        return found


@dataclass(frozen=True)
class Member:
    """One of several equal images."""

    split: str
    label: str
    file: str

    def __str__(self) -> str:
        return f"{self.file} ({self.label})"


@dataclass(frozen=True)
class Verification:
    """What `verify` found. `absent` names the parts that are not at hand; `duplicates` holds groups of equal images."""

    record: Record
    folder: Path | None
    files: tuple[FileCheck, ...]
    splits: tuple[SplitCheck, ...]
    absent: tuple[str, ...]
    duplicates: tuple[tuple[Member, ...], ...]

    @property
    def faults(self) -> list[str]:
        """Everything that is wrong, in words. Duplicates and absent parts are facts, not faults; equal images with
        labels that disagree are a fault of a set of the user's own, which can be mended."""
        found = [f"{each.name}: {each.outcome}" for each in self.files if each.faulty]
        found += [fault for split in self.splits for fault in split.faults]
        if self.disagreeing and not self.record.splits:
            have = "has" if self.disagreeing == 1 else "have"
            found.append(f"{_count(self.disagreeing, 'group')} of equal images {have} labels that disagree")
        return found

    @property
    def disagreeing(self) -> int:
        """Groups of equal images with more than one label."""
        return sum(len({member.label for member in group}) > 1 for group in self.duplicates)


def verify(record: Record, root: Path | None, options: Mapping[str, Any] | None = None) -> Verification:
    """Read all parts of the set that are at hand and check them against the record.

    options: those of the reader, for a set of the user's own. UserError where nothing is at hand, or where the files
    are such that they cannot be read as a set.
    """
    if record.splits and options:
        raise UserError(f"{record.name} is checked whole: it takes no options, got {', '.join(options)}")
    folder = own_folder(record.name, root)
    splits = record.splits or (Split("all", options or {}),)
    present = [split for split in splits if folder is None or _is_present(folder, record, split)]
    if not present:
        raise UserError(f"{folder}: holds no part of the data set {record.name!r}: {record.obtain}")
    files = check_files(folder, record, present) if folder is not None else ()
    sets = {split.name: read_dataset(record.name, root, split.options) for split in present}
    if any(raw.maps is not None for raw in sets.values()):
        raise UserError(
            f"{record.name}: verify counts the images of each class, but these have one for every pixel; their masks "
            "are checked when a training prepares them"
        )
    seen = {name: read_digests(raw.images, forgiven=UserError) for name, raw in sets.items()}
    groups = duplicate_places({name: values for name, (values, _) in seen.items()})
    checks = tuple(_check_split(split, sets[split.name], seen[split.name][1]) for split in present)
    return Verification(
        record=record,
        folder=folder,
        files=files,
        splits=checks,
        absent=tuple(split.name for split in splits if split not in present),
        duplicates=tuple(tuple(_member(sets[split], split, index, folder) for split, index in each) for each in groups),
    )


def check_files(folder: Path, record: Record, present: Sequence[Split]) -> tuple[FileCheck, ...]:
    """The record's files, their sizes and hashes. Files of absent parts are left out; so are all where none is there,
    since the set then lies in another of its layouts."""
    absent = {name for split in record.splits if split not in present for name in split.markers}
    files = [each for each in record.files if each.name not in absent]
    if not any(find(folder, record, each.name) for each in files):
        return ()
    with ThreadPoolExecutor(cnncore.get_num_threads(), initializer=cnncore.release) as pool:
        return tuple(pool.map(lambda each: check_file(find(folder, record, each.name), each), files))


def check_file(path: Path | None, expected: DataFile) -> FileCheck:
    """Size and SHA-256 of a file's contents against those expected."""
    if path is None:
        return FileCheck(expected.name, "missing", True)
    content, size = hashlib.sha256(), 0
    try:
        for chunk in _contents(path):
            content.update(chunk)
            size += len(chunk)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        return FileCheck(expected.name, f"damaged gzip file ({error})", True)
    if expected.size is not None and size != expected.size:
        return FileCheck(expected.name, f"{size:,} bytes, expected {expected.size:,}", True)
    if expected.sha256 is None:
        return FileCheck(expected.name, f"{size:,} bytes, the published hash is not known")
    if content.hexdigest() != expected.sha256:
        return FileCheck(expected.name, f"SHA-256 {content.hexdigest()}, expected {expected.sha256}", True)
    return FileCheck(expected.name, f"{size:,} bytes, SHA-256 as published")


def _contents(path: Path) -> Iterator[bytes]:
    with gzip.open(path) if is_gzipped(path) else path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _is_present(folder: Path, record: Record, split: Split) -> bool:
    return not split.markers or any(find(folder, record, marker) for marker in split.markers)


def _check_split(split: Split, raw: RawDataset, unreadable: Mapping[int, UserError]) -> SplitCheck:
    counts = np.bincount(raw.labels, minlength=len(raw.class_names))
    return SplitCheck(
        split.name,
        split,
        raw.class_names,
        tuple(map(int, counts)),
        unreadable=tuple(map(str, unreadable.values())),
        emptied=tuple(emptied_classes(raw, list(unreadable))),
        unread=raw.unread,
    )


def _member(raw: RawDataset, split: str, index: int, folder: Path | None) -> Member:
    file = f"{split}[{index}]"
    if isinstance(raw.images, ImageFiles):
        path = raw.images.paths[index]
        file = str(path.relative_to(folder) if folder is not None and path.is_relative_to(folder) else path)
    return Member(split, raw.class_names[int(raw.labels[index])], file)


def render(found: Verification) -> str:
    """The report as text: files, parts with their class balance, duplicates, and the verdict."""
    lines = [f"{found.record.name}: {found.record.title}"]
    lines += [f"in {found.folder}"] if found.folder is not None else []
    if found.files:
        lines += ["", "files", *(f"  {each.name}: {each.outcome}" for each in found.files)]
    elif found.record.in_root:
        lines += ["", "files: no published sizes or hashes are known for this layout, counts and structure are checked"]
    for split in found.splits:
        lines += ["", *_split_lines(split)]
    if found.absent:
        lines += ["", f"not at hand: {', '.join(found.absent)}"]
    lines += ["", *_duplicate_lines(found), ""]
    lines += [f"FAULT {fault}" for fault in found.faults] or ["no faults found"]
    return "\n".join(lines)


def _split_lines(split: SplitCheck) -> list[str]:
    counts = split.per_class
    expected = "" if split.expected.images is None else f" of {split.expected.images:,}"
    ratio = f", {max(counts) / min(counts):.2f} times the smallest" if min(counts) else ", some are empty"
    lines = [
        f"{split.name}: {split.images:,}{expected} images, {len(counts)} classes; "
        f"per class {min(counts):,} to {max(counts):,}{ratio}; {len(split.unreadable)} unreadable",
        *_columns([f"{name} {count:,}" for name, count in zip(split.class_names, counts)]),
    ]
    few = [f"{name!r}" for name, count in zip(split.class_names, counts) if count == 1]
    if few:
        lines.append(f"  few: {listed(few)} with 1 image: a part for validation needs another of the class")
    lines += [f"  unreadable: {message}" for message in _some(split.unreadable)]
    # Those that stand for images first.
    return lines + [f"  not read: {each}" for each in _some(sorted(split.unread, key=lambda each: not each.images))]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _columns(cells: Sequence[str], width: int = 100) -> list[str]:
    """Cells side by side in lines of at most `width` characters."""
    size = max(map(len, cells)) + 2
    per_line = max(width // size, 1)
    starts = range(0, len(cells), per_line)
    return ["  " + "".join(f"{each:<{size}}" for each in cells[start : start + per_line]).rstrip() for start in starts]


def _duplicate_lines(found: Verification) -> list[str]:
    groups = found.duplicates
    if not groups:
        return ["exact duplicates: none"]
    across = [group for group in groups if len({member.split for member in group}) > 1]
    lines = [
        f"exact duplicates: {_count(len(groups), 'group')} of equal images, {sum(map(len, groups)):,} images in them"
    ]
    for split in found.splits:
        inside = [count for group in groups if (count := sum(each.split == split.name for each in group)) > 1]
        extra = _count(sum(inside) - len(inside), "image")
        lines.append(f"  within {split.name}: {_count(len(inside), 'group')}, {extra} too many")
    if len(found.splits) > 1:
        lines.append(f"  across parts: {_count(len(across), 'group')}")
    lines.append(f"  with labels that disagree: {_count(found.disagreeing, 'group')}")
    first = sorted(groups, key=lambda group: len({member.label for member in group}) == 1)
    return lines + [f"  equal: {each}" for each in _some([" = ".join(map(str, _some(group))) for group in first])]


def _some(items: Sequence[Any]) -> list[Any]:
    """The first few items, and a word on how many more there are."""
    more = [f"… {len(items) - SHOWN:,} more"] if len(items) > SHOWN else []
    return [*items[:SHOWN], *more]
