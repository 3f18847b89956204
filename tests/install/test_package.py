"""What gets installed, and that the commands answer from any folder."""

import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run_module(module: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `python -m module` in another folder."""
    return run_python("-m", module, *arguments, cwd=cwd)


def run_python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run Python in another folder with the checkout, and the core that these tests use, on its path."""
    import cnncore

    core = Path(cnncore.__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(core)])}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60
    )


def declared_project() -> dict:
    tomllib = pytest.importorskip("tomllib", reason="reading pyproject.toml needs Python 3.11")
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_every_folder_of_modules_is_a_package():
    """What the build finds: a folder without __init__.py would be missing from an installation."""
    folders = {path.parent for top in ("engine", "experiments") for path in (ROOT / top).rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_every_study_configuration_and_ledger_is_package_data():
    patterns = declared_project()["tool"]["setuptools"]["package-data"]["experiments"]
    declared = {path for pattern in patterns for path in (ROOT / "experiments").glob(pattern)}
    assert declared == {path for kind in ("yaml", "jsonl") for path in (ROOT / "experiments").rglob(f"*.{kind}")}


def test_studies_and_configurations_are_readable_as_resources():
    for folder in ("studies", "configs"):
        names = [each.name for each in (files("experiments") / folder).iterdir() if each.name.endswith(".yaml")]
        assert names, folder
        assert all((files("experiments") / folder / name).read_text("utf-8") for name in names)


def test_the_core_is_built_from_the_header_of_this_tree():
    import hashlib

    import cnncore

    header = (ROOT / "csrc" / "include" / "cnn.h").read_bytes()
    assert cnncore.header_hash() == hashlib.sha256(header).hexdigest()


def test_list_works_from_another_folder(tmp_path):
    done = run_module("experiments.ablation", "--list", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "quickstart" in done.stdout and "BBox+Reverse+Dilation@0.001" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--study", "quickstar"], "did you mean 'quickstart'"),
        (["--rows", "rw"], "did you mean 'raw'"),
        (["--seeds", "one"], "--seeds takes whole numbers"),
        (["epoch=3"], "did you mean 'epochs'"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(arguments, message, tmp_path):
    done = run_module("experiments.ablation", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and message in done.stderr and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
