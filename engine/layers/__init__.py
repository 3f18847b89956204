"""The layers, in the words of the reports. `LAYERS` maps every public name to its class."""

from __future__ import annotations

import dataclasses
from typing import Any

from engine.errors import UserError, shown, unknown
from engine.layers.activation import (
    ELU,
    GELU,
    Clip,
    Hardsigmoid,
    Hardswish,
    LeakyReLU,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from engine.layers.base import Layer
from engine.layers.convolution import Conv2D, ConvTranspose2D
from engine.layers.linear import Linear
from engine.layers.normalization import BatchNorm, GroupNorm, InstanceNorm, LayerNorm
from engine.layers.pooling import AvgPool2D, GlobalAvgPool2D, MaxPool2D
from engine.layers.product import Multiply, Scale
from engine.layers.regularization import Dropout, Dropout2D, StochasticDepth
from engine.layers.resampling import Pad2D, PadChannels, Upsample2D
from engine.layers.structure import Add, Concat, Flatten
from engine.program.shapes import Shape
from engine.program.slots import ParameterSpec

LAYERS: dict[str, type[Layer]] = {
    layer.__name__: layer
    for layer in (
        Conv2D,
        ConvTranspose2D,
        MaxPool2D,
        AvgPool2D,
        GlobalAvgPool2D,
        Pad2D,
        PadChannels,
        Upsample2D,
        Linear,
        BatchNorm,
        GroupNorm,
        LayerNorm,
        InstanceNorm,
        Dropout,
        Dropout2D,
        StochasticDepth,
        Scale,
        ReLU,
        LeakyReLU,
        ELU,
        PReLU,
        GELU,
        SiLU,
        Hardswish,
        Hardsigmoid,
        Softplus,
        ReLU6,
        Clip,
        Sigmoid,
        Tanh,
        Softmax,
        Flatten,
        Add,
        Multiply,
        Concat,
    )
}

__all__ = [*LAYERS, "LAYERS", "Layer", "ParameterSpec", "Shape", "layer_name", "make_layer"]


def layer_name(layer: Layer) -> str:
    """What a network's description calls the layer: its class, with the module where LAYERS has another of that name.

    `make_layer` takes the names of LAYERS alone, so that no layer is ever made from the name of another.
    """
    kind = type(layer)
    return kind.__name__ if LAYERS.get(kind.__name__, kind) is kind else f"{kind.__module__}.{kind.__qualname__}"


def make_layer(name: str, arguments: dict[str, Any]) -> Layer:
    """The layer of this public name; UserError for an unknown name or argument. Runs nothing but the constructor."""
    layer = LAYERS.get(name) if isinstance(name, str) else None
    if layer is None:
        raise unknown("layer", name, LAYERS)
    if not isinstance(arguments, dict):
        raise UserError(f"layer {name}: its arguments must be a mapping, not {shown(arguments)}")
    known = [field.name for field in dataclasses.fields(layer)]
    for argument in arguments:
        if argument not in known:
            raise unknown(f"argument of layer {name}:", argument, known)
    missing = [argument for argument in _required(layer) if argument not in arguments]
    if missing:
        raise UserError(f"layer {name} lacks its argument {missing[0]!r}")
    return layer(**arguments)


def _required(layer: type[Layer]) -> list[str]:
    return [field.name for field in dataclasses.fields(layer) if field.default is dataclasses.MISSING]
