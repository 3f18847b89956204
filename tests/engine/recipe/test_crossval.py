"""Cross-validation: every fold as a run of its own would be, the epochs that they find, and resuming anywhere."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import engine
from engine import crossval as command
from engine import train as train_command
from engine.cli import run
from engine.errors import UserError
from engine.network.checkpoint import weights_hash
from engine.plots.curves import read_log
from engine.plots.gather import find_config
from engine.recipe.crossval import chosen_epochs, spread
from engine.training.folder import find_checkpoint
from engine.training.trainer import Trainer
from tests.engine.small import small_config, write_archive

FOLDERS = ["fold-0", "fold-1", "fold-2", "final-seed0", "final-seed4"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with a configuration of three folds."""
    monkeypatch.chdir(tmp_path)
    archive = write_archive(tmp_path / "set.npz", 96)
    settings = small_config(archive) | {
        "dataset": {"name": "npz", "train": {"path": str(archive)}, "test": {"path": str(archive)}},
        "split": {"folds": 3},
        "schedule": {"name": "Cosine", "total": 24},
        "early_stopping": {"patience": 1, "metric": "val_loss"},
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


def call(monkeypatch, capsys, *arguments, main=command.main):
    """Run the command in this process: exit status, standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
    threads = engine.get_num_threads()
    status = run(main)
    engine.set_num_threads(threads)
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def weights(folder):
    return weights_hash(engine.load(folder / "last.safetensors"))


def without_seconds(record):
    if isinstance(record, list):
        return [without_seconds(each) for each in record]
    if not isinstance(record, dict):
        return record
    return {key: without_seconds(value) for key, value in record.items() if key != "seconds"}


def test_the_epochs_are_the_mean_rounded():
    assert chosen_epochs([7, 8, 9]) == 8
    assert chosen_epochs([1, 2]) == 2  # 1.5
    assert chosen_epochs([1, 1, 2]) == 1
    assert chosen_epochs([1]) == 1


def test_mean_and_standard_deviation():
    values = [0.989167, 0.988417, 0.989333, 0.987750, 0.991333]  # the folds of the MNIST report: 98.92 ± 0.13
    found = spread(values)
    assert round(found.mean, 4) == 0.9892 and round(found.std, 4) == 0.0013
    assert found.std == pytest.approx(np.std(values, ddof=1))
    assert spread([2.0]).std is None


def test_folds_then_a_final_training_on_everything(place, monkeypatch, capsys):
    status, out, err = call(monkeypatch, capsys, "small.yaml", "--seeds", "0,4", "--out", "cv")
    assert status == 0, err
    record = json.loads((place / "cv" / "crossval.json").read_text())
    assert sorted(path.name for path in (place / "cv").iterdir() if path.is_dir()) == sorted(FOLDERS)
    assert [fold["fold"] for fold in record["folds"]] == [0, 1, 2]
    best = [fold["best_epoch"] for fold in record["folds"]]
    assert record["epochs"] == chosen_epochs(best)
    assert record["best"]["val_accuracy"]["mean"] == pytest.approx(
        np.mean([fold["best"]["val_accuracy"] for fold in record["folds"]])
    )
    for fold in record["folds"]:
        log = [json.loads(line) for line in (place / "cv" / f"fold-{fold['fold']}" / "log.jsonl").open()]
        assert len(log) == fold["epochs"] and log[fold["best_epoch"] - 1]["val_loss"] == fold["best"]["val_loss"]
        assert log[-1]["val_accuracy"] == fold["last"]["val_accuracy"]
    assert [final["seed"] for final in record["finals"]] == [0, 4]
    final = json.loads((place / "cv" / "final-seed4" / "result.json").read_text())
    assert record["finals"][1]["test"]["accuracy"] == final["test_accuracy"]
    last = json.loads((place / "cv" / "final-seed4" / "log.jsonl").read_text().splitlines()[-1])
    assert last["epoch"] == record["epochs"] and last["step"] == record["epochs"] * 96 // 16
    assert "test accuracy: " in out and "val_macro_f1: " in out


@pytest.mark.parametrize("preparation", ["preprocess={}", "preprocess.standardise=set"])
def test_a_fold_is_the_run_that_the_training_command_makes(place, monkeypatch, capsys, preparation):
    assert call(monkeypatch, capsys, "small.yaml", preparation, "--no-final", "--out", "cv")[0] == 0
    overrides = [preparation, "split={kind: folds, folds: 3, fold: 1}", "dataset.test=false", "--out", "alone"]
    assert call(monkeypatch, capsys, "small.yaml", *overrides, main=train_command.main)[0] == 0
    assert weights(place / "cv" / "fold-1") == weights(place / "alone")
    assert not (place / "cv" / "final-seed0").exists()


def test_a_file_of_folds_serves_both_commands(place, monkeypatch, capsys):
    split = "split={kind: folds, folds: 3, fold: 1, seed: 5, file: folds.json}"
    assert call(monkeypatch, capsys, "small.yaml", split, "--no-final", "--out", "cv")[0] == 0
    assert (place / "folds.json").is_file()
    overrides = [split.replace("seed: 5", "seed: 6"), "dataset.test=false", "--out", "alone"]  # the file decides
    status, _, err = call(monkeypatch, capsys, "small.yaml", *overrides, main=train_command.main)
    assert status == 0, err
    assert weights(place / "cv" / "fold-1") == weights(place / "alone")


class CutOff(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("steps", [3, 11, 30])
def test_cut_off_anywhere_and_resumed_gives_the_same_bits(place, monkeypatch, capsys, steps):
    whole = ["small.yaml", "early_stopping=false", "epochs=3", "checkpoint_every=2", "--seeds", "0,4"]
    assert call(monkeypatch, capsys, *whole, "--out", "whole")[0] == 0
    step, done = Trainer.step, []

    def counted(self, x, y):
        done.append(1)
        if len(done) > steps:
            raise CutOff
        return step(self, x, y)

    monkeypatch.setattr(Trainer, "step", counted)
    with pytest.raises(CutOff):
        call(monkeypatch, capsys, *whole, "--out", "parts")
    monkeypatch.setattr(Trainer, "step", step)
    assert call(monkeypatch, capsys, *whole, "--out", "parts")[0] == 2  # not without --resume
    assert call(monkeypatch, capsys, *whole, "--out", "parts", "--resume")[0] == 0
    for name in FOLDERS:
        assert weights(place / "parts" / name) == weights(place / "whole" / name), name
    first, second = (json.loads((place / name / "crossval.json").read_text()) for name in ("whole", "parts"))
    assert without_seconds(first) == without_seconds(second)


def test_the_folder_names_the_network_that_is_meant(place, monkeypatch, capsys):
    """As a checkpoint, and where curves and a configuration are looked for."""
    _, out, _ = call(monkeypatch, capsys, "small.yaml", "--out", "cv", "--seeds", "0,4")
    assert out.endswith("written: cv (to predict: cv/final-seed0, cv/final-seed4)\n")
    holds = "cv: holds no run but a cross-validation; give cv/final-seed0, which was trained on all samples"
    for look in (find_checkpoint, find_config, read_log):
        with pytest.raises(UserError, match=f"^{holds}$"):
            look(Path("cv"))
    for name in ("final-seed0", "final-seed4"):
        shutil.rmtree(f"cv/{name}")
    with pytest.raises(UserError, match="^cv: holds no run but a cross-validation; give cv/fold-0 or another of 3$"):
        find_checkpoint(Path("cv"))
    _, out, _ = call(monkeypatch, capsys, "small.yaml", "--out", "cv", "--resume", "--no-final")
    assert out.endswith("written: cv\n")


def test_what_has_ended_is_not_repeated(place, monkeypatch, capsys):
    assert call(monkeypatch, capsys, "small.yaml", "--out", "cv")[0] == 0
    before = (place / "cv" / "crossval.json").read_bytes()

    def step(self, x, y):
        raise AssertionError("trained again")

    monkeypatch.setattr(Trainer, "step", step)
    status, _, err = call(monkeypatch, capsys, "small.yaml", "--out", "cv", "--resume")
    assert status == 0, err
    assert (place / "cv" / "crossval.json").read_bytes() == before


def test_final_trainings_of_other_seeds_stay_in_the_record(place, monkeypatch, capsys):
    assert call(monkeypatch, capsys, "small.yaml", "--seeds", "0,4", "--out", "cv")[0] == 0
    record = json.loads((place / "cv" / "crossval.json").read_text())
    for arguments, seeds in ((["--seeds", "4"], [4, 0]), (["--seeds", "7"], [7, 0, 4]), (["--no-final"], [0, 4, 7])):
        status, out, err = call(monkeypatch, capsys, "small.yaml", *arguments, "--out", "cv", "--resume")
        assert status == 0, err
        again = json.loads((place / "cv" / "crossval.json").read_text())
        assert [final["seed"] for final in again["finals"]] == seeds
        assert {final["seed"]: final for final in again["finals"]}[0] == record["finals"][0]
        assert all(f"cv/final-seed{seed}" in out.splitlines()[-1] for seed in seeds)
    (place / "cv" / "final-seed7" / "result.json").unlink()  # as of one that was cut off
    assert call(monkeypatch, capsys, "small.yaml", "--out", "cv", "--resume")[0] == 0
    assert [final["seed"] for final in json.loads((place / "cv" / "crossval.json").read_text())["finals"]] == [0, 4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["split.folds=50"], "small.yaml: folds must be from 2 to the samples of the smallest class .'"),
        (["split.folds=1"], "folds must be 2 or more"),
        (["schedule={name: ReduceLROnPlateau, metric: val_loss}"], "small.yaml: schedule: the metric val_loss needs"),
        (["pseudo_labels={checkpoints: [a], images: [b]}"], "small.yaml: pseudo_labels: no fold may be validated"),
        (["--seeds", "1,x"], "--seeds: expected whole numbers"),
        (["--seeds", "1,1"], "a seed is given twice"),
        (["early_stopping.patence=2"], "did you mean 'patience'"),
    ],
)
def test_mistakes_print_one_line_and_write_nothing(place, monkeypatch, capsys, arguments, message):
    status, _, err = call(monkeypatch, capsys, "small.yaml", *arguments)
    assert status == 2 and err.startswith("error: ") and err.count("\n") == 1
    assert re.search(message, err), err
    assert not (place / "runs").exists()


def test_a_folder_of_something_else_is_left_alone(place, monkeypatch, capsys):
    assert call(monkeypatch, capsys, "small.yaml", "--no-final", "--out", "cv")[0] == 0
    for arguments, message in (
        (["--out", "cv/fold-0", "--resume"], "holds a single run"),
        (["--out", "cv", "--resume", "optimizer.lr=0.1"], "optimizer.lr = .*, now it is 0.1"),
        (["--out", "cv", "--resume", "split.folds=4"], "other data"),
        (["--out", "cv", "--resume", "epochs=1"], "fold-0: the run has . epochs behind it, more than epochs = 1"),
    ):
        status, _, err = call(monkeypatch, capsys, "small.yaml", "--no-final", *arguments)
        assert status == 2 and err.count("\n") == 1 and re.search(message, err), err


def test_plateaus_are_for_folds_only(place, monkeypatch, capsys):
    overrides = ["schedule={name: ReduceLROnPlateau, metric: val_loss}", "--no-final"]
    assert call(monkeypatch, capsys, "small.yaml", *overrides)[0] == 0
    assert (place / "runs" / "small-crossval" / "crossval.json").is_file()
