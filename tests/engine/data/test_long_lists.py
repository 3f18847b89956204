"""Tables, lists and files of indices of absurd lengths and contents: one short error, and no hour of waiting."""

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from engine.data import cache
from engine.data.choose.folds import FORMAT, load_folds
from engine.data.choose.listed import Listed, read_listed
from engine.data.choose.selection import keep_classes
from engine.data.dataset import Dataset, RawDataset
from engine.data.images import list_images, read_image
from engine.data.readers import read_csv, read_dataset
from engine.errors import UserError, twice
from engine.inference.truth import read_truth
from engine.reading.schema import read_json
from engine.recipe.prediction import expanded, images_of

SCREEN = 1600  # characters
MANY = 60_000
NAMES = [f"class {number}" for number in range(MANY)]
SET = RawDataset("set", np.zeros((4, 2, 2), np.uint8), np.array([0, 1, 0, 1]), ("a", "b"))


def refused(question, *arguments):
    """What the one error says."""
    began = time.process_time()
    with pytest.raises(UserError) as caught:
        question(*arguments)
    assert len(str(caught.value)) < SCREEN and time.process_time() - began < 2
    return str(caught.value)


def test_the_first_item_that_stands_there_twice():
    assert twice([1, 2, 3, 2, 1]) == 2 and twice([1, 2]) is None and twice(iter("abca")) == "a"


def test_long_lists_with_an_item_twice_are_refused_at_once():
    doubled = [*NAMES, NAMES[-1]]
    assert "class 59999" in refused(Dataset, "set", np.zeros((1, 1, 2, 2), np.uint8), [0], tuple(doubled))
    assert "class 59999" in refused(lambda: keep_classes(SET, doubled, may_lack=True))
    assert "class 59999" in refused(list_images, doubled, False, True)


def test_tables_of_long_values_are_refused_in_short(tmp_path):
    table = tmp_path / "table.csv"
    long = "x" * 200_000
    for text in (
        f"{long}\nrow\n",
        f"filename,label\n{long},a\n",
        f"filename,label\nb,{long}\n",
        f'filename,label\n"{long}',
    ):
        table.write_text(text)
        message = refused(lambda: read_truth(table, [Path("a.png")], ["a"]))
        assert "table.csv" in message
    table.write_text("filename,label\n" + "\0,a\n" * 2)
    assert "table.csv" in refused(lambda: read_truth(table, [Path("a.png")], ["a"]))
    table.write_text(",".join(NAMES) + "\n1\n")
    assert "table.csv" in refused(lambda: list(read_csv(table, ("filename",))))


@pytest.mark.parametrize("name", ["x" * 100_000, "y" * 5000 + "/z", "a\0b"])
def test_tables_that_name_files_no_system_has(tmp_path, name):
    (tmp_path / "table.csv").write_text(f"filename,label\n{name},a\n")
    message = refused(lambda: read_dataset("folder", None, {"path": str(tmp_path), "table": "table.csv"}))
    assert "no such file" in message or "table.csv" in message


@pytest.mark.parametrize("name", ["x" * 100_000, "y" * 5000 + "/z", "a\0b"])
def test_lists_of_images_that_no_system_has(name):
    assert "no such file" in refused(lambda: images_of([Path(name)], False))
    assert images_of([Path(name)], False, absent=True) == [Path(name)]
    assert "cannot be read" in refused(lambda: read_image(name))


def test_a_list_on_standard_input_of_one_endless_line():
    class Stream:
        buffer = io.BytesIO(b"x" * 1_000_000)

    (place,) = expanded([Path("-")], Stream())
    assert "no such file" in refused(lambda: images_of([place], False))


def test_a_command_tells_of_a_name_that_is_too_long_in_short():
    called = [sys.executable, "-m", "engine.train", "x" * 50_000]
    done = subprocess.run(called, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and len(done.stderr) < SCREEN


FOLDS = {"format": FORMAT, "set": "set", "count": 4, "content": "", "validation": [[0, 1], [2, 3]]}


@pytest.mark.parametrize(
    "change",
    [
        {"validation": [[0, 10**30], [1, 2]]},
        {"validation": [[0, -(2**63) - 1], [1, 2]]},
        {"validation": [[True, 1], [2, 3]]},
        {"validation": [[[0]], [1]]},
        {"count": 10**30},
        {"count": -4},
        {"set": "x" * 100_000},
        {"content": None},
        {"format": "x" * 100_000},
    ],
)
def test_folds_that_cannot_be(tmp_path, change):
    path = tmp_path / "folds.json"
    path.write_text(json.dumps({**FOLDS, **change}))
    assert "folds.json" in refused(load_folds, path, SET)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "9" * 100_000, '{"a": ' * 5000, '{"' + "k" * 100_000 + '": 1} x', "\0"]
)
def test_json_that_cannot_be_read_is_told_of_in_short(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    assert "a.json: not valid JSON" in refused(read_json, path)
    twofold = "k" * 100_000
    path.write_text(f'{{"{twofold}": 1, "{twofold}": 2}}')
    assert "stands there twice" in refused(read_json, path)


def test_lists_of_a_publisher_that_are_none(tmp_path):
    path = tmp_path / "listed.json"
    for content in ({"a": {"train": [1]}}, {"a": {"train": {}}}, {"a": []}, {"a": {"x" * 100_000: []}}):
        path.write_text(json.dumps(content))
        assert "listed.json" in refused(lambda: read_listed(SET, Listed(str(path), "a")))


@pytest.mark.parametrize(
    "about",
    [
        '{"shape": [4294967296, 4294967296, 1, 1], "left": []}',
        '{"shape": [-1, -16, 1, 1], "left": []}',
        '{"shape": [16], "left": []}',
        '{"shape": ["a", 1, 1, 1], "left": []}',
        '{"shape": [1e999, 1, 1, 1], "left": []}',
        '{"shape": [4, 1, 2, 2], "left": [5]}',
        '{"shape": [4, 1, 2, 2], "left": [{"index": 1e999, "reason": ""}]}',
        '{"shape": [4, 1, 2, 2], "left": 5}',
        "[" * 100_000,
        "[]",
    ],
)
def test_an_entry_of_the_cache_that_is_damaged_is_made_anew(tmp_path, about):
    samples = np.arange(16, dtype=np.uint8).reshape(4, 1, 2, 2)

    def build():
        yield samples, []

    first = cache.load_or_build("set", "key", tmp_path, build)
    (tmp_path / "key" / "about.json").write_text(about)
    again = cache.load_or_build("set", "key", tmp_path, build)
    assert first is not None and again is not None
    assert np.array_equal(again.samples, samples) and np.array_equal(first.samples, samples)
