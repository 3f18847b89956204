"""Networks end to end: predict, evaluate, gradients, training steps, and every way to use them wrongly."""

from __future__ import annotations

import math
from typing import Any

import cnncore
import numpy as np
import pytest

from engine.errors import DivergedError, UserError
from engine.layers import (
    BatchNorm,
    Conv2D,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    Linear,
    MaxPool2D,
    ReLU,
    Sigmoid,
    Softmax,
)
from engine.losses import BinaryCrossEntropy, CrossEntropy, Loss, MeanSquaredError
from engine.models.numtadb import lenet
from engine.network.graph import Network, Sequential
from engine.optim import SGD, Adam, AdamW, Optimizer
from engine.plan import team
from tests.engine.small import calls

RANDOM = np.random.default_rng(7)
IMAGES = RANDOM.normal(size=(9, 3, 10, 8)).astype(np.float32)
LABELS = RANDOM.integers(0, 4, 9)


def network(seed: int = 0, **arguments: Any) -> Network:
    layers = [
        Conv2D(3, 5, 3, padding=1),
        BatchNorm(5),
        ReLU(),
        MaxPool2D(2, 2),
        Conv2D(5, 7, 3, bias=False),
        ReLU(),
        Flatten(),
        Linear(42, 11),
        ReLU(),
        Dropout(0.25),
        Linear(11, 4),
        Softmax(),
    ]
    return Sequential(layers, input_shape=(3, 10, 8), seed=seed, **arguments)


def smooth() -> Network:
    """Without kinks, so that finite differences hold."""
    layers = [Conv2D(3, 5, 3), Sigmoid(), Flatten(), Linear(240, 6), BatchNorm(6), Sigmoid(), Linear(6, 4)]
    return Sequential(layers, input_shape=(3, 10, 8))


# ---- inference ----------------------------------------------------------------------------------------------------


def test_predict_gives_what_the_last_layer_gives() -> None:
    outputs = network().predict(IMAGES)
    assert outputs.shape == (9, 4) and outputs.dtype == np.float32
    assert np.allclose(outputs.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 4, 9, 256])
def test_predict_does_not_depend_on_the_batch_size(batch_size: int) -> None:
    whole = network().predict(IMAGES, algorithm="direct")
    assert np.array_equal(network().predict(IMAGES, batch_size, algorithm="direct"), whole)
    # Other batches may be planned with other algorithms, which round in another way.
    assert np.allclose(network().predict(IMAGES, batch_size), whole, atol=1e-5)


def test_predict_takes_strided_and_empty_arrays() -> None:
    net = network()
    wide = np.zeros((9, 3, 10, 16), np.float32)
    wide[..., ::2] = IMAGES
    assert np.array_equal(net.predict(wide[..., ::2]), net.predict(IMAGES))
    assert net.predict(IMAGES[:0]).shape == (0, 4)


def test_a_repeated_prediction_checks_its_input_and_sees_new_weights() -> None:
    net = network()
    first = net.predict(IMAGES)
    assert np.array_equal(net.predict(IMAGES), first)
    assert net.predict(IMAGES) is not net.predict(IMAGES)
    for wrong in (IMAGES.astype(np.float64), IMAGES.astype(">f4"), IMAGES.reshape(9, 3, 8, 10), IMAGES.tolist()):
        with pytest.raises(UserError):
            net.predict(wrong)
    with pytest.raises(UserError, match="sample 0 holds nan"):
        net.predict(np.full_like(IMAGES, np.nan))
    wide = np.zeros((9, 3, 10, 16), np.float32)
    wide[..., ::2] = IMAGES
    assert np.array_equal(net.predict(wide[..., ::2]), first)
    assert np.array_equal(net.predict(np.asfortranarray(IMAGES)), first)
    net.load_parameters({"10.weights": np.zeros((4, 11), np.float32)}, strict=False)
    assert np.array_equal(net.predict(IMAGES), np.full((9, 4), 0.25, np.float32))
    other = network(seed=1)
    net.load_parameters(other.parameters())
    net.load_buffers({"1.running_mean": np.ones(5, np.float32)}, strict=False)
    other.load_buffers({"1.running_mean": np.ones(5, np.float32)}, strict=False)
    assert np.array_equal(net.predict(IMAGES), other.predict(IMAGES))


