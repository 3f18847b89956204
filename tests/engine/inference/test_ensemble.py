"""Several networks and several views: the mean of their probabilities, and one alone is what it always was."""

import csv
import re
import sys

import cv2
import numpy as np
import pytest

import engine
from engine import predict as command
from engine.cli import run
from engine.data.preprocess import Preprocess
from engine.errors import EngineWarning, UserError
from engine.inference.ensemble import ensemble_probabilities, load_members, mean_probabilities, probabilities
from engine.inference.views import parse_views
from engine.network.load import load
from tests.engine.small import CLASSES, SIDE, small_images, small_net

COUNT = 7
PREPROCESSES = (Preprocess(), Preprocess(scale="-1..1"), Preprocess(steps=("reverse",), size=(SIDE, SIDE)))


def save(path, seed=0, names=CLASSES, preprocess=PREPROCESSES[0]):
    net = small_net(seed)
    net.preprocess, net.class_names = preprocess.to_dict(), list(names)
    net.save(path)
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pictures, their labels in a table, and three networks that prepare images in different ways."""
    place = tmp_path_factory.mktemp("ensemble")
    (place / "pictures").mkdir()
    images, labels = small_images(COUNT)
    for number, image in enumerate(images):
        cv2.imwrite(str(place / "pictures" / f"{number}.png"), image)
    rows = [f"{number}.png,{CLASSES[label]}\n" for number, label in enumerate(labels)]
    (place / "gt.csv").write_text("filename,label\n" + "".join(rows))
    for seed, preprocess in enumerate(PREPROCESSES):
        save(place / f"{seed}.safetensors", seed, preprocess=preprocess)
    return place


def call(monkeypatch, capsys, *arguments):
    """Run the command in this process: exit status, standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["predict", *map(str, arguments)])
    status = run(command.main)
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def checkpoints(place, *seeds):
    return [argument for seed in seeds for argument in ("--checkpoint", place / f"{seed}.safetensors")]


def alone(place, seed, view=lambda image: image):
    """Probabilities of one network on all pictures, each prepared and changed by itself."""
    net, preprocess = engine.load(place / f"{seed}.safetensors"), PREPROCESSES[seed]
    prepared = [preprocess.prepare(image) for image in small_images(COUNT)[0]]
    return net.predict(preprocess.normalise(np.stack([view(image) for image in prepared])))


def read(text):
    rows = list(csv.DictReader(text.splitlines()))
    return [row["label"] for row in rows], [row["probability"] for row in rows]


def test_one_network_alone_is_not_touched(place):
    (member,) = load_members([place / "1.safetensors"])
    prepared = np.stack([member.preprocess.prepare(image) for image in small_images(COUNT)[0]])
    scores = ensemble_probabilities([member], [prepared])
    assert np.array_equal(scores, alone(place, 1)) and scores.dtype == np.float32
    part = probabilities(member.net, member.preprocess.normalise(prepared))
    assert mean_probabilities([part]) is part


def test_several_checkpoints_give_the_mean_of_their_probabilities(place, monkeypatch, capsys):
    wanted = np.mean([alone(place, seed) for seed in (0, 1, 2)], axis=0)
    status, out, err = call(
        monkeypatch, capsys, place / "pictures", *checkpoints(place, 0, 1, 2), "--gt", place / "gt.csv"
    )
    labels, shown = read(out)
    assert status == 0 and labels == [CLASSES[row.argmax()] for row in wanted]
    assert np.array(shown, float) == pytest.approx(wanted.max(axis=1), abs=2e-6)
    truth = small_images(COUNT)[1]
    assert f"accuracy {np.mean(wanted.argmax(axis=1) == truth):.4f}" in err


def test_members_are_joined_by_the_names_of_their_classes(place, tmp_path):
    """The second network numbers its classes from the other end."""
    net = small_net(1)
    weights = net.parameters()
    head = [key for key in weights if weights[key].shape[0] == len(CLASSES)]
    net.load_parameters({**weights, **{key: weights[key][::-1].copy() for key in head}})
    net.preprocess, net.class_names = PREPROCESSES[1].to_dict(), list(CLASSES[::-1])
    net.save(tmp_path / "turned.safetensors")
    images = small_images(COUNT)[0]

    def mean(second):
        members = load_members([place / "0.safetensors", second])
        prepared = [np.stack([member.preprocess.prepare(image) for image in images]) for member in members]
        return ensemble_probabilities(members, prepared)

    assert np.array_equal(mean(tmp_path / "turned.safetensors"), mean(place / "1.safetensors"))


def test_an_output_without_a_class_has_its_number(tmp_path, monkeypatch, capsys, place):
    """A network with more outputs than its training had classes."""
    with pytest.warns(EngineWarning, match="names of 1 classes"):
        path = save(tmp_path / "two.safetensors", names=CLASSES[:1])
    status, out, err = call(monkeypatch, capsys, place / "pictures", "--checkpoint", path)
    assert err.startswith(f"warning: {path}: the network has 3 outputs, but names of 1 classes: {CLASSES[0]}; ")
    assert status == 0 and set(read(out)[0]) <= {CLASSES[0], "output 1", "output 2"}


def test_views_take_part_in_the_mean(place, monkeypatch, capsys):
    views = (lambda image: image, lambda image: image[..., ::-1])
    wanted = np.mean([alone(place, seed, view) for seed in (0, 2) for view in views], axis=0)
    _, out, _ = call(monkeypatch, capsys, place / "pictures", *checkpoints(place, 0, 2), "--tta", "flip")
    labels, shown = read(out)
    assert labels == [CLASSES[row.argmax()] for row in wanted]
    assert np.array(shown, float) == pytest.approx(wanted.max(axis=1), abs=2e-6)


