"""What `save` would write and nothing could use is refused when it is saved, and nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine.data.preprocess import Preprocess
from engine.errors import UserError


def network() -> engine.Network:
    return engine.Sequential([engine.Flatten(), engine.Linear(4, 3)], (1, 2, 2))


NAMES = {
    "too many": (list("abcd"), "4 names"),
    "twice": (["a", "b", "a"], "'a' twice"),
    "numbers": ([0, 1, 2], "texts"),
    "a text": ("abc", "list of texts"),
    "a mapping": ({"a": 0, "b": 1, "c": 2}, "list of texts"),
    "a number": (3, "list of texts"),
    "an array of numbers": (np.arange(3), "texts"),
}


@pytest.mark.parametrize(("names", "message"), NAMES.values(), ids=NAMES)
def test_class_names_are_different_texts_for_the_outputs(names: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    net = network()
    with pytest.raises(UserError, match=f"class_names .*{message}"):
        net.class_names = names
        net.save(path)
    assert not path.exists()


@pytest.mark.parametrize("names", [np.array(list("abc")), tuple("abc"), list("abc"), (), []], ids=repr)
def test_those_that_are_good_come_back(names: Any, tmp_path: Path) -> None:
    net = network()
    net.class_names = names
    net.save(tmp_path / "net.safetensors")
    assert engine.load(tmp_path / "net.safetensors").class_names == [str(name) for name in names]


WRONG = {
    "unknown key": ({"zz": 1}, "zz"),
    "wrong value": ({**Preprocess().to_dict(), "colour": "blue"}, "colour"),
    "no mapping": ([1, 2], "preprocess"),
    "no JSON": ({**Preprocess().to_dict(), "mean": np.float32(0.5)}, "preprocess"),
    "an object": (Preprocess(), "preprocess"),
}


@pytest.mark.parametrize(("preprocess", "message"), WRONG.values(), ids=WRONG)
def test_a_preprocess_that_could_not_be_read_is_not_saved(preprocess: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    net = network()
    net.preprocess = preprocess
    with pytest.raises(UserError, match=message):
        net.save(path)
    assert not path.exists()


def test_a_good_one_comes_back(tmp_path: Path) -> None:
    net = network()
    net.preprocess = Preprocess(size=(2, 2)).to_dict()
    net.save(tmp_path / "net.safetensors")
    assert engine.load(tmp_path / "net.safetensors").preprocess == net.preprocess
