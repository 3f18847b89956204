"""Where parameters lie and how: packing between the public layouts and the panels of cnn.h.

Public: conv weights (OC, IC/groups, KH, KW), linear weights (out, in), vectors (C,). Packed: weights in panels of 16
output channels, [groups][ceil(OC/groups / 16)][K][16] with K in the order kh, kw, ic; missing columns are zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from cnncore import ALIGNMENT, PANEL
from numpy.typing import NDArray

from engine.layers import Conv2D, Flatten, Layer, Linear, ParameterSpec
from engine.layers.base import Shape
from engine.layers.structure import needs_transpose
from engine.topology import Topology

ALIGNED_FLOATS = ALIGNMENT // np.dtype(np.float32).itemsize

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


def flattened_maps(topology: Topology) -> tuple[frozenset[str], dict[str, Shape]]:
    """Which Flatten layers only rename their input, and the Linear layers that then see H, W, C order.

    A Flatten of a map is free when every reader, past elementwise layers, is a Linear: it then stores the columns
    of its weights in the order in which the map lies in memory. Returns the names of those Flatten layers and, by
    name of the Linear, the (C, H, W) of its input.
    """
    free: set[str] = set()
    orders: dict[str, Shape] = {}
    for node in topology.nodes:
        shape = topology.shape_of(node.inputs[0])
        if not isinstance(node.layer, Flatten) or not needs_transpose(shape):
            continue
        readers = _linear_readers(topology, node.name)
        if readers is not None:
            free.add(node.name)
            orders.update(dict.fromkeys(readers, shape))
    return frozenset(free), orders


def _linear_readers(topology: Topology, name: str) -> list[str] | None:
    """Names of the Linear layers that read `name`, also through elementwise layers; None if anything else does."""
    if name == topology.output:
        return None
    found: list[str] = []
    for node in topology.consumers(name):
        if isinstance(node.layer, Linear):
            found.append(node.name)
        elif node.layer.elementwise:
            behind = _linear_readers(topology, node.name)
            if behind is None:
                return None
            found.extend(behind)
        else:
            return None
    return found


def assign_slots(topology: Topology) -> tuple[dict[str, Slot], dict[str, Slot]]:
    """Slots of the trainable parameters and of the buffers, by key, in the order of the layers."""
    _, orders = flattened_maps(topology)
    parameters: dict[str, Slot] = {}
    buffers: dict[str, Slot] = {}
    for node in topology.nodes:
        for spec in node.layer.parameters():
            _append(parameters, node.name, node.layer, spec, orders.get(node.name))
        for spec in node.layer.buffers():
            _append(buffers, node.name, node.layer, spec, None)
    return parameters, buffers


def _append(slots: dict[str, Slot], name: str, layer: Layer, spec: ParameterSpec, order: Shape | None) -> None:
    offset = total_floats(slots.values())
    key = f"{name}.{spec.name}"
    if spec.role != "weights":
        slots[key] = Slot(key, name, layer.kind, spec, offset, math.prod(spec.shape))
        return
    groups = layer.groups if isinstance(layer, Conv2D) else 1
    columns = spec.shape[0] // groups
    rows = math.prod(spec.shape[1:])
    count = groups * -(-columns // PANEL) * rows * PANEL
    slots[key] = Slot(key, name, layer.kind, spec, offset, count, groups, rows, columns, order)


def padded(count: int) -> int:
    """`count` floats, rounded up to where the core lets arrays start: whole cache lines."""
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
