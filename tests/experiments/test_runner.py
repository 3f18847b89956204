"""A tiny study, run whole: rows in the table, records on disk, nothing run twice, the same bits when interrupted."""

import csv
import json
import re

import pytest

from engine.data import augment
from engine.errors import UserError
from experiments import ablation, runner
from experiments.config import parse_study
from experiments.progress import Bar, Lines
from experiments.report.table import study_table
from experiments.store import Result, Run, Store

STUDY = """
name: tiny
title: A tiny study
metric: val_macro_f1
seeds: [0, 1]
published: {columns: {val_macro_f1: a table}}
base:
  dataset: {name: digits5k, train: {count: 60}}
  preprocess: {colour: true, size: [28, 28]}
  model: {name: lenet}
  optimizer: {name: SGD, lr: 0.01}
  schedule: {name: ReduceLROnPlateau, metric: val_macro_f1, patience: 1}
  batch_size: 16
  epochs: 2
rows:
  - {name: raw, changes: {}, published: {val_macro_f1: 0.5}}
  - {name: mixed, changes: {preprocess: {steps: [bbox, reverse]}, augment: {mixup: 0.2}}}
"""


class Listener:
    """Keeps what the runner says."""

    def __init__(self):
        self.epochs = 0
        self.repeated = []

    def start(self, run):
        pass

    def epoch(self):
        self.epochs += 1

    def finish(self, result, repeated):
        self.repeated.append(repeated)

    def close(self):
        pass


def run(folder, text=STUDY, overrides=()):
    study = parse_study(text, "tiny.yaml", overrides)
    listener = Listener()
    return study, runner.run_study(study, Store(folder), listener), listener


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return folder, *run(folder)


