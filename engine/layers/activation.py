"""Activations: ReLU, LeakyReLU, ELU, Sigmoid, Tanh and Softmax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from engine.arguments import assign, number
from engine.layers.base import Layer
from engine.program.code import Builder, Tensor
from engine.program.shapes import Shape, elements, spatial


@dataclass(frozen=True)
class _Elementwise(Layer):
    """An activation that works on every element alone."""

    elementwise: ClassVar[bool] = True
    op: ClassVar[str] = ""

    def output_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
        (source,) = inputs
        output = builder.tensor(source.shape)
        geometry = {"count": elements(source.shape), "slope": getattr(self, "slope", 0.0)}
        builder.emit(f"{self.op}_forward", geometry, dst=output, src=source)
        return output


@dataclass(frozen=True)
class ReLU(_Elementwise):
    """max(x, 0); the gradient at 0 is 0."""

    op: ClassVar[str] = "relu"


@dataclass(frozen=True)
class LeakyReLU(_Elementwise):
    """x where x > 0, else slope * x."""

    slope: float = 0.01

    op: ClassVar[str] = "leaky_relu"

    def __post_init__(self) -> None:
        assign(self, slope=number("LeakyReLU", "slope", self.slope, float("-inf"), float("inf")))


@dataclass(frozen=True)
class ELU(_Elementwise):
    """x where x > 0, else alpha * (exp(x) - 1) (Clevert, Unterthiner & Hochreiter 2016); the gradient at 0 is alpha."""

    alpha: float = 1.0

    op: ClassVar[str] = "elu"

    def __post_init__(self) -> None:
        assign(self, alpha=number("ELU", "alpha", self.alpha, 0.0, float("inf"), above=True))

    @property
    def slope(self) -> float:
        """Where the geometry has alpha."""
        return self.alpha


@dataclass(frozen=True)
class Sigmoid(_Elementwise):
    """1 / (1 + exp(-x))."""

    op: ClassVar[str] = "sigmoid"


@dataclass(frozen=True)
class Tanh(_Elementwise):
    """The hyperbolic tangent."""

    op: ClassVar[str] = "tanh"


@dataclass(frozen=True)
class Softmax(Layer):
    """exp(x) / sum(exp(x)) over the channels (or the elements of a vector), for every position alone."""

    def output_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
        (source,) = inputs
        output = builder.tensor(source.shape)
        builder.emit("softmax_forward", {"rows": spatial(source.shape), "c": source.shape[0]}, dst=output, src=source)
        return output
