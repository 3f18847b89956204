"""The first configuration for photos of one's own: a message names the key that is missing, and the value to set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

import engine
from engine import train
from engine.cli import run
from engine.reading.schema import merge

LENET = {"name": "lenet", "arguments": {"classes": 3, "channels": 1}}
GOOD: dict[str, Any] = {
    "dataset": {"name": "folder", "train": {"path": "photos"}},
    "preprocess": {"size": [28, 28]},
    "model": LENET,
    "epochs": 2,
    "threads": 1,
}
LAYERS = ["Flatten", {"Linear": [784, 3]}]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Class folders: colour JPEGs of many sizes; all of one size; grey ones of 28x28."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CNN_CACHE", "off")
    random = np.random.default_rng(0)
    for label in ("cat", "dog", "fish"):
        for folder in ("photos", "same", "grey"):
            (tmp_path / folder / label).mkdir(parents=True)
        for number in range(6):
            sizes = {"photos": (*random.integers(30, 80, 2), 3), "same": (48, 64, 3), "grey": (28, 28)}
            for folder, size in sizes.items():
                image = random.integers(0, 256, size, np.uint8)
                cv2.imwrite(str(tmp_path / folder / label / f"{number}.jpg"), image)
    threads = engine.get_num_threads()
    yield tmp_path
    engine.set_num_threads(threads)


def tried(monkeypatch: pytest.MonkeyPatch, content: dict[str, Any]) -> int:
    Path("photos.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.setattr("sys.argv", ["train", "photos.yaml", "--out", "out"])
    return run(train.main)


def without(*keys: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD.items() if key not in keys}


def model(**changes: Any) -> dict[str, Any]:
    return {**GOOD, "model": {"name": "lenet", "arguments": {**LENET["arguments"], **changes}}}  # type: ignore[dict-item]


COLOUR_NET = model(channels=3)["model"]
SAME = {"name": "folder", "train": {"path": "same"}}

MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no size": (without("preprocess"), "set preprocess.size: [28, 28], which the network takes"),
    "no size, photos alike": (without("preprocess") | {"dataset": SAME}, "set preprocess.size: [28, 28]"),
    "another size": (merge(GOOD, {"preprocess": {"size": [64, 64]}}), "set preprocess.size: [28, 28]"),
    "no colour": (model(channels=3), "set preprocess.colour: true, or"),
    "neither": (
        without("preprocess") | {"model": COLOUR_NET},
        "set preprocess.colour: true and preprocess.size: [28, 28], or",
    ),
    "neither, photos alike": (
        without("preprocess") | {"model": COLOUR_NET, "dataset": SAME},
        "set preprocess.colour: true and preprocess.size: [28, 28], or",
    ),
    "a grey network": (
        merge(GOOD, {"preprocess": {"colour": True}}),
        "set preprocess.colour: false, or take a network of 3 channels (model.arguments.channels",
    ),
    "too few classes": (model(classes=2), "set model.arguments.classes: 3"),
    "too few outputs": (
        {**GOOD, "model": {"layers": ["Flatten", {"Linear": [784, 2]}], "input_shape": [1, 28, 28]}},
        "or with model.layers 3 outputs in the last",
    ),
    "no image": ({**GOOD, "model": {"layers": LAYERS[1:], "input_shape": [784]}}, "set model.input_shape: [1, 28, 28]"),
    "layers that do not fit": (
        {**GOOD, "model": {"layers": LAYERS, "input_shape": [3, 28, 28]}},
        "model.layers: layer '1': Linear has in_features = 784, but its input has 2352",
    ),
    "a test part of another size": (
        without("preprocess")
        | {"dataset": {"name": "folder", "train": {"path": "grey"}, "test": {"path": "same"}}, "model": LENET},
        "same: images have shape (1, 48, 64), but the network takes (1, 28, 28)",
    ),
    "a folder as the set": ({**GOOD, "dataset": "photos"}, "write dataset: {name: folder, train: {path: photos}}"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_names_the_key_to_set(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content, advice = MISTAKES[name]
    assert tried(monkeypatch, content) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and said.err.startswith("error: ") and advice in said.err, said.err
    assert "epoch" not in said.out and not Path("out").exists()  # before anything is trained or written


def test_more_outputs_than_classes_is_a_line_with_the_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tried(monkeypatch, model(classes=10)) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: the network has 10 outputs, but the data 3 classes: cat, dog, fish; ")
    assert "set model.arguments.classes: 3" in line


def test_it_trains_as_the_page_on_photos_has_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a cosine as long as the run, and no word about loading in an epoch that takes a moment."""
    assert tried(monkeypatch, {**GOOD, "schedule": {"name": "Cosine", "unit": "epoch"}}) == 0
    said = capsys.readouterr()
    assert said.err == "" and "loader-bound" not in said.out
    assert "epoch 2/2  lr 0.0005" in said.out
