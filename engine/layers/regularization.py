"""Dropout: of elements, of channels, of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from engine.arguments import assign, number
from engine.layers.base import Layer, require_feature_map
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
        assign(self, rate=number(type(self).__name__, "rate", self.rate, 0.0, 1.0, below=True))

    def output_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def draws(self, shape: Shape) -> int:
        """How many draws a sample of this shape takes; elements that lie so far apart in memory share one."""
        return elements(shape)

    def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
        (source,) = inputs
        stream = builder.next_stream()
        if not builder.training or self.rate == 0.0:
            return source
        output = builder.tensor(source.shape)
        geometry = {
            "count": elements(source.shape),
            "draws": self.draws(source.shape),
            "stream": stream,
            "rate": self.rate,
        }
        builder.emit("dropout", geometry, dst=output, src=source)
        return output


@dataclass(frozen=True)
class Dropout2D(Dropout):
    """In training, zero a whole channel of a (C, H, W) map with probability `rate` and divide the others by 1 - rate;
    else the identity (Tompson et al. 2015, "spatial dropout": neighbouring pixels tell much the same).

    Draws as in Dropout, one for each channel of a sample.
    """

    elementwise: ClassVar[bool] = False

    def output_shape(self, *shapes: Shape) -> Shape:
        return require_feature_map(self, shapes[0])

    def draws(self, shape: Shape) -> int:
        return shape[0]


@dataclass(frozen=True)
class StochasticDepth(Dropout):
    """In training, zero a whole sample with probability `rate` and divide the others by 1 - rate; else the identity.

    At the end of a residual branch, before the Add, it drops the branch (Huang et al. 2016). The paper scales in
    inference instead; scaled in training, as here, it is torchvision's in its mode "row". Draws as in Dropout, one for
    each sample.
    """

    def draws(self, shape: Shape) -> int:
        return 1
