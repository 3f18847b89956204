"""The commit that a result tells is that of the code which made it, or none."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from experiments.circumstances import commit


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_what_only_lies_in_a_checkout_has_no_commit(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        return subprocess.check_output(["git", *who, *words], cwd=tmp_path, text=True).strip()

    git("init", "--quiet")
    own, other = tmp_path / "experiments", tmp_path / "environment" / "experiments"
    for folder in (own, other):
        folder.mkdir(parents=True)
        (folder / "code.py").write_text("pass\n")
    (tmp_path / ".gitignore").write_text("environment\n")
    git("add", ".")
    git("commit", "--quiet", "--message", "all")
    head = git("rev-parse", "--short=12", "HEAD")
    assert (commit(own), commit(other)) == (head, "unknown")
    (own / "code.py").write_text("changed\n")
    commit.cache_clear()
    assert commit(own) == f"{head}-dirty"
    commit.cache_clear()


def test_outside_of_any_checkout_it_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit(tmp_path) == "unknown"
    monkeypatch.setenv("PATH", "")
    assert commit(tmp_path / "none") == "unknown"
