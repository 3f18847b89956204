"""Frozen layers and learning rates by layer: what moves, what is planned, and that runs stay exact."""

import cnncore
import numpy as np
import pytest

import engine
from engine.errors import UserError
from engine.losses import CrossEntropy
from engine.network.checkpoint import Checkpoint, weights_hash
from engine.network.finetune import idle_patterns
from engine.network.transfer import initialize
from tests.engine.small import SIDE, small_dataset, small_net

DATA, HELD_OUT = small_dataset(64), small_dataset(32, seed=1)
X, Y = DATA.normalise(DATA.images), np.asarray(DATA.labels)


def deep_net(seed=0):
    """Convolutions 0, 3 and 6 (each with ReLU, 0 and 3 with max-pool), Linear 9; all fuse."""
    block = [engine.ReLU(), engine.MaxPool2D(2, 2)]
    convs = [engine.Conv2D(1, 8, 3, padding=1), *block, engine.Conv2D(8, 8, 3, padding=1), *block]
    head = [engine.Conv2D(8, 4, 1), engine.ReLU(), engine.Flatten(), engine.Linear(16, 3)]
    return engine.Sequential([*convs, *head], input_shape=(1, SIDE, SIDE), seed=seed)


def norm_net(seed=0):
    """A BatchNorm that fuses with ReLU and max-pool between two convolutions, and running statistics that mean it."""
    layers = [
        *[engine.Conv2D(1, 8, 3, padding=1), engine.BatchNorm(8), engine.ReLU(), engine.MaxPool2D(2, 2)],
        *[engine.Conv2D(8, 4, 3), engine.BatchNorm(4), engine.ReLU(), engine.Flatten(), engine.Linear(36, 3)],
    ]
    net = engine.Sequential(layers, input_shape=(1, SIDE, SIDE), seed=seed)
    rng = np.random.default_rng(5)
    net.load_buffers({key: rng.uniform(0.1, 0.4, each.shape) for key, each in net.buffers().items()})
    return net


def step(net, optimizer=None, steps=1, **options):
    """Parameters after some steps on the same batch."""
    session = net.training_session(CrossEntropy(), optimizer or engine.SGD(lr=0.1), 64, **options)
    for number in range(steps):
        session.step(X, Y, 0.1, number, 0)
    return net.parameters()


def ops(plan):
    return {(instruction.op, instruction.layer.split("+")[0]) for instruction in plan.instructions}


@pytest.mark.parametrize("frozen", [["0"], ["3"], ["0", "3"], ["9"], ["*", "!9"], ["!0"]])
@pytest.mark.parametrize("optimizer", [engine.SGD(lr=0.1, momentum=0.9), engine.Adam(lr=0.1), engine.AdamW(lr=0.1)])
def test_what_is_frozen_stays_and_the_rest_learns_as_it_would(frozen, optimizer):
    before, free = deep_net().parameters(), step(deep_net(), optimizer, algorithm="direct")
    net = deep_net()
    held = step(net, optimizer, algorithm="direct", freeze=frozen)
    names = net.training_session(CrossEntropy(), optimizer, 64, freeze=frozen).frozen
    for key, array in held.items():
        expected = before if key.split(".")[0] in names else free
        assert np.array_equal(array, expected[key]), key
        assert not np.array_equal(free[key], before[key])


def test_nothing_is_planned_below_the_lowest_layer_that_learns():
    whole = deep_net().plan(training=True, optimizer=engine.SGD(lr=0.1))
    plan = deep_net().plan(training=True, optimizer=engine.SGD(lr=0.1), freeze=["0", "3"])
    backward = {layer for op, layer in ops(plan) if "backward" in op}
    assert backward.isdisjoint({"0", "1", "2", "3", "4", "5"}) and {"6", "9"} <= backward
    assert ("conv2d_backward_data", "6") not in ops(plan)
    assert plan.flops < 0.6 * whole.flops and plan.arena_bytes < whole.arena_bytes
    assert "frozen: 0, 3" in str(plan) and "87 trainable parameters" in str(plan)


def test_the_gradient_passes_through_frozen_layers_without_one_of_their_weights():
    planned = ops(deep_net().plan(training=True, optimizer=engine.SGD(lr=0.1), algorithm="direct", freeze=["3"]))
    assert ("conv2d_backward_data", "3") in planned and ("conv2d_backward_weights", "0") in planned
    assert ("conv2d_backward_weights", "3") not in planned


