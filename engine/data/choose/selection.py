"""Which samples of a data set a run trains on: by class, by a list, without duplicates, and so many of them.

Everything is a pure function of data and seed. The steps run in the order of `Selection`'s fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from engine.arguments import assign, checked_seed
from engine.data.choose.duplicates import equal_groups, read_digests, repeated
from engine.data.choose.listed import Listed, read_listed
from engine.data.choose.near_duplicates import without_near_duplicates
from engine.data.choose.representatives import representatives
from engine.data.choose.shares import class_counts, proportional
from engine.data.choose.splits import Indices
from engine.data.dataset import Dataset, RawDataset
from engine.data.images import UnreadableImage
from engine.draws import SUBSET, random_words
from engine.errors import UserError, twice, unknown
from engine.reading.schema import ClassName, read_name

Record = dict[str, Any]
Samples = TypeVar("Samples", RawDataset, Dataset)

COUNTS = ("deduplicated", "per_class", "count", "fraction")


@dataclass(frozen=True)
class NearDuplicates:
    """Removal of images whose perceptual hashes differ by `threshold` bits or fewer (see `near_duplicates.py`).

    A set for which such hashes are known to fail is refused.

    method     of hashing (null: what is recommended for the set)
    threshold  in bits (null: what is recommended for the set)
    """

    method: str | None = None
    threshold: int | None = None


@dataclass(frozen=True)
class Selection:
    """The section `select` of a configuration.

    classes          names of the classes to keep, in the order of their new labels; the test part follows (empty: all)
    listed           keep what a publisher's file lists
    drop_duplicates  train on every image once, and on none that the test part holds too
    near_duplicates  drop images that look like an earlier one
    deduplicated     this many samples, as unlike each other as can be (see engine.data.choose.representatives)
    per_class        so many samples of every class
    count            so many samples in all, every class in its proportion
    fraction         this share of every class
    seed             of the draws; a smaller `per_class` or `fraction` takes part of what a larger one takes

    All but `classes` concern the training samples alone; of the last four at most one is given.
    """

    classes: tuple[ClassName, ...] = ()
    listed: Listed | None = None
    drop_duplicates: bool = False
    near_duplicates: NearDuplicates | None = None
    deduplicated: int | None = None
    per_class: int | None = None
    count: int | None = None
    fraction: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        checked_seed("select", self.seed)
        assign(self, classes=tuple(read_name(each, "classes") for each in self.classes))
        given = [name for name in COUNTS if getattr(self, name) is not None]
        if len(given) > 1:
            raise UserError(f"give one of {', '.join(COUNTS)}, got {' and '.join(given)}")
        for name in COUNTS[:3]:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} must be 1 or more, got {value}")
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise UserError(f"fraction must lie above 0 and be at most 1, got {self.fraction}")


def select(
    train: RawDataset,
    test: RawDataset | None,
    selection: Selection,
    name: str,
    folder: Path | None = None,
    *,
    strict: bool = False,
    use_cache: bool = True,
) -> tuple[RawDataset, RawDataset | None, Record]:
    """The chosen samples of both parts, and for the run's record what each step left.

    name: the set's, for what is recommended for it; folder: the set's own, where a listed file may lie; use_cache: keep
    images that were prepared for comparing on disk. Without any choice the parts come back as they are, with an empty
    record. UserError says which key cannot be met, or which image of those to compare cannot be decoded; but
    drop_duplicates, unless `strict`, takes such an image for one that equals no other: it is left out where the samples
    are prepared.
    """
    if replace(selection, seed=0) == Selection():
        return train, test, {}
    record: Record = {"read": len(train)}
    if selection.classes:
        train = keep_classes(train, selection.classes)
        test = None if test is None else keep_classes(test, selection.classes, may_lack=True)
        record["in_classes"] = len(train)
    if selection.listed is not None:
        train = train.subset(read_listed(train, selection.listed, folder))
        record["listed"] = len(train)
    if selection.drop_duplicates:
        train, dropped = _without_duplicates(train, test, strict)
        record["duplicates"] = dropped
    if selection.near_duplicates is not None:
        wished = selection.near_duplicates
        train, dropped = without_near_duplicates(train, name, wished.method, wished.threshold)
        record["near_duplicates"] = dropped
    if selection.deduplicated is not None:
        kept, spread = representatives(train, selection.deduplicated, use_cache=use_cache)
        train = train.subset(kept)
        record["deduplicated"] = {"kept": len(kept), **asdict(spread)}
    if selection.per_class is not None or selection.count is not None or selection.fraction is not None:
        train = train.subset(draw(train.labels, train.class_names, selection))
    record["kept"] = len(train)
    record["kept_by_class"] = dict(zip(train.class_names, class_counts(train).tolist(), strict=True))
    return train, test, record


def without_unreadable(record: Record, chosen: RawDataset, prepared: Sequence[Dataset]) -> Record:
    """The record of `select` without those of the chosen samples that could not be decoded: what is kept are the
    samples of the prepared parts."""
    lost = class_counts(chosen) - np.sum([class_counts(part) for part in prepared], axis=0)
    if not lost.any():
        return record
    by_class = dict(zip(chosen.class_names, lost.tolist(), strict=True))
    kept = {name: count - by_class[name] for name, count in record["kept_by_class"].items()}
    return {**record, "unreadable": int(lost.sum()), "kept": sum(kept.values()), "kept_by_class": kept}


def keep_classes(dataset: Samples, classes: Sequence[str], *, may_lack: bool = False) -> Samples:
    """The samples of these classes; the first one named gets label 0. UserError for a name given twice, and for one
    unknown unless the set `may_lack` some, as a test part that is not the source of the classes.
    """
    names, known = list(classes), set(dataset.class_names)
    for name in names:
        if name not in known and not may_lack:
            raise unknown("class in select.classes:", name, dataset.class_names)
    if (again := twice(names)) is not None:
        raise UserError(f"select.classes: {again!r} is given twice")
    numbers = {name: number for number, name in enumerate(names)}
    new_label = np.array([numbers.get(name, -1) for name in dataset.class_names], np.int64)
    labels = new_label[dataset.labels.astype(np.int64, copy=False)]
    chosen = np.flatnonzero(labels >= 0)
    if not len(chosen):
        raise UserError(f"{dataset.name} holds no samples of the classes in select.classes: {', '.join(names)}")
    return replace(dataset.subset(chosen), labels=labels[chosen], class_names=tuple(names))


def draw(labels: Indices, class_names: Sequence[str], selection: Selection) -> Indices:
    """Sorted indices of the samples that per_class, count or fraction take: of each class the first of a random order.

    UserError where a class has fewer samples than asked for, or would be left with none.
    """
    counts = np.bincount(labels, minlength=len(class_names))
    wished = _wished_counts(counts, class_names, selection)
    chosen = []
    for label, count in enumerate(wished):
        members = np.flatnonzero(labels == label)
        words = random_words(len(members), selection.seed, SUBSET, label)
        chosen.append(members[np.argsort(words, kind="stable")[:count]])
    return np.sort(np.concatenate(chosen))


def _wished_counts(counts: Indices, class_names: Sequence[str], selection: Selection) -> Indices:
    present = counts > 0
    if selection.per_class is not None:
        smallest = int(np.argmin(counts))
        if counts[smallest] < selection.per_class:
            raise UserError(
                f"select.per_class is {selection.per_class}, but the class {class_names[smallest]!r} has "
                f"{counts[smallest]} samples"
            )
        return np.full(len(counts), selection.per_class)
    if selection.fraction is not None:
        wished = np.floor(counts * selection.fraction + 0.5).astype(np.int64)
        what = f"select.fraction {selection.fraction}"
    else:
        wished = proportional(counts, selection.count or 0)
        what = f"select.count {selection.count}"
    if (wished[present] == 0).any():
        empty = int(np.flatnonzero(present & (wished == 0))[0])
        raise UserError(
            f"{what} leaves the class {class_names[empty]!r} empty: it has {counts[empty]} of {counts.sum()} samples"
        )
    return wished


def _without_duplicates(
    train: RawDataset, test: RawDataset | None, strict: bool
) -> tuple[RawDataset, Mapping[str, int]]:
    """Of equal training images the first, and none that the test part holds; and how many were dropped for what.

    conflicting: groups of equal training images that carry more than one label.
    """
    forgiven = () if strict else UnreadableImage
    keys, _ = read_digests(train.images, forgiven=forgiven)
    within = repeated(keys)
    across = np.zeros(len(train), bool)
    if test is not None:
        both = np.concatenate([read_digests(test.images, forgiven=forgiven)[0], keys])
        for group in equal_groups(both):
            if group[0] < len(test):
                across[[member - len(test) for member in group if member >= len(test)]] = True
    conflicting = sum(len(np.unique(train.labels[group])) > 1 for group in equal_groups(keys))
    dropped = {
        "dropped_within": int((within & ~across).sum()),
        "dropped_across": int(across.sum()),
        "conflicting": conflicting,
    }
    kept = np.flatnonzero(~(within | across))
    if not len(kept):
        raise UserError("select.drop_duplicates leaves nothing: every training image is in the test part too")
    return train.subset(kept), dropped
