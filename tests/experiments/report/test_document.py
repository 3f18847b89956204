"""The report as data, on runs made up so that every figure in it can be reckoned by hand."""

from pathlib import Path

import pytest

from experiments.records.result import Result
from experiments.records.standing import Standing, results_of
from experiments.report.document import build_document, distinguishing
from experiments.report.summary import summarize
from experiments.report.table import Marked
from experiments.stats import Estimate
from experiments.study.read import parse_study
from experiments.tasks.keys import Run
from experiments.words import exact_duration
from tests.experiments.report.conftest import STUDY

CONFIG = parse_study(STUDY, "tiny.yaml").rows[0].config


def run_of(row, seed, value, state="finished", error=""):
    metrics = {"val_macro_f1": value, "val_accuracy": value / 2} if state == "finished" else {}
    run, result = Run(row, seed, CONFIG, data=row), None
    if state != "begun":
        result = Result(run.key, row, seed, state, metrics, 2, 2, 500_000, 4.0, 2.0, error)
    return Standing(run, state, Path(), result, seconds=4.0, metrics=metrics, error=error)


def document_of(study, runs, live=False):
    return build_document(study, summarize(study, results_of(runs)), runs, live=live)


def runs_of(values):
    return [run_of(row, seed, value) for row, own in values.items() for seed, value in enumerate(own)]


@pytest.fixture
def study():
    return parse_study(STUDY, "tiny.yaml")


def test_a_table_for_each_group_with_the_published_beside_ours(study):
    document = document_of(study, runs_of({"raw": [0.25, 0.75], "reversed": [0.5, 0.5], "fast": [1.0]}))
    first, second = document.tables
    assert (first.title, second.title) == ("Table 1", "Table 2")
    assert first.column("number") == (1, 2) and second.column("number") == (3, 4)
    assert first.column("published_val_macro_f1") == (0.5, Marked(0.75, "(a)"))
    assert first.column("val_macro_f1") == (Estimate(0.5, pytest.approx(0.35355339), 2), Estimate(0.5, 0.0, 2))
    assert first.column("published_parameters") == (44726, None) and first.column("parameters") == (500_000,) * 2
    assert "published_val_macro_f1" not in [each.key for each in second.columns]  # nothing is published there
    assert second.column("val_macro_f1") == (Estimate(1.0, None, 1), None)
    assert "(a) of another network" in document.notes and not any("Assumption" in each for each in document.notes)
    assert document.assumptions == ("the optimiser is SGD",)


def test_no_row_is_called_the_highest_where_all_are_the_same(study):
    runs = [run_of("raw", 0, 0.5), run_of("raw", 1, 0.5), run_of("reversed", 0, 0.5), run_of("reversed", 1, 0.5)]
    summary = document_of(study, runs).summary
    assert "By val macro F1, all rows have the same mean: 0.5000." in summary
    assert not any("highest" in sentence for sentence in summary)


def test_the_document_says_what_failed_and_what_is_still_to_come(study):
    runs = [
        run_of("raw", 0, 0.25),
        run_of("raw", 1, 0.75),
        run_of("reversed", 0, 0.9),
        run_of("reversed", 1, 0, "begun"),
        run_of("too fast", 0, 0, "diverged", error="training diverged at step 2"),
    ]
    document = document_of(study, runs, live=True)
    assert document.failures == ("too fast, seed 0: training diverged at step 2",)
    assert "4 of 5 runs have ended; the figures are those of the runs that finished." in document.summary
    assert any("reversed has the highest mean: 0.9000; raw has the lowest: 0.5000" in each for each in document.summary)
    tiles = {tile.name: tile.value for tile in document.tiles}
    assert tiles["runs finished"] == "3 of 5" and tiles["runs diverged"] == "1 of 5" and tiles["runs begun"] == "1 of 5"
    assert tiles["training time"] == "20.0 s"
    by_count, by_time = document.charts
    assert by_count.note == "Every row has 500,000 parameters."
    assert [(point.number, point.x, point.y) for point in by_time.points] == [(1, 4.0, 0.5), (2, 4.0, 0.9)]


def test_settings_that_set_rows_apart(study):
    settings = {section.name: {each.name: each.value for each in section.settings} for section in
                document_of(study, []).sections}  # fmt: skip
    assert settings["raw"] == {"optimizer.lr": "0.01"}
    assert settings["fast"] == {"optimizer.lr": "0.1", "preprocess.steps": "bbox, reverse"}
    assert distinguishing([{"a": 1}, {"a": 1}]) == [{}, {}]


def test_settings_of_a_machine_are_not_told(study):
    logged = [{"wandb": {"project": name}, "cache": name == "a", "checkpoint_every": len(name)} for name in ("a", "bb")]
    assert distinguishing(logged) == [{}, {}]
    told = document_of(study, []).sections[0].configuration
    assert "\nbatch_size: 16\n" in told
    assert not any(f"\n{key}:" in told for key in ("cache", "strict", "checkpoint_every", "threads", "seed", "metric"))


def test_durations():
    assert [exact_duration(each) for each in (4.21, 60, 725, 12_000)] == [
        "4.2 s",
        "1 min 0 s",
        "12 min 5 s",
        "3 h 20 min",
    ]
