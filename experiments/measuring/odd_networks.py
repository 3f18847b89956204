"""Networks of sizes that no kernel was written for: engines that like multiples of 8 or 16 show what they do else."""

from __future__ import annotations

import engine
from engine.layers import BatchNorm, Conv2D, Flatten, GlobalAvgPool2D, Linear, MaxPool2D, ReLU, Softmax


def odd_40(seed: int = 0) -> engine.Network:
    """3x40x40 to 10 classes: convolutions with 20, 44, 72 (5x5) and 96 filters, each pooled but the last."""
    layers = [
        Conv2D(3, 20, 3, padding=1), ReLU(), MaxPool2D(2),
        Conv2D(20, 44, 3, padding=1), ReLU(), MaxPool2D(2),
        Conv2D(44, 72, 5, padding=2), ReLU(), MaxPool2D(2),
        Conv2D(72, 96, 3, padding=1), ReLU(), Flatten(),
        Linear(96 * 5 * 5, 90), ReLU(), Linear(90, 10), Softmax(),
    ]  # fmt: skip
    return engine.Sequential(layers, (3, 40, 40), seed)


def odd_33(seed: int = 0) -> engine.Network:
    """1x33x33 to 11 classes: 7x7 with stride 2, batch normalisation, a 5x5 for each channel; 13, 27, 51, 37 filters."""
    layers = [
        Conv2D(1, 13, 7, stride=2, padding=3, bias=False), BatchNorm(13), ReLU(),
        Conv2D(13, 27, 3, padding=1, bias=False), BatchNorm(27), ReLU(), MaxPool2D(3, 2),
        Conv2D(27, 27, 5, padding=2, groups=27), ReLU(),
        Conv2D(27, 51, 1), ReLU(),
        Conv2D(51, 37, 3), ReLU(), GlobalAvgPool2D(),
        Linear(37, 11), Softmax(),
    ]  # fmt: skip
    return engine.Sequential(layers, (1, 33, 33), seed)
