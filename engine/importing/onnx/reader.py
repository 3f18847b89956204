"""From the operations of an ONNX file to layers: what is kept while they are gone through one after the other.

Nothing is built before all have been read: an operation that the engine does not have ends the reading.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError, shown
from engine.importing.onnx.document import Document, Op, word
from engine.importing.onnx.values import Value, view_of
from engine.layers import Layer
from engine.layers.structure import Flatten
from engine.layers.topology import INPUT, Node, checked_input_shape, make_node
from engine.plan.table import byte_size
from engine.program.shapes import Shape

Arrays = Mapping[str, NDArray[Any]]
Handler = Callable[["Reader", Op], Value]
"""Reads one operation: adds layers, or none, and says what its output is."""


@dataclass
class Reader:
    """The layers so far. `most` bytes may be taken by the values of one layer, for one sample."""

    document: Document
    most: int
    values: dict[str, Value] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    arrays: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        stored, axes = view_of(self.document.shape)
        self.turned = channels_last(self.document)
        if self.turned:
            stored, axes = (stored[2], stored[0], stored[1]), (1, 2, 0)
        self.input_shape = checked_input_shape(stored)
        self._check_size("its input", self.input_shape)
        self.values[self.document.input] = Value(INPUT, self.input_shape, axes)
        self.readers = Counter(name for op in self.document.ops for name in set(op.inputs))
        self.readers[self.document.output] += 1

    @property
    def opset(self) -> int:
        return self.document.opset

    # ---- what an operation reads ----

    def is_constant(self, op: Op, index: int) -> bool:
        return op.has(index) and op.inputs[index] in self.document.constants

    def constant(self, op: Op, index: int, what: str) -> NDArray[Any]:
        """An input that must be a constant; `what` it is, for the error."""
        if not op.has(index):
            raise op.refused(f"lacks its {what}")
        name = op.inputs[index]
        if name not in self.document.constants:
            raise op.refused(f"its {what}, {shown(name)}, is computed, expected a constant of the file")
        return self.document.constants[name]

    def optional(self, op: Op, index: int, what: str) -> NDArray[Any] | None:
        return self.constant(op, index, what) if op.has(index) else None

    def floats(self, op: Op, index: int, what: str) -> NDArray[np.float32]:
        """A constant as float32; UserError where it is of whole numbers, or where float32 cannot hold it."""
        array = self.constant(op, index, what)
        if array.dtype.kind != "f":
            raise op.refused(f"its {what} must be of real numbers, not {array.dtype}")
        with np.errstate(over="ignore"):
            result = array.astype(np.float32)
        if not np.isfinite(result).all():
            raise op.refused(f"its {what} has NaN, infinity, or a number beyond float32")
        return result

    def wholes(self, op: Op, index: int, what: str) -> tuple[int, ...]:
        """A constant list of whole numbers."""
        array = self.constant(op, index, what)
        if array.dtype.kind != "i" or array.ndim > 1 or array.size > 64:
            raise op.refused(f"its {what} must be a list of whole numbers")
        return tuple(array.reshape(-1).tolist())

    def data(self, op: Op, index: int = 0) -> Value:
        """An input that a layer computes, or the network's own."""
        if not op.has(index):
            raise op.refused(f"lacks its input {index}")
        name = op.inputs[index]
        if name in self.document.constants:
            raise op.refused(f"its input {shown(name)} is a constant, expected one that is computed")
        if name not in self.values:
            raise op.refused(
                f"its input {shown(name)} is a further output of a node, or stands before the network's input"
            )
        return self.values[name]

    def image(self, op: Op, index: int = 0) -> Value:
        """An input as a map (C, H, W), or (C, 1, L) for a sequence of vectors (C, L)."""
        value = self.data(op, index)
        rank = len(value.shape)
        stored = value.shape if rank == 3 else (value.shape[0], 1, value.shape[-1]) if rank == 2 else ()
        if value.stored != stored:
            held = f"held as {value.stored}" if len(value.stored) != 3 or value.straight else "with other axes first"
            raise op.refused(f"needs a map (N, C, H, W), but its input is {('N', *value.shape)}, {held}")
        if not value.straight:
            raise op.refused("needs a map with its channels first, but they are elsewhere")
        return Value(value.source, value.stored, (0, 1, 2) if rank == 3 else (0, 2))

    def vector(self, op: Op, index: int = 0) -> Value:
        """An input (N, K) as a vector, with a Flatten where the engine holds a map."""
        value = self.data(op, index)
        if len(value.shape) != 1:
            raise op.refused(f"needs a vector (N, K), but its input is {('N', *value.shape)}")
        return self.flat(op, value)

    def flat(self, op: Op, value: Value, part: str = "flat") -> Value:
        """All elements of a sample one after the other, in the order that ONNX has them in."""
        if len(value.stored) == 1:
            return Value(value.source, value.stored, (0,), value.order)
        source = self.add(op, Flatten(), [value], part=part)
        order = None if value.straight else value.indices()
        return Value(source, (math.prod(value.stored),), (0,), order)

    def alike(self, op: Op, values: Sequence[Value]) -> list[Value]:
        """What is joined: vectors, of which some are held as maps of one pixel and some are not, all as vectors."""
        if any(len(value.axes) != 1 for value in values) or len({len(value.stored) for value in values}) == 1:
            return list(values)
        return [self.flat(op, value) for value in values]

    # ---- what it becomes ----

    def add(self, op: Op, layer: Layer, inputs: Sequence[Value], arrays: Arrays | None = None, part: str = "") -> str:
        """A layer with its arrays; the name that it gets: the node's, and `part` for one that is not its last."""
        base = word(op.name) or word(op.outputs[0]) or op.kind
        name = self._unique(f"{base}/{part}" if part else base)
        try:
            node = make_node(name, layer, [value.source for value in inputs], [value.stored for value in inputs])
            self._check_size("its output", node.shape)
            padded = layer.padded(*(value.stored for value in inputs))
            self._check_size("its input with padding", (padded,) if padded else (1,))
        except UserError as error:
            raise op.refused(error) from None
        self.nodes[name] = node
        self.set_arrays(name, arrays or {})
        return name

    def set_arrays(self, name: str, arrays: Arrays) -> None:
        need = 4 * sum(array.size for array in [*self.arrays.values(), *arrays.values()])
        if need > self.most:
            raise UserError(
                f"its weights so far take {byte_size(need)} of memory, but {byte_size(self.most)} are "
                "allowed to a network from a file of this size"
            )
        for parameter, array in arrays.items():
            if not np.isfinite(array).all():
                raise UserError(f"its {parameter} would have numbers beyond float32")
            self.arrays[f"{name}.{parameter}"] = np.ascontiguousarray(array, np.float32)

    def replace(self, name: str, layer: Layer, arrays: Arrays) -> None:
        """Another layer of the same shape in the place of one, with further arrays."""
        before = self.nodes[name]
        self.nodes[name] = Node(name, layer, before.inputs, before.shape)
        self.set_arrays(name, arrays)

    def changeable(self, op: Op, index: int = 0) -> Node | None:
        """The layer whose output an operation alone reads: what it does may become part of it."""
        value = self.data(op, index)
        if value.source == INPUT or self.readers[op.inputs[index]] != 1:
            return None
        sources = [each for each in self.nodes.values() if value.source in each.inputs]
        others = [name for name, each in self.values.items() if each.source == value.source and self.readers[name] > 1]
        return None if sources or others else self.nodes[value.source]

    def _unique(self, name: str) -> str:
        found, number = name, 1
        while found in self.nodes or found == INPUT:
            number += 1
            found = f"{name}_{number}"
        return found

    def _check_size(self, what: str, shape: Shape) -> None:
        if 8 * math.prod(shape) > self.most:
            raise UserError(
                f"{what} of shape {shape} takes {byte_size(8 * math.prod(shape))} of memory for one sample, "
                f"but {byte_size(self.most)} are allowed to a network from a file of this size"
            )


SCALING = ("Add", "Cast", "Div", "Identity", "Mul", "Sub")


def channels_last(document: Document) -> bool:
    """Whether a model takes images (N, H, W, C): it scales them at most, and then moves the channels to the front."""
    name, shape = document.input, document.shape
    while len(shape) == 3:
        readers = [op for op in document.ops if name in op.inputs]
        if len(readers) == 1 and readers[0].kind in SCALING:
            name = readers[0].outputs[0]
            continue
        return len(readers) > 0 and all(_moves_channels(document, op) for op in readers)
    return False


def _moves_channels(document: Document, op: Op) -> bool:
    """By a Transpose, or, of a grey image, a Reshape."""
    if op.kind == "Transpose":
        return op.attributes.get("perm") == (0, 3, 1, 2)
    height, width, channels = document.shape
    if op.kind != "Reshape" or channels != 1 or not op.has(1) or op.inputs[1] not in document.constants:
        return False
    return document.constants[op.inputs[1]].reshape(-1).tolist()[1:] == [1, height, width]
