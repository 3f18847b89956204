"""The activations in networks: what they compute, gradients, what is fused and kept, configurations and checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cnncore
import numpy as np
import pytest
from numpy.typing import NDArray

import engine.plan
from engine import (
    ELU,
    GELU,
    SGD,
    BatchNorm,
    Clip,
    Conv2D,
    CrossEntropy,
    Flatten,
    Hardsigmoid,
    Hardswish,
    LeakyReLU,
    Linear,
    MaxPool2D,
    PReLU,
    ReLU,
    ReLU6,
    Sequential,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
    Trainer,
    load,
)
from engine.layers import Layer
from engine.network.network import Network
from engine.program.code import Code
from engine.recipe.build import build_network
from engine.recipe.config import ModelConfig
from tests.ops import oracle

RANDOM = np.random.default_rng(11)
IMAGES = RANDOM.normal(size=(9, 3, 10, 8)).astype(np.float32)
LABELS = RANDOM.integers(0, 4, 9)

SMOOTH: list[Layer] = [GELU(), GELU("tanh"), SiLU(), Softplus()]
BENT: list[Layer] = [Hardswish(), Hardsigmoid(), ReLU6(), Clip(-0.5, 0.75), PReLU(), PReLU(5)]
FUSED: list[Layer] = [
    ReLU(), Sigmoid(), Tanh(), GELU(), GELU("tanh"), SiLU(), Hardswish(), Hardsigmoid(), ReLU6(), Softplus(),
]  # fmt: skip
BY_OUTPUT = ("relu", "sigmoid", "tanh", "hardsigmoid", "relu6", "softplus")


def op_of(layer: Layer) -> str:
    return getattr(layer, "op", "prelu")


def network(activation: Layer, last: Layer | None = None) -> Network:
    """A convolution, a normalisation and a linear layer before it, and a max-pool behind."""
    layers = [
        Conv2D(3, 5, 3, padding=1), activation, MaxPool2D(2), Conv2D(5, 5, 2), BatchNorm(5), activation, Flatten(),
        Linear(60, 6), last or activation, Linear(6, 4),
    ]  # fmt: skip
    return Sequential(layers, input_shape=(3, 10, 8), seed=3)


def loss_of(net: Network) -> tuple[float, dict[str, NDArray[Any]]]:
    return net.loss_and_gradients(IMAGES, LABELS, CrossEntropy())


FORMULAS: list[tuple[Layer, Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = [
    (GELU(), oracle.gelu),
    (GELU("tanh"), oracle.gelu_tanh),
    (SiLU(), oracle.silu),
    (Hardswish(), oracle.hardswish),
    (Hardsigmoid(), oracle.hardsigmoid),
    (Softplus(), oracle.softplus),
    (ReLU6(), lambda x: np.clip(x, 0.0, 6.0)),
    (Clip(-2.0, 0.5), lambda x: np.clip(x, -2.0, 0.5)),
    (PReLU(), lambda x: np.where(x > 0, x, 0.25 * x)),
    (PReLU(3), lambda x: np.where(x > 0, x, 0.25 * x)),
]


@pytest.mark.parametrize(("layer", "formula"), FORMULAS, ids=[str(layer) for layer, _ in FORMULAS])
def test_it_is_the_function_of_the_paper(layer: Layer, formula: Callable[..., Any]) -> None:
    x = np.linspace(-8, 8, 240, dtype=np.float32).reshape(1, 3, 10, 8)
    given = Sequential([layer], input_shape=(3, 10, 8)).predict(x)
    assert np.allclose(given, formula(x.astype(np.float64)), rtol=5e-6, atol=1e-7)


def test_each_channel_has_its_slope() -> None:
    net = Sequential([PReLU(3)], input_shape=(3, 10, 8))
    slopes = np.float32([-0.5, 0.0, 2.0])
    net.load_parameters({"0.weights": slopes})
    assert np.array_equal(net.predict(IMAGES), np.where(IMAGES > 0, IMAGES, slopes[:, None, None] * IMAGES))
    assert np.array_equal(Sequential([PReLU(2)], (2,)).parameters()["0.weights"], np.float32([0.25, 0.25]))


def test_a_flattened_map_keeps_its_order() -> None:
    """A slope for each feature, in the order that the weights of a linear layer behind Flatten have."""
    net = Sequential([Flatten(), PReLU(240), Linear(240, 4)], input_shape=(3, 10, 8), seed=3)
    slopes = RANDOM.normal(size=240).astype(np.float32)
    parameters = {**net.parameters(), "1.weights": slopes}
    net.load_parameters(parameters)
    flat = IMAGES.reshape(9, -1).astype(np.float64)
    wanted = np.where(flat > 0, flat, slopes * flat) @ parameters["2.weights"].T + parameters["2.bias"]
    assert np.allclose(net.predict(IMAGES), wanted, atol=1e-4)


@pytest.mark.parametrize("activation", SMOOTH, ids=str)
def test_gradients_are_finite_differences(activation: Layer) -> None:
    net = network(activation)
    _, gradients = loss_of(net)
    parameters, step = net.parameters(), 1e-2
    for key, array in parameters.items():
        direction = np.random.default_rng(3).normal(size=array.shape).astype(np.float32)
        direction /= np.linalg.norm(direction)
        ends = []
        for sign in (1, -1):
            net.load_parameters({**parameters, key: array + sign * step * direction})
            ends.append(loss_of(net)[0])
        slope = float((gradients[key] * direction).sum())
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(slope, rel=3e-2, abs=1e-4), key


@pytest.mark.parametrize("channels", [1, 6])
def test_slopes_learn(channels: int) -> None:
    net = network(Tanh(), PReLU(channels))
    _, gradients = loss_of(net)
    step, slopes = 1e-2, net.parameters()["8.weights"]
    for i in range(channels):
        ends = []
        for sign in (1, -1):
            moved = slopes.copy()
            moved[i] += sign * step
            net.load_parameters({**net.parameters(), "8.weights": moved})
            ends.append(loss_of(net)[0])
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(gradients["8.weights"][i], rel=2e-2, abs=2e-5)


def test_frozen_slopes_stay() -> None:
    net = network(PReLU(5), PReLU(6))
    before = net.parameters()
    Trainer(net, SGD(0.1), freeze=("1", "8"), progress="none").fit((IMAGES, LABELS), epochs=1)
    after = net.parameters()
    assert np.array_equal(after["1.weights"], before["1.weights"])
    assert np.array_equal(after["8.weights"], before["8.weights"])
    assert not np.array_equal(after["5.weights"], before["5.weights"])
    assert not np.array_equal(after["0.weights"], before["0.weights"])


@pytest.mark.parametrize("activation", [*SMOOTH, *BENT], ids=str)
def test_the_same_bits_on_any_number_of_threads(activation: Layer) -> None:
    results = []
    for threads in (1, 2, 3):
        cnncore.set_num_threads(threads)
        try:
            results.append(loss_of(network(activation, Softplus()))[1])
        finally:
            cnncore.set_num_threads(0)
    for other in results[1:]:
        assert all(np.array_equal(other[key], results[0][key]) for key in results[0])


# ---- fusion ---------------------------------------------------------------------------------------------------------


def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def unchanged(code: Code, trains: bool) -> Code:
        return code

    monkeypatch.setattr(engine.plan, "fuse_activations", unchanged)


@pytest.mark.parametrize("activation", FUSED, ids=str)
def test_inference_has_no_op_of_it(activation: Layer) -> None:
    plan = network(activation).plan(batch=4)
    number = cnncore.ACTIVATIONS[op_of(activation)]
    ops = [instruction.op for instruction in plan.instructions]
    assert f"{op_of(activation)}_forward" not in ops and "maxpool2d_forward" not in ops
    assert [i.geometry["activation"] for i in plan.instructions if "activation" in i.geometry] == [number] * 3 + [0]
    assert op_of(activation) in str(plan)


@pytest.mark.parametrize("activation", FUSED, ids=str)
@pytest.mark.parametrize("algorithm", ["direct", "auto"])
def test_fused_it_computes_the_same_bits(activation: Layer, algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another op's end computes what the activation by itself would: of single samples too, and with a pool behind."""
    fused, plain = network(activation), network(activation)
    loss, gradients = fused.loss_and_gradients(IMAGES, LABELS, CrossEntropy(), algorithm=algorithm)
    predicted = [fused.predict(IMAGES), fused.predict(IMAGES[:1])]
    alone(monkeypatch)
    assert plain.loss_and_gradients(IMAGES, LABELS, CrossEntropy(), algorithm=algorithm)[0] == loss
    for ours, theirs in zip(predicted, [plain.predict(IMAGES), plain.predict(IMAGES[:1])]):
        assert np.array_equal(ours, theirs)
    for key, theirs in plain.loss_and_gradients(IMAGES, LABELS, CrossEntropy(), algorithm=algorithm)[1].items():
        if isinstance(activation, ReLU):  # a pooled gradient is the same sum in another order
            assert np.abs(gradients[key] - theirs).max() <= 1e-4 * np.abs(theirs).max() + 1e-7, key
        else:
            assert np.array_equal(gradients[key], theirs), key


