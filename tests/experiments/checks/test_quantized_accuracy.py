"""The check of what int8 costs: a row for a small run, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import UserError
from engine.recipe.config import load_config
from engine.recipe.fit import checked_trainer, fit_and_test
from engine.recipe.samples import load_data
from experiments.checks.quantized_accuracy import WAYS, Row, main

CONFIG = """
dataset: {name: digits5k, train: {sheets: false}, test: {sheets: false}, subset: 300}
model: {name: lenet, arguments: {channels: 1}}
optimizer: {name: Adam, lr: 0.003}
split: {kind: none}
epochs: 1
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
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


def test_a_run_has_a_row(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main([str(folder), "--samples", "40", "--test", "200"])
    said = capsys.readouterr().out
    assert status in (0, 1) and "lenet (digits5k)" in said and "same bits" in said and "200" in said


def test_the_verdict_is_that_of_the_worst_row() -> None:
    good = Row("a", 10, 0.9, dict.fromkeys(WAYS, 0.896), (400, 100), True)
    assert good.change == pytest.approx(-0.004) and "same bits" in str(good)


def test_what_cannot_be_measured(folder: Path) -> None:
    with pytest.raises(UserError, match="expected 1 or more"):
        main([str(folder), "--test", "0"])
    with pytest.raises(UserError, match=r"config\.yaml"):
        main([str(folder / "none")])
