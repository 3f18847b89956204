"""What a trainer and its data may be: lists as arrays, and mistakes that are said when they are made."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

import engine
from engine.data.dataset import Dataset, RawDataset
from engine.data.loader import Loader
from engine.errors import UserError
from engine.losses import Loss
from engine.network.checkpoint import weights_hash
from engine.optim import Optimizer
from engine.training.trainer import Trainer
from tests.engine.small import CLASSES, small_dataset, small_net

TRAIN, VALIDATION = small_dataset(96), small_dataset(48, seed=1)
SOFT = np.eye(3, dtype=np.float32)[TRAIN.labels]


def make_trainer(*arguments, **options):
    optimizer = () if arguments else (engine.SGD(lr=0.05),)
    return Trainer(small_net(), *optimizer, *arguments, batch_size=16, progress="none", **options)


# ---- labels and images that are no arrays -------------------------------------------------------------------------

LABELS = {
    "array": TRAIN.labels,
    "list": TRAIN.labels.tolist(),
    "tuple": tuple(TRAIN.labels.tolist()),
    "list of numpy's": list(TRAIN.labels),
    "uint8": TRAIN.labels.astype(np.uint8),
    "series": pd.Series(TRAIN.labels),
}
SOFT_LABELS = {
    "array": SOFT,
    "list": SOFT.tolist(),
    "whole numbers": SOFT.astype(int).tolist(),
    "rows": list(SOFT),
    "frame": pd.DataFrame(SOFT.astype(int)),
}


@pytest.mark.parametrize("images", [TRAIN.images, list(TRAIN.images)], ids=["array", "list"])
@pytest.mark.parametrize("kind", LABELS)
def test_labels_may_be_a_list(kind, images):
    whole, given = make_trainer(), make_trainer()
    history = whole.fit((TRAIN.images, TRAIN.labels), (TRAIN.images, TRAIN.labels), epochs=1)
    assert given.fit((images, LABELS[kind]), (images, LABELS[kind]), epochs=1)["val_loss"] == history["val_loss"]
    assert weights_hash(given.net) == weights_hash(whole.net)
    assert given.evaluate((images, LABELS[kind])) == whole.evaluate((TRAIN.images, TRAIN.labels))
    assert given.evaluate([images, LABELS[kind]]) == whole.evaluate((TRAIN.images, TRAIN.labels))


@pytest.mark.parametrize("kind", SOFT_LABELS)
def test_soft_labels_may_be_a_list(kind):
    whole, given = make_trainer(), make_trainer()
    whole.fit((TRAIN.images, SOFT), epochs=1)
    given.fit((TRAIN.images, SOFT_LABELS[kind]), epochs=1)
    assert weights_hash(given.net) == weights_hash(whole.net)
    assert given.evaluate((TRAIN.images, SOFT_LABELS[kind])) == whole.evaluate((TRAIN.images, SOFT))


def test_sets_take_lists_too():
    dataset = Dataset("set", list(TRAIN.images), TRAIN.labels.tolist(), CLASSES, columns={"who": list("ab" * 48)})
    part = dataset.subset(np.array([3, 1]))
    assert part.labels.tolist() == TRAIN.labels[[3, 1]].tolist() and part.columns["who"].tolist() == ["b", "b"]
    raw = RawDataset("raw", list(TRAIN.images[:, 0]), TRAIN.labels.tolist(), CLASSES, columns={"who": list("ab" * 48)})
    assert raw.subset(np.array([3, 1])).labels.tolist() == TRAIN.labels[[3, 1]].tolist()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["cat", "dog"] * 48, "labels must be whole numbers (N,) or float32 (N, classes), got <U3 (96,)"),
        ([0.0, 1.0] * 48, "got float64 (96,)"),
        ([True, False] * 48, "got bool (96,)"),
        ([[0, 1], [1]] * 48, "labels form no array"),
        ([2**70] * 96, "got object (96,)"),
        ([None] * 96, "got object (96,)"),
        (3, "got int64 ()"),
        (None, "got object ()"),
        ([0, 1], "96 images but 2 labels"),
        (SOFT.astype(np.float64), "got float64 (96, 3)"),
    ],
)
def test_labels_that_are_none_are_refused(labels, message):
    for call in (
        lambda: make_trainer().fit((TRAIN.images, labels), epochs=1),
        lambda: make_trainer().fit(TRAIN, (TRAIN.images, labels), epochs=1),
        lambda: make_trainer().evaluate((TRAIN.images, labels)),
    ):
        with pytest.raises(UserError, match=re.escape(message)):
            call()


@pytest.mark.parametrize("data", [TRAIN.images, TRAIN.images[:2], (TRAIN.images,), (TRAIN.images, 1, 2), "mnist", None])
def test_data_that_are_no_pair_are_refused(data):
    message = r"expected a Dataset or a pair \(images, labels\), got "
    for call in (
        lambda: make_trainer().fit(data, epochs=1),
        lambda: make_trainer().evaluate(data),
        lambda: Loader(data, 16),
    ):
        with pytest.raises(UserError, match=message):
            call()
    with pytest.raises(UserError, match=message):  # as other libraries have it: fit(x, y)
        make_trainer().fit(TRAIN, TRAIN.labels, epochs=1)


# ---- arguments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_trainer("adam"), "optimizer must be an optimizer such as Adam(lr=0.001), not 'adam'"),
        (lambda: make_trainer("Adam"), "not 'Adam'"),
        (lambda: make_trainer(None), "optimizer must be an optimizer"),
        (lambda: make_trainer(engine.Adam), "not the class Adam: write Adam(…)"),
        (lambda: make_trainer(Optimizer(0.1)), "optimizer must be an optimizer"),
        (lambda: make_trainer(engine.CrossEntropy()), "optimizer must be an optimizer"),
        (lambda: make_trainer(loss=lambda y, p: 0.0), "loss must be a loss such as CrossEntropy(), not <function"),
        (lambda: make_trainer(loss="cross_entropy"), "loss must be a loss such as CrossEntropy()"),
        (lambda: make_trainer(loss=engine.CrossEntropy), "not the class CrossEntropy: write CrossEntropy(…)"),
        (lambda: make_trainer(loss=Loss()), "loss must be a loss"),
        (lambda: make_trainer(schedule="cosine"), "schedule must be a schedule such as Cosine(total=1000)"),
        (lambda: make_trainer(schedule=lambda step: 0.1), "schedule must be a schedule"),
        (lambda: make_trainer(schedule=engine.Constant), "not the class Constant: write Constant(…)"),
        (lambda: Trainer([engine.ReLU()], engine.SGD()), "net must be a network such as Sequential(…)"),
        (lambda: Trainer(small_net, engine.SGD()), "net must be a network"),
        (lambda: Trainer(engine.Graph((1, 2, 2)), engine.SGD()), "the graph has no output yet"),
        (lambda: Trainer(small_net(), engine.SGD(), batch_size="64"), "batch_size must be a whole number"),
        (lambda: Trainer(small_net(), engine.SGD(), batch_size=2.5), "batch_size must be a whole number"),
        (lambda: Trainer(small_net(), engine.SGD(), progress="loud"), "unknown progress 'loud'"),
        (lambda: make_trainer(max_norm=0), "max_norm must be a number above 0"),
        (lambda: make_trainer(max_norm="1"), "max_norm must be a number"),
        (lambda: make_trainer(algorithm="winograd"), "unknown algorithm 'winograd'"),
        (lambda: make_trainer(algorithm=None), "unknown algorithm 'None'"),
        (lambda: make_trainer(metric=3), "metric must be the name of a metric"),
        (lambda: make_trainer(config={"net": small_net()}), "config must be a mapping of what YAML can hold"),
        (lambda: make_trainer(config=3), "config must be a mapping"),
    ],
)
def test_an_argument_is_refused_when_the_trainer_is_made(make, message):
    with pytest.raises(UserError, match=re.escape(message)):
        make()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": "3"}, "epochs must be a whole number"),
        ({"epochs": 2.5}, "epochs must be a whole number"),
        ({"epochs": 1, "early_stopping": 3}, "early_stopping must be a rule such as EarlyStopping(patience=5), not 3"),
        ({"epochs": 1, "callbacks": print}, "callbacks must be functions in a list"),
        ({"epochs": 1, "callbacks": [3]}, "callbacks must be functions in a list"),
        ({"epochs": 1, "checkpoint_every": 2.5}, "checkpoint_every must be a whole number"),
        ({"epochs": 1, "checkpoint_seconds": -1}, "checkpoint_seconds must be a number"),
        ({"epochs": 1, "checkpoint_seconds": "9"}, "checkpoint_seconds must be a number"),
    ],
)
def test_an_argument_of_fit_is_refused_before_anything_is_written(tmp_path, options, message):
    with pytest.raises(UserError, match=re.escape(message)):
        make_trainer(out=tmp_path / "run").fit(TRAIN, **options)
    assert not (tmp_path / "run").exists()


def test_networks_refuse_what_is_no_loss_and_no_optimizer():
    net, x = small_net(), TRAIN.normalise(TRAIN.images)
    for call in (
        lambda: net.plan(training=True, loss="mse"),
        lambda: net.evaluate(x, TRAIN.labels, lambda y, p: 0.0),
        lambda: net.loss_and_gradients(x, TRAIN.labels, engine.CrossEntropy),
        lambda: net.training_session("mse", engine.SGD(), 16),
    ):
        with pytest.raises(UserError, match="loss must be a loss"):
            call()
    for call in (
        lambda: net.plan(training=True, optimizer="adam"),
        lambda: net.training_session(engine.CrossEntropy(), engine.SGD, 16),
    ):
        with pytest.raises(UserError, match="optimizer must be an optimizer"):
            call()


# ---- the number of a bad sample -----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("row", [0, 77, 95])
def test_a_bad_soft_label_is_named_by_its_row_in_the_data(row, value):
    broken = SOFT.copy()
    broken[row, 1] = value
    for call in (
        lambda: make_trainer().fit((TRAIN.images, broken), epochs=1),
        lambda: make_trainer().fit((TRAIN.images, SOFT), (TRAIN.images, broken), epochs=1),
        lambda: make_trainer().evaluate((TRAIN.images, broken)),
        lambda: make_trainer().fit(Loader(Dataset("set", TRAIN.images, broken), 16), epochs=1),
    ):
        with pytest.raises(UserError, match=f"the label of sample {row} holds {value} for class 1"):
            call()


def test_a_bad_image_is_named_by_its_row_in_the_data():
    images = TRAIN.normalise(TRAIN.images)
    images[77, 0, 3, 4] = np.nan
    with pytest.raises(UserError, match="the images hold NaN or infinity, first in sample 77"):
        make_trainer().fit((images, TRAIN.labels), epochs=1)
    with pytest.raises(UserError, match=r"data: the input of sample 77 holds nan at \(0, 3, 4\)"):
        make_trainer().evaluate((images, TRAIN.labels))


@pytest.mark.parametrize("bad", ["image", "label"])
def test_a_sample_is_named_by_its_row_in_every_part_of_an_evaluation(bad):
    large = small_dataset(2100)
    images, labels = large.normalise(large.images), large.labels.copy()
    if bad == "image":
        images[2077, 0, 3, 4] = np.nan
    else:
        labels[2077] = 7
    with pytest.raises(UserError, match=r"^data: (the input of )?sample 2077 h"):
        make_trainer().evaluate((images, labels))


@pytest.mark.parametrize("epoch", [0, 1])
def test_what_a_transform_spoils_is_named_by_its_row_in_the_data(epoch):
    """The loader shuffles: sample 77 lies somewhere else in its batch."""
    images = TRAIN.normalise(TRAIN.images)
    calls = []

    def spoil(image, rng):
        calls.append(1)
        if len(calls) > 96 * epoch and np.array_equal(image, images[77]):
            image = np.full_like(image, np.nan)
        return image

    loader = Loader(Dataset("set", images, TRAIN.labels), 16, seed=4, sample_transforms=(spoil,), prefetch=0)
    with pytest.raises(UserError, match=r"^set: the input of sample 77 holds nan"):
        make_trainer().fit(loader, epochs=2)
    assert len(calls) > 96 * epoch


# ---- warnings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("validation", [None, VALIDATION])
def test_more_outputs_than_classes_are_warned_of_once_where_fit_is_called(validation):
    net = engine.Sequential([engine.Flatten(), engine.Linear(100, 5)], input_shape=(1, 10, 10))
    trainer = Trainer(net, engine.SGD(lr=0.05), batch_size=16, progress="none")
    with pytest.warns(UserWarning, match="5 outputs, but the data 3 classes: top, bottom, left") as caught:
        trainer.fit(TRAIN, validation, epochs=1)
    assert [each.filename for each in caught] == [__file__]
