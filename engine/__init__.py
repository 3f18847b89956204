"""cnn-engine: trains, ablates and ships convolutional networks on CPUs.

Names are loaded when they are first used, so that `import engine` is light and `--help` answers at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_MODULES: dict[str, tuple[str, ...]] = {
    "engine.errors": ("UserError", "DivergedError"),
    "engine.graph": ("Sequential", "Graph", "Network"),
    "engine.layers": (
        "Conv2D",
        "MaxPool2D",
        "AvgPool2D",
        "GlobalAvgPool2D",
        "Linear",
        "BatchNorm",
        "Dropout",
        "ReLU",
        "LeakyReLU",
        "Sigmoid",
        "Tanh",
        "Softmax",
        "Flatten",
        "Add",
        "Concat",
    ),
    "engine.losses": ("CrossEntropy", "MeanSquaredError", "BinaryCrossEntropy"),
    "engine.optim": ("SGD", "Adam", "AdamW"),
    "engine.trainer": ("Trainer",),
    "engine.checkpoint": ("load",),
    "cnncore": ("set_num_threads", "get_num_threads"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "UserError",
    "DivergedError",
    "Sequential",
    "Graph",
    "Network",
    "Conv2D",
    "MaxPool2D",
    "AvgPool2D",
    "GlobalAvgPool2D",
    "Linear",
    "BatchNorm",
    "Dropout",
    "ReLU",
    "LeakyReLU",
    "Sigmoid",
    "Tanh",
    "Softmax",
    "Flatten",
    "Add",
    "Concat",
    "CrossEntropy",
    "MeanSquaredError",
    "BinaryCrossEntropy",
    "SGD",
    "Adam",
    "AdamW",
    "Trainer",
    "load",
    "set_num_threads",
    "get_num_threads",
]

if TYPE_CHECKING:
    from cnncore import get_num_threads, set_num_threads

    from engine.checkpoint import load
    from engine.errors import DivergedError, UserError
    from engine.graph import Graph, Network, Sequential
    from engine.layers import (
        Add,
        AvgPool2D,
        BatchNorm,
        Concat,
        Conv2D,
        Dropout,
        Flatten,
        GlobalAvgPool2D,
        LeakyReLU,
        Linear,
        MaxPool2D,
        ReLU,
        Sigmoid,
        Softmax,
        Tanh,
    )
    from engine.losses import BinaryCrossEntropy, CrossEntropy, MeanSquaredError
    from engine.optim import SGD, Adam, AdamW
    from engine.trainer import Trainer


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
