"""Training in less memory: the same results, and how much less it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cnncore
import numpy as np
import pytest
from numpy.typing import NDArray

import engine
from engine.errors import DivergedError, UserError
from engine.layers import (
    Add,
    BatchNorm,
    Conv2D,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    Linear,
    MaxPool2D,
    ReLU,
    ReLU6,
    SiLU,
    Softmax,
)
from engine.models import MODELS, make_model
from engine.network.network import Network
from engine.network.session import TrainingSession
from engine.optim import SGD, Adam
from engine.plan import TRAINING, Request, make_plan
from engine.plan.plan import Plan
from engine.plan.request import SMALL, USUAL
from engine.program.code import ARENA
from tests.engine.small import ISAS, small_dataset, small_net

SHAPE, CLASSES = (3, 16, 16), 4


def _sequential(*layers: engine.Layer, shape: tuple[int, ...] = SHAPE) -> Network:
    return engine.Sequential([*layers, GlobalAvgPool2D(), Linear(16, CLASSES), Softmax()], shape, seed=3)


def _conv(inputs: int, outputs: int) -> Conv2D:
    return Conv2D(inputs, outputs, 3, padding=1)


def _pooled() -> Network:
    """Batch normalisation, ReLU and pool in one op: the maps before them fill most of the arena."""
    return _sequential(_conv(3, 32), BatchNorm(32), ReLU(), MaxPool2D(2, 2), _conv(32, 16), BatchNorm(16), ReLU())


def _behind_relu() -> Network:
    """The input of the normalisation is the mask of the ReLU before it."""
    return _sequential(_conv(3, 32), ReLU(), BatchNorm(32), MaxPool2D(2, 2), Dropout(0.2), _conv(32, 16), ReLU())


def _functions() -> Network:
    return _sequential(_conv(3, 16), BatchNorm(16), SiLU(), _conv(16, 16), BatchNorm(16), ReLU6(), _conv(16, 16))


def _wide_linear() -> Network:
    layers = [Flatten(), Linear(768, 256), BatchNorm(256), ReLU(), Linear(256, CLASSES), Softmax()]
    return engine.Sequential(layers, SHAPE, seed=3)


def _one_channel() -> Network:
    """The first layer reads what the caller gives: no window can begin in the middle of that."""
    return _sequential(_conv(1, 32), BatchNorm(32), ReLU(), MaxPool2D(2, 2), _conv(32, 16), shape=(1, 16, 16))


def _residual() -> Network:
    graph = engine.Graph(SHAPE, seed=3)
    start = graph.add(ReLU(), graph.add(BatchNorm(16), graph.add(_conv(3, 16), graph.input)))
    inner = graph.add(ReLU(), graph.add(BatchNorm(16), graph.add(_conv(16, 16), start)))
    inner = graph.add(BatchNorm(16), graph.add(_conv(16, 16), inner))
    top = graph.add(ReLU(), graph.add(Add(), start, inner))
    graph.output = graph.add(Softmax(), graph.add(Linear(16, CLASSES), graph.add(GlobalAvgPool2D(), top)))
    return graph


def _two_branches() -> Network:
    """Two normalisations of one map, with a pool each: neither can write its gradient over it."""
    graph = engine.Graph(SHAPE, seed=3)
    shared = graph.add(_conv(3, 16), graph.input)

    def branch() -> str:
        return graph.add(MaxPool2D(2, 2), graph.add(ReLU(), graph.add(BatchNorm(16), shared)))

    joined = graph.add(Add(), branch(), branch())
    graph.output = graph.add(Softmax(), graph.add(Linear(16, CLASSES), graph.add(GlobalAvgPool2D(), joined)))
    return graph


def _without_norm() -> Network:
    return _sequential(_conv(3, 16), ReLU(), _conv(16, 16), ReLU(), MaxPool2D(2, 2), Dropout(0.3))


NETWORKS = (_pooled, _behind_relu, _functions, _wide_linear, _one_channel, _residual, _two_branches, _without_norm)
every_network = pytest.mark.parametrize("build", NETWORKS, ids=lambda build: build.__name__.strip("_"))


def images(net: Network, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(count)
    return rng.normal(size=(count, *net.input_shape)).astype(np.float32), rng.integers(0, CLASSES, count)


def gradients(build: Callable[[], Network], memory: str, batch: int, count: int) -> tuple[float, Network]:
    """The loss of a step that moves nothing, and the network with the gradients that it left."""
    net = build()
    session = net.training_session(engine.CrossEntropy(), SGD(lr=0.0), batch, memory=memory)
    loss = session.step(*images(net, count), 0.0, 0, seed=5)
    return loss, net


@every_network
@pytest.mark.parametrize("batch, count", [(32, 32), (32, 31), (32, 17), (32, 16), (32, 2), (7, 7)])
def test_a_step_gives_the_same_but_for_rounding(build: Callable[[], Network], batch: int, count: int) -> None:
    usual, net = gradients(build, USUAL, batch, count)
    small, other = gradients(build, SMALL, batch, count)
    assert small == pytest.approx(usual, rel=1e-6)
    largest = np.abs(net.store.gradients).max()
    np.testing.assert_allclose(other.store.gradients, net.store.gradients, rtol=0, atol=1e-4 * largest)
    np.testing.assert_allclose(other.store.buffers, net.store.buffers, rtol=1e-5, atol=1e-6)


@every_network
def test_the_same_bits_on_any_team(build: Callable[[], Network]) -> None:
    found = []
    try:
        for threads in (1, 2, 3, 7):
            cnncore.set_num_threads(threads)
            found.append(gradients(build, SMALL, 32, 29)[1].store.gradients)
    finally:
        cnncore.set_num_threads(0)
    assert all(np.array_equal(each, found[0]) for each in found)


@pytest.mark.parametrize("build", (_functions, _residual), ids=("functions", "residual"))
def test_what_is_only_made_again_has_the_same_bits(build: Callable[[], Network]) -> None:
    net = build()
    plan = net.plan(32, True, engine.CrossEntropy(), SGD(), memory=SMALL)
    assert not any(each.window for each in plan.instructions)
    assert any(each.op == "batchnorm_normalize" for each in plan.instructions)
    assert np.array_equal(
        gradients(build, SMALL, 32, 32)[1].store.gradients, gradients(build, USUAL, 32, 32)[1].store.gradients
    )


def plans(name: str, batch: int, isa: str, memory: str) -> Plan:
    """The plan of a step of a named network, or of a part of one, on a set that the machine need not have."""
    net = make_model(name)
    loss: engine.Loss = engine.MeanSquaredError() if len(net.output_shape) > 1 else engine.CrossEntropy()
    kind = next(iter(loss.ops))
    request = Request(TRAINING, batch, loss, kind, SGD(), memory=memory)
    return make_plan(net.topology, net.store.slots, net.store.buffer_slots, request, isa)


@pytest.mark.parametrize("isa", ISAS)
def test_the_arena_of_the_scenes_network_is_half(isa: str) -> None:
    usual, small = (plans("scene_15", 64, isa, memory) for memory in (USUAL, SMALL))
    assert small.arena_bytes <= 0.5 * usual.arena_bytes
    assert sum(small.estimates) <= sum(usual.estimates) / 0.9
    assert f"arena = {small.arena.fixed_bytes:,} B" in str(small) and "from 32" in str(small)


@pytest.mark.parametrize("isa", ISAS)
def test_the_arena_of_the_network_of_cifar10_is_half(isa: str) -> None:
    """It has no batch normalisation: pairs of layers go depth-first."""
    usual, small = (plans("vgg3", 64, isa, memory) for memory in (USUAL, SMALL))
    assert small.arena_bytes <= 0.5 * usual.arena_bytes
    assert sum(small.estimates) <= sum(usual.estimates) / 0.9 and any(each.window for each in small.instructions)


def test_where_windows_do_not_help_the_batch_is_computed_in_parts() -> None:
    net = make_model("lenet")
    usual, small = (net.plan(64, True, engine.CrossEntropy(), SGD(), memory=memory) for memory in (USUAL, SMALL))
    assert small.request.parts > 1 and small.arena_bytes <= 0.5 * usual.arena_bytes
    session = net.training_session(engine.CrossEntropy(), SGD(), 64, memory=SMALL)
    assert session.plan.arena_bytes == small.arena_bytes


@pytest.mark.parametrize("name", sorted(MODELS))
def test_nothing_is_read_before_it_is_written(name: str) -> None:
    """Of every named network, also in what lies in something else."""
    plan = plans(name, 24, "avx2", SMALL)
    values, written = plan.code.values, set[int]()
    for each in plan.instructions:
        for value in each.sources():
            if values[value].space == ARENA and value not in each.outputs():
                known = value in written or (base := values[value].view) is not None and base[0] in written
                assert known, f"{each.op} of {each.layer} reads {value}"
        for value in each.outputs():
            written.add(value)
            if (view := values[value].view) is not None:
                written.add(view[0])


def test_a_stage_of_frozen_weights_or_clipped_gradients_trains(tmp_path: Path) -> None:
    for memory in (USUAL, SMALL):
        net = _pooled()
        options = {"freeze": ["4"], "max_norm": 0.5, "memory": memory}
        session = net.training_session(engine.CrossEntropy(), Adam(lr=0.01), 32, average="ema", **options)
        losses = [session.step(*images(net, 32), 0.01, step, 1, 0.9) for step in range(3)]
        if memory == USUAL:
            usual, norm = losses, session.gradient_norm
    assert losses == pytest.approx(usual, rel=1e-4) and session.gradient_norm == pytest.approx(norm, rel=1e-4)


def test_a_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    def trainer(folder: str) -> engine.Trainer:
        return engine.Trainer(
            small_net(), SGD(0.05), batch_size=32, memory=SMALL, out=tmp_path / folder, progress="none"
        )

    data = small_dataset(96)
    whole = trainer("whole")
    whole.fit(data, epochs=3)
    trainer("part").fit(data, epochs=1)
    rest = trainer("part")
    rest.fit(data, epochs=3, resume=True)
    assert np.array_equal(whole.net.store.data, rest.net.store.data)
    other = engine.Trainer(small_net(), SGD(0.05), batch_size=32, out=tmp_path / "part", progress="none")
    with pytest.raises(UserError, match="memory"):
        other.fit(data, epochs=4, resume=True)


def test_a_diverged_step_names_the_layer() -> None:
    net = _pooled()
    net.store.data[:] = np.where(
        np.arange(net.store.data.size) == net.store.slots["4.weights"].offset, np.inf, net.store.data
    )
    session: TrainingSession = net.training_session(engine.CrossEntropy(), SGD(), 32, memory=SMALL)
    with pytest.raises(DivergedError, match="'4'"):
        session.step(*images(net, 32), 0.1, 0, 0)


def test_algorithms_are_measured_for_a_small_step_too() -> None:
    net = _pooled()
    plan = net.plan(32, True, engine.CrossEntropy(), SGD(), tune=True, memory=SMALL)
    usual = net.plan(32, True, engine.CrossEntropy(), SGD(), algorithm=plan.choices["convolutions"])
    assert plan.request.memory == SMALL and plan.arena_bytes <= usual.arena_bytes


@pytest.mark.parametrize("memory", ("tiny", "Small", None, 1))
def test_a_word_that_there_is_not(memory: object) -> None:
    net = _pooled()
    for call in (
        lambda: engine.Trainer(net, SGD(), memory=memory),
        lambda: net.plan(8, True, memory=memory),
        lambda: net.training_session(engine.CrossEntropy(), SGD(), 8, memory=memory),
    ):
        with pytest.raises(UserError, match="unknown memory"):
            call()
