"""Data sets in memory: raw images as they are on disk, and samples ready for a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.arguments import as_array, assign, refuse_masked
from engine.data import cache
from engine.data.images import Image, ImageFiles, UnreadableImage
from engine.data.labels.checks import as_labels, check_labels, checked_weights
from engine.data.labels.files import LabelMapFiles
from engine.data.labels.prepared import check_preparable, prepared_maps
from engine.data.listing import Unread, describe_unread, warn_unread
from engine.data.preprocess import Preprocess
from engine.data.workers import in_parts
from engine.errors import UserError, listed, warn

NO_DATA = "expected a Dataset or a pair (images, labels), got "


@dataclass(frozen=True)
class RawDataset:
    """Labelled images before preprocessing.

    images   a sequence of uint8 (H, W) or (H, W, 3) arrays, red first; sizes may differ
    labels   int64 (N,), each an index into class_names
    columns  further facts for each sample (for stratified splits), by name
    unread   what lies among the images of the set and is none of them
    maps     a map of labels for each image, in whose numbers class_names are then; labels are all 0
    """

    name: str
    images: Sequence[Image] | NDArray[np.uint8]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    unread: tuple[Unread, ...] = ()
    maps: LabelMapFiles | None = None

    def __post_init__(self) -> None:
        refuse_masked(f"{self.name}: the images have", self.images)
        assign(self, labels=as_labels(self.name, self.labels), columns=_as_columns(self.name, self.columns))
        check_labels(self.name, len(self.images), self.labels, self.class_names)
        if self.maps is not None and len(self.maps.paths) != len(self):
            raise UserError(f"{self.name}: {len(self)} images but {len(self.maps.paths)} masks")

    def __len__(self) -> int:
        return len(self.labels)

    def with_classes(self, names: Sequence[str]) -> RawDataset:
        """The same samples with their labels as indices into `names`; UserError for a class not there."""
        numbers = _numbers_among(self, names)
        if numbers is not None and self.maps is not None:
            raise maps_as_they_are(self.name, names)
        return self if numbers is None else replace(self, labels=numbers[self.labels], class_names=tuple(names))

    def subset(self, indices: NDArray[np.int64]) -> RawDataset:
        """The samples with these indices, in this order."""
        if isinstance(self.images, np.ndarray):
            images: Any = self.images[indices]
        elif isinstance(self.images, ImageFiles):
            images = ImageFiles([self.images.paths[index] for index in indices])
        else:
            images = [self.images[index] for index in indices]
        columns = {name: column[indices] for name, column in self.columns.items()}
        maps = None if self.maps is None else self.maps.subset(indices)
        return replace(self, images=images, labels=self.labels[indices], columns=columns, maps=maps)


@dataclass(frozen=True)
class Dataset:
    """Samples ready for a network.

    images      (N, C, H, W), uint8 or float32
    labels      integers (N,), kept as int64, or float32 (N, classes) for soft labels; lists will do, for the images
                too; or a map of labels for each image, integers (N, H, W), for a loss of pixels
    sample_weights   float32 (N,) of at least 0: factors on the losses in training (see engine.data.choose.weights)
    preprocess  how the images came about; its `normalise` turns uint8 into the network's float32
    record      how the samples were chosen and changed, in JSON's own types, for the run's record
    skipped     images of the set that could not be decoded and are left out, then what else lay among its files and is
                not read, each as "path: reason"
    kept        int64 (N,), where images were left out: the place of each sample in the raw set
    files       the file of each sample, or empty where they are not files of their own
    ignore      of maps of labels: the number of pixels that do not count, which the loss has as its `ignore_index`
    """

    name: str
    images: NDArray[np.uint8] | NDArray[np.float32]
    labels: NDArray[np.int64] | NDArray[np.float32]
    sample_weights: NDArray[np.float32] | None = field(default=None, kw_only=True)
    class_names: tuple[str, ...] = ()
    preprocess: Preprocess | None = None
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    kept: NDArray[np.int64] | None = None
    files: tuple[Path, ...] = ()
    ignore: int | None = None

    def __post_init__(self) -> None:
        assign(self, images=as_array(self.name, "images", self.images), labels=as_labels(self.name, self.labels))
        assign(self, columns=_as_columns(self.name, self.columns))
        if self.images.ndim != 4 or self.images.dtype not in (np.uint8, np.float32):
            raise UserError(
                f"{self.name}: images must be uint8 or float32 of shape (N, C, H, W), "
                f"got {self.images.dtype} {self.images.shape}"
            )
        check_labels(self.name, len(self.images), self.labels, self.class_names, maps=True)
        if len(self.files) not in (0, len(self)):
            raise UserError(f"{self.name}: {len(self)} images but {len(self.files)} files")
        if self.sample_weights is not None:
            object.__setattr__(self, "sample_weights", checked_weights(self.name, len(self), self.sample_weights))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.images.shape[1], self.images.shape[2], self.images.shape[3]

    def subset(self, indices: NDArray[np.int64]) -> Dataset:
        """The samples with these indices, in this order; copied into memory, also those of a set that is mapped."""
        columns = {name: column[indices] for name, column in self.columns.items()}
        weights = None if self.sample_weights is None else self.sample_weights[indices]
        kept = None if self.kept is None else self.kept[indices]
        files = tuple(self.files[index] for index in indices) if self.files else ()
        images, labels = self.images[indices], self.labels[indices]
        return replace(
            self, images=images, labels=labels, columns=columns, sample_weights=weights, kept=kept, files=files
        )

    def with_classes(self, names: Sequence[str]) -> Dataset:
        """The same samples with their labels as indices into `names`, or as rows with a column for each of them.

        As it is where the set has no class names, or `names` are none. UserError for a class that is not among them.
        """
        numbers = _numbers_among(self, names)
        if numbers is None:
            return self
        if self.labels.ndim == 3:
            raise maps_as_they_are(self.name, names)
        labels: Any
        if self.labels.ndim == 1:
            labels = numbers[self.labels.astype(np.int64, copy=False)]
        else:
            labels = np.zeros((len(self), len(names)), np.float32)
            labels[:, numbers] = self.labels
        return replace(self, labels=labels, class_names=tuple(names))

    def with_preprocess(self, preprocess: Preprocess) -> Dataset:
        """The same samples with another description of how they came about."""
        return self if preprocess == self.preprocess else replace(self, preprocess=preprocess)

    def prepared_as(self, preprocess: Mapping[str, Any] | None) -> Dataset:
        """The same samples, where bytes do not say what is done to them as a network does: its `preprocess` (None: it
        does not say either)."""
        if self.preprocess is not None or preprocess is None or self.images.dtype != np.uint8:
            return self
        known = Preprocess.from_dict(preprocess, "the network")
        channels = self.images.shape[1]
        if any(len(values) not in (0, 1, channels) for values in (known.mean, known.std)):
            raise UserError(
                f"{self.name}: images have shape {self.sample_shape}, but the network's preprocess is of "
                f"{known.channels} channels"
            )
        return replace(self, preprocess=known)

    @property
    def normaliser(self) -> Preprocess:
        """The preprocess; without one, uint8 goes to 0..1."""
        return self.preprocess or Preprocess(colour=self.images.shape[1] == 3)

    def normalise(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """A batch of this set's images as the network takes them."""
        return images if images.dtype == np.float32 else self.normaliser.normalise(images)


