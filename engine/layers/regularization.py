"""Dropout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from engine.arguments import assign, number
from engine.layers.base import Layer
from engine.program.code import Builder, Tensor
from engine.program.shapes import Shape, elements


@dataclass(frozen=True)
class Dropout(Layer):
    """In training, zero an element with probability `rate` and divide the others by 1 - rate; else the identity.

    The draws are counter-based: they depend on (seed, which dropout layer, step, element) and on nothing else.
    """

    rate: float

    elementwise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        assign(self, rate=number("Dropout", "rate", self.rate, 0.0, 1.0, below=True))

    def output_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
        (source,) = inputs
        stream = builder.next_stream()
        if not builder.training or self.rate == 0.0:
            return source
        output = builder.tensor(source.shape)
        geometry = {"count": elements(source.shape), "stream": stream, "rate": self.rate}
        builder.emit("dropout", geometry, dst=output, src=source)
        return output
