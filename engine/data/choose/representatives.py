"""A subset of a wished size in which no two samples of a class are needlessly alike.

The NumtaDB report trains its first network on 13,415 of 44,359 images, thinned by their likeness (it does not say more
than that embeddings of a MobileNet scored it). Here likeness is told by pixels, which serves small images too: grey,
resized to 28x28, root of the mean squared difference in grey levels. Within each class, complete-linkage clustering
(Defays 1977; SciPy) merges the most alike images first until the wished number of groups is left; the first image of
each group stays. Equal images are merged before all others. A pure function of the data: nothing is drawn.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.data.cache import kept_numbers
from engine.data.choose.shares import class_counts, proportional
from engine.data.choose.splits import Indices
from engine.data.dataset import RawDataset, prepare
from engine.data.preprocess import Preprocess
from engine.errors import UserError

SIDE = 28
LARGEST_CLASS = 15_000  # samples: their pairwise distances take 0.9 GB, and SciPy copies them once
BLOCK = 512  # rows whose distances are computed together


@dataclass(frozen=True)
class Spread:
    """largest_merged: no image was dropped that differs by more from the kept one; in grey levels, 0..255."""

    method: str
    largest_merged: float


def representatives(dataset: RawDataset, size: int, *, use_cache: bool = True) -> tuple[Indices, Spread]:
    """Sorted indices of `size` samples, every class in its proportion, and how unlike the dropped ones were at most.

    use_cache: keep the small images, and what was chosen, on disk. UserError for a size above the number of samples, or
    one that leaves a class empty, for a class of more than LARGEST_CLASS samples, and for an image that cannot be
    decoded.
    """
    counts = class_counts(dataset)
    shares = proportional(counts, size, "select.deduplicated")
    for label, (count, share) in enumerate(zip(counts.tolist(), shares.tolist())):
        if count and not share:
            raise UserError(f"select.deduplicated {size} leaves the class {dataset.class_names[label]!r} empty")
        if count > LARGEST_CLASS:
            raise UserError(
                f"select.deduplicated compares all pairs of a class, at most {LARGEST_CLASS} samples; the class "
                f"{dataset.class_names[label]!r} has {count}: take fewer first"
            )
    small = prepare(dataset, Preprocess(size=(SIDE, SIDE)), strict=True, use_cache=use_cache)
    pixels = small.images.reshape(len(dataset), -1).astype(np.uint8, copy=False)
    make = partial(_thinned_classes, pixels, dataset.labels, shares)
    found = kept_numbers(_key(pixels, dataset.labels, shares), make) if use_cache else make()
    return found[1:].astype(np.int64), Spread(f"pixels at {SIDE}x{SIDE}", round(float(found[0]), 3))


def _key(pixels: NDArray[np.uint8], labels: Indices, shares: Indices) -> str:
    """A hash of all that the choice depends on."""
    parts = [np.ascontiguousarray(pixels), labels.astype("<i8"), shares.astype("<i8")]
    content = [*(hashlib.sha256(each.tobytes()).hexdigest() for each in parts), str(pixels.shape)]
    code = [Path(__file__).read_text("utf-8"), version("scipy"), version("numpy")]
    return hashlib.sha256(json.dumps([content, code]).encode()).hexdigest()


def _thinned_classes(pixels: NDArray[np.uint8], labels: Indices, shares: Indices) -> NDArray[np.float64]:
    """The height of the highest merge; then, sorted, the indices of what is left of every class. (Whole numbers of this
    size are exact in float64.)"""
    kept, largest = [], 0.0
    for label in np.flatnonzero(shares).tolist():
        members = np.flatnonzero(labels == label)
        first, height = _thinned(pixels[members], int(shares[label]))
        kept.append(members[first])
        largest = max(largest, height)
    return np.concatenate([[largest], np.sort(np.concatenate(kept))])


def _thinned(pixels: NDArray[np.uint8], size: int) -> tuple[Indices, float]:
    """The first member of each of the `size` groups, sorted, and the height of the last merge."""
    count = len(pixels)
    if size == count:
        return np.arange(count), 0.0
    from scipy.cluster.hierarchy import linkage  # only now: slow to load, and few runs choose representatives

    merges = linkage(condensed_distances(pixels), "complete")[: count - size]
    first: dict[int, int] = {index: index for index in range(count)}
    for step, (one, other, _, _) in enumerate(merges):
        first[count + step] = min(first.pop(int(one)), first.pop(int(other)))
    return np.array(sorted(first.values()), np.int64), float(merges[-1, 2])


def condensed_distances(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Root mean squared differences of all pairs of rows, in SciPy's condensed order (0-1, 0-2, …, 1-2, …).

    Squares and products are whole numbers that float64 holds exactly: no order of summing changes them, and equal
    images are at distance 0.
    """
    values = pixels.astype(np.float64)
    count, width = values.shape
    squares = np.einsum("ij,ij->i", values, values)
    condensed = np.empty(count * (count - 1) // 2)
    start = 0
    for block in range(0, count, BLOCK):
        rows = values[block : block + BLOCK]
        squared = squares[block : block + BLOCK, None] + squares[block:] - 2 * (rows @ values[block:].T)
        for row in range(len(rows)):
            stop = start + count - 1 - block - row
            condensed[start:stop] = squared[row, row + 1 :]
            start = stop
    return np.sqrt(condensed / width, out=condensed)
