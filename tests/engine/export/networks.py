"""Networks of one layer each, or of a few, that together have every layer and every way to use one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

import engine
from engine import layers
from engine.network.network import Network

SHAPE = (4, 9, 11)
VECTOR = (4,)
ACTIVATIONS = (
    layers.ReLU(),
    layers.LeakyReLU(0.2),
    layers.ELU(0.7),
    layers.PReLU(),
    layers.PReLU(4),
    layers.GELU(),
    layers.GELU("tanh"),
    layers.SiLU(),
    layers.Hardswish(),
    layers.Hardsigmoid(),
    layers.Softplus(),
    layers.ReLU6(),
    layers.Clip(-0.5, 0.7),
    layers.Sigmoid(),
    layers.Tanh(),
    layers.Softmax(),
    layers.Scale(0.3),
    layers.Scale(channels=4),
)
WINDOWS = ((3, 2, 0, False), (3, 2, 1, True), (2, 2, 0, True), (3, 3, 1, False), (4, 3, 2, True), (5, 4, 0, True))
SINGLE: dict[str, tuple[list[layers.Layer], tuple[int, ...]]] = {
    "convolution": ([layers.Conv2D(4, 6, 3, 2, (1, 0, 2, 1), dilation=2, groups=2)], SHAPE),
    "same": ([layers.Conv2D(4, 6, (3, 4), 2, "same", bias=False)], SHAPE),
    "reflect": ([layers.Conv2D(4, 6, 3, 1, 2, padding_mode="reflect")], SHAPE),
    "replicate": ([layers.Conv2D(4, 6, 3, 1, "same", padding_mode="replicate", dilation=2)], SHAPE),
    "depthwise": ([layers.Conv2D(4, 8, 3, 1, 1, groups=4)], SHAPE),
    "transposed": ([layers.ConvTranspose2D(4, 6, 3, (2, 3), (1, 0, 2, 1), output_padding=1, groups=2)], SHAPE),
    "transposed and dilated": ([layers.ConvTranspose2D(4, 6, 3, 2, 1, dilation=2, bias=False)], SHAPE),
    "global mean": ([layers.GlobalAvgPool2D()], SHAPE),
    "zeros": ([layers.Pad2D((1, 0, 2, 3))], SHAPE),
    "mirror": ([layers.Pad2D((1, 0, 2, 3), "reflect")], SHAPE),
    "edge": ([layers.Pad2D((10, 0, 2, 3), "replicate")], SHAPE),
    "channels": ([layers.PadChannels(1, 3)], SHAPE),
    "elements": ([layers.PadChannels(2)], VECTOR),
    "nearest": ([layers.Upsample2D((5, 2))], SHAPE),
    "bilinear": ([layers.Upsample2D((2, 3), "bilinear")], SHAPE),
    "corners": ([layers.Upsample2D((2, 3), "bilinear", True)], SHAPE),
    "linear": ([layers.Flatten(), layers.Linear(4 * 99, 5)], SHAPE),
    "linear without bias": ([layers.Flatten(), layers.Linear(4 * 99, 5, bias=False)], SHAPE),
    "linear of a pixel": ([layers.Linear(4, 3)], (4, 1, 1)),
    "batch norm of a vector": ([layers.BatchNorm(4)], VECTOR),
    "layer norm of a vector": ([layers.LayerNorm(4)], VECTOR),
    "dropouts": ([layers.ReLU(), layers.Dropout(0.5), layers.Dropout2D(0.5), layers.StochasticDepth(0.5)], SHAPE),
    **{f"{layer} of a map": ([layer], SHAPE) for layer in ACTIVATIONS},
    **{f"{layer} of a vector": ([layer], VECTOR) for layer in ACTIVATIONS},
    **{
        f"{kind.__name__} {scale} {shift}": ([kind(*first, 4, scale=scale, shift=shift)], SHAPE)
        for kind, first in (
            (layers.BatchNorm, ()),
            (layers.GroupNorm, (2,)),
            (layers.LayerNorm, ()),
            (layers.InstanceNorm, ()),
        )
        for scale in (True, False)
        for shift in (True, False)
    },
    **{f"maximum {window}": ([layers.MaxPool2D(*window)], SHAPE) for window in WINDOWS},
    **{
        f"mean {window} {include}": ([layers.AvgPool2D(*window, include)], SHAPE)
        for window in WINDOWS
        for include in (True, False)
    },
}


def excited(graph: engine.Graph) -> str:
    """Squeeze and excitation by vectors."""
    mean = graph.add(layers.GlobalAvgPool2D(), graph.input)
    gate = graph.add(layers.Sigmoid(), graph.add(layers.Linear(4, 4), mean))
    return graph.add(layers.Multiply(), gate, graph.input)


def excited_by_pixels(graph: engine.Graph) -> str:
    """The same by maps of one pixel, under names that the file itself has, too."""
    mean = graph.add(layers.AvgPool2D(SHAPE[1:]), graph.input)
    gate = graph.add(layers.Conv2D(4, 4, 1), mean, name="output")
    return graph.add(layers.Multiply(), graph.input, gate, name="zero")


def three_terms(graph: engine.Graph) -> str:
    terms = graph.add(layers.ReLU(), graph.input, name="output"), graph.add(layers.Tanh(), graph.input)
    return graph.add(layers.Add(), *terms, graph.input)


def joined(graph: engine.Graph) -> str:
    parts = graph.add(layers.ReLU(), graph.input), graph.add(layers.Conv2D(4, 2, 1), graph.input)
    return graph.add(layers.Concat(), *parts, graph.input)


GRAPHS: dict[str, Callable[[engine.Graph], str]] = {
    "excited": excited,
    "excited by pixels": excited_by_pixels,
    "three terms": three_terms,
    "joined": joined,
}
NAMES = (*SINGLE, *GRAPHS)


def network(name: str) -> Network:
    """The network of this name, with weights and statistics as after some training."""
    if name in GRAPHS:
        graph = engine.Graph(input_shape=SHAPE, seed=3)
        graph.output = GRAPHS[name](graph)
        return disturbed(graph)
    own, shape = SINGLE[name]
    return disturbed(engine.Sequential(own, input_shape=shape, seed=3))


def disturbed(net: Network) -> Network:
    """The network with all its numbers changed a little; variances stay positive."""
    draws = np.random.default_rng(1)
    for read, store in ((net.parameters, net.load_parameters), (net.buffers, net.load_buffers)):
        changed = {key: array + draws.normal(0, 0.1, array.shape) for key, array in read().items()}
        store({key: np.abs(array) if key.endswith("running_var") else array for key, array in changed.items()})
    return net


def networks() -> Iterator[tuple[str, Network]]:
    for name in NAMES:
        yield name, network(name)
