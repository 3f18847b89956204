"""Scaling and normalising inside of a model: uint8 images in, the network's own input behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from engine.data.preprocess import SCALES, Preprocess
from engine.errors import UserError
from engine.export.onnx.emitter import Emitter
from engine.program.shapes import Shape

NORMALISED = "normalised"  # the value that the first layer reads


def emit_preprocess(out: Emitter, description: Mapping[str, Any] | None, source: str, shape: Shape) -> str:
    """Nodes that do what `Preprocess.normalise` does to uint8 (N, C, H, W); the name of what they give."""
    if description is None:
        raise UserError(
            "the network does not say what is done to images (preprocess): nothing can be put into the model"
        )
    if len(shape) != 3:
        raise UserError(f"preprocess is of images, but the network takes inputs of shape {shape}")
    preprocess = Preprocess.from_dict(description)
    later = {"saturate": 1} if out.opset >= 19 else {}
    values = out.node("Cast", "values", [source], to=out.onnx.TensorProto.FLOAT, **later)
    if preprocess.standardise == "image":
        values = _standardised(out, values, shape)
    elif preprocess.per_image:
        values = _stretched(out, values)
    scale, offset = _factors(preprocess)
    channels = (-1, 1, 1)
    scaled = out.node("Mul", "scaled", [values, out.constant("scale", scale.reshape(channels))])
    return out.node("Add", NORMALISED, [scaled, out.constant("offset", offset.reshape(channels))])


def _factors(preprocess: Preprocess) -> tuple[np.ndarray, np.ndarray]:
    """What every channel is multiplied by, and what is added, after an image's own values have done their part."""
    if preprocess.standardise == "set":
        raise UserError("preprocess standardise: set needs the training images first (Preprocess.fitted)")
    factor, offset = (1.0, 0.0) if preprocess.standardise == "image" else SCALES[preprocess.scale]
    mean, std = np.array(preprocess.mean or (0.0,)), np.array(preprocess.std or (1.0,))
    scale = np.broadcast_to(factor / std, (preprocess.channels,))
    return scale, np.broadcast_to((offset - mean) / std, (preprocess.channels,))


def _standardised(out: Emitter, values: str, shape: Shape) -> str:
    """Minus the image's own mean, by its own standard deviation, but by no less than 1 / sqrt(its number of values)."""
    mean = _reduced(out, "ReduceMean", "mean", values)
    away = out.node("Sub", "away", [values, mean])
    variance = _reduced(out, "ReduceMean", "variance", out.node("Mul", "square", [away, away]))
    deviation = out.node("Sqrt", "deviation", [variance])
    bounded = out.node("Max", "bounded", [deviation, out.constant("least", math.prod(shape) ** -0.5)])
    return out.node("Div", "standardised", [away, bounded])


def _stretched(out: Emitter, values: str) -> str:
    """The image's darkest value to 0 and its brightest to 255; one of a single value to 0."""
    low, high = (_reduced(out, operator, operator.lower(), values) for operator in ("ReduceMin", "ReduceMax"))
    height = out.node("Max", "height", [out.node("Sub", "span", [high, low]), out.constant("one", 1.0)])
    above = out.node("Mul", "above", [out.node("Sub", "rest", [values, low]), out.constant("white", 255.0)])
    return out.node("Div", "stretched", [above, height])


def _reduced(out: Emitter, operator: str, name: str, values: str) -> str:
    """Over the whole of an image; its axes became an input of the operator in opset 18."""
    axes = [1, 2, 3]
    if out.opset < 18:
        return out.node(operator, name, [values], axes=axes, keepdims=1)
    inputs = [values, out.constant(f"{name}.axes", axes, np.int64)]
    return out.node(operator, name, inputs, keepdims=1, noop_with_empty_axes=0)
