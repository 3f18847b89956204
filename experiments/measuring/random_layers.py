"""Blocks of random networks with the layers of residual networks, MobileNets and U-Nets. Each leaves a feature map."""

from __future__ import annotations

from collections.abc import Callable

from engine.layers import (
    Add,
    BatchNorm,
    Concat,
    Conv2D,
    ConvTranspose2D,
    Dropout2D,
    GlobalAvgPool2D,
    GroupNorm,
    Hardsigmoid,
    InstanceNorm,
    Layer,
    LayerNorm,
    Linear,
    Multiply,
    Pad2D,
    PadChannels,
    Scale,
    Sigmoid,
    StochasticDepth,
    Upsample2D,
)
from experiments.measuring.growing import Growing

LARGEST = 30  # rows and columns of a map that is still made larger
MODES = ("zeros", "reflect", "replicate")


def normalisation(grow: Growing) -> Layer:
    """Of any kind, with or without scale and shift."""
    channels = grow.shape[0]
    given = {"scale": grow.either(0.7), "shift": grow.either(0.7)}
    divisors = [groups for groups in range(1, channels + 1) if channels % groups == 0]
    choices: list[Layer] = [BatchNorm(channels, **given), LayerNorm(channels, **given)]
    if grow.shape[1] * grow.shape[2] > 1:  # of one value there is no variance
        groups = divisors[grow.between(0, len(divisors) - 1)]
        choices += [GroupNorm(groups, channels, **given), InstanceNorm(channels, **given)]
    elif channels == 1:
        del choices[1]
    return choices[grow.between(0, len(choices) - 1)]


def sides(grow: Growing, most: int) -> tuple[int, int, int, int]:
    """A padding of less than the map's height and width, so that it can be mirrored."""
    _, height, width = grow.shape
    rows, columns = min(most, height - 1), min(most, width - 1)
    return grow.between(0, rows), grow.between(0, rows), grow.between(0, columns), grow.between(0, columns)


def mode(grow: Growing) -> str:
    return MODES[grow.between(0, len(MODES) - 1)]


def normalised(grow: Growing) -> None:
    channels, out = grow.shape[0], grow.between(1, 12)
    grow.add(Conv2D(channels, out, 3, 1, 1, bias=grow.either()))
    grow.add(normalisation(grow))
    grow.activation()


def padded(grow: Growing) -> None:
    """A padding as a layer of its own, and one of a convolution, which a pool of the planner's may follow."""
    grow.add(Pad2D(sides(grow, 3), mode(grow)))
    channels, height, width = grow.shape
    kernel = grow.between(1, min(4, height)), grow.between(1, min(4, width))
    stride = grow.between(1, 2), grow.between(1, 2)
    out = grow.between(1, 12)
    grow.add(Conv2D(channels, out, kernel, stride, sides(grow, 2), padding_mode=mode(grow), bias=grow.either(0.8)))
    grow.activation()


def upsampled(grow: Growing) -> None:
    """Larger, and a convolution of that, as a U-Net's decoder."""
    channels, height, width = grow.shape
    if max(height, width) <= LARGEST:
        scale = grow.between(1, 2), grow.between(1, 3)
        bilinear = grow.either(0.6)
        grow.add(Upsample2D(scale, "bilinear" if bilinear else "nearest", bilinear and grow.either()))
    grow.add(Conv2D(channels, grow.between(1, 9), 3, 1, 1))
    grow.activation()


def transposed(grow: Growing) -> None:
    channels, height, width = grow.shape
    stride = (grow.between(1, 3), grow.between(1, 2)) if max(height, width) <= LARGEST else (1, 1)
    kernel, dilation = (grow.between(1, 4), grow.between(1, 4)), (grow.between(1, 2), grow.between(1, 2))
    more = grow.between(0, stride[0] - 1), grow.between(0, stride[1] - 1)
    # What is cut off leaves a row and a column at the least.
    spans = [
        (size - 1) * step + reach * (extent - 1) + 1 + extra
        for size, step, reach, extent, extra in zip((height, width), stride, dilation, kernel, more, strict=True)
    ]
    cuts = [
        min(2, reach * (extent - 1), (span - 1) // 2)
        for reach, extent, span in zip(dilation, kernel, spans, strict=True)
    ]
    padding = (*(grow.between(0, cuts[0]) for _ in range(2)), *(grow.between(0, cuts[1]) for _ in range(2)))
    groups = channels if grow.either(0.3) else 1
    out = groups * grow.between(1, max(1, 9 // groups))
    grow.add(ConvTranspose2D(channels, out, kernel, stride, padding, more, groups, grow.either(0.8), dilation))
    if grow.either(0.3):
        grow.add(normalisation(grow))
    grow.activation()


def excited(grow: Growing) -> None:
    """Squeeze and excitation: every channel times a factor that is computed from the whole map."""
    source, channels = grow.last, grow.shape[0]
    grow.add(GlobalAvgPool2D())
    hidden = grow.between(2, 6)
    grow.add(Linear(channels, hidden))
    grow.activation()
    grow.add(Linear(hidden, channels))
    grow.add(Sigmoid() if grow.either() else Hardsigmoid())
    grow.add(Multiply(), *((grow.last, source) if grow.either() else (source, grow.last)))


def gated(grow: Growing) -> None:
    """The product of two convolutions of one map."""
    source, channels = grow.last, grow.shape[0]
    out = grow.between(1, 9)
    first = grow.add(Conv2D(channels, out, 3, 1, 1), source)
    grow.add(Conv2D(channels, out, 1), source)
    grow.activation()
    grow.add(Multiply(), first, grow.last)


def scaled(grow: Growing) -> None:
    grow.add(Scale(channels=grow.shape[0]) if grow.either(0.6) else Scale(float(grow.random.uniform(-2.0, 2.0))))
    if grow.either():
        grow.activation()


def skipped(grow: Growing) -> None:
    """A residual branch that gets wider beside a shortcut without weights, dropped by channel or as a whole."""
    source, channels = grow.last, grow.shape[0]
    before, after = grow.between(0, 2), grow.between(0, 2)
    shortcut = grow.add(PadChannels(before, after), source) if before or after else source
    grow.add(Conv2D(channels, channels + before + after, 3, 1, 1), source)
    grow.add(normalisation(grow))
    grow.activation()
    grow.add(Dropout2D(0.3) if grow.either() else StochasticDepth(0.3))
    grow.add(Add(), *((grow.last, shortcut) if grow.either() else (shortcut, grow.last)))


def encoded(grow: Growing) -> None:
    """Half the size and back, beside the map itself, as a level of a U-Net."""
    source, (channels, height, width) = grow.last, grow.shape
    if height % 2 or width % 2:
        return normalised(grow)
    out = grow.between(1, 9)
    grow.add(Conv2D(channels, out, 3, 2, 1))
    grow.add(normalisation(grow))
    grow.activation()
    if grow.either():
        grow.add(ConvTranspose2D(out, out, 2, 2))
    else:
        grow.add(Upsample2D(2, "bilinear"))
    grow.add(Concat(), source, grow.last)


LATER_BLOCKS: tuple[Callable[[Growing], None], ...] = (
    normalised, padded, upsampled, transposed, excited, gated, scaled, skipped, encoded,
) * 2  # fmt: skip
