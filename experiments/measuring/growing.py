"""A random network under construction."""

from __future__ import annotations

import numpy as np

from engine.layers import (
    ELU,
    GELU,
    Clip,
    Hardsigmoid,
    Hardswish,
    Layer,
    LeakyReLU,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from engine.network.graph import Graph

Random = np.random.Generator


class Growing:
    """A graph under construction: all shapes by name, and the last output."""

    def __init__(self, random: Random, every_activation: bool = False):
        self.random = random
        self.every_activation = every_activation
        shape = (int(random.integers(1, 6)), int(random.integers(7, 15)), int(random.integers(7, 15)))
        self.graph = Graph(shape, seed=int(random.integers(2**31)))
        self.last: str = self.graph.input
        self.shapes: dict[str, tuple[int, ...]] = {self.last: shape}

    @property
    def shape(self) -> tuple[int, ...]:
        return self.shapes[self.last]

    def add(self, layer: Layer, *inputs: str) -> str:
        """Append to the last output, or to `inputs`; returns the name."""
        sources = inputs or (self.last,)
        self.last = self.graph.add(layer, *sources)
        self.shapes[self.last] = layer.output_shape(*(self.shapes[source] for source in sources))
        return self.last

    def either(self, share: float = 0.5) -> bool:
        return bool(self.random.random() < share)

    def between(self, low: int, high: int) -> int:
        """Both ends included."""
        return int(self.random.integers(low, high + 1))

    def activation(self) -> None:
        choices: list[Layer] = [ReLU(), ReLU(), ReLU(), LeakyReLU(), LeakyReLU(0.2), Sigmoid(), Tanh()]
        if self.every_activation:
            choices += [GELU(), GELU(), GELU("tanh"), SiLU(), Hardswish(), Hardsigmoid(), ReLU6(), Softplus()]
            choices += [ELU(1.5), Clip(-0.7, 1.2), PReLU(), PReLU(self.shape[0])]
        self.add(choices[self.between(0, len(choices) - 1)])
