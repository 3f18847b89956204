"""The integer arithmetic of a quantised network: one rule of rounding, factors as an integer and a shift, and tables of
256 codes for activations.

A code q, 0 to 255, of a value with the scale s and the even zero point z stands for s * (q - z). A factor is m / 2^r
with m an int32 from 1 on and r from 0 to 62; one that is a power of two has m = 1 and a shift, or m = 2^n and none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.layers import (
    ELU,
    GELU,
    Clip,
    Hardsigmoid,
    Hardswish,
    Layer,
    LeakyReLU,
    ReLU,
    ReLU6,
    Scale,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)

LOWEST, HIGHEST = 0, 255  # codes of a value
MOST_WEIGHT = {8: 127, 7: 63}  # bits of a weight → its largest code; both signs
SUM_BITS = 31  # of the sums of products: they stay below 2^31 by magnitude, with what rounding adds
MOST_SHIFT = 62
MOST_SHIFT_ALONE = 30  # of a factor 1 / 2^r: what rounding adds, 2^(r-1), has to fit into an int32 as well
FACTOR_BITS = 30  # of m, where a factor is no power of two: m is from 2^30 up to 2^31

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Encoding:
    """How codes stand for numbers: s * (q - z). `scale` is a float32 above 0, `zero` is even, 0 to 254.

    Zero points are even so that rounding half to even is the same before z is added and behind it.
    """

    scale: float
    zero: int

    @property
    def reach(self) -> tuple[float, float]:
        """The smallest and the largest number that has a code."""
        return self.scale * (LOWEST - self.zero), self.scale * (HIGHEST - self.zero)

    @property
    def is_power_of_two(self) -> bool:
        return math.frexp(self.scale)[0] == 0.5

    def codes(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """The codes of real numbers: half to even of x / s, by a division of float32, plus z."""
        quotients = np.asarray(values, np.float32) / np.float32(self.scale)
        return np.clip(np.rint(quotients) + np.float32(self.zero), LOWEST, HIGHEST).astype(np.uint8)

    def numbers(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What codes stand for."""
        return np.float32(self.scale) * (codes.astype(np.float32) - np.float32(self.zero))

    def code_of(self, value: float) -> int:
        """The code of one number; infinities have the outermost."""
        if math.isinf(value):
            return HIGHEST if value > 0 else LOWEST
        return int(min(max(round(Fraction(value) / Fraction(self.scale)) + self.zero, LOWEST), HIGHEST))


@dataclass(frozen=True)
class Factor:
    """multiplier / 2^shift."""

    multiplier: int
    shift: int


def rounded(numerators: NDArray[Any], denominator: int | NDArray[Any]) -> Integers:
    """numerator / denominator, the exact quotient, to the nearest integer, and half of one to the even of the two.

    In integers alone: with q and rest those of the division that rounds down, q + 1 where 2 * rest > denominator, or
    where they are equal and q is odd. Numerators are below 2^62 by magnitude, denominators from 1 to 2^62.
    """
    quotients, rest = np.divmod(np.asarray(numerators, np.int64), np.asarray(denominator, np.int64))
    twice = 2 * rest
    return quotients + ((twice > denominator) | ((twice == denominator) & (quotients & 1 == 1)))


def requantised(sums: NDArray[Any], multipliers: NDArray[Any], shifts: NDArray[Any]) -> Integers:
    """sum * m / 2^r, rounded; the last axis is that of the factors."""
    products = np.asarray(sums, np.int64) * np.asarray(multipliers, np.int64)
    return rounded(products, np.int64(1) << np.asarray(shifts, np.int64))


