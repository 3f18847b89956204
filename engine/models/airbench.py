"""A network for CIFAR-10 that reaches 94 % in ten epochs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.arguments import each, integer
from engine.errors import UserError, unknown
from engine.layers import GELU, BatchNorm, Conv2D, Flatten, Layer, Linear, MaxPool2D, ReLU, Scale, Softmax
from engine.models.blocks import Initializer
from engine.network.graph import Network, Sequential

WHITENED = 24  # filters of the first convolution: twice the 3 * 2 * 2 values of a patch
ACTIVATIONS: dict[str, Callable[[], Layer]] = {"gelu": GELU, "relu": ReLU}


def airbench94(
    widths: Sequence[int] = (64, 256, 256),
    activation: str = "gelu",
    classes: int = 10,
    seed: int = 0,
    initializer: Initializer = "dirac",
) -> Network:
    """The network of "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (Jordan 2024, section 3.1).

    A 2x2 convolution, whose 24 filters are to whiten the patches of the training images (the key `whiten`; drawn like
    all others without it), then three blocks of two 3x3 convolutions, a pool in front of the first of a block's two
    batch normalisations. These have no scale, and keep 0.6 of their running statistics at each step. The logits are
    divided by 9. `activation` is gelu (the paper's) or relu.
    """
    if activation not in ACTIVATIONS:
        raise unknown("activation", activation, ACTIVATIONS)
    active = ACTIVATIONS[activation]
    counts = each("airbench94", "widths", widths, lambda width: integer("airbench94", "widths", width, 1))
    if len(counts) != 3:
        raise UserError(f"airbench94: widths are three, one for each block, not {len(counts)}")
    layers: list[tuple[str, Layer]] = [("whiten", Conv2D(3, WHITENED, 2)), ("whiten_activation", active())]

    def add(kind: str, block: int, number: int, layer: Layer) -> None:
        layers.append((f"block{block}_{kind}{number}", layer))

    channels = WHITENED
    for block, width in enumerate(counts, 1):
        for number in (1, 2):
            add("conv", block, number, Conv2D(channels, width, 3, padding=1, bias=False))
            if number == 1:
                layers.append((f"block{block}_pool", MaxPool2D(2, 2)))
            add("norm", block, number, BatchNorm(width, eps=1e-12, momentum=0.4, scale=False))
            add("activation", block, number, active())
            channels = width
    layers += [("pool", MaxPool2D(3)), ("flatten", Flatten()), ("head", Linear(channels, classes, bias=False))]
    layers += [("scale", Scale(factor=1.0 / 9.0)), ("softmax", Softmax())]
    return Sequential(dict(layers), (3, 32, 32), seed, initializer)
