"""`python -m engine` lists the commands."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from engine.__main__ import COMMANDS

ROOT = Path(__file__).resolve().parents[2]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-m", "engine", *words], capture_output=True, text=True, env=environment, check=False
    )


def test_every_command_is_listed() -> None:
    done = run()
    assert done.returncode == 0 and done.stderr == ""
    for module in COMMANDS:
        assert find_spec(module) is not None
        assert f"python -m {module} " in done.stdout


def test_the_list_is_that_of_the_installed_scripts() -> None:
    tomllib = pytest.importorskip("tomllib", reason="reading pyproject.toml needs Python 3.11")
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"].values()
    assert {script.partition(":")[0].removesuffix(".__main__") for script in scripts} == set(COMMANDS)


def test_a_command_that_is_meant_is_named() -> None:
    done = run("train", "run.yaml", "--resume")
    assert done.returncode == 2
    assert done.stderr == "error: a command has a module of its own: python -m engine.train\n"
    assert run("trian").stderr == "error: unknown command 'trian'; did you mean 'train'?\n"
