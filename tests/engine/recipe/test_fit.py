"""The training command: what it writes, and that no mistake leaves a trace or a traceback."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import engine
from engine import train as command
from engine.cli import EXIT_INTERRUPTED, run
from engine.data.dataset import Dataset
from engine.data.preprocess import Preprocess
from engine.errors import UserError
from engine.inference.evaluation import EvaluationViews
from engine.training.trainer import Trainer
from tests.engine.small import small_config, write_archive


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with a configuration."""
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path / "small.yaml", small_config(write_archive(tmp_path / "set.npz")) | {"epochs": 2})
    return tmp_path


def write_config(path, settings):
    path.write_text(yaml.safe_dump(settings))


def call(monkeypatch, capsys, *arguments):
    """Run the command in this process: exit status, standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["train", *map(str, arguments)])
    threads = engine.get_num_threads()
    status = run(command.main)
    engine.set_num_threads(threads)
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def test_a_run_lands_in_runs_under_the_configs_name(place, monkeypatch, capsys):
    status, out, _ = call(monkeypatch, capsys, "small.yaml")
    assert status == 0 and "best epoch" in out
    written = sorted(path.name for path in (place / "runs" / "small").iterdir())
    networks = ["best.safetensors", "last.safetensors", "previous.safetensors"]
    assert written == sorted([*networks, "config.yaml", "log.csv", "log.jsonl", "result.json"])
    result = json.loads((place / "runs" / "small" / "result.json").read_text())
    assert result["metric"] == "val_macro_f1" and result["best_epoch"] in (1, 2)


def test_the_written_configuration_gives_the_same_run(place, monkeypatch, capsys):
    call(monkeypatch, capsys, "small.yaml", "seed=3", "--out", "a")
    status, _, _ = call(monkeypatch, capsys, "a/config.yaml", "--out", "b")
    assert status == 0
    assert (place / "a" / "best.safetensors").read_bytes() == (place / "b" / "best.safetensors").read_bytes()


def test_a_test_part_is_measured_with_the_best_epoch(place, monkeypatch, capsys):
    overrides = ["dataset.test={path: set.npz}", "--out", "t"]
    status, out, _ = call(monkeypatch, capsys, "small.yaml", *overrides)
    assert status == 0 and "test: loss" in out
    assert 0 < json.loads((place / "t" / "result.json").read_text())["test_accuracy"] <= 1


def test_the_result_has_all_final_figures(place, monkeypatch, capsys):
    """Of the best epoch and of the last, of every part that was evaluated: what the log has of these epochs."""
    overrides = ["dataset.test={path: set.npz}", "train_metrics=true", "metric=val_macro_recall", "seed=3", "epochs=3"]
    assert call(monkeypatch, capsys, "small.yaml", *overrides, "--out", "t")[0] == 0
    result = json.loads((place / "t" / "result.json").read_text())
    log = [json.loads(line) for line in (place / "t" / "log.jsonl").read_text().splitlines()]
    names = [name for name in log[0] if name.startswith(("train_", "val_"))]
    assert {"train_loss", "train_accuracy", "val_loss", "val_macro_f1", "val_macro_recall"} <= set(names)
    best, last = log[result["best_epoch"] - 1], log[-1]
    assert result["best"] == {name: best[name] for name in names} and result["best_value"] == best["val_macro_recall"]
    assert result["last"] == {name: last[name] for name in names}
    assert result["epochs"] == 3 and result["steps"] == last["step"] and result["stopped_early"] is False
    assert result["seconds"] == pytest.approx(sum(each["seconds"] for each in log), abs=1e-3)
    assert {"test_loss", "test_accuracy", "test_macro_f1"} <= set(result)
    assert result["tested_epoch"] == result["best_epoch"] and result["seed"] == 3
    assert result["samples"] == {"training": 120, "validation": 40, "test": 160}
    assert result["classes"] == ["0", "1", "2"]
    assert result["parameters"] == engine.load(place / "t" / "best.safetensors").num_parameters


def test_the_result_says_which_epoch_was_tested_and_that_a_run_stopped_early(place, monkeypatch, capsys):
    plain = ["dataset.test={path: set.npz}", "split={kind: none}", "metric=train_loss", "schedule.name=Constant"]
    assert call(monkeypatch, capsys, "small.yaml", *plain, "--out", "plain")[0] == 0
    result = json.loads((place / "plain" / "result.json").read_text())
    assert result["tested_epoch"] == result["epochs"] == 2 and set(result["last"]) == {"train_loss"}
    early = ["epochs=9", "early_stopping={patience: 1, threshold: 10}", "--out", "early"]
    assert call(monkeypatch, capsys, "small.yaml", *early)[0] == 0
    result = json.loads((place / "early" / "result.json").read_text())
    assert result["stopped_early"] is True and result["epochs"] == 2 and "tested_epoch" not in result


@pytest.mark.parametrize(
    "overrides",
    [["split={kind: folds, folds: 4, fold: 3}"], ["split={kind: none}", "metric=train_loss", "schedule.name=Constant"]],
)
def test_other_splits(place, monkeypatch, capsys, overrides):
    assert call(monkeypatch, capsys, "small.yaml", *overrides)[0] == 0


def test_augmentation_and_the_statistics_of_the_training_part(place, monkeypatch, capsys):
    settings = ["augment={shift: 0.1, flip: 0.5, cutout: 0.2, contour_cutout: {}, rotation: 5}"]
    settings += ["preprocess.standardise=set", "checkpoint_every=2", "epochs=2"]
    status, _, _ = call(monkeypatch, capsys, "small.yaml", *settings, "--out", "whole")
    assert status == 0
    kept = engine.load(place / "whole" / "best.safetensors").preprocess
    assert len(kept["mean"]) == len(kept["std"]) == 1 and "standardise" not in kept
    # Killed after the first epoch and gone on with: the same bits.
    assert call(monkeypatch, capsys, "small.yaml", *settings, "epochs=1", "--out", "part")[0] == 0
    assert call(monkeypatch, capsys, "small.yaml", *settings, "--out", "part", "--resume")[0] == 0
    whole, part = (engine.load(place / name / "last.safetensors").parameters() for name in ("whole", "part"))
    assert all(np.array_equal(whole[name], part[name]) for name in whole)
    settings.append("augment.shift=0.2")
    status, _, error = call(monkeypatch, capsys, "small.yaml", *settings, "--out", "part", "--resume")
    assert status == 2 and "augmentation" in error


def test_subset_takes_so_many_samples(place, monkeypatch, capsys):
    call(monkeypatch, capsys, "small.yaml", "dataset.subset=64", "epochs=1")
    record = json.loads((place / "runs" / "small" / "log.jsonl").read_text())
    assert record["step"] == 64 * 3 // 4 // 16


def test_test_subset_measures_so_many_samples(place, monkeypatch, capsys):
    for count in (5, 7):
        overrides = ["dataset.test={path: set.npz}", f"dataset.test_subset={count}", "epochs=1", "--out", str(count)]
        call(monkeypatch, capsys, "small.yaml", *overrides)
        right = count * json.loads((place / str(count) / "result.json").read_text())["test_accuracy"]
        assert right == pytest.approx(round(right), abs=1e-6)


def test_a_run_is_not_overwritten(place, monkeypatch, capsys):
    call(monkeypatch, capsys, "small.yaml")
    before = {path.name: path.read_bytes() for path in (place / "runs" / "small").iterdir()}
    status, _, err = call(monkeypatch, capsys, "small.yaml", "epochs=3")
    assert status == 2 and "--resume" in err and "--out" in err
    assert {path.name: path.read_bytes() for path in (place / "runs" / "small").iterdir()} == before
    status, out, _ = call(monkeypatch, capsys, "small.yaml", "epochs=3", "--resume")
    assert status == 0 and "epoch 3/3" in out and "epoch 2/3" not in out


def test_what_changes_no_result_may_change_where_a_run_begins_again(place, monkeypatch, capsys):
    """A run that was cut off before its first checkpoint has its configuration alone to be known by."""
    call(monkeypatch, capsys, "small.yaml")
    out = place / "runs" / "small"
    weights = (out / "best.safetensors").read_bytes()
    for name in ("last", "previous"):
        (out / f"{name}.safetensors").unlink()
    for other in ("batch_size=8", "train_metrics=true", "metric=val_loss", "seed=1", "label_noise.rate=0.1"):
        status, _, err = call(monkeypatch, capsys, "small.yaml", other, "--resume")
        assert status == 2 and re.search(rf"the run was started with {re.split('[.=]', other)[0]} = .*, now it is", err)
    free = ["checkpoint_path=b.safetensors", "gt_csv=truth.csv", "cache=false", "strict=true", "threads=1", "out=other"]
    free += ["data_root=other", "checkpoint_every=99", "checkpoint_seconds=9"]
    status, shown, _ = call(monkeypatch, capsys, "small.yaml", *free, "--out", out, "--resume")
    assert status == 0 and "epoch 1/2" in shown and (out / "best.safetensors").read_bytes() == weights
    assert yaml.safe_load((out / "config.yaml").read_text())["gt_csv"] == "truth.csv"


def trained(out):
    """All files of a run but its lock."""
    return {path.name: path.read_bytes() for path in out.iterdir() if path.name != ".lock"}


@pytest.mark.parametrize("more", [[], ["early_stopping={patience: 1, metric: val_loss, threshold: 9}"]])
def test_fewer_epochs_than_a_run_has_are_refused(place, monkeypatch, capsys, more):
    """By an override, or by the file itself where an override asked for more before."""
    call(monkeypatch, capsys, "small.yaml", *more, "epochs=4")
    out = place / "runs" / "small"
    before, count = trained(out), len((out / "log.csv").read_text().splitlines()) - 1
    assert count == (2 if more else 4)
    for fewer in [["epochs=1"], *([] if more else [[], ["epochs=3"]])]:
        status, shown, err = call(monkeypatch, capsys, "small.yaml", *more, *fewer, "--resume")
        asked = int((fewer or ["epochs=2"])[0][-1])
        assert status == 2 and shown == "" and err.count("\n") == 1
        assert f"has {count} epochs behind it, more than epochs = {asked}" in err and "--out" in err
        assert trained(out) == before


def test_an_epoch_that_was_begun_counts_when_fewer_are_asked_for(place, monkeypatch, capsys):
    """What its steps did to the weights is in no epoch of the shorter run."""

    def cut(trainer, x, y):
        if trainer.steps >= 28:
            raise KeyboardInterrupt
        return step(trainer, x, y)

    step = Trainer.step
    monkeypatch.setattr(Trainer, "step", cut)
    assert call(monkeypatch, capsys, "small.yaml", "epochs=4", "checkpoint_every=1")[0] == EXIT_INTERRUPTED
    monkeypatch.setattr(Trainer, "step", step)
    out = place / "runs" / "small"
    before, epochs = trained(out), len((out / "log.csv").read_text().splitlines()) - 1
    assert epochs > 0
    status, _, err = call(monkeypatch, capsys, "small.yaml", f"epochs={epochs}", "--resume")
    assert status == 2 and f"has {epochs} epochs and a part of the next one behind it, more than epochs" in err
    assert trained(out) == before
    assert call(monkeypatch, capsys, "small.yaml", f"epochs={epochs + 1}", "--resume")[0] == 0


def test_a_resume_that_trains_nothing_leaves_the_record_of_how_it_was_trained(place, monkeypatch, capsys):
    stops = "early_stopping={patience: 1, metric: val_loss, threshold: 9}"
    call(monkeypatch, capsys, "small.yaml", stops, "epochs=5", "threads=1")
    out = place / "runs" / "small"
    free = ["threads=2", "out=other", "data_root=other", "checkpoint_every=99", "checkpoint_seconds=9", "cache=false"]
    free += ["strict=true", "gt_csv=truth.csv", "checkpoint_path=b.safetensors", "epochs=30"]
    before = (out / "config.yaml").read_bytes()
    assert call(monkeypatch, capsys, "small.yaml", stops, *free, "--out", out, "--resume")[0] == 0
    assert (out / "config.yaml").read_bytes() == before
    # What is measured anew says with which samples.
    test = "dataset.test={path: set.npz}"
    assert call(monkeypatch, capsys, "small.yaml", stops, test, *free, "--out", out, "--resume")[0] == 0
    written = yaml.safe_load((out / "config.yaml").read_text())
    assert written["dataset"]["test"] == {"path": "set.npz"} and written["epochs"] == 5 and written["threads"] == 1
    assert "test_loss" in json.loads((out / "result.json").read_text())
    for damage in (lambda path: path.unlink(), lambda path: path.write_text("epochs: [")):
        damage(out / "config.yaml")
        assert call(monkeypatch, capsys, "small.yaml", stops, "epochs=5", "--resume")[0] == 0
        assert yaml.safe_load((out / "config.yaml").read_text())["epochs"] == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.yaml"], "none.yaml: cannot be read"),
        (["small.yaml", "epoch=3"], "did you mean 'epochs'"),
        (["small.yaml", "model.layers=[Convv2D]"], "small.yaml: unknown layer 'Convv2D'; did you mean 'Conv2D'"),
        (["small.yaml", "optimizer.lr=fast"], "small.yaml: optimizer: lr: expected float"),
        (["small.yaml", "dataset.name=mnist"], "CNN_DATA"),
        (["small.yaml", "dataset.name=mnist", "--data-root", "nowhere"], "nowhere/mnist"),
        (["small.yaml", "dataset.name=mnst"], "did you mean 'mnist'"),
        (["small.yaml", "dataset.train.pth=a"], "did you mean 'path'"),
        (["small.yaml", "dataset.subset=9999"], "dataset.subset must be in 1..160"),
        (["small.yaml", "dataset.test={path: set.npz}", "dataset.test_subset=9999"], "dataset.test_subset must be in"),
        (["small.yaml", "split={kind: test}"], "dataset.test is not given"),
        (["small.yaml", "split.stratify=[database]"], "unknown column"),
        (["small.yaml", "split={kind: folds, fold: 9}"], "split.fold must be in 0..4"),
        (["small.yaml", "metric=val_f1"], "did you mean 'val_macro_f1'"),
        (["small.yaml", "preprocess.size=[8, 8]"], "shape .1, 8, 8., but the network takes .1, 10, 10."),
        (["small.yaml", "threads=-1"], "thread"),
        (["small.yaml", "seed=-1"], "seed"),
    ],
)
def test_mistakes_print_one_line_and_write_nothing(place, monkeypatch, capsys, arguments, message):
    monkeypatch.delenv("CNN_DATA", raising=False)
    status, _, err = call(monkeypatch, capsys, *arguments)
    assert status == 2
    assert err.startswith("error: ") and err.count("\n") == 1
    assert re.search(message, err), err
    assert not (place / "runs").exists()


def test_divergence_is_told_with_step_and_layer(place, monkeypatch, capsys):
    status, _, err = call(
        monkeypatch, capsys, "small.yaml", "optimizer.lr=1e38", "schedule.name=Constant", "augment.mixup=0"
    )
    assert status == 2 and "diverged at step" in err


def test_the_module_runs_from_any_folder(place):
    done = subprocess.run(
        [sys.executable, "-m", "engine.train", "none.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_how_errors_end():
    def fail(error):
        def main():
            raise error

        return main

    assert run(lambda: None) == 0
    assert run(fail(UserError("wrong"))) == 2
    assert run(fail(OSError(28, "No space left on device", "file"))) == 2
    assert run(fail(KeyboardInterrupt())) == EXIT_INTERRUPTED == 130
    with pytest.raises(ZeroDivisionError):
        run(fail(ZeroDivisionError()))


def test_real_data_through_the_command(data_root, tmp_path, monkeypatch, capsys):
    """The example for MNIST on a few images, straight from the publisher's files."""
    example = Path(__file__).parents[3] / "experiments" / "configs" / "mnist.yaml"
    status, out, err = call(
        monkeypatch,
        capsys,
        example,
        "dataset.subset=1000",
        "dataset.test=false",
        "epochs=2",
        "threads=1",
        "--data-root",
        data_root,
        "--out",
        tmp_path / "run",
    )
    assert status == 0, err
    losses = [json.loads(line)["train_loss"] for line in (tmp_path / "run" / "log.jsonl").open()]
    assert losses[1] < losses[0] < np.log(10)