Data = Dataset | tuple[ArrayLike, ArrayLike]
"""A data set, or images and labels: arrays, or lists of what arrays hold."""


def as_dataset(data: Data, name: str = "data") -> Dataset:
    """A Dataset as it is, or one made of a pair (images, labels)."""
    if isinstance(data, Dataset):
        return data
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise UserError(f"{name}: {NO_DATA}{type(data).__name__}")
    return Dataset(name, as_array(name, "images", data[0]), as_labels(name, data[1]))


def _as_columns(name: str, columns: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    return {key: as_array(name, f"values of the column {key!r}", values) for key, values in columns.items()}


def _numbers_among(dataset: RawDataset | Dataset, names: Sequence[str]) -> NDArray[np.int64] | None:
    """The place of each of the set's classes among `names`; None where nothing is to be renumbered."""
    own = dataset.class_names
    if not names or not own or tuple(names) == tuple(own):
        return None
    places = {name: place for place, name in enumerate(names)}
    other = [name for name in own if name not in places]
    if other:
        raise UserError(f"{dataset.name}: classes {listed(other)} are none of those trained on: {listed(names)}")
    return np.array([places[name] for name in own], np.int64)


def prepare(
    raw: RawDataset,
    preprocess: Preprocess,
    threads: int | None = None,
    *,
    strict: bool = False,
    use_cache: bool = True,
) -> Dataset:
    """Run the deterministic half of the preprocessing over a raw set, on several threads; the order is kept.

    The samples come from the cache on disk (engine.data.cache), memory-mapped and read-only, and are put there first
    where it lacks them; in memory without it, and for an array that needs no step and no resizing.
    Images that cannot be decoded are left out, with a warning that counts them, and another one counts the files beside
    them that are not read; `strict` makes either a UserError. So is a class of which no image can be decoded.
    """
    if strict and any(each.images for each in raw.unread):
        raise UserError(describe_unread(raw.name, raw.unread))
    if raw.maps is not None:
        check_preparable(raw.name, preprocess, raw.maps.ignore)
    warn_unread(raw.name, raw.unread)
    unread = tuple(map(str, raw.unread))
    entry: cache.Entry | None = None
    folder = cache.cache_folder() if use_cache and not _is_ready(raw.images, preprocess) else None
    if folder is not None:
        images: Any = raw.images.paths if isinstance(raw.images, ImageFiles) else raw.images
        key = cache.entry_key(images, preprocess)
        if key is not None:
            entry = cache.load_or_build(raw.name, key, folder, lambda: _prepared_parts(raw, preprocess, threads))
    if entry is None:
        parts = list(_prepared_parts(raw, preprocess, threads))
        left = tuple(each for _, out in parts for each in out)
        entry = cache.Entry(np.concatenate([samples for samples, _ in parts if len(samples)]), left)
    files = tuple(raw.images.paths) if isinstance(raw.images, ImageFiles) else ()
    if not entry.left:
        about: dict[str, Any] = {"skipped": unread, "files": files, **_labels(raw, preprocess, threads, use_cache)}
        return Dataset(raw.name, entry.samples, class_names=raw.class_names, preprocess=preprocess,
                       columns=raw.columns, **about)  # fmt: skip
    reasons = tuple(each.reason for each in entry.left)
    if strict:
        raise UserError(_left_out(raw, reasons))
    _check_classes(raw, entry.left)
    warn(_left_out(raw, reasons))
    kept = np.delete(np.arange(len(raw)), [each.index for each in entry.left])
    rest = raw.subset(kept)
    about = {"skipped": reasons + unread, "kept": kept, **_labels(rest, preprocess, threads, use_cache)}
    about["files"] = tuple(files[index] for index in kept) if files else ()
    return Dataset(raw.name, entry.samples, class_names=raw.class_names, preprocess=preprocess, columns=rest.columns,
                   **about)  # fmt: skip


def _labels(raw: RawDataset, preprocess: Preprocess, threads: int | None, use_cache: bool) -> dict[str, Any]:
    """What a Dataset has for labels: those of the images, or their maps, prepared."""
    if raw.maps is None:
        return {"labels": raw.labels}
    options: dict[str, Any] = {"threads": threads, "use_cache": use_cache}
    maps = prepared_maps(raw.name, raw.images, raw.maps, preprocess, raw.class_names, **options)
    return {"labels": maps, "ignore": raw.maps.ignore}


def maps_as_they_are(name: str, names: Sequence[str]) -> UserError:
    return UserError(f"{name}: maps of labels cannot be numbered anew as {listed(names)}; give them so")


class SizesDiffer(UserError):
    """Images of a set differ in size and are not resized; `differ` says how. `wanted`: the (H, W) to resize them to."""

    def __init__(self, differ: str, wanted: Sequence[int] | None = None):
        self.differ = differ
        which = "[H, W]" if wanted is None else f"{list(wanted)}, which the network takes"
        super().__init__(f"{differ}; set preprocess.size: {which}")


def _left_out(raw: RawDataset, reasons: Sequence[str]) -> str:
    return f"{raw.name}: {len(reasons)} of {len(raw)} images cannot be read and are left out; the first: {reasons[0]}"


def _check_classes(raw: RawDataset, left: Sequence[cache.Left]) -> None:
    """UserError where a class had images and none of them can be read: nothing would be learned about it."""
    lost = emptied_classes(raw, [each.index for each in left])
    if lost:
        name, count = next(iter(lost.items()))
        first = next(each.reason for each in left if raw.class_names[raw.labels[each.index]] == name)
        also = f"; so it is with {', '.join(list(lost)[1:])}" if len(lost) > 1 else ""
        raise UserError(f"{raw.name}: none of the {count} images of the class {name!r} can be read{also}: {first}")


def emptied_classes(raw: RawDataset, unreadable: Sequence[int]) -> dict[str, int]:
    """The classes whose every image is among these places in the set, and how many they have."""
    classes = len(raw.class_names)
    counts = np.bincount(raw.labels, minlength=classes)
    lost = np.bincount(raw.labels[np.asarray(unreadable, np.int64)], minlength=classes)
    return {name: int(count) for name, count, out in zip(raw.class_names, counts, lost) if count and count == out}


def _is_ready(images: Any, preprocess: Preprocess) -> bool:
    """Whether preparing these images is no work worth keeping: an array that is neither changed nor resized."""
    return (
        isinstance(images, np.ndarray) and not preprocess.steps and preprocess.size in (None, tuple(images.shape[1:3]))
    )


def _prepared_parts(raw: RawDataset, preprocess: Preprocess, threads: int | None) -> cache.Parts:
    """The samples, some images at a time, and which of them could not be decoded."""

    def prepared(indices: range) -> tuple[list[Image], list[cache.Left]]:
        images, left = [], []
        for index in indices:
            try:
                images.append(preprocess.prepare(raw.images[index]))
            except UnreadableImage as error:
                left.append(cache.Left(index, str(error)))
        return images, left

    shape: tuple[int, ...] | None = None
    first: cache.Left | None = None
    for images, left in in_parts(prepared, len(raw), threads):
        first = first or next(iter(left), None)
        for image in images:
            shape = shape or image.shape
            if image.shape != shape:
                some = " and ".join(f"{height}x{width}" for _, height, width in sorted({shape, image.shape}))
                raise SizesDiffer(f"{raw.name}: images differ in size ({some})")
        yield np.stack(images) if images else np.empty((0, 0, 0, 0), np.uint8), left
    if shape is None and first is not None:
        raise UserError(f"{raw.name}: none of its {len(raw)} images can be read; the first: {first.reason}")
