"""The check of training in less memory: what it prints, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import UserError
from engine.plan.request import SMALL, USUAL
from experiments.checks.small_memory import __main__ as checks


def test_what_it_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert checks.main(["--networks", "vgg3", "--rounds", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (row,) = (line.split() for line in lines if line.startswith("vgg3"))
    assert float(row[7]) <= 0.5  # the ratio of the arenas
    assert lines[-1].startswith("half the arena at 0.9 of the speed: ")


def test_other_gradients_are_a_fault() -> None:
    usual = np.array([1.0, -2.0])
    checks.check_gradients({USUAL: usual, SMALL: usual + 1e-3})
    for wrong in (usual + 0.1, usual * np.nan):
        with pytest.raises(UserError, match="gradients differ"):
            checks.check_gradients({USUAL: usual, SMALL: wrong})


def test_an_unknown_network() -> None:
    with pytest.raises(UserError, match="unknown network 'vgg4'"):
        checks.main(["--networks", "vgg4"])
