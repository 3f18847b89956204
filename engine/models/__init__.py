"""The networks of the reports, and some of today, by name. `MODELS` maps it to a factory; every factory takes `seed`.

Each has exactly the published number of parameters where one is published. What a report leaves open is an assumption
and stands in the factory's docstring.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from engine.arguments import integer, number
from engine.errors import UserError, unknown
from engine.models.airbench import airbench94
from engine.models.cifar10 import vgg3
from engine.models.midas import midas_cnn
from engine.models.mnist import mnist_cnn
from engine.models.mobilenet import mobilenet_v2
from engine.models.numtadb import lenet, model1, model2, model3
from engine.models.resnet import resnet18, resnet20, resnet56
from engine.models.scenes import SCENE_LOG, scene_cnn, vgg19
from engine.models.unet import unet
from engine.network.network import Network
from engine.reading.schema import read_arguments

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
    "airbench94": airbench94,
    "resnet20": resnet20,
    "resnet56": resnet56,
    "resnet18": resnet18,
    "mobilenet_v2": mobilenet_v2,
    "unet": unet,
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


def described_models() -> dict[str, str]:
    """All names, each with its line."""
    return {name: describe(name) for name in MODELS}


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
