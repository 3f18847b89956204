"""What a file does not tell of a layer, or tells for training alone: said, since the outputs may rest on it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from engine.errors import listed
from engine.layers import BatchNorm
from engine.layers.topology import Topology
from engine.weights.source import Module


def notes(topology: Topology, modules: Mapping[str, Module], usual: float) -> tuple[str, ...]:
    """About the normalisations among the layers that were loaded, each with the module that it is from; `usual` is the
    epsilon that the framework takes where nobody sets another one."""
    untold: list[str] = []
    momenta: list[str] = []
    for name, module in modules.items():
        layer = topology.node(name).layer
        eps = getattr(layer, "eps", None)
        if eps is not None and "epsilon" not in module.settings and not math.isclose(eps, usual, rel_tol=1e-6):
            untold.append(f"{name} ({eps:g})")
        momentum = module.settings.get("momentum")
        if not isinstance(layer, BatchNorm) or not isinstance(momentum, float):
            continue
        if not math.isclose(1.0 - momentum, layer.momentum, rel_tol=1e-4):
            momenta.append(f"{name} ({layer.momentum:g}, there {1.0 - momentum:g})")
    found = []
    if untold:
        found.append(
            f"the file does not hold the eps that these were trained with, which is {usual:g} where nobody sets it: "
            f"{listed(untold)}"
        )
    if momenta:
        found.append(f"these have another momentum, which matters in training alone: {listed(momenta)}")
    return tuple(found)
