"""The graph of a network as data: named layers, their inputs, their shapes. Immutable once a network has it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from engine.arguments import integer
from engine.errors import UserError, shortened, shown, unknown
from engine.layers import LAYERS, Layer, layer_name, make_layer
from engine.program.limits import MOST_ELEMENTS, check_elements, check_shape
from engine.program.shapes import Shape

INPUT = "input"  # the name by which nodes refer to the network's input


@dataclass(frozen=True)
class Node:
    """One layer in its place: `inputs` name the nodes it reads, `shape` is its output's, per sample."""

    name: str
    layer: Layer
    inputs: tuple[str, ...]
    shape: Shape


@dataclass(frozen=True)
class Topology:
    """Nodes in an order in which every node stands behind its inputs; `output` names the last of the network."""

    input_shape: Shape
    nodes: tuple[Node, ...]
    output: str

    @property
    def output_shape(self) -> Shape:
        return self.shape_of(self.output)

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    def node(self, name: str) -> Node:
        return self._by_name[name]

    def shape_of(self, name: str) -> Shape:
        return self.input_shape if name == INPUT else self.node(name).shape

    def consumers(self, name: str) -> list[Node]:
        return [node for node in self.nodes if name in node.inputs]

    @property
    def own_layers(self) -> dict[str, str]:
        """Name and class of the layers that are none of LAYERS: no description can be made into a network with them."""
        named = {node.name: layer_name(node.layer) for node in self.nodes}
        return {name: kind for name, kind in named.items() if kind not in LAYERS}

    def widest(self) -> tuple[str, int]:
        """The layer that handles the most numbers for one sample, and how many: those that it reads, with their padding
        once more where it has any, and those that it writes."""
        return max(((node.name, self._handled(node)) for node in self.nodes), key=lambda found: found[1])

    def _handled(self, node: Node) -> int:
        sources = [self.shape_of(name) for name in node.inputs]
        return math.prod(node.shape) + sum(map(math.prod, sources)) + node.layer.padded(*sources)

    def to_config(self) -> dict[str, Any]:
        """A JSON-able description; `topology_from_config` gives an equal topology, where all layers are of LAYERS."""
        return {
            "input_shape": list(self.input_shape),
            "nodes": [
                {
                    "name": node.name,
                    "layer": layer_name(node.layer),
                    "arguments": _plain(node.layer.arguments()),
                    "inputs": list(node.inputs),
                }
                for node in self.nodes
            ],
            "output": self.output,
        }


def checked_input_shape(shape: Any) -> Shape:
    """(C, H, W) or (K,) as a tuple of positive ints."""
    if not isinstance(shape, (tuple, list)) or len(shape) not in (1, 3):
        raise UserError(f"input_shape must be (channels, height, width) or (features,), not {shown(shape)}")
    checked = tuple(integer("input_shape", "every extent", extent, 1, MOST_ELEMENTS) for extent in shape)
    check_shape("the input", checked)
    return checked


def make_node(name: str, layer: Any, inputs: Sequence[str], shapes: Sequence[Shape]) -> Node:
    """A node with its output shape; whatever is wrong with it is reported with the name of the layer."""
    if not isinstance(layer, Layer):
        raise UserError(f"{name!r} is not a layer of engine.layers: {shown(layer)}")
    kind = type(layer).__name__
    fewest, most = layer.inputs
    if len(inputs) < fewest or (most is not None and len(inputs) > most):
        wanted = f"{fewest} input{'s' if fewest > 1 else ''}" + (" or more" if most is None else "")
        raise UserError(f"layer {name!r}: {kind} takes {wanted}, but got {len(inputs)}")
    try:
        shape = layer.output_shape(*shapes)
        check_shape("its output", shape)
        for spec in (*layer.parameters(), *layer.buffers()):
            check_elements(f"{spec.name} of shape {spec.shape}", math.prod(spec.shape))
    except UserError as error:
        raise UserError(f"layer {name!r}: {error}") from None
    return Node(name, layer, tuple(inputs), shape)


def checked_topology(input_shape: Shape, nodes: Sequence[Node], output: str) -> Topology:
    """The topology of these nodes; UserError where a layer does not lead to the output."""
    if not nodes:
        raise UserError("a network needs at least one layer")
    by_name = {node.name: node for node in nodes}
    needed: set[str] = set()
    pending = [output]
    while pending:
        name = pending.pop()
        if name != INPUT and name not in needed:
            needed.add(name)
            pending.extend(by_name[name].inputs)
    idle = [node.name for node in nodes if node.name not in needed]
    if idle:
        raise UserError(f"layer {idle[0]!r} does not lead to the output {output!r}")
    if math.prod(input_shape) == 0:
        raise UserError(f"input_shape {input_shape} has no elements")
    return Topology(input_shape, tuple(nodes), output)


def checked_name(name: Any, taken: Collection[str]) -> str:
    """A name that can stand in a key such as "name.weights" and is not taken."""
    if not isinstance(name, str) or not name or name == INPUT or any(c.isspace() for c in name):
        raise UserError(f"a layer's name must be a word other than {INPUT!r}, not {shown(name)}")
    if name in taken:
        raise UserError(f"the name {name!r} is given to two layers")
    return name


KEYS: dict[str, type] = {"input_shape": list, "nodes": list, "output": str}
"""Of a network's description, beside `seed` and `initializer`."""


def topology_from_config(config: Any) -> Topology:
    """The topology that `Topology.to_config` described; UserError for whatever does not fit."""
    for key, kind in KEYS.items():
        if not isinstance(config, dict) or not isinstance(config.get(key), kind):
            raise UserError(f"network description: {key!r} is missing or not a {kind.__name__}")
    _check_keys("network description", config, (*KEYS, "seed", "initializer"))
    input_shape = checked_input_shape(config["input_shape"])
    nodes: list[Node] = []
    shapes: dict[str, Shape] = {INPUT: input_shape}
    for entry in config["nodes"]:
        if not isinstance(entry, dict) or not isinstance(entry.get("inputs"), list):
            raise UserError(f"network description: {shown(entry)} is not a layer with its inputs")
        _check_keys("network description: a layer", entry, ("name", "layer", "arguments", "inputs"))
        name = checked_name(entry.get("name"), shapes)
        unknown = [source for source in entry["inputs"] if not isinstance(source, str) or source not in shapes]
        if unknown:
            raise UserError(f"layer {name!r} reads {shown(unknown[0])}, which is not a layer before it")
        arguments = entry.get("arguments", {})
        if isinstance(entry.get("layer"), str) and entry["layer"] not in LAYERS:
            raise UserError(
                f"layer {name!r}: unknown layer {shortened(entry['layer'])!r}, which is not one of the engine's; build "
                "the network in Python, and take its weights from the file with engine.network.transfer.initialize"
            )
        layer = make_layer(entry.get("layer", ""), arguments)
        node = make_node(name, layer, entry["inputs"], [shapes[source] for source in entry["inputs"]])
        nodes.append(node)
        shapes[name] = node.shape
    if config["output"] not in shapes or config["output"] == INPUT:
        raise UserError(f"the output {config['output']!r} is not a layer of the network")
    return checked_topology(input_shape, nodes, config["output"])


def _check_keys(where: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in given:
        if key not in known:
            raise unknown(f"key of the {where}:", key, known)


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in arguments.items()}
