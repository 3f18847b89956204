"""Metrics of a classifier, and what "better" means.

Labels, true and predicted, are whole numbers (N,): arrays, or lists of them. UserError for anything else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.arguments import as_array, as_int64, integer
from engine.errors import UserError

Labels = NDArray[np.int64]

EVALUATION_CHUNK = 1024  # samples made float32 at a time
MAP_VALUES = 1 << 22  # of the outputs of so many samples, where they are maps


def check_scores(scores: NDArray[Any], say: Callable[[int], str]) -> None:
    """UserError unless all scores (N, …) are finite; `say` names the first sample that has another one."""
    finite = np.isfinite(scores.reshape(len(scores), -1)).all(axis=1)
    if not finite.all():
        raise UserError(f"{say(int(finite.argmin()))}: a score is NaN or infinite, so that it stands for no class")


def predicted_classes(scores: NDArray[Any], say: Callable[[int], str] = "sample {}".format) -> Labels:
    """The class of the largest score for each sample of (N, classes), the first of equal ones: (N,).

    Scores become classes here and in `ranked_classes` alone, since NumPy calls NaN the largest. UserError as
    `check_scores` gives it.
    """
    check_scores(scores, say)
    return scores.reshape(len(scores), -1).argmax(axis=1).astype(np.int64, copy=False)


def ranked_classes(scores: NDArray[Any], count: int, say: Callable[[int], str] = "sample {}".format) -> Labels:
    """The classes of the `count` largest scores for each sample of (N, classes), the largest first, of equal ones the
    first: (N, count). UserError as `check_scores` gives it.
    """
    check_scores(scores, say)
    return np.argsort(-scores, axis=1, kind="stable")[:, :count].astype(np.int64, copy=False)


def evaluation_chunk(shape: Sequence[int]) -> int:
    """Samples that an evaluation takes at a time, of outputs of this shape: fewer where these are large maps."""
    return EVALUATION_CHUNK if len(shape) == 1 else max(1, min(EVALUATION_CHUNK, MAP_VALUES // math.prod(shape)))


def accuracy(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Share of samples whose predicted label is the true one, 0 … 1."""
    truth, predicted = _checked(truth, predicted)
    return float(np.mean(truth == predicted))


