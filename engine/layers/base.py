"""What every layer is: arguments, a shape rule, parameters, and a lowering to the ops of the C core."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from engine.errors import UserError

if TYPE_CHECKING:
    from engine.plan.ir import Builder, Tensor

Shape = tuple[int, ...]
"""Extents of one sample in the public order: (C, H, W) for a feature map, (K,) for a vector."""


@dataclass(frozen=True)
class ParameterSpec:
    """One array that a layer owns.

    `name` ends its key ("0.weights"); `shape` is the public one. `role` is "weights" (drawn by the initialiser),
    "bias" or "mean" (start at 0), "scale" or "variance" (start at 1). Only "weights" get Keras-style L2.
    """

    name: str
    shape: Shape
    role: str
    fan_in: int = 1
    fan_out: int = 1


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


def elements(shape: Shape) -> int:
    """Number of elements of one sample."""
    return math.prod(shape)


def spatial(shape: Shape) -> int:
    """H*W of a feature map, 1 for a vector."""
    return math.prod(shape[1:])


def require_feature_map(layer: Layer, shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise UserError(f"{type(layer).__name__} needs a (C, H, W) feature map, but its input has shape {shape}")
    return shape[0], shape[1], shape[2]


def integer(owner: str, name: str, value: Any, minimum: int) -> int:
    """`value` as an int, at least `minimum`; UserError otherwise."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < minimum:
        raise UserError(f"{owner}: {name} must be a whole number of at least {minimum}, not {value!r}")
    return int(value.__index__())


MAX_SEED = 2**64 - 1  # one word of the counter-based generators' key


def checked_seed(owner: str, value: Any) -> int:
    """`value` as a seed, 0 to 2^64 - 1; UserError otherwise."""
    seed = integer(owner, "seed", value, 0)
    if seed > MAX_SEED:
        raise UserError(f"{owner}: seed must be a whole number from 0 to 2^64 - 1, not {value!r}")
    return seed


def size(owner: str, name: str, value: Any, minimum: int) -> int | tuple[int, int]:
    """An int, or a pair (height, width) of them, checked; a list (from JSON or YAML) becomes a tuple."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise UserError(f"{owner}: {name} must be one number or (height, width), not {value!r}")
        return integer(owner, name, value[0], minimum), integer(owner, name, value[1], minimum)
    return integer(owner, name, value, minimum)


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def number(owner: str, name: str, value: Any, low: float, high: float, *, below: bool = False) -> float:
    """`value` as a finite float in [low, high], or in [low, high) with `below`; UserError otherwise."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not good or value < low or value > high or (below and value == high):
        bound = f"from {low} to {'below ' if below else ''}{high}" if math.isfinite(high) else f"of at least {low}"
        raise UserError(f"{owner}: {name} must be a number {bound}, not {value!r}")
    return float(value)


def assign(instance: object, **values: Any) -> None:
    """Store checked arguments in a frozen dataclass, from its __post_init__."""
    for name, value in values.items():
        object.__setattr__(instance, name, value)
