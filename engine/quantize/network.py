"""A quantised network: integers between two ends in float32."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.layers import Layer, Scale
from engine.layers.topology import INPUT, Topology, checked_topology, make_node
from engine.losses import Loss
from engine.network.inputs import capacity, checked_class_names, checked_input, nonfinite_error, warn_of_nameless
from engine.network.network import Network
from engine.plan.table import table
from engine.program.shapes import Shape
from engine.quantize import reference, stored
from engine.quantize.body import Body

Array = NDArray[np.float32]


class QuantizedNetwork:
    """What `engine.quantize` gives, and `engine.quantize.load` reads: int8 weights, uint8 values, int32 sums.

    body        the integer part (engine.quantize.body)
    head, tail  what lies before and behind it in float32: the layers that were left as they are, softmax; or None
    notes       how it was quantised
    preprocess, class_names   as a Network has them

    predict and evaluate are those of a Network. It cannot be trained.
    """

    preprocess: dict[str, Any] | None = None

    def __init__(self, body: Body, head: Network | None, tail: Network | None, notes: stored.Notes):
        self.body, self.head, self.tail = body, head, tail
        self.notes = notes
        self._class_names: Sequence[str] = ()

    @property
    def input_shape(self) -> Shape:
        """Per sample: (C, H, W) or (K,)."""
        return self.body.topology.input_shape if self.head is None else self.head.input_shape

    @property
    def output_shape(self) -> Shape:
        """Per sample, in the public order."""
        return self.body.topology.output_shape if self.tail is None else self.tail.output_shape

    @property
    def class_names(self) -> Sequence[str]:
        """By label, or empty, as a Network's."""
        return self._class_names

    @class_names.setter
    def class_names(self, names: Any) -> None:
        self.name_classes(names)
        warn_of_nameless("class_names: the network has", self._class_names, self.output_shape[0])

    def name_classes(self, names: Any) -> None:
        """Set `class_names` where somebody else tells of outputs without one."""
        self._class_names = checked_class_names(names, self.output_shape[0])

    @property
    def topology(self) -> Topology:
        """All layers in one graph: those in float32, and the integer part's."""
        nodes = []
        last = INPUT
        for part in (self.head, self.body, self.tail):
            if part is None:
                continue
            first = last
            for node in part.topology.nodes:
                shapes = [part.topology.shape_of(name) for name in node.inputs]
                nodes.append(
                    make_node(node.name, node.layer, [first if name == INPUT else name for name in node.inputs], shapes)
                )
            last = part.topology.output
        return checked_topology(self.input_shape, nodes, last)

    @property
    def layers(self) -> dict[str, Layer]:
        """Name → layer, in the order in which they run."""
        return {node.name: node.layer for node in self.topology.nodes}

    @property
    def weight_bytes(self) -> int:
        """Of all arrays: the integers, and the parameters of layers in float32."""
        floats = sum(4 * part.num_parameters for part in (self.head, self.tail) if part is not None)
        return floats + sum(array.nbytes for array in self.body.arrays.values())

    def __repr__(self) -> str:
        return (
            f"QuantizedNetwork({len(self.body.topology.nodes)} integer layers, {self.weight_bytes:,} bytes of weights)"
        )

    def codes(self, x: Array, batch_size: int = 256) -> NDArray[np.uint8]:
        """What the last integer layer gives for float32 samples (n, *input_shape): uint8 (n, *its shape), public
        order."""
        x = self._checked(x)
        size = capacity(max(len(x), 1), batch_size)
        found = [self._codes(x[start : start + size]) for start in range(0, len(x), size)]
        return np.concatenate(found) if found else np.empty((0, *self.body.topology.output_shape), np.uint8)

    def logits(self, x: Array, batch_size: int = 256) -> Array:
        """What these codes stand for, float32: what softmax, or another layer in float32, is applied to."""
        return self.body.output.numbers(self.codes(x, batch_size))

    def predict(self, x: Array, batch_size: int = 256) -> Array:
        """What the last layer gives for float32 images (n, C, H, W): float32 (n, *output_shape).

        The same bits whatever the batch, the number of threads and the instruction set, but for layers in float32 that
        are no sums of their own (softmax is the same for every batch too).
        """
        logits = self.logits(x, batch_size)
        return logits if self.tail is None else self.tail.predict(logits, batch_size, "direct")

    def evaluate(self, x: Array, y: NDArray[Any], loss: Loss, batch_size: int = 256) -> tuple[float, Array]:
        """Mean loss over all samples, and the outputs as `predict` gives them."""
        tail = self.tail or Network(_nothing(self.body.topology.output_shape))
        return tail.evaluate(self.logits(x, batch_size), y, loss, batch_size, "direct")

    def summary(self) -> str:
        """A table of the layers with shapes, scales and bytes, and totals."""
        body, kinds = self.body, {True: "float32", False: "int8"}
        rows = [("name", "layer", "output shape", "numbers", "scale", "zero", "bytes")]
        for node in self.topology.nodes:
            own = body.topology if node.name in body.encodings else None
            encoding = body.encodings.get(node.name)
            held = sum(array.nbytes for key, array in body.arrays.items() if key.rpartition(".")[0] == node.name)
            if own is None:
                held = sum(4 * math.prod(spec.shape) for spec in (*node.layer.parameters(), *node.layer.buffers()))
            shape = " x ".join(map(str, node.shape))
            scale, zero = ("", "") if encoding is None else (f"{encoding.scale:g}", str(encoding.zero))
            rows.append((node.name, str(node.layer), shape, kinds[own is None], scale, zero, f"{held:,}"))
        entry = body.encodings[INPUT]
        lines = table(rows, numeric={2, 4, 5, 6})
        lines.insert(1, "-" * max(map(len, lines)))
        notes = self.notes
        return "\n".join(
            [
                *lines,
                lines[1],
                f"input codes: scale {entry.scale:g}, zero {entry.zero}",
                f"weights: {self.weight_bytes:,} bytes; scales {notes.scales}, of {notes.weight_bits} bits, calibrated "
                f"by {notes.calibrate} with {notes.samples:,} samples",
            ]
        )

    def save(self, path: Path | str) -> None:
        """Write a file that `engine.quantize.load` reads; one that is there is replaced whole, or not at all."""
        stored.save(self, path)

    def _checked(self, x: Any) -> Array:
        x = checked_input(x, self.input_shape)
        if not np.isfinite(x).all():
            raise nonfinite_error(x, x[:0], 0)
        return x

    def _codes(self, x: Array) -> NDArray[np.uint8]:
        values = x if self.head is None else self.head.predict(x, len(x), "direct")
        codes = self.body.encodings[INPUT].codes(values)
        return reference.run(self.body, codes)[self.body.topology.output]


def _nothing(shape: Shape) -> Topology:
    """One layer that changes nothing, for what a network alone can do with its outputs."""
    node = make_node("same", Scale(factor=1.0), [INPUT], [shape])
    return checked_topology(shape, [node], node.name)


def in_float32(network: Network | QuantizedNetwork, suffix: str) -> Network:
    """The network; UserError for one of integers, which files of this suffix cannot hold."""
    if isinstance(network, QuantizedNetwork):
        raise UserError(f"a quantised network can be written as .onnx or .c, not as {suffix}; what it was made of can")
    return network
