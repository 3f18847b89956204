"""Batches in an order that is a pure function of (seed, epoch), prepared ahead on threads.

Randomness is counter-based: the order of an epoch is keyed (seed, epoch), the augmentation of a sample (seed, epoch,
sample), of a batch (seed, epoch, batch). So an epoch can be entered at any batch and gives what it would have given.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import cnncore
import numpy as np
from numpy.typing import NDArray

from engine.arguments import checked_seed, integer, truth
from engine.data.augment import changes, mixup, redrawn
from engine.data.augment_config import AugmentConfig
from engine.data.augmenting.contours import KnownInk
from engine.data.augmenting.cutmix import BatchCutMix
from engine.data.dataset import NO_DATA, Dataset
from engine.data.labels.moved import check_movable, check_numbers, moved_maps, moves_anything
from engine.data.workers import in_order
from engine.draws import BATCH, SAMPLE, epoch_order, generator
from engine.errors import SampleError, UserError, shown

Batch = tuple[NDArray[np.float32], NDArray[Any]]


class SampleTransform(Protocol):
    """Random change of one image: uint8 (C, H, W), or float32 in a set of floats -> the same shape and type."""

    def __call__(self, image: NDArray[Any], rng: np.random.Generator, /) -> NDArray[Any]: ...


class BatchTransform(Protocol):
    """Random change of a whole batch: images float32 (N, C, H, W), labels int64 (N,) or float32 (N, classes)."""

    def __call__(self, images: NDArray[np.float32], labels: NDArray[Any], rng: np.random.Generator, /) -> Batch: ...


@dataclass(frozen=True)
class Mixup:
    """The batch transform of `engine.data.augment.mixup`; class labels become one-hot first."""

    alpha: float
    classes: int

    def __post_init__(self) -> None:
        if not (self.alpha > 0 and math.isfinite(self.alpha)) or self.classes < 2:
            raise UserError(
                f"mixup needs a finite alpha > 0 and 2 or more classes, got {self.alpha} and {self.classes}"
            )

    def __call__(self, images: NDArray[np.float32], labels: NDArray[Any], rng: np.random.Generator) -> Batch:
        if labels.ndim > 2:
            raise UserError(f"mixup mixes labels of images, but these have a map of labels each: {labels.shape}")
        soft = labels if labels.ndim == 2 else np.eye(self.classes, dtype=np.float32)[labels]
        return mixup(images, soft, self.alpha, rng)


def batch_mixer(augment: AugmentConfig, classes: int) -> BatchTransform | None:
    """What mixes the batches of data with so many classes, if `augment` asks for it."""
    if augment.cutmix:
        return BatchCutMix(augment.cutmix.alpha, augment.cutmix.probability, classes)
    return Mixup(augment.mixup, classes) if augment.mixup else None


class Loader:
    """Feeds the batches of a Dataset, shuffled anew each epoch.

    drop_last leaves out a last batch that is not full. `sample_transforms` run in order on each image, then come the
    changes of `augment` (all but mixup and CutMix; they want uint8 images), then it is normalised; `batch_transform`
    gets the whole batch. What these functions give has the type and shape of what they got, or it is a UserError;
    labels of a batch may become soft. `description` says in JSON's own types what they do: a run is only resumed with
    the same one.
    `prefetch` batches, or as many as there are workers, are prepared ahead (0: none, no thread) on up to `workers`
    threads (None: as many as the engine uses); neither changes a bit.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        seed: int = 0,
        drop_last: bool = False,
        sample_transforms: Sequence[SampleTransform] = (),
        augment: AugmentConfig | None = None,
        batch_transform: BatchTransform | None = None,
        description: Mapping[str, Any] | None = None,
        prefetch: int = 4,
        workers: int | None = None,
    ):
        if not isinstance(dataset, Dataset):
            raise UserError(f"Loader: {NO_DATA}{type(dataset).__name__}")
        batch_size = integer("Loader", "batch_size", batch_size, 1)
        if not isinstance(sample_transforms, Sequence) or not all(map(callable, sample_transforms)):
            raise UserError(f"Loader: sample_transforms must be functions in a list, not {shown(sample_transforms)}")
        if batch_transform is not None and not callable(batch_transform):
            raise UserError(f"Loader: batch_transform must be a function, not {shown(batch_transform)}")
        drop_last = truth("Loader", "drop_last", drop_last)
        if drop_last and len(dataset) < batch_size:
            raise UserError(f"drop_last leaves no batch: {len(dataset)} samples, batch_size {batch_size}")
        augment = augment or AugmentConfig()
        if augment.changes_images and dataset.images.dtype != np.uint8:
            raise UserError(f"{dataset.name}: augmentation changes uint8 images, these are {dataset.images.dtype}")
        if dataset.labels.ndim == 3:
            check_movable(dataset.name, augment, dataset.ignore)
            if moves_anything(augment):
                check_numbers(dataset.name, dataset.labels)
            if sample_transforms:
                raise UserError(
                    f"{dataset.name}: sample_transforms change the images alone, and would leave their maps of labels "
                    "as they were; a batch_transform gets both"
                )
        self.dataset = dataset
        self.batch_size = batch_size
        self.seed = checked_seed("Loader", seed)
        self.drop_last = drop_last
        self.sample_transforms = sample_transforms
        self.augment = augment
        self.batch_transform = batch_transform
        self.description = dict(description or {})
        self._ink = KnownInk()
        self.prefetch = integer("Loader", "prefetch", prefetch, 0)
        self.workers = cnncore.get_num_threads() if workers is None else integer("Loader", "workers", workers, 1)

    def __len__(self) -> int:
        """Batches per epoch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + bool(rest and not self.drop_last)

    def batch(self, order: NDArray[np.int64], epoch: int, index: int) -> Batch:
        """Batch `index` of the epoch with this order: images float32 (n, C, H, W) without gaps, and labels."""
        chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
        labels = self.dataset.labels[chosen]
        values, changed = self._images(chosen, epoch)
        if labels.ndim == 3 and moves_anything(self.augment):
            labels = moved_maps(labels, self.augment, changed, self.dataset.ignore, self.seed, epoch, chosen)
        if self.batch_transform is not None:
            batch = self.batch_transform(values, labels, generator(self.seed, BATCH, epoch, index))
            self._check_batch(batch, values.shape)
            values, labels = batch
        return np.ascontiguousarray(values), labels

    def _images(self, chosen: NDArray[np.int64], epoch: int) -> tuple[NDArray[np.float32], Mapping[str, Any]]:
        """The samples with these numbers, changed and normalised, and how they were changed last."""
        images: NDArray[Any] = self.dataset.images
        places = chosen
        floats = images.dtype != np.uint8
        if floats or self.sample_transforms or not images.flags.c_contiguous:
            images, places = images[chosen], np.arange(len(chosen))
        for place, sample in enumerate(chosen if self.sample_transforms else ()):
            images[place] = self._transformed(images[place], epoch, int(sample))
        if floats:
            return images, {}
        images, places = redrawn(images, places, self.augment, self.seed, epoch, chosen)
        known = self._ink if images is self.dataset.images else None
        changed = changes(images, places, self.augment, self.seed, epoch, chosen, known)
        normaliser = self.dataset.normaliser
        # An image's own factors are measured on it; factors for all need none of the pixels.
        measured = images[places] if normaliser.per_sample else images[:1]
        return cnncore.gather_images(images, places, *normaliser.factors(measured), **changed), changed

    def _transformed(self, image: NDArray[Any], epoch: int, sample: int) -> NDArray[Any]:
        rng = generator(self.seed, SAMPLE, epoch, sample)
        dtype, shape = image.dtype, image.shape
        for place, transform in enumerate(self.sample_transforms):
            image = transform(image, rng)
            found = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
            if found != dtype:
                raise self._refused(f"sample_transforms[{place}] gave {found} for {dtype} images")
            if image.shape != shape:
                raise self._refused(f"sample_transforms[{place}] gave shape {image.shape} for images of shape {shape}")
        return image

    def _check_batch(self, batch: Any, shape: tuple[int, ...]) -> None:
        """UserError unless a batch transform gave images of this shape and labels for them."""
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            raise self._refused(f"batch_transform gave {type(batch).__name__} in place of (images, labels)")
        for what, array in zip(("images", "labels"), batch, strict=True):
            if not isinstance(array, np.ndarray):
                raise self._refused(f"batch_transform gave {what} of type {type(array).__name__}, not an array")
        images, labels = batch
        if images.dtype != np.float32:
            raise self._refused(f"batch_transform gave images of {images.dtype} for images of float32")
        if images.shape != shape:
            raise self._refused(f"batch_transform gave images of shape {images.shape} for images of shape {shape}")
        if len(labels) != len(images) or not (labels.dtype == np.float32 or labels.dtype.kind in "iu"):
            raise self._refused(
                f"batch_transform gave labels of {labels.dtype} {labels.shape} for {len(images)} images; expected "
                "whole numbers or float32, one or a row for each"
            )

    def _refused(self, words: str) -> UserError:
        return UserError(f"{self.dataset.name}: {words}")

    @contextmanager
    def named(self, epoch: int, index: int) -> Iterator[None]:
        """An error about a sample of this batch becomes one by the sample's number in the data set."""
        try:
            yield
        except SampleError as error:
            place = epoch_order(len(self.dataset), self.seed, epoch)[index * self.batch_size + error.sample]
            raise error.at(int(place), self.dataset.name) from None

    def epoch(self, epoch: int, start: int = 0) -> Generator[Batch, None, None]:
        """The batches from `start` on, in order; threads keep `prefetch` of them ready. An error there is raised here.

        A thread works on a whole batch, and one is begun whenever one is taken: where a batch takes less than a step a
        single thread is at work, where it takes longer up to `workers` are.
        """
        order = epoch_order(len(self.dataset), self.seed, epoch)
        places = range(start, len(self))
        if not self.prefetch:
            yield from (self.batch(order, epoch, index) for index in places)
            return
        ahead = max(self.prefetch, self.workers)
        yield from in_order(lambda index: self.batch(order, epoch, index), places, self.workers, ahead, "cnn-loader")
