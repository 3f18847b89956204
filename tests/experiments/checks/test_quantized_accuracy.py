"""The check of what int8 costs: a row for a small run, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import UserError
from experiments.checks.quantized_accuracy import WAYS, Row, main


def test_a_run_has_a_row(run_of_digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main([str(run_of_digits), "--samples", "40", "--test", "200"])
    said = capsys.readouterr().out
    assert status in (0, 1) and "lenet (digits5k)" in said and "same bits" in said and "200" in said


def test_the_verdict_is_that_of_the_worst_row() -> None:
    good = Row("a", 10, 0.9, dict.fromkeys(WAYS, 0.896), (400, 100), True)
    assert good.change == pytest.approx(-0.004) and "same bits" in str(good)


def test_what_cannot_be_measured(run_of_digits: Path) -> None:
    with pytest.raises(UserError, match="expected 1 or more"):
        main([str(run_of_digits), "--test", "0"])
    with pytest.raises(UserError, match=r"config\.yaml"):
        main([str(run_of_digits / "none")])
