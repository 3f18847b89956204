"""Weights of classes and samples in the training loss.

The loss of a batch is sum(w * l) / n: every sample's loss l times its weight w, over the number of samples and not the
sum of the weights (as in Keras), so that a weight means the same in every batch. Cross-entropy is linear in its
targets, so a weight is a factor on the sample's row of targets; mixed samples (Mixup) mix their weighted rows.
Evaluation never weights.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.arguments import as_float32, is_real
from engine.data.dataset import Dataset
from engine.data.loader import Batch, Loader
from engine.errors import UserError, unknown
from engine.losses import CrossEntropy, Loss
from engine.reading.schema import named

BALANCED = "balanced"


def class_weights(given: Any, labels: NDArray[np.int64], class_names: Sequence[str]) -> NDArray[np.float64]:
    """A weight for every class, float64 (classes,).

    given   "balanced": N / (K * count of the class), with the K classes that occur (King & Zeng 2001, as in
            scikit-learn), 1 for a class that does not occur; a list with a weight per class; or a mapping from names
            of classes to weights, 1 for those that it leaves out
    """
    count = len(class_names) or int(labels.max()) + 1
    if isinstance(given, str) and given == BALANCED:
        counts = np.bincount(labels, minlength=count)
        met = counts > 0
        return np.where(met, len(labels) / (met.sum() * np.maximum(counts, 1)), 1.0)
    if isinstance(given, Mapping):
        names = {str(name): place for place, name in enumerate(class_names)} or {str(i): i for i in range(count)}
        weights = np.ones(count)
        for name, weight in named(given, "class_weights").items():
            if name not in names:
                raise unknown("class in class_weights:", name, names)
            weights[names[name]] = _weight(f"class_weights.{name}", weight)
        return weights
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise UserError(f"class_weights: expected balanced, a list of numbers or names with numbers, got {given!r}")
    if len(given) != count:
        raise UserError(f"class_weights: {len(given)} weights for {count} classes")
    return np.array([_weight(f"class_weights[{place}]", weight) for place, weight in enumerate(given)])


def check_class_weights(given: Any) -> None:
    """UserError for what shows without the data: a weight that is none."""
    if isinstance(given, Mapping):
        entries: Iterable[tuple[Any, Any]] = given.items()
    else:
        entries = [] if given is None or isinstance(given, str) or not isinstance(given, Sequence) else enumerate(given)
    for place, weight in entries:
        _weight(f"class_weights.{place}" if isinstance(given, Mapping) else f"class_weights[{place}]", weight)


def weighted(dataset: Dataset, classes: Any = None, column: str | None = None) -> Dataset:
    """The data set with its samples' weights multiplied by those of their classes, and by a column of the set.

    UserError for an unknown column, weights that are negative or not finite, or class weights for soft labels.
    """
    weights = np.ones(len(dataset)) if dataset.sample_weights is None else dataset.sample_weights.astype(np.float64)
    if column is not None:
        if column not in dataset.columns:
            raise unknown("column in sample_weights:", column, dataset.columns)
        try:
            weights = weights * np.asarray(dataset.columns[column], np.float64)
        except ValueError:
            raise UserError(f"{dataset.name}: the column {column!r} holds no numbers to weight samples by") from None
    if classes is not None:
        if dataset.labels.ndim != 1:
            raise UserError(f"{dataset.name}: class_weights need one class per sample, but the labels are soft")
        weights = weights * class_weights(classes, dataset.labels.astype(np.int64), dataset.class_names)[dataset.labels]
    return replace(dataset, sample_weights=weights.astype(np.float32))


def weighted_targets(
    labels: NDArray[Any], weights: NDArray[np.float32], classes: int, smoothing: float = 0.0
) -> NDArray[np.float32]:
    """Targets t, float32 (n, classes), for which the cross-entropy of a sample is its weight w times that of its label.

    The loss turns t into (1-e)*t + e/classes where it smooths labels by e, so that w*y + (w-1)*e / ((1-e)*classes)
    gives w * ((1-e)*y + e/classes).
    """
    rows = labels if labels.ndim == 2 else np.eye(classes, dtype=np.float32)[labels]
    factors = weights.astype(np.float64)[:, None]
    shift = (factors - 1.0) * (smoothing / ((1.0 - smoothing) * classes))
    return (factors * rows + shift).astype(np.float32)


def weighted_loader(loader: Loader, loss: Loss, output_shape: tuple[int, ...]) -> Loader:
    """The loader as training with this loss needs it: its batches carry the weights, if its data set has any."""
    weights, name = loader.dataset.sample_weights, loader.dataset.name
    if weights is None:
        return loader
    if not isinstance(loss, CrossEntropy):
        raise UserError(f"{name}: weights of classes or samples need the loss CrossEntropy, not {type(loss).__name__}")
    with np.errstate(over="ignore"):
        targets = weighted_targets(loader.dataset.labels, weights, output_shape[0], loss.label_smoothing)
    if not np.isfinite(targets).all():
        raise UserError(
            f"{name}: its weights, the largest of them {weights.max():g}, become infinite with a label smoothing of "
            f"{loss.label_smoothing:g}"
        )
    return WeightedLoader(loader, targets)


class WeightedLoader(Loader):
    """A loader with weighted targets in its batches; `dataset` keeps its labels, for evaluation."""

    def __init__(self, loader: Loader, targets: NDArray[np.float32]):
        self.__dict__.update(loader.__dict__)
        self._weighted = copy.copy(loader)
        # Without names, of which there may be fewer than outputs; the targets have a column for each of those.
        self._weighted.dataset = replace(loader.dataset, labels=targets, class_names=())

    def batch(self, order: NDArray[np.int64], epoch: int, index: int) -> Batch:
        return self._weighted.batch(order, epoch, index)


def _weight(where: str, value: Any) -> float:
    if not is_real(value) or not 0.0 <= as_float32(value) < math.inf:
        raise UserError(f"{where}: a weight is a finite number of at least 0, not {value!r}")
    if value != 0.0 and as_float32(value) == 0.0:
        raise UserError(f"{where}: a weight is a finite number of at least 0, but {value!r} is 0 as a float32")
    return float(value)
