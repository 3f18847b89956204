"""The keys that the command of training prints: all of them, each on a line with its text."""

from __future__ import annotations

import dataclasses
import re
import sys

import pytest

import engine.train
from engine.cli import run
from engine.data.readers import READERS
from engine.layers import LAYERS
from engine.models import MODELS
from engine.recipe.config import ModelConfig, TrainConfig


def test_the_command_prints_every_key_with_its_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["engine.train", "--keys"])
    with pytest.raises(SystemExit) as ended:
        run(engine.train.main)
    shown = capsys.readouterr()
    assert ended.value.code == 0 and shown.err == ""
    keys = [each.name for each in dataclasses.fields(TrainConfig)]
    keys += [f"model.{each.name}" for each in dataclasses.fields(ModelConfig)]
    for key in keys:
        assert re.search(rf"^  {re.escape(key)} \([^)]+; .+\)  \w+", shown.out, re.M), key
    assert "  epochs (whole number; 10)  at most so many\n" in shown.out
    assert "\noptimizer: SGD: " in shown.out and "\n  momentum (number; 0.0)  " in shown.out
    for name in (*READERS, *MODELS, *LAYERS):
        assert re.search(rf"^  {name}  .*\(.*\)$", shown.out, re.M), name
    assert "**" not in shown.out and "`" not in shown.out


def test_help_names_the_option(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["engine.train", "--help"])
    with pytest.raises(SystemExit):
        engine.train.main()
    assert re.search(r"--keys\s+print every key that the file can have", capsys.readouterr().out)
