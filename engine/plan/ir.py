"""The planner's language: numbered values, instructions over them, and the builder that writes both.

A program is flat. A `Value` is a piece of memory in one of the spaces of cnn.h; an `Instruction` names an op, its
operands (value numbers) and its geometry, in the words of cnn.h. A pass is a function from `Code` to `Code`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cnncore

from engine.layers.base import Shape, elements
from engine.layers.structure import needs_transpose
from engine.plan.layout import Slot

ARENA, PARAMETERS, GRADIENTS, BUFFERS = "arena", "parameters", "gradients", "buffers"
STATES, CONSTANTS, EXTERNAL = "states", "constants", "external"

INPUT_EXTERNAL, TARGETS_EXTERNAL, OUTPUT_EXTERNAL = 0, 1, 2

LINE_BYTES = cnncore.ALIGNMENT  # where values in the constants and in the arena may start

ITEM_BYTES = {"float32": 4, "uint8": 1, "int64": 8, "segment": cnncore.SEGMENT_DTYPE.itemsize}

OUTPUTS: dict[str, tuple[str, ...]] = {
    "conv2d_forward": ("dst", "argmax"),
    "maxpool2d_forward": ("dst", "argmax"),
    "batchnorm_forward_training": ("dst", "argmax", "save_mean", "save_inv_std", "running_mean", "running_var"),
    "conv2d_backward_weights": ("diff_weights", "diff_bias"),
    "winograd_forward": ("dst", "argmax"),
    "winograd_filter_backward": ("dst",),
    "winograd_backward_weights": ("diff_weights", "diff_bias"),
    "linear_backward_weights": ("diff_weights", "diff_bias"),
    "batchnorm_backward": ("diff_src", "diff_weights", "diff_bias"),
    "cross_entropy": ("diff_logits",),
    "cross_entropy_soft": ("diff_logits",),
    "binary_cross_entropy": ("diff_logits",),
    "clip_gradients": ("gradients",),
    "sgd": ("parameters", "velocity"),
    "adam": ("parameters", "first_moment", "second_moment"),
}
"""What an op writes, where that is more or other than `dst` (forward) or `diff_src` (backward)."""

IN_PLACE: dict[str, tuple[str, tuple[str, ...]]] = {
    "relu_forward": ("dst", ("src",)),
    "leaky_relu_forward": ("dst", ("src",)),
    "sigmoid_forward": ("dst", ("src",)),
    "tanh_forward": ("dst", ("src",)),
    "dropout": ("dst", ("src",)),
    "add": ("dst", ("a", "b")),
    "relu_backward": ("diff_src", ("diff_dst",)),
    "leaky_relu_backward": ("diff_src", ("diff_dst",)),
    "sigmoid_backward": ("diff_src", ("diff_dst",)),
    "tanh_backward": ("diff_src", ("diff_dst",)),
    "batchnorm_backward": ("diff_src", ("src", "diff_dst")),
}
"""Ops that may write over a source: output and the sources, as cnn.h allows it."""


Choices = Mapping[str, Mapping[str, str]]
"""Layer → pass → algorithm of its convolution."""

Algorithm = str | Choices
"""What a request says about the algorithms: "auto", "direct", or which one where."""


@dataclass(frozen=True)
class Value:
    """A piece of memory. `shape` is as stored (H, W, C for maps), per sample where `per_sample`.

    `offset` is in bytes inside a persistent space, or the number of an external; in the arena it is assigned last.
    """

    shape: tuple[int, ...]
    space: str = ARENA
    offset: int = 0
    dtype: str = "float32"
    per_sample: bool = True

    def bytes(self, batch: int) -> int:
        return math.prod(self.shape) * ITEM_BYTES[self.dtype] * (batch if self.per_sample else 1)


@dataclass(frozen=True)
class Instruction:
    """One call of an op. `layer` names the layer it belongs to ("0", or "0+1+2" once fused).

    `alone`: one worker of the team runs it (see engine.plan.team).
    """

    op: str
    operands: Mapping[str, int]
    geometry: Mapping[str, Any]
    layer: str = ""
    algorithm: str = ""
    alone: bool = False

    def outputs(self) -> tuple[int, ...]:
        return tuple(self.operands[name] for name in output_names(self.op) if name in self.operands)

    def sources(self) -> tuple[int, ...]:
        written = output_names(self.op)
        return tuple(value for name, value in self.operands.items() if name not in written)


@dataclass(frozen=True)
class Code:
    """Values and the instructions over them. `output` is the value that holds the network's output (or logits)."""

    values: tuple[Value, ...]
    instructions: tuple[Instruction, ...]
    output: int

    def with_instructions(self, instructions: Sequence[Instruction]) -> Code:
        return replace(self, instructions=tuple(instructions))


@dataclass(frozen=True)
class Tensor:
    """What layers pass on while lowering: a value and its shape per sample in the public order."""

    value: int
    shape: Shape


def output_names(op: str) -> tuple[str, ...]:
    if op in OUTPUTS:
        return OUTPUTS[op]
    if op.startswith("check_"):
        return ()
    return ("diff_src",) if op.endswith(("_backward", "_backward_data")) or op == "mean_squared_error" else ("dst",)


def stored_shape(shape: Shape) -> tuple[int, ...]:
    """(C, H, W) as it lies in memory: (H, W, C). Vectors stay."""
    return (*shape[1:], shape[0]) if len(shape) == 3 else shape


def consumers(code: Code) -> dict[int, list[int]]:
    """Value number → indices of the instructions that read it."""
    readers: dict[int, list[int]] = {}
    for index, instruction in enumerate(code.instructions):
        for value in dict.fromkeys(instruction.sources()):
            readers.setdefault(value, []).append(index)
    return readers


def constants_end(code: Code) -> int:
    """Bytes of the constants that the code's values take, up to a whole line of memory."""
    ends = [value.offset + value.bytes(1) for value in code.values if value.space == CONSTANTS]
    return -(-max(ends, default=0) // LINE_BYTES) * LINE_BYTES


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