def test_class_weights_and_a_column_of_weights_reach_training(place, monkeypatch, capsys):
    balanced = ["class_weights=balanced", "augment.mixup=0"]
    assert call(monkeypatch, capsys, "small.yaml", *balanced, "--out", "balanced")[0] == 0
    assert call(monkeypatch, capsys, "small.yaml", "augment.mixup=0", "--out", "even")[0] == 0
    logs = [(place / name / "log.csv").read_text() for name in ("balanced", "even")]
    assert logs[0].splitlines()[0] == logs[1].splitlines()[0] and logs[0] != logs[1]
    status, _, err = call(monkeypatch, capsys, "small.yaml", "sample_weights=trust", "--out", "no")
    assert status == 2 and "unknown column in sample_weights: 'trust'" in err


TTA = ("accuracy_tta", "macro_f1_tta")


def test_views_are_judged_at_the_end_with_the_weights_that_are_tested(place, monkeypatch, capsys):
    overrides = ["dataset.test={path: set.npz}", "evaluation_views=diagonal:1,flip"]
    assert call(monkeypatch, capsys, "small.yaml", *overrides, "--out", "t")[0] == 0
    result = json.loads((place / "t" / "result.json").read_text())
    log = [json.loads(line) for line in (place / "t" / "log.jsonl").read_text().splitlines()]
    assert {f"{part}_{name}" for part in ("val", "test") for name in TTA} <= set(result)
    assert not any(name.endswith("_tta") for each in log for name in each)
    net = engine.load(place / "t" / "best.safetensors")
    images = np.load(place / "set.npz")["x"][:, None]
    labels = np.load(place / "set.npz")["y"]
    data = Dataset("again", images, labels, ("0", "1", "2"), Preprocess())
    assert EvaluationViews("diagonal:1,flip")(net, data)["accuracy_tta"] == result["test_accuracy_tta"]


