"""The commands on training methods, in small: 5,000 digits in place of the reports' sets, and an epoch or two."""

import json
from pathlib import Path

import numpy as np
import pytest

import engine
from engine.cli import run
from engine.network.checkpoint import read
from engine.recipe.crossval import CrossValidation, Final, Fold
from engine.training.trainer import Trainer
from experiments.methods import common, mnist_crossval, numtadb_rows, pseudo_labels, transfer_mnist
from experiments.methods.common import Trained, difference, difference_text
from experiments.records.result import Result
from experiments.records.store import Store
from experiments.study.read import load_study
from experiments.tasks.graph import Graph

FEW = "dataset={name: digits5k, train: {count: 120}, test: {count: 60, seed: 1}}"
SHEETS = "dataset={name: digits5k, train: {count: 600}, test: {count: 60, seed: 1}}"
TENTH = f"{SHEETS[:-1]}, labelled_fraction: 0.1}}"


@pytest.fixture(autouse=True)
def threads():
    before = engine.get_num_threads()
    yield
    engine.set_num_threads(before)


@pytest.fixture
def untrainable(monkeypatch):
    """From now on a training step is an error."""

    def forbid():
        def step(self, x, y):
            raise AssertionError("trained again")

        monkeypatch.setattr(Trainer, "step", step)

    return forbid


def fold(number, best, last, best_epoch=3):
    values = [{"val_loss": 0.1, "val_accuracy": accuracy} for accuracy in (best, last)]
    return Fold(number, "val_loss", 6, best_epoch, True, *values, seconds=30.0)


def final(seed, accuracy):
    return Final(seed, 3, 0.01, {"loss": 0.03, "accuracy": accuracy, "macro_f1": accuracy}, 60.0)


def trained(values):
    """The study numtadb_rows with these validation macro-F1 by row, seed by seed."""
    results = tuple(
        Result("", row, seed, "finished", {"val_macro_f1": value, "test_macro_f1": value / 2})
        for row, found in values.items()
        for seed, value in enumerate(found)
    )
    return Trained(load_study("numtadb_rows"), Store(Path()), Graph((), ()), results)


# ---- figures ----


def test_bars_of_the_cross_validation():
    def verdict(folds, finals):
        result = CrossValidation(
            tuple(fold(number, value, 0.5) for number, value in enumerate(folds)), 3, tuple(map(final, (0, 1), finals))
        )
        return mnist_crossval.verdict(result)

    good, lines = verdict([0.989, 0.989], [0.991, 0.992])
    assert good and all("yes" in line for line in lines)
    assert not verdict([0.987, 0.988], [0.991, 0.992])[0]
    good, lines = verdict([0.989, 0.989], [0.980, 0.992])
    assert not good and "NO" in lines[1] and "0.9860" in lines[1]


def test_the_published_folds_have_the_published_mean():
    study = load_study("mnist")
    found = common.mean(mnist_crossval.published_folds(study))
    assert (round(found.mean, 4), round(found.std, 4), found.count) == (0.9892, 0.0013, 5)
    assert mnist_crossval.published_epochs(study) == 9


def test_rows_are_compared_in_pairs_of_the_same_seed():
    values = {row.name: [0.5, 0.5] for row in load_study("numtadb_rows").rows}
    lines = numtadb_rows.comparisons(trained(values | {"raw": [0.90, 0.94], "Reverse": [0.91, 0.95]}))
    assert lines[0].startswith("Reverse less raw, validation macro-F1: +0.0100 ± 0.0000")
    assert lines[1].startswith("Reverse less raw, test macro-F1: +0.0050 ± 0.0000")
    assert len(lines) == 2 * (len(values) - 1)


def test_the_bar_of_the_rows_counts_those_with_bbox():
    values = {
        row.name: [0.97 if "bbox" in row.config.preprocess.to_dict()["steps"] else 0.5]
        for row in load_study("numtadb_rows").rows
    }
    good, lines = numtadb_rows.verdict(trained(values))
    assert good and len(lines) == 3
    assert not numtadb_rows.verdict(trained(values | {"BBox+Reverse+Dilation+Mixup": [0.959]}))[0]


def test_an_interval_in_words():
    assert difference_text(difference([0.2], [0.1])) == "+0.1000 (one pair has no interval)"
    text = difference_text(difference([0.2, 0.3, 0.4], [0.1, 0.1, 0.1]))
    assert text == "+0.2000 ± 0.2484 (95 %, 3 pairs, Student's t)"  # t(0.975; 2) = 4.303, std 0.1


# ---- the commands ----


def test_cross_validation_and_final_trainings(tmp_path: Path, capsys, untrainable):
    arguments = ["--epochs", "2", "--seeds", "3,4", "--out", str(tmp_path), FEW, "preprocess.size=[28, 28]"]
    arguments += ["split.folds=2", "threads=1"]
    assert mnist_crossval.main(arguments) == 1  # so few digits do not reach the bars
    out, err = capsys.readouterr()
    assert "[4/4] final training, seed 4" in err and "0.9892 ± 0.0013" in out and "0.9918" in out
    untrainable()
    assert mnist_crossval.main(arguments) == 1
    assert capsys.readouterr().out == out