def test_every_row_and_seed_has_a_result_and_a_log(finished):
    folder, study, results, listener = finished
    assert [(each.row, each.seed) for each in results] == [("raw", 0), ("raw", 1), ("mixed", 0), ("mixed", 1)]
    assert all(each.status == "finished" and 0 <= each.score <= 1 and each.parameters == 44726 for each in results)
    assert listener.epochs == 8 and listener.repeated == [False] * 4
    for each in runner.planned_runs(study):
        log = (Store(folder).folder(each) / "log.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in log]
        assert len(records) == 2 and all("val_macro_f1" in record for record in records)
    table = study_table(study, results)
    assert [row[0] for row in table.rows] == ["raw", "mixed"] and [row[4] for row in table.rows] == ["2/2", "2/2"]


def test_a_finished_study_runs_nothing_and_a_changed_row_runs_itself(finished, tmp_path_factory):
    folder, _, results, _ = finished
    _, again, listener = run(folder)
    assert again == results and listener.epochs == 0 and listener.repeated == [True] * 4
    changed = STUDY.replace("name: mixed, changes: {", "name: mixed, changes: {optimizer: {lr: 0.02}, ")
    _, third, listener = run(folder, changed)
    assert third[:2] == results[:2] and listener.repeated == [True, True, False, False]


def test_the_same_study_elsewhere_has_the_same_scores(finished, tmp_path):
    _, _, results, _ = finished
    _, again, _ = run(tmp_path)
    assert [each.score for each in again] == [each.score for each in results]


def test_a_run_that_was_cut_off_goes_on_to_the_same_score(finished, tmp_path, monkeypatch):
    _, _, results, _ = finished

    class Interrupted(Listener):
        def epoch(self):
            raise KeyboardInterrupt

    study = parse_study(STUDY, "tiny.yaml")
    with pytest.raises(KeyboardInterrupt):
        runner.run_study(study, Store(tmp_path), Interrupted())
    assert Store(tmp_path).result(runner.planned_runs(study)[0]) is None
    _, again, listener = run(tmp_path)
    assert [each.score for each in again] == [each.score for each in results]
    assert listener.epochs == 7


def test_a_run_that_diverges_is_marked_and_the_study_goes_on(tmp_path):
    study, results, _ = run(
        tmp_path, STUDY.replace("name: raw, changes: {}", "name: raw, changes: {optimizer: {lr: 1e30}}")
    )
    assert [each.status for each in results] == ["diverged", "diverged", "finished", "finished"]
    assert "step" in results[0].error
    table = study_table(study, results)
    assert table.rows[0][3] is None and table.rows[0][4] == "0/2"
    assert any(re.match("raw, seed 0: .*diverged", note) for note in table.notes)


def test_the_last_epoch_counts_where_the_study_says_so(finished, tmp_path):
    folder, study, _, _ = finished
    last_study, results, _ = run(tmp_path, STUDY + "score_epoch: last\n")
    for each, best in zip(results, runner.planned_runs(study), strict=True):
        log = (Store(folder).folder(best) / "log.jsonl").read_text().splitlines()
        assert each.score == json.loads(log[-1])["val_macro_f1"] and each.key != best.key


def test_a_row_that_needs_another_run_is_refused_before_any_begins(tmp_path):
    row = "  - {name: tuned, changes: {initialize_from: {checkpoint: run:raw}}}\n"
    with pytest.raises(UserError, match="'tuned' begins from the weights of raw"):
        run(tmp_path, STUDY + row)
    assert not list(tmp_path.iterdir())


def test_preprocessing_is_done_once_for_all_seeds(monkeypatch):
    calls = []
    original = augment.STEPS["bbox"]
    monkeypatch.setattr(augment, "STEPS", {**augment.STEPS, "bbox": lambda image: calls.append(1) or original(image)})
    cache = runner.DataCache()
    for each in runner.planned_runs(parse_study(STUDY, "tiny.yaml")):
        train, validation = cache.load(each.config)
        assert validation is not None and (len(train), len(validation)) == (48, 12)
    assert len(calls) == 60


def test_the_cache_keeps_no_more_than_its_size():
    planned = runner.planned_runs(parse_study(STUDY, "tiny.yaml"))
    cache = runner.DataCache(size=1)
    first = cache.load(planned[0].config)
    assert cache.load(planned[1].config) is first
    cache.load(planned[2].config)
    assert cache.load(planned[0].config) is not first


def test_the_command_prints_and_writes_the_table(tmp_path, capsys):
    arguments = ["--out", str(tmp_path / "out"), "--rows", "raw", "--seeds", "3", "epochs=1", "dataset.train.count=60"]
    ablation.run_ablation(ablation.parse_arguments(arguments))
    printed = capsys.readouterr()
    assert re.search(r"^raw +0.01 +0.1549 \(a\) +0\.\d{4} +1/1 +44,726 ", printed.out, re.MULTILINE)
    assert "[1/1] raw, seed 3: score 0." in printed.err
    rows = list(csv.DictReader((tmp_path / "out" / "table.csv").open()))
    assert [row["row"] for row in rows] == ["raw"] and float(rows[0]["val_macro_f1_mean"]) > 0
    assert "| raw | 0.01 | 0.1549 (a) |" in (tmp_path / "out" / "table.md").read_text()


def test_lines_and_bar_count_what_is_on_record(capsys):
    planned = [Run("raw", seed, parse_study(STUDY, "tiny.yaml").rows[0].config) for seed in (0, 1)]
    for progress in (Lines(2), Bar({each.label: 2 for each in planned})):
        for each, repeated in zip(planned, (True, False)):
            progress.start(each)
            for _ in range(0 if repeated else 2):
                progress.epoch()
            progress.finish(Result(each.key, "raw", each.seed, "finished", 0.25, 1, 10, 3.0), repeated)
        progress.close()
    shown = capsys.readouterr().err
    assert "[1/2] raw, seed 0: score 0.2500 (on record)" in shown
    assert "[2/2] raw, seed 1: score 0.2500 (3.0 s)" in shown
    assert "4/4" in shown
