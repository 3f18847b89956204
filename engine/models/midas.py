"""The network of the letters-to-digits report."""

from __future__ import annotations

from engine.layers import BatchNorm, Conv2D, Dropout, Flatten, Layer, Linear, MaxPool2D, ReLU, Softmax
from engine.models.blocks import Initializer
from engine.network.graph import Network, Sequential

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