@pytest.mark.skipif(len(cnncore.available_isas()) < 2, reason="this processor has one instruction set only")
def test_a_repeated_prediction_runs_on_the_instruction_set_of_now() -> None:
    net, usual = network(), cnncore.isa()
    net.predict(IMAGES)
    try:
        for isa in cnncore.available_isas():
            cnncore.set_isa(isa)
            assert np.array_equal(net.predict(IMAGES), network().predict(IMAGES))
    finally:
        cnncore.set_isa(usual)


def test_maps_come_out_in_the_public_order() -> None:
    net = Sequential([Conv2D(3, 3, 1, bias=False)], input_shape=(3, 10, 8))
    net.load_parameters({"0.weights": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)})
    assert np.array_equal(net.predict(IMAGES), IMAGES)
    flat = Sequential([Flatten()], input_shape=(3, 10, 8))
    assert np.array_equal(flat.predict(IMAGES), IMAGES.reshape(9, -1))
    assert np.array_equal(Sequential([Dropout(0.5)], input_shape=(3, 10, 8)).predict(IMAGES), IMAGES)
    assert np.array_equal(Sequential([Dropout(0.5)], input_shape=(240,)).predict(IMAGES.reshape(9, -1)),
                          IMAGES.reshape(9, -1))  # fmt: skip


def test_evaluate_is_the_mean_loss_and_the_predictions() -> None:
    net = network()
    loss, outputs = net.evaluate(IMAGES, LABELS, CrossEntropy(), batch_size=4)
    assert np.array_equal(outputs, net.predict(IMAGES))
    assert loss == pytest.approx(-np.log(outputs[np.arange(9), LABELS]).mean(), rel=1e-5)
    soft = np.eye(4, dtype=np.float32)[LABELS]
    assert net.evaluate(IMAGES, soft, CrossEntropy())[0] == pytest.approx(loss, rel=1e-6)
    assert net.evaluate(IMAGES, soft, MeanSquaredError())[0] == pytest.approx(np.square(outputs - soft).mean())


def test_the_final_layer_is_absorbed_only_by_its_own_loss() -> None:
    net = Sequential([Flatten(), Linear(240, 4), Sigmoid()], input_shape=(3, 10, 8))
    targets = RANDOM.integers(0, 2, (9, 4)).astype(np.float32)
    outputs = net.predict(IMAGES).astype(np.float64)
    expected = -(targets * np.log(outputs) + (1 - targets) * np.log(1 - outputs)).mean()
    assert net.evaluate(IMAGES, targets, BinaryCrossEntropy())[0] == pytest.approx(expected, rel=1e-4)
    logits = net.evaluate(IMAGES, LABELS, CrossEntropy())[0]
    expected = (np.log(np.exp(outputs).sum(1)) - outputs[np.arange(9), LABELS]).mean()
    assert logits == pytest.approx(expected, rel=1e-5)


# ---- gradients ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [CrossEntropy(), CrossEntropy(0.2), MeanSquaredError(), BinaryCrossEntropy()], ids=str)
def test_gradients_agree_with_finite_differences(loss: Loss) -> None:
    net = smooth()
    y = LABELS if isinstance(loss, CrossEntropy) else RANDOM.uniform(0, 1, (9, 4)).astype(np.float32)
    _, gradients = net.loss_and_gradients(IMAGES, y, loss)
    parameters = net.parameters()
    shift = 1e-2
    for key, array in parameters.items():
        direction = np.random.default_rng(3).normal(size=array.shape).astype(np.float32)
        direction /= np.linalg.norm(direction)
        values = []
        for sign in (1, -1):
            net.load_parameters({**parameters, key: array + sign * shift * direction})
            values.append(net.loss_and_gradients(IMAGES, y, loss)[0])
        slope = float((gradients[key] * direction).sum())
        assert (values[0] - values[1]) / (2 * shift) == pytest.approx(slope, rel=2e-2, abs=2e-5), key


def test_loss_and_gradients_repeats_its_draws() -> None:
    net = network()
    first = net.loss_and_gradients(IMAGES, LABELS, CrossEntropy(), seed=3, step=5)
    again = net.loss_and_gradients(IMAGES, LABELS, CrossEntropy(), seed=3, step=5)
    other = net.loss_and_gradients(IMAGES, LABELS, CrossEntropy(), seed=3, step=6)
    assert first[0] == again[0] and all(np.array_equal(first[1][key], again[1][key]) for key in first[1])
    assert first[0] != other[0]
    assert list(first[1]) == list(net.parameters())


