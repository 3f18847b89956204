"""The paired study of accuracies: its verdict, its settings, and a tiny run that goes on where it was cut off."""

import json
from pathlib import Path

import pytest

from engine.errors import UserError
from experiments.checks.winograd_accuracy import __main__ as command
from experiments.checks.winograd_accuracy import pairs, verdict
from experiments.checks.winograd_accuracy.pairs import Pair
from experiments.checks.winograd_accuracy.studies import ALLOWED, studies
from experiments.records.planned import planned_runs
from experiments.records.store import Store
from experiments.study.read import parse_study
from experiments.study.study import Study

TINY = """
name: tiny
title: A tiny study
metric: val_accuracy
seeds: [0, 1]
base:
  dataset: {name: digits5k, train: {sheets: false}, subset: 100}
  model: {name: mnist_cnn}
  optimizer: {name: Adam, lr: 0.001}
  schedule: {name: Cosine, total: 10}
  batch_size: 16
  epochs: 2
rows:
  - {name: auto, changes: {algorithm: auto}}
  - {name: direct, changes: {algorithm: direct}}
"""


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Study:
    found = parse_study(TINY, "tiny.yaml")
    monkeypatch.setattr(verdict, "load", lambda *arguments: found)
    return found


def test_equal_accuracies_pass_and_a_wide_or_shifted_interval_does_not() -> None:
    near = [
        Pair(seed, 99.0 + seed / 10, 99.0 + seed / 10 + step) for seed, step in enumerate((0.05, -0.05, 0.01, 0, -0.02))
    ]
    good, lines = verdict.verdict(near, allowed=0.15)
    assert good and any("contains 0: yes" in line for line in lines)
    assert not verdict.verdict(near, allowed=0.01)[0]
    worse = [Pair(each.seed, each.auto - 1.0, each.direct) for each in near]
    good, lines = verdict.verdict(worse, allowed=0.15)
    assert not good and any("contains 0: NO" in line for line in lines)
    assert not verdict.verdict(near[:1], allowed=0.15)[0]


@pytest.mark.parametrize(("name", "model", "steps"), [("mnist", "mnist_cnn", 938), ("cifar10", "vgg3", 782)])
def test_pairs_differ_by_the_algorithm_alone_and_the_cosine_ends_with_the_run(
    name: str, model: str, steps: int
) -> None:
    for epochs in (None, 2):
        auto, direct = (row.config for row in pairs.load(name, (), epochs, Path("/data")).rows)
        assert (auto.algorithm, direct.algorithm) == ("auto", "direct")
        assert {**auto.to_dict(), "algorithm": "direct"} == direct.to_dict()
        assert auto.model.name == model and auto.data_root == "/data"
        assert auto.schedule == {"name": "Cosine", "total": steps * auto.epochs}
    assert len(pairs.load(name, (), None, None).seeds) == 5
    assert pairs.load(name, (3, 7), None, None).seeds == (3, 7)


def test_a_tiny_study_is_run_and_not_repeated(tiny: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path)
    found = pairs.train_pairs(tiny, store)
    assert [each.seed for each in found] == [0, 1] and all(0 < each.auto < 100 for each in found)
    assert capsys.readouterr().err.count("on record") == 0
    assert pairs.train_pairs(tiny, store) == found
    assert capsys.readouterr().err.count("on record") == 4


def test_the_last_epoch_counts_not_the_best(tiny: Study, tmp_path: Path) -> None:
    store, each = Store(tmp_path), planned_runs(tiny)[0]
    log = store.folder(each) / "log.jsonl"
    log.parent.mkdir(parents=True)
    records = [{"epoch": 1, "val_accuracy": 0.9}, {"epoch": 2, "val_accuracy": 0.5}]
    log.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert pairs.last_accuracy(store, each) == 50.0
    log.write_text(json.dumps(records[0]) + "\n")
    with pytest.raises(UserError, match="did not reach epoch 2"):
        pairs.last_accuracy(store, each)


def test_without_winograd_there_is_nothing_to_compare(
    tiny: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not pairs.winograd_ops(tiny.rows[1].config)
    monkeypatch.setattr(verdict, "winograd_ops", lambda config: {})
    assert command.main(["--studies", "mnist", "--out", str(tmp_path)]) == 1
    assert "nothing to compare" in capsys.readouterr().out and not any(tmp_path.iterdir())


def test_unknown_studies_are_refused() -> None:
    assert studies("cifar10, mnist") == ["cifar10", "mnist"] and set(ALLOWED) == {"mnist", "cifar10"}
    with pytest.raises(SystemExit):
        command.main(["--studies", "mnits"])
