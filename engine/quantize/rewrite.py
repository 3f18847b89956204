"""A trained network as the graph that is quantised: batch normalisation folded, activations in the layer before them.

What lies before the first and behind the last integer is cut off as networks of their own, which stay in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.layers import (
    Add,
    BatchNorm,
    Clip,
    Conv2D,
    ConvTranspose2D,
    Layer,
    Linear,
    MaxPool2D,
    ReLU,
    ReLU6,
    Scale,
    layer_name,
)
from engine.layers.topology import INPUT, Node, Topology, checked_topology
from engine.network.network import Network
from engine.plan import INFERENCE, Request
from engine.program.slots import unpack
from engine.quantize.body import CLAMPED, WEIGHTED, refusal
from engine.quantize.ends import head_of, part_of, readers_of, resolved, tail_of, without_idle

Reals = NDArray[np.float64]


@dataclass
class Wanted:
    """A layer of the integer part before it is one. `seen` is the layer of the network whose output it gives, the last
    that was taken into it; several: the sum of their outputs. `low` and `high` are the bounds of a fused activation."""

    node: Node
    seen: tuple[str, ...]
    weights: Reals | None = None
    bias: Reals | None = None
    low: float = -np.inf
    high: float = np.inf


@dataclass
class Rewritten:
    """`head` and `tail` are the layers that stay in float32, None where there are none; `wanted` those between, in
    order, and `source`, `output` the values where it begins and ends."""

    head: Network | None
    tail: Network | None
    input_seen: str
    wanted: dict[str, Wanted]
    topology: Topology
    floats: list[str] = field(default_factory=list)


def rewritten(net: Network, first: str, last: str) -> Rewritten:
    """The network's parts; UserError, which names every layer that cannot be quantised, before anything is done."""
    nodes = without_idle(net.topology.nodes)
    by_name = {node.name: node for node in nodes}
    output = resolved(net.topology, net.topology.output)
    tail = tail_of(nodes, output, last)
    head = head_of(nodes, output) if first == "float" else []
    if set(head) & set(tail):
        raise UserError("nothing is left to quantise: the layers that are to stay in float32 are all that there are")
    start = head[-1] if head else INPUT
    end = by_name[tail[0]].inputs[0] if tail else output
    middle = [node for node in nodes if node.name not in {*head, *tail}]
    _check(middle)
    source_shape = by_name[start].shape if head else net.topology.input_shape
    wanted, names = _layers(net, middle, start, end)
    if not any(isinstance(each.node.layer, WEIGHTED) for each in wanted.values()):
        raise UserError("nothing is left to quantise: there is no convolution and no linear layer between the ends")
    topology = checked_topology(source_shape, [each.node for each in wanted.values()], names[end])
    return Rewritten(
        part_of(net, [by_name[name] for name in head], INPUT, net.topology.input_shape),
        part_of(net, [by_name[name] for name in tail], end, by_name[end].shape),
        start,
        wanted,
        topology,
        [*head, *tail],
    )


def _check(nodes: Sequence[Node]) -> None:
    """UserError that names all layers which have no integer arithmetic."""
    refused = []
    for node in nodes:
        affine = isinstance(node.layer, (BatchNorm, Scale))  # folded, or refused where that turns out to be impossible
        why = None if affine else refusal(node.layer)
        if why is not None:
            refused.append(f"{node.name!r} ({layer_name(node.layer)}: {why})")
    if refused:
        raise UserError(f"layers that cannot be quantised: {'; '.join(refused)}")


def _layers(net: Network, nodes: Sequence[Node], start: str, end: str) -> tuple[dict[str, Wanted], dict[str, str]]:
    """The integer part's layers by name, and which of them gives what a layer of the network gave."""
    wanted: dict[str, Wanted] = {}
    gives = {start: INPUT}
    folded = _folded(net)
    arrays = {**net.parameters(), **net.buffers()}
    for node in nodes:
        source = wanted.get(gives[node.inputs[0]])
        alone = source is not None and source.seen == node.inputs[:1] and len(readers_of(nodes, node.inputs[0])) == 1
        alone = alone and node.inputs[0] != end
        if source is not None and alone and _absorb(source, node, wanted, nodes, folded, arrays):
            gives[node.name] = source.node.name
            continue
        for made in _made(node, [gives[name] for name in node.inputs], arrays):
            wanted[made.node.name] = made
            gives[node.name] = made.node.name
    return wanted, gives


def _absorb(
    source: Wanted,
    node: Node,
    wanted: dict[str, Wanted],
    nodes: Sequence[Node],
    folded: dict[str, tuple[Reals, Reals]],
    arrays: dict[str, NDArray[np.float32]],
) -> bool:
    """Take a layer into the one before it, where that computes the same."""
    plain = (source.low, source.high) == (-np.inf, np.inf)
    layer = node.layer
    if isinstance(layer, BatchNorm) and plain:
        if source.weights is None or source.bias is None:
            return _through_pool(source, node, wanted, nodes, arrays)
        if node.name in folded:
            source.weights, source.bias = folded[node.name]
        else:
            _scale(source, *_affine(node, arrays))
        source.seen = (node.name,)
        return True
    bounds = _bounds(layer)
    if bounds is None or not isinstance(source.node.layer, CLAMPED) or not plain:
        return False
    source.low, source.high = bounds
    source.seen = (node.name,)
    return True


