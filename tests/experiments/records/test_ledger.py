"""Ledgers: what a line says, that a changed one is found, and that tables are made of it without training or data."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path

import pytest
import yaml

from engine.errors import UserError
from experiments import ablation, command
from experiments.records import ledger
from experiments.records.ledger import MOST_BYTES, Entry, merged, parse_line, read_ledger, write_ledger
from experiments.records.origin import build_hash
from experiments.study.packaged import study_names, study_text

ENTRY = Entry(
    row="Réverse, 2×",
    seed=3,
    status="finished",
    metrics={"val_macro_f1": 0.7712932279872216, "val_loss": float("nan")},
    best_epoch=2,
    epochs=3,
    parameters=44726,
    seconds=1.74,
    key="a" * 64,
    asked="b" * 16,
    weights="c" * 64,
    data="d" * 64,
    isa="avx2",
    build="e" * 16,
    code="f" * 64,
    commit="1a047eb224fc",
    machine="a desk machine",
)
SMALL = {"raw": {}, "Reverse": {}}


def small_quickstart(place: Path, name: str = "quickstart.yaml", **base: object) -> Path:
    """The quickstart study with two rows, few samples and two epochs, as a file: what it trains is its full length."""
    content = yaml.safe_load(study_text("quickstart"))
    content["base"] |= {"epochs": 2, "select": {"count": 120}, **base}
    content["rows"] = [row for row in content["rows"] if row["name"] in SMALL]
    for row in content["rows"]:
        row.pop("incomparable")
    content |= {"seeds": [0, 1], "search": None}
    (place / name).write_text(yaml.safe_dump(content), "utf-8")
    return place / name


def ablate(*arguments: str) -> int:
    return command.ablate(ablation.parse_arguments(["--study", "quickstart.yaml", *arguments]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the small study, trained into `runs`, and its ledger."""
    place = tmp_path_factory.mktemp("trained")
    small_quickstart(place)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert ablate("--no-report") == 0
        assert ablate("--export", "quickstart.jsonl") == 0
    return place


