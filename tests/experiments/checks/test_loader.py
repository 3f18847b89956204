"""The check of the loader, in small: on the digits that need no download."""

import os

import pytest

from engine.errors import UserError
from experiments.checks.loader import __main__ as command
from experiments.checks.loader import pipelines
from experiments.checks.loader.measuring import Feeding
from experiments.checks.loader.pipelines import CONFIGS, PIPELINES, Pipeline
from experiments.checks.loader.table import feeding_line


def feeding(step: float = 2.0, one_thread: float = 1.0, waited: float = 0.0) -> Feeding:
    return Feeding(64, one_thread, one_thread, step, step + waited, waited)


def test_a_wait_is_bad_only_where_a_batch_costs_less_than_a_step() -> None:
    assert feeding().good and feeding(waited=0.09).good
    assert not feeding(waited=0.2).good
    bound = feeding(one_thread=2.5, waited=1.0)
    assert bound.good and "loader-bound" in feeding_line("a", bound)
    assert "above 5%" in feeding_line("a", feeding(waited=0.2))


def test_digits_are_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    plain_and_mixed = {
        "plain": Pipeline("plain", "digits5k"),
        "mixup": Pipeline("mixup", "digits5k", ("augment.mixup=0.2",)),
    }
    monkeypatch.setattr(pipelines, "PIPELINES", plain_and_mixed)
    before = os.environ.get("CNN_CACHE")
    assert command.main(["--seconds", "0.02"]) in (0, 1)  # a busy machine may well starve the step
    lines = capsys.readouterr().out.splitlines()
    assert os.environ.get("CNN_CACHE") == before
    assert len([line for line in lines if line.startswith("digits5k ")]) == 1  # prepared once for both
    assert [line.split()[:2] for line in lines if line.split()[1:2] == ["64"]] == [["plain", "64"], ["mixup", "64"]]
    assert lines[-1].startswith("verdict: ")


def test_sets_that_are_not_at_hand_are_left_out(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--pipelines", "midas", "--data-root", str(tmp_path)]) == 0
    assert "midas" in (shown := capsys.readouterr().out) and "left out" in shown


def test_unknown_pipelines() -> None:
    with pytest.raises(UserError, match="did you mean 'numtadb'"):
        command.main(["--pipelines", "numtad"])


def test_every_pipeline_is_a_configuration() -> None:
    from engine.recipe.config import AugmentConfig, load_config

    for each in PIPELINES.values():
        config = load_config(CONFIGS / f"{each.config}.yaml", each.overrides)
        assert bool(each.overrides) == (config.augment != AugmentConfig())
