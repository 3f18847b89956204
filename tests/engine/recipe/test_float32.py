"""Numbers of a configuration that float32 turns into zero or infinity are refused when it is read, by their key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from engine import train
from engine.cli import run
from tests.engine.small import small_config, write_archive

ZERO = "1e-40 is 0 as a float32"

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "std": ({"preprocess": {"std": [1e-40]}}, "preprocess std must be positive, from 1e-12 on, got [1e-40]"),
    "a large std": (
        {"preprocess": {"std": [1e39]}},
        "preprocess std must give a number per channel (1) of 1e+12 at most",
    ),
    "mean": ({"preprocess": {"mean": [1e39]}}, "preprocess mean must give a number per channel (1) of 1e+12"),
    "mixup": ({"augment": {"mixup": 1e39}}, "augment: mixup must be a number from 0 to 1000, not 1e+39"),
    "a small mixup": ({"augment": {"mixup": 1e-40}}, f"augment: mixup must be a number from 0 to 1000, but {ZERO}"),
    "class weights": ({"class_weights": [1.0, 1e39]}, "class_weights[1]: a weight is a finite number of at least 0"),
    "a small one": (
        {"class_weights": [1e-40, 1.0]},
        f"class_weights[0]: a weight is a finite number of at least 0, but {ZERO}",
    ),
    "one by name": ({"class_weights": {"1": 1e39}}, "class_weights.1: a weight is a finite number of at least 0"),
    "learning rates": ({"learning_rates": {"0": 1e-40}}, "learning_rates.0: a factor is a finite number above 0"),
    "many": ({"learning_rates": {"*": 1e39}}, "learning_rates.*: a factor is a finite number above 0"),
    "pseudo-labels": (
        {"pseudo_labels": {"checkpoints": ["a"], "images": ["b"], "weight": 1e-40}},
        f"pseudo_labels: weight must be a number from above 0.0 to 1.0, but {ZERO}",
    ),
    "their threshold": (
        {"pseudo_labels": {"checkpoints": ["a"], "images": ["b"], "threshold": 1e-40}},
        f"pseudo_labels: threshold must be a number from 0.0 to 1.0, but {ZERO}",
    ),
    "label smoothing": ({"loss": {"name": "CrossEntropy", "label_smoothing": 1e-40}}, "label_smoothing must be"),
    "decay": ({"optimizer": {"name": "SGD", "weight_decay": 1e39}}, "weight_decay must be"),
    "a schedule": (
        {"schedule": {"name": "PiecewiseConstant", "boundaries": [1], "values": [0.1, 1e39]}},
        "1e+39 is infinite as a float32",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_number_that_float32_lacks_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    changes, told = WRONG[name]
    monkeypatch.chdir(tmp_path)
    config = {**small_config(write_archive(tmp_path / "small.npz")), **changes}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setattr("sys.argv", ["train", "small.yaml", "--out", "run"])
    assert run(train.main) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: small.yaml: ") and told in err and err.count("\n") == 1, err
    assert not (tmp_path / "run").exists()
