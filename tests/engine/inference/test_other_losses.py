"""Networks whose outputs are no scores of classes: nothing says that softmax makes probabilities of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine.data.dataset import Dataset
from engine.data.preprocess import Preprocess
from engine.errors import UserError
from engine.inference.ensemble import load_members, member_of
from engine.losses import Huber, Loss
from engine.network.transfer import initialize
from engine.plots.gather import predict_part
from engine.quantize.reading import load as load_quantized
from engine.training.trainer import Trainer
from tests.engine.small import SIDE, small_images

BCE, MSE, CE = engine.BinaryCrossEntropy(), engine.MeanSquaredError(), engine.CrossEntropy()
IMAGES = small_images(16)[0][:, None]


def network(outputs: int, *last: engine.Layer) -> engine.Network:
    return engine.Sequential([engine.Flatten(), engine.Linear(SIDE * SIDE, outputs), *last], (1, SIDE, SIDE))


def train(net: engine.Network, loss: Loss, out: Path | None = None) -> engine.Network:
    classes = np.arange(16) % net.output_shape[0]
    labels: Any = classes if loss is CE else np.eye(net.output_shape[0], dtype=np.float32)[classes]
    data = Dataset("given", IMAGES, labels, preprocess=Preprocess(size=(SIDE, SIDE)))
    Trainer(net, engine.SGD(0.01), loss, batch_size=8, progress="none", out=out).fit(data, epochs=1)
    return net


@pytest.mark.parametrize("loss", [BCE, MSE, Huber()], ids=lambda loss: type(loss).__name__)
def test_a_network_trained_for_something_else_is_refused_from_every_file(loss: Loss, tmp_path: Path) -> None:
    net = train(network(3), loss, tmp_path / "run")
    net.save(tmp_path / "saved.safetensors")
    samples = np.random.default_rng(0).random((32, 1, SIDE, SIDE), np.float32)
    net.quantize(samples).save(tmp_path / "int8.safetensors")
    assert load_quantized(tmp_path / "int8.safetensors").trained_by == type(loss).__name__
    paths = [tmp_path / "run" / "last.safetensors", tmp_path / "run" / "best.safetensors"]
    for path in (*paths, tmp_path / "saved.safetensors", tmp_path / "int8.safetensors"):
        with pytest.raises(UserError, match=rf"{path.name}: the network was trained by {type(loss).__name__}, so"):
            load_members([path])
    data = Dataset("given", IMAGES, np.arange(16) % 3, preprocess=Preprocess(size=(SIDE, SIDE)))
    with pytest.raises(UserError, match="the network was trained by"):
        predict_part(net, tmp_path, "test", data)
    other = network(3)
    initialize(other, tmp_path / "saved.safetensors")  # the last layer comes with what its outputs stand for
    assert other.trained_by == net.trained_by


def test_an_onnx_model_says_it_too(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    for loss, wanted in ((MSE, "MeanSquaredError"), (CE, None)):
        train(network(3), loss).to_onnx(tmp_path / "net.onnx")
        assert engine.from_onnx(tmp_path / "net.onnx").trained_by == wanted


@pytest.mark.parametrize("last", [[], [engine.Sigmoid()]], ids=["bare", "sigmoid"])
def test_one_output_is_no_classifier(last: list[engine.Layer], tmp_path: Path) -> None:
    train(network(1, *last), BCE, tmp_path / "run")
    with pytest.raises(UserError, match=r"the network has one output, and a classifier .* engine\.load"):
        load_members([tmp_path / "run" / "last.safetensors"])


@pytest.mark.parametrize("last", [engine.Sigmoid(), engine.Softmax()], ids=["sigmoid", "softmax"])
def test_outputs_that_are_probabilities_are_taken(last: engine.Layer, tmp_path: Path) -> None:
    net = train(network(3, last), MSE)
    assert member_of("net", net).net is net


def test_what_classes_train_last_counts_and_is_not_written(tmp_path: Path) -> None:
    net = network(3)
    train(net, CE).save(tmp_path / "a.safetensors")
    assert b"trained_by" not in (tmp_path / "a.safetensors").read_bytes()
    assert train(net, MSE).trained_by == "MeanSquaredError"
    assert train(net, CE).trained_by is None and member_of("net", net).net is net