@pytest.mark.parametrize("activation", FUSED, ids=str)
def test_training_fuses_where_the_gradient_needs_no_more_than_is_kept(activation: Layer) -> None:
    plan = network(activation).plan(batch=4, training=True, loss=CrossEntropy(), optimizer=SGD(0.1))
    name = op_of(activation)
    number = cnncore.ACTIVATIONS[name]
    (norm,) = [i for i in plan.instructions if i.op == "batchnorm_forward_training"]
    (back,) = [i for i in plan.instructions if i.op == "batchnorm_backward"]
    assert norm.geometry["activation"] == back.geometry["activation"] == (number if name == "relu" else 0)
    alone = {i.layer for i in plan.instructions if i.op == f"{name}_forward"}
    assert alone == (set() if name == "relu" else {"5"} if name in BY_OUTPUT else {"1", "5", "8"})


@pytest.mark.parametrize("activation", [LeakyReLU(), ELU(), Clip(0.0, 5.0), PReLU()], ids=str)
def test_one_with_numbers_stays_an_op(activation: Layer) -> None:
    for trains in (False, True):
        plan = network(activation).plan(batch=4, training=trains, loss=CrossEntropy(), optimizer=SGD(0.1))
        assert sum(i.op == f"{op_of(activation)}_forward" for i in plan.instructions) == 3


