"""A run that is cut off and resumed gives the bits of an undisturbed one; so does any number of threads."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import cnncore
import numpy as np
import pytest
import yaml

import engine
from engine.data.dataset import prepare
from engine.data.preprocess import Preprocess
from engine.data.readers import read_dataset
from engine.errors import UserError
from engine.models.mnist import mnist_cnn
from engine.network import checkpoint
from engine.network.checkpoint import weights_hash
from engine.training.schedules import Cosine, EarlyStopping, ReduceLROnPlateau
from engine.training.trainer import Trainer
from tests.engine.small import small_config, small_dataset, small_net, write_archive

TRAIN, VALIDATION = small_dataset(96), small_dataset(48, seed=1)
TIMES = ("seconds", "data_wait_seconds", "images_per_second")


class CutOff(Exception):
    """Stands for the end of the process."""


def make_trainer(out, optimizer=None, schedule=None, **options):
    optimizer = optimizer or engine.Adam(lr=0.01)
    return Trainer(small_net(), optimizer, schedule=schedule, batch_size=16, out=out, progress="none", **options)


def wider_net():
    layers = small_net().to_config()["nodes"]
    assert layers[0]["layer"] == "Conv2D"
    made = [engine.Conv2D(1, 4, 3), engine.BatchNorm(4), engine.ReLU(), engine.MaxPool2D(2, 2), engine.Dropout(0.3)]
    return engine.Sequential([*made, engine.Flatten(), engine.Linear(64, 3), engine.Softmax()], input_shape=(1, 10, 10))


def without_times(records):
    return [{key: value for key, value in record.items() if key not in TIMES} for record in records]


def cut_after(trainer, steps):
    """The process ends when the trainer has done so many steps."""
    step = trainer.step

    def counted(x, y):
        if trainer.steps >= steps:
            raise CutOff
        return step(x, y)

    trainer.step = counted


def plateau():
    return ReduceLROnPlateau(factor=0.5, patience=1, metric="val_loss")


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [
        (engine.SGD(lr=0.05), None),
        (engine.SGD(lr=0.05, momentum=0.9, nesterov=True), plateau),
        (engine.Adam(lr=0.01), lambda: Cosine(total=24, warmup=5, restarts=1)),
        (engine.SGD(lr=0.05), Cosine),
        (engine.AdamW(lr=0.01), plateau),
    ],
    ids=["sgd", "nesterov-plateau", "adam-cosine", "sgd-cosine-of-the-run", "adamw-plateau"],
)
def test_resumed_at_any_step_gives_the_same_bits(tmp_path, optimizer, schedule):
    def trainer(out):
        return make_trainer(out, optimizer, schedule and schedule(), seed=5, metric="val_accuracy")

    def fit(each, **options):
        rule = EarlyStopping(3, metric="val_loss")
        return each.fit(TRAIN, VALIDATION, epochs=4, early_stopping=rule, checkpoint_every=2, **options)

    whole = trainer(tmp_path / "whole")
    history = fit(whole)
    for steps in (1, 3, 6, 9, 14):
        out = tmp_path / f"cut-{steps}"
        cut = trainer(out)
        cut_after(cut, steps)
        with pytest.raises(CutOff):
            fit(cut)
        resumed = trainer(out)
        again = fit(resumed, resume=True)
        assert weights_hash(resumed.net) == weights_hash(whole.net)
        assert without_times(again.epochs) == without_times(history.epochs)
        assert (again.best_epoch, again.stopped_early) == (history.best_epoch, history.stopped_early)
        best, wanted = (engine.load(folder / "best.safetensors") for folder in (out, tmp_path / "whole"))
        assert weights_hash(best) == weights_hash(wanted)
        lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        assert without_times(lines) == without_times(history.epochs)


def test_a_schedule_as_long_as_its_run_is_the_one_of_that_length(tmp_path):
    """Six steps in an epoch; a trainer can fit again, and for longer; a resume cannot change the length."""
    for epochs in (2, 3):
        trainer, stated = make_trainer(None, schedule=Cosine()), make_trainer(None, schedule=Cosine(6 * epochs))
        rates = [[each["learning_rate"] for each in one.fit(TRAIN, epochs=epochs).epochs] for one in (trainer, stated)]
        assert rates[0] == rates[1] and weights_hash(trainer.net) == weights_hash(stated.net)
        last = trainer.fit(TRAIN, epochs=2).epochs[-1]["learning_rate"]
        assert last == make_trainer(None, schedule=Cosine(12)).fit(TRAIN, epochs=2).epochs[-1]["learning_rate"]
    make_trainer(tmp_path, schedule=Cosine()).fit(TRAIN, epochs=2)
    with pytest.raises(UserError, match="schedule.total = 12, now it is 18$"):
        make_trainer(tmp_path, schedule=Cosine()).fit(TRAIN, epochs=3, resume=True)


def test_checkpoints_by_time_are_written_in_mid_epoch(tmp_path):
    cut = make_trainer(tmp_path)
    cut_after(cut, 9)  # six steps per epoch
    with pytest.raises(CutOff):
        cut.fit(TRAIN, epochs=2, checkpoint_seconds=1e-9)
    position = checkpoint.read(tmp_path / "last.safetensors").training["position"]
    assert (position["epoch"], position["batch"], position["step"]) == (1, 3, 9)
    seldom = make_trainer(tmp_path / "seldom")
    cut_after(seldom, 9)
    with pytest.raises(CutOff):
        seldom.fit(TRAIN, epochs=2, checkpoint_seconds=1e9)
    position = checkpoint.read(tmp_path / "seldom" / "last.safetensors").training["position"]
    assert (position["epoch"], position["batch"]) == (1, 0)


def test_log_lines_beyond_the_checkpoint_are_cut(tmp_path):
    make_trainer(tmp_path).fit(TRAIN, epochs=2)
    log = tmp_path / "log.jsonl"
    log.write_text(log.read_text() + '{"epoch": 3, "train_loss": 0}\n{"epo')
    history = make_trainer(tmp_path).fit(TRAIN, epochs=3, resume=True)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines == history.epochs and len(lines) == 3
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 4


def test_a_finished_run_is_only_reported_and_more_epochs_go_on(tmp_path):
    whole = make_trainer(tmp_path / "whole")
    whole.fit(TRAIN, epochs=3)
    first = make_trainer(tmp_path / "parts")
    before = first.fit(TRAIN, epochs=2)
    again = make_trainer(tmp_path / "parts")
    assert again.fit(TRAIN, epochs=2, resume=True).epochs == before.epochs
    assert weights_hash(again.net) == weights_hash(first.net)
    more = make_trainer(tmp_path / "parts")
    more.fit(TRAIN, epochs=3, resume=True)
    assert weights_hash(more.net) == weights_hash(whole.net)


def test_resume_without_a_run_begins_one(tmp_path):
    assert len(make_trainer(tmp_path / "new").fit(TRAIN, epochs=1, resume=True).epochs) == 1


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda out: make_trainer(out, engine.SGD(lr=0.1)).fit(TRAIN, epochs=3, resume=True), "optimizer"),
        (lambda out: make_trainer(out, seed=1).fit(TRAIN, epochs=3, resume=True), "seed = 0, now it is 1"),
        (lambda out: make_trainer(out, schedule=Cosine(9)).fit(TRAIN, epochs=3, resume=True), "schedule"),
        (lambda out: make_trainer(out).fit(small_dataset(96, seed=2), epochs=3, resume=True), "other data"),
        (
            lambda out: Trainer(small_net(seed=1), engine.Adam(lr=0.01), batch_size=16, out=out).fit(
                TRAIN, epochs=3, resume=True
            ),
            "was started with network.seed = 0, now it is 1$",
        ),
        (
            lambda out: make_trainer(out, engine.Adam(lr=0.02), max_norm=1.0).fit(TRAIN, epochs=3, resume=True),
            "was started with optimizer.lr = 0.01, now it is 0.02; max_norm = None, now it is 1.0$",
        ),
        (
            lambda out: Trainer(wider_net(), engine.Adam(lr=0.01), batch_size=8, out=out).fit(
                TRAIN, epochs=3, resume=True
            ),
            "batch_size = 16, now it is 8; network.nodes.0.arguments.padding = 1, now it is 0; "
            ".*nodes.6.arguments.in_features = 100, now it is 64$",
        ),
        (lambda out: make_trainer(out).fit(TRAIN, VALIDATION, epochs=3, resume=True), "is now a validation part$"),
        (
            lambda out: make_trainer(out, seed=1).fit(small_dataset(97), epochs=3, resume=True),
            "other data: training had 96 samples, now it has 97; .*; seed = 0, now it is 1$",
        ),
    ],
)
def test_another_run_is_not_resumed(tmp_path, other, message):
    make_trainer(tmp_path).fit(TRAIN, epochs=1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match=message):
        other(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def changed_image(data):
    images = data.images.copy()
    images[7, 0, 0, 0] ^= 1
    return dataclasses.replace(data, images=images)


def changed_label(data):
    labels = data.labels.copy()
    labels[7] = (labels[7] + 1) % 3
    return dataclasses.replace(data, labels=labels)


def exchanged(data):
    order = np.arange(len(data))
    order[:2] = 1, 0
    return data.subset(order)


def renamed(data):
    return dataclasses.replace(data, class_names=("top", "under", "left"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed_image, "other data: the images of training are others, or in another order$"),
        (changed_label, r"other data: \d+ samples of training were of class .*; the labels of training are others"),
        (exchanged, "other data: the images of training are others, or in another order"),
        (renamed, "other data: class 1 was bottom, now it is under$"),
        (lambda data: data.subset(np.arange(95)), "other data: training had 96 samples, now it has 95; "),
        (
            lambda data: dataclasses.replace(data, sample_weights=np.full(96, 0.5, np.float32)),
            "other data: the weights of training are others",
        ),
    ],
)
@pytest.mark.parametrize("batch", [16, 8])
def test_what_changed_in_the_data_is_named(tmp_path, change, message, batch):
    make_trainer(tmp_path).fit(TRAIN, epochs=1)
    trainer = make_trainer(tmp_path)
    if batch == 8:
        trainer = Trainer(small_net(), engine.Adam(lr=0.01), batch_size=8, out=tmp_path)
        message = message.rstrip("$") + ".*; batch_size = 16, now it is 8$"
    with pytest.raises(UserError, match=message):
        trainer.fit(change(TRAIN), epochs=2, resume=True)


def test_other_data_are_refused_where_a_checkpoint_of_earlier_versions_tells_no_facts(tmp_path):
    make_trainer(tmp_path).fit(TRAIN, epochs=1)
    last = checkpoint.read(tmp_path / "last.safetensors")
    del last.training["facts"]
    checkpoint.write(tmp_path / "last.safetensors", last)
    with pytest.raises(UserError, match="was started with other data$"):
        make_trainer(tmp_path).fit(changed_image(TRAIN), epochs=2, resume=True)
    assert len(make_trainer(tmp_path).fit(TRAIN, epochs=2, resume=True).epochs) == 2


def test_images_that_are_scaled_otherwise_are_not_trained_on(tmp_path):
    make_trainer(tmp_path).fit(TRAIN.with_preprocess(Preprocess(scale="0..1")), epochs=1)
    scaled = TRAIN.with_preprocess(Preprocess(scale="-1..1"))
    with pytest.raises(UserError, match="preprocess.scale = 0..1, now it is -1..1"):
        make_trainer(tmp_path).fit(scaled, epochs=2, resume=True)


@pytest.mark.skipif(len(cnncore.available_isas()) < 2, reason="this processor has one instruction set only")
def test_resume_keeps_the_instruction_set_of_the_start(tmp_path):
    usual = cnncore.isa()
    other = next(name for name in cnncore.available_isas() if name != usual)
    cnncore.set_isa(other)
    try:
        whole = make_trainer(tmp_path / "whole")
        whole.fit(TRAIN, epochs=2)
        make_trainer(tmp_path / "parts").fit(TRAIN, epochs=1)
    finally:
        cnncore.set_isa(usual)
    resumed = make_trainer(tmp_path / "parts")
    resumed.fit(TRAIN, epochs=2, resume=True)
    assert weights_hash(resumed.net) == weights_hash(whole.net)
    assert cnncore.isa() == usual


def test_a_best_checkpoint_cannot_be_resumed(tmp_path):
    make_trainer(tmp_path).fit(TRAIN, epochs=1)
    (tmp_path / "best.safetensors").replace(tmp_path / "last.safetensors")
    with pytest.raises(UserError, match="no run that can be resumed"):
        make_trainer(tmp_path).fit(TRAIN, epochs=2, resume=True)


def command(config, out, *more):
    return [sys.executable, "-m", "engine.train", str(config), "--out", str(out), "--resume", *more]


def test_kill_9_and_resume_through_the_command(tmp_path):
    """Killed at several moments, also while files are written; each time the same command goes on."""
    settings = small_config(write_archive(tmp_path / "set.npz", 480)) | {"checkpoint_every": 1, "epochs": 6}
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump(settings))
    subprocess.run(command(config, tmp_path / "whole"), check=True, capture_output=True, timeout=120)
    out = tmp_path / "killed"
    rng = np.random.default_rng(0)
    kills = 0
    for _ in range(3):
        process = subprocess.Popen(command(config, out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        known = (out / "last.safetensors").stat().st_mtime_ns if (out / "last.safetensors").exists() else 0
        while process.poll() is None:
            written = (out / "last.safetensors").exists() and (out / "last.safetensors").stat().st_mtime_ns > known
            if written:
                time.sleep(rng.uniform(0, 0.05))
                os.kill(process.pid, signal.SIGKILL)
                break
            time.sleep(0.001)
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 2
    done = subprocess.run(command(config, out), check=True, capture_output=True, text=True, timeout=120)
    assert "best epoch" in done.stdout
    for name in ("best.safetensors", "last.safetensors"):
        killed, whole = (engine.load(folder / name) for folder in (out, tmp_path / "whole"))
        assert weights_hash(killed) == weights_hash(whole)
    logs = [[json.loads(line) for line in (folder / "log.jsonl").open()] for folder in (out, tmp_path / "whole")]
    assert without_times(logs[0]) == without_times(logs[1])
    results = [json.loads((folder / "result.json").read_text()) for folder in (out, tmp_path / "whole")]
    assert all(each.pop("seconds") > 0 for each in results) and results[0] == results[1]
    assert not list(out.glob(".*.tmp"))


@pytest.fixture
def restored_threads():
    before = engine.get_num_threads()
    yield
    engine.set_num_threads(before)


@pytest.mark.skipif(not cnncore.has_openmp(), reason="this build has no OpenMP: there is one thread only")
def test_any_number_of_threads_gives_the_same_bits(data_root, restored_threads):
    raw = read_dataset("mnist", data_root, {})
    data = prepare(raw.subset(np.arange(200)), Preprocess())
    hashes = {}
    for threads in (1, 2, 3, 5):
        engine.set_num_threads(threads)
        assert cnncore.measure_team() == threads
        trainer = Trainer(mnist_cnn(), engine.Adam(), progress="none")
        trainer.fit(data, epochs=1)
        hashes[threads] = weights_hash(trainer.net)
    assert len(set(hashes.values())) == 1, hashes
