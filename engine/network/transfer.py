"""Transfer: weights and running statistics of a checkpoint into another network, layer by layer, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from engine.arguments import integer
from engine.errors import UserError, unknown
from engine.layers import Linear
from engine.layers.patterns import checked_patterns, layers_with_parameters, select
from engine.layers.topology import INPUT, Node, Topology, checked_topology, make_node
from engine.network import checkpoint
from engine.network.checkpoint import Checkpoint
from engine.network.network import Network
from engine.reading.schema import FilePath


@dataclass(frozen=True)
class InitializeConfig:
    """The section `initialize_from` of a configuration: the arguments of `initialize`.

    checkpoint  a file, relative to the working folder
    layers      names or patterns of the network's layers that are loaded
    exclude     names or patterns of layers that keep the weights that they have
    rename      layer of the network: its name in the checkpoint, where the two differ
    mismatch    what an array of another shape does: error, or skip, which lets its layer keep its weights
    """

    checkpoint: FilePath
    layers: tuple[Any, ...] = ("*",)
    exclude: tuple[Any, ...] = ()
    rename: dict[str, Any] = field(default_factory=dict)
    mismatch: Literal["error", "skip"] = "error"


@dataclass(frozen=True)
class Report:
    """What a transfer did. `loaded` and `unused` are layers of the network and of the checkpoint, `kept` maps every
    other layer of the network that owns arrays to the reason why it keeps the weights that it had.
    """

    checkpoint: str
    loaded: tuple[str, ...]
    kept: Mapping[str, str]
    unused: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """In JSON's own types."""
        return {**asdict(self), "loaded": list(self.loaded), "kept": dict(self.kept), "unused": list(self.unused)}

    def __str__(self) -> str:
        lines = [f"initialized from {self.checkpoint}: {', '.join(self.loaded)}"]
        lines += [f"  {name} keeps its own weights: {reason}" for name, reason in self.kept.items()]
        return "\n".join([*lines, *([f"  not used: {', '.join(self.unused)}"] if self.unused else [])])


def initialize(
    net: Network,
    source: Path | str | Checkpoint,
    layers: Sequence[str | int] = ("*",),
    exclude: Sequence[str | int] = (),
    rename: Mapping[str, str | int] | None = None,
    mismatch: Literal["error", "skip"] = "error",
) -> Report:
    """Load layers of a checkpoint into `net`, parameters and the running statistics of BatchNorm alike.

    layers    names or patterns of the network's layers (see engine.layers.patterns.select); by default all
    exclude   names or patterns of layers that keep the weights that they have, such as a head with other classes
    rename    layer of the network → its name in the checkpoint, where the two differ
    mismatch  what an array of another shape does: "error", or "skip", which lets the whole layer keep its weights

    A layer that is named in full must be in the checkpoint; one that only a pattern matches may be missing there, and
    is then reported. UserError for a wrong name or shape, and where nothing fits; nothing is stored then.
    """
    stored = checkpoint.read(source) if isinstance(source, (str, Path)) else source
    where = str(source) if isinstance(source, (str, Path)) else "the checkpoint"
    names = layers_with_parameters(net.topology)
    wished = checked_patterns("layers", layers)
    chosen = select("layers", wished, names)
    excluded = set(select("exclude", checked_patterns("exclude", exclude), names))
    origins = {str(name): str(origin) for name, origin in (rename or {}).items()}
    for name in origins:
        if name not in names:
            raise unknown("layer with parameters in rename:", name, names)
    if mismatch not in ("error", "skip"):
        raise unknown("mismatch", mismatch, ("error", "skip"))

    arrays = _by_layer({**stored.parameters, **stored.buffers})
    expected = _by_layer({**_shapes(net.store.slots), **_shapes(net.store.buffer_slots)})
    loaded: dict[str, str] = {}
    kept: dict[str, str] = {}
    for name in names:
        origin = origins.get(name, name)
        if name not in chosen or name in excluded:
            kept[name] = "excluded" if name in excluded else "not chosen"
            continue
        if origin not in arrays:
            if name in wished or name in origins:
                raise UserError(f"{where}: {unknown('layer', origin, arrays)}")
            kept[name] = f"the checkpoint has no layer {origin!r}"
            continue
        difference = _difference(name, expected[name], arrays[origin])
        if difference and mismatch == "error":
            raise UserError(f"{where}: {difference}; exclude the layer, or set mismatch to skip")
        if difference:
            kept[name] = difference
        else:
            loaded[name] = origin
    if not loaded:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in kept.items())
        raise UserError(f"{where}: no layer of the network can be loaded ({reasons})")
    new = {f"{name}.{key}": array for name, origin in loaded.items() for key, array in arrays[origin].items()}
    net.load_parameters({key: array for key, array in new.items() if key in net.store.slots}, strict=False)
    net.load_buffers({key: array for key, array in new.items() if key in net.store.buffer_slots}, strict=False)
    if names[-1] in loaded:  # with the last layer came what the outputs stand for
        net.trained_by = stored.trained_by
        if len(stored.class_names) == net.output_shape[0]:
            net.class_names = list(stored.class_names)
    unused = tuple(name for name in arrays if name not in loaded.values())
    return Report(where, tuple(loaded), kept, unused)


