"""A tiny study, run whole: rows in the table, records on disk, nothing run twice, the same bits when interrupted."""

import csv
import errno
import json
import os
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from engine.data import steps
from engine.errors import DivergedError, UserError
from engine.training.folder import LOG, only_training, read_epochs
from experiments import ablation, command, learned
from experiments.records.locks import only_runner
from experiments.records.planned import planned_graph, planned_runs
from experiments.records.result import Result
from experiments.records.store import Store
from experiments.report import summary as summaries
from experiments.report.summary import summarize
from experiments.report.table import study_table
from experiments.running import execute, runner
from experiments.running.executors import Processes, usable_cores
from experiments.running.progress import Bar, Lines
from experiments.stats import compare
from experiments.study.read import parse_study
from experiments.tasks import samples
from experiments.tasks.keys import Run

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

    def epoch(self, run, record):
        self.epochs += 1

    def finish(self, run, result, repeated):
        self.repeated.append(repeated)

    def close(self):
        pass


def run(folder, text=STUDY, overrides=()):
    study = parse_study(text, "tiny.yaml", overrides)
    listener = Listener()
    return study, runner.run_study(study, Store(folder), listener), listener


def with_test_part(split):
    """What gives the study a test part."""
    section = "dataset: {name: digits5k, train: {count: 60}}"
    return section, f"{section[:-1]}, test: {{count: 40, seed: 1}}}}\n  split: {{kind: {split}}}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return folder, *run(folder)


def test_every_row_and_seed_has_a_result_and_a_log(finished):
    folder, study, results, listener = finished
    assert [(each.row, each.seed) for each in results] == [("raw", 0), ("raw", 1), ("mixed", 0), ("mixed", 1)]
    assert all(each.status == "finished" and each.parameters == 44726 and each.epochs == 2 for each in results)
    assert all(0 <= each.metrics["val_macro_f1"] <= 1 and each.metrics["train_loss"] > 0 for each in results)
    assert listener.epochs == 8 and listener.repeated == [False] * 4
    for each in planned_runs(study):
        log = (Store(folder).folder(each) / "log.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in log]
        assert len(records) == 2 and all("val_macro_f1" in record for record in records)
    table = study_table(study, summarize(study, results))
    assert table.column("row") == ("raw", "mixed") and table.column("runs") == ("2/2", "2/2")


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
    assert [each.metrics for each in again] == [each.metrics for each in results]


def test_a_run_that_was_cut_off_goes_on_to_the_same_score(finished, tmp_path, monkeypatch):
    _, _, results, _ = finished

    class Interrupted(Listener):
        def epoch(self, run, record):
            raise KeyboardInterrupt

    study = parse_study(STUDY, "tiny.yaml")
    with pytest.raises(KeyboardInterrupt):
        runner.run_study(study, Store(tmp_path), Interrupted())
    assert Store(tmp_path).result(planned_runs(study)[0]) is None
    _, again, listener = run(tmp_path)
    assert [each.metrics for each in again] == [each.metrics for each in results]
    assert listener.epochs == 7


def test_a_run_that_diverges_is_marked_and_the_study_goes_on(tmp_path):
    study, results, _ = run(
        tmp_path, STUDY.replace("name: raw, changes: {}", "name: raw, changes: {optimizer: {lr: 1e30}}")
    )
    assert [each.status for each in results] == ["diverged", "diverged", "finished", "finished"]
    assert "step" in results[0].error
    table = study_table(study, summarize(study, results))
    assert table.column("val_macro_f1")[0] is None and table.column("runs") == ("0/2, 2 diverged", "2/2")
    assert any(re.match("raw, seed 0: .*diverged", note) for note in table.notes)


def test_a_run_that_fails_is_marked_and_tried_again(tmp_path, monkeypatch):
    original = execute.fit_and_test

    def breaks(config, *arguments, **options):
        if config.seed == 1:
            raise MemoryError("no room")
        return original(config, *arguments, **options)

    monkeypatch.setattr(execute, "fit_and_test", breaks)
    study, results, _ = run(tmp_path)
    assert [each.status for each in results] == ["finished", "failed", "finished", "failed"]
    assert results[1].error == "MemoryError: no room"
    monkeypatch.setattr(execute, "fit_and_test", original)
    _, again, listener = run(tmp_path)
    assert [each.status for each in again] == ["finished"] * 4
    assert listener.repeated == [True, True, False, False]


def test_a_run_with_a_damaged_log_fails_as_what_it_failed_of(tmp_path, monkeypatch):
    original = execute.fit_and_test

    def breaks(config, trainer, *arguments, **options):
        original(config, trainer, *arguments, **options)
        with Path(trainer.out, LOG).open("a") as log:
            log.write("nonsense\n")
        raise (DivergedError(9) if config.seed else MemoryError("no room"))

    monkeypatch.setattr(execute, "fit_and_test", breaks)
    _, results, _ = run(tmp_path)
    assert [(each.status, each.epochs, each.seconds) for each in results[:2]] == [("failed", 0, 0), ("diverged", 0, 0)]
    for each, error in zip(results, ("MemoryError: no room", "training diverged at step 9"), strict=False):
        assert each.error.startswith(error) and "log.jsonl, line 3: is damaged" in each.error
    assert sorted(each.result.error for each in Store(tmp_path).records()) == sorted(each.error for each in results)


def test_fail_fast_stops_at_the_first_failure(tmp_path):
    study = parse_study(STUDY, "tiny.yaml", ["optimizer.lr=1e30"])
    results = runner.run_study(study, Store(tmp_path), Listener(), fail_fast=True)
    assert [each.status for each in results] == ["diverged"]


def test_a_full_disk_stops_the_study_and_loses_nothing(tmp_path, monkeypatch):
    original, full = execute.fit_and_test, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "last.safetensors")

    def breaks(config, *arguments, **options):
        if config.seed == 1:
            raise full
        return original(config, *arguments, **options)

    monkeypatch.setattr(execute, "fit_and_test", breaks)
    with pytest.raises(OSError, match="No space left"):
        run(tmp_path)
    monkeypatch.setattr(execute, "fit_and_test", original)
    _, results, listener = run(tmp_path)
    assert listener.repeated == [True, False, False, False]
    assert [each.status for each in results] == ["finished"] * 4


