"""Optimisers: rates and decay by role, decay that is decoupled, and bad arguments."""

import numpy as np
import pytest

import engine
from engine.errors import UserError
from engine.plan.update import make_segments
from engine.recipe.build import build_optimizer

IMAGES = np.random.default_rng(0).standard_normal((8, 2, 5, 5)).astype(np.float32)
LABELS = np.arange(8) % 3


def net():
    layers = [engine.Conv2D(2, 4, 3), engine.BatchNorm(4), engine.ReLU(), engine.Flatten(), engine.Linear(36, 3)]
    own = engine.Sequential(layers, (2, 5, 5), seed=3)
    rng = np.random.default_rng(1)
    own.load_parameters({name: rng.standard_normal(value.shape) for name, value in own.parameters().items()})
    return own


KEYS = "0.weights", "0.bias", "1.weights", "1.bias", "4.weights", "4.bias"


def change(optimizer, **options):
    """How far one step moves each parameter, and the gradients."""
    own = net()
    before = own.parameters()
    _, gradients = net().loss_and_gradients(IMAGES, LABELS, engine.CrossEntropy())
    session = own.training_session(engine.CrossEntropy(), optimizer, 8, **options)
    session.step(IMAGES, LABELS, optimizer.lr, 0, 0)
    return before, {key: own.parameters()[key] - before[key] for key in KEYS}, gradients


def by_key(weights=1.0, bias=1.0, scale=1.0, shift=1.0):
    return dict(zip(KEYS, (weights, bias, scale, shift, weights, bias), strict=True))


@pytest.mark.parametrize(
    ("rates", "factors"),
    [
        ({"norm": 64}, by_key(scale=64, shift=64)),
        ({"norm": 2, "shift": 8}, by_key(scale=2, shift=8)),
        ({"bias": 3, "weights": 0.5}, by_key(weights=0.5, bias=3)),
    ],
)
def test_rates_by_role(rates, factors):
    _, moved, gradients = change(engine.SGD(0.01, rates=rates), learning_rates={"4": 10})
    for key in KEYS:
        rate = 0.01 * factors[key] * (10 if key[0] == "4" else 1)
        assert np.allclose(moved[key], -rate * gradients[key], atol=1e-6 * max(1, rate * 100)), key


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize(
    ("decay", "factors"),
    [
        (None, by_key()),
        ({"bias": 0, "norm": 0}, by_key(bias=0, scale=0, shift=0)),
        ({"norm": 0, "shift": 1 / 64}, by_key(scale=0, shift=1 / 64)),
        ({"weights": 2}, by_key(weights=2)),
    ],
)
def test_decay_by_role(decay, factors, decoupled):
    """Both forms of one step of plain SGD move alike: p -= lr * (g + decay * p)."""
    before, moved, gradients = change(engine.SGD(0.01, weight_decay=0.5, decay=decay, decoupled=decoupled))
    for key in KEYS:
        expected = -0.01 * (gradients[key] + 0.5 * factors[key] * before[key])
        assert np.allclose(moved[key], expected, atol=1e-6), key


def test_decoupled_decay_does_not_pass_the_momentum_or_the_moments():
    for rule in (engine.SGD, engine.NAdam, engine.RMSprop):
        plain, moved = change(rule(0.01)), change(rule(0.01, weight_decay=0.5, decoupled=True))
        for key in KEYS:
            assert np.allclose(moved[1][key] - plain[1][key], -0.005 * plain[0][key], atol=1e-6), (rule, key)


def test_what_airbench_asks_for():
    """Jordan 2024: rate and decay of the shifts are such that lr * decay is the same for all."""
    rule = engine.SGD(0.01, 0.85, nesterov=True, weight_decay=0.3, rates={"shift": 64}, decay={"shift": 1 / 64})
    own = net()
    found = {(each.lr_scale, each.l2) for each in make_segments(own.store.slots, rule)}
    assert found == {(1.0, 0.3), (64.0, 0.3 / 64)}


def test_each_starts_from_a_configuration():
    section = {"name": "rmsprop", "lr": 0.01, "form": "keras", "decay": {"bias": 0}, "weight_decay": 0.1}
    assert build_optimizer(section) == engine.RMSprop(0.01, form="keras", decay={"bias": 0.0}, weight_decay=0.1)
    assert build_optimizer({"name": "NAdam", "momentum_decay": 1}) == engine.NAdam(momentum_decay=1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: engine.SGD(rates={"scales": 2}), "SGD: rates: role.*scale"),
        (lambda: engine.SGD(rates={"scale": 0}), r"SGD: rates\['scale'\]"),
        (lambda: engine.Adam(decay={"bias": -1}), r"Adam: decay\['bias'\]"),
        (lambda: engine.Adam(decay=[0]), "Adam: decay maps roles"),
        (lambda: engine.SGD(weight_decay=1e30, decay={"bias": 1e30}), "weight_decay"),
        (lambda: engine.SGD(decoupled="no"), "SGD: decoupled"),
        (lambda: engine.NAdam(momentum_decay=2), "NAdam: momentum_decay"),
        (lambda: engine.NAdam(eps=0), "NAdam: eps"),
        (lambda: engine.RMSprop(rho=1.0), "RMSprop: rho"),
        (lambda: engine.RMSprop(form="torch"), "RMSprop: form"),
        (lambda: engine.RMSprop(eps=0.0), "RMSprop: eps"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_a_product_of_factors_that_float32_makes_zero_is_refused():
    with pytest.raises(UserError, match="factor on the learning rate of '4.weights'"):
        net().training_session(
            engine.CrossEntropy(), engine.SGD(0.1, rates={"weights": 1e-30}), 8, learning_rates={"4.weights": 1e-30}
        )


def test_a_rate_times_the_largest_factor_must_be_a_number():
    session = net().training_session(engine.CrossEntropy(), engine.SGD(0.1, rates={"norm": 1e10}), 8)
    with pytest.raises(UserError, match="learning rate times"):
        session.step(IMAGES, LABELS, 1e30, 0, 0)
