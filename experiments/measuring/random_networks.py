"""Random whole networks of odd shapes: every layer, branches, and every loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.layers import (
    Add,
    AvgPool2D,
    BatchNorm,
    Concat,
    Conv2D,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    Linear,
    MaxPool2D,
    ReLU,
    Softmax,
)
from engine.losses import BinaryCrossEntropy, CrossEntropy, Loss, MeanSquaredError
from engine.network.graph import Network
from experiments.measuring.growing import Growing, Random
from experiments.measuring.random_layers import LATER_BLOCKS

EVERY_ACTIVATION = 200  # number of the first network with any activation
EVERY_LAYER = 400  # ... and of the first with any layer


@dataclass(frozen=True)
class Sampled:
    """A network, its loss, and what its batches look like."""

    net: Network
    loss: Loss
    batch: int
    labels: bool  # integer labels, else float targets

    def inputs(self, random: Random, count: int) -> NDArray[np.float32]:
        return random.standard_normal((count, *self.net.input_shape)).astype(np.float32)

    def targets(self, random: Random) -> NDArray[Any]:
        classes = self.net.output_shape[0]
        if self.labels:
            return random.integers(0, classes, self.batch)
        values = random.random((self.batch, classes))
        if isinstance(self.loss, CrossEntropy):
            values /= values.sum(axis=1, keepdims=True)
        return values.astype(np.float32)


# ---- blocks: each leaves a feature map ------------------------------------------------------------------------------


def convolution(grow: Growing) -> None:
    """Odd kernels, strides, paddings, groups and dilations, as far as the image is large enough."""
    channels, height, width = grow.shape
    kernel = (grow.between(1, min(5, height)), grow.between(1, min(5, width)))
    fits = 2 * (kernel[0] - 1) < height, 2 * (kernel[1] - 1) < width
    dilation = grow.between(1, 1 + fits[0]), grow.between(1, 1 + fits[1])
    largest = 2 if min(height, width) > 5 else 1
    stride = grow.between(1, largest), grow.between(1, largest)
    sides = grow.between(0, 2), grow.between(0, 2), grow.between(0, 2), grow.between(0, 2)
    padding = "same" if grow.either(0.2) else sides
    divisors = [groups for groups in (1, 2, 3, channels) if channels % groups == 0]
    groups = divisors[grow.between(0, len(divisors) - 1)] if grow.either(0.4) else 1
    out = groups * grow.between(1, max(1, 18 // groups))
    grow.add(Conv2D(channels, out, kernel, stride, padding, dilation, groups, bias=grow.either(0.8)))
    if grow.either(0.3):
        grow.add(BatchNorm(out))
    if grow.either(0.85):
        grow.activation()


def fused(grow: Growing) -> None:
    """What the planner joins: convolution, ReLU, max-pool 2x2."""
    channels, height, width = grow.shape
    if min(height, width) < 4:
        return convolution(grow)
    grow.add(Conv2D(channels, grow.between(1, 20), 3, 1, 1))
    if grow.either(0.8):
        grow.add(ReLU())
    grow.add(MaxPool2D(2, 2))


def pooling(grow: Growing) -> None:
    _, height, width = grow.shape
    kernel = (grow.between(1, min(3, height)), grow.between(1, min(3, width)))
    stride = (grow.between(1, 2), grow.between(1, 3))
    padding = (grow.between(0, kernel[0] // 2), grow.between(0, kernel[1] // 2))
    if grow.either(0.6):
        grow.add(MaxPool2D(kernel, stride, padding, grow.either()))
    else:
        grow.add(AvgPool2D(kernel, stride, padding, grow.either(), grow.either()))


def residual(grow: Growing) -> None:
    """x + f(x), and an activation."""
    source, channels = grow.last, grow.shape[0]
    grow.add(Conv2D(channels, channels, 3, 1, 1, bias=grow.either()))
    if grow.either():
        grow.add(BatchNorm(channels))
    grow.activation()
    grow.add(Conv2D(channels, channels, (1, 3), 1, "same"))
    grow.add(Add(), *((grow.last, source) if grow.either() else (source, grow.last)))
    grow.activation()


def dense(grow: Growing) -> None:
    """The input beside two convolutions of it."""
    source, channels = grow.last, grow.shape[0]
    branches = [source]
    for kernel in (1, 3):
        grow.add(Conv2D(channels, grow.between(1, 9), kernel, 1, "same"), source)
        grow.activation()
        branches.append(grow.last)
    grow.add(Concat(), *branches)


def separable(grow: Growing) -> None:
    channels = grow.shape[0]
    grow.add(Conv2D(channels, 2 * channels, 3, 1, 1, groups=channels))
    grow.add(Conv2D(2 * channels, grow.between(1, 17), 1))
    grow.activation()


def dropout(grow: Growing) -> None:
    grow.add(Dropout(float(grow.random.uniform(0.1, 0.6))))


BLOCKS: tuple[Callable[[Growing], None], ...] = (
    convolution, convolution, convolution, fused, pooling, residual, dense, separable, dropout,
)  # fmt: skip


# ---- whole networks -------------------------------------------------------------------------------------------------


def head(grow: Growing) -> None:
    """From the map to a vector, some hidden layers, and the outputs."""
    grow.add(GlobalAvgPool2D() if grow.either(0.3) else Flatten())
    for _ in range(grow.between(0, 2)):
        grow.add(Linear(grow.shape[0], grow.between(5, 33), bias=grow.either(0.8)))
        if grow.either(0.3):
            grow.add(BatchNorm(grow.shape[0]))
        grow.activation()
        if grow.either(0.3):
            grow.add(Dropout(0.3))
    grow.add(Linear(grow.shape[0], grow.between(2, 17)))


def random_network(number: int, attempt: int = 0) -> Sampled:
    """The network of this number: always the same. Another `attempt` gives another one.

    Those from EVERY_ACTIVATION on have activations of every kind, those from EVERY_LAYER on also layers of every kind:
    the networks before stay what they were in earlier records.
    """
    random = np.random.default_rng([number, attempt, 0x6E6574])
    grow = Growing(random, number >= EVERY_ACTIVATION)
    blocks = BLOCKS + LATER_BLOCKS if number >= EVERY_LAYER else BLOCKS
    for _ in range(grow.between(1, 5)):
        blocks[grow.between(0, len(blocks) - 1)](grow)
    head(grow)
    losses: list[Loss] = [CrossEntropy(), CrossEntropy(0.1), MeanSquaredError(), BinaryCrossEntropy()]
    loss = losses[grow.between(0, len(losses) - 1)]
    if loss.absorbs is not None and grow.either():
        grow.add(loss.absorbs())
    elif isinstance(loss, MeanSquaredError) and grow.either():
        grow.add(Softmax())
    grow.graph.output = grow.last
    labels = isinstance(loss, CrossEntropy) and grow.either(0.7)
    return Sampled(grow.graph, loss, grow.between(4, 9), labels)
