"""Activations and normalisations."""

from __future__ import annotations

import math

import numpy as np

from engine.export.onnx.emitter import BATCH, Place
from engine.layers.activation import ELU, GELU, Clip, LeakyReLU
from engine.layers.normalization import BatchNorm, GroupNorm, InstanceNorm, LayerNorm

SIXTH = 1 / 6


def relu(place: Place) -> str:
    return place.main("Relu", place.source)


def leaky_relu(place: Place) -> str:
    layer = place.node.layer
    assert isinstance(layer, LeakyReLU)
    return place.main("LeakyRelu", place.source, alpha=layer.slope)


def elu(place: Place) -> str:
    layer = place.node.layer
    assert isinstance(layer, ELU)
    return place.main("Elu", place.source, alpha=layer.alpha)


def prelu(place: Place) -> str:
    count = place.array("weights").size
    return place.main(
        "PRelu", place.source, place.stored("weights", (1,) if count == 1 else place.per_channel(place.shape))
    )


def sigmoid(place: Place) -> str:
    return place.main("Sigmoid", place.source)


def tanh(place: Place) -> str:
    return place.main("Tanh", place.source)


def silu(place: Place) -> str:
    return place.main("Mul", place.source, place.step("Sigmoid", "sigmoid", place.source))


def hard_sigmoid(place: Place) -> str:
    return place.main("HardSigmoid", place.source, alpha=SIXTH, beta=0.5)


def hard_swish(place: Place) -> str:
    """By HardSigmoid, which has been in ONNX from the beginning."""
    return place.main("Mul", place.source, place.step("HardSigmoid", "gate", place.source, alpha=SIXTH, beta=0.5))


def softplus(place: Place) -> str:
    """max(x, 0) + ln(1 + exp(-|x|)): ONNX's own Softplus overflows in some engines."""
    away = place.step("Neg", "away", place.step("Abs", "distance", place.source))
    grown = place.step("Add", "grown", place.step("Exp", "exp", away), place.constant("one", 1.0))
    return place.main("Add", place.step("Relu", "relu", place.source), place.step("Log", "log", grown))


def gelu(place: Place) -> str:
    """In the operations of its definition: ONNX has it as one only from opset 20 on."""
    layer, x = place.node.layer, place.source
    assert isinstance(layer, GELU)
    one = place.constant("one", 1.0)
    if layer.approximate == "none":
        spread = place.step("Erf", "erf", place.step("Div", "scaled", x, place.constant("root", math.sqrt(2))))
    else:
        square = place.step("Mul", "square", x, x)
        cube = place.step("Mul", "cube", square, x)
        bent = place.step("Mul", "bent", cube, place.constant("coefficient", 0.044715))
        inner = place.step("Add", "inner", x, bent)
        spread = place.step(
            "Tanh", "tanh", place.step("Mul", "scaled", inner, place.constant("root", math.sqrt(2 / math.pi)))
        )
    weighted = place.step("Mul", "weighted", x, place.step("Add", "grown", spread, one))
    return place.main("Mul", weighted, place.constant("half", 0.5))


def clip(place: Place) -> str:
    layer = place.node.layer
    low, high = (layer.low, layer.high) if isinstance(layer, Clip) else (0.0, 6.0)
    return place.main("Clip", place.source, place.constant("low", low), place.constant("high", high))


def softmax(place: Place) -> str:
    return place.main("Softmax", place.source, axis=1)


def batch_norm(place: Place) -> str:
    """With `momentum` as the weight of the old value, and always with epsilon: engines differ in their defaults."""
    layer = place.node.layer
    assert isinstance(layer, BatchNorm)
    count = layer.channels
    weights = place.stored("weights") if layer.scale else place.constant("ones", np.ones(count))
    bias = place.stored("bias") if layer.shift else place.constant("zeros", np.zeros(count))
    return place.main(
        "BatchNormalization",
        place.source,
        weights,
        bias,
        place.stored("running_mean"),
        place.stored("running_var"),
        epsilon=layer.eps,
        momentum=1.0 - layer.momentum,
        **({"training_mode": 0} if place.out.opset >= 14 else {}),
    )


def instance_norm(place: Place) -> str:
    layer = place.node.layer
    assert isinstance(layer, InstanceNorm)
    weights = place.stored("weights") if layer.scale else place.constant("ones", np.ones(layer.channels))
    bias = place.stored("bias") if layer.shift else place.constant("zeros", np.zeros(layer.channels))
    return place.main("InstanceNormalization", place.source, weights, bias, epsilon=layer.eps)


def group_norm(place: Place) -> str:
    """The groups as channels of an InstanceNormalization: GroupNormalization is in ONNX only from opset 18 on, and was
    changed in 21."""
    layer = place.node.layer
    assert isinstance(layer, (GroupNorm, LayerNorm))
    groups, channels, eps, scale, shift = layer.settings()
    grouped = place.reshaped("grouped", place.source, (groups, math.prod(place.shape) // groups))
    ones, zeros = place.constant("ones", np.ones(groups)), place.constant("zeros", np.zeros(groups))
    normal = place.step("InstanceNormalization", "normal", grouped, ones, zeros, epsilon=eps)
    shape = place.constant("shape", [BATCH, *place.shape], np.int64)
    result = place.main("Reshape", normal, shape, allowzero=0)
    if scale:
        result = place.step("Mul", "scaled", result, place.stored("weights", place.per_channel(place.shape)))
    if shift:
        result = place.step("Add", "shifted", result, place.stored("bias", place.per_channel(place.shape)))
    return result
