"""The four networks of the NumtaDB report (Table 1)."""

from __future__ import annotations

from engine.models.blocks import Initializer, _conv_pool, _head, _three_convolutions
from engine.network.graph import Network, Sequential

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