def test_two_runners_on_one_store_are_one_too_many(tmp_path):
    with only_runner(tmp_path), pytest.raises(UserError, match=f"another runner \\(process {os.getpid()} on .*\\)"):
        run(tmp_path)


def test_a_run_in_whose_folder_another_process_trains_fails_and_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(execute, "PATIENCE", 0.1)
    (first, *_) = planned_runs(parse_study(STUDY, "tiny.yaml"))
    with only_training(Store(tmp_path).folder(first)):
        _, results, _ = run(tmp_path)
    assert [each.status for each in results] == ["failed"] + ["finished"] * 3
    assert f"another training (process {os.getpid()} on " in results[0].error
    _, again, listener = run(tmp_path)
    assert {each.status for each in again} == {"finished"} and listener.repeated == [True] * 3 + [False]


def test_a_lock_that_a_killed_runner_left_locks_nothing(finished):
    folder, _, results, _ = finished
    (folder / "study.lock").write_text("1\n")
    assert run(folder)[1] == results


def test_the_last_epoch_counts_where_nothing_picks_one(tmp_path):
    text = STUDY.replace("seeds: [0, 1]", "seeds: [0]").replace("metric: val_macro_f1, patience: 1", "patience: 1")
    text = text.replace("metric: val_macro_f1", "metric: train_loss").replace(
        "ReduceLROnPlateau, patience: 1", "Constant"
    )
    text = text.replace("train: {count: 60}}", "train: {count: 60}, test: {count: 40, seed: 1}}\n  split: {kind: none}")
    _, results, _ = run(tmp_path, text)
    assert all(each.best_epoch == each.epochs == 2 for each in results)
    assert all({"train_loss", "test_loss", "test_accuracy", "test_macro_f1"} == set(each.metrics) for each in results)


def test_test_figures_belong_to_the_epoch_that_counts(tmp_path):
    """With the test part as validation set both are the same samples, and so must be the figures."""
    text = STUDY.replace(
        "train: {count: 60}}", "train: {count: 60}, test: {count: 40, seed: 1}}\n  split: {kind: test}"
    )
    text = text.replace("epochs: 2", "epochs: 4")
    _, results, _ = run(tmp_path, STUDY.replace(*with_test_part("test")), ["epochs=4"])
    for each in results:
        assert each.epochs == 4
        assert each.metrics["test_macro_f1"] == each.metrics["val_macro_f1"]
        logged = read_epochs(each.folder / LOG)
        assert each.metrics["val_macro_f1"] == max(record["val_macro_f1"] for record in logged)
        assert logged[each.best_epoch - 1]["val_loss"] == each.metrics["val_loss"]


