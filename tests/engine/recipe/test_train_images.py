"""Training on a folder of image files: the cache, and damaged images, which end up in the run's record."""

import json
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


def test_strict_stops_before_anything_is_written(place, monkeypatch, capsys):
    (place / "set" / "a" / "7.png").write_bytes(b"")
    assert call(monkeypatch, "--out", "run", "strict=true") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: set: 1 of 20 images") and "7.png: the image file is empty" in error
    assert error.count("\n") == 1 and not Path("run").exists()
