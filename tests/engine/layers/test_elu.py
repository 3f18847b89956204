"""ELU in a network: what it computes, its gradient, its memory, and its way through configurations and checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cnncore
import numpy as np
import pytest
from numpy.typing import NDArray

from engine import ELU, SGD, Conv2D, CrossEntropy, Flatten, Linear, Sequential, load
from engine.network.network import Network
from engine.recipe.build import build_network
from engine.recipe.config import ModelConfig

RANDOM = np.random.default_rng(11)
IMAGES = RANDOM.normal(size=(9, 3, 10, 8)).astype(np.float32)
LABELS = RANDOM.integers(0, 4, 9)


def network(first: ELU, second: ELU) -> Network:
    layers = [Conv2D(3, 5, 3), first, Flatten(), Linear(240, 6), second, Linear(6, 4)]
    return Sequential(layers, input_shape=(3, 10, 8), seed=3)


@pytest.mark.parametrize("alpha", [1.0, 0.3, 2.0])
def test_it_is_the_function_of_the_paper(alpha: float) -> None:
    x = np.linspace(-8, 8, 240, dtype=np.float32).reshape(1, 3, 10, 8)
    given = x.astype(np.float64)
    wanted = np.where(given > 0, given, alpha * np.expm1(np.minimum(given, 0)))
    assert np.allclose(Sequential([ELU(alpha)], input_shape=(3, 10, 8)).predict(x), wanted, rtol=2e-7, atol=0)


def test_gradients_are_finite_differences() -> None:
    """With alpha = 1, where ELU has no kink."""
    net = network(ELU(), ELU())
    _, gradients = net.loss_and_gradients(IMAGES, LABELS, CrossEntropy())
    parameters, step = net.parameters(), 1e-2
    for key, array in parameters.items():
        direction = np.random.default_rng(3).normal(size=array.shape).astype(np.float32)
        direction /= np.linalg.norm(direction)
        ends = []
        for sign in (1, -1):
            net.load_parameters({**parameters, key: array + sign * step * direction})
            ends.append(net.loss_and_gradients(IMAGES, LABELS, CrossEntropy())[0])
        slope = float((gradients[key] * direction).sum())
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(slope, rel=2e-2, abs=2e-5), key


def gradients_on(threads: int) -> dict[str, NDArray[Any]]:
    cnncore.set_num_threads(threads)
    try:
        return network(ELU(0.5), ELU(2.0)).loss_and_gradients(IMAGES, LABELS, CrossEntropy())[1]
    finally:
        cnncore.set_num_threads(0)


def test_the_same_bits_on_any_number_of_threads() -> None:
    alone = gradients_on(1)
    for threads in (2, 3):
        together = gradients_on(threads)
        assert all(np.array_equal(together[key], alone[key]) for key in alone)


def test_the_input_is_not_kept_for_the_backward_pass() -> None:
    plan = network(ELU(0.5), ELU()).plan(batch=4, training=True, loss=CrossEntropy(), optimizer=SGD(0.1))
    rows = [line.split() for line in str(plan).splitlines() if " 0x" in line]
    place = {(row[1], row[2]): row[-1] for row in rows}
    assert place["elu_forward", "1"] == place["conv2d_forward", "0"]
    assert place["elu_forward", "4"] == place["linear_forward", "3"]


def test_a_configuration_and_a_checkpoint_keep_it(tmp_path: Path) -> None:
    written = [{"Conv2D": [3, 5, 3]}, {"ELU": 0.5}, "Flatten", {"Linear": [240, 6]}, "ELU", {"Linear": [6, 4]}]
    section = ModelConfig(layers=written, input_shape=(3, 10, 8))
    net = network(ELU(0.5), ELU(1.0))
    assert build_network(section, seed=3).to_config() == net.to_config()
    net.save(tmp_path / "net.safetensors")
    assert np.array_equal(load(tmp_path / "net.safetensors").predict(IMAGES), net.predict(IMAGES))