def test_batch_normalisation_updates_its_running_statistics() -> None:
    net = Sequential([BatchNorm(3, momentum=0.25)], input_shape=(3, 10, 8))
    net.loss_and_gradients(IMAGES, IMAGES, MeanSquaredError())
    mean, variance = IMAGES.mean((0, 2, 3)), IMAGES.var((0, 2, 3), ddof=1)
    assert np.allclose(net.buffers()["0.running_mean"], 0.25 * mean, atol=1e-6)
    assert np.allclose(net.buffers()["0.running_var"], 0.75 + 0.25 * variance, atol=1e-5)


# ---- training -----------------------------------------------------------------------------------------------------


def reference_update(optimizer: Optimizer, p: np.ndarray, gradients: list[np.ndarray], role: str) -> np.ndarray:
    """The optimisers in float64, as PyTorch documents them."""
    p = p.astype(np.float64)
    velocity, first, second = np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    for step, gradient in enumerate(gradients):
        l2, decay = optimizer.decay_of("linear", role)
        g = gradient + l2 * p
        if isinstance(optimizer, SGD):
            velocity = optimizer.momentum * velocity + g
            p = p - optimizer.lr * (g + optimizer.momentum * velocity if optimizer.nesterov else velocity)
            continue
        assert isinstance(optimizer, (Adam, AdamW))
        beta1, beta2 = optimizer.betas
        p = p * (1 - optimizer.lr * decay)
        first, second = beta1 * first + (1 - beta1) * g, beta2 * second + (1 - beta2) * g * g
        corrected = np.sqrt(second / (1 - beta2 ** (step + 1))) + optimizer.eps
        p = p - optimizer.lr * first / (1 - beta1 ** (step + 1)) / corrected
    return p


