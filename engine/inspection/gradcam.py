"""Where in an image a network sees a class: Grad-CAM (Selvaraju et al. 2017)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.arguments import assign, integer
from engine.errors import UserError, unknown
from engine.inspection.activations import activations
from engine.layers import Conv2D, Dropout, Layer, Shape, Softmax
from engine.layers.patterns import layers_with_parameters
from engine.layers.topology import Topology, checked_topology, make_node
from engine.losses import LABELS, NumPyLoss
from engine.network.network import Network

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Heat:
    """What `gradcam` says of n images.

    layer    whose maps were weighted
    classes  the class of each image, (n,)
    weights  of the layer's channels, float64 (n, C): alpha in the paper's equation 1
    maps     float64 (n, h, w) in the size of the layer's maps, 0 and above: its equation 2
    """

    layer: str
    classes: NDArray[np.int64]
    weights: NDArray[np.float64]
    maps: NDArray[np.float64]


@dataclass(frozen=True)
class ClassScore(NumPyLoss):
    """The sum over the batch of the score that each sample has for its label, before a softmax."""

    absorbs: ClassVar[type[Layer] | None] = Softmax
    ops: ClassVar[dict[str, str]] = {LABELS: "copy_channels"}

    def check_output(self, shape: Shape) -> None:
        if len(shape) != 1:
            raise UserError(f"Grad-CAM needs a classifier, but the network's output has shape {shape}")

    def compute(self, scores: NDArray[Any], targets: NDArray[Any]) -> tuple[Any, Any]:
        hot = np.arange(scores.shape[1]) == targets[:, None]
        return (scores * hot).sum(dtype=np.float64), hot.astype(np.float32)


def gradcam(net: Network, x: Array, layer: str | None = None, classes: int | Sequence[int] | None = None) -> Heat:
    """The places of images (n, C, H, W), float32 as the network takes them, that speak for a class, by the maps of a
    layer: relu(sum over its channels of alpha * map), alpha the mean over the map's pixels of the gradient of the
    class's score (before a softmax) by them, in inference mode.

    layer    a layer whose output is a map (None: the last convolution)
    classes  of all images, or of each (None: the one that the network predicts)

    The network is planned once more with a convolution of 1x1 behind that layer, a channel for itself, that changes
    nothing: weights 1, bias 0. The gradient by its bias, from the ordinary program of gradients with all other layers
    frozen, is the sum over the pixels of the gradient by the map. UserError for a network, layer or class that cannot
    be.
    """
    ClassScore().check_output(net.output_shape)
    name = picked_layer(net, layer)
    scores = net.predict(x)
    chosen = _classes(scores, classes)
    probe, tap = _tapped(net, name)
    channels, height, width = net.topology.shape_of(name)
    others = [each for each in layers_with_parameters(probe.topology) if each != tap]
    weights = np.empty((len(x), channels))
    for sample in range(len(x)):
        part = slice(sample, sample + 1)
        _, gradients = probe.execution.loss_and_gradients(x[part], chosen[part], ClassScore(), freeze=others)
        weights[sample] = gradients[f"{tap}.bias"].astype(np.float64) / (height * width)
    maps = activations(net, x, [name])[name].astype(np.float64)
    heat = np.maximum(np.einsum("nc,nchw->nhw", weights, maps), 0.0)
    return Heat(name, chosen, weights, heat)


def picked_layer(net: Network, layer: str | None) -> str:
    """The layer of that name, or the last convolution; UserError for one whose output is no map."""
    if layer is None:
        found = [name for name, each in net.layers.items() if isinstance(each, Conv2D)]
        if not found:
            raise UserError("Grad-CAM needs a layer whose output is a map, and the network has no convolution")
        return found[-1]
    if layer not in net.layers:
        raise unknown("layer", layer, net.layers)
    shape = net.topology.shape_of(layer)
    if len(shape) != 3:
        raise UserError(f"Grad-CAM needs a layer whose output is a map, but that of {layer!r} has shape {shape}")
    return layer


def _classes(scores: Array, given: int | Sequence[int] | None) -> NDArray[np.int64]:
    count = scores.shape[1]
    if given is None:
        return scores.argmax(axis=1).astype(np.int64)
    each = [given] * len(scores) if isinstance(given, (int, np.integer)) else list(given)
    if len(each) != len(scores):
        raise UserError(f"Grad-CAM: {len(each)} classes for {len(scores)} images")
    return np.array([integer("Grad-CAM", "class", number, 0, count - 1) for number in each], np.int64)


def _tapped(net: Network, layer: str) -> tuple[Network, str]:
    """The network with nothing dropped and a convolution behind `layer` that changes nothing, and that one's name."""
    topology: Topology = net.topology
    shape = topology.shape_of(layer)
    tap = f"{layer}/tap"
    while tap in net.layers:
        tap += "'"
    node = make_node(tap, Conv2D(shape[0], shape[0], 1, groups=shape[0]), [layer], [shape])
    nodes = []
    for each in topology.nodes:
        inputs = tuple(tap if name == layer else name for name in each.inputs)
        nodes.append(replace(each, layer=_kept(each.layer), inputs=inputs))
        if each.name == layer:
            nodes.append(node)
    output = tap if topology.output == layer else topology.output
    ones = {f"{tap}.weights": np.ones((shape[0], 1, 1, 1), np.float32), f"{tap}.bias": np.zeros(shape[0], np.float32)}
    arrays = {**net.parameters(), **ones}, net.buffers()
    return Network(checked_topology(topology.input_shape, nodes, output), arrays=arrays), tap


def _kept(layer: Layer) -> Layer:
    """The layer without what it drops in training."""
    if not isinstance(layer, Dropout):
        return layer
    changed = copy.copy(layer)
    assign(changed, rate=0.0)
    return changed
