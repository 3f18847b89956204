"""Whitening filters: patches come out decorrelated, the same bits whatever the library, and what cannot be whitened."""

import argparse
import hashlib

import numpy as np
import pytest
import yaml

import engine
from engine.data.dataset import Dataset
from engine.data.preprocess import Preprocess
from engine.errors import UserError
from engine.recipe.config import read_config
from engine.recipe.fit import find_rate, make_loader, make_trainer
from engine.recipe.samples import load_data
from engine.recipe.whitening import WhitenConfig, eigenvectors, second_moments, whiten
from engine.training.schedules.finder import find_learning_rate


def photos(count: int = 60, channels: int = 3, height: int = 9, width: int = 12) -> Dataset:
    """Smooth images, whose neighbouring pixels and channels are alike, as those of photos are."""
    rng = np.random.default_rng(0)
    rough = rng.normal(size=(count, channels, height + 4, width + 4)) + rng.normal(
        size=(count, 1, height + 4, width + 4)
    )
    smooth = sum(rough[:, :, y : y + height, x : x + width] for y in range(5) for x in range(5))
    images = np.clip(128 + 10 * smooth, 0, 255).astype(np.uint8)
    return Dataset("photos", images, np.arange(count) % 2, ("a", "b"), Preprocess(colour=channels == 3, scale="-1..1"))


def network(filters: int = 24, kernel: int | tuple[int, int] = 2, channels: int = 3, **options) -> engine.Network:
    layers = {"first": engine.Conv2D(channels, filters, kernel, **options), "relu": engine.ReLU()}
    rest = {"flat": engine.GlobalAvgPool2D(), "head": engine.Linear(filters, 2)}
    return engine.Sequential(layers | rest, input_shape=(channels, 9, 12))


def test_moments_and_eigenvectors_are_those_of_the_library():
    data = photos()
    images = data.normalise(data.images)
    windows = np.lib.stride_tricks.sliding_window_view(images, (2, 3), axis=(2, 3)).astype(np.float64)
    patches = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, 18)
    moments = second_moments(images, (2, 3))
    np.testing.assert_allclose(moments, patches.T @ patches / len(patches), rtol=1e-5, atol=1e-6)
    values, vectors = eigenvectors(moments)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(moments)[::-1], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(18), atol=1e-12)
    np.testing.assert_allclose((vectors.T * values) @ vectors, moments, atol=1e-12)
    assert (np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1) > 0).all()


@pytest.mark.parametrize("matrix", [np.zeros((3, 3)), np.eye(4), np.diag([1.0, 5.0, 3.0]), np.ones((5, 5)), [[7.0]]])
def test_eigenvectors_of_degenerate_matrices(matrix):
    matrix = np.array(matrix)
    values, vectors = eigenvectors(matrix)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(len(matrix)), atol=1e-14)
    np.testing.assert_allclose((vectors.T * values) @ vectors, matrix, atol=1e-14)
    assert (np.diff(values) <= 0).all()


def test_what_the_filters_give_is_white():
    net, data = network(), photos()
    whiten(net, data, WhitenConfig("first", eps=1e-9), seed=0)
    weights, bias = (net.parameters()[f"first.{name}"] for name in ("weights", "bias"))
    assert np.array_equal(weights[12:], -weights[:12]) and not bias.any()
    windows = np.lib.stride_tricks.sliding_window_view(data.normalise(data.images), (2, 2), axis=(2, 3))
    outputs = np.einsum("nchwij,ocij->nhwo", windows.astype(np.float64), weights[:12].astype(np.float64)).reshape(
        -1, 12
    )
    np.testing.assert_allclose(outputs.T @ outputs / len(outputs), np.eye(12), atol=1e-3)


def test_the_bits_are_the_same_on_every_machine():
    net = network(filters=10)
    whiten(net, photos(), WhitenConfig("first", samples=40), seed=3)
    weights = net.parameters()["first.weights"]
    assert hashlib.sha256(weights.astype("<f4").tobytes()).hexdigest()[:16] == "2f34fde9bd31548b"
    other = network(filters=10)
    whiten(other, photos(), WhitenConfig("first", samples=40), seed=4)
    assert not np.array_equal(other.parameters()["first.weights"], weights)  # other samples
    untouched = network(filters=10).parameters()
    assert all(np.array_equal(array, untouched[key]) for key, array in net.parameters().items() if "first" not in key)