@pytest.fixture
def place(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another folder with the same study and ledger, and no run."""
    monkeypatch.chdir(tmp_path)
    for name in ("quickstart.yaml", "quickstart.jsonl"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    return tmp_path


def test_a_line_says_again_what_was_written() -> None:
    again = parse_line(ENTRY.line, "here")
    assert again.line == ENTRY.line and dataclasses.replace(again, metrics=ENTRY.metrics) == ENTRY
    assert again.metrics["val_macro_f1"] == 0.7712932279872216 and math.isnan(again.metrics["val_loss"])
    assert json.loads(ENTRY.line)["sum"] and "\n" not in ENTRY.line


@pytest.mark.parametrize("place", range(0, len(ENTRY.line), 7))
def test_any_changed_character_is_found(place: int) -> None:
    other = "1" if ENTRY.line[place] != "1" else "2"
    with pytest.raises(UserError, match="here: "):
        parse_line(ENTRY.line[:place] + other + ENTRY.line[place + 1 :], "here")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "seed cannot be -1"),
        ({"status": "failed"}, "status cannot be 'failed'"),
        ({"metrics": {"val_loss": "low"}}, "metrics cannot be"),
        ({"weights": "C" * 64}, "weights cannot be"),
        ({"key": "short"}, "key cannot be"),
        ({"seconds": -1.0}, "seconds cannot be"),
    ],
)
def test_a_line_with_a_right_sum_and_a_wrong_value_is_refused(changes: dict[str, object], message: str) -> None:
    content = {name: value for name, value in json.loads(ENTRY.line).items() if name != "sum"} | changes
    line = ledger._summed(json.dumps(content, separators=(",", ":"), ensure_ascii=False))
    with pytest.raises(UserError, match=f"here: {message}"):
        parse_line(line, "here")


@pytest.mark.parametrize("text", ["x", "{}", "[1]", '{"row":"a","sum":"1"}', "[" * 5000])
def test_what_is_no_ledger_is_refused_by_file_and_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "l.jsonl"
    path.write_text(f"{ENTRY.line}\n{text}\n", "utf-8")
    with pytest.raises(UserError, match="l.jsonl, line 2: not a line of a ledger"):
        read_ledger(path)


def test_a_run_stands_in_a_ledger_once(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    write_ledger(path, [ENTRY, dataclasses.replace(ENTRY, asked="0" * 16), ENTRY])
    with pytest.raises(UserError, match="line 3: Réverse, 2×, seed 3 stands in line 1 already; remove"):
        read_ledger(path)
    write_ledger(path, [ENTRY, dataclasses.replace(ENTRY, row="new name", weights="0" * 64)])
    with pytest.raises(UserError, match="line 2: new name, seed 3 stands in line 1 already as Réverse, 2×, seed 3; "):
        read_ledger(path)


def test_merging_keeps_lines_replaces_old_settings_and_refuses_other_weights_of_a_key() -> None:
    later = dataclasses.replace(ENTRY, key="0" * 64, seconds=9.0)
    assert merged([ENTRY], [later], [ENTRY.row]) == [ENTRY]
    changed = dataclasses.replace(ENTRY, asked="0" * 16, key="0" * 64)
    assert merged([ENTRY], [changed], [ENTRY.row]) == [changed]
    other = dataclasses.replace(ENTRY, row="first", seed=7, asked="7" * 16)
    assert merged([ENTRY], [other], ["first", ENTRY.row]) == [other, ENTRY]
    with pytest.raises(UserError, match="this run of the same key ended in 000000000000…"):
        merged([ENTRY], [dataclasses.replace(ENTRY, weights="0" * 64)], [])


def test_a_run_whose_row_has_another_name_by_now_keeps_its_line_under_that_name() -> None:
    renamed = dataclasses.replace(ENTRY, row="new name", key="0" * 64, seconds=9.0)
    assert merged([ENTRY], [renamed], ["new name"]) == [dataclasses.replace(ENTRY, row="new name")]
    with pytest.raises(UserError, match="new name, seed 3: the ledger has weights cccccccccccc…, but this run of the"):
        merged([ENTRY], [dataclasses.replace(ENTRY, row="new name", weights="0" * 64)], [])
    follower = dataclasses.replace(ENTRY, asked="0" * 16, key="0" * 64)  # of the row that has the name now
    both = merged([ENTRY], [follower, renamed], [ENTRY.row, "new name"])
    assert both == [follower, dataclasses.replace(ENTRY, row="new name")]


def test_every_finished_run_is_a_line_below_a_kilobyte(trained: Path) -> None:
    lines = (trained / "quickstart.jsonl").read_text("utf-8").splitlines()
    entries = read_ledger(trained / "quickstart.jsonl")
    assert [(each.row, each.seed) for each in entries] == [(row, seed) for row in SMALL for seed in (0, 1)]
    assert all(len(line.encode()) < MOST_BYTES for line in lines)
    assert len({each.weights for each in entries}) == 4 and {each.build for each in entries} == {build_hash()}
    assert {each.status for each in entries} == {"finished"} and all(each.data and each.isa for each in entries)


def test_tables_are_made_of_a_ledger_without_data_and_training(
    trained: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: object) -> str:
        raise AssertionError("the data were read")

    monkeypatch.setattr("experiments.tasks.fingerprint._listed", refused)
    assert ablate("--ledger", "quickstart.jsonl", "--no-report") == 0
    ours, theirs = (folder / "table.csv" for folder in (place / "runs/ledger-quickstart", trained / "runs/quickstart"))

    def without_seconds(path: Path) -> list[list[str]]:
        rows = [line.split(",") for line in path.read_text("utf-8").splitlines()]
        kept = [place for place, name in enumerate(rows[0]) if "seconds" not in name]
        return [[row[place] for place in kept] for row in rows]

    assert without_seconds(ours) == without_seconds(theirs)
    assert not (place / "runs/ledger-quickstart/runs").exists() and "2/2" in capsys.readouterr().out


def test_a_report_is_made_of_a_ledger(place: Path) -> None:
    pytest.importorskip("jinja2", reason="an HTML report needs Jinja2")
    assert ablate("--ledger", "quickstart.jsonl") == 0
    page = (place / "runs/ledger-quickstart/report.html").read_text("utf-8")
    assert read_ledger(place / "quickstart.jsonl")[0].data in page


def test_a_changed_digit_ends_the_command(place: Path) -> None:
    path = place / "quickstart.jsonl"
    text = path.read_text("utf-8")
    first = read_ledger(path)[0].metrics["val_macro_f1"]
    path.write_text(text.replace(str(first), str(round(first + 0.01, 4)), 1), "utf-8")
    with pytest.raises(UserError, match="quickstart.jsonl, line 1: was changed after it was written"):
        ablate("--ledger", "quickstart.jsonl")


def test_lines_of_other_settings_do_not_count(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small_quickstart(place, epochs=3)
    assert ablate("--ledger", "quickstart.jsonl", "--no-report") == 1
    assert "4 of 4 lines are of other rows or settings, and do not count" in capsys.readouterr().err


def test_more_seeds_of_a_row_stand_in_its_table(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = yaml.safe_load((place / "quickstart.yaml").read_text("utf-8"))
    (place / "quickstart.yaml").write_text(yaml.safe_dump({**content, "seeds": [0]}), "utf-8")
    assert ablate("--ledger", "quickstart.jsonl", "--no-report") == 0
    assert "2/2" in capsys.readouterr().out


def test_runs_of_a_smaller_budget_are_no_lines(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ablate("--out", "short", "epochs=1", "--rows", "raw", "--no-report") == 0
    assert ablate("--out", "short", "epochs=1", "--rows", "raw", "--export", "short.jsonl") == 0
    assert read_ledger(place / "short.jsonl") == []
    assert "0 lines" in capsys.readouterr().out


def test_a_run_that_diverged_is_a_line_too(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small_quickstart(place, optimizer={"name": "SGD", "lr": 3e38, "momentum": 0.9})
    content = yaml.safe_load((place / "quickstart.yaml").read_text("utf-8"))
    content["rows"] = [{"name": "too fast", "changes": {}}]
    (place / "quickstart.yaml").write_text(yaml.safe_dump(content), "utf-8")
    ablate("--no-report")
    assert ablate("--export", "diverged.jsonl") == 0
    first, second = read_ledger(place / "diverged.jsonl")
    assert first.status == second.status == "diverged" and first.weights == "" and first.metrics == {} and first.isa
    capsys.readouterr()
    assert ablate("--ledger", "diverged.jsonl", "--no-report") == 0
    assert "0/2, 2 diverged" in capsys.readouterr().out
    with pytest.raises(UserError, match="--verify 1: the ledger has 0 finished runs"):
        ablate("--ledger", "diverged.jsonl", "--verify", "1")


def test_results_from_before_there_were_origins_have_lines_while_their_networks_are_there(
    place: Path, trained: Path
) -> None:
    shutil.copytree(trained / "runs", place / "runs")
    folder = place / "runs" / "quickstart"
    (folder / "study.sqlite").unlink()
    for record in folder.glob("runs/*/record.json"):
        content = json.loads(record.read_text("utf-8"))
        del content["origin"]
        record.write_text(json.dumps(content), "utf-8")
    next(folder.glob("runs/raw-seed0-*/best.safetensors")).unlink()
    assert ablate("--export", "old.jsonl") == 0
    known = {each.asked: each for each in read_ledger(place / "quickstart.jsonl")}
    old = read_ledger(place / "old.jsonl")
    assert [each.label for each in old] == ["raw, seed 1", "Reverse, seed 0", "Reverse, seed 1"]
    assert all(each.weights == known[each.asked].weights and each.data == known[each.asked].data for each in old)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ledger", "l.jsonl", "--budget", "smoke"], "--ledger does not go with --budget smoke"),
        (["--ledger", "l.jsonl", "epochs=3"], "--ledger does not go with epochs=3"),
        (["--ledger", "l.jsonl", "-j", "2"], "--ledger and --jobs do not go together"),
        (["--ledger", "l.jsonl", "--status"], "--ledger and --status do not go together"),
        (["--verify", "0"], "--verify 0: the number of runs must be 1 or more"),
        (["--verify", "1", "--watch"], "--verify and --watch do not go together"),
        (["--draw", "1"], "--draw SEED says which runs --verify trains"),
    ],
)
def test_options_that_would_be_ignored_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ablation.parse_arguments(arguments)


def test_the_ledgers_of_the_project_can_be_read_and_are_of_its_studies() -> None:
    for path in ledger.FOLDER.glob("*.jsonl"):
        assert path.stem in study_names()
        assert all(len(each.line.encode()) < MOST_BYTES for each in read_ledger(path))
