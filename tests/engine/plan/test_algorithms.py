"""Which algorithm a convolution uses: chosen by a model, forced, measured, stored and repeated."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import cnncore
import numpy as np
import pytest

import engine
from engine.errors import UserError
from engine.layers import BatchNorm, Conv2D, Flatten, Linear, MaxPool2D, ReLU
from engine.losses import CrossEntropy
from engine.models import make_model
from engine.network import checkpoint
from engine.network.checkpoint import weights_hash
from engine.network.graph import Network, Sequential
from engine.optim import SGD
from engine.plan import algorithms, tune
from engine.plan.cost.estimate import features, seconds
from engine.plan.plan import Plan
from engine.recipe.config import read_config
from engine.training.trainer import Trainer
from tests.engine.small import ISAS, plan_for, small_dataset

NETWORKS = ("lenet", "model1", "model2", "model3", "mnist_cnn", "vgg3", "scene_0", "scene_15", "vgg19", "midas_cnn")

TRAIN, VALIDATION = small_dataset(96), small_dataset(48, seed=1)


def winograd_net(seed: int = 0) -> Network:
    """Convolutions that every algorithm can compute, a pool and a batch normalisation among them."""
    layers = [Conv2D(1, 8, 3, padding=1), BatchNorm(8), ReLU(), Conv2D(8, 8, 3, padding=1), ReLU(), MaxPool2D(2, 2)]
    layers += [Conv2D(8, 8, 3, padding=1), ReLU(), Flatten(), Linear(8 * 25, 3)]
    return Sequential(layers, (1, 10, 10), seed)


def everywhere(algorithm: str, *layers: str) -> dict[str, dict[str, str]]:
    return {layer: dict.fromkeys(algorithms.PASSES, algorithm) for layer in layers}


def convolution_ops(plan: Plan) -> list[tuple[str, str]]:
    kinds = ("conv2d_", "winograd_")
    return [(i.op, i.algorithm) for i in plan.instructions if i.op.startswith(kinds)]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_plans_with_estimates(name: str, isa: str) -> None:
    net = make_model(name)
    for plan in (plan_for(isa, net, 1), plan_for(isa, net, 64, training=True)):
        assert all(0 < estimate < 1e3 for estimate in plan.estimates)
        for instruction in plan.instructions:
            assert seconds(instruction, plan.code.values, 2 * plan.batch, isa) >= seconds(
                instruction, plan.code.values, plan.batch, isa
            )


def test_the_model_prices_the_variant_that_the_core_runs() -> None:
    layers = [Conv2D(3, 8, 3, padding=1), ReLU(), MaxPool2D(2, 2), Conv2D(8, 32, 3, stride=2), ReLU(), MaxPool2D(2, 2)]
    layers += [Conv2D(32, 32, 3, padding=1), ReLU(), MaxPool2D(2, 2), Conv2D(32, 4, 3, padding=1, groups=2), ReLU()]
    layers += [Conv2D(4, 4, 3, padding=1, groups=4)]
    net = Sequential([*layers, MaxPool2D(2, 2), Flatten(), Linear(4, 3)], (3, 40, 40))
    plan = net.plan(8, True, algorithm="direct")
    found = set()
    for _, direction, each in algorithms.convolutions(plan.code):
        variant = cnncore.op_blocking(each.op, dict(each.geometry), plan.batch).variant
        kind, _ = features(each, plan.code.values, plan.batch, "avx2")
        assert kind == {
            "pick": f"pick.{direction}",
            "sparse": f"direct.{direction}.pooled",
            "depthwise": f"depthwise.{direction}",
        }.get(variant, f"direct.{direction}")
        found.add(variant)
    assert found == {"usual", "lanes", "pick", "sparse", "depthwise"}


@pytest.mark.parametrize("isa", ISAS)
def test_where_the_model_says_little_can_be_gained_it_stays_direct(isa: str) -> None:
    few = plan_for(isa, Sequential([Conv2D(1, 8, 3)], (1, 28, 28)), 1)
    many = plan_for(isa, Sequential([Conv2D(64, 64, 3, padding=1)], (64, 32, 32)), 16)
    assert [algorithm for _, algorithm in convolution_ops(few)] == ["direct"]
    assert [algorithm for _, algorithm in convolution_ops(many)] == ["winograd4"]


def test_a_plan_does_not_depend_on_threads_or_on_what_ran_before() -> None:
    net = make_model("vgg3")
    texts = set()
    before = cnncore.get_num_threads()
    try:
        for threads in (1, 2, 3):
            cnncore.set_num_threads(threads)
            texts.add(str(net.plan(64, True, optimizer=SGD(lr=0.1))))
            net.predict(np.zeros((1, 3, 32, 32), np.float32))
    finally:
        cnncore.set_num_threads(before)
    assert len(texts) == 1


def test_direct_is_direct_everywhere() -> None:
    for training in (False, True):
        plan = make_model("vgg3").plan(64, training, algorithm="direct")
        assert convolution_ops(plan) and all(algorithm == "direct" for _, algorithm in convolution_ops(plan))
        assert not plan.filters


def test_a_mapping_decides_where_it_says_something() -> None:
    net = winograd_net()
    plan = net.plan(4, True, algorithm={"3": {"forward": "winograd2"}, "6": everywhere("direct", "6")["6"]})
    assert plan.choices["convolutions"]["3"]["forward"] == "winograd2"
    assert set(plan.choices["convolutions"]["6"].values()) == {"direct"}
    again = net.plan(4, True, algorithm=plan.choices["convolutions"])
    assert str(again) == str(plan)


@pytest.mark.parametrize(
    ("algorithm", "message"),
    [
        ("fast", "unknown algorithm 'fast'"),
        ({"4": {"forward": "direct"}}, "'4'"),
        ({"3": {"backward": "direct"}}, "'backward'"),
        ({"3": {"forward": "winograd3"}}, "'winograd3'"),
    ],
)
def test_an_algorithm_that_there_is_not_is_refused(algorithm: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        winograd_net().plan(4, True, algorithm=algorithm)


@pytest.mark.parametrize(
    "layer",
    [
        Conv2D(8, 8, 3, stride=2),
        Conv2D(8, 8, 3, dilation=2),
        Conv2D(8, 8, 3, groups=2),
        Conv2D(8, 8, (3, 5)),
        Conv2D(8, 8, 1),
        Conv2D(8, 8, 3, padding=3),
    ],
    ids=str,
)
def test_other_convolutions_are_direct(layer: Conv2D) -> None:
    plan = Sequential([layer], (8, 12, 12)).plan()
    ((_, algorithm),) = convolution_ops(plan)
    assert algorithm == "direct"
    with pytest.raises(UserError, match="winograd2"):
        Sequential([layer], (8, 12, 12)).plan(algorithm={"0": {"forward": "winograd2"}})


@pytest.mark.parametrize(("kernel", "tiles"), [(3, (2, 4)), (5, (4,)), (7, ())])
def test_a_kernel_has_the_algorithms_that_the_core_has(kernel: int, tiles: tuple[int, ...]) -> None:
    net = Sequential([Conv2D(8, 8, kernel, padding="same")], (8, 12, 12))
    (convolution,) = (i for i in net.plan(2).instructions if algorithms.pass_of(i.op))
    known = algorithms.candidates("conv2d_forward", {**convolution.geometry, "tile": 0})
    assert known == ("direct", *(f"winograd{tile}" for tile in tiles))
    x = np.ones((2, 8, 12, 12), np.float32)
    for algorithm in known:
        net.predict(x, algorithm=everywhere(algorithm, "0"))


def test_filters_are_made_in_every_training_step_and_once_for_inference() -> None:
    net = winograd_net()
    chosen = everywhere("winograd4", "0", "3", "6")
    ops = [op for op, _ in convolution_ops(net.plan(4, True, algorithm=chosen))]
    assert ops.count("winograd_filter") == 3 and ops.count("winograd_filter_backward") == 2
    assert not any(op.startswith("conv2d_") for op in ops)
    for before, after in zip(ops, ops[1:], strict=False):
        assert (before == "winograd_filter") == (after == "winograd_forward")
    plan = net.plan(4, algorithm=chosen)
    assert [op for op, _ in convolution_ops(plan)] == ["winograd_forward"] * 3
    assert [made.space for made in plan.filters] == ["constants", "parameters", "parameters"]
    taken = sorted((made.offset, made.offset + made.bytes) for made in plan.filters)
    taken += [(fold.weights_offset, fold.bias_offset) for fold in plan.folds]
    for (_, end), (start, _) in zip(sorted(taken), sorted(taken)[1:], strict=False):
        assert end <= start
    assert plan.constant_bytes >= max(end for _, end in taken)


def test_optional_operands_move_to_the_other_algorithm() -> None:
    net = winograd_net()
    direct, other = (net.plan(4, True, algorithm=everywhere(name, "0", "3", "6")) for name in ("direct", "winograd2"))

    def optional(plan: Plan) -> list[tuple[str, set[str]]]:
        return [
            (algorithms.pass_of(i.op) or "", set(i.operands) - {"weights", "filter"})
            for i in plan.instructions
            if algorithms.pass_of(i.op)
        ]

    assert optional(direct) == optional(other)
    assert any("argmax" in names for _, names in optional(other))


@pytest.mark.parametrize("algorithm", ["winograd2", "winograd4"])
def test_every_algorithm_computes_the_same_up_to_rounding(algorithm: str) -> None:
    net = winograd_net()
    random = np.random.default_rng(0)
    x = random.standard_normal((5, 1, 10, 10)).astype(np.float32)
    y = random.integers(0, 3, 5)
    chosen = everywhere(algorithm, "0", "3", "6")
    for _ in range(2):  # again with other parameters: filters in the constants follow
        assert np.allclose(net.predict(x, algorithm=chosen), net.predict(x, algorithm="direct"), atol=1e-4)
        _, wanted = net.loss_and_gradients(x, y, CrossEntropy(), algorithm="direct")
        _, gradients = net.loss_and_gradients(x, y, CrossEntropy(), algorithm=chosen)
        for key, gradient in gradients.items():
            assert np.allclose(gradient, wanted[key], atol=1e-3), key
        net.training_session(CrossEntropy(), SGD(lr=0.1), 5, algorithm=chosen).step(x, y, 0.1, 0, 0)


# ---- tuning -------------------------------------------------------------------------------------------------------


def test_tuning_measures_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def slowest_first(values: Any, instruction: Any, known: Any, batch: int, keep: bool) -> dict[str, float]:
        return {name: -float(place) for place, name in enumerate(known)}

    plan = winograd_net().plan(4, True, tune=True)
    for directions in plan.choices["convolutions"].values():
        assert set(directions.values()) <= {"direct", "winograd2", "winograd4"}
    monkeypatch.setattr(tune, "measure", slowest_first)
    plan = winograd_net().plan(4, True, tune=True)
    assert {name for each in plan.choices["convolutions"].values() for name in each.values()} == {"winograd4"}


def test_tuning_and_a_given_algorithm_exclude_each_other() -> None:
    with pytest.raises(UserError, match="tune chooses the algorithms"):
        winograd_net().plan(4, algorithm="direct", tune=True)
    with pytest.raises(UserError, match="tune chooses the algorithms"):
        read_config({"dataset": "digits5k", "model": {"name": "lenet"}, "algorithm": "direct", "tune": True})
    with pytest.raises(UserError, match="unknown algorithm 'fast'"):
        read_config({"dataset": "digits5k", "model": {"name": "lenet"}, "algorithm": "fast"})


def make_trainer(out: Path | None = None, **options: Any) -> Trainer:
    return Trainer(winograd_net(), engine.SGD(lr=0.05), batch_size=16, out=out, progress="none", **options)


def test_a_resumed_run_repeats_tuned_choices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = iter(["winograd2", "winograd4", "direct"])

    def measured(code: Any, batch: int, keep_filters: bool) -> dict[str, dict[str, str]]:
        return everywhere(next(turns), "0", "3", "6")

    monkeypatch.setattr(tune, "measured_choices", measured)
    whole = make_trainer(tmp_path / "whole", tune=True)
    whole.fit(TRAIN, VALIDATION, epochs=2)
    stored = checkpoint.read(tmp_path / "whole" / "last.safetensors").plan_choices["convolutions"]
    assert {name for each in stored.values() for name in each.values()} == {"winograd2"}

    # The second run was tuned otherwise; what goes on must be that, whatever a third measurement says.
    make_trainer(tmp_path / "parts", tune=True).fit(TRAIN, VALIDATION, epochs=1)
    resumed = make_trainer(tmp_path / "parts", tune=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resumed.fit(TRAIN, VALIDATION, epochs=2, resume=True)
    assert next(turns) == "direct"
    assert resumed.choices == everywhere_as_planned("winograd4")
    wanted = make_trainer(algorithm=everywhere("winograd4", "0", "3", "6"))
    history = wanted.fit(TRAIN, VALIDATION, epochs=2)
    assert weights_hash(resumed.net) == weights_hash(wanted.net) != weights_hash(whole.net)
    last = checkpoint.read(tmp_path / "parts" / "last.safetensors").training["position"]["history"]["epochs"]
    assert [each["val_loss"] for each in last] == history["val_loss"]


def everywhere_as_planned(algorithm: str) -> dict[str, dict[str, str]]:
    """As `everywhere`, without the data gradient of the first layer, which nobody needs."""
    chosen = everywhere(algorithm, "0", "3", "6")
    del chosen["0"]["backward_data"]
    return chosen


def test_another_algorithm_is_another_run(tmp_path: Path) -> None:
    make_trainer(tmp_path).fit(TRAIN, epochs=1)
    with pytest.raises(UserError, match="algorithm = auto, now it is direct"):
        make_trainer(tmp_path, algorithm="direct").fit(TRAIN, epochs=2, resume=True)
