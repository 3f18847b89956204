"""What a data set may have for labels and weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.arguments import as_array, as_int64
from engine.errors import SampleError, UserError, listed, twice

MOST_CLASSES = 100_000  # labels beyond are counted from something else than 0


def as_labels(name: str, values: Any) -> NDArray[Any]:
    """Labels as an array, whole numbers (N,) as int64; in a list of rows, which has no type of its own, as float32."""
    array = as_array(name, "labels", values)
    if array.ndim == 1 and array.dtype.kind in "iu":
        try:
            return as_int64(array)
        except SampleError as error:
            raise error.at(error.sample, name) from None
    if array.ndim == 2 and array.dtype.kind in "iuf" and not isinstance(values, np.ndarray):
        return array.astype(np.float32)
    return array


def checked_weights(name: str, count: int, weights: Any) -> NDArray[np.float32]:
    """Weights of samples as float32 (count,); UserError where one is negative or not finite, or all are 0."""
    array = as_array(name, "sample weights", weights)
    if array.dtype.kind not in "iufb":
        raise UserError(f"{name}: sample weights must be numbers, got {array.dtype}")
    array = array.astype(np.float32, copy=False)
    if array.shape != (count,):
        raise UserError(f"{name}: sample weights have shape {array.shape}, expected ({count},)")
    if not (np.isfinite(array).all() and array.min() >= 0 and array.any()):
        raise UserError(f"{name}: sample weights must be finite numbers of at least 0, and not all 0")
    return array


def check_labels(
    name: str, count: int, labels: NDArray[Any], class_names: Sequence[str], *, maps: bool = False
) -> None:
    """UserError unless there is a label of a fitting type and range for each of the `count` samples; `maps`: or a map
    of them, whose range is the loss's affair."""
    if count == 0:
        raise UserError(f"{name}: the data set is empty")
    is_map = maps and labels.ndim == 3 and labels.dtype.kind in "iu"
    if (
        not is_map
        and not (labels.ndim == 1 and labels.dtype == np.int64)
        and not (labels.ndim == 2 and labels.dtype == np.float32)
    ):
        raise UserError(
            f"{name}: labels must be whole numbers (N,) or float32 (N, classes), got {labels.dtype} {labels.shape}"
        )
    if len(labels) != count:
        raise UserError(f"{name}: {count} images but {len(labels)} labels")
    if (again := twice(class_names)) is not None:
        raise UserError(f"{name}: the class name {again!r} stands twice among {listed(class_names)}")
    if class_names and labels.ndim == 2 and labels.shape[1] != len(class_names):
        raise UserError(
            f"{name}: soft labels of {labels.shape[1]} classes, but the names of {len(class_names)}: "
            f"{listed(class_names)}"
        )
    if labels.ndim == 1:
        if labels.max() >= MOST_CLASSES:
            raise UserError(f"{name}: labels run to {labels.max()}, expected numbers of classes below {MOST_CLASSES}")
        if class_names and not (labels.min() >= 0 and labels.max() < len(class_names)):
            raise UserError(
                f"{name}: labels run from {labels.min()} to {labels.max()}, expected 0 to {len(class_names) - 1}"
            )
    elif not is_map and not np.isfinite(labels).all():
        sample, label = map(int, np.argwhere(~np.isfinite(labels))[0])
        raise UserError(f"{name}: the label of sample {sample} holds {labels[sample, label]} for class {label}")
