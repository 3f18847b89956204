"""The trainer in one process: what it logs, when it stops, what it refuses."""

import csv
import json
import math

import numpy as np
import pytest

import engine
from engine.data.dataset import Dataset
from engine.data.loader import Loader, Mixup
from engine.errors import DivergedError, UserError
from engine.network.checkpoint import weights_hash
from engine.training.schedules import EarlyStopping, PiecewiseConstant, ReduceLROnPlateau
from engine.training.trainer import Trainer
from tests.engine.small import CLASSES, SIDE, calls, small_dataset, small_layers, small_net

TRAIN, VALIDATION = small_dataset(96), small_dataset(48, seed=1)
INFINITE = np.full(TRAIN.images.shape, np.inf, np.float32)


def targets(dataset):
    """Far away, for a gradient above 1."""
    return 1e3 * np.eye(3, dtype=np.float32)[dataset.labels]


def make_trainer(**options):
    return Trainer(small_net(), engine.SGD(lr=0.05, momentum=0.9), batch_size=16, progress="none", **options)


def test_it_learns(tmp_path):
    history = make_trainer(out=tmp_path).fit(TRAIN, VALIDATION, epochs=6)
    assert history["train_loss"][-1] < history["train_loss"][0]
    assert history.epochs[-1]["val_accuracy"] > 0.9
    assert history.metric == "val_loss"
    assert history.best_value == min(history["val_loss"])


def test_evaluate_agrees_with_the_log():
    trainer = make_trainer()
    history = trainer.fit(TRAIN, VALIDATION, epochs=1)
    measured = trainer.evaluate(VALIDATION)
    assert {f"val_{name}": value for name, value in measured.items()}.items() <= history.epochs[-1].items()


def test_fit_is_the_same_as_its_steps():
    """The loop adds nothing to the bits: order from the loader, rate from the schedule, then `step`."""
    fitted, stepped = make_trainer(seed=3), make_trainer(seed=3)
    fitted.fit(TRAIN, epochs=2)
    for epoch in range(2):
        for x, y in Loader(TRAIN, 16, seed=3).epoch(epoch):
            stepped.step(x, y)
    assert weights_hash(fitted.net) == weights_hash(stepped.net)


def test_a_larger_batch_takes_the_optimizer_state_along():
    x, y = TRAIN.normalise(TRAIN.images), TRAIN.labels
    grown, roomy = make_trainer(), make_trainer()
    roomy.open_session(32)
    for trainer in (grown, roomy):
        for part in (slice(0, 8), slice(8, 40), slice(40, 48)):
            trainer.step(x[part], y[part])
    for name, array in grown.session.state().items():
        assert np.allclose(array, roomy.session.state()[name], atol=1e-6)


