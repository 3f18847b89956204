"""Runs of a ledger trained anew: the same bits, forged lines, other machines, and kills on the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from engine.errors import UserError
from experiments.records.ledger import ASKED, Entry, read_ledger, write_ledger
from experiments.records.planned import planned_graph
from experiments.records.recalled import asked_graph, entries_of
from experiments.records.standing import standings
from experiments.records.store import Store
from experiments.running.progress import Lines
from experiments.running.runner import run_graph
from experiments.running.verify import drawn
from experiments.study.read import load_study, select
from tests.experiments.records.test_ledger import ablate, place, trained  # noqa: F401

Change = Callable[[list[Entry]], list[Entry]]


def first_with(**changes: object) -> Change:
    return lambda entries: [dataclasses.replace(entries[0], **changes), *entries[1:]]  # type: ignore[arg-type]


def with_metric(value: float) -> Change:
    return lambda entries: first_with(metrics={**entries[0].metrics, "val_macro_f1": value})(entries)


def elsewhere(
    metric: float | None = None, weights: str = "0" * 64, settings: str = "", row: str = "raw", **changes: str
) -> Change:
    """The first run as another machine would have it, beside more seeds of its row: with the row's settings, or others,
    and under that name."""

    def changed(entries: list[Entry]) -> list[Entry]:
        first = entries[0]
        base = first.metrics["val_macro_f1"]
        graph = asked_graph(select(load_study("quickstart.yaml", [settings] * bool(settings)), ["raw"], [11, 12, 13]))
        asked = {task.run.seed: task.run.asked[:ASKED] for task in graph.tasks}
        seeds = [
            dataclasses.replace(first, row=row, seed=seed, asked=each, metrics={"val_macro_f1": base + 0.01 * seed})
            for seed, each in asked.items()
        ]
        here = {"val_macro_f1": base if metric is None else metric}
        return [dataclasses.replace(first, weights=weights, metrics=here, **changes), *seeds]  # type: ignore[arg-type]

    return changed


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        (lambda entries: entries, 0, ["raw, seed 0: verified", "1 of 1 verified bit for bit"]),
        (with_metric(0.5), 1, ["raw, seed 0: differs (the same weights, but val_macro_f1 0.5 in the ledger, "]),
        (first_with(epochs=3), 1, ["the same weights, but epochs 3 in the ledger, 2 here"]),
        (first_with(weights="0" * 64), 1, ["differs (weights 000000000000… in the ledger, ", "0 of 1 verified"]),
        (first_with(isa="none"), 0, ["raw, seed 0: verified"]),  # equal bits are equal, whatever made them
        (
            first_with(weights="0" * 64, isa="none"),
            1,
            ["not comparable (bits cannot be compared: instruction set none in the ledger, ", "; fewer than 3 runs"],
        ),
        (elsewhere(isa="none"), 0, ["raw, seed 0: agrees (bits cannot be compared: instruction set none in"]),
        (elsewhere(build="0" * 16), 0, ["agrees (bits cannot be compared: build 0000000000000000 in the ledger"]),
        (elsewhere(data="0" * 64), 0, ["agrees (bits cannot be compared: data 0000000000000000 in the ledger"]),
        (elsewhere(key="0" * 64), 0, ["agrees (bits cannot be compared: other versions of the libraries"]),
        (elsewhere(isa="none", settings="epochs=9"), 1, ["not comparable (", "; fewer than 3 runs of the row"]),
        (elsewhere(isa="none", row="its old name"), 0, ["raw, seed 0: agrees (bits cannot be compared: instruction"]),
    ],
    ids=[
        *("same", "metric", "epochs", "weights", "isa, same bits", "isa, few", "isa", "build", "data", "libraries"),
        *("other settings", "another name"),
    ],
)
def test_a_line_is_held_against_a_training(
    place: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    change: Change,
    status: int,
    words: list[str],
) -> None:
    path = place / "quickstart.jsonl"
    entries = [each for each in read_ledger(path) if (each.row, each.seed) == ("raw", 0)]
    write_ledger(path, change(entries))
    assert ablate("--ledger", "quickstart.jsonl", "--verify", "1", "--seeds", "0", "--rows", "raw") == status
    said = capsys.readouterr().out
    assert all(word in said for word in words), said
    assert not (place / "runs").exists()  # nothing is left behind


def test_metrics_beyond_the_interval_are_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    path = place / "quickstart.jsonl"
    entries = [each for each in read_ledger(path) if (each.row, each.seed) == ("raw", 0)]
    far = [
        dataclasses.replace(each, metrics={"val_macro_f1": 0.99 + 0.0001 * number})
        for number, each in enumerate(elsewhere(isa="none")(entries))
    ]
    write_ledger(path, far)
    assert ablate("--ledger", "quickstart.jsonl", "--verify", "1", "--seeds", "0", "--rows", "raw") == 1
    said = capsys.readouterr().out
    assert "raw, seed 0: outside (" in said and "NOT in 0.98" in said


def test_which_runs_are_drawn(place: Path) -> None:  # noqa: F811
    study, entries = load_study("quickstart.yaml"), read_ledger(place / "quickstart.jsonl")
    priced = [dataclasses.replace(each, seconds=float(10 - number)) for number, each in enumerate(entries)]
    assert [each.label for each in drawn(study, priced, 2, None)] == ["Reverse, seed 1", "Reverse, seed 0"]
    by_seed = [tuple(each.label for each in drawn(study, priced, 2, seed)) for seed in range(20)]
    assert by_seed == [tuple(each.label for each in drawn(study, priced, 2, seed)) for seed in range(20)]
    assert len(set(by_seed)) > 3 and all(len(set(each)) == 2 for each in by_seed)
    with pytest.raises(UserError, match="--verify 5: the ledger has 4 finished runs"):
        drawn(study, entries, 5, None)


def test_a_study_without_a_ledger_has_nothing_to_verify(place: Path) -> None:  # noqa: F811
    with pytest.raises(UserError, match="no-such.jsonl: no such ledger"):
        ablate("--ledger", "no-such.jsonl", "--verify", "1")


def test_a_killed_and_resumed_study_gives_the_same_ledger(place: Path) -> None:  # noqa: F811
    """But for the seconds, which a clock says."""

    class Killed(BaseException):
        pass

    class KillingLines(Lines):
        def epoch(self, run: object, record: object) -> None:
            raise Killed

    study, store = load_study("quickstart.yaml"), Store(place / "again")
    for _ in range(3):
        graph = planned_graph(study, store)
        with pytest.raises(Killed):
            run_graph(graph, store, KillingLines(graph.runs, study.metric))
    graph = planned_graph(study, store)
    run_graph(graph, store, Lines(graph.runs, study.metric))
    ours = entries_of(study, standings(graph.runs, store))
    theirs = read_ledger(place / "quickstart.jsonl")
    assert [_timeless(each) for each in ours] == [_timeless(each) for each in theirs]


def _timeless(entry: Entry) -> Entry:
    return dataclasses.replace(entry, seconds=0.0)


def test_a_row_under_another_name_is_verified_by_the_line_of_its_runs(
    place: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = yaml.safe_load((place / "quickstart.yaml").read_text("utf-8"))
    content["rows"].append({"name": "final", "same_as": "Reverse"})
    (place / "quickstart.yaml").write_text(yaml.safe_dump(content), "utf-8")
    assert ablate("--ledger", "quickstart.jsonl", "--verify", "1", "--rows", "final") == 0
    assert capsys.readouterr().out.endswith(": verified\n1 of 1 verified bit for bit\n")


def test_what_a_run_needs_is_trained_and_compared_too(
    place: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = yaml.safe_load((place / "quickstart.yaml").read_text("utf-8"))
    content["stages"] = [{"name": "first", "changes": {"preprocess": {"steps": ["reverse"]}}, "seed_offset": 7}]
    content["rows"] = [{"name": "later", "changes": {"initialize_from": {"checkpoint": "run:first"}}}]
    (place / "quickstart.yaml").write_text(yaml.safe_dump({**content, "seeds": [0]}), "utf-8")
    assert ablate("--no-report", "--out", "all") == 0
    assert ablate("--out", "all", "--export", "stages.jsonl") == 0
    assert [each.label for each in read_ledger(place / "stages.jsonl")] == ["later, seed 0", "first, seed 7"]
    capsys.readouterr()
    assert ablate("--ledger", "stages.jsonl", "--verify", "1") == 0
    said = capsys.readouterr().out
    assert "later, seed 0: verified" in said and "first, seed 7: verified" in said and "2 of 2 verified" in said
