"""A score that is NaN or infinite stands for no class: every command says so, none takes it for class 0."""

import sys

import cv2
import numpy as np
import pytest

import engine
from engine import predict as command
from engine.cli import run
from engine.data.dataset import Dataset
from engine.data.preprocess import Preprocess
from engine.errors import DivergedError, UserError
from engine.inference.ensemble import load_members
from engine.network.checkpoint import read
from engine.network.load import restored
from engine.plots.gather import Predictions, predict_part
from engine.plots.layers import draw_features
from engine.plots.sheets import draw_mistakes, worst_mistakes
from engine.recipe.pseudo import label_with
from engine.training.metrics import predicted_classes
from engine.training.trainer import Trainer
from tests.engine.small import CLASSES, small_images, small_net

COUNT = 6
NAN = float("nan")
INF = float("inf")


def damaged(path, value, where="last"):
    """A checkpoint with one bad element: in the first or last parameter, or in the first running statistic."""
    net = small_net()
    net.preprocess, net.class_names = Preprocess().to_dict(), list(CLASSES)
    if value is not None:
        parameters = net.parameters()
        key = list(parameters)[0 if where == "first" else -1]
        parameters[key].flat[-1] = value
        net.load_parameters(parameters)
    net.save(path)
    assert restored(read(path)).class_names == list(CLASSES)
    return path


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, image in enumerate(small_images(COUNT)[0]):
        cv2.imwrite(str(folder / f"{number}.png"), image)
    return folder


@pytest.fixture
def dataset():
    images, labels = small_images(COUNT)
    prepared = np.stack([Preprocess().prepare(image) for image in images])
    return Dataset("pics", prepared, labels, class_names=CLASSES, preprocess=Preprocess())


@pytest.mark.parametrize("where", ["first", "last"])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_predict_names_image_and_checkpoint_and_writes_nothing(tmp_path, pictures, monkeypatch, capsys, value, where):
    good, bad = damaged(tmp_path / "good.safetensors", None), damaged(tmp_path / "bad.safetensors", value, where)
    out = tmp_path / "p.csv"
    for checkpoints in ([bad], [good, bad], [bad, good]):
        given = [part for each in checkpoints for part in ("--checkpoint", each)]
        monkeypatch.setattr(sys, "argv", ["predict", *map(str, [pictures, *given, "--out", out])])
        assert run(command.main) == 2
        shown = capsys.readouterr()
        assert shown.err.startswith("error: ") and str(bad) in shown.err and "0.png" in shown.err
        assert str(good) not in shown.err and not out.exists()


def test_plots_and_pseudo_labels_refuse_it(tmp_path, dataset):
    path = damaged(tmp_path / "bad.safetensors", NAN)
    with pytest.raises(UserError, match=r"bad\.safetensors.*0 of pics \(test\)"):
        predict_part(engine.load(path), path, "test", dataset)
    with pytest.raises(UserError, match=r"bad\.safetensors.*0 of pics"):
        label_with(load_members([path]), dataset, 0.5)
    scores = np.full((COUNT, len(CLASSES)), 0.5, np.float32)
    scores[3, 1] = NAN
    with pytest.raises(UserError, match="sample 3"):
        _ = Predictions("test", dataset, dataset.labels, scores, CLASSES).predicted
    with pytest.raises(UserError, match="sample 3"):
        worst_mistakes(dataset.labels, scores, 4)
    with pytest.raises(UserError, match="sample 3"):
        draw_mistakes(dataset.images, dataset.labels, scores, CLASSES)


def test_an_evaluation_diverges(tmp_path, dataset):
    for value in (NAN, INF):
        net = engine.load(damaged(tmp_path / "bad.safetensors", value))
        with pytest.raises(DivergedError, match="pics"):
            Trainer(net, engine.SGD(lr=0.1), progress="none").evaluate(dataset)


def test_an_evaluation_sees_weights_whose_outputs_are_finite(dataset):
    """An infinity in front of a ReLU gives zeros, and every answer is wrong all the same."""
    net = engine.Sequential(
        [engine.Flatten(), engine.Linear(100, 4), engine.ReLU(), engine.Linear(4, 3)], input_shape=(1, 10, 10)
    )
    key = next(iter(net.parameters())).replace("weights", "bias")
    net.load_parameters({**net.parameters(), key: np.full(4, -INF, np.float32)})
    assert np.isfinite(net.predict(dataset.normalise(dataset.images))).all()
    with pytest.raises(DivergedError, match=f"evaluating on pics: the {key} is NaN or infinite"):
        Trainer(net, engine.SGD(lr=0.1), progress="none").evaluate(dataset)


def test_soft_labels_stand_for_classes_only_where_they_are_numbers(tmp_path, dataset):
    soft = np.eye(3, dtype=np.float32)[dataset.labels]
    soft[4, 2] = NAN
    net = engine.load(damaged(tmp_path / "good.safetensors", None))
    with pytest.raises(UserError, match="pics: the label of sample 4 holds"):
        predict_part(net, tmp_path, "test", Dataset("pics", dataset.images, soft, preprocess=dataset.preprocess))


def test_a_layer_with_nan_has_no_largest_bar():
    with pytest.raises(UserError, match="layer 'fc'"):
        draw_features({"fc": np.array([0.0, NAN, 1.0], np.float32)}, np.zeros((1, 4, 4), np.float32))


def test_classes_are_told_from_finite_scores_alone():
    assert predicted_classes(np.array([[0.0, 2.0, 2.0], [3.0, 1.0, 2.0]])).tolist() == [1, 0]
    for value in (NAN, INF, -INF):
        with pytest.raises(UserError, match="sample 1"):
            predicted_classes(np.array([[0.0, 1.0], [0.0, value]]))
