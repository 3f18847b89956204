"""Normalisation in a network: without scale or shift, by groups; gradients, bits, configurations and checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cnncore
import numpy as np
import pytest
from numpy.typing import NDArray

from engine import (
    SGD,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    CrossEntropy,
    Flatten,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    Linear,
    MaxPool2D,
    ReLU,
    Sequential,
    Tanh,
    load,
)
from engine.layers import Layer
from engine.network.network import Network
from engine.recipe.build import build_network
from engine.recipe.config import ModelConfig

RANDOM = np.random.default_rng(11)
IMAGES = RANDOM.normal(size=(9, 3, 10, 8)).astype(np.float32)
LABELS = RANDOM.integers(0, 4, 9)
AIRBENCH = {"eps": 1e-12, "momentum": 0.4}


def network(first: Layer, second: Layer, smooth: bool = False) -> Network:
    """The first of 6 channels, which fuses with ReLU and pool where it can; the second of 5, behind a Linear. `smooth`
    has no kinks."""
    between = [Tanh(), AvgPool2D(2)] if smooth else [ReLU(), MaxPool2D(2, 2)]
    layers = [Conv2D(3, 6, 3), first, *between, Flatten(), Linear(72, 5), second, Linear(5, 4)]
    net = Sequential(layers, input_shape=(3, 10, 8), seed=3)
    random = np.random.default_rng(5)
    net.load_parameters({key: array + random.normal(0, 0.2, array.shape) for key, array in net.parameters().items()})
    return net


def check_gradients(net: Network, images: NDArray[Any], labels: NDArray[Any]) -> None:
    """Along a random direction of every parameter, against differences; draws are those of one step."""
    _, gradients = net.loss_and_gradients(images, labels, CrossEntropy())
    parameters, step = net.parameters(), 3e-3
    for key, array in parameters.items():
        direction = np.random.default_rng(3).normal(size=array.shape).astype(np.float32)
        direction /= np.linalg.norm(direction)
        ends = []
        for sign in (1, -1):
            net.load_parameters({**parameters, key: array + sign * step * direction})
            ends.append(net.loss_and_gradients(images, labels, CrossEntropy())[0])
        slope = float((gradients[key] * direction).sum())
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(slope, rel=2e-2, abs=2e-4), key


def gradients_on(threads: int, net: Network) -> dict[str, NDArray[Any]]:
    cnncore.set_num_threads(threads)
    try:
        return net.loss_and_gradients(IMAGES, LABELS, CrossEntropy())[1]
    finally:
        cnncore.set_num_threads(0)


PAIRS: list[tuple[Layer, Layer]] = [
    (BatchNorm(6, scale=False, **AIRBENCH), BatchNorm(5, scale=False, shift=False)),
    (BatchNorm(6, shift=False), LayerNorm(5, shift=False)),
    (GroupNorm(2, 6), LayerNorm(5)),
    (GroupNorm(3, 6, scale=False), GroupNorm(1, 5)),
    (InstanceNorm(6), BatchNorm(5)),
    (InstanceNorm(6, scale=False, shift=False), LayerNorm(5, scale=False, shift=False)),
    (LayerNorm(6), BatchNorm(5, shift=False)),
]


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=str)
def test_gradients_are_finite_differences(first: Layer, second: Layer) -> None:
    check_gradients(network(first, second, smooth=True), IMAGES, LABELS)


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=str)
def test_the_same_bits_on_any_number_of_threads(first: Layer, second: Layer) -> None:
    alone = gradients_on(1, network(first, second))
    for threads in (2, 3):
        together = gradients_on(threads, network(first, second))
        assert all(np.array_equal(together[key], alone[key]) for key in alone)


# ---- what is left out ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "shift"), [(False, True), (True, False), (False, False)])
def test_batchnorm_without_is_batchnorm_with_ones_and_zeros(scale: bool, shift: bool) -> None:
    """Bit by bit: outputs in training and in inference, gradients, statistics."""
    whole, part = network(BatchNorm(6), BatchNorm(5)), network(BatchNorm(6, scale=scale, shift=shift), BatchNorm(5))
    shared = whole.parameters()
    shared["1.weights"] = np.ones(6) if not scale else shared["1.weights"]
    shared["1.bias"] = np.zeros(6) if not shift else shared["1.bias"]
    whole.load_parameters(shared)
    part.load_parameters({key: shared[key] for key in part.parameters()})
    absent = {key for key, there in (("1.weights", scale), ("1.bias", shift)) if not there}
    assert set(shared) - set(part.parameters()) == absent
    fewer = 6 * len(absent)
    assert whole.store.num_trainable - part.store.num_trainable == fewer
    assert f"({whole.store.num_trainable - fewer:,} trainable, 22 running" in part.summary()
    (loss, gradients), (other, others) = (
        net.loss_and_gradients(IMAGES, LABELS, CrossEntropy()) for net in (whole, part)
    )
    assert loss == other and set(gradients) - set(others) == absent
    assert all(np.array_equal(others[key], gradients[key]) for key in others)
    assert all(np.array_equal(part.buffers()[key], array) for key, array in whole.buffers().items())
    assert np.array_equal(whole.predict(IMAGES), part.predict(IMAGES))


def test_what_is_left_out_has_no_state_and_stays() -> None:
    net = network(BatchNorm(6, scale=False, shift=False), LayerNorm(5, scale=False))
    assert not any(key.startswith("1.") for key in net.parameters())
    assert [key for key in net.parameters() if key.startswith("6.")] == ["6.bias"]
    session = net.training_session(CrossEntropy(), SGD(lr=0.1, momentum=0.9), 9)
    before = net.loss_and_gradients(IMAGES, LABELS, CrossEntropy())[0]
    for step in range(20):
        session.step(IMAGES, LABELS, 0.1, 0, step)
    assert net.loss_and_gradients(IMAGES, LABELS, CrossEntropy())[0] < 0.7 * before


@pytest.mark.parametrize("layer", [BatchNorm(6, scale=False), GroupNorm(2, 6, shift=False)], ids=str)
def test_a_frozen_one_stays_and_lets_the_gradient_pass(layer: Layer) -> None:
    net = network(layer, LayerNorm(5))
    before = net.parameters()
    net.training_session(CrossEntropy(), SGD(lr=0.1), 9, freeze=("1",)).step(IMAGES, LABELS, 0.1, 0, 0)
    after = net.parameters()
    changed = {key.split(".")[0] for key in after if not np.array_equal(after[key], before[key])}
    assert changed == {"0", "5", "6", "7"}


@pytest.mark.parametrize("shift", [True, False])
def test_folded_into_the_convolution_it_predicts_the_same(shift: bool) -> None:
    net = Sequential([Conv2D(3, 6, 3), BatchNorm(6, scale=False, shift=shift)], input_shape=(3, 10, 8), seed=3)
    random = np.random.default_rng(7)
    net.load_buffers({key: random.uniform(0.5, 2, array.shape) for key, array in net.buffers().items()})
    net.load_parameters({key: random.normal(0, 1, array.shape) for key, array in net.parameters().items()})
    plain = Sequential([Conv2D(3, 6, 3)], input_shape=(3, 10, 8))
    plain.load_parameters({key: array for key, array in net.parameters().items() if key.startswith("0.")})
    mean, variance = (net.buffers()[f"1.running_{name}"][:, None, None] for name in ("mean", "var"))
    wanted = (plain.predict(IMAGES) - mean) / np.sqrt(variance + 1e-5)
    wanted += net.parameters()["1.bias"][:, None, None] if shift else 0.0
    assert not any(each.op.startswith("batchnorm") for each in net.plan(batch=9).instructions)
    np.testing.assert_allclose(net.predict(IMAGES), wanted, rtol=1e-5, atol=1e-5)


def test_a_description_tells_only_what_is_left_out() -> None:
    """One with both is what it was before there was a choice: runs of before go on."""
    assert BatchNorm(6).arguments() == {"channels": 6, "eps": 1e-5, "momentum": 0.1}
    assert BatchNorm(6, scale=False).arguments()["scale"] is False
    assert str(BatchNorm(6, shift=False)) == "BatchNorm(6, shift=False)"


# ---- groups -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [GroupNorm(2, 6), LayerNorm(6), InstanceNorm(6, eps=0.1)], ids=str)
def test_it_is_the_formula_of_the_papers(layer: Any) -> None:
    groups, _, eps, *_ = layer.settings()
    net = Sequential([layer], input_shape=(6, 9, 7))
    given = np.random.default_rng(2).normal(3, 2, (5, 6, 9, 7)).astype(np.float32)
    split = given.astype(np.float64).reshape(5, groups, -1)
    normal = (split - split.mean(-1, keepdims=True)) / np.sqrt(split.var(-1, keepdims=True) + eps)
    weights, bias = RANDOM.normal(size=(2, 6, 1, 1)).astype(np.float32)
    net.load_parameters({"0.weights": weights.ravel(), "0.bias": bias.ravel()})
    np.testing.assert_allclose(net.predict(given), normal.reshape(given.shape) * weights + bias, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layers", [[GroupNorm(4, 96)], [LayerNorm(96), ReLU()]], ids=str)
def test_a_sample_has_the_same_bits_in_any_batch(layers: Sequence[Layer]) -> None:
    """Of few samples the rows are shared out, of many the samples: both add up the same parts."""
    net = Sequential(layers, input_shape=(96, 30, 30))
    images = np.random.default_rng(4).standard_normal((17, 96, 30, 30), np.float32)
    together = net.predict(images, batch_size=17)
    for size in (1, 2, 3):
        assert np.array_equal(net.predict(images[:size], batch_size=size), together[:size])


def test_configurations_and_checkpoints_keep_them(tmp_path: Path) -> None:
    written: list[Any] = [
        {"Conv2D": [3, 6, 3]}, {"BatchNorm": {"channels": 6, "scale": False, **AIRBENCH}}, "ReLU",
        {"GroupNorm": {"groups": 3, "channels": 6, "shift": False}}, {"InstanceNorm": 6}, "Flatten",
        {"Linear": [288, 5]}, {"LayerNorm": {"channels": 5, "eps": 1e-3}}, {"Linear": [5, 4]},
    ]  # fmt: skip
    layers = [
        Conv2D(3, 6, 3), BatchNorm(6, scale=False, **AIRBENCH), ReLU(), GroupNorm(3, 6, shift=False), InstanceNorm(6),
        Flatten(), Linear(288, 5), LayerNorm(5, 1e-3), Linear(5, 4),
    ]  # fmt: skip
    net = Sequential(layers, input_shape=(3, 10, 8), seed=3)
    built = build_network(ModelConfig(layers=tuple(written), input_shape=(3, 10, 8)), seed=3)
    assert built.to_config() == net.to_config()
    session = net.training_session(CrossEntropy(), SGD(lr=0.1), 9)
    for step in range(3):
        session.step(IMAGES, LABELS, 0.1, 0, step)
    net.save(tmp_path / "net.safetensors")
    again = load(tmp_path / "net.safetensors")
    assert again.to_config() == net.to_config() and list(again.parameters()) == list(net.parameters())
    assert np.array_equal(again.predict(IMAGES), net.predict(IMAGES))
