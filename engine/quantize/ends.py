"""What of a network stays in float32: the layers before the first and behind the last integer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from engine.errors import UserError
from engine.layers import BatchNorm, Dropout, Flatten, Scale, Sigmoid, Softmax
from engine.layers.topology import INPUT, Node, Topology, checked_topology, make_node
from engine.network.network import Network
from engine.quantize.body import WEIGHTED

ENDINGS = (Softmax, Sigmoid, Scale)
"""What the answer of a network is made with: behind the last layer with weights these stay in float32."""


def without_idle(nodes: Sequence[Node]) -> list[Node]:
    """The nodes that do something in inference: dropout and its kin do nothing there."""
    alias: dict[str, str] = {}
    kept: list[Node] = []
    for node in nodes:
        inputs = tuple(alias.get(name, name) for name in node.inputs)
        if isinstance(node.layer, Dropout) or (
            isinstance(node.layer, Flatten) and node.shape == _shape_of(kept, inputs[0])
        ):
            alias[node.name] = inputs[0]
        else:
            kept.append(replace(node, inputs=inputs))
    return kept


def _shape_of(nodes: Sequence[Node], name: str) -> tuple[int, ...] | None:
    return next((node.shape for node in nodes if node.name == name), None)


def resolved(topology: Topology, name: str) -> str:
    node = topology.node(name)
    idle = isinstance(node.layer, Dropout) or (
        isinstance(node.layer, Flatten) and node.shape == topology.shape_of(node.inputs[0])
    )
    return resolved(topology, node.inputs[0]) if idle and node.inputs[0] != INPUT else name


def readers_of(nodes: Sequence[Node], name: str) -> list[Node]:
    return [node for node in nodes if name in node.inputs]


def tail_of(nodes: Sequence[Node], output: str, last: str) -> list[str]:
    """The layers behind the last integer, in order: softmax and its kin, and with `last` "float" the last layer with
    weights, as far as they are a chain."""
    by_name = {node.name: node for node in nodes}
    found: list[str] = []
    name = output
    weighted = last == "float"
    while name in by_name:
        node = by_name[name]
        if len(node.inputs) != 1 or (name != output and len(readers_of(nodes, name)) != 1):
            break
        if isinstance(node.layer, WEIGHTED) and weighted:
            weighted = False
            found.insert(0, name)
            break
        if not isinstance(node.layer, ENDINGS) and not (
            weighted and (node.layer.elementwise or isinstance(node.layer, BatchNorm))
        ):
            break
        found.insert(0, name)
        name = node.inputs[0]
    if weighted:
        raise UserError("last='float': no layer with weights leads to the output in a chain of its own")
    return found


def head_of(nodes: Sequence[Node], output: str) -> list[str]:
    """The layers up to the first one with weights, and its batch normalisation and activation."""
    found: list[str] = []
    name, weighted = INPUT, False
    while name != output:
        readers = readers_of(nodes, name)
        if len(readers) != 1 or len(readers[0].inputs) != 1:
            break
        node = readers[0]
        if weighted and not (node.layer.elementwise or isinstance(node.layer, BatchNorm)):
            break
        weighted = weighted or isinstance(node.layer, WEIGHTED)
        found.append(node.name)
        name = node.name
    if not weighted:
        raise UserError("first='float': no layer with weights follows the input in a chain of its own")
    return found


def part_of(net: Network, nodes: Sequence[Node], source: str, shape: tuple[int, ...]) -> Network | None:
    """These layers, a chain behind `source`, as a network with copies of the weights."""
    if not nodes:
        return None
    chain = [make_node(nodes[0].name, nodes[0].layer, [INPUT], [shape]), *nodes[1:]]
    names = {node.name for node in chain}
    arrays = tuple(
        {key: value for key, value in found.items() if key.rpartition(".")[0] in names}
        for found in (net.parameters(), net.buffers())
    )
    return Network(checked_topology(shape, chain, chain[-1].name), arrays=(arrays[0], arrays[1]))
