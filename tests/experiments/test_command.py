"""What `python -m experiments.ablation` refuses before it makes anything, what it says, and its exit status."""

from __future__ import annotations

import shutil
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


DIVERGES = {"optimizer": {"name": "SGD", "lr": 3e38}}


def test_a_study_of_which_no_run_finished_has_status_1(place: Path) -> None:
    write(rows=[{"name": name, "changes": {**DIVERGES, "epochs": 1 + (name == "b")}} for name in "ab"])
    assert ablate() == 1 and ablate() == 1  # also from what is on record
    write(rows=[{"name": "a", "changes": DIVERGES}, {"name": "b", "changes": {"epochs": 2}}])
    assert ablate("--out", "some") == 0  # a row that diverges is a result beside others


def test_what_is_on_record_without_its_network_is_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ablate() == 0 and "on record" not in capsys.readouterr().err
    assert ablate() == 0 and "network" not in capsys.readouterr().err
    folders = sorted((place / "runs" / "tiny" / "runs").iterdir())
    shutil.rmtree(folders[0])
    (folders[1] / "best.safetensors").unlink()
    (folders[2] / "log.csv").unlink()
    for mode in ([], ["--status"]):
        assert ablate(*mode) == 0
        (line,) = (line for line in capsys.readouterr().err.splitlines() if "network" in line)
        assert line.startswith("2 results on record have lost their networks, such as runs/tiny/runs/")
    shutil.rmtree(folders[1])
    ablate("--rows", "auto", "--seeds", "0")
    assert "1 result on record has lost its network: runs/tiny/runs/auto-seed0-" in capsys.readouterr().err
