"""From the parameters of an estimator to the network that it trains."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence

from engine.arguments import each, integer
from engine.errors import UserError, shown
from engine.layers import Conv2D, Flatten, Layer, Linear, MaxPool2D, ReLU, Softmax
from engine.models import MODELS, make_model
from engine.network.graph import Sequential
from engine.network.network import Network
from engine.program.shapes import Shape

Recipe = str | Network | Callable[[Shape, int], Network] | None
"""What the parameter `network` takes: a name of engine.models, a network, or a function of input shape and outputs."""


def plain_network(
    shape: Shape, outputs: int, filters: Sequence[int], hidden: Sequence[int], seed: int, softmax: bool
) -> Network:
    """A small network: for every number in `filters` a 3x3 convolution with ReLU and, where the map still has two rows
    and columns, a 2x2 max-pool; for every number in `hidden` a linear layer with ReLU; then the outputs.

    shape   (C, H, W); of vectors (K, 1, 1), for which there are no convolutions
    """
    layers: list[Layer] = []
    channels, height, width = shape
    if height * width > 1:
        for count in each("CNN", "filters", filters, lambda value: integer("CNN", "filters", value, 1)):
            layers += [Conv2D(channels, count, 3, padding=1), ReLU()]
            channels = count
            if height >= 2 and width >= 2:
                layers.append(MaxPool2D(2))
                height, width = height // 2, width // 2
    layers.append(Flatten())
    features = channels * height * width
    for count in each("CNN", "hidden", hidden, lambda value: integer("CNN", "hidden", value, 1)):
        layers += [Linear(features, count), ReLU()]
        features = count
    layers.append(Linear(features, outputs))
    return Sequential([*layers, Softmax()] if softmax else layers, shape, seed)


def recipe_network(recipe: Recipe, shape: Shape, outputs: int, seed: int) -> Network:
    """The network of the parameter `network`; a network that is given is copied, and begins with the weights that it
    has. UserError where it does not take inputs of this shape, or does not give so many outputs."""
    if isinstance(recipe, Network):
        net = copy.deepcopy(recipe)
    elif isinstance(recipe, str):
        net = _named(recipe, shape, outputs, seed)
    elif callable(recipe):
        net = recipe(shape, outputs)
        if not isinstance(net, Network):
            raise UserError(f"network: the function gave {shown(net)}, expected a network such as Sequential(…)")
    else:
        raise UserError(f"network: expected a model's name, a network or a function, not {shown(recipe)}")
    if net.input_shape != shape:
        raise UserError(f"network: it takes inputs of shape {net.input_shape}, but those of X have {shape}")
    if net.output_shape != (outputs,):
        raise UserError(f"network: it gives outputs of shape {net.output_shape}, but y needs {(outputs,)}")
    return net


def _named(name: str, shape: Shape, outputs: int, seed: int) -> Network:
    """The model of this name for so many classes and, where its factory takes them, channels and size of the images."""
    taken = inspect.signature(MODELS[name]).parameters if name in MODELS else {}
    fitting = {"channels": shape[0], "input_size": shape[1]}
    given = {key: value for key, value in fitting.items() if key in taken}
    return make_model(name, classes=outputs, seed=seed, **given)
