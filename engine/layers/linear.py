"""The fully connected layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from engine.arguments import assign, truth
from engine.errors import UserError
from engine.layers.base import Layer
from engine.program.code import Builder, Tensor
from engine.program.limits import whole
from engine.program.shapes import Shape, elements, spatial
from engine.program.slots import ParameterSpec


@dataclass(frozen=True)
class Linear(Layer):
    """dst = weights @ src + bias; weights are (out_features, in_features), the bias (out_features,)."""

    in_features: int
    out_features: int
    bias: bool = True

    kind: ClassVar[str] = "linear"

    def __post_init__(self) -> None:
        assign(
            self,
            in_features=whole("Linear", "in_features", self.in_features, "linear", "k"),
            out_features=whole("Linear", "out_features", self.out_features, "linear", "n"),
            bias=truth("Linear", "bias", self.bias),
        )

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        if spatial(shape) > 1:
            raise UserError(
                f"Linear works on a vector, but its input is a feature map of shape {shape}: put Flatten() before it"
            )
        if elements(shape) != self.in_features:
            raise UserError(
                f"Linear has in_features = {self.in_features}, but its input has {elements(shape)} features"
            )
        return (self.out_features,)

    def parameters(self) -> tuple[ParameterSpec, ...]:
        weights = ParameterSpec(
            "weights",
            (self.out_features, self.in_features),
            "weights",
            fan_in=self.in_features,
            fan_out=self.out_features,
        )
        return (weights, ParameterSpec("bias", (self.out_features,), "bias")) if self.bias else (weights,)

    def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
        output = builder.tensor((self.out_features,))
        builder.emit(
            "linear_forward",
            {"k": self.in_features, "n": self.out_features, "activation": 0},
            dst=output,
            src=inputs[0],
            weights=builder.parameter("weights"),
            bias=builder.parameter("bias") if self.bias else None,
        )
        return output
