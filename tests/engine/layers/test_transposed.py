"""The transposed convolution: held to the float64 oracle of the convolution that it transposes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import engine
from engine import ConvTranspose2D, Flatten, MeanSquaredError, Scale, Sequential, load
from engine.arguments import pair
from engine.network.network import Network
from engine.recipe.build import build_network
from engine.recipe.config import ModelConfig
from tests.engine.layers.differences import check_by_differences, gradients_on
from tests.ops import oracle

LAYERS = [
    ConvTranspose2D(6, 4, 3),
    ConvTranspose2D(6, 4, 2, 2),
    ConvTranspose2D(6, 5, 3, 2, 1, output_padding=1),
    ConvTranspose2D(6, 5, (4, 3), (3, 2), (0, 2, 1, 0), output_padding=(2, 0), bias=False),
    ConvTranspose2D(6, 9, 3, 2, groups=3, dilation=2),
    ConvTranspose2D(6, 6, (2, 5), (1, 3), (1, 2), groups=6, dilation=(3, 1)),
    ConvTranspose2D(6, 20, 1, 3, output_padding=2),
    ConvTranspose2D(6, 17, 3, padding=1),  # which Winograd's algorithm can compute
]
RANDOM = np.random.default_rng(8)
IMAGES = RANDOM.standard_normal((5, 6, 6, 5), np.float32)
each_layer = pytest.mark.parametrize("layer", LAYERS, ids=str)


def network(layer: ConvTranspose2D) -> Network:
    """A factor for each channel before it, whose gradient shows the one by the layer's input."""
    net = Sequential([Scale(channels=6), layer, Flatten()], IMAGES.shape[1:], seed=4)
    drawn = {key: array + RANDOM.normal(0, 0.3, array.shape) for key, array in net.parameters().items()}
    net.load_parameters(drawn)
    return net


def transposes(layer: ConvTranspose2D) -> oracle.Convolution:
    top, bottom, left, right = layer.pads(6, 5)
    return oracle.Convolution(pair(layer.stride), (top, left, bottom, right), pair(layer.dilation), layer.groups)


def targets(net: Network) -> NDArray[np.float32]:
    return np.random.default_rng(2).standard_normal((len(IMAGES), *net.output_shape), np.float32)


WINOGRAD = {"1": {"forward": "winograd4", "backward_data": "winograd4", "backward_weights": "winograd2"}}


@pytest.mark.parametrize(
    ("layer", "algorithm"),
    [*((layer, algorithm) for layer in LAYERS for algorithm in ("auto", "direct")), (LAYERS[-1], WINOGRAD)],
    ids=str,
)
def test_it_is_the_gradient_of_a_convolution_and_its_gradients_are_the_oracles(
    layer: ConvTranspose2D, algorithm: Any
) -> None:
    net, how = network(layer), transposes(layer)
    parameters = {key: array.astype(np.float64) for key, array in net.parameters().items()}
    weights, factors = parameters["1.weights"], parameters["0.weights"][:, None, None]
    bias = parameters.get("1.bias", np.zeros(layer.out_channels))[:, None, None]
    scaled = IMAGES * factors
    shape = layer.output_shape(IMAGES.shape[1:])
    wanted = oracle.conv2d_gradients(how, scaled, np.zeros((len(IMAGES), *shape)), weights)[0] + bias
    ours = {"1": {"backward_data": "winograd4"}} if algorithm == WINOGRAD else algorithm
    found = net.predict(IMAGES, algorithm=ours).reshape(wanted.shape)
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())

    y = targets(net)
    _, gradients = net.loss_and_gradients(IMAGES, y, MeanSquaredError(), algorithm=algorithm)
    diff = 2.0 * (wanted - y.reshape(wanted.shape)) / y.size
    theirs = {
        "0.weights": (oracle.conv2d(how, diff, weights, None) * IMAGES).sum(axis=(0, 2, 3)),
        "1.weights": oracle.conv2d_gradients(how, scaled, diff, weights)[1],
        "1.bias": diff.sum(axis=(0, 2, 3)),
    }
    for key, gradient in gradients.items():
        np.testing.assert_allclose(gradient, theirs[key], atol=2e-5 * np.abs(theirs[key]).max(), err_msg=key)


@each_layer
def test_gradients_are_finite_differences(layer: ConvTranspose2D) -> None:
    net = network(layer)
    check_by_differences(net, IMAGES, targets(net), MeanSquaredError())


@each_layer
def test_the_same_bits_on_any_number_of_threads(layer: ConvTranspose2D) -> None:
    net = network(layer)
    alone = gradients_on(1, net, IMAGES, targets(net), MeanSquaredError())
    for threads in (2, 3):
        together = gradients_on(threads, net, IMAGES, targets(net), MeanSquaredError())
        assert all(np.array_equal(together[key], alone[key]) for key in alone)


def test_fan_in_and_out_count_as_torch_does() -> None:
    weights, bias = ConvTranspose2D(8, 12, (3, 5), groups=4).parameters()
    assert (weights.shape, weights.fan_in, weights.fan_out) == ((8, 3, 3, 5), 45, 120)
    assert bias.shape == (12,)
    assert ConvTranspose2D(8, 12, 3, bias=False).parameters()[1:] == ()


def test_a_frozen_one_stays_and_lets_the_gradient_pass() -> None:
    net = network(LAYERS[2])
    before = net.parameters()
    session = net.training_session(MeanSquaredError(), engine.SGD(lr=0.1), 5, freeze=["1"])
    session.step(IMAGES, targets(net), 0.1, 0, 0)
    after = net.parameters()
    assert {key for key in before if not np.array_equal(before[key], after[key])} == {"0.weights"}


def test_a_configuration_and_a_checkpoint_keep_it(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"in_channels": 6, "out_channels": 5, "kernel": 3, "stride": 2, "padding": 1}
    written = [{"Scale": {"channels": 6}}, {"ConvTranspose2D": {**arguments, "output_padding": 1}}, "Flatten"]
    net = network(LAYERS[2])
    assert build_network(ModelConfig(layers=written, input_shape=(6, 6, 5)), seed=4).to_config() == net.to_config()
    net.save(tmp_path / "net.safetensors")
    assert np.array_equal(load(tmp_path / "net.safetensors").predict(IMAGES), net.predict(IMAGES))
