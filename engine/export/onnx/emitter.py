"""What the layers write an ONNX graph with: nodes in order, constants, and names that nobody else has.

Engines read some constructs differently, so there is one way for each here: every attribute is written, also at its
default; pads are explicit; a symbolic batch stands first and no shape repeats it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.layers.topology import Node
from engine.program.shapes import Shape

BATCH = 0  # what a Reshape writes for the batch: as the input has it


@dataclass
class Emitter:
    """The graph while it is written. `onnx` is that package, `arrays` are the network's parameters and running
    statistics by name."""

    onnx: Any
    opset: int
    arrays: Mapping[str, NDArray[np.float32]]
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def unique(self, name: str) -> str:
        """The name, or with a number behind it, and taken from now on."""
        found, number = name, 1
        while found in self.taken:
            number += 1
            found = f"{name}_{number}"
        self.taken.add(found)
        return found

    def constant(self, name: str, values: Any, dtype: Any = np.float32) -> str:
        """An array that the file holds; the name of its value."""
        key = self.unique(name)
        self.constants[key] = np.array(values, dtype, order="C")  # a number alone stays one, without an axis
        return key

    def node(self, operator: str, name: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Write a node; the name of what it gives, which is the node's own."""
        helper = self.onnx.helper
        output = self.unique(name)
        made = helper.make_node(operator, list(inputs), [output], name=output)
        made.attribute.extend(helper.make_attribute(key, value) for key, value in sorted(attributes.items()))
        self.nodes.append(made)
        return output


@dataclass(frozen=True)
class Place:
    """A layer in its place while it is written: where it stands, what it reads, under which names."""

    out: Emitter
    node: Node
    sources: tuple[str, ...]
    shapes: tuple[Shape, ...]

    @property
    def source(self) -> str:
        return self.sources[0]

    @property
    def shape(self) -> Shape:
        """Of the first input, per sample."""
        return self.shapes[0]

    def has(self, parameter: str) -> bool:
        return f"{self.node.name}.{parameter}" in self.out.arrays

    def array(self, parameter: str) -> NDArray[np.float32]:
        """A parameter, or running statistic, of the layer."""
        return self.out.arrays[f"{self.node.name}.{parameter}"]

    def stored(self, parameter: str, shape: Sequence[int] | None = None) -> str:
        """The same as a constant of the file, under another shape where one is given."""
        values = self.array(parameter)
        return self.out.constant(f"{self.node.name}.{parameter}", values if shape is None else values.reshape(shape))

    def constant(self, part: str, values: Any, dtype: Any = np.float32) -> str:
        """A constant of the layer that is no parameter."""
        return self.out.constant(f"{self.node.name}/{part}", values, dtype)

    def step(self, operator: str, part: str, *inputs: str, **attributes: Any) -> str:
        """A further node of the layer."""
        return self.out.node(operator, f"{self.node.name}/{part}", inputs, **attributes)

    def main(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """The node that has the layer's name."""
        return self.out.node(operator, self.node.name, inputs, **attributes)

    def per_channel(self, shape: Shape) -> tuple[int, ...]:
        """The shape in which a vector of channels is multiplied with an output of this shape."""
        return (shape[0], *(1 for _ in shape[1:]))

    def reshaped(self, part: str, source: str, shape: Sequence[int]) -> str:
        """The batch, and this shape of a sample."""
        target = self.constant(f"{part}.shape", [BATCH, *shape], np.int64)
        return self.step("Reshape", part, source, target, allowzero=0)


Write = Callable[[Place], str]
"""Writes a layer's nodes; the name of its output."""
