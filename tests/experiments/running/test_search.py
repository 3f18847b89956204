"""A search by Optuna over tiny runs: on record, cut off, pruned, diverged, and mistakes in the file."""

import pytest

from engine.errors import UserError
from experiments import ablation, command
from experiments.records.store import Store
from experiments.report.render import terminal
from experiments.report.search import search_table
from experiments.running import execute
from experiments.running.search import best_trial, run_search
from experiments.study.read import load_study, parse_study

pytest.importorskip("optuna", reason="needs Optuna (extra [search])")

STUDY = """
name: tiny
title: A tiny search
metric: val_accuracy
seeds: [3, 4]
base:
  dataset: {name: digits5k, train: {count: 60}}
  preprocess: {colour: true, size: [28, 28]}
  split: {kind: fraction, fraction: 0.5, stratify: [label], seed: 0}
  model: {name: lenet}
  optimizer: {name: SGD, lr: 0.01, momentum: 0.9}
  batch_size: 8
  epochs: 4
rows:
  - {name: first, base: true}
search:
  row: first
  trials: 5
  startup_trials: 2
  warmup_epochs: 1
  space:
    optimizer.lr: {log: [0.000001, 0.1]}
    batch_size: {choice: [8, 16]}
"""


@pytest.fixture
def trained(monkeypatch):
    """The seeds and learning rates of trainings, as they begin."""
    begun = []
    original = execute.fit_and_test

    def counting(config, *arguments, **options):
        begun.append((config.seed, config.optimizer["lr"]))
        return original(config, *arguments, **options)

    monkeypatch.setattr(execute, "fit_and_test", counting)
    return begun


def without_seconds(trials):
    return [(each.number, each.values, each.status, each.value, each.epochs) for each in trials]


def test_the_same_search_again_trains_nothing(tmp_path, trained):
    study, heard = parse_study(STUDY, "tiny.yaml"), []
    trials = run_search(study, Store(tmp_path), heard.append)
    assert heard == trials and [each.number for each in trials] == [0, 1, 2, 3, 4]
    assert len(trained) == 5 and {seed for seed, _ in trained} == {3}
    assert all(1e-6 <= each.values["optimizer.lr"] <= 0.1 and each.values["batch_size"] in (8, 16) for each in trials)
    assert run_search(study, Store(tmp_path)) == trials and len(trained) == 5
    assert any(each.status == "finished" for each in trials)


def test_a_search_that_was_cut_off_goes_on_to_the_same_trials(tmp_path, trained):
    study = parse_study(STUDY, "tiny.yaml")
    whole = run_search(study, Store(tmp_path / "whole"))

    def stop(trial):
        if trial.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_search(study, Store(tmp_path / "parts"), stop)
    assert len(trained) == 8
    assert without_seconds(run_search(study, Store(tmp_path / "parts"))) == without_seconds(whole)
    assert len(trained) == 10


def test_a_trial_cut_off_in_mid_training_goes_on(tmp_path, monkeypatch):
    study = parse_study(STUDY.replace("trials: 5", "trials: 2"), "tiny.yaml")
    whole = run_search(study, Store(tmp_path / "whole"))
    original = execute.fit_and_test

    def cut_off(config, *arguments, callbacks, **options):
        def after_two(record):
            if record["epoch"] == 2:
                raise KeyboardInterrupt

        return original(config, *arguments, callbacks=[*callbacks, after_two], **options)

    monkeypatch.setattr(execute, "fit_and_test", cut_off)
    with pytest.raises(KeyboardInterrupt):
        run_search(study, Store(tmp_path / "parts"))
    monkeypatch.setattr(execute, "fit_and_test", original)
    assert without_seconds(run_search(study, Store(tmp_path / "parts"))) == without_seconds(whole)


def test_a_bad_trial_is_pruned_and_leaves_no_result(tmp_path):
    text = STUDY.replace("{log: [0.000001, 0.1]}", "{choice: [0.05, 0.0000001]}").replace("trials: 5", "trials: 8")
    study = parse_study(text, "tiny.yaml")
    store = Store(tmp_path)
    trials = run_search(study, store)
    pruned = [each for each in trials if each.status == "pruned"]
    assert pruned and all(each.epochs < 4 and each.value is None for each in pruned)
    finished = {repr(each.values) for each in trials if each.status == "finished"}
    assert len(store.records()) == len(finished)
    unpruned = run_search(parse_study(text.replace("warmup_epochs: 1", "prune: false"), "tiny.yaml"), store)
    assert {each.status for each in unpruned} == {"finished"}