def initialize_as(net: Network, section: InitializeConfig) -> Report:
    """`initialize` as a section of a configuration says."""
    return initialize(
        net, section.checkpoint, section.layers, section.exclude, section.rename, mismatch=section.mismatch
    )


def replace_head(net: Network, classes: int, seed: int | None = None) -> Network:
    """A new network that ends in `classes` outputs: its last Linear layer is drawn anew, all else is copied.

    `seed` of the new weights (None: the network's). Preprocessing is kept, class names are not. UserError where
    something other than elementwise layers follows the last Linear.
    """
    head = head_layer(net)
    new = Network(
        _with_outputs(net.topology, head, integer("replace_head", "classes", classes, 1)),
        seed=net.seed if seed is None else seed,
        initializer=net.initializer,
    )
    kept = {key: array for key, array in net.parameters().items() if key not in (f"{head}.weights", f"{head}.bias")}
    new.load_parameters(kept, strict=False)
    new.load_buffers(net.buffers())
    new.preprocess = net.preprocess
    return new


def _with_outputs(topology: Topology, head: str, outputs: int) -> Topology:
    """The same layers, but that the Linear layer `head` has so many outputs."""
    nodes: list[Node] = []
    shapes = {INPUT: topology.input_shape}
    for node in topology.nodes:
        layer = replace(cast(Linear, node.layer), out_features=outputs) if node.name == head else node.layer
        nodes.append(make_node(node.name, layer, node.inputs, [shapes[source] for source in node.inputs]))
        shapes[node.name] = nodes[-1].shape
    return checked_topology(topology.input_shape, nodes, topology.output)


def head_layer(net: Network) -> str:
    """Name of the last Linear, behind which only layers without parameters that keep the shape may stand."""
    node = net.topology.node(net.topology.output)
    while not isinstance(node.layer, Linear):
        passes = len(node.inputs) == 1 and not node.layer.parameters()
        if not passes or net.topology.shape_of(node.inputs[0]) != node.shape:
            raise UserError(f"the network ends in {type(node.layer).__name__} {node.name!r}, not in a Linear layer")
        if node.inputs[0] not in net.layers:
            raise UserError("the network has no Linear layer")
        node = net.topology.node(node.inputs[0])
    return node.name


def _by_layer(arrays: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{"layer.array": value} as {layer: {array: value}}."""
    layers: dict[str, dict[str, Any]] = {}
    for key, value in arrays.items():
        layer, _, name = key.rpartition(".")
        layers.setdefault(layer, {})[name] = value
    return layers


def _shapes(slots: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {key: slot.spec.shape for key, slot in slots.items()}


def _difference(layer: str, expected: Mapping[str, tuple[int, ...]], arrays: Mapping[str, Any]) -> str | None:
    """What does not fit, in words; None where the arrays are those that the layer has."""
    for name, shape in expected.items():
        if name not in arrays:
            return f"layer {layer!r} has {name}, which the checkpoint's layer lacks"
        if arrays[name].shape != shape:
            there = arrays[name].shape
            return f"layer {layer!r}: {name} has shape {there} in the checkpoint, but {shape} in the network"
    extra = [name for name in arrays if name not in expected]
    return f"layer {layer!r} has no {extra[0]}, which the checkpoint's layer has" if extra else None