def test_every_combination_of_views_begins_with_the_unchanged_image():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 6), np.uint8)
    views = parse_views("flip, shift:2")
    seen = [view(images) for view in views]
    assert len(seen) == 2 * 5 and np.array_equal(seen[0], images)
    assert len({each.tobytes() for each in seen}) == len(seen)
    assert all(each.shape == images.shape and each.dtype == np.uint8 for each in seen)
    assert np.array_equal(seen[5], images[..., ::-1])


def test_a_shift_repeats_the_outermost_pixels():
    image = np.arange(12, dtype=np.uint8).reshape(1, 1, 3, 4)
    left, right, up, down = (view(image)[0, 0] for view in parse_views("shift:1")[1:])
    assert left.tolist() == [[1, 2, 3, 3], [5, 6, 7, 7], [9, 10, 11, 11]]
    assert right.tolist() == [[0, 0, 1, 2], [4, 4, 5, 6], [8, 8, 9, 10]]
    assert up.tolist() == [[4, 5, 6, 7], [8, 9, 10, 11], [8, 9, 10, 11]]
    assert down.tolist() == [[0, 1, 2, 3], [0, 1, 2, 3], [4, 5, 6, 7]]
    far = parse_views("shift:9")[1](image)
    assert np.array_equal(far[0, 0], np.repeat([[3], [7], [11]], 4, axis=1))


def test_a_rotation_turns_about_the_centre():
    image = np.zeros((2, 1, 9, 9), np.uint8)
    image[:, :, 4, :] = 200  # a horizontal stroke
    turned = [view(image) for view in parse_views("rotate:90")[1:]]
    for each in turned:
        assert np.array_equal(each, image.transpose(0, 1, 3, 2))
    slanted = parse_views("rotate:10")[1](image)
    assert slanted[0, 0, 4, 4] == 200 and not np.array_equal(slanted, image)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flop", "unknown test-time augmentation 'flop'; did you mean 'flip'"),
        ("shift", "expected shift:PIXELS, a positive whole number, got 'shift'"),
        ("shift:0", "expected shift:PIXELS"),
        ("shift:1.5", "expected shift:PIXELS"),
        ("rotate:x", "expected rotate:DEGREES, between 0 and 180, got 'rotate:x'"),
        ("rotate:nan", "expected rotate:DEGREES"),
        ("flip:1", "flip takes no amount"),
        ("flip,flip", "flip is given twice"),
        ("flip,", "unknown test-time augmentation ''"),
    ],
)
def test_bad_views(place, monkeypatch, capsys, text, message):
    with pytest.raises(UserError, match=re.escape(message)):
        parse_views(text)
    status, out, err = call(monkeypatch, capsys, place / "pictures", *checkpoints(place, 0), "--tta", text)
    assert (status, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1


@pytest.mark.parametrize(("shift", "status"), [(1, 0), (None, 2), (1000, 2)])
def test_a_shift_as_large_as_the_images_is_refused(place, monkeypatch, capsys, shift, status):
    """Most of such a view would be outside of the image: nothing of it but a repeated edge is seen."""
    height, width = load(place / "0.safetensors").input_shape[1:]
    shift = shift or min(height, width)
    command = [place / "pictures", *checkpoints(place, 0), "--tta", f"flip,shift:{shift}"]
    told, out, err = call(monkeypatch, capsys, *command)
    assert told == status, err
    if status:
        assert (out, err) == (
            "",
            f"error: test-time augmentation: shift:{shift} moves images of {height}x{width} pixels out of sight; "
            f"give a shift below {min(height, width)}\n",
        )


def test_networks_of_other_classes_are_both_named(place, monkeypatch, capsys, tmp_path):
    other = save(tmp_path / "other.safetensors", names=("top", "left", "middle"))
    arguments = [place / "pictures", *checkpoints(place, 0), "--checkpoint", other, "--out", tmp_path / "p.csv"]
    status, _, err = call(monkeypatch, capsys, *arguments)
    assert status == 2 and err.count("\n") == 1 and not (tmp_path / "p.csv").exists()
    assert str(place / "0.safetensors") in err and str(other) in err
    assert "3 classes (top, bottom, left)" in err and "3 classes (top, left, middle)" in err


def test_a_checkpoint_counts_once(place, monkeypatch, capsys, tmp_path):
    status, _, err = call(monkeypatch, capsys, place / "pictures", *checkpoints(place, 0, 1, 0))
    assert status == 2 and "0.safetensors: the checkpoint is given twice" in err
    (tmp_path / "link.safetensors").symlink_to(place / "0.safetensors")
    for other in (place / ".." / place.name / "0.safetensors", tmp_path / "link.safetensors"):
        given = ["--checkpoint", place / "0.safetensors", "--checkpoint", other]
        status, _, err = call(monkeypatch, capsys, place / "pictures", *given)
        assert status == 2 and f"{other}: the checkpoint is given twice, also as {place / '0.safetensors'}" in err


def test_an_image_that_fits_one_network_only_is_told_with_that_network(place, monkeypatch, capsys, tmp_path):
    cv2.imwrite(str(tmp_path / "large.png"), np.zeros((20, 20), np.uint8))
    status, _, err = call(monkeypatch, capsys, tmp_path / "large.png", *checkpoints(place, 2, 0))
    assert status == 2 and "large.png" in err and "0.safetensors" in err and "(1, 20, 20)" in err