def test_views_of_every_epoch_can_pick_the_best_and_a_resume_keeps_to_them(place, monkeypatch, capsys):
    views = "evaluation_views={views: flip, when: epoch, mean: outputs}"
    overrides = [views, "metric=val_accuracy_tta", "epochs=3"]
    assert call(monkeypatch, capsys, "small.yaml", *overrides, "--out", "t")[0] == 0
    log = [json.loads(line) for line in (place / "t" / "log.jsonl").read_text().splitlines()]
    result = json.loads((place / "t" / "result.json").read_text())
    values = [each["val_accuracy_tta"] for each in log]
    assert result["best_epoch"] == 1 + int(np.argmax(values)) and result["best"]["val_accuracy_tta"] == max(values)
    status, _, err = call(monkeypatch, capsys, "small.yaml", "--resume", "--out", "t", "epochs=4")
    assert status == 2 and "each_epoch" in err
    status, _, err = call(monkeypatch, capsys, "small.yaml", "metric=val_accuracy_tta", "--out", "u")
    assert status == 2 and "metric" in err


def test_whitened_filters_come_from_the_training_part_and_a_resume_leaves_them(place, monkeypatch, capsys):
    overrides = ["whiten={layer: 0, samples: 50}", "learning_rates={0.weights: 0}", "batch_size=20"]
    assert call(monkeypatch, capsys, "small.yaml", *overrides, "epochs=1", "--out", "t")[0] == 0
    first = engine.load(place / "t" / "last.safetensors").parameters()["0.weights"]
    assert np.array_equal(first[2:], -first[:2])
    assert call(monkeypatch, capsys, "small.yaml", *overrides, "epochs=3", "--resume", "--out", "t")[0] == 0
    assert call(monkeypatch, capsys, "small.yaml", *overrides, "epochs=3", "--out", "u")[0] == 0
    weights, resumed = (engine.load(place / name / "last.safetensors").parameters() for name in ("u", "t"))
    assert all(np.array_equal(resumed[name], weights[name]) for name in weights)
    assert np.array_equal(weights["0.weights"], first) and weights["0.bias"].any()
    status, _, err = call(monkeypatch, capsys, "small.yaml", "whiten=nowhere", "--out", "v")
    assert status == 2 and "unknown layer in whiten" in err and not (place / "v").exists()
    status, _, err = call(monkeypatch, capsys, "small.yaml", "epochs=4", *overrides[1:], "--resume", "--out", "t")
    assert status == 2 and "whiten" in err


def test_a_setting_without_effect_is_warned_of(place, monkeypatch, capsys):
    settings = ["split.fold=1", "freeze=['0']", "learning_rates={0: 2, '*': 1}", "freeze_after={0.bias: 1}", "epochs=1"]
    status, _, error = call(monkeypatch, capsys, "small.yaml", *settings)
    idle = ["split.fold: split.kind is fraction", "learning_rates.0: freeze holds it"]
    assert status == 0 and f"what has no effect: {'; '.join(idle)}; freeze_after.0.bias: freeze holds it" in error
    assert "no effect" not in call(monkeypatch, capsys, "small.yaml", "epochs=1", "--out", "plain")[2]
