"""Fusion: what the passes make of a plan, what they leave alone, and that the gradients stay what they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import engine.plan
from engine.layers import (
    Add,
    BatchNorm,
    Clip,
    Conv2D,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    Layer,
    Linear,
    MaxPool2D,
    ReLU,
    ReLU6,
)
from engine.losses import CrossEntropy
from engine.network.graph import Graph, Network, Sequential
from engine.plan.fuse import fuse_unpool
from engine.plan.plan import Plan
from engine.program.code import Code


def backward(plan: Plan) -> list[str]:
    """Ops behind the loss, those with options as op+option."""
    names = [instruction.op for instruction in plan.instructions]
    first = names.index("cross_entropy") + 1
    shown = []
    for instruction in plan.instructions[first:]:
        options = [name for name in ("argmax", "mask") if name in instruction.operands]
        shown.append("+".join([instruction.op, *options]))
    return shown


def unfused(monkeypatch: pytest.MonkeyPatch) -> None:
    def unchanged(code: Code) -> Code:
        return code

    monkeypatch.setattr(engine.plan, "fuse_backward", unchanged)


def chain(*layers: Layer, shape: tuple[int, ...] = (3, 8, 8)) -> Network:
    return Sequential(layers, input_shape=shape, seed=3)


def two_blocks() -> Network:
    return chain(
        Conv2D(3, 5, 3, padding=1), ReLU(), Conv2D(5, 6, 3, padding=1), ReLU(), MaxPool2D(2, 2),
        Flatten(), Linear(96, 7), ReLU(), Linear(7, 3),
    )  # fmt: skip


def test_pooled_gradients_and_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert backward(two_blocks().plan(training=True, algorithm="direct")) == [
        "linear_backward_weights",
        "linear_backward_data+mask",
        "linear_backward_weights",
        "linear_backward_data",
        "conv2d_backward_weights+argmax",
        "conv2d_backward_data+argmax+mask",
        "conv2d_backward_weights",
        "check_gradients",
    ]
    unfused(monkeypatch)
    assert backward(two_blocks().plan(training=True, algorithm="direct")) == [
        "linear_backward_weights",
        "linear_backward_data",
        "relu_backward",
        "linear_backward_weights",
        "linear_backward_data",
        "maxpool2d_backward+argmax",
        "conv2d_backward_weights",
        "conv2d_backward_data",
        "relu_backward",
        "conv2d_backward_weights",
        "check_gradients",
    ]


def test_the_arena_holds_no_gradient_of_the_size_before_pooling() -> None:
    plan = two_blocks().plan(batch=4, training=True, algorithm="direct")
    whole = [i for i in plan.instructions if i.op.startswith("conv2d_backward") and "argmax" in i.operands]
    assert len(whole) == 2
    for instruction in whole:
        assert instruction.geometry["pool"] == 2 and instruction.geometry["oh"] == 8
        assert plan.code.values[instruction.operands["diff_dst"]].shape == (4, 4, 6)
    touched = {value for i in plan.instructions for value in i.operands.values()}
    assert not any(plan.code.values[value].shape == (8, 8, 6) for value in touched)


def residual() -> Network:
    """The gradient of the first ReLU is a sum: its producers may not mask their terms' sum each by itself."""
    graph = Graph((3, 8, 8), seed=3)
    first = graph.add(ReLU(), graph.add(Conv2D(3, 4, 3, padding=1), graph.input))
    second = graph.add(Conv2D(4, 4, 3, padding=1), first)
    both = graph.add(Add(), first, second)
    graph.output = graph.add(Linear(4, 3), graph.add(GlobalAvgPool2D(), both))
    return graph


def branching() -> Network:
    """One max-pool of a convolution without ReLU, and a pool of 3x3."""
    graph = Graph((3, 9, 9), seed=3)
    conv = graph.add(Conv2D(3, 4, 3, padding=1), graph.input)
    halved = graph.add(MaxPool2D(2, 2), conv)
    third = graph.add(ReLU(), graph.add(Conv2D(4, 4, 2), halved))
    pooled = graph.add(MaxPool2D(3, 3), third)
    graph.output = graph.add(Linear(4, 3), graph.add(Flatten(), pooled))
    return graph