def test_the_last_epoch_counts_where_the_study_says_so(finished, tmp_path):
    folder, study, _, _ = finished
    _, results, _ = run(tmp_path, STUDY + "score_epoch: last\n")
    for each, best in zip(results, planned_runs(study), strict=True):
        logged = read_epochs(Store(folder).folder(best) / LOG)
        assert each.metrics["val_macro_f1"] == logged[-1]["val_macro_f1"] and each.key != best.key
        assert each.best_epoch == 2


CHAIN = """  - {name: again, same_as: raw}
  - {name: tuned, changes: {initialize_from: {checkpoint: run:first}, epochs: 1}}
stages:
  - {name: first, changes: {optimizer: {lr: 0.1}}}
"""


def test_stages_run_before_the_rows_that_begin_from_them(finished, tmp_path):
    folder, _, results, _ = finished
    study, found, listener = run(tmp_path, STUDY + CHAIN, ["epochs=1"])
    assert [each.row for each in found] == [name for name in ("raw", "mixed", "again", "tuned") for _ in range(2)]
    assert {each.status for each in found} == {"finished"} and len(listener.repeated) == 8  # "again" has those of "raw"
    assert [each.key for each in found[:2]] == [each.key for each in found[4:6]]
    graph = planned_graph(study, Store(tmp_path))
    for task in graph.tasks:
        if task.run.row == "tuned":
            began = json.loads((Store(tmp_path).folder(task.run) / "log.jsonl").read_text().splitlines()[0])
            first = graph.by_key[task.needs[0]].run
            assert began["event"] == "initialized" and task.needs == (first.key,) and first.row == "first"
            assert began["checkpoint"] == str(Store(tmp_path).folder(first) / "best.safetensors")
    renamed = (STUDY + CHAIN).replace("run:first", "run:stage").replace("name: first", "name: stage")
    assert run(tmp_path, renamed, ["epochs=1"])[2].repeated == [True] * 8
    changed = (STUDY + CHAIN).replace("lr: 0.1", "lr: 0.2")
    _, _, listener = run(tmp_path, changed, ["epochs=1"])
    assert sorted(listener.repeated) == [False] * 4 + [True] * 4  # the stage and the row that needs it


def test_a_needed_run_whose_network_is_lost_is_trained_again(tmp_path):
    study, found, _ = run(tmp_path, STUDY + CHAIN, ["epochs=1"])
    store = Store(tmp_path)
    for task in planned_graph(study, store).tasks:
        if task.run.row == "first" and task.run.seed == 0:
            (store.folder(task.run) / "best.safetensors").write_bytes(b"")
    assert run(tmp_path, STUDY + CHAIN, ["epochs=1"])[2].repeated == [True] * 8  # nothing needs it any more
    text = (STUDY + CHAIN).replace("run:first}, epochs: 1", "run:first}, epochs: 1, batch_size: 8")
    with pytest.warns(UserWarning, match="best.safetensors: .*trained again, as others need it"):
        _, again, listener = run(tmp_path, text, ["epochs=1"])
    assert {each.status for each in again} == {"finished"} and listener.repeated == [True] * 5 + [False] * 3
    assert again[:6] == found[:6]


@pytest.mark.parametrize("content", [b"", b"\0" * 3000, None], ids=["empty", "overwritten", "half"])
@pytest.mark.parametrize("names", [["last"], ["last", "previous"]], ids="+".join)
def test_a_cut_off_run_with_damaged_checkpoints_is_no_dead_end(finished, tmp_path, content, names):
    class Interrupted(Listener):
        def epoch(self, run, record):
            self.epochs += 1
            if self.epochs == 2:
                raise KeyboardInterrupt

    study = parse_study(STUDY, "tiny.yaml")
    with pytest.raises(KeyboardInterrupt):
        runner.run_study(study, Store(tmp_path), Interrupted())
    folder = Store(tmp_path).folder(planned_runs(study)[0])
    for name in names:
        path = folder / f"{name}.safetensors"
        path.write_bytes(path.read_bytes()[:2000] if content is None else content)
    with pytest.warns(UserWarning, match="last.safetensors: .*the run (goes on from|begins again)"):
        _, again, _ = run(tmp_path)
    assert [each.metrics for each in again] == [each.metrics for each in finished[2]]