def test_a_frozen_normalisation_fuses_what_its_output_is_enough_for() -> None:
    for activation, ops in ((Tanh(), 0), (GELU(), 1)):
        layers = [Conv2D(3, 5, 3), BatchNorm(5), activation, Flatten(), Linear(240, 4)]
        net = Sequential(layers, (3, 10, 8), seed=3)
        plan = net.plan(4, True, loss=CrossEntropy(), optimizer=SGD(0.1), freeze=("1",))
        assert sum(i.op == f"{op_of(activation)}_forward" for i in plan.instructions) == ops


def test_what_the_gradient_reads() -> None:
    for layer in (Softplus(), Hardsigmoid(), ReLU6(), Clip()):
        assert "dst" in {operand.name for operand in cnncore.OPS[f"{op_of(layer)}_backward"].operands}
    for layer in (GELU(), GELU("tanh"), SiLU(), Hardswish(), PReLU()):
        assert "src" in {operand.name for operand in cnncore.OPS[f"{op_of(layer)}_backward"].operands}


# ---- on their way ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("activation", "written"),
    [
        (GELU(), "GELU"), (GELU("tanh"), {"GELU": "tanh"}), (SiLU(), "SiLU"), (Hardswish(), "Hardswish"),
        (Hardsigmoid(), "Hardsigmoid"), (Softplus(), "Softplus"), (ReLU6(), "ReLU6"),
        (Clip(-0.5, 0.75), {"Clip": [-0.5, 0.75]}), (PReLU(), "PReLU"), (PReLU(5), {"PReLU": 5}),
    ],
    ids=str,
)  # fmt: skip
def test_a_configuration_and_a_checkpoint_keep_it(activation: Layer, written: Any, tmp_path: Path) -> None:
    layers = [{"Conv2D": [3, 5, 3]}, written, "Flatten", {"Linear": [240, 4]}]
    net = Sequential([Conv2D(3, 5, 3), activation, Flatten(), Linear(240, 4)], input_shape=(3, 10, 8), seed=3)
    section = ModelConfig(layers=layers, input_shape=(3, 10, 8))
    assert build_network(section, seed=3).to_config() == net.to_config()
    net.save(tmp_path / "net.safetensors")
    assert np.array_equal(load(tmp_path / "net.safetensors").predict(IMAGES), net.predict(IMAGES))
    assert str(activation) in str(net.summary())
