"""The check that whatever computes a quantised network gives the same codes."""

from __future__ import annotations

from pathlib import Path

import pytest

import engine
from engine.errors import UserError
from engine.models import make_model
from engine.quantize import reference
from experiments.checks.integer_hash import elsewhere, ours
from experiments.checks.integer_hash.__main__ import main
from tests.engine.quantize.networks import samples


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One compiler, one level, one team."""
    monkeypatch.setattr(elsewhere, "COMPILERS", elsewhere.COMPILERS[:1])
    monkeypatch.setattr(elsewhere, "LEVELS", ("-O1",))
    monkeypatch.setattr(ours, "TEAMS", (2,))


def test_all_that_is_here_has_one_hash(quick: None, run_of_digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run_of_digits), "--samples", "40", "--test", "30"]) == 0
    said = capsys.readouterr().out
    lines = [line for line in said.splitlines() if line[58:].strip().startswith("30 ")]
    assert len(lines) >= 3 and len({line.split()[-1] for line in lines}) == 1
    assert "verdict: one hash" in said and "int8" in said and "page in Chromium" in said


def test_another_code_is_found(
    quick: None, run_of_digits: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = reference.run

    def wrong(body, codes):
        found = right(body, codes)
        found[body.topology.output][0, 0] ^= 1
        return found

    monkeypatch.setattr(reference, "run", wrong)
    assert main([str(run_of_digits), "--samples", "40", "--test", "30"]) == 1
    assert "FAILED: 2 hashes" in capsys.readouterr().out


def test_what_is_missing_is_said(quick: None, run_of_digits: Path, capsys: pytest.CaptureFixture[str], monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert main([str(run_of_digits), "--samples", "40", "--test", "30"]) == 0
    said = capsys.readouterr().out
    assert "left out: there is no gcc" in said and said.count("left out:") >= 2


def test_layers_in_float32_have_no_codes_of_their_own(tmp_path: Path) -> None:
    net = make_model("lenet", channels=1)
    quantized = engine.quantize(net, samples(net, 4), first="float")
    with pytest.raises(UserError, match="has layers in float32"):
        list(elsewhere.ways(quantized, tmp_path))


def test_no_images_are_no_check(run_of_digits: Path) -> None:
    with pytest.raises(UserError, match="expected 1 or more"):
        main([str(run_of_digits), "--test", "0"])
