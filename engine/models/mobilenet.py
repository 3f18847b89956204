"""MobileNet V2."""

from __future__ import annotations

from engine.arguments import integer, number
from engine.layers import Add, BatchNorm, Conv2D, Dropout, Layer, ReLU6
from engine.models.blocks import Initializer, chain, headed
from engine.network.graph import Graph, Network

# Expansion, channels, blocks, stride of the first block: table 2 of the paper.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
STEP = 8  # channels are a multiple of it


def mobilenet_v2(
    classes: int = 1000,
    width: float = 1.0,
    channels: int = 3,
    input_size: int = 224,
    dropout: float = 0.2,
    seed: int = 0,
    initializer: Initializer = "he_normal",
) -> Network:
    """MobileNet V2 (Sandler et al. 2018, table 2), 3,504,872 parameters at width 1 with 1000 classes, as torchvision's.

    `width` is the factor on all channels, which are rounded to multiples of 8, but for the last 1280, which never
    shrink. An inverted bottleneck is a 1x1 convolution that widens, a 3x3 depthwise one, and a 1x1 that narrows.
    """
    factor = number("mobilenet_v2", "width", width, 0.0, 8.0, above=True)
    size = integer("mobilenet_v2", "input_size", input_size, 32)
    graph = Graph((channels, size, size), seed=seed, initializer=initializer)
    inputs = _rounded(32 * factor)
    stem: list[Layer] = [Conv2D(channels, inputs, 3, 2, 1, bias=False), BatchNorm(inputs), ReLU6()]
    source = chain(graph, graph.input, "stem", stem)
    for stage, (expansion, outputs, blocks, first_stride) in enumerate(STAGES, 1):
        filters = _rounded(outputs * factor)
        for block in range(1, blocks + 1):
            stride = first_stride if block == 1 else 1
            name = f"stage{stage}_block{block}"
            end = chain(graph, source, name, _bottleneck(inputs, filters, expansion, stride))
            skips = stride == 1 and inputs == filters
            source = graph.add(Add(), source, end, name=f"{name}_add") if skips else end
            inputs = filters
    features = _rounded(1280 * max(1.0, factor))
    last: list[Layer] = [Conv2D(inputs, features, 1, bias=False), BatchNorm(features), ReLU6()]
    drop: list[Layer] = [Dropout(dropout)] if dropout else []
    return headed(graph, chain(graph, source, "features", last), drop, features, classes)


def _bottleneck(inputs: int, filters: int, expansion: int, stride: int) -> list[Layer]:
    inner = inputs * expansion
    widen: list[Layer] = [Conv2D(inputs, inner, 1, bias=False), BatchNorm(inner), ReLU6()] if expansion > 1 else []
    depthwise: list[Layer] = [Conv2D(inner, inner, 3, stride, 1, groups=inner, bias=False), BatchNorm(inner), ReLU6()]
    return [*widen, *depthwise, Conv2D(inner, filters, 1, bias=False), BatchNorm(filters)]


def _rounded(channels: float) -> int:
    """The nearest multiple of 8, at least 8, and never below 0.9 of `channels` (the authors' rule)."""
    nearest = max(STEP, int(channels + STEP / 2) // STEP * STEP)
    return nearest + STEP if nearest < 0.9 * channels else nearest