def test_a_gradient_with_two_producers_is_masked_by_their_sum() -> None:
    plan = backward(residual().plan(training=True, algorithm="direct"))
    masked = plan.index("add+mask")
    assert plan[masked - 1] == "conv2d_backward_data" and "relu_backward" not in plan


def test_a_global_average_masks_for_the_relu_before_it() -> None:
    layers = [Conv2D(3, 4, 3, padding=1), ReLU(), GlobalAvgPool2D(), Linear(4, 3)]
    plan = backward(Sequential(layers, (3, 8, 8), seed=3).plan(training=True, algorithm="direct"))
    assert "avgpool2d_backward+mask" in plan and "relu_backward" not in plan


def test_other_pools_keep_their_op() -> None:
    assert backward(branching().plan(training=True, algorithm="direct"))[2:] == [
        "maxpool2d_backward+argmax",
        "relu_backward",
        "conv2d_backward_weights",
        "conv2d_backward_data",
        "conv2d_backward_weights+argmax",
        "check_gradients",
    ]


def with_everything() -> Network:
    return chain(
        Conv2D(3, 17, 3, padding=1), ReLU(), BatchNorm(17), Conv2D(17, 5, 3), BatchNorm(5), ReLU(), MaxPool2D(2, 2),
        Dropout(0.2), Conv2D(5, 6, 2), ReLU(), MaxPool2D(2, 2), Flatten(), Linear(24, 9), ReLU(), Dropout(0.5),
        Linear(9, 3), shape=(3, 13, 13),
    )  # fmt: skip


