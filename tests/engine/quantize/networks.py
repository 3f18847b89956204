"""Small networks that together have every layer which can be quantised, in every way of using it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

import engine
from engine import layers
from engine.network.network import Network

SHAPE = (4, 9, 8)


def chain(*parts: layers.Layer) -> Callable[[], Network]:
    return lambda: engine.Sequential(list(parts), SHAPE, seed=3)


def joined() -> Network:
    """Two branches that meet in Concat and in sums of two and of three."""
    graph = engine.Graph(SHAPE, seed=5)
    a = graph.add(layers.Conv2D(4, 6, 3, padding=1), graph.input, name="a")
    b = graph.add(layers.ReLU(), a, name="b")
    c = graph.add(layers.Conv2D(6, 6, 1), b, name="c")
    d = graph.add(layers.Add(), b, c, a, name="d")
    e = graph.add(layers.ReLU(), d, name="e")
    f = graph.add(layers.Concat(), e, b, name="f")
    g = graph.add(layers.Conv2D(12, 5, 3, stride=2, bias=False), f, name="g")
    h = graph.add(layers.GlobalAvgPool2D(), g, name="h")
    i = graph.add(layers.Linear(5, 7), h, name="i")
    graph.output = graph.add(layers.Softmax(), i, name="j")
    return graph


CONV = layers.Conv2D(4, 6, 3, padding=1)
ACTIVATIONS = (
    layers.LeakyReLU(0.2),
    layers.ELU(0.7),
    layers.GELU(),
    layers.GELU("tanh"),
    layers.SiLU(),
    layers.Hardswish(),
    layers.Hardsigmoid(),
    layers.Softplus(),
    layers.Sigmoid(),
    layers.Tanh(),
    layers.Scale(factor=0.3),
)

NETWORKS: Mapping[str, Callable[[], Network]] = {
    "kernels": chain(
        layers.Conv2D(4, 8, (3, 2), stride=(2, 1), padding=(1, 0, 2, 1)),
        layers.ReLU6(),
        layers.Conv2D(8, 8, 3, padding=2, dilation=2, groups=4, bias=False),
        layers.BatchNorm(8),
        layers.Clip(-1.0, 1.5),
        layers.Conv2D(8, 8, 3, padding="same", groups=8),
        layers.Conv2D(8, 5, 1),
    ),
    "pools": chain(
        CONV,
        layers.MaxPool2D(3, 2, 1, ceil_mode=True),
        layers.ReLU(),
        layers.AvgPool2D(2, 1, 1, count_include_pad=False),
        layers.AvgPool2D(3, 2, 1),
        layers.Flatten(),
        layers.Linear(6 * 3 * 3, 4),
    ),
    "padded means": chain(
        CONV,
        layers.SiLU(),
        layers.AvgPool2D(3, 1, 1),
        layers.Conv2D(6, 6, 1),
        layers.AvgPool2D(2, 1, 1),
        layers.Conv2D(6, 3, 1),
    ),
    "norm behind a pool": chain(
        CONV, layers.MaxPool2D(2), layers.BatchNorm(6), layers.GELU(), layers.BatchNorm(6), layers.Conv2D(6, 3, 2)
    ),
    "moves": chain(
        layers.Pad2D((1, 0, 2, 1)),
        layers.PadChannels(1, 2),
        layers.Conv2D(7, 6, 3),
        layers.Upsample2D((2, 3)),
        layers.ConvTranspose2D(6, 5, (2, 3), stride=(2, 3)),
        layers.BatchNorm(5),
        layers.ReLU(),
        layers.Dropout(0.5),
        layers.Scale(channels=5),
        layers.Conv2D(5, 2, 3),
    ),
    "dense": lambda: engine.Sequential(
        [layers.Linear(12, 9), layers.BatchNorm(9), layers.ReLU(), layers.Linear(9, 3, bias=False), layers.Softmax()],
        (12,),
    ),
    "joined": joined,
    **{str(each): chain(CONV, each, layers.Conv2D(6, 3, 3)) for each in ACTIVATIONS},
}


def network(name: str) -> Network:
    """The network, with running statistics and factors that are not those of a new one."""
    net = NETWORKS[name]()
    draws = np.random.default_rng(11)

    def changed(key: str, array: np.ndarray) -> np.ndarray:
        kind = key.rpartition(".")[2]
        if kind in ("running_mean", "bias"):
            return draws.standard_normal(array.shape).astype(np.float32) * np.float32(0.3)
        is_factor = kind == "running_var" or array.ndim == 1
        return draws.uniform(0.5, 1.5, array.shape).astype(np.float32) if is_factor else array

    net.load_parameters({key: changed(key, array) for key, array in net.parameters().items()})
    net.load_buffers({key: changed(key, array) for key, array in net.buffers().items()})
    return net


def samples(net: Network, count: int = 24, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, *net.input_shape), np.float32)