def test_accepted_code_counts_for_runs_that_need_others_as_well(tmp_path, monkeypatch):
    study = parse_study(STUDY + CHAIN, "tiny.yaml", ["epochs=1"])
    runner.run_study(study, Store(tmp_path), Listener())
    for module in ("tasks.keys", "records.store"):
        monkeypatch.setattr(f"experiments.{module}.code_hash", lambda: "other code")
    listener = Listener()
    runner.run_study(study, Store(tmp_path), listener, accept_code=True)
    assert listener.repeated == [True] * 8


def test_what_needs_a_run_that_failed_does_not_run(tmp_path):
    _, results, _ = run(tmp_path, (STUDY + CHAIN).replace("lr: 0.1", "lr: 1e30"), ["epochs=1"])
    assert [each.status for each in results] == ["finished"] * 6 + ["failed"] * 2
    assert results[6].error.startswith("not run: it needs 'first', seed 0, which diverged (training diverged at step")


def test_preprocessing_is_done_once_for_all_seeds(monkeypatch):
    calls = []
    original = steps.bounding_box
    monkeypatch.setattr(steps, "bounding_box", lambda *given: calls.append(1) or original(*given))
    cache = samples.DataCache()
    for each in planned_runs(parse_study(STUDY, "tiny.yaml")):
        train, validation, test = cache.load(each.config)
        assert validation is not None and test is None and (len(train), len(validation)) == (48, 12)
    assert len(calls) == 60


def test_a_set_is_read_once_for_rows_that_prepare_it_in_other_ways(monkeypatch):
    calls = []
    original = samples.read_dataset
    monkeypatch.setattr(samples, "read_dataset", lambda *given: calls.append(given[2]["count"]) or original(*given))
    cache = samples.DataCache(size=1)
    runs = planned_runs(parse_study(STUDY.replace(*with_test_part("test")), "tiny.yaml"))
    for each in (runs[0], runs[2], runs[0]):
        cache.load(each.config)
    assert sorted(calls) == [40, 60]
    for count in (50, 40):  # the last two sets that were asked for are kept
        cache.read("digits5k", None, {"count": count})
    cache.read("digits5k", None, {"count": 50})
    assert len(calls) == 4 and calls[2] == 50


def test_the_cache_keeps_no_more_than_its_size():
    planned = planned_runs(parse_study(STUDY, "tiny.yaml"))
    cache = samples.DataCache(size=1)
    first = cache.load(planned[0].config)
    assert cache.load(planned[1].config) is first
    cache.load(planned[2].config)
    assert cache.load(planned[0].config) is not first


def test_the_command_prints_and_writes_the_table(tmp_path, capsys):
    arguments = ["--out", str(tmp_path / "out"), "--rows", "raw", "--seeds", "3", "epochs=1", "dataset.train.count=60"]
    command.run_ablation(ablation.parse_arguments(arguments))
    printed = capsys.readouterr()
    assert re.search(
        r"^raw +0.1549 \(a\) +0\.\d{4} +[+-]0\.\d{4} +not comparable +base +1/1 +44,726 ", printed.out, re.MULTILINE
    )
    assert "[1/1] raw, seed 3: val macro f1 0." in printed.err
    rows = list(csv.DictReader((tmp_path / "out" / "table.csv").open()))
    assert [row["row"] for row in rows] == ["raw"] and float(rows[0]["val_macro_f1_mean"]) > 0
    assert "| raw | 0.1549 (a) |" in (tmp_path / "out" / "table.md").read_text()


def test_results_are_summarised_once_for_the_table_and_the_page(tmp_path, monkeypatch):
    calls = []

    def counted(pairs):
        calls.append(pairs)
        return compare(pairs)

    monkeypatch.setattr(summaries, "compare", counted)
    (tmp_path / "tiny.yaml").write_text(STUDY)
    arguments = ["--study", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "out"), "--seeds", "0", "epochs=1"]
    assert command.run_ablation(ablation.parse_arguments(arguments)) == 0
    assert len(calls) == 1 and (tmp_path / "out" / "table.md").exists()
    assert (tmp_path / "out" / "report.html").exists() == (find_spec("jinja2") is not None)


