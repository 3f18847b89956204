"""The integer part of a quantised network in ONNX: QDQ, the form that every runtime with int8 reads.

A layer with weights stands in float between a DequantizeLinear for each operand and a QuantizeLinear behind it, which a
runtime with integer kernels takes as one of those; all else works on the codes themselves. With scales that are powers
of two the float arithmetic is exact as well, so that a runtime without such kernels gives the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import layers
from engine.arguments import pair
from engine.export.onnx import moves, windows
from engine.export.onnx.emitter import Emitter, Place
from engine.layers import Layer
from engine.layers.pooling import whole_by_counted
from engine.layers.topology import INPUT, Node
from engine.quantize.arithmetic import HIGHEST, LOWEST, Encoding
from engine.quantize.body import Body, is_tabled

OPSET = 19  # the first in which QuantizeLinear and DequantizeLinear are what they are now


@dataclass
class Codes:
    """The integer part while it is written: names of the codes of every value, and of what they stand for, as far as
    somebody has asked."""

    out: Emitter
    body: Body
    codes: dict[str, str]
    real: dict[str, str] = field(default_factory=dict)
    encodings: dict[str, tuple[str, str]] = field(default_factory=dict)

    def number(self, name: str) -> str:
        """A value in float."""
        if name not in self.real:
            inputs = [self.codes[name], *self.encoding(name)]
            self.real[name] = self.out.node("DequantizeLinear", f"{name}/real", inputs, axis=1)
        return self.real[name]

    def encoding(self, name: str) -> tuple[str, str]:
        """Scale and zero point of a value as constants."""
        if name not in self.encodings:
            encoding = self.body.encodings[name]
            scale = self.out.constant(f"{name}/scale", np.float32(encoding.scale))
            self.encodings[name] = scale, self.out.constant(f"{name}/zero", encoding.zero, np.uint8)
        return self.encodings[name]

    def quantised(self, name: str, source: str, part: str = "codes") -> str:
        """Codes from float; the name of that."""
        inputs = [source, *self.encoding(name)]
        return self.out.node("QuantizeLinear", f"{name}/{part}", inputs, axis=1, saturate=1)

    def weights(self, name: str, part: str, values: NDArray[Any], scales: NDArray[np.float32], axis: int = 0) -> str:
        """An array of integers in float: a scale for each output channel and no zero point."""
        stored = self.out.constant(f"{name}.{part}", values, values.dtype)
        factors = self.out.constant(f"{name}.{part}/scale", scales)
        zeros = self.out.constant(f"{name}.{part}/zero", np.zeros(len(scales)), values.dtype)
        return self.out.node("DequantizeLinear", f"{name}.{part}/real", [stored, factors, zeros], axis=axis)


def emit_body(out: Emitter, body: Body, source: str) -> str:
    """Nodes of the integer part, for a float `source`; the name of its output in float."""
    writer = Codes(out, body, {})
    writer.codes[INPUT] = writer.quantised(INPUT, source)
    for node in body.topology.nodes:
        sources = tuple(writer.codes[name] for name in node.inputs)
        place = Place(out, node, sources, body.shapes(node))
        write = _table if is_tabled(node.layer) else WRITES[type(node.layer)]
        writer.codes[node.name] = _clamped(writer, node, write(writer, place))
    return writer.number(body.topology.output)


def _clamped(writer: Codes, node: Node, codes: str) -> str:
    """The codes between the layer's lowest and highest, where a byte has others."""
    clamp = writer.body.clamp(node.name)
    if (clamp.low, clamp.high) == (LOWEST, HIGHEST):
        return codes
    bounds = [writer.out.constant(f"{node.name}/{name}", getattr(clamp, name), np.uint8) for name in ("low", "high")]
    return writer.out.node("Clip", f"{node.name}/clamped", [codes, *bounds])


def weight_scales(source: Encoding, target: Encoding, multipliers: NDArray[Any], shifts: NDArray[Any]) -> Any:
    """The scale of a channel's weights, float32: what makes source * weight / target the channel's factor."""
    factors = multipliers.astype(np.float64) / 2.0 ** shifts.astype(np.float64)
    return (factors * target.scale / source.scale).astype(np.float32)


# ---- layers with weights ----


def _operands(writer: Codes, place: Place, weights: NDArray[Any], repeat: int = 1) -> list[str]:
    """Input, weights and bias in float, `weights` with an output in each row; `repeat` outputs share a channel."""
    body, name = writer.body, place.node.name
    source, target = body.encodings[place.node.inputs[0]], body.encodings[name]
    vectors = [np.tile(body.array(name, part), repeat) for part in ("bias", "multipliers", "shifts")]
    scales = weight_scales(source, target, *vectors[1:])
    return [
        writer.number(place.node.inputs[0]),
        writer.weights(name, "weights", weights, scales),
        writer.weights(name, "bias", vectors[0], np.float32(source.scale) * scales),
    ]


def _convolution(writer: Codes, place: Place) -> str:
    layer = place.node.layer
    assert isinstance(layer, layers.Conv2D)
    _, height, width = place.shape
    operands = _operands(writer, place, writer.body.array(place.node.name, "weights"))
    result = place.main("Conv", *operands, **windows.attributes(layer, layer.pads(height, width)))
    return writer.quantised(place.node.name, result)


def _linear(writer: Codes, place: Place) -> str:
    operands = _operands(writer, place, writer.body.array(place.node.name, "weights"))
    if len(place.shape) > 1:
        operands[0] = place.step("Flatten", "vector", operands[0], axis=1)
    result = place.main("Gemm", *operands, alpha=1.0, beta=1.0, transA=0, transB=1)
    return writer.quantised(place.node.name, result)


