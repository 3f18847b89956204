"""A quantised network: integers between two ends in float32."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.arguments import integer
from engine.errors import UserError
from engine.layers import Layer, Scale
from engine.layers.topology import INPUT, Topology, checked_topology, make_node
from engine.losses import Loss
from engine.network.inputs import checked_class_names, warn_of_nameless
from engine.network.network import Network
from engine.plan.plan import Plan
from engine.plan.table import table
from engine.program.limits import MOST_ELEMENTS
from engine.program.shapes import Shape
from engine.quantize import stored
from engine.quantize.body import Body
from engine.quantize.execution import Execution

Array = NDArray[np.float32]


class QuantizedNetwork:
    """What `engine.quantize` gives, and `engine.quantize.load` reads: int8 weights, uint8 values, int32 sums.

    body        the integer part (engine.quantize.body)
    head, tail  what lies before and behind it in float32: the layers that were left as they are, softmax; or None
    notes       how it was quantised
    preprocess, class_names, trained_by   as a Network has them

    predict and evaluate are those of a Network. It cannot be trained.
    """

    preprocess: dict[str, Any] | None = None
    trained_by: str | None = None

    def __init__(self, body: Body, head: Network | None, tail: Network | None, notes: stored.Notes):
        self.body, self.head, self.tail = body, head, tail
        self.notes = notes
        self.execution = Execution(body, head, tail)
        self._class_names: Sequence[str] = ()

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copy: programs are bound to memory, so a copy compiles its own."""
        return {key: value for key, value in self.__dict__.items() if key != "execution"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.execution = Execution(self.body, self.head, self.tail)

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

    def predict(self, x: Array, batch_size: int = 256) -> Array:
        """What the last layer gives for float32 images (n, C, H, W): float32 (n, *output_shape).

        The integers are the same for any batch, number of threads and instruction set.
        """
        return self.execution.run(x, batch_size, whole=True)

    def logits(self, x: Array, batch_size: int = 256) -> Array:
        """What the last integers stand for, float32 (n, *their shape): what softmax, or another layer in float32, is
        given."""
        return self.execution.run(x, batch_size, whole=False)

    def codes(self, x: Array, batch_size: int = 256) -> NDArray[np.uint8]:
        """These integers, uint8."""
        return self.body.output.codes(self.logits(x, batch_size))

    def plan(self, batch: int = 64) -> Plan:
        """The plan for batches of up to `batch` samples; `print` it to see it."""
        return self.execution.plan(integer("plan", "batch", batch, 1, MOST_ELEMENTS), whole=True)

    def evaluate(self, x: Array, y: NDArray[Any], loss: Loss, batch_size: int = 256) -> tuple[float, Array]:
        """Mean loss over all samples, and the outputs as `predict` gives them."""
        tail = self.tail or Network(_nothing(self.body.topology.output_shape))
        return tail.evaluate(self.logits(x, batch_size), y, loss, batch_size, "direct")

    def summarize(self) -> dict[str, Any]:
        """What `summary` shows, JSON-able: the layers, and what there is of the whole."""
        body, entry = self.body, self.body.encodings[INPUT]
        rows = []
        for node in self.topology.nodes:
            encoding = body.encodings.get(node.name)
            arrays = [array for key, array in body.arrays.items() if key.rpartition(".")[0] == node.name]
            specs = (*node.layer.parameters(), *node.layer.buffers())
            floats = sum(4 * math.prod(spec.shape) for spec in specs)
            rows.append(
                {
                    "name": node.name,
                    "layer": str(node.layer),
                    "output_shape": list(node.shape),
                    "numbers": "float32" if encoding is None else "int8",
                    "scale": None if encoding is None else encoding.scale,
                    "zero": None if encoding is None else encoding.zero,
                    "bytes": floats if encoding is None else sum(array.nbytes for array in arrays),
                }
            )
        return {
            "input_shape": list(self.input_shape),
            "output_shape": list(self.output_shape),
            "input_scale": entry.scale,
            "input_zero": entry.zero,
            "layers": rows,
            "weight_bytes": self.weight_bytes,
            "quantized": asdict(self.notes),
        }

    def summary(self) -> str:
        """A table of the layers with shapes, scales and bytes, and totals."""
        found, notes = self.summarize(), self.notes
        rows = [("name", "layer", "output shape", "numbers", "scale", "zero", "bytes")]
        for each in found["layers"]:
            shape = " x ".join(map(str, each["output_shape"]))
            codes = ("", "") if each["zero"] is None else (f"{each['scale']:g}", str(each["zero"]))
            rows.append((each["name"], each["layer"], shape, each["numbers"], *codes, f"{each['bytes']:,}"))
        lines = table(rows, numeric={2, 4, 5, 6})
        lines.insert(1, "-" * max(map(len, lines)))
        lines += [
            lines[1],
            f"input codes: scale {found['input_scale']:g}, zero {found['input_zero']}",
            f"weights: {self.weight_bytes:,} bytes; scales {notes.scales}, of {notes.weight_bits} bits, calibrated by "
            f"{notes.calibrate} with {notes.samples:,} samples",
        ]
        return "\n".join(lines)

    def save(self, path: Path | str) -> None:
        """Write a file that `engine.quantize.load` reads; one that is there is replaced whole, or not at all."""
        stored.save(self, path)


def _nothing(shape: Shape) -> Topology:
    """One layer that changes nothing, for what a network alone can do with its outputs."""
    node = make_node("same", Scale(factor=1.0), [INPUT], [shape])
    return checked_topology(shape, [node], node.name)


AnyNetwork = Network | QuantizedNetwork
"""What can predict."""


def in_float32(network: AnyNetwork, wish: str) -> Network:
    """The network; UserError for one of integers, which cannot do as wished ("be looked into")."""
    if isinstance(network, QuantizedNetwork):
        raise UserError(f"a quantised network cannot {wish}; the network that it was made of can")
    return network


def first_nonfinite(network: AnyNetwork) -> str | None:
    """Key of the first parameter or running statistic that holds NaN or infinity. A quantised network has none: it is
    neither made with any nor read from a file that has."""
    return network.store.first_nonfinite() if isinstance(network, Network) else None