def test_a_trial_that_diverges_is_marked_and_the_search_goes_on(tmp_path):
    study = parse_study(STUDY.replace("{log: [0.000001, 0.1]}", "{choice: [1.0e+30, 0.01]}"), "tiny.yaml")
    trials = run_search(study, Store(tmp_path))
    diverged = [each for each in trials if each.status == "diverged"]
    assert diverged and all("step" in each.error for each in diverged)
    best = best_trial(study, trials)
    assert best is not None and best.values["optimizer.lr"] == 0.01
    assert best.value == max(each.value for each in trials if each.value is not None)


def test_a_damaged_log_ends_the_search_only_where_no_checkpoint_tells_the_epochs(tmp_path):
    study, store = parse_study(STUDY.replace("trials: 5", "trials: 1"), "tiny.yaml"), Store(tmp_path)
    before = run_search(study, store)
    (log,) = tmp_path.glob("runs/*/log.jsonl")
    log.write_text(f"nonsense\n{log.read_text()}")
    assert run_search(study, store) == before
    for name in ("last", "previous"):
        log.with_name(f"{name}.safetensors").unlink()
    with pytest.raises(UserError, match=r"log\.jsonl, line 1: is damaged"):
        run_search(study, store)


def test_the_command_prints_the_trials(tmp_path, capsys):
    (tmp_path / "tiny.yaml").write_text(STUDY.replace("trials: 5", "trials: 2"))
    arguments = ["--study", str(tmp_path / "tiny.yaml"), "--search", "--out", str(tmp_path / "out"), "epochs=1"]
    command.run_ablation(ablation.parse_arguments(arguments))
    printed = capsys.readouterr()
    assert "best: trial" in printed.out and "[2/2] trial 1" in printed.err
    assert (tmp_path / "out" / "search.csv").read_text().startswith("trial,optimizer.lr,batch_size,val_accuracy,status")


def test_the_table_of_a_search_names_the_best(tmp_path):
    study = parse_study(STUDY.replace("trials: 5", "trials: 2"), "tiny.yaml", ["epochs=1"])
    table = search_table(study, run_search(study, Store(tmp_path)))
    assert table.title == "A tiny search: search from first (budget: full)" and table.column("trial") == (0, 1)
    assert "with several seeds" in terminal(table).replace("\n  ", " ")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("row: first", "row: frist", "unknown row 'frist'.*did you mean 'first'"),
        ("{log: [0.000001, 0.1]}", "{log: [0, 0.1]}", "space.optimizer.lr: log takes numbers above 0"),
        ("{log: [0.000001, 0.1]}", "{uniform: [0.1, 0.01]}", "uniform takes two numbers, the lower one first"),
        ("{log: [0.000001, 0.1]}", "{integer: [0.1, 1]}", "integer takes two whole numbers"),
        ("{log: [0.000001, 0.1]}", "{lgo: [1, 2]}", "unknown kind of range 'lgo'.*did you mean 'log'"),
        ("{log: [0.000001, 0.1]}", "0.1", "expected one of"),
        ("{choice: [8, 16]}", "{choice: []}", "expected a list of values"),
        ("{choice: [8, 16]}", "{choice: [8, many]}", "space.batch_size: .*batch_size"),
        ("    batch_size:", "    batchsize:", "unknown key 'batchsize'.*did you mean 'batch_size'"),
        ("trials: 5", "trials: 0", "trials must be 1 or more"),
        ("metric: val_accuracy", "metric: test_accuracy", "unknown metric .*'test_accuracy'"),
        ("  trials: 5", "  trails: 5", "unknown key 'trails'"),
    ],
)
def test_a_mistake_in_the_search_is_named(old, new, message):
    assert old in STUDY
    with pytest.raises(UserError, match=message):
        parse_study(STUDY.replace(old, new), "tiny.yaml")


def test_a_study_without_a_search_says_so(tmp_path):
    study = parse_study(STUDY[: STUDY.index("search:")], "tiny.yaml")
    with pytest.raises(UserError, match="study tiny has no search"):
        run_search(study, Store(tmp_path))


def test_the_search_that_comes_with_the_package_is_well_formed():
    search = load_study("quickstart").search
    assert search is not None and search.ranges
