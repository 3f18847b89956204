"""CutMix: a rectangle of every image comes from another one of its batch, and labels are mixed by its area."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError

Mixed = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class BatchCutMix:
    """The batch transform of `cutmix`, for that share of the batches; class labels become one-hot first."""

    alpha: float
    probability: float
    classes: int

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise UserError(f"cutmix needs 2 or more classes, got {self.classes}")

    def __call__(self, images: NDArray[np.float32], labels: NDArray[Any], rng: np.random.Generator) -> Mixed:
        soft = labels if labels.ndim == 2 else np.eye(self.classes, dtype=np.float32)[labels]
        return cutmix(images, soft, self.alpha, rng) if rng.random() < self.probability else (images, soft)


def cutmix(images: NDArray[np.float32], labels: NDArray[np.float32], alpha: float, rng: np.random.Generator) -> Mixed:
    """CutMix of one batch (Yun et al. 2019, equations 1 and 2, with one lambda and one rectangle for the batch).

    images (N, C, H, W) float32; labels (N, classes) float32, one-hot or already soft. The rectangle has the share
    1 - lambda of the image, lambda ~ Beta(alpha, alpha), in the image's proportions about a middle anywhere, of which
    what lies outside is lost; labels are mixed by the share that is left. Returns new arrays; all draws are `rng`'s.
    """
    if labels.ndim != 2 or len(labels) != len(images):
        raise UserError(f"cutmix needs labels (N, classes) for {len(images)} images, got shape {labels.shape}")
    height, width = images.shape[2:]
    share = math.sqrt(1.0 - rng.beta(alpha, alpha))
    order = rng.permutation(len(images))
    rows, columns = (_cut(int(rng.integers(side)), round(side * share), side) for side in (height, width))
    mixed = images.copy()
    mixed[:, :, rows, columns] = images[order][:, :, rows, columns]
    taken = (rows.stop - rows.start) * (columns.stop - columns.start)
    rest = np.float32(taken / (height * width))
    return mixed, (np.float32(1) - rest) * labels + rest * labels[order]


def _cut(middle: int, length: int, side: int) -> slice:
    """So many places about the middle, those that lie within the side."""
    first = middle - length // 2
    return slice(max(first, 0), min(first + length, side))
