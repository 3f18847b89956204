"""The networks that measurements run, each at the size and batch at which it is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import engine
from engine.errors import unknown
from experiments.measuring.odd_networks import odd_33, odd_40


@dataclass(frozen=True)
class Measured:
    """A network of engine.models by name, or a function that makes one (`model`), with its `arguments`; `batch` is that
    of a training step."""

    name: str
    model: str | Callable[..., engine.Network]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    batch: int = 64

    def make(self, seed: int = 0) -> engine.Network:
        if callable(self.model):
            return self.model(seed=seed, **self.arguments)
        from engine.models import make_model  # only now: a command that lists the networks answers sooner

        return make_model(self.model, seed=seed, **self.arguments)


NETWORKS: Mapping[str, Measured] = {
    each.name: each
    for each in (
        Measured("lenet", "lenet"),
        Measured("model1", "model1"),
        Measured("model2", "model2"),
        Measured("model3", "model3"),
        Measured("mnist_cnn", "mnist_cnn"),
        Measured("vgg3", "vgg3"),
        Measured("vgg3_bn_dropout", "vgg3", {"batch_norm": True, "dropout": [0.2, 0.3, 0.4, 0.5]}),
        Measured("scene_0", "scene_0"),
        Measured("scene_15", "scene_15"),
        Measured("scene_8", "scene_8", {"input_size": 32}, batch=16),  # unpooled: 64x64 takes minutes per step
        Measured("vgg19", "vgg19"),
        Measured("midas", "midas_cnn"),
    )
}
"""Those of the reports by name, in the order of the tables."""

LATER_NETWORKS: Mapping[str, Measured] = {
    each.name: each
    for each in (
        Measured("resnet20", "resnet20"),
        Measured("airbench94", "airbench94"),
        Measured("mobilenet_v2", "mobilenet_v2", {"width": 0.5, "input_size": 64, "classes": 10}),
        Measured("unet", "unet", {"input_size": 64}),
    )
}
"""Networks of other layers, which are compared with peers."""

ODD_NETWORKS: Mapping[str, Measured] = {
    each.name: each for each in (Measured("odd_40", odd_40), Measured("odd_33", odd_33))
}
"""Networks whose numbers of channels are no multiples of a vector's length."""


def chosen(names: Sequence[str]) -> list[Measured]:
    """The networks with these names, all of them for none; UserError for a name that does not exist."""
    for name in names:
        if name not in NETWORKS:
            raise unknown("network", name, NETWORKS)
    return [each for each in NETWORKS.values() if not names or each.name in names]
