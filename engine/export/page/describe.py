"""A trained classifier, in float32 or quantised, as numbers and texts that the page's script runs: all geometry
resolved, weights one behind the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.arguments import pair
from engine.data.preprocess import SCALES, Preprocess
from engine.data.steps import ENLARGE_FACTOR, SMALL_SIDE, Reverse, describe_step, works_in_pixels
from engine.errors import UserError
from engine.inference.ensemble import Member
from engine.layers import (
    AvgPool2D,
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    Dropout,
    Flatten,
    Layer,
    MaxPool2D,
    Pad2D,
    Upsample2D,
    layer_name,
)
from engine.layers.normalization import GroupNorm, InstanceNorm, LayerNorm
from engine.layers.topology import INPUT, Node
from engine.network.network import Network
from engine.program.shapes import Shape
from engine.quantize.body import Body
from engine.quantize.network import AnyNetwork, QuantizedNetwork

MOST_BYTES = 48 << 20  # of weights: a page of 64 MiB, which is much for a phone


def _convolution(layer: Conv2D | ConvTranspose2D, shape: Shape) -> dict[str, Any]:
    settings = {
        "kernel": pair(layer.kernel),
        "stride": pair(layer.stride),
        "dilation": pair(layer.dilation),
        "groups": layer.groups,
        "pads": layer.pads(*shape[1:]),
    }
    return settings | ({"padding_mode": layer.padding_mode} if isinstance(layer, Conv2D) else {})


def _pool(layer: MaxPool2D | AvgPool2D, shape: Shape) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "kernel": pair(layer.kernel),
        "stride": pair(layer.kernel if layer.stride is None else layer.stride),
        "padding": pair(layer.padding),
    }
    return settings | ({"count_include_pad": layer.count_include_pad} if isinstance(layer, AvgPool2D) else {})


def _grouped(layer: GroupNorm | LayerNorm | InstanceNorm, shape: Shape) -> dict[str, Any]:
    groups, _, eps, *_ = layer.settings()
    return {"groups": groups, "eps": eps}


# What the script has to know of a layer whose arguments leave something open: kind → its settings for an input's shape.
SETTINGS: Mapping[type[Layer], Callable[[Any, Shape], dict[str, Any]]] = {
    Conv2D: _convolution,
    ConvTranspose2D: _convolution,
    MaxPool2D: _pool,
    AvgPool2D: _pool,
    Pad2D: lambda layer, shape: {"pads": layer.pads(*shape[1:]), "mode": layer.mode},
    Upsample2D: lambda layer, shape: {**layer.arguments(), "scale": pair(layer.scale)},
    BatchNorm: lambda layer, shape: {"eps": layer.eps},
    GroupNorm: _grouped,
    LayerNorm: _grouped,
    InstanceNorm: _grouped,
}
UNSEEN = (Flatten, Dropout)  # layers that give what they get, and have no maps of their own in the page


def description(member: Member, kinds: frozenset[str], paper: str | None = None) -> tuple[dict[str, Any], bytes]:
    """What the page's script runs, but for the weights, and these as bytes, little-endian.

    kinds: names of the layers that the script has. paper: "black" or "white", of the sheet that is drawn on; None:
    white where the preprocessing reverses images or takes colours, else black, as MNIST has it. UserError, which names
    the layer, for a network that the page cannot run: one with a layer of another kind, one that takes no images, one
    with NaN or infinity in it, or one with more than MOST_BYTES of weights.
    """
    net, source = member.net, member.source
    for node in net.topology.nodes:
        if layer_name(node.layer) not in kinds:
            raise UserError(f"{source}: layer {node.name!r}, {layer_name(node.layer)}, is none that a page can run")
    if len(net.input_shape) != 3:
        raise UserError(
            f"{source}: the network takes {net.input_shape[0]} numbers and no image, so a page has none to show"
        )
    arrays = _arrays(net)
    size = sum(array.nbytes for array in arrays.values())
    if size > MOST_BYTES:
        raise UserError(
            f"{source}: the network has {size / 1e6:.0f} MB of weights, and a page holds {MOST_BYTES / 1e6:.0f} MB"
        )
    places: dict[str, dict[str, Place]] = {}
    start = 0
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise UserError(f"{source}: {name} holds NaN or infinite values, so nothing could be said of any picture")
        layer, _, part = name.rpartition(".")
        places.setdefault(layer, {})[part] = {"type": array.dtype.name, "start": start, "count": array.size}
        start += array.nbytes
    told: dict[str, Any] = {
        "input": list(net.input_shape),
        "output": net.topology.output,
        "classes": member.class_names,
        "paper": paper or ("white" if _on_white(member.preprocess) else "black"),
        "preprocess": preprocessing(member.preprocess),
        "nodes": [_node(net, node, places.get(node.name, {})) for node in net.topology.nodes],
    }
    if isinstance(net, QuantizedNetwork):
        entry = net.body.encodings[INPUT]
        told["entry"] = {"scale": entry.scale, "zero": entry.zero}
    return told, b"".join(array.astype(array.dtype.newbyteorder("<")).tobytes() for array in arrays.values())


Place = dict[str, str | int]
"""Where an array lies in the bytes: its type, its first byte and the number of its elements."""


def _arrays(net: AnyNetwork) -> dict[str, NDArray[Any]]:
    """All arrays by "LAYER.ARRAY": of layers of integers int8, int32 and uint8, else float32."""
    if isinstance(net, Network):
        return {**net.parameters(), **net.buffers()}
    ends = [_arrays(part) for part in (net.head, net.tail) if part is not None]
    return {**net.body.arrays, **{name: array for end in ends for name, array in end.items()}}


def _integers(body: Body, node: Node) -> dict[str, Any]:
    """How an integer layer's codes stand for numbers, the bounds that they stay in, the zero points of what it
    reads."""
    encoding, clamp = body.encodings[node.name], body.clamp(node.name)
    before = [body.encodings[name].zero for name in node.inputs]
    return {"scale": encoding.scale, "zero": encoding.zero, "low": clamp.low, "high": clamp.high, "before": before}


def _node(net: AnyNetwork, node: Node, places: Mapping[str, Place]) -> dict[str, Any]:
    layer, shape = node.layer, net.topology.shape_of(node.inputs[0])
    settings = SETTINGS.get(type(layer))
    body = net.body if isinstance(net, QuantizedNetwork) and node.name in net.body.encodings else None
    return {
        "name": node.name,
        "layer": layer_name(layer),
        "title": f"{node.name}: {layer}",
        "hidden": isinstance(layer, UNSEEN),
        "settings": settings(layer, shape) if settings else layer.arguments(),
        "inputs": list(node.inputs),
        "shape": list(node.shape),
        "arrays": places,
        "integers": None if body is None else _integers(body, body.topology.node(node.name)),
    }


def preprocessing(preprocess: Preprocess) -> dict[str, Any]:
    """What the script does to a picture. UserError where that is not decided yet (`standardise: set`)."""
    if preprocess.standardise == "set":
        raise UserError("preprocess standardise: set needs the training images first (Preprocess.fitted)")
    factor, offset = (1.0, 0.0) if preprocess.standardise == "image" else SCALES[preprocess.scale]
    steps = []
    for step in preprocess.steps:
        told = describe_step(step)
        steps.append({"name": told if isinstance(told, str) else next(iter(told)), "settings": vars(step)})
    return {
        "channels": preprocess.channels,
        "enlarge": {"below": SMALL_SIDE, "factor": ENLARGE_FACTOR} if works_in_pixels(preprocess.steps) else None,
        "steps": steps,
        "size": None if preprocess.size is None else list(preprocess.size),
        "factor": factor,
        "offset": offset,
        "mean": list(preprocess.mean) or [0.0],
        "std": list(preprocess.std) or [1.0],
        "per_image": preprocess.per_image,
        "standardise": preprocess.standardise,
    }


def _on_white(preprocess: Preprocess) -> bool:
    return preprocess.colour or any(isinstance(step, Reverse) for step in preprocess.steps)
