"""What every layer is: arguments, a shape rule, parameters, and a lowering to the ops of the C core."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from engine.errors import UserError
from engine.program.code import Builder, Tensor
from engine.program.shapes import Shape
from engine.program.slots import ParameterSpec


@dataclass(frozen=True)
class Layer:
    """Base of all layers: immutable, without state; the network owns the arrays.

    A subclass is a frozen dataclass of its arguments. It implements `output_shape` and `lower`, and `parameters`
    and `buffers` where it owns arrays. Its arguments must be JSON-able (numbers, strings, tuples of them).
    """

    kind: ClassVar[str] = "other"  # "conv", "linear", "norm": what per-kind settings (initialiser, L2) go by
    inputs: ClassVar[tuple[int, int | None]] = (1, 1)  # fewest and most inputs; None: any number
    elementwise: ClassVar[bool] = False  # keeps shape and works on every element alone, whatever the order

    def output_shape(self, *shapes: Shape) -> Shape:
        """The shape of the output for inputs of these shapes; UserError where they do not fit."""
        raise NotImplementedError

    def parameters(self) -> tuple[ParameterSpec, ...]:
        """Trainable arrays, in the order in which they are listed."""
        return ()

    def buffers(self) -> tuple[ParameterSpec, ...]:
        """Arrays that training updates without a gradient (running statistics)."""
        return ()

    def padded(self, *shapes: Shape) -> int:
        """Numbers in a copy of the input with padding round it, of one sample; 0 for a layer that makes none."""
        return 0

    def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
        """Emit the ops of the forward pass and return the output."""
        raise NotImplementedError

    def arguments(self) -> dict[str, Any]:
        """The arguments as JSON-able values: `type(layer)(**arguments)` is an equal layer."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def __str__(self) -> str:
        parts = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.default is dataclasses.MISSING:
                parts.append(f"{value}")
            elif value != field.default:
                parts.append(f"{field.name}={value}")
        return f"{type(self).__name__}({', '.join(parts)})"


def require_feature_map(layer: Layer, shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise UserError(f"{type(layer).__name__} needs a (C, H, W) feature map, but its input has shape {shape}")
    return shape[0], shape[1], shape[2]