def test_a_frozen_norm_keeps_and_uses_its_running_statistics():
    net = norm_net()
    before = net.buffers()
    loss, _ = net.evaluate(X, Y, CrossEntropy())
    session = net.training_session(CrossEntropy(), engine.SGD(lr=0.1), 64, freeze=["1", "5"])
    assert session.step(X, Y, 0.1, 0, 0) == pytest.approx(loss, rel=1e-5)
    for key, array in before.items():
        assert np.array_equal(net.buffers()[key], array)


@pytest.mark.parametrize("frozen", [["1", "5"], ["1"], ["0", "1"], ["4", "5"]])
def test_the_gradient_through_a_frozen_norm_is_that_of_its_inference_form(frozen):
    """By central differences along the step itself, on the loss that the session computes."""
    start = norm_net()
    rate = 1e-2
    moved = norm_net()
    moved.training_session(CrossEntropy(), engine.SGD(lr=rate), 64, freeze=frozen).step(X, Y, rate, 0, 0)
    gradient = {key: (start.parameters()[key] - array) / rate for key, array in moved.parameters().items()}
    square = sum(float((each.astype(np.float64) ** 2).sum()) for each in gradient.values())
    losses = []
    for sign in (1, -1):
        net = norm_net()
        h = sign * 1e-4 / np.sqrt(square)
        net.load_parameters({key: array + h * gradient[key] for key, array in net.parameters().items()})
        session = net.training_session(CrossEntropy(), engine.SGD(lr=rate), 64, freeze=frozen)
        losses.append(session.step(X, Y, 0.0, 0, 0))
    assert (losses[0] - losses[1]) / (2e-4 / np.sqrt(square)) == pytest.approx(square, rel=0.03)


def test_a_frozen_norm_needs_no_second_sample():
    layers = [engine.Flatten(), engine.Linear(100, 4), engine.BatchNorm(4), engine.Linear(4, 3)]
    net = engine.Sequential(layers, input_shape=(1, SIDE, SIDE))
    with pytest.raises(UserError, match="has no variance"):
        net.training_session(CrossEntropy(), engine.SGD(lr=0.1), 4).step(X[:1], Y[:1], 0.1, 0, 0)
    net.training_session(CrossEntropy(), engine.SGD(lr=0.1), 4, freeze=["2"]).step(X[:1], Y[:1], 0.1, 0, 0)


def test_the_clipped_norm_counts_only_what_learns():
    gradients = deep_net().loss_and_gradients(X, Y, CrossEntropy())[1]
    net = deep_net()
    net.loss_and_gradients(X, Y, CrossEntropy())  # leaves gradients of all layers behind
    session = net.training_session(CrossEntropy(), engine.SGD(lr=0.1), 64, max_norm=1e6, freeze=["0", "6"])
    session.step(X, Y, 0.1, 0, 0)
    squares = [(each.astype(np.float64) ** 2).sum() for key, each in gradients.items() if key[0] in "39"]
    assert session.gradient_norm == pytest.approx(float(np.sqrt(sum(squares))), rel=1e-4)


@pytest.mark.parametrize("optimizer", [engine.SGD(lr=0.1, momentum=0.9), engine.Adam(), engine.AdamW(weight_decay=0.1)])
def test_factors_scale_the_first_step_of_their_layers_only(optimizer):
    before, plain = deep_net().parameters(), step(deep_net(), optimizer)
    scaled = step(deep_net(), optimizer, learning_rates={"*": 1, "0": 0.25, 9: 4, "*.bias": 2})
    for key, array in scaled.items():
        factor = 2 if key.endswith("bias") else {"0.weights": 0.25, "9.weights": 4}.get(key, 1)
        expected = before[key] + factor * (plain[key] - before[key])
        assert np.allclose(array, expected, atol=2e-6), key


def test_factors_show_in_the_plan():
    plan = deep_net().plan(training=True, optimizer=engine.SGD(lr=0.1), learning_rates={"9": 0.5})
    assert "learning rates: 9.weights x 0.5, 9.bias x 0.5" in str(plan)


def fit(net, out=None, epochs=3, resume=False, **options):
    settings = {"freeze": ["0"], "learning_rates": {"6": 0.1}} | options
    trainer = engine.Trainer(net, engine.Adam(lr=0.01), batch_size=16, out=out, progress="none", **settings)
    trainer.fit(DATA, HELD_OUT, epochs=epochs, resume=resume)
    return weights_hash(net)


