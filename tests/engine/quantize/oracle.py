"""What integer layers give, once more: number by number, in Python's own integers and fractions."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np

from engine import layers
from engine.arguments import pair
from engine.layers.topology import INPUT, Node
from engine.quantize.body import Body


def run(body: Body, codes: np.ndarray) -> dict[str, np.ndarray]:
    """By layer, for codes (N, *input_shape)."""
    found = {INPUT: codes}
    for node in body.topology.nodes:
        found[node.name] = np.stack(
            [_one(body, node, [found[name][n] for name in node.inputs]).reshape(node.shape) for n in range(len(codes))]
        )
    return found


def _one(body: Body, node: Node, sources: list[np.ndarray]) -> np.ndarray:
    layer: Any = node.layer
    zeros = [body.encodings[name].zero for name in node.inputs]
    zero = body.encodings[node.name].zero
    if f"{node.name}.table" in body.arrays:
        return np.vectorize(lambda code: body.array(node.name, "table")[code])(sources[0])
    if isinstance(layer, layers.Flatten):
        return sources[0]
    if isinstance(layer, layers.Concat):
        return np.concatenate(sources)
    result = np.full(node.shape, zero, np.int64)
    if isinstance(layer, layers.PadChannels):
        result[layer.before : layer.before + len(sources[0])] = sources[0]
        return result
    if isinstance(layer, layers.Pad2D):
        top, _, left, _ = layer.pads(0, 0)
        _, height, width = sources[0].shape
        result[:, top : top + height, left : left + width] = sources[0]
        return result
    for place in product(*map(range, node.shape)):
        result[place] = _number(body, node, layer, sources, zeros, place)
    return result


def _number(
    body: Body, node: Node, layer: Any, sources: list[np.ndarray], zeros: list[int], place: tuple[int, ...]
) -> int:
    source, zero = sources[0], zeros[0]
    if isinstance(layer, layers.MaxPool2D):
        return max(int(source[each]) for each in _window(layer, source.shape, place))
    if isinstance(layer, layers.Upsample2D):
        channel, row, column = place
        scale_h, scale_w = pair(layer.scale)
        return int(source[channel, row // scale_h, column // scale_w])
    multipliers, shifts = (body.array(node.name, part).tolist() for part in ("multipliers", "shifts"))
    exact = Fraction(0)
    if isinstance(layer, layers.Add):
        for each, own, factor in zip(sources, zeros, multipliers, strict=True):
            exact += Fraction((int(each[place]) - own) * factor, 1 << shifts[0])
    elif isinstance(layer, layers.GlobalAvgPool2D):
        total = int(source[place[0]].astype(int).sum()) - zero * source[0].size
        exact = Fraction(total * multipliers[0], source[0].size << shifts[0])
    elif isinstance(layer, layers.AvgPool2D):
        window = _window(layer, source.shape, place)
        count = _counted(layer, source.shape, place) if layer.count_include_pad else len(window)
        exact = Fraction(sum(int(source[each]) - zero for each in window) * multipliers[0], count << shifts[0])
    else:
        total = int(body.array(node.name, "bias")[place[0]]) + _products(
            layer, body.array(node.name, "weights"), source, zero, place
        )
        exact = Fraction(total * multipliers[place[0]], 1 << shifts[place[0]])
    clamp = body.clamp(node.name)
    return min(max(round(exact) + body.encodings[node.name].zero, clamp.low), clamp.high)


def _products(layer: Any, weights: np.ndarray, source: np.ndarray, zero: int, place: tuple[int, ...]) -> int:
    if isinstance(layer, layers.Linear):
        return sum((int(q) - zero) * int(w) for q, w in zip(source.reshape(-1), weights[place[0]], strict=True))
    channel, row, column = place
    if isinstance(layer, layers.ConvTranspose2D):
        kernel_h, kernel_w = pair(layer.kernel)
        taps = weights[:, channel, row % kernel_h, column % kernel_w]
        return sum(
            (int(q) - zero) * int(w) for q, w in zip(source[:, row // kernel_h, column // kernel_w], taps, strict=True)
        )
    (stride_h, stride_w), (step_h, step_w) = pair(layer.stride), pair(layer.dilation)
    _, height, width = source.shape
    top, _, left, _ = layer.pads(height, width)
    inputs = layer.in_channels // layer.groups
    first = channel // (layer.out_channels // layer.groups) * inputs
    total = 0
    for i, kernel_row, kernel_column in product(range(inputs), *map(range, weights.shape[2:])):
        y, x = row * stride_h - top + kernel_row * step_h, column * stride_w - left + kernel_column * step_w
        if 0 <= y < height and 0 <= x < width:
            total += (int(source[first + i, y, x]) - zero) * int(weights[channel, i, kernel_row, kernel_column])
    return total


def _window(layer: Any, shape: tuple[int, ...], place: tuple[int, ...], pad: int = 0) -> list[tuple[int, ...]]:
    """Places of a window inside of the map, or of the map with its padding."""
    (kernel_h, kernel_w), (pad_h, pad_w) = pair(layer.kernel), pair(layer.padding)
    stride_h, stride_w = pair(layer.kernel if layer.stride is None else layer.stride)
    more_h, more_w = (pad_h, pad_w) if pad else (0, 0)
    channel, row, column = place
    rows = range(row * stride_h - pad_h, row * stride_h - pad_h + kernel_h)
    columns = range(column * stride_w - pad_w, column * stride_w - pad_w + kernel_w)
    return [
        (channel, y, x)
        for y in rows
        for x in columns
        if -more_h <= y < shape[1] + more_h and -more_w <= x < shape[2] + more_w
    ]


def _counted(layer: Any, shape: tuple[int, ...], place: tuple[int, ...]) -> int:
    return len(_window(layer, shape, place, pad=1))
