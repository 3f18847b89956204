"""What every layer of a network gives for some images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import unknown
from engine.layers import Concat, Flatten
from engine.layers.topology import INPUT, Node, checked_topology, make_node
from engine.network.network import Network
from engine.plan import Algorithm

Array = NDArray[np.float32]


def activations(
    net: Network, x: Array, layers: Sequence[str] | None = None, algorithm: Algorithm = "auto"
) -> dict[str, Array]:
    """Outputs in inference mode for images (n, C, H, W): by layer's name, float32 (n, *shape of the layer).

    layers      whose outputs (None: every layer's), in the order in which they run
    algorithm   of the convolutions, as in `Network.plan`

    The same graph is planned with one output more: all wanted values, flattened, one behind the other. A value that
    is read twice is neither fused away nor overwritten, so that one run of an ordinary plan gives every layer, and
    the planner needs no mode of its own for it. The price is memory for all of them: ask for a few images at a time.
    UserError for a name that no layer has.
    """
    return Probe(net, layers)(x, algorithm)


class Probe:
    """`activations` of a network as it is now, for who asks of several parts of a set: it is planned once."""

    def __init__(self, net: Network, layers: Sequence[str] | None = None):
        names = list(net.layers)
        for name in layers or ():
            if name not in names:
                raise unknown("layer", name, names)
        wanted = [name for name in names if layers is None or name in layers]
        self.shapes = {name: net.topology.shape_of(name) for name in wanted}
        self._network = _probe(net, wanted)

    def __call__(self, x: Array, algorithm: Algorithm = "auto") -> dict[str, Array]:
        """By layer's name, as `activations` gives them."""
        flat = self._network.predict(x, algorithm=algorithm)
        result: dict[str, Array] = {}
        start = 0
        for name, shape in self.shapes.items():
            count = int(np.prod(shape))
            result[name] = flat[:, start : start + count].reshape(len(flat), *shape)
            start += count
        return result


def _probe(net: Network, wanted: Sequence[str]) -> Network:
    """The network with the flattened outputs of the `wanted` layers as its output, and copies of the weights."""
    topology = net.topology
    nodes = list(topology.nodes[: 1 + max(list(net.layers).index(name) for name in wanted)])
    flat: list[Node] = []
    taken = {INPUT, *net.layers}
    for name in wanted:
        flat.append(make_node(_free(f"{name}/flat", taken), Flatten(), [name], [topology.shape_of(name)]))
    last = flat[0]
    if len(flat) > 1:
        shapes = [node.shape for node in flat]
        last = make_node(_free("all/flat", taken), Concat(), [node.name for node in flat], shapes)
        flat.append(last)
    needed = _ancestors(nodes, wanted)
    kept = [node for node in nodes if node.name in needed]
    probe = Network(checked_topology(topology.input_shape, [*kept, *flat], last.name), initializer="he_normal")
    probe.load_parameters(_of_layers(net.parameters(), needed))
    probe.load_buffers(_of_layers(net.buffers(), needed))
    return probe


def _ancestors(nodes: Sequence[Node], wanted: Sequence[str]) -> set[str]:
    """The wanted nodes and all that they read."""
    needed = set(wanted)
    for node in reversed(nodes):
        if node.name in needed:
            needed.update(node.inputs)
    return needed - {INPUT}


def _of_layers(arrays: dict[str, Array], layers: set[str]) -> dict[str, Any]:
    return {key: array for key, array in arrays.items() if key.rpartition(".")[0] in layers}


def _free(name: str, taken: set[str]) -> str:
    """A name that no layer has yet; it is taken from now on."""
    while name in taken:
        name += "'"
    taken.add(name)
    return name