def test_results_of_other_code_are_announced_and_trained_again(finished, capsys, monkeypatch, tmp_path):
    study = tmp_path / "tiny.yaml"
    study.write_text(STUDY)
    arguments = ["--study", str(study), "--out", str(tmp_path / "out"), "--rows", "raw", "--seeds", "0", "epochs=1"]
    assert command.run_ablation(ablation.parse_arguments(arguments)) == 0
    assert "other code" not in capsys.readouterr().err
    for module in ("tasks.keys", "records.store"):
        monkeypatch.setattr(f"experiments.{module}.code_hash", lambda: "other code")
    assert command.run_ablation(ablation.parse_arguments([*arguments, "--accept-code"])) == 0
    assert "(on record)" in capsys.readouterr().err
    assert command.run_ablation(ablation.parse_arguments(arguments)) == 0
    told = capsys.readouterr().err
    assert "1 result on record came from other code" in told and "(on record)" not in told


def test_a_runner_that_is_refused_leaves_what_was_asked_for_alone(tmp_path):
    study = tmp_path / "tiny.yaml"
    study.write_text(STUDY)
    arguments = ["--study", str(study), "--out", str(tmp_path / "out"), "--no-report"]
    with only_runner(tmp_path / "out"), pytest.raises(UserError, match="another runner"):
        command.run_ablation(ablation.parse_arguments([*arguments, "--rows", "raw"]))
    assert not (tmp_path / "out" / "study.json").exists()
    one = ["--rows", "raw", "--seeds", "0", "epochs=1"]
    assert command.run_ablation(ablation.parse_arguments([*arguments, *one])) == 0
    before = (tmp_path / "out" / "study.json").read_bytes()
    assert json.loads(before)["rows"] == ["raw"]
    with only_runner(tmp_path / "out"), pytest.raises(UserError, match="another runner"):
        command.run_ablation(ablation.parse_arguments(arguments))
    assert (tmp_path / "out" / "study.json").read_bytes() == before


def test_lines_and_bar_count_what_is_on_record(capsys):
    planned = [Run("raw", seed, parse_study(STUDY, "tiny.yaml").rows[0].config) for seed in (0, 1, 2)]
    ends = [
        ({"status": "finished", "metrics": {"val_macro_f1": 0.25}}, True),
        ({"status": "finished", "metrics": {"val_macro_f1": 0.75}, "seconds": 3.0}, False),
        ({"status": "failed", "error": "no memory"}, False),
    ]
    for progress in (Lines(planned, "val_macro_f1"), Bar(planned, "val_macro_f1")):
        for each, (end, repeated) in zip(planned, ends, strict=True):
            progress.start(each)
            for epoch in () if repeated else (1, 2):
                progress.epoch(each, {"epoch": epoch})
            progress.finish(each, Result(each.key, "raw", each.seed, **end), repeated)
        progress.close()
    shown = capsys.readouterr().err
    assert "[1/3] raw, seed 0: val macro f1 0.2500 (on record)" in shown
    assert "[2/3] raw, seed 1: val macro f1 0.7500 (3.0 s); about 0 s left" in shown
    assert shown.count("raw, seed 2: FAILED: no memory") == 2
    assert "6/6" in shown


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_the_first_seed_of_each_row_learned_is_drawn_where_it_was_trained(tmp_path, jobs, monkeypatch):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    if jobs > usable_cores():
        pytest.skip("needs two usable cores")
    study, store, folder = parse_study(STUDY, "tiny.yaml"), Store(tmp_path / "study"), tmp_path / "figures"
    graph = planned_graph(study, store)
    executor = Processes(jobs) if jobs > 1 else None
    results = runner.run_graph(graph, store, Listener(), executor=executor, pictures=folder)
    assert [each.status for each in results] == ["finished"] * 4
    first = {task.run.key for task in graph.rows if task.run.seed == 0}
    assert {each.name.split("-")[0] for each in folder.iterdir()} == {key[:12] for key in first}
    monkeypatch.setattr(learned, "_drawings", None)  # cannot be called: all are kept
    for task in graph.rows[::2]:
        kept = learned.kept_pictures(task.run.key, store.folder(task.run), folder, samples.DataCache())
        assert list(kept) == ["confusion", "mistakes", "filters", "features"]


def test_a_drawing_that_fails_costs_the_run_nothing(tmp_path, monkeypatch):
    def broken(folder, data):
        raise ValueError("cannot be drawn")

    monkeypatch.setattr(learned, "_drawings", broken)
    study, store = parse_study(STUDY, "tiny.yaml", ["epochs=1"]), Store(tmp_path / "study")
    results = runner.run_graph(planned_graph(study, store), store, Listener(), pictures=tmp_path / "figures")
    assert [each.status for each in results] == ["finished"] * 4 and not (tmp_path / "figures").exists()
