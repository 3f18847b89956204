"""Networks from descriptions and checkpoints.

Reads numbers and text and builds layers by name: it never runs code.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Protocol

from engine.errors import UserError
from engine.layers.topology import Topology, topology_from_config
from engine.network.checkpoint import Checkpoint, read
from engine.network.inputs import warn_of_nameless
from engine.network.network import Network
from engine.network.parameters import Arrays
from engine.plan.table import byte_size
from engine.program.shapes import Shape
from engine.reading.memory import memory_for


def from_config(config: Any, arrays: Arrays | None = None) -> Network:
    """The network that `Network.to_config` described, with these arrays or freshly drawn weights.

    UserError for an unknown layer or argument, or anything else that does not fit.
    """
    topology = topology_from_config(config)
    seed, initializer = config.get("seed", 0), config.get("initializer", "he_normal")
    return Network(topology, seed=seed, initializer=initializer, arrays=arrays)


def restored(checkpoint: Checkpoint) -> Network:
    """A new network of the stored graph with the stored weights, `preprocess` and `class_names`."""
    net = from_config(checkpoint.graph, (checkpoint.parameters, checkpoint.buffers))
    net.preprocess, net.trained_by = checkpoint.preprocess, checkpoint.trained_by
    net.name_classes(checkpoint.class_names)
    return net


def restore(net: Network, checkpoint: Checkpoint) -> None:
    """Put the stored weights and running statistics into a network of the same graph."""
    net.load_parameters(checkpoint.parameters)
    net.load_buffers(checkpoint.buffers)


def load(path: Path | str) -> Network:
    """The network in a checkpoint, with the attributes `preprocess` (dict or None) and `class_names` (list).

    UserError that names the file when it is missing, truncated, changed, of another version or no checkpoint, and when
    a layer would take far more memory for one sample than such a file has reason to (`memory_for` its size); a warning
    where it names fewer classes than the network has outputs.
    """
    checkpoint = read(path)
    try:
        net = restored(checkpoint)
        check_width(net, memory_for(Path(path).stat().st_size))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    warn_of_nameless(f"{path}: the network has", net.class_names, net.output_shape[0])
    return net


class _Wide(Protocol):
    """What is asked for how wide it is."""

    @property
    def topology(self) -> Topology: ...
    @property
    def input_shape(self) -> Shape: ...
    @property
    def output_shape(self) -> Shape: ...


def check_width(net: _Wide, most: int) -> None:
    """UserError where the widest layer takes more than `most` bytes for one sample: with a padding or an input shape a
    short file could ask for any amount."""
    name, count = net.topology.widest()
    # What is handed in is brought into the layout of the first layer, and what is handed back is a copy as well.
    need = 4 * (count + math.prod(net.input_shape) + math.prod(net.output_shape))
    if need > most:
        raise UserError(
            f"layer {name!r} takes {byte_size(need)} of memory for one sample, but {byte_size(most)} are allowed to a "
            "network from a file of this size; build it in Python, and take the weights with "
            "engine.network.transfer.initialize"
        )
