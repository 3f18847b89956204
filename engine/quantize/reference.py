"""What the integer part of a quantised network computes, in plain NumPy: the definition that everything is held to.

Sums of products are taken in float64, which is exact for them: they stay below 2^31. All else is integers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

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
from engine.layers.pooling import whole_by_counted
from engine.layers.topology import INPUT, Node
from engine.quantize.arithmetic import LOWEST, Integers, requantised, rounded
from engine.quantize.body import Body, is_tabled

Codes = NDArray[np.uint8]


def run(body: Body, codes: Codes) -> dict[str, Codes]:
    """What every layer gives for codes of the input, uint8 (N, *input_shape): by name, uint8 (N, *shape), public
    order."""
    found: dict[str, Codes] = {INPUT: codes}
    for node in body.topology.nodes:
        sources = [found[name] for name in node.inputs]
        found[node.name] = codes_of(body, node, sources).reshape(len(codes), *node.shape)
    return found


def codes_of(body: Body, node: Node, sources: list[Codes]) -> Codes:
    """What one layer gives for what it reads."""
    layer, (source, *_) = node.layer, sources
    if is_tabled(layer):
        return body.array(node.name, "table")[source]
    if type(layer) in MOVES:
        zero = body.encodings[node.name].zero
        return MOVES[type(layer)](layer, sources, zero)
    numbers = [
        each.astype(np.int64) - body.encodings[name].zero for each, name in zip(sources, node.inputs, strict=True)
    ]
    multipliers, shifts = body.array(node.name, "multipliers"), body.array(node.name, "shifts")
    if isinstance(layer, Add):
        results = rounded(np.tensordot(multipliers.astype(np.int64), np.stack(numbers), 1), 1 << int(shifts[0]))
    elif isinstance(layer, (AvgPool2D, GlobalAvgPool2D)):
        sums, counts = window_sums(layer, numbers[0])
        results = rounded(sums * int(multipliers[0]), counts << int(shifts[0]))
    else:
        bias = body.array(node.name, "bias").astype(np.int64)
        sums = np.moveaxis(product_sums(layer, numbers[0], body.array(node.name, "weights")), 1, -1) + bias
        results = np.moveaxis(requantised(sums, multipliers, shifts), -1, 1)
    clamp = body.clamp(node.name)
    return np.clip(results + body.encodings[node.name].zero, clamp.low, clamp.high).astype(np.uint8)


# ---- sums of products ----


def product_sums(layer: Layer, numbers: Integers, weights: NDArray[np.int8]) -> Integers:
    """The exact sums of q - z times weights: (N, OC, OH, OW), or (N, OUT)."""
    if isinstance(layer, Linear):
        return _product(numbers.reshape(len(numbers), -1), weights.T)
    if isinstance(layer, ConvTranspose2D):
        return _transposed_sums(layer, numbers, weights)
    assert isinstance(layer, Conv2D)
    return _convolution_sums(layer, numbers, weights)


def _product(a: NDArray[Any], b: NDArray[Any]) -> Integers:
    exact: Integers = np.matmul(a.astype(np.float64), b.astype(np.float64)).astype(np.int64)
    return exact


def _convolution_sums(layer: Conv2D, numbers: Integers, weights: NDArray[np.int8]) -> Integers:
    """One place of the kernel after the other. Padding is the zero point, so that q - z is 0 there."""
    count, channels, height, width = numbers.shape
    shape = layer.geometry(height, width)
    padded = np.pad(
        numbers,
        ((0, 0), (0, 0), *zip((shape["pad_top"], shape["pad_left"]), (shape["pad_bottom"], shape["pad_right"]))),
    )
    rows, columns, groups = shape["oh"], shape["ow"], layer.groups
    total = np.zeros((count, groups, rows * columns, layer.out_channels // groups), np.int64)
    split = weights.reshape(groups, layer.out_channels // groups, channels // groups, *weights.shape[2:])
    for row in range(shape["kh"]):
        for column in range(shape["kw"]):
            top, left = row * shape["dilation_h"], column * shape["dilation_w"]
            bottom, right = top + (rows - 1) * shape["stride_h"] + 1, left + (columns - 1) * shape["stride_w"] + 1
            seen = padded[:, :, top : bottom : shape["stride_h"], left : right : shape["stride_w"]]
            grouped = seen.reshape(count, groups, channels // groups, rows * columns).transpose(0, 1, 3, 2)
            total += _product(grouped, split[:, :, :, row, column].transpose(0, 2, 1)[None])
    return total.transpose(0, 1, 3, 2).reshape(count, layer.out_channels, rows, columns)


def _transposed_sums(layer: ConvTranspose2D, numbers: Integers, weights: NDArray[np.int8]) -> Integers:
    """The kernel is the stride: every pixel becomes a block of its own."""
    count, channels, height, width = numbers.shape
    kernel_h, kernel_w = pair(layer.kernel)
    blocks = _product(numbers.transpose(0, 2, 3, 1), weights.reshape(channels, -1))
    split = blocks.reshape(count, height, width, layer.out_channels, kernel_h, kernel_w)
    return split.transpose(0, 3, 1, 4, 2, 5).reshape(count, layer.out_channels, height * kernel_h, width * kernel_w)


# ---- windows ----


def _windows(layer: MaxPool2D | AvgPool2D, values: NDArray[Any], filling: int) -> NDArray[Any]:
    """(N, C, OH, OW, KH, KW): every window of a pool; `filling` stands outside of the map."""
    count, channels, height, width = values.shape
    (kernel_h, kernel_w), (pad_h, pad_w) = pair(layer.kernel), pair(layer.padding)
    stride_h, stride_w = pair(layer.kernel if layer.stride is None else layer.stride)
    _, rows, columns = layer.output_shape((channels, height, width))
    bottom = max((rows - 1) * stride_h + kernel_h - pad_h - height, 0)
    right = max((columns - 1) * stride_w + kernel_w - pad_w - width, 0)
    padded = np.pad(values, ((0, 0), (0, 0), (pad_h, bottom), (pad_w, right)), constant_values=filling)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel_h, kernel_w), axis=(2, 3))
    return windows[:, :, : (rows - 1) * stride_h + 1 : stride_h, : (columns - 1) * stride_w + 1 : stride_w]


def window_sums(layer: AvgPool2D | GlobalAvgPool2D, numbers: Integers) -> tuple[Integers, Integers]:
    """The sums of all windows, and the number of elements that each is the mean of."""
    if isinstance(layer, GlobalAvgPool2D):
        return numbers.sum(axis=(2, 3)), np.array(numbers[0, 0].size)
    counts = math.prod(pair(layer.kernel)) / whole_by_counted(layer, *numbers.shape[2:])
    return _windows(layer, numbers, 0).sum(axis=(4, 5)), np.rint(counts).astype(np.int64)


# ---- layers that pass codes on ----


def _largest(layer: Layer, sources: list[Codes], zero: int) -> Codes:
    assert isinstance(layer, MaxPool2D)
    largest: Codes = _windows(layer, sources[0], LOWEST).max(axis=(4, 5))
    return largest


def _joined(layer: Layer, sources: list[Codes], zero: int) -> Codes:
    return np.concatenate(sources, axis=1)


def _flat(layer: Layer, sources: list[Codes], zero: int) -> Codes:
    return sources[0].reshape(len(sources[0]), -1)


def _larger(layer: Layer, sources: list[Codes], zero: int) -> Codes:
    assert isinstance(layer, Upsample2D)
    factor_h, factor_w = pair(layer.scale)
    return sources[0].repeat(factor_h, axis=2).repeat(factor_w, axis=3)


def _padded(layer: Layer, sources: list[Codes], zero: int) -> Codes:
    assert isinstance(layer, Pad2D)
    top, bottom, left, right = layer.pads(0, 0)
    return np.pad(sources[0], ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=zero)


def _more_channels(layer: Layer, sources: list[Codes], zero: int) -> Codes:
    assert isinstance(layer, PadChannels)
    after = layer.before if layer.after is None else layer.after
    rest = [(0, 0)] * (sources[0].ndim - 2)
    return np.pad(sources[0], ((0, 0), (layer.before, after), *rest), constant_values=zero)


MOVES: Mapping[type[Layer], Callable[[Layer, list[Codes], int], Codes]] = {
    MaxPool2D: _largest,
    Concat: _joined,
    Flatten: _flat,
    Upsample2D: _larger,
    Pad2D: _padded,
    PadChannels: _more_channels,
}
