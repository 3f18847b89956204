"""Residual networks: those of the paper for CIFAR-10, and ResNet-18."""

from __future__ import annotations

from engine.arguments import integer
from engine.layers import (
    Add,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Layer,
    MaxPool2D,
    PadChannels,
    ReLU,
)
from engine.models.blocks import Initializer, chain, headed
from engine.network.graph import Graph, Network


def resnet20(
    classes: int = 10, channels: int = 3, input_size: int = 32, seed: int = 0, initializer: Initializer = "he_normal"
) -> Network:
    """ResNet-20 for CIFAR-10 (He et al. 2016, section 4.2), 0.27 million parameters.

    Three stages of three blocks with 16, 32 and 64 channels; where a stage begins, the shortcut takes every second
    pixel and has zeros for the new channels (option A).
    """
    return _cifar(3, classes, channels, input_size, seed, initializer)


def resnet56(
    classes: int = 10, channels: int = 3, input_size: int = 32, seed: int = 0, initializer: Initializer = "he_normal"
) -> Network:
    """ResNet-56 for CIFAR-10 (He et al. 2016, section 4.2), 0.85 million parameters.

    As ResNet-20, with nine blocks in a stage.
    """
    return _cifar(9, classes, channels, input_size, seed, initializer)


def resnet18(
    classes: int = 1000, channels: int = 3, input_size: int = 224, seed: int = 0, initializer: Initializer = "he_normal"
) -> Network:
    """ResNet-18 (He et al. 2016, table 1), 11,689,512 parameters with 1000 classes, as torchvision's.

    Four stages of two blocks with 64, 128, 256 and 512 channels behind a 7x7 convolution and a pool; where a stage
    begins, the shortcut is a 1x1 convolution (option B).
    """
    size = integer("resnet18", "input_size", input_size, 32)
    graph = Graph((channels, size, size), seed=seed, initializer=initializer)
    source = chain(graph, graph.input, "stem", [Conv2D(channels, 64, 7, 2, 3, bias=False), BatchNorm(64), ReLU()])
    source = graph.add(MaxPool2D(3, 2, 1), source, name="stem_pool")
    width = 64
    for stage, filters in enumerate((64, 128, 256, 512), 1):
        for block in (1, 2):
            stride = 2 if block == 1 and stage > 1 else 1
            shortcut: list[Layer] = []
            if width != filters:
                shortcut = [Conv2D(width, filters, 1, stride, bias=False), BatchNorm(filters)]
            source = _block(graph, source, f"stage{stage}_block{block}", width, filters, stride, shortcut)
            width = filters
    return headed(graph, source, [], width, classes)


def _cifar(blocks: int, classes: int, channels: int, input_size: int, seed: int, initializer: Initializer) -> Network:
    size = integer("resnet", "input_size", input_size, 4)
    graph = Graph((channels, size, size), seed=seed, initializer=initializer)
    source = chain(graph, graph.input, "stem", [Conv2D(channels, 16, 3, 1, 1, bias=False), BatchNorm(16), ReLU()])
    width = 16
    for stage, filters in enumerate((16, 32, 64), 1):
        for block in range(1, blocks + 1):
            stride = 2 if block == 1 and stage > 1 else 1
            shortcut: list[Layer] = []
            if width != filters:
                shortcut = [AvgPool2D(1, 2), PadChannels((filters - width) // 2)]
            source = _block(graph, source, f"stage{stage}_block{block}", width, filters, stride, shortcut)
            width = filters
    return headed(graph, source, [], width, classes)


def _block(graph: Graph, source: str, name: str, width: int, filters: int, stride: int, shortcut: list[Layer]) -> str:
    """Two 3x3 convolutions, added to what came in, which goes through `shortcut`."""
    body: list[Layer] = [
        Conv2D(width, filters, 3, stride, 1, bias=False),
        BatchNorm(filters),
        ReLU(),
        Conv2D(filters, filters, 3, 1, 1, bias=False),
        BatchNorm(filters),
    ]
    added = graph.add(
        Add(),
        chain(graph, source, name, body),
        chain(graph, source, f"{name}_shortcut", shortcut),
        name=f"{name}_add",
    )
    return graph.add(ReLU(), added, name=f"{name}_relu")