def test_logs_say_the_same_in_json_and_csv(tmp_path):
    history = make_trainer(out=tmp_path).fit(TRAIN, VALIDATION, epochs=3, train_metrics=True)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert lines == history.epochs and len(rows) == 3
    assert [float(row["val_macro_f1"]) for row in rows] == history["val_macro_f1"]
    assert {"train_loss", "train_accuracy", "train_macro_f1", "val_loss", "val_accuracy"} <= set(rows[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best.safetensors",
        "config.yaml",
        "last.safetensors",
        "log.csv",
        "log.jsonl",
        "previous.safetensors",
    ]


def test_best_checkpoint_is_the_best_epochs_network(tmp_path):
    seen = []
    trainer = make_trainer(out=tmp_path, metric="val_macro_f1", schedule=PiecewiseConstant([6, 12], [0.05, 0.0, 3.0]))
    history = trainer.fit(
        TRAIN, VALIDATION, epochs=4, callbacks=[lambda record: seen.append(weights_hash(trainer.net))]
    )
    best = engine.load(tmp_path / "best.safetensors")
    assert weights_hash(best) == seen[history.best_epoch - 1]
    assert best.preprocess == TRAIN.preprocess.to_dict() and list(best.class_names) == list(CLASSES)


@pytest.mark.parametrize("with_folder", [True, False])
def test_restore_best(tmp_path, with_folder):
    seen = []
    # The rate of 5 after the second epoch ruins what was learnt.
    trainer = make_trainer(
        out=tmp_path if with_folder else None,
        metric="val_accuracy",
        schedule=PiecewiseConstant([1], [0.05, 5.0], unit="epoch"),
    )
    history = trainer.fit(
        TRAIN,
        VALIDATION,
        epochs=4,
        callbacks=[lambda record: seen.append(weights_hash(trainer.net))],
        restore_best=True,
    )
    assert history.best_epoch <= 2
    assert weights_hash(trainer.net) == seen[history.best_epoch - 1]


def test_early_stopping_counts_epochs_without_a_better_metric():
    trainer = Trainer(small_net(), engine.SGD(lr=0.0), batch_size=16, progress="none")
    history = trainer.fit(TRAIN, VALIDATION, epochs=9, early_stopping=EarlyStopping(2, metric="val_accuracy"))
    assert history.stopped_early
    accuracies = history["val_accuracy"]
    assert len(accuracies) < 9 and accuracies.index(max(accuracies)) == len(accuracies) - 3


def test_schedules_see_the_metrics_and_the_log_shows_the_rate():
    schedule = ReduceLROnPlateau(factor=0.5, patience=1, metric="val_loss", threshold=1000.0)
    history = make_trainer(schedule=schedule).fit(TRAIN, VALIDATION, epochs=4)
    assert history["learning_rate"] == pytest.approx([0.05, 0.05, 0.025, 0.0125])


def test_divergence_names_step_and_layer_and_keeps_the_last_checkpoint(tmp_path):
    net = engine.Sequential([engine.Flatten(), engine.Linear(SIDE * SIDE, 3)], input_shape=(1, SIDE, SIDE))
    # Mean squared error with a huge rate overflows within a few steps of the second epoch.
    schedule = PiecewiseConstant([0], [0.001, 1e30], unit="epoch")
    trainer = Trainer(
        net,
        engine.SGD(lr=0.001),
        engine.MeanSquaredError(),
        schedule,
        batch_size=16,
        progress="none",
        out=tmp_path,
    )
    targets = np.eye(3, dtype=np.float32)[TRAIN.labels]
    with pytest.raises(DivergedError, match="diverged at step") as caught:
        trainer.fit((TRAIN.normalise(TRAIN.images), targets), epochs=3)
    assert 6 < caught.value.step < 12 and str(caught.value.step) in str(caught.value)
    event = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert event["event"] == "diverged" and event["step"] == caught.value.step and event["layer"] == caught.value.layer
    assert engine.load(tmp_path / "last.safetensors").num_parameters == net.num_parameters


@pytest.mark.parametrize("validation", [None, VALIDATION])
def test_weights_that_the_last_update_ruined_are_no_best_ones(tmp_path, validation):
    """One update an epoch, finite as a number and in its loss: no step sees what it left behind."""
    net = engine.Sequential(small_layers()[:-1], (1, SIDE, SIDE))
    loss = engine.MeanSquaredError()
    trainer = Trainer(net, engine.SGD(lr=3e38), loss, batch_size=96, progress="none", out=tmp_path)
    train, held_out = (each and (each.normalise(each.images), targets(each)) for each in (TRAIN, validation))
    with pytest.raises(DivergedError, match="diverged at step 0: the updated .* is NaN or infinite in layer") as caught:
        trainer.fit(train, held_out, epochs=1)
    assert caught.value.layer in trainer.net.layers
    assert not list(tmp_path.glob("*.safetensors"))
    event = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert event["event"] == "diverged" and event["layer"] == caught.value.layer


def test_a_checkpoint_within_an_epoch_has_finite_weights(tmp_path):
    net = engine.Sequential(small_layers()[:-1], (1, SIDE, SIDE))
    schedule = PiecewiseConstant([1], [0.01, 3e38])
    loss = engine.MeanSquaredError()
    trainer = Trainer(net, engine.SGD(lr=0.01), loss, schedule, batch_size=16, progress="none", out=tmp_path)
    with pytest.raises(DivergedError, match="at step 2: the updated"):
        trainer.fit((TRAIN.normalise(TRAIN.images), targets(TRAIN)), epochs=1, checkpoint_every=1)
    kept = engine.load(tmp_path / "last.safetensors")
    assert all(np.isfinite(array).all() for array in kept.parameters().values())


def test_soft_labels_and_mixup_train():
    loader = Loader(TRAIN, 16, batch_transform=Mixup(0.2, 3))
    history = make_trainer().fit(loader, VALIDATION, epochs=3)
    assert history.epochs[-1]["val_accuracy"] > 0.7
    soft = Dataset("soft", TRAIN.images, np.eye(3, dtype=np.float32)[TRAIN.labels])
    assert "val_accuracy" in make_trainer().fit(soft, soft, epochs=1).epochs[0]


def test_targets_without_classes_have_a_loss_only():
    net = engine.Sequential([engine.Flatten(), engine.Linear(SIDE * SIDE, 2)], input_shape=(1, SIDE, SIDE))
    targets = np.zeros((96, 2), np.float32)
    trainer = Trainer(net, engine.SGD(lr=1e-4), engine.MeanSquaredError(), batch_size=32, progress="none")
    images = TRAIN.normalise(TRAIN.images)
    history = trainer.fit((images, targets), (images, targets), epochs=1)
    assert "val_loss" in history.epochs[0] and "val_accuracy" not in history.epochs[0]


def test_a_folder_with_a_run_is_refused(tmp_path):
    make_trainer(out=tmp_path).fit(TRAIN, epochs=1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match="--resume"):
        make_trainer(out=tmp_path).fit(TRAIN, epochs=1)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        (lambda out: make_trainer(out=out, metric="val_f1").fit(TRAIN, VALIDATION, epochs=1), "did you mean"),
        (lambda out: make_trainer(out=out, metric="val_loss").fit(TRAIN, epochs=1), "this run logs train_loss"),
        (lambda out: make_trainer(out=out, schedule=ReduceLROnPlateau()).fit(TRAIN, epochs=1), "schedule metric"),
        (lambda out: make_trainer(out=out).fit(TRAIN, epochs=0), "epochs must be a whole number of at least 1, not 0"),
        (lambda out: make_trainer(out=out).fit(TRAIN, epochs=1, checkpoint_every=0), "checkpoint_every"),
        (
            lambda out: make_trainer(out=out).fit((TRAIN.images[:, :, :5], TRAIN.labels), epochs=1),
            "shape .1, 5, 10., but the network takes .1, 10, 10.",
        ),
        (lambda out: make_trainer(out=out).fit((TRAIN.images, TRAIN.labels + 1), epochs=1), "label"),
        (
            lambda out: make_trainer(out=out).fit(TRAIN, (TRAIN.images, TRAIN.labels - 1), epochs=1),
            "sample 3 has label -1, but labels run from 0 to 2",
        ),
        (lambda out: make_trainer(out=out).fit((INFINITE, TRAIN.labels), epochs=1), "hold NaN or infinity"),
        (
            lambda out: make_trainer(out=out, loss=engine.MeanSquaredError()).fit(TRAIN, epochs=1),
            "the targets have dtype int64",
        ),
        (lambda out: make_trainer(out=out, seed=-1), "seed"),
        (lambda out: EarlyStopping(0), "patience"),
    ],
)
def test_mistakes_are_named_before_anything_is_written(tmp_path, fit, message):
    out = tmp_path / "run"
    with pytest.raises(UserError, match=message):
        fit(out)
    assert not out.exists()


