"""The search for a learning rate."""

import numpy as np
import pytest

import engine
from engine.errors import UserError
from engine.network.checkpoint import weights_hash
from engine.training.schedules.finder import find_learning_rate
from tests.engine.small import small_dataset, small_net


def search(**options):
    net = small_net()
    return net, find_learning_rate(net, small_dataset(96), engine.SGD(momentum=0.9), batch_size=16, **options)


def test_the_network_stays_as_it_was_and_rates_grow_evenly():
    before = weights_hash(small_net())
    net, sweep = search(steps=20, lowest=1e-4, highest=1e-1)
    assert weights_hash(net) == before
    assert len(sweep.rates) == len(sweep.losses) == len(sweep.smoothed) == 20 and not sweep.diverged
    assert np.allclose(np.diff(np.log10(sweep.rates)), 3 / 19) and sweep.rates[0] == 1e-4
    assert sweep.smoothed[0] == pytest.approx(sweep.losses[0])
    assert sweep.smoothed[1] == pytest.approx((0.95 * sweep.losses[0] + sweep.losses[1]) / 1.95)
    assert sweep.steepest in sweep.rates and 10 * sweep.tenth == sweep.rates[int(np.argmin(sweep.smoothed))]


def test_the_losses_are_those_of_training_with_these_rates():
    _, sweep = search(steps=12, lowest=1e-3, highest=1e-1)
    net, data = small_net(), small_dataset(96)
    trainer = engine.Trainer(
        net, engine.SGD(momentum=0.9), batch_size=16, progress="none",
        schedule=engine.PiecewiseConstant(range(11), sweep.rates),
    )  # fmt: skip
    loader = engine.Loader(data, 16, seed=0)
    losses = [trainer.step(x, y) for epoch in range(2) for x, y in loader.epoch(epoch, 0)]
    assert tuple(losses) == sweep.losses


def test_it_ends_where_the_loss_has_grown_too_large():
    random = np.random.default_rng(0)
    data = random.standard_normal((64, 1, 10, 10)).astype(np.float32), random.integers(0, 3, 64)
    sweep = find_learning_rate(small_net(), data, engine.SGD(), steps=60, lowest=1e-3, highest=1e6, worst=2.0)
    assert sweep.diverged and len(sweep.losses) < 60
    assert "ended at" in str(sweep) and "steepest fall" in str(sweep)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 2}, "steps"),
        ({"lowest": 1.0, "highest": 0.5}, "highest"),
        ({"smoothing": 1.0}, "smoothing"),
        ({"lowest": 1e30, "highest": 1e35}, "smaller lowest rate"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(UserError, match=message):
        search(**options)
