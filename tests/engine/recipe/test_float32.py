"""Numbers of a configuration that float32 turns into zero or infinity are refused when it is read, by their key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from engine import train
from engine.cli import run
from engine.data.preprocess import Preprocess
from engine.errors import UserError
from tests.engine.small import small_config, write_archive

ZERO, INFINITE = "1e-40 is 0 as a float32", "1e+39 is infinite as a float32"

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "std": ({"preprocess": {"std": [1e-40]}}, f"preprocess std must be a number above 0.0, but {ZERO}"),
    "a large std": ({"preprocess": {"std": [1e39]}}, "preprocess std must be a number above 0.0, but 1e+39"),
    "mean": ({"preprocess": {"mean": [1e39]}}, "preprocess mean: a value becomes infinite as a float32"),
    "their quotient": (
        {"preprocess": {"mean": [1e30], "std": [1e-20]}},
        "preprocess mean and std: a value becomes infinite as a float32",
    ),
    "of one channel": (
        {"preprocess": {"colour": True, "mean": [0, 1e30, 0], "std": [1, 1e-20, 1]}},
        "preprocess mean and std: a value becomes infinite as a float32",
    ),
    "nothing left": ({"preprocess": {"std": [1e38]}}, "preprocess std: what is divided by 1e+38 becomes 0"),
    "mixup": ({"augment": {"mixup": 1e39}}, f"augment: mixup must be a number of at least 0.0, but {INFINITE}"),
    "a small mixup": ({"augment": {"mixup": 1e-40}}, f"augment: mixup must be a number of at least 0.0, but {ZERO}"),
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


def test_what_float32_holds_is_taken() -> None:
    Preprocess(mean=(0.0,), std=(1e-30,))
    Preprocess(scale="none", mean=(1e30,), std=(1e20,))
    with pytest.raises(UserError, match="becomes infinite"):
        Preprocess(scale="none", std=(1e-34,), per_image=True)
    Preprocess(scale="none", std=(1e-34,))
