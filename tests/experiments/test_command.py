"""What `python -m experiments.ablation` refuses before it makes anything, what it says, and its exit status."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.errors import UserError
from experiments import ablation, command
from tests.test_terminals import STUDY


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write()
    return tmp_path


def write(**changes: Any) -> None:
    Path("s.yaml").write_text(yaml.safe_dump({**STUDY, **changes}, allow_unicode=True), "utf-8")


def ablate(*arguments: str) -> int:
    return command.ablate(ablation.parse_arguments(["--study", "s.yaml", "--no-report", *arguments]))


@pytest.mark.parametrize(
    ("jobs", "mode"),
    [
        *((jobs, mode) for jobs in ("0", "-1") for mode in ([], ["--dry-run"], ["--status"], ["--search"])),
        *(("4096", mode) for mode in ([], ["--dry-run"])),
    ],
)
def test_a_number_of_jobs_that_cannot_be_leaves_nothing_behind(place: Path, jobs: str, mode: list[str]) -> None:
    with pytest.raises(UserError, match=rf"-j {jobs}: the number of processes must be (in 1..|1 or more)"):
        ablate("-j", jobs, *mode)
    assert {each.name for each in place.iterdir()} == {"s.yaml"}


@pytest.mark.parametrize("name", ["../ink", "{place}/ink", "a/b", "..", ".", "", "a\\b", "a\nb"])
@pytest.mark.parametrize("mode", [[], ["--check"], ["--status"], ["--dry-run"]])
def test_a_name_that_is_no_folders_is_refused(place: Path, name: str, mode: list[str]) -> None:
    write(name=name.format(place=place))
    before = {each.name for each in place.parent.iterdir()}
    with pytest.raises(UserError, match="s.yaml: name: expected a folder's name, got "):
        ablate(*mode)
    assert {each.name for each in place.iterdir()} == {"s.yaml"}
    assert {each.name for each in place.parent.iterdir()} == before
