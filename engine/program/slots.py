"""Where an array of a network lies and how: packing between the public layouts and the panels of cnn.h.

Public: conv weights (OC, IC/groups, KH, KW), linear weights (out, in), vectors (C,). Packed: weights in panels of 16
output channels, [groups][ceil(OC/groups / 16)][K][16] with K in the order kh, kw, ic; missing columns are zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cnncore
import numpy as np
from numpy.typing import NDArray

from engine.program.shapes import Shape

PANEL = cnncore.PANEL
ALIGNED_FLOATS = cnncore.ALIGNMENT // 4

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Slot:
    """One parameter or buffer in its flat array: `count` floats from `offset` (both in elements).

    `groups` is 0 for a plain vector, otherwise the panels' groups. `rows` is K of the panels, `columns` the output
    channels per group. `channels_last` is (C, H, W) of a flattened map whose order in memory is H, W, C.
    """

    key: str
    layer: str
    kind: str
    spec: ParameterSpec
    offset: int
    count: int
    groups: int = 0
    rows: int = 0
    columns: int = 0
    channels_last: Shape | None = None


def padded(count: int) -> int:
    """`count` floats, rounded up to whole 64-byte lines."""
    return -(-count // ALIGNED_FLOATS) * ALIGNED_FLOATS


def total_floats(slots: Iterable[Slot]) -> int:
    """Floats of an array that holds all these slots, gaps included."""
    return max((slot.offset + padded(slot.count) for slot in slots), default=0)


def pack(slot: Slot, public: Array) -> Array:
    """The public array as the flat run of floats that the kernels read."""
    assert public.shape == slot.spec.shape
    if not slot.groups:
        return np.ascontiguousarray(public)
    panels = np.zeros((slot.groups, -(-slot.columns // PANEL) * PANEL, slot.rows), np.float32)
    panels[:, : slot.columns] = _rows_last(slot, public)
    split = panels.reshape(slot.groups, -1, PANEL, slot.rows)
    return np.ascontiguousarray(split.transpose(0, 1, 3, 2)).reshape(-1)


def unpack(slot: Slot, packed: Array) -> Array:
    """A copy of the packed run in the public layout."""
    assert packed.shape == (slot.count,)
    if not slot.groups:
        return packed.copy()
    panels = packed.reshape(slot.groups, -1, slot.rows, PANEL).transpose(0, 1, 3, 2)
    columns = panels.reshape(slot.groups, -1, slot.rows)[:, : slot.columns]
    return np.ascontiguousarray(_from_rows_last(slot, columns))


def column_scale(slot: Slot, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """One value per output channel, shaped to multiply packed panels: (groups, panels, 1, 16)."""
    padded_values = np.zeros((slot.groups, -(-slot.columns // PANEL) * PANEL))
    padded_values[:, : slot.columns] = values.reshape(slot.groups, slot.columns)
    return padded_values.reshape(slot.groups, -1, 1, PANEL)


def _rows_last(slot: Slot, public: Array) -> Array:
    """Public weights as (groups, columns, rows), rows in the order of memory."""
    if len(slot.spec.shape) == 4:
        _, inputs, kernel_h, kernel_w = slot.spec.shape
        split = public.reshape(slot.groups, slot.columns, inputs, kernel_h, kernel_w)
        return split.transpose(0, 1, 3, 4, 2).reshape(slot.groups, slot.columns, slot.rows)
    if slot.channels_last:
        public = public.reshape(-1, *slot.channels_last).transpose(0, 2, 3, 1)
    return public.reshape(1, slot.columns, slot.rows)


def _from_rows_last(slot: Slot, columns: Array) -> Array:
    if len(slot.spec.shape) == 4:
        _, inputs, kernel_h, kernel_w = slot.spec.shape
        split = columns.reshape(slot.groups, slot.columns, kernel_h, kernel_w, inputs)
        return split.transpose(0, 1, 4, 2, 3).reshape(slot.spec.shape)
    if slot.channels_last:
        channels, height, width = slot.channels_last
        columns = columns.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
    return columns.reshape(slot.spec.shape)


@dataclass(frozen=True)
class ParameterSpec:
    """One array that a layer owns.

    `name` ends its key ("0.weights"); `shape` is the public one. `role` is "weights" (drawn by the initialiser),
    "bias" or "mean" (start at 0), "scale" or "variance" (at 1), "slope" (at 0.25, He et al. 2015). Only
    "weights" get Keras-style L2.
    """

    name: str
    shape: Shape
    role: str
    fan_in: int = 1
    fan_out: int = 1
