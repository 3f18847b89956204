"""The planner's language: numbered values, instructions over them, and the builder that writes both.

A program is flat. A `Value` is a piece of memory in one of the spaces of cnn.h; an `Instruction` names an op, its
operands (value numbers) and its geometry, in the words of cnn.h. A pass is a function from `Code` to `Code`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

import cnncore

from engine.errors import UserError, unknown
from engine.program.limits import check_geometry
from engine.program.shapes import Shape, elements, needs_transpose, stored_shape
from engine.program.slots import Slot

ARENA, PARAMETERS, GRADIENTS, BUFFERS = "arena", "parameters", "gradients", "buffers"
STATES, CONSTANTS, EXTERNAL = "states", "constants", "external"

INPUT_EXTERNAL, TARGETS_EXTERNAL, OUTPUT_EXTERNAL = 0, 1, 2
SCORES_EXTERNAL, GRADIENT_EXTERNAL = 3, 4  # where NumPy computes the loss: what it is given, and what it gives

LINE_BYTES = cnncore.ALIGNMENT  # where values in the constants and in the arena may start

ITEM_BYTES = {
    "float32": 4,
    "uint8": 1,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "segment": cnncore.SEGMENT_DTYPE.itemsize,
}

OUTPUTS: dict[str, tuple[str, ...]] = {
    op: tuple(operand.name for operand in info.operands if operand.written) for op, info in cnncore.OPS.items()
}
"""What an op writes, the result that it is there for first."""

SOURCES: dict[str, tuple[str, ...]] = {
    op: tuple(operand.name for operand in info.operands if operand.read) for op, info in cnncore.OPS.items()
}
"""What an op reads, with what it updates in place."""

IN_PLACE: dict[str, tuple[str, ...]] = {
    op: tuple(operand.name for operand in info.operands if operand.in_place) for op, info in cnncore.OPS.items()
}
"""The sources that an op may write its first output over, where they have as many elements."""

ACTIVATION_NAMES: dict[int, str] = {number: name for name, number in cnncore.ACTIVATIONS.items()}
"""The activations that another op can end with, by the number that its geometry has."""

ELEMENTWISE = tuple(
    op.removesuffix("_forward")
    for op, info in cnncore.OPS.items()
    if info.geometry in ("elementwise", "clip") and op.endswith("_forward")
)
"""The activations that work on every element alone and learn nothing."""

BY_OUTPUT = frozenset(name for name in ELEMENTWISE if "dst" in SOURCES[f"{name}_backward"])
"""Of these, those whose gradient reads what they gave, not what they were given."""

Choices = Mapping[str, Mapping[str, str]]
"""Layer → pass → algorithm of its convolution."""

Algorithm = str | Choices
"""What a request says about the algorithms: "auto", "direct", or which one where."""


Record = TypeVar("Record", bound="_Record")


class _Record:
    """A frozen dataclass that a pass makes an altered copy of."""

    def changed(self: Record, **fields: Any) -> Record:
        """A copy with other values in these fields: `dataclasses.replace` without its look at every field. A plan makes
        dozens, which was a tenth of its time."""
        record = self.__dict__
        assert fields.keys() <= record.keys(), fields.keys() - record.keys()
        copy = object.__new__(type(self))
        copy.__dict__.update(record, **fields)
        return copy


@dataclass(frozen=True)
class Value(_Record):
    """A piece of memory. `shape` is as stored (H, W, C for maps), per sample where `per_sample`.

    `offset` is in bytes inside a persistent space, or the number of an external; in the arena it is assigned last.
    Of the batch, it holds `samples` at most (0: all of them). `view` is the value that it lies in, and which of that
    value's samples it begins with.
    """

    shape: tuple[int, ...]
    space: str = ARENA
    offset: int = 0
    dtype: str = "float32"
    per_sample: bool = True
    samples: int = 0
    view: tuple[int, int] | None = None

    def elements(self, batch: int) -> int:
        count = min(batch, self.samples) if self.samples else batch
        return math.prod(self.shape) * (count if self.per_sample else 1)

    def bytes(self, batch: int) -> int:
        return self.elements(batch) * ITEM_BYTES[self.dtype]


@dataclass(frozen=True)
class Instruction(_Record):
    """One call of an op. `layer` names the layer it belongs to ("0", or "0+1+2" once fused).

    `alone`: one worker of the team runs it (see engine.plan.team). `window` is the first sample of the batch that it
    runs on and how many there are at most; None: the whole batch.
    """

    op: str
    operands: Mapping[str, int]
    geometry: Mapping[str, Any]
    layer: str = ""
    algorithm: str = ""
    alone: bool = False
    window: tuple[int, int] | None = None

    def batch(self, batch: int) -> int:
        """How many samples it runs on when the batch has so many."""
        if self.window is None:
            return batch
        first, samples = self.window
        return max(0, min(batch - first, samples))

    def outputs(self) -> tuple[int, ...]:
        operands = self.operands
        return tuple([operands[name] for name in OUTPUTS[self.op] if name in operands])

    def sources(self) -> tuple[int, ...]:
        read = SOURCES[self.op]
        return tuple([value for name, value in self.operands.items() if name in read])


@dataclass(frozen=True)
class Code(_Record):
    """Values and the instructions over them. `output` is the value that holds the network's output (or logits)."""

    values: tuple[Value, ...]
    instructions: tuple[Instruction, ...]
    output: int

    @property
    def handover(self) -> int | None:
        """The instruction before which NumPy computes the loss: that behind the copy of the scores; else None."""
        for index, each in enumerate(self.instructions):
            for value in each.outputs():
                if (self.values[value].space, self.values[value].offset) == (EXTERNAL, SCORES_EXTERNAL):
                    return index + 1
        return None

    def with_instructions(self, instructions: Sequence[Instruction]) -> Code:
        return self.changed(instructions=tuple(instructions))