def test_one_grey_image_without_bias_and_images_of_one_value():
    net = network(filters=2, kernel=(1, 3), channels=1, bias=False)
    whiten(net, photos(1, channels=1), WhitenConfig("first"), seed=0)
    assert np.isfinite(net.parameters()["first.weights"]).all()
    black = Dataset("black", np.zeros((3, 1, 9, 12), np.uint8), np.zeros(3, int), ("a", "b"), Preprocess())
    whiten(net, black, WhitenConfig("first"), seed=0)
    assert np.abs(net.parameters()["first.weights"]).max() == pytest.approx(1 / np.sqrt(5e-4))


@pytest.mark.parametrize(
    ("net", "section", "message"),
    [
        (lambda: network(), ("frst",), "unknown layer in whiten: 'frst'; did you mean 'first'"),
        (lambda: network(), ("head",), "'head' must be a Conv2D that reads the images themselves"),
        (lambda: network(filters=25), ("first",), "25 filters; for patches of 12 values an even number up to 24"),
        (lambda: network(filters=26), ("first",), "up to 24 is expected"),
        (lambda: network(dilation=2), ("first",), "groups and dilation 1"),
        (lambda: network(), ("first", 0), "samples must be 1 or more"),
        (lambda: network(), ("first", 5, 0.0), "eps"),
        (lambda: network(channels=1), ("first",), "an even number up to 8"),
    ],
)
def test_what_cannot_be_whitened_is_named(net, section, message):
    with pytest.raises(UserError, match=message):
        whiten(net(), photos(), WhitenConfig(*section), seed=0)


def test_weights_with_the_rate_nothing_stay_while_their_bias_learns():
    net, data = network(), photos()
    whiten(net, data, WhitenConfig("first"), seed=0)
    before = net.parameters()
    trainer = engine.Trainer(
        net, engine.AdamW(lr=0.1), batch_size=20, learning_rates={"first.weights": 0}, progress="none"
    )
    trainer.fit(data, epochs=1)
    after = net.parameters()
    assert np.array_equal(after["first.weights"], before["first.weights"])
    assert not np.array_equal(after["first.bias"], before["first.bias"])
    assert not np.array_equal(after["head.weights"], before["head.weights"])


def colour_config(tmp_path, **more):
    """A configuration of a network that `whiten` fits, on 30 images."""
    np.savez(tmp_path / "photos.npz", x=photos(30).images.transpose(0, 2, 3, 1), y=np.arange(30) % 2)
    layers = [{"Conv2D": [3, 12, 2]}, "ReLU", "GlobalAvgPool2D", {"Linear": [12, 2]}]
    settings = {
        "dataset": {"name": "npz", "train": {"path": str(tmp_path / "photos.npz")}},
        "preprocess": {"colour": True},
        "model": {"layers": layers, "input_shape": [3, 9, 12]},
        "optimizer": {"name": "SGD", "lr": 0.02},
        "learning_rates": {"0.weights": 0},
        "batch_size": 8,
        "epochs": 1,
        **more,
    }
    (tmp_path / "photos.yaml").write_text(yaml.safe_dump(settings))
    return settings


def find(tmp_path):
    options = {"config": tmp_path / "photos.yaml", "overrides": [], "data_root": None}
    return find_rate(argparse.Namespace(**options))


def test_a_search_for_a_rate_is_made_with_the_filters_and_the_average_of_the_training(tmp_path):
    colour_config(tmp_path)
    without = find(tmp_path)
    settings = colour_config(tmp_path, whiten="0")
    config = read_config(settings)
    trainer, (data, _, _) = make_trainer(config, None), load_data(config, None)
    whiten(trainer.net, data, config.whiten, config.seed)
    expected = find_learning_rate(
        trainer.net, make_loader(config, data), trainer.optimizer, batch_size=8, learning_rates={"0.weights": 0}
    )
    assert find(tmp_path) == expected != without
    for average, same in (({"kind": "ema", "decay": 0.5}, True), ({"kind": "lookahead", "decay": 0.5}, False)):
        for power in (0.0, 2.0):
            colour_config(tmp_path, whiten="0", average={**average, "power": power})
            assert (find(tmp_path).losses == expected.losses) is same


def test_filters_that_were_just_loaded_are_not_overwritten(tmp_path):
    config = read_config(colour_config(tmp_path))
    make_trainer(config, None).net.save(tmp_path / "net.safetensors")
    section = {"checkpoint": str(tmp_path / "net.safetensors")}
    both = read_config(colour_config(tmp_path, whiten="0", initialize_from=section))
    with pytest.raises(UserError, match=r"whiten: the layer '0' has just been loaded from .*exclude: \[0\]"):
        make_trainer(both, None)
    rest = read_config(colour_config(tmp_path, whiten="0", initialize_from={**section, "exclude": ["0"]}))
    assert make_trainer(rest, None).initialized["loaded"] == ["3"]
