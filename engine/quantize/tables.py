"""Activations as tables of 256 codes, made once in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
from engine.quantize.arithmetic import HIGHEST, LOWEST, Encoding

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
