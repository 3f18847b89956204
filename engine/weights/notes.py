"""What a file does not tell of a layer, or tells for training alone: said, since the outputs may rest on it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from engine.layers import BatchNorm
from engine.layers.topology import Topology
from engine.weights.source import Module


def notes(topology: Topology, modules: Mapping[str, Module]) -> tuple[str, ...]:
    """About the normalisations among the layers that were loaded, each with the module that it is from."""
    found = []
    for name, module in modules.items():
        layer = topology.node(name).layer
        eps = getattr(layer, "eps", None)
        if eps is None:
            continue
        if "epsilon" not in module.settings:
            usual = "PyTorch's is 1e-05 where nobody sets it, Keras's 0.001"
            found.append(
                f"layer {name!r} has eps {eps:g}; the file does not hold the one that it was trained with ({usual})"
            )
        momentum = module.settings.get("momentum")
        if not isinstance(layer, BatchNorm) or not isinstance(momentum, float):
            continue
        ours = 1.0 - momentum
        if not math.isclose(ours, layer.momentum, rel_tol=1e-4):
            found.append(
                f"layer {name!r} has momentum {layer.momentum:g}, Keras's {momentum:g} would be {ours:g}; it matters in "
                "training alone"
            )
    return tuple(found)
