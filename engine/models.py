"""The networks of the reports, by name. `MODELS` maps a name to a factory; every factory takes `seed`.

Each has exactly the published number of parameters where one is published. What a report leaves open is an assumption
and stands in the factory's docstring.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from engine.arguments import integer, number
from engine.errors import UserError, unknown
from engine.graph import Network, Sequential
from engine.layers import BatchNorm, Conv2D, Dropout, Flatten, GlobalAvgPool2D, Layer, Linear, MaxPool2D, ReLU, Softmax
from engine.schema import read_arguments

Initializer = str | Mapping[str, str]  # a name, or one by layer kind

# ---- NumtaDB: Table 1 ---------------------------------------------------------------------------------------------


def lenet(classes: int = 10, channels: int = 3, seed: int = 0, initializer: Initializer = "he_normal") -> Network:
    """LeNet of the NumtaDB report (28x28): 44,726 parameters with 3 channels and 10 classes."""
    layers = [
        *_conv_pool(channels, 6, kernel=5),
        *_conv_pool(6, 16, kernel=5),
        *_head([256, 120, 84], classes),
    ]
    return Sequential(layers, (channels, 28, 28), seed, initializer)


def model1(classes: int = 10, channels: int = 3, seed: int = 0, initializer: Initializer = "he_normal") -> Network:
    """Model1 of the NumtaDB report (64x64): three 3x3 convolutions, dense 1024 and 512."""
    return Sequential(_three_convolutions(2048, classes, channels), (channels, 64, 64), seed, initializer)


def model2(classes: int = 10, channels: int = 3, seed: int = 0, initializer: Initializer = "he_normal") -> Network:
    """Model2 of the NumtaDB report (48x48): LeNet with a third convolution."""
    layers = [
        *_conv_pool(channels, 6, kernel=5),
        *_conv_pool(6, 16, kernel=5),
        *_conv_pool(16, 32, kernel=3, padding=1),
        *_head([512, 120, 84], classes),
    ]
    return Sequential(layers, (channels, 48, 48), seed, initializer)


def model3(classes: int = 10, channels: int = 3, seed: int = 0, initializer: Initializer = "he_normal") -> Network:
    """Model3 of the NumtaDB report (48x48): Model1 for smaller images."""
    return Sequential(_three_convolutions(1152, classes, channels), (channels, 48, 48), seed, initializer)


# ---- MNIST --------------------------------------------------------------------------------------------------------


def mnist_cnn(classes: int = 10, seed: int = 0, initializer: Initializer = "glorot_uniform") -> Network:
    """The MNIST report's network (28x28, grey): 93,322 parameters.

    The listing in the report differs; this is the one that has its parameter count. The initialiser is Keras's
    default, which the report's code uses.
    """
    layers = [
        *_conv_pool(1, 32, kernel=3),
        *_conv_pool(32, 64, kernel=3),
        Conv2D(64, 64, 3),
        ReLU(),
        *_head([576, 64], classes),
    ]
    return Sequential(layers, (1, 28, 28), seed, initializer)


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
    rates = [float(dropout)] * 4 if isinstance(dropout, (int, float)) else [float(rate) for rate in dropout]
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


# ---- MIDAS --------------------------------------------------------------------------------------------------------


def midas_cnn(
    dense_units: int = 1000,
    dropout: float = 0.5,
    classes: int = 62,
    channels: int = 1,
    seed: int = 0,
    initializer: Initializer = "he_normal",
) -> Network:
    """The MIDAS report's network (28x28): a dense layer of 1000 and dropout 0.5; "experimental" 500 and 0.7.

    The convolutional part is not given. Assumed: three blocks of two 3x3 convolutions (32, 64, 128 filters) with
    batch normalisation, each followed by a 2x2 max-pool.
    """
    layers: list[Layer] = []
    width = channels
    for filters in (32, 64, 128):
        for _ in range(2):
            layers += [Conv2D(width, filters, 3, padding="same"), BatchNorm(filters), ReLU()]
            width = filters
        layers.append(MaxPool2D(2, 2))
    layers += [Flatten(), Linear(width * 9, dense_units), ReLU(), Dropout(dropout)]
    layers += [Linear(dense_units, classes), Softmax()]
    return Sequential(layers, (channels, 28, 28), seed, initializer)


# ---- the registry -------------------------------------------------------------------------------------------------

MODELS: dict[str, Callable[..., Network]] = {
    "lenet": lenet,
    "model1": model1,
    "model2": model2,
    "model3": model3,
    "mnist_cnn": mnist_cnn,
    "scene_cnn": scene_cnn,
    **{f"scene_{number}": partial(scene_cnn, **arguments) for number, arguments in enumerate(SCENE_LOG)},
    "vgg3": vgg3,
    "vgg19": vgg19,
    "midas_cnn": midas_cnn,
}


# Whole numbers are at least 1, but for these.
LEAST = {"seed": 0, "conv_layers": 0, "dense_layers": 0}


def describe(name: str) -> str:
    """One line about a named network."""
    factory = MODELS[name]
    if isinstance(factory, partial):
        given = ", ".join(f"{key}={value}" for key, value in factory.keywords.items())
        return f"Model {name.removeprefix('scene_')} of the scenes report's log: scene_cnn({given})."
    return (factory.__doc__ or "").strip().splitlines()[0]


def make_model(name: str, **arguments: Any) -> Network:
    """The named network; UserError for an unknown name or argument, naming the nearest."""
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    known = inspect.signature(MODELS[name]).parameters
    for argument in arguments:
        if argument not in known:
            raise unknown(f"argument of model {name!r}:", argument, known)
    where = f"model {name!r}"
    read = read_arguments(MODELS[name], arguments, where)
    for key, value in read.items():
        if key == "dropout":
            for rate in value if isinstance(value, Sequence) else [value]:
                number(where, key, rate, 0.0, 1.0, below=True)
        elif isinstance(value, int) and not isinstance(value, bool):
            integer(where, key, value, LEAST.get(key, 1))
    try:
        return MODELS[name](**read)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


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
