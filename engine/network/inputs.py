"""Checks of what a user hands to a network: images, labels, targets. The values are checked in C."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.arguments import as_int64, integer, refuse_masked
from engine.errors import SampleError, UserError, listed, shown, warn
from engine.layers import BatchNorm
from engine.layers.topology import Topology
from engine.losses import LABELS, ROUNDING, TARGETS, CrossEntropy, Loss, checked_loss
from engine.program.shapes import Shape, elements, spatial

LONGEST_NAME = 1000  # characters of a class's name
SUM_TOLERANCE = 0.05  # for ten probabilities that were rounded to two digits


def checked_input(x: Any, shape: Shape) -> NDArray[np.float32]:
    """`x` as a contiguous float32 array of shape (n, *shape)."""
    if not isinstance(x, np.ndarray):
        raise UserError(f"the input must be a NumPy array of shape (n, {_words(shape)}), not {type(x).__name__}")
    refuse_masked("the input has", x)
    if x.dtype != np.float32:
        raise UserError(f"the input has dtype {x.dtype}, but float32 is needed: {_advice(x.dtype)}")
    if x.ndim != len(shape) + 1 or x.shape[1:] != shape:
        raise UserError(f"the input has shape {x.shape}, but the network takes (n, {_words(shape)})")
    return np.ascontiguousarray(x)


def checked_targets(y: Any, samples: int, loss: Loss, shape: Shape) -> tuple[NDArray[Any], str]:
    """`y` as the loss takes it, and its kind: int64 labels (n,) or float32 targets (n, *shape)."""
    wanted = _wanted(checked_loss("network", loss), shape)
    check_decides(loss, shape)
    if not isinstance(y, np.ndarray):
        raise UserError(f"the targets must be a NumPy array: {wanted}; got {type(y).__name__}")
    refuse_masked("the targets have", y)
    kind = LABELS if y.dtype.kind in "iu" else TARGETS
    if kind not in loss.ops or y.dtype.kind not in "iuf" or (kind == TARGETS and y.dtype != np.float32):
        raise UserError(f"the targets have dtype {y.dtype}, but {type(loss).__name__} takes {wanted}")
    expected = (samples, *loss.target_shape(kind, shape))
    if y.shape != expected:
        raise UserError(f"the targets have shape {y.shape}, but {expected} is needed for {samples} samples")
    if kind == LABELS:
        return np.ascontiguousarray(as_int64(y)), kind
    check_targets(y, loss, shape)
    return np.ascontiguousarray(y, np.float32), kind


def check_decides(loss: Loss, shape: Shape) -> None:
    """UserError for a cross-entropy that is 0 whatever the network gives."""
    if isinstance(loss, CrossEntropy) and elements(shape) == 1:
        raise UserError(
            "CrossEntropy compares outputs, and the network has one: one output is always right, with a loss of 0; "
            "is it BinaryCrossEntropy or MeanSquaredError?"
        )


def check_targets(y: NDArray[Any], loss: Loss, shape: Shape) -> None:
    """SampleError for a target (n, ...) that is a number, but none that the loss takes."""
    _check_range(y, loss, *loss.target_range(shape))


def check_probabilities(labels: NDArray[Any], loss: Loss) -> None:
    """SampleError where soft labels (n, classes) of a data set are to be probabilities, and a row is none."""
    if labels.ndim != 2 or not isinstance(loss, CrossEntropy):
        return
    _check_range(labels, loss, -ROUNDING, math.inf)
    sums = labels.sum(axis=1, dtype=np.float64)
    wrong = np.abs(sums - 1.0) > SUM_TOLERANCE
    if wrong.any():
        sample = int(wrong.argmax())
        what = (
            f"sum to {sums[sample]:g}, but those of {type(loss).__name__} are probabilities, and sum to 1: divide each "
        )
        raise SampleError("the targets of ", sample, f"{what}row by its sum; sample_weights weight samples")


def _check_range(y: NDArray[Any], loss: Loss, low: float, high: float) -> None:
    if not y.size or not (y.min() < low or y.max() > high):
        return
    sample, *place = map(int, np.argwhere((y < low) | (y > high))[0])
    takes = "numbers of at least 0" if math.isinf(high) else f"{round(low)} to {round(high)}"
    value = y[(sample, *place)]
    what = f"holds {value} at {tuple(place)}, but {type(loss).__name__} takes {takes}"
    raise SampleError("the targets of ", sample, what)


def nonfinite_error(x: NDArray[np.float32], y: NDArray[Any], first: int) -> SampleError:
    """Says where the first NaN or infinity is, in the input or else in the targets; `first` numbers the samples."""
    for name, array in (("input", x), ("targets", y)):
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            sample, *place = map(int, bad[0])
            value = array[tuple(bad[0])]
            return SampleError(f"the {name} of ", first + sample, f"holds {value} at {tuple(place)}")
    raise AssertionError("no value is NaN or infinite")


def label_error(y: NDArray[Any], classes: int, first: int) -> SampleError:
    sample = int(np.flatnonzero((y < 0) | (y >= classes))[0])
    return SampleError("", first + sample, f"has label {y[sample]}, but labels run from 0 to {classes - 1}")


def single_value_norm(topology: Topology, frozen: Sequence[str] = ()) -> str | None:
    """Name of a BatchNorm that sees one value per channel and sample: it cannot learn from a batch of one sample. The
    layers in `frozen` take no statistics of the batch."""
    learning = (node for node in topology.nodes if node.name not in frozen)
    norms = (node for node in learning if isinstance(node.layer, BatchNorm))
    return next((node.name for node in norms if spatial(node.shape) == 1), None)


def single_value_error(layer: str) -> UserError:
    return UserError(
        f"the batch has one sample, so BatchNorm {layer!r} sees one value per channel and has no variance: "
        "training needs two samples or more"
    )


def checked_class_names(names: Any, outputs: int) -> list[str]:
    """`names` as a list: texts that differ, no more than the network has outputs; UserError otherwise.

    There may be fewer: outputs that no class of the training stands for.
    """
    if isinstance(names, (str, bytes, Mapping)) or not isinstance(names, (Sequence, np.ndarray)):
        raise UserError(f"class_names must be a list of texts, not {shown(names)}")
    if len(names) > outputs:
        raise UserError(f"class_names has {len(names)} names, but the network {outputs} outputs")
    seen: set[str] = set()
    for name in names:
        if not isinstance(name, str) or len(name) > LONGEST_NAME:
            raise UserError(f"class_names must hold texts of at most {LONGEST_NAME} characters, not {shown(name)}")
        if name in seen:
            raise UserError(f"class_names has the name {shown(name)} twice, so that a label could be either")
        seen.add(name)
    return [str(name) for name in names]


def warn_of_nameless(subject: str, names: Sequence[str], outputs: int) -> None:
    """Warn where some outputs, but not all, have a class's name: no class of the training stands for the rest.
    `subject` begins the message."""
    if 0 < len(names) < outputs:
        warn(
            f"{subject} {outputs} outputs, but names of {len(names)} classes: {listed(names)}; the others stand for no "
            f'class, and a prediction that is one of them says "output {len(names)}" or the like'
        )


def capacity(samples: int, batch_size: int) -> int:
    """Largest batch to plan for: the batch size, or the power of two that holds fewer samples."""
    batch_size = integer("predict", "batch_size", batch_size, 1)
    return min(batch_size, 1 << (samples - 1).bit_length())


def _wanted(loss: Loss, shape: Shape) -> str:
    forms = {LABELS: "integer labels (n,)", TARGETS: f"float32 targets (n, {_words(shape)})"}
    return " or ".join(forms[kind] for kind in loss.ops)


def _words(shape: Shape) -> str:
    return ", ".join(map(str, shape))


def _advice(dtype: np.dtype[Any]) -> str:
    if dtype == np.uint8:
        return "scale the pixels, for example x.astype(numpy.float32) / 255"
    return "convert it with x.astype(numpy.float32)"
