"""Networks from descriptions and checkpoints.

Reads numbers and text and builds layers by name: it never runs code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.errors import UserError
from engine.layers.topology import topology_from_config
from engine.network.checkpoint import Checkpoint, read
from engine.network.network import Network
from engine.network.parameters import Arrays


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
    net.preprocess = checkpoint.preprocess
    net.class_names = checkpoint.class_names
    return net


def restore(net: Network, checkpoint: Checkpoint) -> None:
    """Put the stored weights and running statistics into a network of the same graph."""
    net.load_parameters(checkpoint.parameters)
    net.load_buffers(checkpoint.buffers)


def load(path: Path | str) -> Network:
    """The network in a checkpoint, with the attributes `preprocess` (dict or None) and `class_names` (list).

    UserError that names the file when it is missing, truncated, changed, of another version or no checkpoint.
    """
    checkpoint = read(path)
    try:
        return restored(checkpoint)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
