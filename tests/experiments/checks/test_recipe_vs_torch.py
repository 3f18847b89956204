"""What every side of the recipe check is given, and how losses and times are told."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import UserError
from engine.recipe.config import TrainConfig, read_config
from experiments.checks.recipe_vs_torch.__main__ import main
from experiments.checks.recipe_vs_torch.comparison import agreed, allowed, loss_table, off, time_table
from experiments.checks.recipe_vs_torch.jobs import configuration, make_job, training_set
from experiments.peers.job import load

BATCH, EPOCHS = 128, 2
RECIPE: dict[str, Any] = {
    "dataset": {"name": "digits5k", "subset": 640},
    "preprocess": {"colour": True, "size": [32, 32], "standardise": "set"},
    "split": {"kind": "none"},
    "model": {"name": "airbench94", "arguments": {"widths": [8, 8, 16]}},
    "whiten": "whiten",
    "learning_rates": {"whiten.weights": 0},
    "optimizer": {
        "name": "SGD", "lr": 0.5, "momentum": 0.85, "nesterov": True, "weight_decay": 0.001,
        "rates": {"shift": 64}, "decay": {"shift": 0.5},
    },
    "average": {"kind": "lookahead", "decay": 0.8, "every": 5, "power": 3},
    "schedule": {"name": "Triangular", "start": 0.2, "peak_at": 0.5, "end": 0.1},
    "loss": {"name": "CrossEntropy", "label_smoothing": 0.2},
    "batch_size": BATCH, "drop_last": True, "epochs": EPOCHS,
}  # fmt: skip


def config(**changes: Any) -> TrainConfig:
    return read_config({**RECIPE, **changes})


def test_a_job_has_the_recipe_in_numbers(tmp_path: Path) -> None:
    chosen = config()
    train = training_set(chosen, None)
    job = make_job(chosen, train, 2, 1, tmp_path)
    recipe = job.recipe
    assert recipe is not None
    assert (recipe.momentum, recipe.nesterov, recipe.label_smoothing, recipe.lookahead) == (0.85, True, 0.2, True)
    assert recipe.factors["whiten.weights"][0] == 0.0
    assert recipe.factors["whiten.bias"] == (1.0, 0.001)
    assert recipe.factors["block1_norm1.bias"] == (64.0, 0.0005)
    assert len(recipe.rates) == len(recipe.averages) == EPOCHS * (len(train) // BATCH)
    assert recipe.rates[0] == pytest.approx(0.1) and max(recipe.rates) == 0.5
    assert [step for step, decay in enumerate(recipe.averages) if decay >= 0] == [4, 9]
    assert recipe.averages[-1] == 0.8
    assert job.arrays["x"].shape == (2, BATCH, 3, 32, 32) and job.arrays["y"].shape == (2, BATCH)
    # The filters whiten: twice twelve, the second half the negated first.
    filters = job.arrays["whiten.weights"]
    assert np.array_equal(filters[:12], -filters[12:]) and np.abs(filters).max() > 1.0
    again = load(tmp_path).recipe
    assert again is not None and replace(again, config={}) == replace(recipe, config={})
    assert read_config(again.config) == chosen


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"optimizer": {"name": "Adam"}}, "an optimizer but SGD"),
        ({"max_norm": 1.0}, "max_norm"),
        ({"accumulate": 2}, "accumulate"),
        ({"drop_last": False, "batch_size": 100, "dataset": {"name": "digits5k", "subset": 250}}, "short last batch"),
        ({"augment": {"mixup": 0.5}}, "soft labels"),
    ],
    ids=["adam", "max_norm", "accumulate", "short batch", "mixup"],
)
def test_a_recipe_that_the_sides_lack_is_refused(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    chosen = config(**changes)
    with pytest.raises(UserError, match=words):
        make_job(chosen, training_set(chosen, None), None, 1, tmp_path)


def test_the_row_and_the_seed_are_the_studys() -> None:
    chosen = configuration("cifar10_fast", "90 %", 7, ["batch_size=512"])
    assert (chosen.epochs, chosen.seed, chosen.batch_size) == (4, 7, 512)
    assert configuration("cifar10_fast", None, 0, []).epochs == 10
    with pytest.raises(UserError, match="95 %"):
        configuration("cifar10_fast", "95 %", 0, [])


def test_a_command_line_that_says_nothing_to_compare_is_refused() -> None:
    with pytest.raises(UserError, match="--steps 0"):
        main(["--steps", "0"])


def test_losses_are_held_against_float64() -> None:
    losses = {
        "ours": [2.0, 4.02, 3.0],
        "torch": [2.0, 4.0, 3.009],
        "torch-cl": [2.0, 4.002, 3.0],
        "torch-64": [2.0, 4.0, 3.0],
    }
    errors = off(losses)
    assert errors["ours"] == pytest.approx([0.0, 0.005, 0.0]) and errors["torch-cl"] == pytest.approx(
        [0.0, 0.0005, 0.0]
    )
    assert allowed(errors) == pytest.approx([0.001, 0.005, 0.03])
    assert loss_table(losses)[2].split()[-3:] == ["5.0e-03", "5.0e-04", "5.0e-03"]


@pytest.mark.parametrize(
    ("ours", "same"),
    [([2.001, 4.0], True), ([2.01, 4.0], False), ([2.0, 4.03], True), ([2.0, float("nan")], False)],
    ids=["near", "far before the peers are", "no further than rounding", "nan"],
)
def test_ours_may_be_off_by_what_rounding_explains(ours: list[float], same: bool) -> None:
    peers = {"torch": [2.0, 4.0], "torch-cl": [2.0, 4.004], "torch-64": [2.0, 4.0]}
    assert agreed({"ours": ours, **peers}) is same
    assert not agreed({"ours": [2.0, 4.0], **peers, "torch": [2.0, float("nan")]})


def test_times_are_told_by_ratios_of_the_same_round() -> None:
    lines = time_table({"ours": [1.0, 2.0, 1.0], "torch": [3.0, 4.0, 4.0]}, 100, "step")
    assert lines[2].split() == ["torch", "4000.00", "25", "3.00", "2.00", "...", "4.00"]