@pytest.mark.parametrize("make", [two_blocks, residual, branching, with_everything])
def test_gradients_keep_their_bits_and_sums_their_value(make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mask moves no bit; a pooled gradient is the same sum, in the order of what is not zero."""
    net = make()
    x = np.random.default_rng(0).standard_normal((6, *net.input_shape)).astype(np.float32)
    y = np.arange(6) % 3
    loss, gradients = net.loss_and_gradients(x, y, CrossEntropy(), algorithm="direct")
    assert all(gradients[name].any() for name in gradients if name.endswith("weights"))
    monkeypatch.setattr(engine.plan, "fuse_backward", fuse_unpool)
    _, unmasked = make().loss_and_gradients(x, y, CrossEntropy(), algorithm="direct")
    unfused(monkeypatch)
    plain_loss, plain = make().loss_and_gradients(x, y, CrossEntropy(), algorithm="direct")
    assert loss == plain_loss
    for name, value in plain.items():
        assert gradients[name].tobytes() == unmasked[name].tobytes(), name
        assert np.abs(gradients[name] - value).max() <= 1e-5 * np.abs(value).max() + 1e-7, name


# ---- batch normalisation ------------------------------------------------------------------------------------------


def normalised() -> Network:
    return chain(
        Conv2D(3, 5, 3, padding=1), ReLU(), BatchNorm(5), Conv2D(5, 6, 3, padding=1), BatchNorm(6), ReLU(),
        MaxPool2D(2, 2), Conv2D(6, 6, 2), BatchNorm(6), MaxPool2D(2, 2), Flatten(), Linear(6, 3), shape=(3, 7, 8),
    )  # fmt: skip


def test_batch_normalisation_takes_relu_and_pool_behind_it() -> None:
    plan = normalised().plan(batch=4, training=True, algorithm="direct")
    norms = [i for i in plan.instructions if i.op == "batchnorm_forward_training"]
    fused = [(n.layer, n.geometry["activation"], n.geometry["pool"], "argmax" in n.operands) for n in norms]
    assert fused == [("2", 0, 0, False), ("4+5+6", 1, 2, True), ("8+9", 0, 2, True)]
    assert backward(plan)[2:] == [
        "batchnorm_backward+argmax",
        "conv2d_backward_weights",
        "conv2d_backward_data",
        "batchnorm_backward+argmax",
        "conv2d_backward_weights",
        "conv2d_backward_data",
        "batchnorm_backward+mask",
        "conv2d_backward_weights",
        "check_gradients",
    ]


@pytest.mark.parametrize("training", [False, True])
def test_a_convolution_takes_the_pool_behind_it_without_an_activation(
    training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the networks have it that normalise behind the pool; every bit stays."""

    def net() -> Network:
        return chain(
            Conv2D(3, 8, 3, padding=1), MaxPool2D(2, 2), BatchNorm(8), Flatten(), Linear(96, 3), shape=(3, 7, 8)
        )

    (first, *_) = [i for i in net().plan(4, training, algorithm="direct").instructions if i.op == "conv2d_forward"]
    assert (first.layer, first.geometry["pool"]) == ("0+1", 2)
    x = np.random.default_rng(0).standard_normal((4, 3, 7, 8)).astype(np.float32)
    y = np.arange(4) % 3
    fused = net().loss_and_gradients(x, y, CrossEntropy(), algorithm="direct"), net().predict(x)
    monkeypatch.setattr(engine.plan, "fuse_maxpool", lambda code: code)
    plain = net().loss_and_gradients(x, y, CrossEntropy(), algorithm="direct"), net().predict(x)
    assert fused[0][0] == plain[0][0] and fused[1].tobytes() == plain[1].tobytes()
    assert {k: v.tobytes() for k, v in fused[0][1].items()} == {k: v.tobytes() for k, v in plain[0][1].items()}


@pytest.mark.parametrize("training", [False, True])
def test_a_clip_from_0_to_6_is_a_relu6(training: bool) -> None:
    """The same op, which fuses, and the same bits; another clip keeps an op of its own."""
    images = 8 * np.random.default_rng(0).standard_normal((4, 3, 8, 8)).astype(np.float32)
    nets = [chain(Conv2D(3, 5, 3), each, Flatten(), Linear(180, 3)) for each in (Clip(0, 6), ReLU6(), Clip(0, 7))]
    ops = [[each.op for each in net.plan(4, training, algorithm="direct").instructions] for net in nets]
    assert ops[0] == ops[1] and "relu6_forward" not in ops[0] and "clip_forward" in ops[2]
    assert np.array_equal(nets[0].predict(images), nets[1].predict(images))
    gradients = [net.loss_and_gradients(images, np.arange(4) % 3, CrossEntropy())[1] for net in nets]
    assert all(np.array_equal(gradients[0][key], each) for key, each in gradients[1].items())
    assert not np.array_equal(gradients[0]["0.weights"], gradients[2]["0.weights"])


def test_in_evaluation_too() -> None:
    plan = chain(Conv2D(3, 5, 3), ReLU(), BatchNorm(5), MaxPool2D(2, 2)).plan(batch=2)
    (norm,) = [i for i in plan.instructions if i.op == "batchnorm_forward_inference"]
    assert (norm.layer, norm.geometry["pool"]) == ("2+3", 2) and "argmax" not in norm.operands
    assert "maxpool2d_forward" not in [i.op for i in plan.instructions]


def test_the_gradient_of_a_normalisation_overwrites_its_source() -> None:
    plan = normalised().plan(batch=4, training=True, algorithm="direct")
    for instruction in plan.instructions:
        if instruction.op == "batchnorm_backward":
            source, gradient = instruction.operands["src"], instruction.operands["diff_src"]
            assert plan.arena.offsets[source] == plan.arena.offsets[gradient]


@pytest.mark.parametrize("make", [normalised, with_everything])
def test_fused_normalisation_computes_the_same(make, monkeypatch: pytest.MonkeyPatch) -> None:
    net = make()
    x = np.random.default_rng(1).standard_normal((6, *net.input_shape)).astype(np.float32)
    y = np.arange(6) % 3
    loss, gradients = net.loss_and_gradients(x, y, CrossEntropy(), algorithm="direct")
    predicted = net.predict(x)

    def unchanged(code: Code) -> Code:
        return code

    monkeypatch.setattr(engine.plan, "fuse_activations", lambda code, trains: code)
    monkeypatch.setattr(engine.plan, "fuse_maxpool", unchanged)
    plain_net = make()
    plain_loss, plain = plain_net.loss_and_gradients(x, y, CrossEntropy(), algorithm="direct")
    assert loss == plain_loss and np.array_equal(predicted, plain_net.predict(x))
    for name, value in plain.items():
        scale = np.abs(value).max()
        assert np.abs(gradients[name] - value).max() <= 1e-4 * scale + 1e-7, name


def blocks() -> Network:
    """Sums behind normalisations: of one with its own input, of two, of one with a map that comes later, and of one
    with itself; a third term; and one that something else reads as well."""
    graph = Graph((3, 8, 8), seed=3)

    def normal(source: str) -> str:
        return graph.add(BatchNorm(4), graph.add(Conv2D(4, 4, 3, padding=1), source))

    first = graph.add(ReLU(), graph.add(BatchNorm(4), graph.add(Conv2D(3, 4, 3, padding=1), graph.input)))
    second = graph.add(ReLU(), graph.add(Add(), normal(first), first, name="own"))
    third = graph.add(ReLU(), graph.add(Add(), normal(second), normal(second), name="two"))
    early = normal(third)
    fourth = graph.add(Add(), early, graph.add(ReLU(), graph.add(Conv2D(4, 4, 3, padding=1), third)), name="later")
    itself = normal(fourth)
    fifth = graph.add(Add(), itself, itself, name="itself")
    sixth = graph.add(Add(), normal(fifth), fifth, fourth, name="three")
    seventh = normal(sixth)
    eighth = graph.add(Add(), graph.add(Add(), seventh, sixth, name="shared"), seventh, name="again")
    graph.output = graph.add(Linear(4, 3), graph.add(GlobalAvgPool2D(), graph.add(MaxPool2D(2, 2), eighth)))
    return graph


def test_a_normalisation_takes_the_sum_behind_it() -> None:
    plan = blocks().plan(batch=4, training=True, algorithm="direct")
    taken = [i for i in plan.instructions if "addend" in i.operands]
    names = [[part for part in i.layer.split("+") if part in ("own", "two", "later", "three")] for i in taken]
    assert names == [["own"], ["two"], ["later"], ["three"]]
    assert [i.geometry["activation"] for i in taken] == [1, 1, 0, 0]
    forward = [i.op for i in plan.instructions if not i.op.endswith("_backward")]
    assert "add+mask" in backward(plan)
    assert forward.count("batchnorm_forward_training") == 8


def test_a_sum_in_a_normalisation_moves_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(1).standard_normal((6, 3, 8, 8)).astype(np.float32)
    y = np.arange(6) % 3
    loss, gradients = blocks().loss_and_gradients(x, y, CrossEntropy(), algorithm="direct")
    monkeypatch.setattr(engine.plan, "fuse_sums", lambda code: code)
    plain_loss, plain = blocks().loss_and_gradients(x, y, CrossEntropy(), algorithm="direct")
    assert loss == plain_loss
    assert {name: value.tobytes() for name, value in gradients.items()} == {
        name: value.tobytes() for name, value in plain.items()
    }


@pytest.mark.parametrize(
    ("filters", "kernel", "folded"), [(1, 1, False), (3, 1, False), (1, (4, 1), False), (3, (4, 5), True)]
)
def test_a_normalisation_of_pixels_is_not_folded_into_filters(filters: int, kernel: Any, folded: bool) -> None:
    """A Flatten moves nothing, so the normalisation behind it reads what the convolution wrote."""
    rng = np.random.default_rng(0)
    conv = Sequential([Conv2D(1, filters, kernel)], (1, 4, 5))
    channels = int(np.prod(conv.output_shape))
    net = Sequential([Conv2D(1, filters, kernel), Flatten(), BatchNorm(channels), ReLU()], (1, 4, 5))
    net.load_buffers({name: rng.uniform(0.5, 2, channels).astype(np.float32) for name in net.buffers()})
    conv.load_parameters({name: net.parameters()[name] for name in conv.parameters()})
    x = rng.standard_normal((3, 1, 4, 5)).astype(np.float32)
    mean, var = net.buffers()["2.running_mean"], net.buffers()["2.running_var"]
    expected = np.maximum((conv.predict(x).reshape(3, -1) - mean) / np.sqrt(var + 1e-5), 0)
    np.testing.assert_allclose(net.predict(x), expected, atol=1e-5)
    assert bool(net.plan(3).folds) == folded