def test_a_second_fit_begins_anew():
    schedule = ReduceLROnPlateau(factor=0.5, patience=1, threshold=1000.0)
    first, fresh = make_trainer(schedule=schedule), make_trainer(schedule=schedule)
    first.fit(TRAIN, VALIDATION, epochs=2)
    weights = first.net.parameters(), first.net.buffers()
    fresh.net.load_parameters(weights[0])
    fresh.net.load_buffers(weights[1])
    again, wanted = (each.fit(TRAIN, VALIDATION, epochs=2) for each in (first, fresh))
    assert again["train_loss"] == wanted["train_loss"] and again["step"] == [6, 12]
    assert again["learning_rate"] == wanted["learning_rate"]


def test_divergence_in_evaluation_names_step_and_data():
    trainer = make_trainer()
    trainer.fit(TRAIN, epochs=1)
    last = f"{list(trainer.net.layers)[-2]}.weights"
    trainer.net.load_parameters({last: np.full_like(trainer.net.parameters()[last], 3e38)}, strict=False)
    with pytest.raises(DivergedError, match="at step 6 while evaluating on small"):
        trainer.evaluate(VALIDATION)


def test_a_batch_of_one_value_per_channel_is_refused():
    layers = [engine.Flatten(), engine.Linear(SIDE * SIDE, 3), engine.BatchNorm(3)]
    trainer = Trainer(engine.Sequential(layers, (1, SIDE, SIDE)), engine.SGD(), batch_size=5, progress="none")
    with pytest.raises(UserError, match="drop_last"):
        trainer.fit(TRAIN, epochs=1)
    with pytest.raises(UserError, match="one value per channel"):
        trainer.step(TRAIN.normalise(TRAIN.images[:1]), TRAIN.labels[:1])
    assert trainer.fit(Loader(TRAIN, 5, drop_last=True), epochs=1)["step"] == [19]


