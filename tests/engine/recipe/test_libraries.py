"""Which configurations are known by the version of a library: those of which it decides a byte, and no other."""

import cv2
import numpy as np
import pytest

from engine.data.augment import WARP_VERSION
from engine.data.readers import READERS
from engine.recipe import libraries
from engine.recipe.config import read_config
from engine.recipe.libraries import deciders
from engine.recipe.samples import load_data

OPENCV = {"opencv": cv2.__version__}
WARP = {"warp": WARP_VERSION}
PLAIN = {"model": {"name": "lenet"}, "dataset": {"name": "mnist"}}


def of(**changes):
    return deciders(read_config({**PLAIN, **changes}))


def digits(**options):
    return {"name": "digits5k", "train": options}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {}),
        ({"augment": {"shift": 0.1, "flip": 0.5, "cutout": 0.2, "mixup": 0.2}}, {}),
        ({"augment": {"rotation": 10}}, WARP),
        ({"augment": {"scaling": 0.1}}, WARP),
        ({"augment": {"rotation": 10, "contour_cutout": {}}}, OPENCV | WARP),
        ({"preprocess": {"steps": ["reverse", "pad"]}}, {}),
        ({"preprocess": {"steps": ["reverse", "dilation"]}}, OPENCV),
        ({"preprocess": {"steps": ["bbox"]}}, OPENCV),
        ({"preprocess": {"size": [32, 32]}}, OPENCV),
        ({"dataset": "cifar10"}, OPENCV),  # made grey
        ({"dataset": "cifar10", "preprocess": {"colour": True}}, {}),
        ({"dataset": {"name": "npz", "train": {"path": "a.npz"}}, "preprocess": {"colour": True}}, {}),
        ({"dataset": digits()}, OPENCV),  # set on sheets, which resizes them
        ({"dataset": digits(sheets=False)}, {}),
        ({"dataset": {**digits(sheets=False), "test": {}}}, OPENCV),
        ({"pseudo_labels": {"checkpoints": ["a"]}, "dataset": {"name": "mnist", "labelled_fraction": 0.5}}, {}),
        ({"pseudo_labels": {"checkpoints": ["a"], "images": ["b"]}}, OPENCV),
    ],
)
def test_a_library_counts_where_it_decides_a_byte(changes, expected):
    assert of(**changes) == expected


def test_sets_of_image_files_are_decoded():
    plain = {"mnist", "emnist", "cifar10", "npz"}
    for name in READERS.keys() - plain:
        assert of(dataset={"name": name}, preprocess={"colour": True}) == OPENCV, name


def test_choices_by_likeness_are_known_by_what_measures_it(monkeypatch):
    monkeypatch.setattr(libraries, "_installed", lambda name: f"{name} 1")
    assert of(select={"near_duplicates": {}}) == {name: f"{name} 1" for name in ("imagehash", "pillow", "scipy")}
    assert of(select={"deduplicated": 9}) == OPENCV | {"scipy": "scipy 1"}


def without_opencv():
    raise AssertionError("OpenCV is asked")


@pytest.mark.parametrize("kind", ["npz", "digits5k"])
def test_what_is_said_to_do_without_opencv_does(kind, tmp_path, monkeypatch):
    for module in ("images", "steps", "preprocess", "augmenting.contours"):
        monkeypatch.setattr(f"engine.data.{module}.load_cv2", without_opencv)
    np.savez(tmp_path / "a.npz", x=np.zeros((40, 8, 8, 3), np.uint8), y=np.arange(40) % 2)
    part = {"path": str(tmp_path / "a.npz")} if kind == "npz" else {"sheets": False, "count": 100}
    given = {
        "dataset": {"name": kind, "train": part},
        "preprocess": {"colour": kind == "npz", "steps": ["reverse", "pad"]},
    }
    config = read_config({**PLAIN, **given, "cache": False, "augment": {"rotation": 5}})
    assert deciders(config) == WARP
    train, _, _ = load_data(config, tmp_path)
    assert len(train)
