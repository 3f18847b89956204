"""The networks of the scenes report."""

from __future__ import annotations

from typing import Any

from engine.arguments import integer
from engine.layers import BatchNorm, Conv2D, Dropout, GlobalAvgPool2D, Layer, Linear, MaxPool2D, ReLU, Softmax
from engine.models.blocks import Initializer, _head
from engine.network.graph import Network, Sequential

# ---- Scenes -------------------------------------------------------------------------------------------------------


def scene_cnn(
    conv_layers: int = 4,
    filters: int = 64,
    kernel: int = 5,
    dense_layers: int = 1,
    dense_units: int = 1024,
    max_pool: bool = False,
    batch_norm: bool = False,
    dropout: float = 0.0,
    classes: int = 8,
    input_size: int = 64,
    seed: int = 0,
    initializer: Initializer = "glorot_uniform",
) -> Network:
    """The scenes report's family: N convolutions "same", global average pooling, M dense layers.

    `batch_norm` stands between layer and ReLU, behind convolutions and dense layers; `max_pool` (2x2) behind every
    convolution; `dropout` behind every dense layer. Assumptions: the input size, where within a block batch
    normalisation stands, and Keras's default initialiser.
    """
    layers: list[Layer] = []
    channels = 3
    for _ in range(conv_layers):
        layers.append(Conv2D(channels, filters, kernel, padding="same"))
        layers += [BatchNorm(filters)] if batch_norm else []
        layers.append(ReLU())
        layers += [MaxPool2D(2, 2)] if max_pool else []
        channels = filters
    layers.append(GlobalAvgPool2D())
    for _ in range(dense_layers):
        layers.append(Linear(channels, dense_units))
        layers += [BatchNorm(dense_units)] if batch_norm else []
        layers.append(ReLU())
        layers += [Dropout(dropout)] if dropout else []
        channels = dense_units
    layers += [Linear(channels, classes), Softmax()]
    return Sequential(layers, (3, input_size, input_size), seed, initializer)


_LARGE: dict[str, Any] = {"conv_layers": 4, "filters": 256, "dense_layers": 2}

SCENE_LOG: tuple[dict[str, Any], ...] = (
    {"conv_layers": 1},
    {"conv_layers": 2},
    {"conv_layers": 4},
    {"conv_layers": 8},
    {"conv_layers": 4, "dense_layers": 2},
    {"conv_layers": 4, "dense_layers": 4},
    {"conv_layers": 4, "dense_layers": 2, "filters": 32},
    {"conv_layers": 4, "dense_layers": 2, "filters": 128},
    _LARGE,
    {**_LARGE, "max_pool": True},
    {**_LARGE, "dropout": 0.2},
    {**_LARGE, "batch_norm": True},
    {**_LARGE, "max_pool": True, "dropout": 0.2},
    {**_LARGE, "max_pool": True, "batch_norm": True},
    {**_LARGE, "max_pool": True, "dropout": 0.2},
    {**_LARGE, "max_pool": True, "batch_norm": True, "dropout": 0.2},
)
"""Model 0 ... 15 of the report's log, as arguments of `scene_cnn`."""


def vgg19(classes: int = 8, input_size: int = 64, seed: int = 0, initializer: Initializer = "he_normal") -> Network:
    """VGG19 beside the scenes report's own models: 24.2 M parameters, 20,024,384 of them in convolutions.

    The report gives neither the head nor whether the weights were pretrained. Assumed: images of 64x64, the last map
    (512x2x2) flattened, one dense layer of 2048, which makes 24,237,128; weights drawn, not pretrained.
    """
    layers: list[Layer] = []
    channels = 3
    for convolutions, filters in ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512)):
        for _ in range(convolutions):
            layers += [Conv2D(channels, filters, 3, padding="same"), ReLU()]
            channels = filters
        layers.append(MaxPool2D(2, 2))
    features = channels * (integer("vgg19", "input_size", input_size, 32) // 32) ** 2
    layers += _head([features, 2048], classes)
    return Sequential(layers, (3, input_size, input_size), seed, initializer)
