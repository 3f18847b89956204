"""What a run logs, read back from TensorBoard's files and from an offline run of Weights & Biases."""

import json
import sys

import pytest

from engine.errors import UserError
from engine.recipe.config import read_config
from engine.recipe.fit import fit_and_test, make_trainer
from engine.recipe.samples import load_data
from engine.training.runlog import RunLog
from engine.training.tracking import TensorBoard, Tracker, WandbConfig, make_trackers, numbers, tag

CONFIG = {
    "dataset": {"name": "digits5k", "train": {"count": 60}},
    "preprocess": {"colour": True, "size": [28, 28]},
    "model": {"name": "lenet"},
    "optimizer": {"name": "SGD", "lr": 0.01},
    "batch_size": 16,
    "epochs": 2,
}


def train(content, out):
    config = read_config({**CONFIG, **content})
    trainer = make_trainer(config, out)
    trainer.progress = "none"
    fit_and_test(config, trainer, *load_data(config, None), resume=True)


class Ear(Tracker):
    def __init__(self):
        self.heard = []

    def restart(self, records):
        self.heard.append(("restart", len(records)))

    def append(self, record):
        self.heard.append(("append", record["epoch"]))

    def event(self, record):
        self.heard.append(("event", record["event"]))

    def close(self):
        self.heard.append("close")


def test_trackers_hear_what_the_log_writes(tmp_path):
    ear = Ear()
    log = RunLog(tmp_path, [ear])
    log.restart([])
    log.append({"epoch": 1, "train_loss": 0.5})
    log.event({"event": "diverged"})
    log.close()
    assert ear.heard == [("restart", 0), ("append", 1), ("event", "diverged"), "close"]


def test_names_and_numbers():
    assert [tag(name) for name in ("val_macro_f1", "learning_rate", "train_loss")] == [
        "val/macro_f1", "learning_rate", "train/loss",
    ]  # fmt: skip
    record = {"epoch": 3, "step": 9, "train_loss": float("nan"), "val_loss": 0.5, "seconds": 2, "name": "x"}
    assert numbers(record) == {"val_loss": 0.5, "seconds": 2.0}


def read_tensorboard(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return {name: [(each.step, each.value) for each in found.Scalars(name)] for name in found.Tags()["scalars"]}


def test_tensorboard_shows_a_training_run(tmp_path):
    pytest.importorskip("tensorboard", reason="needs the extra tensorboard")
    train({"tensorboard": True}, tmp_path)
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    shown = read_tensorboard(tmp_path / "tensorboard")
    assert [step for step, _ in shown["val/macro_f1"]] == [1, 2]
    for name in ("val_macro_f1", "train_loss"):
        values = [value for _, value in shown[tag(name)]]
        assert values == pytest.approx([record[name] for record in logged], rel=1e-6)


def test_a_run_that_goes_on_tells_each_epoch_once(tmp_path):
    pytest.importorskip("tensorboard", reason="needs the extra tensorboard")
    first = TensorBoard(tmp_path)
    first.restart([])
    for epoch in (1, 2):
        first.append({"epoch": epoch, "val_loss": 1.0 / epoch})
    first.close()
    second = TensorBoard(tmp_path)
    second.restart([{"epoch": 1, "val_loss": 1.0}])
    second.append({"epoch": 2, "val_loss": 0.25})
    second.close()
    assert read_tensorboard(tmp_path / "tensorboard") == {"val/loss": [(1, 1.0), (2, 0.25)]}


def test_weights_and_biases_works_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="needs the extra wandb")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "settings"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    out = tmp_path / "run"
    train({"wandb": {"project": "digits", "mode": "offline"}}, out)
    (kept,) = out.glob("wandb/offline-run-*/run-*.wandb")
    content = kept.read_bytes()
    assert b"val/macro_f1" in content and b"train/loss" in content and b"digits" in content
    assert len((out / "log.jsonl").read_text().splitlines()) == 2


def test_false_is_none_as_in_the_reports_script(tmp_path):
    config = read_config({**CONFIG, "wandb": False, "tensorboard": False})
    assert config.wandb is None and make_trackers(tmp_path, config.tensorboard, config.wandb, {}) == []
    assert read_config({**CONFIG, "wandb": {"entity": "me"}}).wandb == WandbConfig(entity="me")
    with pytest.raises(UserError, match=r"wandb.*projekt.*project"):
        read_config({**CONFIG, "wandb": {"projekt": "x"}})


@pytest.mark.parametrize("key, value", [("tensorboard", True), ("wandb", {})])
def test_a_missing_package_is_named_before_training(tmp_path, monkeypatch, key, value):
    for name in ("wandb", "tensorboard", "tensorboard.summary.writer.event_file_writer"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=rf"pip install \"cnn-engine\[{key}\]\""):
        train({key: value}, tmp_path)
    assert not (tmp_path / "log.jsonl").exists()