def factor_of(ratio: float | Fraction) -> Factor:
    """The factor that is nearest to a ratio above 0; exact for a power of two. OverflowError where m or r would not
    fit."""
    exact = Fraction(ratio)
    numerator, denominator = exact.numerator, exact.denominator
    if numerator & (numerator - 1) == 0 and denominator & (denominator - 1) == 0:
        up, down = numerator.bit_length() - 1, denominator.bit_length() - 1
        if up > FACTOR_BITS or down > MOST_SHIFT:
            raise OverflowError(f"2^{up - down}")
        return Factor(1 << up, down)
    exponent = math.frexp(float(exact))[1]  # ratio = f * 2^exponent, f from 0.5 up to 1
    shift = min(FACTOR_BITS + 1 - exponent, MOST_SHIFT)
    multiplier = round(exact * (1 << shift)) if shift >= 0 else 0
    if multiplier >> (FACTOR_BITS + 1):  # rounded up to 2^31
        multiplier, shift = multiplier >> 1, shift - 1
    if not 1 <= multiplier < 1 << SUM_BITS or shift < 0:
        raise OverflowError(f"{float(exact):g}")
    return Factor(multiplier, shift)


def rounding_terms(multipliers: NDArray[Any], shifts: NDArray[Any]) -> Integers:
    """What rounding adds to the sums of a channel: half of 2^r where the factor is 1 / 2^r, else nothing, as the
    product with m is then of 64 bits."""
    shifts = np.asarray(shifts, np.int64)
    alone = (np.asarray(multipliers) == 1) & (shifts > 0)
    return np.where(alone, np.int64(1) << np.maximum(shifts - 1, 0), 0)


def largest_sums(
    weights: NDArray[Any], bias: NDArray[Any], multipliers: NDArray[Any], shifts: NDArray[Any]
) -> Integers:
    """The largest magnitude that a channel's sum can reach: 255 * sum |w| + |bias| + what rounding adds. The first axis
    of the weights is that of the channels."""
    magnitudes = np.abs(weights.reshape(len(weights), -1).astype(np.int64)).sum(axis=1)
    return HIGHEST * magnitudes + np.abs(bias.astype(np.int64)) + rounding_terms(multipliers, shifts)


def check_sums(name: str, largest: Integers) -> None:
    """UserError for a channel of a layer whose sum could leave the int32."""
    over = np.flatnonzero(largest >= 1 << SUM_BITS)
    if len(over):
        raise UserError(
            f"layer {name!r}: the sum of output channel {over[0]} could reach {largest[over[0]]}, and an int32 holds "
            f"less than {1 << SUM_BITS}"
        )


# ---- activations ----

Function = Callable[[Any, float], float]
"""Of the layer and a number."""


def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


def _gelu(layer: Any, x: float) -> float:
    if layer.approximate == "tanh":
        return 0.5 * x * (1.0 + math.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * math.erfc(-x / math.sqrt(2.0))


def _gate(x: float) -> float:
    return min(max(x + 3.0, 0.0), 6.0) / 6.0


FUNCTIONS: Mapping[type[Layer], Function] = {
    ReLU: lambda layer, x: max(x, 0.0),
    ReLU6: lambda layer, x: min(max(x, 0.0), 6.0),
    Clip: lambda layer, x: min(max(x, layer.low), layer.high),
    LeakyReLU: lambda layer, x: x if x > 0 else layer.slope * x,
    ELU: lambda layer, x: x if x > 0 else layer.alpha * math.expm1(x),
    GELU: _gelu,
    SiLU: lambda layer, x: x * _sigmoid(x),
    Sigmoid: lambda layer, x: _sigmoid(x),
    Tanh: lambda layer, x: math.tanh(x),
    Hardswish: lambda layer, x: x * _gate(x),
    Hardsigmoid: lambda layer, x: _gate(x),
    Softplus: lambda layer, x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
    Scale: lambda layer, x: layer.factor * x,
}
"""What a layer does to one number."""


def table_of(layer: Layer, source: Encoding, target: Encoding) -> NDArray[np.uint8]:
    """The code that every code of the input becomes, uint8 (256,)."""
    function = FUNCTIONS[type(layer)]
    numbers = [function(layer, source.scale * (code - source.zero)) for code in range(LOWEST, HIGHEST + 1)]
    return np.array([target.code_of(number) for number in numbers], np.uint8)
