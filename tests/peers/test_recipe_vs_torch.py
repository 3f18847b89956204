"""A recipe's steps here and in PyTorch: the same losses, and other ones as soon as the recipe is another."""

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: pip install '.[peers]'")

from experiments.checks.recipe_vs_torch.comparison import TOLERANCE
from experiments.checks.recipe_vs_torch.jobs import make_job, training_set
from experiments.peers.adapters import ours as our_adapter
from experiments.peers.adapters import torch as torch_adapter
from experiments.peers.job import Job
from tests.experiments.checks.test_recipe_vs_torch import config

STEPS = 8  # with averages behind the fifth


def losses(job: Job, side: str) -> list[float]:
    adapter = our_adapter if side == "ours" else torch_adapter
    call = adapter.prepare(job, side).call
    return [call() for _ in range(STEPS)]


def test_both_take_the_same_steps(tmp_path: Path) -> None:
    chosen = config(algorithm="direct")
    job = make_job(chosen, training_set(chosen, None), 3, 1, tmp_path)
    ours = losses(job, "ours")
    assert ours[-1] < ours[0]
    for side in ("torch", "torch-cl"):
        assert losses(job, side) == pytest.approx(ours, rel=TOLERANCE)


@pytest.mark.parametrize(
    "what", ["momentum", "nesterov", "label_smoothing", "factors", "rates", "averages", "lookahead"]
)
def test_every_part_of_the_recipe_counts(what: str, tmp_path: Path) -> None:
    chosen = config(algorithm="direct")
    job = make_job(chosen, training_set(chosen, None), 3, 1, tmp_path)
    recipe = job.recipe
    assert recipe is not None
    others = {
        "momentum": 0.5, "nesterov": False, "label_smoothing": 0.1, "rates": tuple(2 * each for each in recipe.rates),
        "factors": {**recipe.factors, "head.weights": (4.0, 0.0)}, "averages": (0.5,) * len(recipe.averages),
        "lookahead": False,
    }  # fmt: skip
    other = replace(job, recipe=replace(recipe, **{what: others[what]}))
    ours, theirs = losses(job, "ours"), losses(other, "torch")
    assert max(abs(b / a - 1.0) for a, b in zip(ours, theirs, strict=True)) > TOLERANCE
