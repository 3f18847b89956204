"""Activations: ReLU and its kin, those that are smooth, PReLU, which learns, and Softmax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from engine.arguments import as_float32, assign, number
from engine.errors import UserError, shown
from engine.layers.base import Layer
from engine.program.code import Builder, Tensor
from engine.program.limits import whole
from engine.program.shapes import Shape, elements, spatial
from engine.program.slots import ParameterSpec


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
        builder.emit(f"{self.op}_forward", {"count": elements(source.shape), **self.numbers()}, dst=output, src=source)
        return output

    def numbers(self) -> dict[str, float]:
        """The fields of the op's geometry beside the number of elements."""
        return {"slope": getattr(self, "slope", 0.0)}


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
class GELU(_Elementwise):
    """x * P(X <= x) for a normal X (Hendrycks & Gimpel 2016).

    approximate   "none": by the error function; "tanh": 0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))), the
                  approximation of that paper, which networks trained elsewhere may have
    """

    approximate: str = "none"

    def __post_init__(self) -> None:
        if not isinstance(self.approximate, str) or self.approximate not in ("none", "tanh"):
            raise UserError(f"GELU: approximate must be 'none' or 'tanh', not {shown(self.approximate)}")

    @property
    def op(self) -> str:  # type: ignore[override]
        return "gelu" if self.approximate == "none" else "gelu_tanh"


@dataclass(frozen=True)
class SiLU(_Elementwise):
    """x / (1 + exp(-x)), also called Swish (Hendrycks & Gimpel 2016; Ramachandran, Zoph & Le 2017)."""

    op: ClassVar[str] = "silu"


@dataclass(frozen=True)
class Hardswish(_Elementwise):
    """x * min(max(x + 3, 0), 6) / 6 (Howard et al. 2019); the gradient is 0 at -3 and 1 at 3."""

    op: ClassVar[str] = "hardswish"


@dataclass(frozen=True)
class Hardsigmoid(_Elementwise):
    """min(max(x + 3, 0), 6) / 6 (Howard et al. 2019); the gradient at -3 and 3 is 0."""

    op: ClassVar[str] = "hardsigmoid"


@dataclass(frozen=True)
class Softplus(_Elementwise):
    """ln(1 + exp(x)): ReLU with a round corner (Dugas et al. 2001)."""

    op: ClassVar[str] = "softplus"


@dataclass(frozen=True)
class ReLU6(_Elementwise):
    """min(max(x, 0), 6) (Krizhevsky 2010); the gradient at 0 and 6 is 0."""

    op: ClassVar[str] = "relu6"


@dataclass(frozen=True)
class Clip(_Elementwise):
    """min(max(x, low), high), PyTorch's Hardtanh; the gradient at a bound is 0. Clip(0, 6) is computed as ReLU6.

    low, high   finite numbers, low below high, as float32 too
    """

    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        infinity = float("inf")
        low, high = (number("Clip", name, getattr(self, name), -infinity, infinity) for name in ("low", "high"))
        if not as_float32(low) < as_float32(high):
            raise UserError(f"Clip: low must be below high as a float32, but they are {low:g} and {high:g}")
        assign(self, low=low, high=high)

    @property
    def op(self) -> str:  # type: ignore[override]
        return "relu6" if self._is_relu6 else "clip"

    @property
    def _is_relu6(self) -> bool:
        """The op without numbers of its own, which a convolution, a linear layer or a batch normalisation computes."""
        return (self.low, self.high) == (0.0, 6.0)

    def numbers(self) -> dict[str, float]:
        return super().numbers() if self._is_relu6 else {"low": self.low, "high": self.high}


@dataclass(frozen=True)
class PReLU(Layer):
    """x where x > 0, else slope * x, with a slope that is learned (He et al. 2015); it begins at 0.25, theirs.

    Parameters: weights (channels,). That paper trains them without weight decay, which a decay of all parameters (see
    engine.SGD) is not.

    channels   1: one slope for everything; otherwise the input's channels, or features, each of which has its own
    """

    channels: int = 1

    def __post_init__(self) -> None:
        assign(self, channels=whole("PReLU", "channels", self.channels, "prelu", "c"))

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        if self.channels not in (1, shape[0]):
            raise UserError(f"PReLU has channels = {self.channels}, but its input has {shape[0]} channels")
        return shape

    def parameters(self) -> tuple[ParameterSpec, ...]:
        return (ParameterSpec("weights", (self.channels,), "slope"),)

    def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
        (source,) = inputs
        output = builder.tensor(source.shape)
        geometry = {"rows": elements(source.shape) // self.channels, "c": self.channels}
        builder.emit("prelu_forward", geometry, dst=output, src=source, weights=builder.parameter("weights"))
        return output


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
