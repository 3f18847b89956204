"""Layers that move values or join them: padding, upsampling, flattening, sums, products."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from engine.arguments import pair
from engine.export.onnx.emitter import Place
from engine.layers.product import Scale
from engine.layers.resampling import Pad2D, PadChannels, Upsample2D

MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge"}


def padded(place: Place, part: str, source: str, around: tuple[int, int, int, int], mode: str) -> str:
    """A node that pads a map by (top, bottom, left, right), before the layer's last."""
    return place.step("Pad", part, source, *_around(place, around, mode), mode=MODES[mode])


def pad(place: Place) -> str:
    layer = place.node.layer
    assert isinstance(layer, Pad2D)
    return place.main("Pad", place.source, *_around(place, layer.pads(0, 0), layer.mode), mode=MODES[layer.mode])


def pad_channels(place: Place) -> str:
    layer = place.node.layer
    assert isinstance(layer, PadChannels)
    rest = [0] * (len(place.shape) - 1)
    after = layer.before if layer.after is None else layer.after
    pads = place.constant("pads", [0, layer.before, *rest, 0, after, *rest], np.int64)
    return place.main("Pad", place.source, pads, place.constant("zero", 0.0), mode="constant")


def _around(place: Place, around: tuple[int, int, int, int], mode: str) -> list[str]:
    """The further inputs of a Pad by (top, bottom, left, right). The number that stands in a padding is given where
    there is one: an engine takes any that it is given for a wish for it, whatever the mode."""
    top, bottom, left, right = around
    pads = place.constant("pads", [0, 0, top, left, 0, 0, bottom, right], np.int64)
    return [pads, place.constant("zero", 0.0)] if mode == "zeros" else [pads]


def upsample(place: Place) -> str:
    """By whole factors, so that every engine has the same extents; nearest by half_pixel, where no place lies in the
    middle between two pixels."""
    layer = place.node.layer
    assert isinstance(layer, Upsample2D)
    scales = place.constant("scales", [1, 1, *pair(layer.scale)])
    later: dict[str, Any] = {}
    if place.out.opset >= 18:
        later = {"antialias": 0, "keep_aspect_ratio_policy": "stretch"}
    return place.main(
        "Resize",
        place.source,
        "",
        scales,
        coordinate_transformation_mode="align_corners" if layer.align_corners else "half_pixel",
        cubic_coeff_a=-0.75,
        exclude_outside=0,
        extrapolation_value=0.0,
        mode="nearest" if layer.mode == "nearest" else "linear",
        nearest_mode="round_prefer_floor",
        **later,
    )


def flatten(place: Place) -> str:
    return place.main("Flatten", place.source, axis=1)


def add(place: Place) -> str:
    """Two by two, in the order of the engine's own sums."""
    first, *middle, last = place.sources
    total = reduce(lambda sum_, term: place.step("Add", "sum", sum_, term), middle, first)
    return place.main("Add", total, last)


def concat(place: Place) -> str:
    return place.main("Concat", *place.sources, axis=1)


def multiply(place: Place) -> str:
    factors = list(place.sources)
    for index, shape in enumerate(place.shapes):
        if len(shape) < len(place.node.shape):
            factors[index] = place.reshaped("factors", factors[index], (shape[0], 1, 1))
    return place.main("Mul", *factors)


def scale(place: Place) -> str:
    layer = place.node.layer
    assert isinstance(layer, Scale)
    if layer.channels is None:
        return place.main("Mul", place.source, place.constant("factor", layer.factor))
    return place.main("Mul", place.source, place.stored("weights", place.per_channel(place.shape)))


def linear(place: Place) -> str:
    """Gemm with a vector as its third operand, which all engines read alike; without one a MatMul."""
    source = place.source if len(place.shape) == 1 else place.step("Flatten", "vector", place.source, axis=1)
    if place.has("bias"):
        weights = place.stored("weights"), place.stored("bias")
        return place.main("Gemm", source, *weights, alpha=1.0, beta=1.0, transA=0, transB=1)
    return place.main("MatMul", source, place.constant("weights", place.array("weights").T))


def unchanged(place: Place) -> str:
    """A layer that does something in training alone."""
    return place.source
