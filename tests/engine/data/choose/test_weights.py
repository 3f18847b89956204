"""Weights of classes and samples: their numbers, what they do to the loss and its gradient, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

import engine
from engine.data.choose.weights import class_weights, weighted, weighted_loader, weighted_targets
from engine.data.loader import Loader, Mixup
from engine.errors import UserError
from engine.losses import CrossEntropy, MeanSquaredError
from engine.network.checkpoint import weights_hash
from tests.engine.small import small_dataset, small_net

LABELS = np.array([0, 0, 0, 1, 2, 2], np.int64)
NAMES = ("top", "bottom", "left")


def test_balanced_weights_are_those_of_scikit_learn():
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    assert np.allclose(class_weights("balanced", LABELS, NAMES), expected)
    assert class_weights("balanced", LABELS, (*NAMES, "none"))[3] == 1.0


def test_lists_and_names():
    assert class_weights([1, 0.5, 2], LABELS, NAMES).tolist() == [1, 0.5, 2]
    assert class_weights({"left": 3}, LABELS, NAMES).tolist() == [1, 1, 3]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lft": 1}, "did you mean 'left'"),
        ([1, 2], "2 weights for 3 classes"),
        ([1, 2, -1], r"class_weights\[2\]: a weight is a finite number of at least 0"),
        ({"top": "big"}, "class_weights.top"),
        ("even", "expected balanced"),
    ],
)
def test_bad_class_weights(given, message):
    with pytest.raises(UserError, match=message):
        class_weights(given, LABELS, NAMES)


def test_weights_of_classes_columns_and_samples_multiply_and_follow_a_subset():
    base = small_dataset(6)
    base = replace(base, columns={"trust": np.array([1, 2, 1, 0, 1, 1])}, sample_weights=np.full(6, 0.5, np.float32))
    whole = weighted(base, [1, 2, 4], "trust")
    expected = np.array([1, 2, 4])[base.labels] * base.columns["trust"] * 0.5
    assert whole.sample_weights is not None and np.allclose(whole.sample_weights, expected)
    part = whole.subset(np.array([4, 1]))
    assert part.sample_weights is not None and np.allclose(part.sample_weights, expected[[4, 1]])


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_a_batch_is_the_sum_of_weighted_losses_over_the_number_of_samples(smoothing):
    data, loss, net = small_dataset(5), CrossEntropy(smoothing), small_net()
    weights = np.array([0.0, 1.0, 0.25, 3.0, 1.0], np.float32)
    x = data.normalise(data.images)
    single = [net.evaluate(x[i : i + 1], data.labels[i : i + 1], loss)[0] for i in range(5)]
    value, _ = net.evaluate(x, weighted_targets(data.labels, weights, 3, smoothing), loss)
    assert value == pytest.approx(np.dot(weights, single) / 5, rel=1e-5)


def test_the_gradient_is_the_weighted_mean_of_the_samples_gradients():
    layers = [engine.Flatten(), engine.Linear(100, 3)]
    net = engine.Sequential(layers, input_shape=(1, 10, 10))
    data, weights = small_dataset(4), np.array([2.0, 0.5, 0.0, 1.0], np.float32)
    x = data.normalise(data.images)
    single = [net.loss_and_gradients(x[i : i + 1], data.labels[i : i + 1], CrossEntropy())[1] for i in range(4)]
    _, whole = net.loss_and_gradients(x, weighted_targets(data.labels, weights, 3), CrossEntropy())
    for key, gradient in whole.items():
        expected = sum(w * each[key] for w, each in zip(weights, single, strict=True)) / 4
        assert np.allclose(gradient, expected, atol=1e-6)


def test_mixed_samples_mix_their_weighted_targets():
    data = weighted(small_dataset(8), [1.0, 2.0, 5.0])
    loader = weighted_loader(Loader(data, 8, batch_transform=Mixup(0.4, 3)), CrossEntropy(), (3,))
    _, targets = loader.batch(np.arange(8), 0, 0)
    assert np.all((targets.sum(axis=1) >= 1 - 1e-5) & (targets.sum(axis=1) <= 5 + 1e-5))
    plain = Loader(replace(data, sample_weights=None), 8, batch_transform=Mixup(0.4, 3)).batch(np.arange(8), 0, 0)[1]
    assert np.allclose(targets, plain * np.array([1.0, 2.0, 5.0]), atol=1e-6)


def fitted(data, **options):
    net = small_net()
    trainer = engine.Trainer(net, engine.SGD(lr=0.05), CrossEntropy(0.1), batch_size=16, progress="none", **options)
    return net, trainer.fit(data, small_dataset(32, seed=1), epochs=2)


def test_weights_of_one_are_no_weights_and_samples_of_weight_zero_leave_no_trace():
    data = small_dataset(64)
    ones, _ = fitted(weighted(data, [1, 1, 1]))
    plain, history = fitted(data)
    for key, array in plain.parameters().items():
        assert np.allclose(ones.parameters()[key], array, atol=1e-5)
    wrong = replace(data, labels=np.where(np.arange(64) < 20, (data.labels + 1) % 3, data.labels))
    silent = (np.arange(64) >= 20).astype(np.float32)
    first, _ = fitted(replace(data, sample_weights=silent))
    second, _ = fitted(replace(wrong, sample_weights=silent))
    for key, array in first.parameters().items():
        assert np.allclose(second.parameters()[key], array, atol=1e-5)
    assert "val_loss" in history.epochs[0]


def test_a_weighted_run_is_resumed_exactly_and_only_with_its_weights(tmp_path):
    data = weighted(small_dataset(64), "balanced")
    whole, _ = fitted(data)
    parts = small_net()
    options = {"batch_size": 16, "progress": "none", "out": tmp_path}
    engine.Trainer(parts, engine.SGD(lr=0.05), CrossEntropy(0.1), **options).fit(
        data, small_dataset(32, seed=1), epochs=1
    )
    trainer = engine.Trainer(parts, engine.SGD(lr=0.05), CrossEntropy(0.1), **options)
    with pytest.raises(UserError, match="other data"):
        trainer.fit(small_dataset(64), small_dataset(32, seed=1), epochs=2, resume=True)
    trainer.fit(data, small_dataset(32, seed=1), epochs=2, resume=True)
    assert weights_hash(parts) == weights_hash(whole)


def test_bad_weights_of_samples_are_refused():
    data = small_dataset(4)
    for weights, message in (
        ([1.0, 2.0], "expected \\(4,\\)"),
        ([1.0, np.nan, 1.0, 1.0], "finite"),
        ([1.0, -1.0, 1.0, 1.0], "at least 0"),
        ([0.0] * 4, "not all 0"),
    ):
        with pytest.raises(UserError, match=message):
            replace(data, sample_weights=np.array(weights, np.float32))
    with pytest.raises(UserError, match="unknown column in sample_weights: 'trust'"):
        weighted(data, column="trust")
    soft = replace(data, labels=np.eye(3, dtype=np.float32)[data.labels])
    with pytest.raises(UserError, match="the labels are soft"):
        weighted(soft, "balanced")
    trainer = engine.Trainer(small_net(), engine.SGD(lr=0.05), MeanSquaredError(), progress="none")
    with pytest.raises(UserError, match="need the loss CrossEntropy, not MeanSquaredError"):
        trainer.fit(replace(soft, sample_weights=np.ones(4, np.float32)), epochs=1)
