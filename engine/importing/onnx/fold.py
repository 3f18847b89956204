"""What an ONNX file computes of its own constants and shapes: lists of extents for a Reshape, mostly."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.importing.onnx.document import Op
from engine.importing.onnx.reader import Reader

BATCH = -987_654_319
"""Stands for the batch in a computed shape: no sum or product of it is taken for an extent by mistake. An int32 too."""

MOST = 1 << 24  # elements of what is computed
DTYPES = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16, 11: np.float64}  # by ONNX's numbers

Arrays = list[NDArray[Any]]
ABSENT: NDArray[Any] = np.zeros(0)
"""Stands for axes that a Slice does without."""


def folded(reader: Reader, op: Op) -> NDArray[Any] | None:
    """The value of an operation that reads constants only, or the shape of a value; None for any other."""
    if op.kind == "Constant":
        return _constant(op)
    if op.kind == "Shape" and op.has(0) and not reader.is_constant(op, 0):
        return _extents(op, (BATCH, *reader.data(op).shape))
    if op.kind not in FOLDS or not all(
        reader.is_constant(op, index) for index in range(len(op.inputs)) if op.has(index)
    ):
        return None
    names = [op.inputs[index] if op.has(index) else "" for index in range(len(op.inputs))]
    while names and not names[-1]:
        names.pop()
    if not names or not names[0]:
        return None
    # An absent input keeps its place: a Slice may have steps and no axes.
    if "" in names and op.kind != "Slice":
        raise op.refused(f"lacks its input {names.index('')}")
    arrays = [reader.document.constants[name] if name else ABSENT for name in names]
    if sum(array.size for array in arrays) > MOST:
        return None
    try:
        _check_size(op, arrays)
        with np.errstate(all="ignore"):
            result = np.asarray(FOLDS[op.kind](op, arrays))
    except UserError:
        raise
    except (ValueError, IndexError, TypeError, OverflowError, KeyError) as error:
        raise op.refused(f"cannot be computed of its constants: {error}") from None
    return result


def _extents(op: Op, shape: tuple[int, ...]) -> NDArray[Any]:
    return np.array(shape, np.int64)[op.whole("start", 0) : op.whole("end", len(shape))]


def _check_size(op: Op, arrays: Arrays) -> None:
    """UserError where two small arrays would make a large one."""
    if op.kind in ("Add", "Sub", "Mul", "Div"):
        count = math.prod(np.broadcast_shapes(*(array.shape for array in arrays)))
    elif op.kind == "Gather":
        count = arrays[0].size * max(arrays[1].size, 1)
    else:
        return
    if count > MOST:
        raise op.refused(f"makes an array of {count} constants, of {MOST} at most")


def _constant(op: Op) -> NDArray[Any]:
    kinds: Mapping[str, Any] = {
        "value": None,
        "value_float": np.float32,
        "value_floats": np.float32,
        "value_int": np.int64,
        "value_ints": np.int64,
    }
    for name, dtype in kinds.items():
        if (value := op.get(name)) is not None:
            return np.asarray(value, dtype)
    raise op.refused("is a constant of a kind that the engine does not read")


def _reshape(op: Op, arrays: Arrays) -> NDArray[Any]:
    target = arrays[1].tolist()
    if not op.flag("allowzero", 0):
        target = [arrays[0].shape[place] if extent == 0 else extent for place, extent in enumerate(target)]
    return arrays[0].reshape(target)


def _given(arrays: Arrays, index: int, default: list[int]) -> list[int]:
    """The numbers of an input, or what holds where there is none."""
    return list(arrays[index].tolist()) if len(arrays) > index and arrays[index] is not ABSENT else default


def _unsqueeze(op: Op, arrays: Arrays) -> NDArray[Any]:
    axes = _given(arrays, 1, list(op.wholes("axes", ())))
    return np.expand_dims(arrays[0], tuple(axes))


def _squeeze(op: Op, arrays: Arrays) -> NDArray[Any]:
    axes = _given(arrays, 1, list(op.wholes("axes", ())))
    return np.squeeze(arrays[0], tuple(axes) or None)


def _slice(op: Op, arrays: Arrays) -> NDArray[Any]:
    if len(arrays) == 1:
        starts, ends = list(op.wholes("starts", ())), list(op.wholes("ends", ()))
        axes, steps = list(op.wholes("axes", range(len(starts)))), [1] * len(starts)
    else:
        starts, ends = arrays[1].tolist(), arrays[2].tolist()
        axes = _given(arrays, 3, list(range(len(starts))))
        steps = _given(arrays, 4, [1] * len(starts))
    index = [slice(None)] * arrays[0].ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        index[axis] = slice(start, end, step)
    return arrays[0][tuple(index)]


def _cast(op: Op, arrays: Arrays) -> NDArray[Any]:
    op.get("saturate")
    return arrays[0].astype(DTYPES[op.whole("to", 0)])


def _filled(op: Op, arrays: Arrays) -> NDArray[Any]:
    shape = arrays[0].tolist()
    if len(shape) > 8 or any(not 0 <= extent <= MOST for extent in shape) or np.prod(shape, dtype=float) > MOST:
        raise UserError(f"{op}: makes an array of shape {shape[:8]}")
    value = op.get("value")
    return np.full(shape, 0.0 if value is None else value.reshape(-1)[0], np.float32 if value is None else value.dtype)


def _joined(op: Op, arrays: Arrays) -> NDArray[Any]:
    return np.concatenate(arrays, op.whole("axis", 0))


def _gather(op: Op, arrays: Arrays) -> NDArray[Any]:
    return np.take(arrays[0], arrays[1], op.whole("axis", 0))


def _divided(op: Op, arrays: Arrays) -> NDArray[Any]:
    if arrays[0].dtype.kind == "f":
        return arrays[0] / arrays[1]
    if not arrays[1].all():
        raise ValueError("a division by 0")
    return np.asarray(np.trunc(arrays[0] / arrays[1]), arrays[0].dtype)


FOLDS: Mapping[str, Callable[[Op, Arrays], Any]] = {
    "Identity": lambda op, arrays: arrays[0],
    "Cast": _cast,
    "Reshape": _reshape,
    "Transpose": lambda op, arrays: arrays[0].transpose(op.wholes("perm", tuple(reversed(range(arrays[0].ndim))))),
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Slice": _slice,
    "Gather": _gather,
    "Concat": _joined,
    "ConstantOfShape": _filled,
    "Shape": lambda op, arrays: _extents(op, arrays[0].shape),
    "Add": lambda op, arrays: arrays[0] + arrays[1],
    "Sub": lambda op, arrays: arrays[0] - arrays[1],
    "Mul": lambda op, arrays: arrays[0] * arrays[1],
    "Div": _divided,
    "Neg": lambda op, arrays: -arrays[0],
    "Sqrt": lambda op, arrays: np.sqrt(arrays[0]),
    "Reciprocal": lambda op, arrays: 1 / arrays[0],
    "Floor": lambda op, arrays: np.floor(arrays[0]),
}
"""Operations on constants: those that exporters leave in their files."""
