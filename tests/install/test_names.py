"""`engine` and `experiments` are names that others use, too: who finds another one is told so, and has a way out."""

import sys
from pathlib import Path

import pytest

from tests.install.test_package import run_module, run_python

THEIRS = "print('theirs runs')\n"
FOREIGN = {
    "a file": {"engine.py": THEIRS},
    "a package": {"engine/__init__.py": THEIRS},
    "a package with files of our names": {"engine/__init__.py": THEIRS, "engine/cli.py": "", "engine/errors.py": ""},
}


def lay(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("module", ["experiments.ablation", "experiments.stats", "experiments.peers"])
@pytest.mark.parametrize("files", FOREIGN.values(), ids=FOREIGN)
def test_a_study_beside_another_engine_is_one_line_that_says_which(files, module, tmp_path):
    done = run_module(module, "--list", cwd=lay(tmp_path, files))
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert str(tmp_path / next(iter(files))) in done.stderr
    assert "python -P -m" in done.stderr and "cnn-engine" in done.stderr


def test_python_is_told_as_well(tmp_path):
    lay(tmp_path, FOREIGN["a file"])
    for code in ("import experiments.stats", "import engine, experiments", "from experiments import words"):
        done = run_python("-c", code, cwd=tmp_path)
        assert done.returncode == 1
        last = done.stderr.splitlines()[-1]
        assert last.startswith("ImportError: ") and str(tmp_path / "engine.py") in last


def test_no_engine_at_all_is_not_called_another_one(tmp_path):
    code = "import sys; sys.modules['engine'] = None\nimport experiments"
    done = run_python("-c", code, cwd=tmp_path)
    assert "ImportError: " in done.stderr and "is not installed" in done.stderr.splitlines()[-1]


def test_folders_of_these_names_without_python_in_them_are_in_nobodys_way(tmp_path):
    lay(tmp_path, {"engine/notes.txt": "", "experiments/first/notes.txt": ""})
    for module in ("experiments.ablation", "engine.summary"):
        done = run_module(module, "--help", cwd=tmp_path)
        assert done.returncode == 0 and "usage" in done.stdout, done.stderr


@pytest.mark.skipif(sys.version_info < (3, 11), reason="python -P came with Python 3.11")
@pytest.mark.parametrize("module", ["engine.train", "engine.predict", "experiments.ablation"])
def test_the_way_out_leads_past_all_of_them(module, tmp_path):
    lay(tmp_path, {"engine.py": THEIRS, "experiments/__init__.py": THEIRS})
    done = run_python("-P", "-m", module, "--help", cwd=tmp_path)
    assert done.returncode == 0 and "usage" in done.stdout and "theirs" not in done.stdout, done.stderr
