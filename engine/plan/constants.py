"""Constants of a program: the optimiser's segment table, or weights prepared for inference: folded, transformed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cnncore
import numpy as np
from numpy.typing import NDArray

from engine.plan.algorithms import Filter
from engine.plan.fuse import Fold
from engine.plan.update import Segment
from engine.program.code import CONSTANTS
from engine.program.slots import Slot, column_scale

Array = NDArray[np.float32]


def write_segments(constants: Array, segments: Sequence[Segment], dtype: np.dtype[Any], offset: int) -> None:
    """Put the table of cnn_segment into the constants, from byte `offset` on."""
    rows = [(s.offset, s.count, s.l2, s.weight_decay, s.lr_scale, 0.0) for s in segments]
    table = np.array(rows, dtype).view(np.float32)
    constants[offset // 4 : offset // 4 + table.size] = table


def write_fold(
    constants: Array,
    fold: Fold,
    parameters: Mapping[str, Slot],
    buffers: Mapping[str, Slot],
    parameter_data: Array,
    buffer_data: Array,
) -> None:
    """Fold the running statistics into weights and bias, in double precision, rounded once. What is not finite there
    shows in the outputs, as it does without folding."""
    gamma, beta = (
        _read(parameters[key], parameter_data) if (key := f"{fold.norm}.{name}") in parameters else absent
        for name, absent in (("weights", 1.0), ("bias", 0.0))
    )
    mean, variance = (_read(buffers[f"{fold.norm}.{name}"], buffer_data) for name in ("running_mean", "running_var"))
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(variance + fold.eps)
        slot = parameters[fold.weights]
        panels = _read(slot, parameter_data).reshape(slot.groups, -1, slot.rows, column_scale(slot, scale).shape[-1])
        start = fold.weights_offset // 4
        constants[start : start + slot.count] = (panels * column_scale(slot, scale)).reshape(-1)
        bias = _read(parameters[fold.bias], parameter_data) if fold.bias else 0.0
        start = fold.bias_offset // 4
        constants[start : start + scale.size] = (bias - mean) * scale + beta


def write_filter(constants: Array, made: Filter, parameter_data: Array) -> None:
    """Transform the weights of a convolution (folded ones, where batch normalisation was folded) into its filter."""
    source = constants if made.space == CONSTANTS else parameter_data
    weights = source[made.weights_offset // 4 : (made.weights_offset + made.weights_bytes) // 4]
    target = constants[made.offset // 4 : (made.offset + made.bytes) // 4]
    cnncore.run_op(made.op, {"dst": target, "weights": weights}, made.geometry, 1)


def _read(slot: Slot, data: Array) -> NDArray[np.float64]:
    return data[slot.offset : slot.offset + slot.count].astype(np.float64)