def test_a_run_is_resumed_exactly_and_only_as_it_was(tmp_path):
    whole = fit(small_net())
    fit(small_net(), tmp_path, epochs=1)
    with pytest.raises(UserError, match="the run was started with freeze"):
        fit(small_net(), tmp_path, resume=True, freeze=["1"])
    with pytest.raises(UserError, match="the run was started with learning_rates"):
        fit(small_net(), tmp_path, resume=True, learning_rates={"6": 0.2})
    assert fit(small_net(), tmp_path, resume=True) == whole
    stored = engine.network.checkpoint.read(tmp_path / "last.safetensors").optimizer
    assert "first_moment.6.weights" in stored and "first_moment.0.weights" not in stored


def test_the_bits_do_not_depend_on_the_number_of_threads():
    def hashes(threads):
        engine.set_num_threads(threads)
        nets = [norm_net(), deep_net()]
        step(nets[0], engine.Adam(), 3, freeze=["1", "4"], max_norm=0.5, learning_rates={"0": 3})
        step(nets[1], engine.SGD(lr=0.1, momentum=0.9), 3, freeze=["3"])
        return [weights_hash(net) for net in nets]

    before = cnncore.get_num_threads()
    try:
        assert hashes(1) == hashes(3)
    finally:
        engine.set_num_threads(before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"freeze": ["conv1"]}, "unknown layer with parameters in freeze: 'conv1'"),
        ({"freeze": ["2"]}, "unknown layer with parameters in freeze: '2'"),
        ({"freeze": "0"}, "freeze: expected a list"),
        ({"freeze": ["*"]}, "nothing to train"),
        ({"learning_rates": {"conv1": 2}}, "unknown layer with parameters in learning_rates: 'conv1'"),
        ({"learning_rates": {"0": -1}}, "a factor is a finite number above 0, or 0 for what stays as it is, not -1"),
        ({"learning_rates": {"0": "fast"}}, "learning_rates.0: a factor"),
        ({"learning_rates": ["0"]}, "expected names or patterns of layers with factors"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(UserError, match=message):
        engine.Trainer(small_net(), engine.SGD(lr=0.1), **options)


BRACKETS = "c[1]"  # as a pattern of the shell it means c1


def bracket_net():
    layers = {
        BRACKETS: engine.Linear(100, 4),
        "relu": engine.ReLU(),
        "c1": engine.Linear(4, 4),
        "d": engine.Linear(4, 3),
    }
    return engine.Sequential({"flat": engine.Flatten(), **layers}, input_shape=(1, SIDE, SIDE))


@pytest.mark.parametrize(
    "options",
    [
        {"freeze": [BRACKETS]},
        {"freeze": ["*", "!c1", "!d"]},
        {"learning_rates": {BRACKETS: 0}},
        {"learning_rates": {"c1": 2, f"{BRACKETS}.weights": 0, f"{BRACKETS}.bias": 0}},
    ],
    ids=["freeze", "all but", "rate of a layer", "rates of parameters"],
)
def test_a_name_with_the_signs_of_patterns_means_itself(options):
    before, after = bracket_net().parameters(), step(bracket_net(), **options)
    for key, array in after.items():
        assert np.array_equal(array, before[key]) == key.startswith(BRACKETS), key


@pytest.mark.parametrize("given", [BRACKETS, "c[[]*", "?[[]1].*"])
def test_such_a_layer_stops_after_an_epoch_and_the_training_goes_on(given):
    net, seen = bracket_net(), []
    trainer = engine.Trainer(net, engine.SGD(0.1), batch_size=16, progress="none", freeze_after={given: 1})
    trainer.fit(DATA, epochs=3, callbacks=[lambda _: seen.append(net.parameters())])
    for key in seen[0]:
        assert np.array_equal(seen[0][key], seen[2][key]) == key.startswith(BRACKETS), key


def test_transfer_takes_the_layer_of_that_name():
    source, net = Checkpoint.of(bracket_net()), bracket_net()
    assert initialize(net, source, layers=[BRACKETS]).loaded == (BRACKETS,)


def test_patterns_of_frozen_layers_alone_are_idle():
    slots, given = small_net().store.slots, {"0": 2, "*": 3, "0.bias": 0, "[!0]*": 1}
    assert idle_patterns(slots, ["0"], given) == ["0", "0.bias"]
    assert idle_patterns(slots, [], given) == idle_patterns(slots, ["0"], None) == []