@pytest.mark.parametrize("name", ["best.safetensors", "result.json", "log.jsonl"])
def test_what_a_run_left_is_not_overwritten(tmp_path, name):
    make_trainer(out=tmp_path).fit(TRAIN, epochs=1)
    for path in tmp_path.iterdir():
        if path.name not in (name, "config.yaml"):
            path.unlink()
    (tmp_path / name).write_text("{}")
    with pytest.raises(UserError, match="holds a run"):
        make_trainer(out=tmp_path).fit(TRAIN, epochs=1)
    with pytest.raises(UserError, match="seed"):
        make_trainer(out=tmp_path, seed=1).fit(TRAIN, epochs=1, resume=True)
    make_trainer(out=tmp_path).fit(TRAIN, epochs=1, resume=True)
    assert not (tmp_path / "result.json").exists() and engine.load(tmp_path / "best.safetensors")


def test_seeds_have_one_bound(tmp_path):
    make_trainer(seed=2**64 - 1).fit(TRAIN, epochs=1)
    with pytest.raises(UserError, match="2.64"):
        make_trainer(seed=2**64)


def test_step_names_bad_input():
    trainer = make_trainer()
    x, y = TRAIN.normalise(TRAIN.images[:8]), TRAIN.labels[:8]
    broken = x.copy()
    broken[3, 0, 1, 2] = math.nan
    for bad_x, bad_y in ((x[:, :, :4], y), (broken, y), (x, y + 5), (x, y[:3]), (x[:0], y[:0])):
        with pytest.raises(UserError):
            trainer.step(bad_x, bad_y)
    assert trainer.steps == 0 and np.isfinite(trainer.step(x, y))


def test_a_line_per_epoch_where_there_is_no_terminal(capsys):
    Trainer(small_net(), engine.SGD(lr=0.05), batch_size=16).fit(TRAIN, VALIDATION, epochs=2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[1].startswith("epoch 2/2  lr 0.05  train_loss ") and "images/s" in lines[1]


def test_a_bar_on_a_terminal(capsys):
    Trainer(small_net(), engine.SGD(lr=0.05), batch_size=16, progress="bar").fit(TRAIN, epochs=1)
    shown = capsys.readouterr()
    assert "96.0/96.0" in shown.err and "images/s" in shown.err
    assert "epoch 1/1" in shown.out


def test_little_python_per_step():
    """Counted and not timed: experiments.checks.python_share measures the share."""
    trainer = make_trainer()
    x, y = TRAIN.normalise(TRAIN.images[:1]), TRAIN.labels[:1]
    trainer.step(x, y)
    assert calls(lambda: trainer.step(x, y)) < 18


@pytest.mark.parametrize(
    "metric", ["val_min_recall", "val_macro_precision", "val_macro_f1", "val_accuracy", "train_accuracy"]
)
def test_any_metric_picks_the_best_epoch(metric):
    history = make_trainer(metric=metric).fit(TRAIN, VALIDATION, epochs=4, train_metrics=True)
    assert history.best_value == max(history[metric]) and history[metric][history.best_epoch - 1] == history.best_value
    assert ("val_min_recall" in history.epochs[0]) == (metric == "val_min_recall")
