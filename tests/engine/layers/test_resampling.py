"""Padding and upsampling in a network: what they compute, their gradients, how a convolution's padding is lowered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import (
    AvgPool2D,
    Conv2D,
    CrossEntropy,
    Flatten,
    Linear,
    Pad2D,
    PadChannels,
    Sequential,
    Tanh,
    Upsample2D,
)
from engine.layers import Layer
from engine.network.network import Network
from engine.recipe.build import build_network
from engine.recipe.config import ModelConfig
from tests.engine.layers.differences import check_by_differences, gradients_on

RANDOM = np.random.default_rng(11)
IMAGES = RANDOM.normal(size=(9, 3, 7, 6)).astype(np.float32)
LABELS = RANDOM.integers(0, 4, 9)

NUMPY = {"zeros": "constant", "reflect": "reflect", "replicate": "edge"}


def padded(x: NDArray[Any], top: int, bottom: int, left: int, right: int, mode: str) -> NDArray[Any]:
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), NUMPY[mode])  # type: ignore[call-overload]


@pytest.mark.parametrize("mode", NUMPY)
@pytest.mark.parametrize(
    ("padding", "sides"), [(2, (2, 2, 2, 2)), ((1, 3), (1, 1, 3, 3)), ((0, 4, 5, 1), (0, 4, 5, 1))], ids=str
)
def test_padding_is_that_of_numpy(padding: Any, sides: tuple[int, int, int, int], mode: str) -> None:
    found = Sequential([Pad2D(padding, mode)], IMAGES.shape[1:]).predict(IMAGES)
    assert np.array_equal(found, padded(IMAGES, *sides, mode))


@pytest.mark.parametrize("after", [None, 0, 4])
def test_channels_of_zeros_stand_round_maps_and_vectors(after: int | None) -> None:
    behind = 2 if after is None else after
    for x in (IMAGES, IMAGES[:, :, 0, 0]):
        widths = [(0, 0), (2, behind), *[(0, 0)] * (x.ndim - 2)]
        found = Sequential([PadChannels(2, after)], x.shape[1:]).predict(x)
        assert np.array_equal(found, np.pad(x, widths))


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
@pytest.mark.parametrize("padding", [1, (0, 2, 1, 0), "same"], ids=str)
def test_a_convolution_pads_as_the_layer_does(padding: Any, mode: str) -> None:
    convolution = Conv2D(3, 5, (3, 4), 2, padding, padding_mode=mode)
    top, bottom, left, right = convolution.pads(7, 6)
    one = Sequential([convolution], (3, 7, 6), seed=2)
    two = Sequential([Pad2D((top, bottom, left, right), mode), Conv2D(3, 5, (3, 4), 2)], (3, 7, 6))
    two.load_parameters({f"1.{name}": one.parameters()[f"0.{name}"] for name in ("weights", "bias")})
    assert np.array_equal(one.predict(IMAGES), two.predict(IMAGES))
    plan = one.plan(batch=4)
    assert [each.op for each in plan.instructions if "pad" in each.op] == ["pad2d_forward"]


def test_a_mirror_is_smaller_than_what_it_shows() -> None:
    message = "reflect padding must be less than the extent that it mirrors, but a map of 7x6 has .* = \\(7, 0, 0, 0\\)"
    for layer in (Pad2D((7, 0, 0, 0), "reflect"), Conv2D(3, 4, 3, 1, (7, 0, 0, 0), padding_mode="reflect")):
        with pytest.raises(ValueError, match=f"{type(layer).__name__}: a {message}"):
            Sequential([layer], (3, 7, 6))


# Those of PyTorch's documentation.
HALF_PIXEL = [[1, 1.25, 1.75, 2], [1.5, 1.75, 2.25, 2.5], [2.5, 2.75, 3.25, 3.5], [3, 3.25, 3.75, 4]]
ALIGNED = [[1, 4 / 3, 5 / 3, 2], [5 / 3, 2, 7 / 3, 8 / 3], [7 / 3, 8 / 3, 3, 10 / 3], [3, 10 / 3, 11 / 3, 4]]
NEAREST = [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]


@pytest.mark.parametrize(
    ("layer", "wanted"),
    [
        (Upsample2D(2), NEAREST),
        (Upsample2D(2, "bilinear"), HALF_PIXEL),
        (Upsample2D(2, "bilinear", align_corners=True), ALIGNED),
    ],
    ids=str,
)
def test_upsampling_is_that_of_pytorch(layer: Layer, wanted: list[list[float]]) -> None:
    x = np.arange(1, 5, dtype=np.float32).reshape(1, 1, 2, 2)
    np.testing.assert_allclose(Sequential([layer], (1, 2, 2)).predict(x)[0, 0], wanted, rtol=2e-7)


@pytest.mark.parametrize("scale", [2, (1, 3)], ids=str)
def test_the_mean_of_each_block_is_the_pixel(scale: Any) -> None:
    net = Sequential([Upsample2D(scale), AvgPool2D(scale)], IMAGES.shape[1:])
    np.testing.assert_allclose(net.predict(IMAGES), IMAGES, rtol=1e-6)


LAYERS = [
    [Pad2D((1, 2, 0, 3)), PadChannels(2, 1)],
    [Pad2D((3, 1, 2, 4), "reflect")],
    [Pad2D((9, 1, 0, 4), "replicate")],
    [Upsample2D((2, 3))],
    [Upsample2D(2, "bilinear")],
    [Upsample2D((3, 2), "bilinear", align_corners=True)],
]


def network(layers: list[Layer]) -> Network:
    """Behind a convolution that learns, so that a gradient passes through the layers."""
    first = [Conv2D(3, 5, 3, padding=1, padding_mode="reflect"), Tanh(), *layers]
    channels, height, width = Sequential(first, (3, 7, 6)).output_shape
    rest = [Conv2D(channels, 4, 3, 2), Tanh(), Flatten()]
    return Sequential([*first, *rest, Linear(4 * ((height - 1) // 2) * ((width - 1) // 2), 4)], (3, 7, 6), seed=3)


@pytest.mark.parametrize("layers", LAYERS, ids=str)
def test_gradients_are_finite_differences(layers: list[Layer]) -> None:
    check_by_differences(network(layers), IMAGES, LABELS, CrossEntropy())


@pytest.mark.parametrize("layers", LAYERS, ids=str)
def test_the_same_bits_on_any_number_of_threads(layers: list[Layer]) -> None:
    alone = gradients_on(1, network(layers), IMAGES, LABELS, CrossEntropy())
    for threads in (2, 3):
        together = gradients_on(threads, network(layers), IMAGES, LABELS, CrossEntropy())
        assert all(np.array_equal(together[key], alone[key]) for key in alone)


def test_a_configuration_keeps_them() -> None:
    written = [
        {"Conv2D": {"in_channels": 3, "out_channels": 5, "kernel": 3, "padding": 1, "padding_mode": "reflect"}},
        {"Pad2D": {"padding": [1, 2, 0, 3], "mode": "replicate"}},
        {"PadChannels": 2},
        {"Upsample2D": {"scale": [2, 1], "mode": "bilinear", "align_corners": True}},
    ]
    layers = [
        Conv2D(3, 5, 3, 1, 1, padding_mode="reflect"),
        Pad2D((1, 2, 0, 3), "replicate"),
        PadChannels(2),
        Upsample2D((2, 1), "bilinear", True),
    ]
    section = ModelConfig(layers=written, input_shape=(3, 7, 6))
    assert build_network(section, seed=3).to_config() == Sequential(layers, (3, 7, 6), seed=3).to_config()