@dataclass(frozen=True)
class Tensor:
    """What layers pass on while lowering: a value and its shape per sample in the public order."""

    value: int
    shape: Shape


def consumers(code: Code) -> dict[int, list[int]]:
    """Value number → indices of the instructions that read it."""
    readers: dict[int, list[int]] = {}
    for index, instruction in enumerate(code.instructions):
        read = SOURCES[instruction.op]
        for name, value in instruction.operands.items():
            if name in read:
                known = readers.setdefault(value, [])
                if not known or known[-1] != index:  # an op may read one value under two names
                    known.append(index)
    return readers


def constants_end(code: Code) -> int:
    """Bytes of the constants that the code's values take, up to a whole line of memory."""
    ends = [value.offset + value.bytes(1) for value in code.values if value.space == CONSTANTS]
    return -(-max(ends, default=0) // LINE_BYTES) * LINE_BYTES


@cache
def _expected(op: str) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Of an op: the operands that it needs, all that it can have, and the fields of its geometry."""
    info = cnncore.OPS[op]
    needed = frozenset(each.name for each in info.operands if not each.optional)
    return needed, frozenset(each.name for each in info.operands), frozenset(cnncore.GEOMETRIES[info.geometry])


def _check_call(op: str, operands: Mapping[str, int], geometry: Mapping[str, Any], layer: str) -> None:
    """UserError unless the core has the op, with these operands, these fields of a geometry and numbers that fit."""
    if op not in cnncore.OPS:
        raise unknown("op", op, cnncore.OPS)
    needed, known, fields = _expected(op)
    if needed <= operands.keys() <= known and geometry.keys() == fields:
        check_geometry(f"layer {layer!r}", op, geometry)
        return
    where = f"{op} of layer {layer!r}"
    if not needed <= operands.keys() <= known:
        names = [each.name for each in cnncore.OPS[op].operands]  # in their order
        optional = [name for name in names if name not in needed]
        also = f" and perhaps {', '.join(optional)}" if optional else ""
        wanted = ", ".join(name for name in names if name in needed)
        raise UserError(f"{where}: operands {', '.join(operands)}; expected {wanted}{also}")
    stated = ", ".join(cnncore.GEOMETRIES[cnncore.OPS[op].geometry])
    raise UserError(f"{where}: geometry {', '.join(geometry)}; expected {stated}")


@dataclass
class Builder:
    """Writes values and instructions; layers see it as the target of their lowering."""

    training: bool
    slots: Mapping[str, Slot]
    values: list[Value] = field(default_factory=list)
    instructions: list[Instruction] = field(default_factory=list)
    layer: str = ""
    flatten_is_alias: bool = False
    frozen: frozenset[str] = frozenset()
    _streams: int = 0

    def new(self, value: Value) -> int:
        self.values.append(value)
        return len(self.values) - 1

    def tensor(self, shape: Shape) -> Tensor:
        """A new value in the arena for an output of this public shape."""
        return Tensor(self.new(Value(stored_shape(shape))), shape)

    def view(self, source: Tensor, shape: Shape) -> Tensor:
        """The same memory under another public shape."""
        return Tensor(source.value, shape)

    def scratch(self, like: Tensor, dtype: str) -> int:
        """A new value of another type with the extents of `like`."""
        return self.new(Value(stored_shape(like.shape), dtype=dtype))

    def vector(self, length: int) -> int:
        """A new vector that does not grow with the batch."""
        return self.new(Value((length,), per_sample=False))

    def parameter(self, name: str) -> int:
        return self._persistent(self.slots[f"{self.layer}.{name}"], PARAMETERS)

    def buffer(self, name: str) -> int:
        return self._persistent(self.slots[f"{self.layer}.{name}"], BUFFERS)

    def next_stream(self) -> int:
        """A number of its own for every dropout layer, in the order of the layers."""
        self._streams += 1
        return self._streams - 1

    def emit(self, op: str, geometry: Mapping[str, Any], **operands: Tensor | int | None) -> None:
        numbers = {
            name: operand.value if isinstance(operand, Tensor) else operand
            for name, operand in operands.items()
            if operand is not None
        }
        _check_call(op, numbers, geometry, self.layer)
        self.instructions.append(Instruction(op, numbers, dict(geometry), self.layer))

    def to_stored(self, source: Tensor) -> Tensor:
        """C, H, W in memory → H, W, C."""
        return self._transposed("nchw_to_nhwc", source, source.shape)

    def to_public(self, source: Tensor, shape: Shape) -> Tensor:
        """H, W, C in memory → C, H, W, under the public shape given."""
        return self._transposed("nhwc_to_nchw", source, shape)

    def _transposed(self, op: str, source: Tensor, shape: Shape) -> Tensor:
        assert needs_transpose(source.shape)
        channels, height, width = source.shape
        flat = op == "nhwc_to_nchw"
        target = self.new(Value((elements(shape),) if flat else stored_shape(shape)))
        self.emit(op, {"h": height, "w": width, "c": channels}, dst=target, src=source)
        return Tensor(target, shape)

    def _persistent(self, slot: Slot, space: str) -> int:
        return self.new(Value((slot.count,), space, slot.offset * ITEM_BYTES["float32"], per_sample=False))
