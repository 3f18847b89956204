"""Running statistics that are measured anew, against NumPy, and the warnings that send people there."""

import warnings

import numpy as np
import pytest

import engine
from engine.errors import UserError
from engine.network.checkpoint import weights_hash
from tests.engine.small import SIDE, small_dataset, small_layers, small_net

TRAIN = small_dataset(96)
IMAGES = TRAIN.normalise(TRAIN.images)


def slow_net(momentum, **options):
    """Batch normalisation whose running statistics hardly follow."""
    layers = small_layers()
    layers[1] = engine.BatchNorm(4, momentum=momentum)
    layers[4] = engine.Dropout(0.0)
    return engine.Sequential(layers, (1, SIDE, SIDE), **options)


@pytest.mark.parametrize("batch_size", [7, 32, 95, 96, 500])
def test_statistics_are_those_of_all_data(batch_size):
    net = small_net(seed=3)
    before = net.parameters()
    engine.calibrate(net, TRAIN, batch_size)
    first = engine.Sequential(small_layers()[:1], (1, SIDE, SIDE))
    first.load_parameters({key: before[key] for key in first.parameters()})
    values = first.predict(IMAGES).astype(np.float64).transpose(1, 0, 2, 3).reshape(4, -1)
    assert net.buffers()["1.running_mean"] == pytest.approx(values.mean(axis=1), rel=1e-4, abs=1e-6)
    assert net.buffers()["1.running_var"] == pytest.approx(values.var(axis=1, ddof=1), rel=1e-4)
    assert all(np.array_equal(array, before[key]) for key, array in net.parameters().items())


def test_a_deep_network_with_the_whole_set_in_a_batch_predicts_as_it_trains():
    layers = [
        engine.Conv2D(1, 4, 3), engine.BatchNorm(4), engine.ReLU(), engine.Conv2D(4, 5, 3), engine.BatchNorm(5),
        engine.Dropout(0.5), engine.Flatten(), engine.Linear(180, 3), engine.BatchNorm(3),
    ]  # fmt: skip
    net = engine.Sequential(layers, (1, SIDE, SIDE))
    engine.calibrate(net, IMAGES, len(IMAGES))
    outputs = net.predict(IMAGES)
    assert outputs.mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-3)
    assert outputs.std(axis=0) == pytest.approx(np.ones(3), rel=1e-2)


def test_sets_pairs_and_images_alone_are_the_same():
    hashes = []
    for data in (TRAIN, (IMAGES, TRAIN.labels), IMAGES):
        net = small_net()
        engine.calibrate(net, data, 40)
        hashes.append(weights_hash(net))
    assert len(set(hashes)) == 1


def test_a_network_without_statistics_stays_as_it_is():
    net = engine.Sequential([engine.Flatten(), engine.Linear(SIDE * SIDE, 3)], (1, SIDE, SIDE))
    before = weights_hash(net)
    engine.calibrate(net, TRAIN)
    assert weights_hash(net) == before


def test_statistics_that_were_ruined_do_not_count():
    good, ruined = small_net(), small_net()
    ruined.load_buffers({key: np.full_like(array, np.nan) for key, array in ruined.buffers().items()})
    for net in (good, ruined):
        engine.calibrate(net, TRAIN)
    assert weights_hash(good) == weights_hash(ruined)


@pytest.mark.parametrize(
    ("data", "message"),
    [(IMAGES[:0], "at least one sample"), (IMAGES[:, 0], r"has shape \(96, 10, 10\)"), (TRAIN.images, "dtype uint8")],
)
def test_images_that_do_not_fit_are_refused(data, message):
    net = small_net()
    before = weights_hash(net)
    with pytest.raises(UserError, match=message):
        engine.calibrate(net, data)
    assert weights_hash(net) == before


def test_too_few_updates_for_the_momentum_are_told_and_calibration_helps():
    net = slow_net(0.01)
    trainer = engine.Trainer(net, engine.SGD(lr=0.05, momentum=0.9), batch_size=16, progress="none")
    with pytest.warns(UserWarning, match=r"BatchNorm '1': 70% .* after 36 updates with momentum 0.01.*0.99.*calibrate"):
        trainer.fit(TRAIN, epochs=6)
    before = trainer.evaluate(TRAIN)
    engine.calibrate(net, TRAIN)
    after = trainer.evaluate(TRAIN)
    assert after["loss"] < before["loss"] and after["accuracy"] > 0.9


def test_the_warning_stands_where_fit_was_called():
    trainer = engine.Trainer(slow_net(0.01), engine.SGD(lr=0.05), batch_size=16, progress="none")
    with pytest.warns(UserWarning, match="running statistics") as caught:
        trainer.fit(TRAIN, epochs=2)
    assert caught[0].filename == __file__


def test_a_resumed_run_counts_the_updates_before(tmp_path):
    def fit(epochs, resume):
        net = slow_net(0.05)
        trainer = engine.Trainer(net, engine.SGD(lr=0.05), batch_size=16, progress="none", out=tmp_path)
        trainer.fit(TRAIN, epochs=epochs, resume=resume)

    with pytest.warns(UserWarning, match="after 12 updates"):
        fit(2, False)
    with pytest.warns(UserWarning, match="after 18 updates"):
        fit(3, True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(4, True)  # 24 updates: 29 % are left


@pytest.mark.parametrize(
    ("momentum", "updates", "told"),
    [
        (0.01, 40, True),  # Keras's 0.99 mistaken: two thirds are left
        (0.01, 109, True),
        (0.01, 110, False),  # 0.99^110 is 0.331
        (0.01, 11, True),
        (0.01, 10, False),  # the default's 0.9^10 is 0.349: whatever the momentum, this is no training yet
        (0.1, 1, False),
        (0.1, 6, False),
        (0.1, 10, False),
        (0.1, 11, False),
        (0.3, 2, False),
        (0.001, 500, True),
        (0.0, 11, True),
    ],
)
def test_the_momentum_is_told_where_the_usual_one_would_have_done(momentum, updates, told):
    trainer = engine.Trainer(slow_net(momentum), engine.SGD(lr=0.001), batch_size=2, progress="none")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(small_dataset(2 * updates), epochs=1)
    assert [f"after {updates} updates" in str(each.message) for each in caught] == [True] * told


@pytest.mark.parametrize("prepare", ["calibrated", "loaded", "frozen"])
def test_statistics_that_come_from_elsewhere_are_not_doubted(prepare):
    net = slow_net(0.01)
    if prepare == "calibrated":
        engine.calibrate(net, TRAIN)
    if prepare == "loaded":
        net.load_buffers(net.buffers())
    options = {"freeze": ["1"]} if prepare == "frozen" else {}
    trainer = engine.Trainer(net, engine.SGD(lr=0.01), batch_size=16, progress="none", **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.fit(TRAIN, epochs=2)


@pytest.mark.parametrize("momentum", [0.99, 0.9])
def test_keras_momentum_is_told(momentum):
    with pytest.warns(UserWarning, match=f"momentum {momentum:g} is the weight of the new batch here.*PyTorch.*Keras"):
        engine.BatchNorm(3, momentum=momentum)


def test_usual_momentum_is_not():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine.BatchNorm(3), engine.BatchNorm(3, momentum=0.01), engine.BatchNorm(3, momentum=0.5)
