"""What several of the networks have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.layers import Conv2D, Flatten, Layer, Linear, MaxPool2D, ReLU, Softmax

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
