"""From the integer part to ops of the core, and its constants: packed weights, factors, tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import cnncore
import numpy as np
from numpy.typing import NDArray

from engine.arguments import pair
from engine.layers import (
    Add,
    AvgPool2D,
    Concat,
    Conv2D,
    ConvTranspose2D,
    Flatten,
    GlobalAvgPool2D,
    Layer,
    Linear,
    MaxPool2D,
    Pad2D,
    PadChannels,
    Upsample2D,
)
from engine.layers.pooling import pool_geometry
from engine.layers.topology import INPUT, Node
from engine.plan.layout import flattened_maps
from engine.program.code import CONSTANTS, LINE_BYTES, Builder, Tensor, Value
from engine.program.shapes import Shape, elements, needs_transpose, spatial, stored_shape
from engine.quantize.arithmetic import HIGHEST, LOWEST
from engine.quantize.body import Body, is_tabled

Constants = list[tuple[int, NDArray[Any]]]
"""Arrays, each with its place in the constants in bytes."""


@dataclass
class Lowering:
    """The ops of an integer part while they are written. `weights` are the packed ones as they were before, by value:
    in the public layouts, but with the columns of a linear layer in the order in which a map lies in memory.
    `winograd`: 3x3 convolutions may be computed by Winograd's algorithm, whose integers are the same."""

    builder: Builder
    body: Body
    winograd: bool = False
    constants: Constants = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[int, NDArray[np.int8]] = field(default_factory=dict)
    end: int = 0

    def run(self, source: Tensor, stored: bool) -> Tensor:
        """Emit everything from float `source`, as it lies in memory or in the public order; the last codes."""
        self.tensors[INPUT] = self._quantised(source, stored)
        free, orders = flattened_maps(self.body.topology)
        for node in self.body.topology.nodes:
            self.builder.layer = node.name
            self.builder.flatten_is_alias = node.name in free
            emit = _lookup if is_tabled(node.layer) else EMITS[type(node.layer)]
            sources = [self.tensors[name] for name in node.inputs]
            if isinstance(node.layer, Linear):
                self.tensors[node.name] = _linear(self, node, sources, orders.get(node.name))
            else:
                self.tensors[node.name] = emit(self, node, sources)
            assert self.tensors[node.name].shape == node.shape
        return self.tensors[self.body.topology.output]

    def dequantised(self, codes: Tensor, target: int) -> None:
        """Write what the last codes stand for into a value of float32, in the order of the codes."""
        self.builder.emit("dequantize", self._scaled(self.body.topology.output, codes.shape), dst=target, src=codes)

    def transposed(self, op: str, codes: Tensor, target: tuple[int, ...]) -> Tensor:
        """C, H, W to H, W, C, or back."""
        channels, height, width = codes.shape
        value = self.builder.new(Value(target, dtype="uint8"))
        self.builder.emit(op, {"h": height, "w": width, "c": channels}, dst=value, src=codes)
        return Tensor(value, codes.shape)

    def codes(self, shape: Shape) -> Tensor:
        """A new value of codes."""
        return Tensor(self.builder.new(Value(stored_shape(shape), dtype="uint8")), shape)

    def constant(self, array: NDArray[Any]) -> int:
        """A value in the constants."""
        flat = np.ascontiguousarray(array).reshape(-1)
        self.constants.append((self.end, flat))
        value = Value(flat.shape, CONSTANTS, self.end, str(flat.dtype), per_sample=False)
        self.end += -(-flat.nbytes // LINE_BYTES) * LINE_BYTES
        return self.builder.new(value)

    def rounding(self, node: Node) -> dict[str, int]:
        """What a geometry says of the codes on both sides."""
        clamp, encodings = self.body.clamp(node.name), self.body.encodings
        zeros = {"zero_src": encodings[node.inputs[0]].zero, "zero_dst": encodings[node.name].zero}
        return {**zeros, "low": clamp.low, "high": clamp.high}

    def passing(self, node: Node) -> dict[str, int]:
        """The same of a layer that gives the codes that it is given."""
        zero = self.body.encodings[node.name].zero
        return {"zero_src": zero, "zero_dst": zero, "low": LOWEST, "high": HIGHEST}

    def vectors(self, node: Node) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Multipliers and shifts."""
        return self.body.array(node.name, "multipliers"), self.body.array(node.name, "shifts")

    def products(self, op: str, geometry: dict[str, Any], source: Tensor, target: Tensor, weights: NDArray[Any],
                 bias: NDArray[Any], multipliers: NDArray[Any], shifts: NDArray[Any]) -> Tensor:  # fmt: skip
        """One op with weights."""
        panels, corrected = cnncore.pack_int8(op, geometry, np.ascontiguousarray(weights), np.ascontiguousarray(bias))
        operands: dict[str, NDArray[Any]] = {
            "weights": panels,
            "bias": corrected,
            "multipliers": multipliers,
            "shifts": shifts,
        }
        numbers = {name: self.constant(array) for name, array in operands.items()}
        self.builder.emit(op, geometry, dst=target, src=source, **numbers)
        self.weights[numbers["weights"]] = np.ascontiguousarray(weights)
        return target

    def copied(self, source: Tensor, target: Tensor, rows: int, width: int, stride: int, offset: int) -> None:
        """Rows of so many codes, one behind the other, to places `stride` apart."""
        geometry = {"rows": rows, "channels": width, "src_stride": width, "src_offset": 0}
        self.builder.emit(
            "copy_channels_int8", {**geometry, "dst_stride": stride, "dst_offset": offset}, dst=target, src=source
        )

    def _scaled(self, name: str, shape: Shape) -> dict[str, float]:
        encoding = self.body.encodings[name]
        return {"count": elements(shape), "zero": encoding.zero, "scale": encoding.scale}

    def _quantised(self, source: Tensor, stored: bool) -> Tensor:
        """The codes of the input. Of the public order they are transposed as bytes, which are fewer."""
        shape, turned = source.shape, needs_transpose(source.shape) and not stored
        value = self.builder.new(Value(shape if turned else stored_shape(shape), dtype="uint8"))
        self.builder.layer = INPUT
        self.builder.emit("quantize", self._scaled(INPUT, shape), dst=value, src=source)
        codes = Tensor(value, shape)
        return self.transposed("nchw_to_nhwc_int8", codes, stored_shape(shape)) if turned else codes


Sources = list[Tensor]


def _convolution(to: Lowering, node: Node, sources: Sources) -> Tensor:
    layer = node.layer
    assert isinstance(layer, Conv2D)
    _, height, width = sources[0].shape
    geometry = {**_known(layer.geometry(height, width)), **to.rounding(node)}
    op = "winograd_int8" if to.winograd and _saves_products(geometry) else "conv2d_int8"
    return to.products(
        op, geometry, sources[0], to.codes(node.shape), to.body.array(node.name, "weights"),
        to.body.array(node.name, "bias"), *to.vectors(node),
    )  # fmt: skip


def _saves_products(geometry: dict[str, Any]) -> bool:
    """Whether Winograd's algorithm takes less time: its numbers come in panels of input channels."""
    fits = cnncore.op_fits("winograd_int8", geometry)
    return fits and geometry["ic"] % cnncore.PANEL == 0 and geometry["oc"] >= cnncore.PANEL


def _known(geometry: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a float convolution that one of integers has too."""
    return {name: geometry[name] for name in cnncore.GEOMETRIES["conv2d_int8"] if name in geometry}


def _linear(to: Lowering, node: Node, sources: Sources, order: Shape | None) -> Tensor:
    """`order` is that of the map (C, H, W) which it reads as it lies in memory."""
    weights = to.body.array(node.name, "weights")
    outputs, inputs = weights.shape
    if order is not None:
        weights = weights.reshape(outputs, *order).transpose(0, 2, 3, 1).reshape(outputs, inputs)
    geometry = {"k": inputs, "n": outputs, **to.rounding(node)}
    bias = to.body.array(node.name, "bias")
    return to.products("linear_int8", geometry, sources[0], to.codes(node.shape), weights, bias, *to.vectors(node))


def _transposed(to: Lowering, node: Node, sources: Sources) -> Tensor:
    """The kernel is the stride: a convolution of 1x1 for each row of the kernel, whose output channels are the places
    in that row, gives whole rows of the result, which lie so many apart."""
    layer = node.layer
    assert isinstance(layer, ConvTranspose2D)
    (kernel_h, kernel_w), (_, height, width) = pair(layer.kernel), sources[0].shape
    channels = layer.out_channels * kernel_w
    each = Conv2D(layer.in_channels, channels, 1)
    geometry = {**_known(each.geometry(height, width)), **to.rounding(node)}
    vectors = [np.tile(vector, kernel_w) for vector in (to.body.array(node.name, "bias"), *to.vectors(node))]
    target, weights = to.codes(node.shape), to.body.array(node.name, "weights")
    for row in range(kernel_h):
        rows = weights[:, :, row].transpose(2, 1, 0).reshape(channels, layer.in_channels, 1, 1)
        if kernel_h == 1:
            return to.products("conv2d_int8", geometry, sources[0], target, rows, *vectors)
        part = to.products("conv2d_int8", geometry, sources[0], to.codes((channels, height, width)), rows, *vectors)
        to.copied(part, target, height, width * channels, kernel_h * width * channels, row * width * channels)
    return target


def _pad(to: Lowering, node: Node, sources: Sources) -> Tensor:
    """A convolution of 1x1 with padding, channel by channel, that multiplies by 1."""
    layer, (channels, height, width) = node.layer, sources[0].shape
    assert isinstance(layer, Pad2D)
    each = Conv2D(channels, channels, 1, padding=layer.pads(height, width), groups=channels)
    return _ones(to, node, each, sources[0], np.ones((channels, 1, 1, 1), np.int8))


def _pad_channels(to: Lowering, node: Node, sources: Sources) -> Tensor:
    """A convolution of 1x1 whose new channels have no weights."""
    layer, source = node.layer, sources[0]
    assert isinstance(layer, PadChannels)
    inputs, outputs = source.shape[0], node.shape[0]
    rows = np.eye(outputs, inputs, -layer.before, np.int8)
    if len(source.shape) == 1:
        geometry = {"k": inputs, "n": outputs, **to.passing(node)}
        return to.products("linear_int8", geometry, source, to.codes(node.shape), rows, *_unchanged(outputs))
    return _ones(to, node, Conv2D(inputs, outputs, 1), source, rows[:, :, None, None])


def _ones(to: Lowering, node: Node, layer: Conv2D, source: Tensor, weights: NDArray[np.int8]) -> Tensor:
    _, height, width = source.shape
    geometry = {**_known(layer.geometry(height, width)), **to.passing(node)}
    target = to.codes(node.shape)
    return to.products("conv2d_int8", geometry, source, target, weights, *_unchanged(len(weights)))


def _unchanged(channels: int) -> list[NDArray[np.int32]]:
    """Bias, multipliers and shifts that leave a sum as it is."""
    return [np.full(channels, value, np.int32) for value in (0, 1, 0)]


def _largest(to: Lowering, node: Node, sources: Sources) -> Tensor:
    assert isinstance(node.layer, MaxPool2D)
    target = to.codes(node.shape)
    to.builder.emit("maxpool2d_int8", pool_geometry(node.layer, sources[0].shape), dst=target, src=sources[0])
    return target


def _mean(to: Lowering, node: Node, sources: Sources) -> Tensor:
    layer, shape = node.layer, sources[0].shape
    pool = layer if isinstance(layer, AvgPool2D) else AvgPool2D((shape[1], shape[2]))
    (multiplier,), (shift,) = (each.tolist() for each in to.vectors(node))
    geometry = {**pool_geometry(pool, shape), **to.rounding(node), "multiplier": multiplier, "shift": shift}
    target = to.codes(node.shape)
    to.builder.emit("avgpool2d_int8", geometry, dst=target, src=sources[0])
    return target


def _sum(to: Lowering, node: Node, sources: Sources) -> Tensor:
    (first, second), (shift,) = (each.tolist() for each in to.vectors(node))
    rounding, zero_b = to.rounding(node), to.body.encodings[node.inputs[1]].zero
    geometry = {
        "count": elements(node.shape),
        "zero_a": rounding.pop("zero_src"),
        "zero_b": zero_b,
        "multiplier_a": first,
        "multiplier_b": second,
        "shift": shift,
        **rounding,
    }
    target = to.codes(node.shape)
    to.builder.emit("add_int8", geometry, dst=target, a=sources[0], b=sources[1])
    return target


def _lookup(to: Lowering, node: Node, sources: Sources) -> Tensor:
    target, table = to.codes(node.shape), to.constant(to.body.array(node.name, "table"))
    to.builder.emit("lookup_int8", {"count": elements(node.shape)}, dst=target, src=sources[0], table=table)
    return target


def _joined(to: Lowering, node: Node, sources: Sources) -> Tensor:
    target, start = to.codes(node.shape), 0
    for source in sources:
        to.copied(source, target, spatial(source.shape), source.shape[0], node.shape[0], start)
        start += source.shape[0]
    return target


def _flat(to: Lowering, node: Node, sources: Sources) -> Tensor:
    (source,) = sources
    if to.builder.flatten_is_alias or not needs_transpose(source.shape):
        return to.builder.view(source, node.shape)
    return replace(to.transposed("nhwc_to_nchw_int8", source, node.shape), shape=node.shape)


def _larger(to: Lowering, node: Node, sources: Sources) -> Tensor:
    """Every pixel so often side by side, then every row."""
    layer, source = node.layer, sources[0]
    assert isinstance(layer, Upsample2D)
    (scale_h, scale_w), (channels, height, width) = pair(layer.scale), source.shape
    if scale_w > 1:
        wide = to.codes((channels, height, width * scale_w))
        for column in range(scale_w):
            to.copied(source, wide, height * width, channels, scale_w * channels, column * channels)
        source = wide
    if scale_h > 1:
        high, row_codes = to.codes(node.shape), width * scale_w * channels
        for row in range(scale_h):
            to.copied(source, high, height, row_codes, scale_h * row_codes, row * row_codes)
        source = high
    return source


EMITS: Mapping[type[Layer], Callable[[Lowering, Node, Sources], Tensor]] = {
    Conv2D: _convolution,
    ConvTranspose2D: _transposed,
    Linear: lambda to, node, sources: _linear(to, node, sources, None),
    Pad2D: _pad,
    PadChannels: _pad_channels,
    MaxPool2D: _largest,
    AvgPool2D: _mean,
    GlobalAvgPool2D: _mean,
    Add: _sum,
    Concat: _joined,
    Flatten: _flat,
    Upsample2D: _larger,
}
"""What emits the ops of a layer."""