def run_folder(out: Path, name: str) -> Path:
    """The folder of the only run whose name begins like this."""
    [folder] = (out / "runs").glob(f"{name}-*")
    return folder


def test_numtadb_rows(tmp_path: Path, capsys, untrainable):
    arguments = ["--epochs", "1", "--seeds", "0", "--out", str(tmp_path), SHEETS, "split.stratify=[label]", "threads=1"]
    assert numtadb_rows.main(arguments) == 1
    out, err = capsys.readouterr()
    rows = load_study("numtadb_rows").rows
    assert f"[6/6] {rows[-1].name}, seed 0" in err
    lines = out.splitlines()
    for row in rows:
        value = f"{row.published['val_macro_f1'].value:.4f}"
        assert any(line.startswith(row.name) and value in line for line in lines), row.name
    mixed = read(run_folder(tmp_path, "bbox-reverse-dilation-mixup-seed0") / "last.safetensors")
    assert mixed.training["settings"]["augmentation"]["mixup"] == pytest.approx(0.2)
    untrainable()
    assert numtadb_rows.main(arguments) == 1
    assert capsys.readouterr().out == out


def test_transfer(tmp_path: Path, capsys, untrainable):
    small = ["model.arguments.dense_units=8", "split.fraction=0.2", "epochs=1", "threads=1"]
    arguments = ["--seeds", "5", "--epochs", "2", "--out", str(tmp_path), FEW, *small]
    assert transfer_mnist.main(arguments) == 0
    out, err = capsys.readouterr()
    assert "[4/4] MNIST pretrained, seed 5" in err and "one pair has no interval" in out
    assert "0.9733" in out and "0.9848" in out and "0.9871" not in out  # two of the report's three epochs
    characters, digits = (run_folder(tmp_path, name) / "best.safetensors" for name in ("62-characters", "digits"))
    shapes = [read(path).parameters["25.weights"].shape[0] for path in (characters, digits)]
    assert shapes == [62, 10]
    initialized = read(run_folder(tmp_path, "mnist-pretrained") / "last.safetensors").training["initialized"]
    assert initialized["checkpoint"] == str(digits) and initialized["loaded"] and not initialized["kept"]
    untrainable()
    assert transfer_mnist.main(arguments) == 0
    assert capsys.readouterr().out == out


def test_pseudo_labels(tmp_path: Path, capsys, untrainable):
    arguments = ["--epochs", "6", "--seeds", "0,7", "--out", str(tmp_path), TENTH, "split.stratify=[label]"]
    arguments += ["batch_size=16", "threads=1"]
    assert pseudo_labels.main(arguments) == 0
    out, err = capsys.readouterr()
    assert "[8/8] student with pseudo-labels, seed 7" in err and "(95 %, 2 pairs, Student's t)" in out
    assert "from 0.966 to 0.9704" in out
    for seed in (0, 7):
        folder = run_folder(tmp_path, f"student-with-pseudo-labels-seed{seed}")
        labels = json.loads((folder / "result.json").read_text())["pseudo_labels"]["stripped"]
        assert labels["asked"] == 540 and 0 < labels["kept"] <= 540 and 0 <= labels["right"] <= labels["kept"]
    steps = [
        read(run_folder(tmp_path, f"{name}-seed{seed}") / "last.safetensors").training["position"]["step"]
        for name, seed in (("a-tenth-of-the-labels", 0), ("second-teacher", 1007), ("student-with-pseudo-labels", 0))
    ]
    assert steps[:2] == [60 * np.ceil(48 / 16)] * 2 and steps[2] > 6 * 3
    untrainable()
    assert pseudo_labels.main(arguments) == 0
    assert capsys.readouterr().out == out


def test_the_first_run_that_fails_is_the_last(tmp_path: Path, capsys):
    # digits5k has no column "database" to divide by.
    assert run(lambda: numtadb_rows.main(["--seeds", "0", "--out", str(tmp_path), SHEETS])) == 2
    failed, error = capsys.readouterr().err.splitlines()
    assert failed.startswith("[1/6] raw, seed 0: FAILED: ")
    assert error.startswith("error: raw, seed 0: failed: ") and "'database'" in error


@pytest.mark.parametrize("command", [mnist_crossval, numtadb_rows, transfer_mnist, pseudo_labels])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "0"], "--epochs must be 1 or more"),
        (["--seeds", "0,0"], "a seed is given twice"),
        (["optimizer.lr=quick"], "optimizer: lr: expected float"),
        (["seed=9"], "seed: a study's seeds stand under 'seeds' (or --seeds)"),
        (["--data-root", "/nowhere"], "/nowhere/"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, capsys, command, arguments, message):
    assert run(lambda: command.main([*arguments, "--out", str(tmp_path / "out")])) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1 and message in err, err
    assert not (tmp_path / "out").exists()