def macro_f1(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Mean over the classes of F1 = 2·TP / (2·TP + FP + FN), each class with the same weight.

    Classes that occur neither in the truth nor in the prediction do not count; a class never met right has F1 0.
    """
    found = _counts(truth, predicted)
    return float(np.mean(2.0 * found.right / (found.true + found.predicted)))


PER_CLASS = ("macro_recall", "min_recall", "macro_precision", "min_precision")
"""Metrics that a run logs only where something watches them, such as its choice of the best epoch."""


def per_class(truth: ArrayLike, predicted: ArrayLike) -> dict[str, float]:
    """The metrics PER_CLASS: mean and least over the classes of recall TP / (TP + FN) and precision TP / (TP + FP).

    Recall is over the classes that occur in the truth (its mean is the balanced accuracy), precision over the same: a
    class that is never predicted has precision 0.
    """
    found = _counts(truth, predicted)
    right, true, said = (each[found.true > 0] for each in found)
    recall = right / true
    precision = right / np.maximum(said, 1)  # none is right of a class that is never predicted
    values = (recall.mean(), recall.min(), precision.mean(), precision.min())
    return {name: float(value) for name, value in zip(PER_CLASS, values, strict=True)}


def confusion_matrix(truth: ArrayLike, predicted: ArrayLike, classes: int) -> NDArray[np.int64]:
    """Counts (classes, classes): row = true label, column = predicted label. A label that is none of 0 … classes - 1
    has no row or column, and is not counted."""
    truth, predicted = _checked(truth, predicted)
    classes = integer("confusion_matrix", "classes", classes, 1)
    inside = (truth >= 0) & (truth < classes) & (predicted >= 0) & (predicted < classes)
    places = truth[inside] * classes + predicted[inside]
    return np.bincount(places, minlength=classes * classes).reshape(classes, classes).astype(np.int64, copy=False)


def format_confusion(matrix: NDArray[np.int64], class_names: Sequence[str]) -> str:
    """The matrix as text: a row per true class, a column per predicted one."""
    width = max(len(str(matrix.max())), *(min(len(name), 8) for name in class_names)) + 1
    label_width = max(len("true"), *(len(name) for name in class_names))
    head = " " * label_width + "".join(name[:8].rjust(width) for name in class_names)
    rows = [
        name.rjust(label_width) + "".join(str(count).rjust(width) for count in row)
        for name, row in zip(class_names, matrix, strict=True)
    ]
    return "\n".join([head, *rows])


def pixel_confusion(truth: NDArray[Any], scores: NDArray[Any], counts: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The confusion matrix of the pixels that count, for maps of labels (n, H, W) and scores (n, classes, H, W).
    UserError as `check_scores` gives it."""
    check_scores(scores, "sample {}".format)
    classes = scores.shape[1]
    if not counts.any():
        return np.zeros((classes, classes), np.int64)
    return confusion_matrix(truth[counts], scores.argmax(axis=1)[counts], classes)


def pixel_accuracy(matrix: NDArray[np.int64]) -> float:
    """Share of the pixels that are rightly predicted, from a confusion matrix; NaN where there is none."""
    total = matrix.sum()
    return float(np.trace(matrix) / total) if total else math.nan


def mean_iou(matrix: NDArray[np.int64]) -> float:
    """Mean over the classes of intersection over union (`class_iou`), from a confusion matrix of pixels. Classes that
    occur neither in the truth nor in the prediction do not count; NaN where there is no pixel."""
    shares = class_iou(matrix)
    met = ~np.isnan(shares)
    return float(np.mean(shares[met])) if met.any() else math.nan


def class_iou(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """TP / (TP + FP + FN) of each class, intersection over union (Everingham et al. 2015, section 4.2), (classes,); NaN
    for one that occurs neither in the truth nor in the prediction."""
    right = np.diag(matrix)
    union = matrix.sum(axis=0) + matrix.sum(axis=1) - right
    return np.divide(right, union, out=np.full(len(matrix), math.nan), where=union > 0)


class _Counts(NamedTuple):
    """Samples of each class that occurs in truth or prediction: rightly predicted, in the truth, predicted."""

    right: NDArray[np.int64]
    true: NDArray[np.int64]
    predicted: NDArray[np.int64]


def _counts(truth: ArrayLike, predicted: ArrayLike) -> _Counts:
    truth, predicted = _checked(truth, predicted)
    met, numbers = np.unique(np.concatenate([truth, predicted]), return_inverse=True)
    true, said = np.split(numbers.reshape(-1), 2)
    return _Counts(*(np.bincount(each, minlength=len(met)) for each in (true[true == said], true, said)))


def _checked(truth: ArrayLike, predicted: ArrayLike) -> tuple[Labels, Labels]:
    """Both as int64 (N,); UserError where they are no labels, none at all, or of different numbers."""
    first, second = _labels("true", truth), _labels("predicted", predicted)
    if len(first) != len(second) or len(first) == 0:
        raise UserError(f"a metric needs as many predictions as labels, got {len(second)} and {len(first)}")
    return first, second


def _labels(what: str, values: ArrayLike) -> Labels:
    array = as_array("metrics", f"{what} labels", values)
    if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
        raise UserError(f"metrics: the {what} labels must be whole numbers (N,), got {array.dtype} {array.shape}")
    return as_int64(array)


def direction(metric: str, mode: str | None = None) -> str:
    """ "min" or "max": as given, or by the name: a loss is to fall, anything else to rise."""
    if mode not in (None, "min", "max"):
        raise UserError(f"mode must be min or max, got {mode!r}")
    return mode or ("min" if metric.endswith("loss") else "max")


def is_better(value: float, best: float | None, mode: str, threshold: float = 0.0) -> bool:
    """Whether `value` beats `best` by more than `threshold`. NaN never does, and anything else beats NaN or None."""
    if math.isnan(value):
        return False
    if best is None or math.isnan(best):
        return True
    return value < best - threshold if mode == "min" else value > best + threshold
