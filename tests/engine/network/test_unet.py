"""A small U-Net (Ronneberger, Fischer & Brox 2015): down by pooling, up by transposed convolutions, joined between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cnncore
import numpy as np
from numpy.typing import NDArray

import engine
from engine import Concat, Conv2D, ConvTranspose2D, Flatten, Graph, MaxPool2D, MeanSquaredError, ReLU, Tanh
from engine.layers import Layer
from engine.network.load import from_config
from engine.network.network import Network
from tests.engine.layers.differences import check_by_differences, gradients_on

SHAPE = (2, 12, 8)
RANDOM = np.random.default_rng(17)
IMAGES = RANDOM.standard_normal((10, *SHAPE), np.float32)
# What is learned: where the first channel, averaged with its neighbour below, is above the second.
MARKS = (IMAGES[:, 0] + np.roll(IMAGES[:, 0], -1, axis=1) > 2 * IMAGES[:, 1]).astype(np.float32).reshape(10, -1)


def unet(activation: type[Layer], pool: Layer) -> Network:
    graph = Graph(SHAPE, seed=5)

    def block(channels: int, out: int, *sources: str, mode: str = "zeros") -> str:
        source = graph.add(Concat(), *sources) if len(sources) > 1 else sources[0]
        return graph.add(activation(), graph.add(Conv2D(channels, out, 3, 1, 1, padding_mode=mode), source))

    fine = block(2, 6, graph.input, mode="reflect")
    middle = block(6, 10, graph.add(pool, fine))
    coarse = block(10, 14, graph.add(pool, middle))
    up = graph.add(ConvTranspose2D(14, 10, 2, 2), coarse, name="up1")
    joined = block(20, 10, up, middle)
    up = graph.add(ConvTranspose2D(10, 6, 3, 2, 1, output_padding=1), joined, name="up2")
    graph.output = graph.add(Flatten(), graph.add(Conv2D(6, 1, 1), block(12, 6, up, fine)))
    return graph


def trained(steps: int) -> tuple[list[float], dict[str, NDArray[Any]]]:
    net = unet(ReLU, MaxPool2D(2))
    session = net.training_session(MeanSquaredError(), engine.Adam(lr=0.01), len(IMAGES))
    losses = [session.step(IMAGES, MARKS, 0.01, 0, step) for step in range(steps)]
    return losses, net.parameters()


def test_it_learns_to_mark_pixels() -> None:
    losses, _ = trained(80)
    assert losses[-1] < 0.1 * losses[0]


def test_training_has_the_same_bits_on_any_number_of_threads() -> None:
    found = []
    for threads in (1, 2, 3):
        cnncore.set_num_threads(threads)
        try:
            found.append(trained(4))
        finally:
            cnncore.set_num_threads(0)
    for losses, parameters in found[1:]:
        assert losses == found[0][0]
        assert all(np.array_equal(parameters[key], array) for key, array in found[0][1].items())
    net = unet(ReLU, MaxPool2D(2))
    gradients = [gradients_on(threads, net, IMAGES, MARKS, MeanSquaredError()) for threads in (1, 2, 3)]
    assert all(np.array_equal(each[key], gradients[0][key]) for each in gradients[1:] for key in each)


def test_gradients_are_finite_differences() -> None:
    """Without the kinks of ReLU and the maximum."""
    check_by_differences(unet(Tanh, engine.AvgPool2D(2)), IMAGES, MARKS, MeanSquaredError())


def test_its_description_and_a_checkpoint_keep_it(tmp_path: Path) -> None:
    net = unet(ReLU, MaxPool2D(2))
    again = from_config(net.to_config())
    again.load_parameters(net.parameters())
    assert np.array_equal(again.predict(IMAGES), net.predict(IMAGES))
    net.save(tmp_path / "unet.safetensors")
    stored = engine.load(tmp_path / "unet.safetensors")
    assert stored.to_config() == net.to_config()
    assert np.array_equal(stored.predict(IMAGES), net.predict(IMAGES))
