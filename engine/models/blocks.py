"""What several of the networks have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.layers import Conv2D, Flatten, GlobalAvgPool2D, Layer, Linear, MaxPool2D, ReLU, Softmax
from engine.network.graph import Graph, Network

Initializer = str | Mapping[str, str]  # a name, or one by layer kind


def _conv_pool(channels: int, filters: int, kernel: int, padding: int = 0) -> list[Layer]:
    return [Conv2D(channels, filters, kernel, 1, padding), ReLU(), MaxPool2D(2, 2)]


def _three_convolutions(features: int, classes: int, channels: int) -> list[Layer]:
    blocks = [(channels, 16), (16, 32), (32, 32)]
    layers = [layer for inputs, filters in blocks for layer in _conv_pool(inputs, filters, kernel=3, padding=1)]
    return [*layers, *_head([features, 1024, 512], classes)]


def _head(widths: Sequence[int], classes: int) -> list[Layer]:
    """Flatten, then dense layers with ReLU through these widths, then the classes and Softmax."""
    dense = [layer for k, n in zip(widths, widths[1:], strict=False) for layer in (Linear(k, n), ReLU())]
    return [Flatten(), *dense, Linear(widths[-1], classes), Softmax()]


KINDS = {"Conv2D": "conv", "BatchNorm": "norm", "ReLU": "relu", "ReLU6": "relu"}


def chain(graph: Graph, source: str, name: str, layers: Sequence[Layer]) -> str:
    """These layers in a row, named by what they are. The name of the last, or `source` where there is none."""
    counts: dict[str, int] = {}
    for layer in layers:
        kind = KINDS.get(type(layer).__name__, type(layer).__name__.lower())
        counts[kind] = counts.get(kind, 0) + 1
        source = graph.add(layer, source, name=f"{name}_{kind}{counts[kind]}")
    return source


def headed(graph: Graph, source: str, layers: Sequence[Layer], width: int, classes: int) -> Network:
    """The graph with its end: the mean of each map, `layers`, classes and Softmax."""
    source = chain(graph, graph.add(GlobalAvgPool2D(), source, name="pool"), "head", layers)
    for name, layer in (("head", Linear(width, classes)), ("softmax", Softmax())):
        source = graph.add(layer, source, name=name)
    graph.output = source
    return graph
