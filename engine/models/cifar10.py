"""The network of the CIFAR-10 report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.arguments import integer, is_real
from engine.errors import UserError, unknown
from engine.layers import BatchNorm, Conv2D, Dropout, Flatten, Layer, Linear, MaxPool2D, ReLU, Softmax
from engine.models.blocks import Initializer
from engine.network.graph import Network, Sequential

# ---- CIFAR-10 -----------------------------------------------------------------------------------------------------


def vgg3(
    batch_norm: bool = False,
    dropout: float | Sequence[float] = 0.0,
    order: str = "normal",
    dense_units: int = 128,
    classes: int = 10,
    input_size: int = 32,
    seed: int = 0,
    initializer: Initializer = "he_uniform",
) -> Network:
    """The CIFAR-10 report's network: three VGG blocks (32, 64, 128 filters) and a dense layer of 128.

    The architecture is the one of the guide that the report cites. Batch normalisation stands behind the ReLU of
    every convolution and of the dense layer, dropout behind every pool and behind the dense layer (one rate, or four:
    blocks 1 to 3 and dense). `order` "swapped" exchanges the two layers: dropout where batch normalisation was, and
    the other way round.
    """
    if order not in ("normal", "swapped"):
        raise unknown("order", order, ("normal", "swapped"))
    given: Any = dropout
    rates = [float(given)] * 4 if is_real(given) else [float(rate) for rate in given]
    if len(rates) != 4:
        raise UserError(f"vgg3: dropout is one rate or four (blocks 1 to 3, dense), not {len(rates)}")

    def norm(width: int) -> list[Layer]:
        return [BatchNorm(width)] if batch_norm else []

    def drop(rate: float) -> list[Layer]:
        return [Dropout(rate)] if rate else []

    def between(width: int, rate: float) -> list[Layer]:
        return norm(width) if order == "normal" else drop(rate)

    def behind(width: int, rate: float) -> list[Layer]:
        return drop(rate) if order == "normal" else norm(width)

    layers: list[Layer] = []
    channels = 3
    for filters, rate in zip((32, 64, 128), rates[:3], strict=True):
        for _ in range(2):
            layers += [Conv2D(channels, filters, 3, padding="same"), ReLU(), *between(filters, rate)]
            channels = filters
        layers += [MaxPool2D(2, 2), *behind(filters, rate)]
    features = channels * (integer("vgg3", "input_size", input_size, 8) // 8) ** 2
    layers += [Flatten(), Linear(features, dense_units), ReLU()]
    layers += [*between(dense_units, rates[3]), *behind(dense_units, rates[3])]
    layers += [Linear(dense_units, classes), Softmax()]
    return Sequential(layers, (3, input_size, input_size), seed, initializer)