OPTIMIZERS: list[Optimizer] = [
    SGD(lr=0.1),
    SGD(lr=0.1, momentum=0.9),
    SGD(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    SGD(lr=0.1, momentum=0.5, l2={"linear": 0.05}),
    Adam(lr=0.01),
    Adam(lr=0.01, betas=(0.8, 0.9), weight_decay=0.1),
    AdamW(lr=0.01, weight_decay=0.2, l2={"linear": 0.05}),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_steps_are_those_of_the_formula(optimizer: Optimizer) -> None:
    net = Sequential([Flatten(), Linear(240, 4)], input_shape=(3, 10, 8))
    session = net.training_session(CrossEntropy(), optimizer, 9)
    start = net.parameters()
    gradients: list[dict[str, np.ndarray]] = []
    for step in range(4):
        gradients.append(net.loss_and_gradients(IMAGES, LABELS, CrossEntropy())[1])
        session.step(IMAGES, LABELS, optimizer.lr, step, 0)
    for key, role in (("1.weights", "weights"), ("1.bias", "bias")):
        expected = reference_update(optimizer, start[key], [each[key] for each in gradients], role)
        assert np.allclose(net.parameters()[key], expected, atol=3e-6, rtol=1e-4), key


def test_clipping_bounds_the_norm_of_the_whole_gradient() -> None:
    net = network()
    _, gradients = net.loss_and_gradients(IMAGES, LABELS, CrossEntropy())
    norm = math.sqrt(sum(float(np.square(g.astype(np.float64)).sum()) for g in gradients.values()))
    before = net.parameters()
    session = net.training_session(CrossEntropy(), SGD(lr=1.0), 9, max_norm=norm / 4)
    session.step(IMAGES, LABELS, 1.0, 0, 0)
    assert session.gradient_norm == pytest.approx(norm, rel=1e-5)
    for key, array in net.parameters().items():
        assert np.allclose(before[key] - array, gradients[key] / 4, atol=1e-6)


@pytest.mark.parametrize("optimizer", [SGD(lr=0.01, momentum=0.9), Adam(lr=0.005)], ids=str)
def test_training_lowers_the_loss(optimizer: Optimizer) -> None:
    net = network()
    session = net.training_session(CrossEntropy(), optimizer, 16)
    before, _ = net.evaluate(IMAGES, LABELS, CrossEntropy())
    for step in range(100):
        session.step(IMAGES, LABELS, optimizer.lr, step, 1)
    after, _ = net.evaluate(IMAGES, LABELS, CrossEntropy())
    assert after < 0.7 * before


@pytest.mark.parametrize("small", [0.0, 1e-6, 1.0], ids=["together", "mixed", "alone"])
@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_the_same_bits_for_any_number_of_threads(threads: int, small: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team, "SMALL_INSTRUCTION", small)
    monkeypatch.setattr(team, "MEETING", 1e-15)  # as many workers as there are
    monkeypatch.setattr(team, "BRIEF_PROGRAM", 0.0)  # or the first steps would be one worker's

    def trained(count: int) -> tuple[list[float], bytes]:
        cnncore.set_num_threads(count)
        try:
            assert cnncore.measure_team() == count or not cnncore.has_openmp()
            net = network()
            session = net.training_session(CrossEntropy(), Adam(), 9, max_norm=1.0)
            losses = [session.step(IMAGES, LABELS, 0.01, step, 1) for step in range(4)]
            return losses, net.store.data.tobytes() + net.store.buffers.tobytes()
        finally:
            cnncore.set_num_threads(0)

    assert trained(threads) == trained(1)


def test_optimizer_state_is_saved_and_restored() -> None:
    def steps(net: Network, session: Any, first: int, last: int) -> None:
        for step in range(first, last):
            session.step(IMAGES, LABELS, 0.01, step, 1)

    whole = network()
    steps(whole, whole.training_session(CrossEntropy(), Adam(), 9), 0, 6)
    half = network()
    session = half.training_session(CrossEntropy(), Adam(), 9)
    steps(half, session, 0, 3)
    state = session.state()
    assert state["first_moment.0.weights"].shape == (5, 3, 3, 3)
    resumed = network(seed=99)
    resumed.load_parameters(half.parameters())
    resumed.load_buffers(half.buffers())
    session = resumed.training_session(CrossEntropy(), Adam(), 9)
    session.load_state(state)
    steps(resumed, session, 3, 6)
    assert resumed.store.data.tobytes() == whole.store.data.tobytes()
    assert resumed.store.buffers.tobytes() == whole.store.buffers.tobytes()


def test_labels_and_soft_targets_share_one_state() -> None:
    hard, soft = network(), network()
    sessions = [net.training_session(CrossEntropy(), SGD(lr=0.1, momentum=0.9), 9) for net in (hard, soft)]
    targets = np.eye(4, dtype=np.float32)[LABELS]
    for step in range(4):
        sessions[0].step(IMAGES, LABELS, 0.1, step, 0)
        sessions[1].step(IMAGES, targets if step % 2 else LABELS.astype(np.int32), 0.1, step, 0)
    for key, array in hard.parameters().items():
        assert np.allclose(array, soft.parameters()[key], atol=1e-5)


def test_a_smaller_batch_runs_in_the_same_session() -> None:
    one, other = network(), network()
    large = one.training_session(CrossEntropy(), SGD(lr=0.1), 64)
    fitting = other.training_session(CrossEntropy(), SGD(lr=0.1), 5)
    assert large.step(IMAGES[:5], LABELS[:5], 0.1, 0, 0) == pytest.approx(
        fitting.step(IMAGES[:5], LABELS[:5], 0.1, 0, 0), rel=1e-6
    )


def test_python_does_little_per_step() -> None:
    """Counted and not timed: experiments.checks.python_share measures the share."""
    session = lenet().training_session(CrossEntropy(), SGD(lr=0.01), 4)
    x, y = RANDOM.normal(size=(4, 3, 28, 28)).astype(np.float32), np.arange(4)
    session.step(x, y, 0.01, 0, 0)
    assert calls(lambda: session.step(x, y, 0.01, 1, 0)) < 12


# ---- parameters ---------------------------------------------------------------------------------------------------


def test_parameters_are_copies_in_public_layouts() -> None:
    net = network()
    shapes = {key: array.shape for key, array in net.parameters().items()}
    assert shapes == {
        "0.weights": (5, 3, 3, 3),
        "0.bias": (5,),
        "1.weights": (5,),
        "1.bias": (5,),
        "4.weights": (7, 5, 3, 3),
        "7.weights": (11, 42),
        "7.bias": (11,),
        "10.weights": (4, 11),
        "10.bias": (4,),
    }
    assert list(net.buffers()) == ["1.running_mean", "1.running_var"]
    assert net.num_trainable == sum(math.prod(shape) for shape in shapes.values())
    assert net.num_parameters == net.num_trainable + 10
    net.parameters()["0.weights"][:] = 0
    assert net.parameters()["0.weights"].any()


def test_load_parameters_round_trip_and_non_strict() -> None:
    net, other = network(), network(seed=1)
    other.load_parameters(net.parameters())
    assert all(np.array_equal(other.parameters()[key], array) for key, array in net.parameters().items())
    other.load_parameters({"0.bias": np.ones(5), "elsewhere": np.ones(3)}, strict=False)
    assert other.parameters()["0.bias"].tolist() == [1] * 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.weights": np.zeros((5, 3, 3))}, r"0.weights has shape \(5, 3, 3\), .* expects \(5, 3, 3, 3\)"),
        ({"0.weights": np.array([["x"]])}, "0.weights has shape"),
        ({"0.bias": np.array(["a"] * 5)}, "real numbers"),
        ({"nine.weights": np.zeros(1)}, "no parameter 'nine.weights'"),
        ({"0.weights": None}, "0.weights"),
    ],
)
def test_load_parameters_stores_all_or_nothing(change: dict[str, Any], message: str) -> None:
    net = network()
    before = net.store.data.copy()
    mapping = {key: array + 1 for key, array in net.parameters().items()} | change
    with pytest.raises(UserError, match=message):
        net.load_parameters(mapping)
    with pytest.raises(UserError, match="'0.weights' is missing"):
        net.load_parameters({})
    assert np.array_equal(net.store.data, before)