def _bounds(layer: Layer) -> tuple[float, float] | None:
    """What an activation bounds its input by, where it does nothing else."""
    if isinstance(layer, ReLU):
        return 0.0, np.inf
    if isinstance(layer, ReLU6):
        return 0.0, 6.0
    return (layer.low, layer.high) if isinstance(layer, Clip) else None


def _through_pool(
    pool: Wanted,
    node: Node,
    wanted: dict[str, Wanted],
    nodes: Sequence[Node],
    arrays: dict[str, NDArray[np.float32]],
) -> bool:
    """Fold a batch normalisation behind a max-pool into the convolution before that, where all its factors are above 0:
    the largest element stays the largest."""
    if not isinstance(pool.node.layer, MaxPool2D):
        return False
    before = wanted.get(pool.node.inputs[0])
    if (
        before is None
        or before.weights is None
        or before.bias is None
        or (before.low, before.high) != (-np.inf, np.inf)
    ):
        return False
    scale, shift = _affine(node, arrays)
    if len(readers_of(nodes, before.seen[-1])) != 1 or not (scale > 0).all():
        return False
    _scale(before, scale, shift)
    pool.seen = (node.name,)
    return True


def _scale(layer: Wanted, scale: Reals, shift: Reals) -> None:
    """Every output channel times a factor, and something added."""
    assert layer.weights is not None and layer.bias is not None
    axes = (1, -1, 1, 1) if isinstance(layer.node.layer, ConvTranspose2D) else (-1, *[1] * (layer.weights.ndim - 1))
    layer.weights = layer.weights * scale.reshape(axes)
    layer.bias = layer.bias * scale + shift


def _affine(node: Node, arrays: dict[str, NDArray[np.float32]]) -> tuple[Reals, Reals]:
    """What a batch normalisation multiplies a channel by, and what it adds."""
    layer = node.layer
    assert isinstance(layer, BatchNorm)
    mean, variance = (arrays[f"{node.name}.{part}"].astype(np.float64) for part in ("running_mean", "running_var"))
    gamma = arrays[f"{node.name}.weights"].astype(np.float64) if layer.scale else np.ones(layer.channels)
    beta = arrays[f"{node.name}.bias"].astype(np.float64) if layer.shift else np.zeros(layer.channels)
    scale = gamma / np.sqrt(variance + layer.eps)
    return scale, beta - mean * scale


def _folded(net: Network) -> dict[str, tuple[Reals, Reals]]:
    """Name of a batch normalisation that the planner folds into the layer before it → that layer's weights and bias
    then, in the public layouts, as the float32 program has them."""
    compiled = net.programs.compile(Request(INFERENCE, 1))
    net.programs.refresh(compiled)
    slots, found = net.store.slots, {}
    for fold in compiled.plan.folds:
        slot = slots[fold.weights]
        start = fold.weights_offset // 4
        weights = unpack(slot, compiled.constants[start : start + slot.count]).astype(np.float64)
        start = fold.bias_offset // 4
        bias = compiled.constants[start : start + slot.groups * slot.columns].astype(np.float64)
        found[fold.norm] = weights, bias
    return found


def _made(node: Node, inputs: list[str], arrays: dict[str, NDArray[np.float32]]) -> list[Wanted]:
    """The layer, or layers, of the integer part for one of the network."""
    layer = node.layer
    known, seen = replace(node, inputs=tuple(inputs)), (node.name,)
    if isinstance(layer, WEIGHTED):
        bias = arrays.get(f"{node.name}.bias")
        count = layer.out_features if isinstance(layer, Linear) else layer.out_channels
        weights = arrays[f"{node.name}.weights"].astype(np.float64)
        added = np.zeros(count) if bias is None else bias.astype(np.float64)
        return [Wanted(replace(known, layer=replace(layer, bias=True)), seen, weights, added)]
    if isinstance(layer, BatchNorm) or (isinstance(layer, Scale) and layer.channels is not None):
        return [_depthwise(known, arrays)]
    if isinstance(layer, Add) and len(inputs) > 2:
        made: list[Wanted] = []
        total = inputs[0]
        for number, term in enumerate(inputs[1:], 2):
            last = number == len(inputs)
            name = node.name if last else f"{node.name}/sum{number}"
            made.append(Wanted(Node(name, layer, (total, term), node.shape), seen if last else node.inputs[:number]))
            total = name
        return made
    return [Wanted(known, seen)]


def _depthwise(node: Node, arrays: dict[str, NDArray[np.float32]]) -> Wanted:
    """A factor, and something added, for each channel of a map, as a convolution of 1x1 that mixes none."""
    layer, channels = node.layer, node.shape[0]
    if len(node.shape) != 3:
        raise UserError(
            f"layers that cannot be quantised: {node.name!r} ({layer_name(layer)}: of vectors it must directly follow "
            "a linear layer)"
        )
    if isinstance(layer, BatchNorm):
        scale, shift = _affine(node, arrays)
    else:
        scale, shift = arrays[f"{node.name}.weights"].astype(np.float64), np.zeros(channels)
    each = Conv2D(channels, channels, 1, groups=channels)
    return Wanted(replace(node, layer=each), (node.name,), scale.reshape(-1, 1, 1, 1), shift)
