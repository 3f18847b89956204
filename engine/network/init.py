"""Seeded initialisers. A draw depends on (seed, purpose, index of the layer) and on nothing else.

He et al. 2015 (equation 10) and Glorot & Bengio 2010 (equation 16); fan-in and fan-out as PyTorch counts them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.draws import WEIGHTS, generator
from engine.errors import UserError, unknown
from engine.program.slots import ParameterSpec

Array = NDArray[np.float32]

Draw = Callable[[np.random.Generator, ParameterSpec], NDArray[np.float64]]


def _normal(scale: Callable[[ParameterSpec], float]) -> Draw:
    return lambda generator, spec: generator.normal(0.0, scale(spec), spec.shape)


def _uniform(bound: Callable[[ParameterSpec], float]) -> Draw:
    return lambda generator, spec: generator.uniform(-bound(spec), bound(spec), spec.shape)


def _dirac(generator: np.random.Generator, spec: ParameterSpec) -> NDArray[np.float64]:
    """The first filters of a convolution pass one input channel on each, unchanged (Zagoruyko & Komodakis 2017); the
    others, and linear layers, are drawn as "fan_in_uniform"."""
    values = INITIALIZERS["fan_in_uniform"](generator, spec)
    if len(spec.shape) == 4:
        filters, channels, height, width = spec.shape
        passing = np.arange(min(filters, channels))
        values[passing] = 0.0
        values[passing, passing, height // 2, width // 2] = 1.0
    return values


INITIALIZERS: dict[str, Draw] = {
    "he_normal": _normal(lambda spec: math.sqrt(2.0 / spec.fan_in)),
    "he_uniform": _uniform(lambda spec: math.sqrt(6.0 / spec.fan_in)),
    "glorot_normal": _normal(lambda spec: math.sqrt(2.0 / (spec.fan_in + spec.fan_out))),
    "glorot_uniform": _uniform(lambda spec: math.sqrt(6.0 / (spec.fan_in + spec.fan_out))),
    "fan_in_uniform": _uniform(lambda spec: 1.0 / math.sqrt(spec.fan_in)),
    "dirac": _dirac,
    "normal": _normal(lambda spec: 0.05),
    "uniform": _uniform(lambda spec: 0.05),
    "zeros": lambda generator, spec: np.zeros(spec.shape),
}
"""Names of the initialisers of weights; "normal" has a standard deviation, "uniform" a bound, of 0.05. PyTorch's layers
begin with "fan_in_uniform"."""

CONSTANT_ROLES = {"bias": 0.0, "mean": 0.0, "scale": 1.0, "variance": 1.0, "slope": 0.25}


def checked_initializer(initializer: Any) -> str | dict[str, str]:
    """A name, or a mapping from layer kind ("conv", "linear") to a name; UserError for anything else."""
    names = initializer if isinstance(initializer, Mapping) else {"conv": initializer, "linear": initializer}
    for kind, name in names.items():
        if kind not in ("conv", "linear"):
            raise UserError(f"initializer: layer kinds are conv and linear, not {kind!r}")
        if not isinstance(name, str) or name not in INITIALIZERS:
            raise unknown("initializer", name, INITIALIZERS)
    return dict(initializer) if isinstance(initializer, Mapping) else initializer


def draw(initializer: str | Mapping[str, str], kind: str, spec: ParameterSpec, seed: int, index: int) -> Array:
    """The first values of one array: `index` is the number of its layer in the network."""
    if spec.role != "weights":
        return np.full(spec.shape, CONSTANT_ROLES[spec.role], np.float32)
    name = initializer if isinstance(initializer, str) else initializer.get(kind, "he_normal")
    return INITIALIZERS[name](generator(seed, WEIGHTS + index), spec).astype(np.float32)