VARIANCES = {
    "he_normal": lambda fan_in, fan_out: 2 / fan_in,
    "he_uniform": lambda fan_in, fan_out: 2 / fan_in,
    "glorot_normal": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "glorot_uniform": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "fan_in_uniform": lambda fan_in, fan_out: 1 / (3 * fan_in),
}


@pytest.mark.parametrize("initializer", VARIANCES)
def test_initializers_have_their_variance(initializer: str) -> None:
    layers = [Conv2D(8, 64, 5), ReLU(), GlobalAvgPool2D(), Linear(64, 300)]
    parameters = Sequential(layers, (8, 9, 9), seed=4, initializer=initializer).parameters()
    fans = {"0.weights": (200, 1600), "3.weights": (64, 300)}
    for key, (fan_in, fan_out) in fans.items():
        variance = VARIANCES[initializer](fan_in, fan_out)
        assert parameters[key].var() == pytest.approx(variance, rel=0.05)
        assert abs(parameters[key].mean()) < 0.05 * math.sqrt(variance)
    assert not parameters["0.bias"].any()


@pytest.mark.parametrize("filters", [3, 7, 12])
def test_dirac_passes_channels_on(filters: int) -> None:
    images = np.random.default_rng(0).standard_normal((2, 7, 5, 6)).astype(np.float32)
    layers = [Conv2D(7, filters, (3, 3), padding=1, bias=False)]
    net = Sequential(layers, (7, 5, 6), seed=2, initializer="dirac")
    passed = min(filters, 7)
    assert np.array_equal(net.predict(images, algorithm="direct")[:, :passed], images[:, :passed])
    drawn = net.parameters()["0.weights"][passed:]
    assert drawn.all() and np.abs(drawn).max(initial=0.0) <= 1 / math.sqrt(63)


def test_draws_depend_on_seed_and_layer_alone() -> None:
    one, again, other = network(), network(), network(seed=1)
    assert one.store.data.tobytes() == again.store.data.tobytes() != other.store.data.tobytes()
    longer = Sequential([Conv2D(3, 5, 3, padding=1), ReLU()], input_shape=(3, 6, 6))
    assert np.array_equal(longer.parameters()["0.weights"], one.parameters()["0.weights"])
    mixed = network(initializer={"conv": "zeros", "linear": "he_uniform"})
    assert not mixed.parameters()["0.weights"].any() and mixed.parameters()["7.weights"].any()


# ---- what is refused ----------------------------------------------------------------------------------------------

BAD_INPUTS: list[tuple[Any, str]] = [
    (IMAGES[0], r"shape \(3, 10, 8\), but the network takes \(n, 3, 10, 8\)"),
    (IMAGES[:, :2], r"takes \(n, 3, 10, 8\)"),
    (IMAGES.astype(np.float64), "dtype float64, but float32 is needed: convert it"),
    (np.zeros((2, 3, 10, 8), np.uint8), "dtype uint8, .* / 255"),
    (IMAGES.tolist(), "must be a NumPy array"),
    (np.where(np.arange(8) == 5, np.nan, IMAGES).astype(np.float32), r"sample 0 holds nan at \(0, 0, 5\)"),
    (np.where(np.arange(8) == 5, -np.inf, IMAGES).astype(np.float32), "sample 0 holds -inf"),
]


