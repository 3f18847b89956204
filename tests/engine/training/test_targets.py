"""Labels and targets that no loss means: they are refused by their sample, and never trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine.data.choose.weights import weighted
from engine.data.dataset import Dataset
from engine.data.loader import Loader, Mixup
from engine.errors import UserError
from engine.losses import Loss
from engine.training.trainer import Trainer

RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 2, 3, 3)).astype(np.float32)
Y = np.arange(12) % 4
ONE_HOT = np.eye(4, dtype=np.float32)[Y]
CE, BCE, MSE = engine.CrossEntropy(), engine.BinaryCrossEntropy(), engine.MeanSquaredError()


def network(outputs: int) -> engine.Network:
    return engine.Sequential([engine.Flatten(), engine.Linear(18, outputs)], (2, 3, 3))


def trainer(outputs: int, loss: Loss, **options: Any) -> Trainer:
    return Trainer(network(outputs), engine.SGD(0.01), loss, batch_size=4, progress="none", **options)


def changed(rows: np.ndarray[Any, Any], sample: int, values: Any) -> np.ndarray[Any, Any]:
    other = rows.copy()
    other[sample] = values
    return other


# ---- values that no loss means ---

BINARY = np.array(Y % 2, np.float32)[:, None]
WRONG = {
    "BCE, 0 and 255": (BCE, 255 * BINARY, r"sample 1 holds 255.0 at \(0,\).*BinaryCrossEntropy takes 0 to 1"),
    "BCE, -1 and 1": (BCE, 2 * BINARY - 1, r"sample 0 holds -1.0 at \(0,\).*0 to 1"),
    "BCE, one": (BCE, changed(BINARY, 7, 1.5), r"sample 7 holds 1.5 at \(0,\)"),
    "CE, negative": (CE, changed(ONE_HOT, 5, [1.5, -0.5, 0, 0]), r"sample 5 holds -0.5 at \(1,\).*CrossEntropy takes"),
    "CE, smoothed and negative": (engine.CrossEntropy(0.1), changed(ONE_HOT, 5, [2, -1, 0, 0]), r"sample 5 holds -1.0"),
}


@pytest.mark.parametrize(("loss", "y", "message"), WRONG.values(), ids=WRONG)
def test_targets_beyond_what_the_loss_takes(loss: Loss, y: Any, message: str, tmp_path: Path) -> None:
    outputs = y.shape[1]
    with pytest.raises(UserError, match=f"data: .*{message}"):
        trainer(outputs, loss, out=tmp_path / "run").fit((X, y), epochs=1)
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match=f"validation: .*{message}"):
        good = np.zeros_like(y)
        good[:, 0] = 1
        trainer(outputs, loss).fit((X, good), (X, y), epochs=1)
    with pytest.raises(UserError, match=f"data: .*{message}"):
        trainer(outputs, loss).evaluate((X, y))
    with pytest.raises(UserError, match=message):
        trainer(outputs, loss).step(X, y)
    with pytest.raises(UserError, match=message):
        network(outputs).evaluate(X, y, loss)
    with pytest.raises(UserError, match=message):
        network(outputs).loss_and_gradients(X, y, loss)


SUMS = {"counts": 3 * ONE_HOT, "several classes": np.ones_like(ONE_HOT), "no class": changed(ONE_HOT, 3, 0)}


@pytest.mark.parametrize("y", SUMS.values(), ids=SUMS)
def test_rows_of_a_data_set_that_are_no_probabilities(y: Any) -> None:
    sample = int(np.argmax(y.sum(axis=1) != 1))
    message = f"data: the targets of sample {sample} sum to {y[sample].sum():g}.*sample_weights"
    with pytest.raises(UserError, match=message):
        trainer(4, CE).fit((X, y), epochs=1)
    with pytest.raises(UserError, match=message):
        trainer(4, CE).evaluate((X, y))
    trainer(4, MSE).fit((X, y), epochs=1)


def test_a_batch_transform_may_not_leave_the_range_either() -> None:
    loader = Loader(Dataset("d", X, ONE_HOT), 4, batch_transform=lambda x, y, rng: (x, -y))
    with pytest.raises(UserError, match=r"d: the targets of sample \d+ holds? -1.0"):
        trainer(4, CE).fit(loader, epochs=1)


def test_what_is_documented_trains_on() -> None:
    """Weights (also below 1, which smoothing meets with a shift), mixed samples, rounded probabilities."""
    rough = np.round(RNG.dirichlet(np.ones(4), 12), 2).astype(np.float32)
    for loss in (CE, engine.CrossEntropy(0.2)):
        for y in (Y, ONE_HOT, rough):
            plain = Dataset("d", X, y)
            for dataset in (plain, Dataset("d", X, y, sample_weights=np.linspace(0, 3, 12, dtype=np.float32))):
                for mix in (None, Mixup(0.4, 4)):
                    history = trainer(4, loss).fit(Loader(dataset, 4, batch_transform=mix), dataset, epochs=2)
                    assert np.isfinite(history["train_loss"]).all()
    trainer(4, CE).fit(weighted(Dataset("d", X, Y), [0.1, 5, 0, 1]), epochs=1)
    trainer(4, BCE).fit((X, np.clip(rough, 0, 1)), epochs=1)


# ---- one output ---


@pytest.mark.parametrize("y", [RNG.standard_normal((12, 1)).astype(np.float32), np.zeros(12, np.int64)], ids=str)
def test_cross_entropy_over_one_output_is_refused(y: Any, tmp_path: Path) -> None:
    message = "one output is always right.*BinaryCrossEntropy or MeanSquaredError"
    with pytest.raises(UserError, match=message):
        Trainer(network(1), engine.SGD(0.1), batch_size=4, progress="none", out=tmp_path / "r").fit((X, y), epochs=1)
    assert not (tmp_path / "r").exists()
    with pytest.raises(UserError, match=message):
        network(1).training_session(CE, engine.SGD(0.1), 4)
    with pytest.raises(UserError, match=message):
        network(1).evaluate(X, y, CE)
    with pytest.raises(UserError, match=message):
        network(1).loss_and_gradients(X, y, CE)
    assert network(1).summary()


def test_other_losses_train_one_output() -> None:
    for loss in (BCE, MSE):
        trainer(1, loss).fit((X, BINARY), (X, BINARY), epochs=1)


# ---- labels ---


def test_a_label_below_0_is_named_by_its_sample() -> None:
    with pytest.raises(UserError) as found:
        trainer(4, CE).fit((X, changed(Y, 5, -1)), epochs=1)
    assert str(found.value) == "data: sample 5 has label -1, but labels run from 0 to 3"
    with pytest.raises(UserError) as found:
        trainer(4, CE).fit((X, changed(Y, 5, 4)), epochs=1)
    assert "labels run from 0 to 4, but the network has 4 classes" in str(
        found.value
    ) and "model.arguments.classes: 5" in str(found.value)


@pytest.mark.parametrize("label", [2**63, 2**64 - 1])
def test_a_label_beyond_int64_is_shown_as_it_is(label: int) -> None:
    y = Y.astype(np.uint64)
    y[5] = label
    message = f"sample 5 has label {label}, "
    with pytest.raises(UserError, match=f"data: {message}"):
        trainer(4, CE).fit((X, y), epochs=1)
    with pytest.raises(UserError, match=message):
        network(4).evaluate(X, y, CE)
    with pytest.raises(UserError, match=message):
        trainer(4, CE).step(X, y)
    with pytest.raises(UserError, match=message):
        network(4).loss_and_gradients(X, y, CE)
    trainer(4, CE).fit((X, Y.astype(np.uint64)), epochs=1)