def _transposed(writer: Codes, place: Place) -> str:
    """The kernel is the stride: a convolution of 1x1 gives every pixel's block in channels, which are then moved."""
    layer = place.node.layer
    assert isinstance(layer, layers.ConvTranspose2D)
    (kernel_h, kernel_w), (_, height, width) = pair(layer.kernel), place.shape
    count, channels = kernel_h * kernel_w, layer.out_channels
    rows = writer.body.array(place.node.name, "weights").transpose(2, 3, 1, 0).reshape(count * channels, -1, 1, 1)
    plain = layers.Conv2D(layer.in_channels, count * channels, 1)
    operands = _operands(writer, place, np.ascontiguousarray(rows), count)
    result = place.main("Conv", *operands, **windows.attributes(plain, windows.NO_PADS))
    codes = writer.quantised(place.node.name, result, "blocks")
    apart = place.reshaped("apart", codes, (kernel_h, kernel_w, channels, height, width))
    moved = place.step("Transpose", "moved", apart, perm=[0, 3, 4, 1, 5, 2])
    return place.reshaped("codes", moved, (channels, height * kernel_h, width * kernel_w))


# ---- sums and means ----


def _sum(writer: Codes, place: Place) -> str:
    first, second = (writer.number(name) for name in place.node.inputs)
    return writer.quantised(place.node.name, place.main("Add", first, second))


def _mean(writer: Codes, place: Place) -> str:
    """In float, which is exact but for the division: no mean lies so near to the middle between two codes that it would
    be missed. Without dilations: ONNX Runtime's own operator, which it makes of this, knows none."""
    layer = place.node.layer
    real = replace(place, sources=(writer.number(place.node.inputs[0]),))
    if not isinstance(layer, layers.AvgPool2D):
        return writer.quantised(place.node.name, windows.global_average(real))
    over = windows.overhang(layer, place.shape, place.node.shape)
    if any(over):
        result = _divided(real, layer, over)
    elif layer.count_include_pad and any(pair(layer.padding)):
        result = _padded_mean(writer, place, layer)
    else:
        result = windows.average_pool(real, dilations=False)
    return writer.quantised(place.node.name, result)


def _padded_mean(writer: Codes, place: Place, layer: layers.AvgPool2D) -> str:
    """Padding that counts is put round the codes: OpenVINO takes a padded place for code 0, not for the zero point."""
    top, left = pair(layer.padding)
    pads = place.constant("pads", [0, 0, top, left, 0, 0, top, left], np.int64)
    scale, zero = writer.encoding(place.node.inputs[0])
    codes = place.step("Pad", "padded", place.source, pads, zero, mode="constant")
    real = place.step("DequantizeLinear", "real", codes, scale, zero, axis=1)
    averaging = windows.averaging(place, layer, windows.NO_PADS, 1, dilations=False)
    return place.main("AveragePool", real, **averaging)


def _divided(place: Place, layer: layers.AvgPool2D, over: tuple[int, int]) -> str:
    """Sums of windows, some of which hang over the edge, by the number of elements that count in each."""
    channels, height, width = place.shape
    top, left = pair(layer.padding)
    stride = layer.kernel if layer.stride is None else layer.stride
    each = layers.Conv2D(channels, channels, layer.kernel, stride, groups=channels)
    ones = place.constant("ones", np.ones((channels, 1, *pair(layer.kernel))))
    sums = place.step("Conv", "sums", place.source, ones, **windows.attributes(each, (top, over[0], left, over[1])))
    counts = math.prod(pair(layer.kernel)) / whole_by_counted(layer, height, width)
    return place.main("Div", sums, place.constant("counts", np.rint(counts)[None, None]))


# ---- codes alone ----


def _table(writer: Codes, place: Place) -> str:
    table = writer.out.constant(f"{place.node.name}.table", writer.body.array(place.node.name, "table"), np.uint8)
    places = place.step("Cast", "places", place.source, to=writer.out.onnx.TensorProto.INT64, saturate=1)
    return place.main("Gather", table, places, axis=0)


def _zero(writer: Codes, place: Place) -> str:
    return place.constant("padding", writer.body.encodings[place.node.name].zero, np.uint8)


def _pad(writer: Codes, place: Place) -> str:
    layer = place.node.layer
    assert isinstance(layer, layers.Pad2D)
    top, bottom, left, right = layer.pads(0, 0)
    pads = place.constant("pads", [0, 0, top, left, 0, 0, bottom, right], np.int64)
    return place.main("Pad", place.source, pads, _zero(writer, place), mode="constant")


def _pad_channels(writer: Codes, place: Place) -> str:
    layer = place.node.layer
    assert isinstance(layer, layers.PadChannels)
    rest = [0] * (len(place.shape) - 1)
    after = layer.before if layer.after is None else layer.after
    pads = place.constant("pads", [0, layer.before, *rest, 0, after, *rest], np.int64)
    return place.main("Pad", place.source, pads, _zero(writer, place), mode="constant")


WRITES: Mapping[type[Layer], Callable[[Codes, Place], str]] = {
    layers.Conv2D: _convolution,
    layers.Linear: _linear,
    layers.ConvTranspose2D: _transposed,
    layers.Add: _sum,
    layers.AvgPool2D: _mean,
    layers.GlobalAvgPool2D: _mean,
    layers.MaxPool2D: lambda writer, place: windows.max_pool(place),
    layers.Flatten: lambda writer, place: moves.flatten(place),
    layers.Concat: lambda writer, place: moves.concat(place),
    layers.Upsample2D: lambda writer, place: moves.upsample(place),
    layers.Pad2D: _pad,
    layers.PadChannels: _pad_channels,
}
"""What writes the codes of a layer."""