@pytest.mark.parametrize(("x", "message"), BAD_INPUTS, ids=lambda value: str(value)[:20])
def test_bad_inputs(x: Any, message: str) -> None:
    net = network()
    session = net.training_session(CrossEntropy(), SGD(lr=0.1), 9)
    before = net.store.data.tobytes() + net.store.buffers.tobytes()
    for call in (
        lambda: net.predict(x),
        lambda: net.evaluate(x, LABELS[: len(x)], CrossEntropy()),
        lambda: net.loss_and_gradients(x, LABELS[: len(x)], CrossEntropy()),
        lambda: session.step(x, LABELS[: len(x)], 0.1, 0, 0),
    ):
        with pytest.raises(UserError, match=message):
            call()
    assert net.store.data.tobytes() + net.store.buffers.tobytes() == before


def test_a_bad_value_in_a_later_batch_is_numbered_as_the_user_counts() -> None:
    x = IMAGES.copy()
    x[7, 2, 1, 3] = np.inf
    with pytest.raises(UserError, match=r"sample 7 holds inf at \(2, 1, 3\)"):
        network().predict(x, batch_size=2)


BAD_TARGETS: list[tuple[Loss, Any, str]] = [
    (CrossEntropy(), np.arange(9), "sample 4 has label 4, but labels run from 0 to 3"),
    (CrossEntropy(), LABELS - 9, "sample 0 has label -"),
    (CrossEntropy(), LABELS[:8], r"shape \(8,\), but \(9,\) is needed"),
    (CrossEntropy(), LABELS.astype(np.float32), r"but \(9, 4\) is needed"),
    (CrossEntropy(), np.zeros((9, 4)), "dtype float64"),
    (CrossEntropy(), LABELS.tolist(), "NumPy array"),
    (CrossEntropy(), LABELS > 1, "dtype bool"),
    (CrossEntropy(), np.full((9, 4), np.nan, np.float32), "the targets of sample 0 holds nan"),
    (MeanSquaredError(), LABELS, r"dtype int64, but MeanSquaredError takes float32 targets \(n, 4\)"),
    (BinaryCrossEntropy(), np.zeros((9, 3), np.float32), r"\(9, 4\) is needed"),
]


@pytest.mark.parametrize(("loss", "y", "message"), BAD_TARGETS, ids=lambda value: str(value)[:30])
def test_bad_targets(loss: Loss, y: Any, message: str) -> None:
    net = network()
    session = net.training_session(loss, SGD(lr=0.1), 9)
    before = net.store.data.tobytes() + net.store.buffers.tobytes()
    for call in (
        lambda: net.evaluate(IMAGES, y, loss),
        lambda: net.loss_and_gradients(IMAGES, y, loss),
        lambda: session.step(IMAGES, y, 0.1, 0, 0),
    ):
        with pytest.raises(UserError, match=message):
            call()
    assert net.store.data.tobytes() + net.store.buffers.tobytes() == before


def test_batches_that_do_not_fit() -> None:
    session = network().training_session(CrossEntropy(), SGD(lr=0.1), 4)
    for samples in (0, 5):
        with pytest.raises(UserError, match=f"{samples} samples, but this session takes 1 to 4"):
            session.step(IMAGES[:samples], LABELS[:samples], 0.1, 0, 0)
    with pytest.raises(UserError, match="at least one sample"):
        network().evaluate(IMAGES[:0], LABELS[:0], CrossEntropy())


def test_cross_entropy_needs_a_vector() -> None:
    net = Sequential([Conv2D(3, 4, 3)], input_shape=(3, 10, 8))
    with pytest.raises(UserError, match=r"outputs of shape \(classes,\), but the network gives \(4, 8, 6\)"):
        net.training_session(CrossEntropy(), SGD(lr=0.1), 4)


