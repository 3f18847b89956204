"""Where parameters lie and how: packing between the public layouts and the panels of cnn.h.

Public: conv weights (OC, IC/groups, KH, KW), linear weights (out, in), vectors (C,). Packed: weights in panels of 16
output channels, [groups][ceil(OC/groups / 16)][K][16] with K in the order kh, kw, ic; missing columns are zero. The
weights of a transposed convolution are those of the convolution that it transposes: its inputs are that one's outputs.
"""

from __future__ import annotations

import math

from engine.layers import Conv2D, ConvTranspose2D, Flatten, Layer, Linear, ParameterSpec
from engine.layers.topology import Topology
from engine.program.limits import check_elements
from engine.program.shapes import Shape, needs_transpose
from engine.program.slots import PANEL, Slot, total_floats


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
    found: list[str] = []
    pending = [name]
    while pending:
        source = pending.pop()
        if source == topology.output:
            return None
        for node in topology.consumers(source):
            if isinstance(node.layer, Linear):
                found.append(node.name)
            elif node.layer.elementwise:
                pending.append(node.name)
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
    last = next(reversed(slots.values()), None)
    offset = 0 if last is None else total_floats([last])
    key = f"{name}.{spec.name}"
    if spec.role != "weights":
        slots[key] = Slot(key, name, layer.kind, spec, offset, math.prod(spec.shape))
        return
    groups = layer.groups if isinstance(layer, (Conv2D, ConvTranspose2D)) else 1
    if spec.shape[0] == groups and spec.shape[1] == 1:
        groups = 1  # filters of one channel each are the columns of one group
    columns = spec.shape[0] // groups
    rows = math.prod(spec.shape[1:])
    count = groups * -(-columns // PANEL) * rows * PANEL
    check_elements(f"layer {name!r}: {spec.name} of shape {spec.shape}, in whole panels,", count)
    slots[key] = Slot(key, name, layer.kind, spec, offset, count, groups, rows, columns, order)
