"""Layers with windows: convolutions and pooling."""

from __future__ import annotations

from typing import Any

from engine.arguments import pair
from engine.export.onnx.emitter import Place
from engine.export.onnx.moves import padded
from engine.layers.convolution import Conv2D, ConvTranspose2D
from engine.layers.pooling import AvgPool2D, MaxPool2D, whole_by_counted
from engine.program.shapes import Shape

NO_PADS = (0, 0, 0, 0)


def convolution(place: Place) -> str:
    layer = place.node.layer
    assert isinstance(layer, Conv2D)
    _, height, width = place.shape
    source, pads = place.source, layer.pads(height, width)
    if layer.padding_mode != "zeros" and any(pads):
        source, pads = padded(place, "padded", source, pads, layer.padding_mode), NO_PADS
    return place.main(
        "Conv",
        source,
        place.stored("weights"),
        *([place.stored("bias")] if layer.bias else []),
        **attributes(layer, pads),
    )


def attributes(layer: Conv2D, pads: tuple[int, int, int, int]) -> dict[str, Any]:
    """Those of a Conv, with pads by (top, bottom, left, right)."""
    return {
        "auto_pad": "NOTSET",
        "dilations": pair(layer.dilation),
        "group": layer.groups,
        "kernel_shape": pair(layer.kernel),
        "pads": by_corner(pads),
        "strides": pair(layer.stride),
    }


def transposed(place: Place) -> str:
    """By pads and output_padding: engines disagree on output_shape."""
    layer = place.node.layer
    assert isinstance(layer, ConvTranspose2D)
    return place.main(
        "ConvTranspose",
        place.source,
        place.stored("weights"),
        *([place.stored("bias")] if layer.bias else []),
        auto_pad="NOTSET",
        dilations=pair(layer.dilation),
        group=layer.groups,
        kernel_shape=pair(layer.kernel),
        output_padding=pair(layer.output_padding),
        pads=by_corner(layer.pads(0, 0)),
        strides=pair(layer.stride),
    )


def max_pool(place: Place) -> str:
    layer = place.node.layer
    assert isinstance(layer, MaxPool2D)
    source, pads = place.source, _even(layer)
    if any(over := overhang(layer, place.shape, place.node.shape)):
        # An edge that is repeated changes no maximum: every window has a pixel of the edge in it.
        top, left, *_ = pads
        source, pads = padded(place, "padded", source, (top, over[0], left, over[1]), "replicate"), NO_PADS
    return place.main(
        "MaxPool",
        source,
        auto_pad="NOTSET",
        ceil_mode=0,
        dilations=(1, 1),
        kernel_shape=pair(layer.kernel),
        pads=pads,
        storage_order=0,
        strides=_strides(layer),
    )


def average_pool(place: Place, dilations: bool = True) -> str:
    layer = place.node.layer
    assert isinstance(layer, AvgPool2D)
    pads = _even(layer)
    if not any(over := overhang(layer, place.shape, place.node.shape)):
        include = int(layer.count_include_pad)
        return place.main("AveragePool", place.source, **averaging(place, layer, pads, include, dilations))
    # Engines divide by different numbers where a window hangs over: the mean over the whole window is taken, with
    # zeros behind the edge, and corrected for the number of elements that count.
    top, left, *_ = pads
    source = padded(place, "padded", place.source, (top, over[0], left, over[1]), "zeros")
    whole = place.step("AveragePool", "whole", source, **averaging(place, layer, NO_PADS, 1, dilations))
    _, height, width = place.shape
    return place.main("Mul", whole, place.constant("correction", whole_by_counted(layer, height, width)[None, None]))


def global_average(place: Place) -> str:
    pooled = place.main("GlobalAveragePool", place.source)
    return place.step("Flatten", "vector", pooled, axis=1)


def by_corner(pads: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) as ONNX has it: (top, left, bottom, right)."""
    top, bottom, left, right = pads
    return top, left, bottom, right


def overhang(pool: MaxPool2D | AvgPool2D, shape: Shape, result: Shape) -> tuple[int, int]:
    """Rows and columns behind the image that the last windows reach, where that is beyond the padding; else (0, 0)."""
    extents = zip(shape[1:], result[1:], pair(pool.kernel), _strides(pool), pair(pool.padding), strict=True)
    reach = [((count - 1) * stride + kernel - pad - length, pad) for length, count, kernel, stride, pad in extents]
    if all(behind <= pad for behind, pad in reach):
        return 0, 0
    bottom, right = (max(behind, 0) for behind, _ in reach)
    return bottom, right


def averaging(
    place: Place, layer: AvgPool2D, pads: tuple[int, ...], include: int, dilations: bool
) -> dict[str, object]:
    dilated = {"dilations": (1, 1)} if place.out.opset >= 19 and dilations else {}
    return {
        "auto_pad": "NOTSET",
        "ceil_mode": 0,
        "count_include_pad": include,
        "kernel_shape": pair(layer.kernel),
        "pads": pads,
        "strides": _strides(layer),
        **dilated,
    }


def _even(pool: MaxPool2D | AvgPool2D) -> tuple[int, int, int, int]:
    pad_h, pad_w = pair(pool.padding)
    return pad_h, pad_w, pad_h, pad_w


def _strides(pool: MaxPool2D | AvgPool2D) -> tuple[int, int]:
    return pair(pool.kernel if pool.stride is None else pool.stride)
