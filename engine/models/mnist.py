"""The network of the MNIST report."""

from __future__ import annotations

from engine.layers import Conv2D, ReLU
from engine.models.blocks import Initializer, _conv_pool, _head
from engine.network.graph import Network, Sequential

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