@pytest.mark.parametrize("key", ["0.weights", "4.weights", "7.bias", "10.weights"])
def test_a_diverged_loss_names_step_and_layer_and_updates_nothing(key: str) -> None:
    net = network()
    session = net.training_session(CrossEntropy(), SGD(lr=0.1, momentum=0.9), 9)
    session.step(IMAGES, LABELS, 0.1, 0, 0)
    parameters = net.parameters()
    parameters[key].flat[0] = np.inf
    net.load_parameters(parameters)
    before = net.store.data.tobytes(), net.store.buffers.tobytes()
    state = session.state()
    with pytest.raises(DivergedError) as caught:
        session.step(IMAGES, LABELS, 0.1, 17, 0)
    assert (caught.value.step, caught.value.layer) == (17, key.split(".")[0])
    assert (net.store.data.tobytes(), net.store.buffers.tobytes()) == before
    assert all(np.array_equal(state[name], array) for name, array in session.state().items())


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("layer", ["0", "1", "4"])
def test_the_layer_of_a_fused_group_is_named(layer: str, value: float) -> None:
    """In an evaluation one op does the work of convolution and batch normalisation."""
    net = Sequential(
        [Conv2D(3, 4, 3), BatchNorm(4), ReLU(), Flatten(), Linear(192, 3), BatchNorm(3), Softmax()],
        input_shape=(3, 10, 8),
    )
    net.load_parameters({f"{layer}.bias": np.full_like(net.parameters()[f"{layer}.bias"], value)}, strict=False)
    assert any(instruction.layer.startswith("0+1") for instruction in net.plan(4).instructions)
    before = net.store.buffers.tobytes()
    with pytest.raises(DivergedError) as caught:
        net.evaluate(IMAGES, LABELS % 3, CrossEntropy())
    assert caught.value.layer == layer and net.store.buffers.tobytes() == before


def test_a_loss_that_overflows_has_no_layer() -> None:
    net = Sequential([Flatten(), Linear(240, 4)], input_shape=(3, 10, 8))
    targets = np.full((9, 4), 1e30, np.float32)
    with pytest.raises(DivergedError, match="step 0: the (loss|gradient)"):
        for _ in range(2):
            net.training_session(MeanSquaredError(), SGD(lr=0.1), 9).step(IMAGES * 1e20, targets * 1e8, 0.1, 0, 0)


def test_a_gradient_that_overflows_names_its_parameter() -> None:
    net = Sequential([Flatten(), Linear(240, 4), Linear(4, 4)], input_shape=(3, 10, 8))
    parameters = net.parameters()
    parameters["1.weights"] *= 1e-30
    parameters["2.weights"][:] = 3e38 * np.sign(parameters["2.weights"])
    net.load_parameters(parameters)
    session = net.training_session(CrossEntropy(), SGD(lr=0.1), 9)
    with pytest.raises(DivergedError) as caught:
        session.step(IMAGES * 1e3, LABELS, 0.1, 2, 0)
    assert caught.value.step == 2 and caught.value.layer in ("1", "2")


def test_load_state_refuses_what_does_not_fit() -> None:
    session = network().training_session(CrossEntropy(), SGD(lr=0.1, momentum=0.9), 9)
    state = session.state()
    with pytest.raises(UserError, match="keeps no state 'first_moment.0.weights'"):
        session.load_state({"first_moment.0.weights": np.zeros(3)})
    with pytest.raises(UserError, match="missing"):
        session.load_state({})
    with pytest.raises(UserError, match=r"0.bias has shape \(4,\)"):
        session.load_state({**state, "velocity.0.bias": np.zeros(4)})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(lr=-1), "lr must be a number of at least 0"),
        (lambda: SGD(lr=0.1, momentum=2), "momentum"),
        (lambda: SGD(lr=0.1, nesterov=True), "nesterov needs a momentum"),
        (lambda: SGD(lr=0.1, l2={"dense": 0.1}), "conv, linear, not 'dense'"),
        (lambda: Adam(betas=(0.9, 1.0)), "betas"),
        (lambda: Adam(lr="fast"), "lr"),
        (lambda: AdamW(weight_decay=math.inf), "weight_decay"),
        (lambda: CrossEntropy(1.0), "label_smoothing"),
        (lambda: network(initializer="he"), "unknown initializer 'he'"),
        (lambda: network(initializer={"dense": "zeros"}), "conv and linear"),
        (lambda: network(seed=-1), "seed"),
        (lambda: network().training_session(CrossEntropy(), SGD(lr=0.1), 0), "batch"),
        (lambda: network().training_session(CrossEntropy(), SGD(lr=0.1), 4, max_norm=0), "max_norm"),
        (lambda: network().predict(IMAGES, batch_size=0), "batch_size"),
    ],
)
def test_settings_that_are_wrong(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()
