"""Layers that only move or join values: Flatten, Add, Concat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from engine.errors import UserError
from engine.layers.base import Layer
from engine.program.code import Builder, Tensor
from engine.program.shapes import Shape, elements, needs_transpose, spatial


@dataclass(frozen=True)
class Flatten(Layer):
    """(C, H, W) becomes the vector (C*H*W,), in the order C, H, W."""

    def output_shape(self, *shapes: Shape) -> Shape:
        return (elements(shapes[0]),)

    def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
        (source,) = inputs
        vector = self.output_shape(source.shape)
        if builder.flatten_is_alias or not needs_transpose(source.shape):
            return builder.view(source, vector)
        return builder.to_public(source, vector)


@dataclass(frozen=True)
class Add(Layer):
    """The sum of two or more inputs of one shape."""

    inputs: ClassVar[tuple[int, int | None]] = (2, None)

    def output_shape(self, *shapes: Shape) -> Shape:
        for shape in shapes[1:]:
            if shape != shapes[0]:
                raise UserError(f"Add needs inputs of one shape, but they are {_listed(shapes)}")
        return shapes[0]

    def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
        total = inputs[0]
        geometry = {"count": elements(total.shape), "slope": 0.0}
        for term in inputs[1:]:
            output = builder.tensor(total.shape)
            builder.emit("add", geometry, dst=output, a=total, b=term)
            total = output
        return total


@dataclass(frozen=True)
class Concat(Layer):
    """Two or more inputs one after the other along the channels (or the elements of vectors)."""

    inputs: ClassVar[tuple[int, int | None]] = (2, None)

    def output_shape(self, *shapes: Shape) -> Shape:
        for shape in shapes[1:]:
            if shape[1:] != shapes[0][1:]:
                raise UserError(f"Concat needs inputs that agree but for the channels; they are {_listed(shapes)}")
        return sum(shape[0] for shape in shapes), *shapes[0][1:]

    def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
        output = builder.tensor(self.output_shape(*(source.shape for source in inputs)))
        channels = output.shape[0]
        start = 0
        for source in inputs:
            width = source.shape[0]
            geometry = {
                "rows": spatial(source.shape),
                "channels": width,
                "src_stride": width,
                "src_offset": 0,
                "dst_stride": channels,
                "dst_offset": start,
            }
            builder.emit("copy_channels", geometry, dst=output, src=source)
            start += width
        return output


def _listed(shapes: Sequence[Shape]) -> str:
    return ", ".join(map(str, shapes))
