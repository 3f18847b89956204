"""Training on a folder of image files: the cache, and damaged images, which end up in the run's record."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from engine import train as command
from engine.cli import run

SETTINGS = {
    "preprocess": {"size": [8, 8], "steps": ["reverse"]},
    "model": {"layers": ["Flatten", {"Linear": [64, 2]}], "input_shape": [1, 8, 8]},
    "optimizer": {"name": "SGD", "lr": 0.01},
    "batch_size": 4,
    "epochs": 2,
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CNN_CACHE", str(tmp_path / "cache"))
    for label in "ab":
        (tmp_path / "set" / label).mkdir(parents=True)
        for number in range(10):
            picture = np.random.default_rng(number + ord(label)).integers(0, 256, (9, 9), np.uint8)
            cv2.imwrite(str(tmp_path / "set" / label / f"{number}.png"), picture)
    settings = {"dataset": {"name": "folder", "train": {"path": str(tmp_path / "set")}}, **SETTINGS}
    (tmp_path / "images.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


def call(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["train", "images.yaml", *arguments])
    return run(command.main)


def lines(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_the_cache_changes_no_bit(place, monkeypatch):
    assert call(monkeypatch, "--out", "built") == 0
    assert call(monkeypatch, "--out", "found") == 0
    assert len(list((place / "cache").iterdir())) == 1
    assert call(monkeypatch, "--out", "without", "cache=false") == 0
    assert len({(place / out / "best.safetensors").read_bytes() for out in ("built", "found", "without")}) == 1


def test_damaged_images_are_in_the_runs_record(place, monkeypatch, capsys):
    damaged = place / "set" / "b" / "3.png"
    damaged.write_bytes(damaged.read_bytes()[:50])
    assert call(monkeypatch, "--out", "run") == 0
    assert capsys.readouterr().err.startswith("warning: set: 1 of 20 images cannot be read")
    event, *epochs = lines(place / "run")
    reason = f"{damaged}: the image file is truncated"
    assert event == {"event": "skipped_images", "dataset": "set", "count": 1, "images": [reason]}
    assert [each["epoch"] for each in epochs] == [1, 2]
    assert json.loads((place / "run" / "result.json").read_text())["skipped_images"] == [reason]
    assert call(monkeypatch, "--out", "run", "--resume", "epochs=3") == 0
    assert capsys.readouterr().err.startswith("warning: set: 1 of 20")  # a resumed run says it too
    assert sum("event" in each for each in lines(place / "run")) == 1


def swap(place):
    (place / "set" / "a").rename(place / "set" / "c")
    (place / "set" / "b").rename(place / "set" / "a")
    (place / "set" / "c").rename(place / "set" / "b")


def one_more(place):
    (place / "set" / "a" / "99.png").write_bytes((place / "set" / "a" / "1.png").read_bytes())


def other_image(place):
    (place / "set" / "a" / "1.png").write_bytes((place / "set" / "b" / "1.png").read_bytes())


OTHER_FOLDERS = [
    (lambda place: (place / "set" / "b").rename(place / "set" / "bee"), "other data: class 1 was b, now it is bee$"),
    (
        lambda place: (place / "set" / "b").rename(place / "set" / "A"),
        "other data: class 0 was a, now it is A; class 1",
    ),
    (swap, "other data: the images of training are others, or in another order; "),
    (one_more, r"other data: .*validation had 4 samples, now it has 5; 2 samples of validation were of class a, now"),
    (other_image, "other data: the images of .* are others"),
    (lambda place: (place / "set" / "a" / "1.png").unlink(), "other data: training had 16 samples, now it has 15; "),
]


@pytest.mark.parametrize(("change", "message"), OTHER_FOLDERS)
def test_a_run_does_not_go_on_with_other_images_or_names(place, monkeypatch, capsys, change, message):
    assert call(monkeypatch, "--out", "run") == 0
    before = {path.name: path.read_bytes() for path in (place / "run").iterdir()}
    change(place)
    assert call(monkeypatch, "--out", "run", "--resume", "epochs=3") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and re.search(message, error.strip()), error
    assert {path.name: path.read_bytes() for path in (place / "run").iterdir()} == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=1", "was started with seed = 0, now it is 1$"),
        ("optimizer.lr=0.02", "was started with optimizer.lr = 0.01, now it is 0.02$"),
        ("optimizer={name: Adam}", "optimizer.name = SGD, now it is Adam; "),
        ("batch_size=2", "was started with batch_size = 4, now it is 2$"),
        ("model.layers=[Flatten, ReLU, {Linear: [64, 2]}]", "network.nodes.*network.order = "),
        ("model.initializer=glorot_uniform", "network.initializer = he_normal, now it is glorot_uniform"),
        ("preprocess.scale=none", "was started with preprocess.scale = 0..1, now it is none$"),
        ("preprocess.steps=[]", "other data: the images of training are others.*; preprocess.steps = .'reverse'., now"),
        ("split.seed=1", "other data: "),
        ("augment.flip=0.5", "augmentation.flip = None, now it is 0.5"),
        ("class_weights=[1, 2]", "other data: the weights of training are others"),
    ],
)
def test_a_key_that_differs_on_resume_is_named_with_both_values(place, monkeypatch, capsys, override, message):
    assert call(monkeypatch, "--out", "run") == 0
    assert call(monkeypatch, "--out", "run", "--resume", override) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "another network" not in error and re.search(message, error.strip()), error


def test_strict_stops_before_anything_is_written(place, monkeypatch, capsys):
    (place / "set" / "a" / "7.png").write_bytes(b"")
    assert call(monkeypatch, "--out", "run", "strict=true") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: set: 1 of 20 images") and "7.png: the image file is empty" in error
    assert error.count("\n") == 1 and not Path("run").exists()
