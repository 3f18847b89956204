"""Layers that multiply: by a number, by a learned one for each channel, two maps by one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from engine.arguments import assign, number
from engine.errors import UserError
from engine.layers.base import Layer
from engine.program.code import Builder, Tensor
from engine.program.limits import whole
from engine.program.shapes import Shape, elements, spatial
from engine.program.slots import ParameterSpec


@dataclass(frozen=True)
class Scale(Layer):
    """Multiply by a fixed `factor`, or every channel by a factor of its own that is learned and begins as 1.

    With `channels` it has the parameter weights, (channels,). One of the two is given.
    """

    factor: float | None = None
    channels: int | None = None

    def __post_init__(self) -> None:
        if (self.factor is None) == (self.channels is None):
            raise UserError("Scale: expected either a factor, or channels for learned ones")
        if self.factor is not None:
            assign(self, factor=number("Scale", "factor", self.factor, -float("inf"), float("inf")))
        if self.channels is not None:
            assign(self, channels=whole("Scale", "channels", self.channels, "channels", "c"))

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        if self.channels is not None and shape[0] != self.channels:
            raise UserError(f"Scale has channels = {self.channels}, but its input has {shape[0]} channels")
        return shape

    def parameters(self) -> tuple[ParameterSpec, ...]:
        return () if self.channels is None else (ParameterSpec("weights", (self.channels,), "scale"),)

    def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
        (source,) = inputs
        output = builder.tensor(source.shape)
        if self.channels is None:
            builder.emit("scale", {"count": elements(source.shape), "slope": self.factor}, dst=output, src=source)
            return output
        geometry = {"rows": spatial(source.shape), "c": self.channels}
        builder.emit("scale_channels", geometry, dst=output, src=source, weights=builder.parameter("weights"))
        return output


@dataclass(frozen=True)
class Multiply(Layer):
    """The product of two inputs of one shape, or of a (C, H, W) map and a (C, 1, 1) map or (C,) vector, whose elements
    multiply whole channels: the excitation of Hu, Shen & Sun (2018). Either may come first."""

    inputs: ClassVar[tuple[int, int | None]] = (2, 2)

    def output_shape(self, *shapes: Shape) -> Shape:
        larger, smaller = self._ordered(*shapes)
        fits = smaller in (larger, larger[:1], (larger[0], 1, 1)) and len(larger) >= len(smaller)
        if not fits:
            raise UserError(
                "Multiply needs two inputs of one shape, or a (C, H, W) map and one value for each of its channels; "
                f"they are {shapes[0]}, {shapes[1]}"
            )
        return larger

    def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
        first, second = inputs
        if self._ordered(first.shape, second.shape)[0] != first.shape:
            first, second = second, first
        same = elements(first.shape) == elements(second.shape)
        geometry = {
            "rows": 1 if same else spatial(first.shape),
            "c": elements(second.shape),
        }
        output = builder.tensor(first.shape)
        builder.emit("multiply", geometry, dst=output, a=first, b=second)
        return output

    def _ordered(self, first: Shape, second: Shape) -> tuple[Shape, Shape]:
        """The map, and what multiplies it."""
        if (len(second), elements(second)) > (len(first), elements(first)):
            return second, first
        return first, second
