"""A small U-Net."""

from __future__ import annotations

from engine.arguments import integer
from engine.errors import UserError
from engine.layers import BatchNorm, Concat, Conv2D, ConvTranspose2D, Layer, MaxPool2D, ReLU
from engine.models.blocks import Initializer, chain
from engine.network.graph import Graph, Network


def unet(
    classes: int = 2,
    channels: int = 1,
    width: int = 16,
    depth: int = 2,
    input_size: int = 32,
    seed: int = 0,
    initializer: Initializer = "he_normal",
) -> Network:
    """A U-Net with padding and batch normalisation (Ronneberger, Fischer & Brox 2015, figure 1).

    It gives a score of each class for every pixel, and is trained with PixelCrossEntropy. `depth` pools halve the map
    and double the filters, which are `width` at first; as many transposed convolutions of 2x2 take it up again, each
    joined with the map of its size from the way down. Two 3x3 convolutions at each level.
    """
    depth = integer("unet", "depth", depth, 1, 8)
    size = integer("unet", "input_size", input_size, 1)
    if size % (1 << depth):
        raise UserError(f"unet: input_size {size} is no multiple of {1 << depth}, as {depth} pools want it")
    graph = Graph((channels, size, size), seed=seed, initializer=initializer)
    source, inputs, filters = graph.input, channels, width
    passed: list[str] = []
    for level in range(1, depth + 1):
        source = chain(graph, source, f"down{level}", _level(inputs, filters))
        passed.append(source)
        source = graph.add(MaxPool2D(2), source, name=f"down{level}_pool")
        inputs, filters = filters, 2 * filters
    source = chain(graph, source, "bottom", _level(inputs, filters))
    for level in range(depth, 0, -1):
        up = graph.add(ConvTranspose2D(filters, filters // 2, 2, stride=2), source, name=f"up{level}_larger")
        joined = graph.add(Concat(), passed.pop(), up, name=f"up{level}_joined")
        source = chain(graph, joined, f"up{level}", _level(filters, filters // 2))
        filters //= 2
    graph.output = graph.add(Conv2D(filters, classes, 1), source, name="scores")
    return graph


def _level(inputs: int, filters: int) -> list[Layer]:
    layers: list[Layer] = []
    for count in (inputs, filters):
        layers += [Conv2D(count, filters, 3, padding=1, bias=False), BatchNorm(filters), ReLU()]
    return layers
