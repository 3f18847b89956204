"""Scale, Multiply, and what drops channels or samples, in a network with squeeze-and-excitation and a residual."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import (
    SGD,
    Add,
    Conv2D,
    CrossEntropy,
    Dropout,
    Dropout2D,
    Flatten,
    GlobalAvgPool2D,
    Graph,
    GroupNorm,
    Linear,
    MeanSquaredError,
    Multiply,
    Scale,
    Sequential,
    Sigmoid,
    StochasticDepth,
    Tanh,
    calibrate,
    load,
)
from engine.network.network import Network
from tests.engine.layers.test_normalization import IMAGES, LABELS, check_gradients, gradients_on
from tests.ops import oracle


def excited(swapped: bool = False) -> Network:
    """A residual block with squeeze-and-excitation (Hu, Shen & Sun 2018) that is dropped at times."""
    graph = Graph((3, 10, 8), seed=3)
    stem = graph.add(Conv2D(3, 6, 3, padding=1), graph.input, name="stem")
    normal = graph.add(GroupNorm(2, 6), graph.add(Conv2D(6, 6, 3, padding=1), stem), name="norm")
    squeezed = graph.add(Linear(6, 3), graph.add(GlobalAvgPool2D(), normal), name="squeeze")
    gate = graph.add(Sigmoid(), graph.add(Linear(3, 6), graph.add(Tanh(), squeezed)), name="gate")
    both = (gate, normal) if swapped else (normal, gate)
    branch = graph.add(Scale(channels=6), graph.add(Multiply(), *both, name="excite"), name="layer_scale")
    branch = graph.add(StochasticDepth(0.3), graph.add(Dropout2D(0.2), branch), name="depth")
    joined = graph.add(Add(), stem, branch, name="add")
    squared = graph.add(Multiply(), joined, joined, name="square")
    logits = graph.add(Linear(480, 4), graph.add(Flatten(), squared), name="logits")
    graph.output = graph.add(Scale(1 / 9), logits, name="temper")
    return graph


@pytest.mark.parametrize("swapped", [False, True])
def test_gradients_are_finite_differences(swapped: bool) -> None:
    check_gradients(excited(swapped), IMAGES, LABELS)


def test_the_order_of_the_factors_does_not_matter() -> None:
    assert np.array_equal(excited().predict(IMAGES), excited(swapped=True).predict(IMAGES))


def test_the_same_bits_on_any_number_of_threads() -> None:
    alone = gradients_on(1, excited())
    for threads in (2, 3):
        together = gradients_on(threads, excited())
        assert all(np.array_equal(together[key], alone[key]) for key in alone)


def test_it_is_the_product() -> None:
    for shape in ((6,), (6, 1, 1), (6, 9, 7)):
        graph = Graph((6, 9, 7))
        other = graph.input
        if shape != (6, 9, 7):
            layer = GlobalAvgPool2D() if shape == (6,) else Conv2D(6, 6, (9, 7))
            other = graph.add(layer, graph.input, name="whole")
        graph.output = graph.add(Multiply(), graph.input, graph.add(Sigmoid(), other, name="other"))
        x = np.random.default_rng(1).standard_normal((5, 6, 9, 7), np.float32)
        factors = 1 / (1 + np.exp(-_input_of_other(graph, shape, x)))
        np.testing.assert_allclose(graph.predict(x), x * factors, rtol=1e-5, atol=1e-6)


def _input_of_other(graph: Network, shape: tuple[int, ...], x: NDArray[Any]) -> NDArray[Any]:
    if shape == (6, 9, 7):
        return x
    if shape == (6,):
        return x.mean(axis=(2, 3), keepdims=True)
    parameters = graph.parameters()
    sums = np.einsum("nchw,ochw->no", x, parameters["whole.weights"]) + parameters["whole.bias"]
    return np.asarray(sums[:, :, None, None])


def test_a_learned_scale_is_by_channel_and_begins_as_one() -> None:
    net = Sequential([Scale(channels=6)], input_shape=(6, 9, 7))
    x = np.random.default_rng(1).standard_normal((5, 6, 9, 7), np.float32)
    assert np.array_equal(net.predict(x), x)
    factors = np.arange(6, dtype=np.float32)
    net.load_parameters({"0.weights": factors})
    assert np.array_equal(net.predict(x), x * factors[:, None, None])
    assert net.store.num_trainable == 6


@pytest.mark.parametrize(("layer", "draws"), [(Dropout2D(0.4), 6), (StochasticDepth(0.4), 1)], ids=str)
def test_channels_or_samples_fall_in_training_alone(layer: Dropout, draws: int) -> None:
    """The layer is the second that draws: its stream is 1."""
    net = Sequential([Scale(channels=6), Dropout(0.0), layer], input_shape=(6, 9, 7))
    x = np.random.default_rng(1).standard_normal((20, 6, 9, 7), np.float32)
    assert np.array_equal(net.predict(x), x)
    kept = oracle.dropout_mask(20 * draws, np.float32(0.4), 0, 0, 1).reshape(20, draws, 1, 1)
    dropped = np.where(kept, x / np.float32(0.6), 0)
    loss, gradients = net.loss_and_gradients(x, np.zeros_like(x), MeanSquaredError())
    assert loss == pytest.approx(float((dropped.astype(np.float64) ** 2).mean()), rel=1e-5)
    np.testing.assert_allclose(gradients["0.weights"], 2 * (dropped**2).sum(axis=(0, 2, 3)) / x.size, rtol=1e-4)


def test_depth_does_not_keep_a_flatten_from_being_free() -> None:
    """It treats all elements of a sample alike, in whatever order; Dropout2D needs the map."""
    layers = [Conv2D(3, 5, 3), Flatten(), StochasticDepth(0.5), Linear(240, 4)]
    plan = Sequential(layers, input_shape=(3, 10, 8)).plan(batch=4, training=True, loss=CrossEntropy())
    assert not any(each.op == "nhwc_to_nchw" for each in plan.instructions)


def test_calibration_drops_nothing() -> None:
    from engine import BatchNorm

    layers = [Conv2D(3, 5, 3), Dropout2D(0.5), StochasticDepth(0.5), BatchNorm(5, scale=False)]
    net = Sequential(layers, input_shape=(3, 10, 8), seed=1)
    calibrate(net, IMAGES)
    plain = Sequential(layers[:1], input_shape=(3, 10, 8))
    plain.load_parameters({key: array for key, array in net.parameters().items() if key.startswith("0.")})
    mean = plain.predict(IMAGES).mean(axis=(0, 2, 3))
    np.testing.assert_allclose(net.buffers()["3.running_mean"], mean, rtol=1e-4, atol=1e-5)


def test_a_frozen_scale_stays() -> None:
    net = excited()
    before = net.parameters()
    net.training_session(CrossEntropy(), SGD(lr=0.1), 9, freeze=("layer_scale",)).step(IMAGES, LABELS, 0.1, 0, 0)
    after = net.parameters()
    changed = {key for key in after if not np.array_equal(after[key], before[key])}
    assert "layer_scale.weights" not in changed and {"stem.weights", "norm.weights", "squeeze.bias"} <= changed


def test_a_checkpoint_keeps_them(tmp_path: Path) -> None:
    net = excited()
    session = net.training_session(CrossEntropy(), SGD(lr=0.05), 9)
    for step in range(3):
        session.step(IMAGES, LABELS, 0.05, 7, step)
    net.save(tmp_path / "net.safetensors")
    again = load(tmp_path / "net.safetensors")
    assert again.to_config() == net.to_config()
    assert np.array_equal(again.predict(IMAGES), net.predict(IMAGES))
    (loss, gradients), (other, others) = (
        each.loss_and_gradients(IMAGES, LABELS, CrossEntropy()) for each in (net, again)
    )
    assert loss == other and all(np.array_equal(others[key], gradients[key]) for key in gradients)


def test_a_configuration_builds_them() -> None:
    from engine.recipe.build import build_network
    from engine.recipe.config import ModelConfig

    written: list[Any] = [
        {"Conv2D": [3, 6, 3]}, {"Dropout2D": 0.1}, {"StochasticDepth": {"rate": 0.2}}, {"Scale": {"channels": 6}},
        "Flatten", {"Linear": [288, 4]}, {"Scale": 0.25},
    ]  # fmt: skip
    layers = [
        Conv2D(3, 6, 3), Dropout2D(0.1), StochasticDepth(0.2), Scale(channels=6), Flatten(), Linear(288, 4),
        Scale(0.25),
    ]  # fmt: skip
    net = Sequential(layers, input_shape=(3, 10, 8), seed=3)
    assert (
        build_network(ModelConfig(layers=tuple(written), input_shape=(3, 10, 8)), seed=3).to_config() == net.to_config()
    )
