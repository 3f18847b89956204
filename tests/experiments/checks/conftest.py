"""A small trained network, for the checks that take a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.recipe.config import load_config
from engine.recipe.fit import checked_trainer, fit_and_test
from engine.recipe.samples import load_data

CONFIG = """
dataset: {name: digits5k, train: {sheets: false}, test: {sheets: false}, subset: 300}
model: {name: lenet, arguments: {channels: 1}}
optimizer: {name: Adam, lr: 0.003}
split: {kind: none}
epochs: 1
"""


@pytest.fixture(scope="package")
def run_of_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch on a few digits."""
    place = tmp_path_factory.mktemp("quantized") / "run"
    file = place.with_suffix(".yaml")
    file.write_text(CONFIG)
    config = load_config(file, [f"out={place}", "cache=false"])
    trainer = checked_trainer(config, place, "")
    fit_and_test(config, trainer, *load_data(config, None), resume=False)
    if not (place / "config.yaml").exists():
        (place / "config.yaml").write_text(CONFIG)
    return place
