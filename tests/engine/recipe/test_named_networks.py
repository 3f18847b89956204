"""The configurations of the named networks run: a few steps on images of the right size, of noise."""

import dataclasses
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from engine import train
from engine.cli import run
from engine.data.labels import palette
from engine.reading.yaml_text import read_yaml
from engine.recipe.build import build_network
from engine.recipe.config import load_config, read_config

CONFIGS = Path(__file__).parents[3] / "experiments" / "configs"
SAMPLES, BATCH = 8, 4
SIDES = {"resnet18": 64, "mobilenet_v2": 64}  # instead of the file's: a step at its own size takes seconds
# As the file has them but for what few images cannot be: how many there are, in a batch and in the whole.
FEW = {"batch_size": BATCH, "epochs": 1, "threads": 1, "cache": False, "split": {"kind": "test"}}


def set_of(name, place, config):
    """A data set of noise for the configuration: its section, written to `place`."""
    net = build_network(config.model, config.seed)
    channels, height, width = net.input_shape
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (SAMPLES, height, width, channels), np.uint8)
    if len(net.output_shape) == 1:
        np.savez(place / "set.npz", x=images[..., 0] if channels == 1 else images, y=np.arange(SAMPLES) % 4)
        options = {"path": str(place / "set.npz")}
        return {"name": "npz", "train": options, "test": options}
    for folder in ("images", "masks"):
        (place / folder).mkdir()
    for number, image in enumerate(images):
        cv2.imwrite(str(place / "images" / f"{number}.png"), image)
        labels = rng.choice([0, 1, 255], (height, width)).astype(np.uint8)
        (place / "masks" / f"{number}.png").write_bytes(palette.encoded(labels))
    options = {**config.dataset.train, "path": str(place)}
    return {"name": "segmentation", "train": options, "test": options}


@pytest.mark.parametrize("name", ["airbench94", "mobilenet_v2", "resnet18", "resnet20", "resnet56", "unet"])
def test_a_few_steps_by_command(name, tmp_path, monkeypatch, capsys):
    config = load_config(CONFIGS / f"{name}.yaml")
    given = read_yaml(CONFIGS / f"{name}.yaml") | FEW
    changes = {*FEW, "dataset"}
    if side := SIDES.get(name):
        given["model"]["arguments"]["input_size"] = side
        given["preprocess"]["size"] = [side, side]
        changes |= {"model", "preprocess"}
    given["dataset"] = set_of(name, tmp_path, read_config(given))
    (tmp_path / "few.yaml").write_text(yaml.safe_dump(given))
    read = load_config(tmp_path / "few.yaml")
    changed = {each.name for each in dataclasses.fields(read) if getattr(read, each.name) != getattr(config, each.name)}
    assert changed <= changes
    monkeypatch.setattr(sys, "argv", ["engine.train", str(tmp_path / "few.yaml"), "--out", str(tmp_path / "run")])
    assert run(train.main) == 0, capsys.readouterr().err
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["steps"] == SAMPLES // BATCH
    measured = "test_mean_iou" if name == "unet" else "test_accuracy"
    assert np.isfinite(result["last"]["train_loss"]) and 0 <= result[measured] <= 1
