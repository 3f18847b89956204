"""The networks whose weights lie in files/: small ones with everything that a file may order otherwise."""

from __future__ import annotations

import engine
from engine.layers import (
    Add,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Flatten,
    GlobalAvgPool2D,
    Linear,
    MaxPool2D,
    PReLU,
    ReLU,
    ReLU6,
    Softmax,
)


def lenet(seed: int = 9) -> engine.Network:
    """Convolutions, pools, and a Flatten of a map that is wider than one pixel; a normalisation behind it."""
    layers = {
        "conv1": Conv2D(2, 3, 3),
        "relu1": ReLU(),
        "pool1": MaxPool2D(2),
        "conv2": Conv2D(3, 4, 2),
        "act2": PReLU(4),
        "flat": Flatten(),
        "norm": BatchNorm(4 * 4 * 3, eps=1e-3),
        "fc1": Linear(48, 7),
        "relu3": ReLU(),
        "fc2": Linear(7, 5),
        "softmax": Softmax(),
    }
    return engine.Sequential(layers, (2, 12, 10), seed=seed)


def residual(seed: int = 9) -> engine.Network:
    """A block of a residual network: layers of the same shapes, which names or order tell apart."""
    graph = engine.Graph((2, 8, 8), seed=seed)
    x = graph.add(Conv2D(2, 4, 3, padding=1, bias=False), graph.input, name="conv0")
    x = graph.add(BatchNorm(4), x, name="bn0")
    y = graph.add(Conv2D(4, 4, 3, padding=1, bias=False), x, name="conv1")
    y = graph.add(ReLU(), graph.add(BatchNorm(4), y, name="bn1"))
    y = graph.add(Conv2D(4, 4, 3, padding=1, bias=False), y, name="conv2")
    y = graph.add(BatchNorm(4), y, name="bn2")
    x = graph.add(ReLU(), graph.add(Add(), x, y))
    graph.output = graph.add(Linear(4, 3), graph.add(GlobalAvgPool2D(), x), name="head")
    return graph


def depthwise(seed: int = 9) -> engine.Network:
    """A depthwise convolution with two filters for each channel, and a pointwise one."""
    layers = {
        "stem": Conv2D(3, 4, 3, padding="same"),
        "depthwise": Conv2D(4, 8, 3, padding="same", groups=4, bias=False),
        "norm": BatchNorm(8, eps=1e-3, momentum=0.01),
        "relu": ReLU6(),
        "point": Conv2D(8, 6, 1),
        "pool": AvgPool2D(2),
        "flat": Flatten(),
        "head": Linear(6 * 3 * 4, 4),
    }
    return engine.Sequential(layers, (3, 6, 8), seed=seed)


NETWORKS = {"lenet": lenet, "residual": residual, "depthwise": depthwise}
