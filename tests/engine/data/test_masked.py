"""Masked arrays: what is masked has a value below, which is none of the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import engine
from engine.data.choose.weights import class_weights
from engine.data.dataset import Dataset, RawDataset
from engine.errors import UserError
from tests.engine.small import CLASSES, SIDE, small_dataset, small_net

TRAIN = small_dataset(32)
X, Y = TRAIN.normalise(TRAIN.images), TRAIN.labels
SOFT = np.eye(3, dtype=np.float32)[Y]
CE = engine.CrossEntropy()


def masked(array: Any) -> Any:
    mask = np.zeros(array.shape, bool)
    mask[3] = True
    return np.ma.masked_array(array, mask)


def trainer() -> engine.Trainer:
    return engine.Trainer(small_net(), engine.SGD(0.1), batch_size=16, progress="none")


def session_step(x: Any, y: Any) -> None:
    small_net().training_session(CE, engine.SGD(0.1), 32).step(x, y, 0.1, 0, 0)


def warm_predict(x: Any) -> None:
    net = small_net()
    net.predict(X)
    net.predict(x)


TAKES: dict[str, Callable[[], Any]] = {
    "predict": lambda: small_net().predict(masked(X)),
    "predict again": lambda: warm_predict(masked(X)),
    "network evaluate": lambda: small_net().evaluate(masked(X), Y, CE),
    "targets": lambda: small_net().evaluate(X, masked(Y), CE),
    "soft targets": lambda: small_net().loss_and_gradients(X, masked(SOFT), CE),
    "step": lambda: trainer().step(masked(X), Y),
    "step targets": lambda: trainer().step(X, masked(Y)),
    "session": lambda: session_step(X, masked(SOFT)),
    "fit images": lambda: trainer().fit((masked(X), Y), epochs=1),
    "fit labels": lambda: trainer().fit((X, masked(Y)), epochs=1),
    "fit soft labels": lambda: trainer().fit((X, masked(SOFT)), epochs=1),
    "fit list": lambda: trainer().fit((X, list(masked(Y))), epochs=1),
    "validation": lambda: trainer().fit((X, Y), (X, masked(Y)), epochs=1),
    "evaluate": lambda: trainer().evaluate((masked(X), Y)),
    "bytes": lambda: Dataset("d", masked(TRAIN.images), Y),
    "sample_weights": lambda: Dataset("d", X, Y, sample_weights=masked(np.ones(32, np.float32))),
    "columns": lambda: Dataset("d", X, Y, columns={"writer": masked(np.ones(32))}),
    "raw labels": lambda: RawDataset("d", list(TRAIN.images[:, 0]), masked(Y), CLASSES),
    "raw images": lambda: RawDataset("d", masked(TRAIN.images[:, 0]), Y, CLASSES),
    "calibrate": lambda: engine.calibrate(small_net(), masked(X)),
    "load_parameters": lambda: small_net().load_parameters(
        {key: masked(array) if key == "0.weights" else array for key, array in small_net().parameters().items()}
    ),
    "class_weights": lambda: class_weights(list(masked(np.ones(4))), Y, ("a", "b", "c", "d")),
}


@pytest.mark.parametrize("take", TAKES.values(), ids=TAKES)
def test_masked_values_are_refused(take: Callable[[], Any]) -> None:
    with pytest.raises(UserError, match=r"masked values: fill or drop them|a weight is a finite number"):
        take()


def test_a_masked_array_without_masked_values_is_an_array() -> None:
    plain = trainer().fit((X, Y), epochs=1)
    whole = trainer().fit((np.ma.masked_array(X), np.ma.masked_array(Y, np.zeros(32, bool))), epochs=1)
    assert whole["train_loss"] == plain["train_loss"] and X.shape[-1] == SIDE
    assert type(small_net().predict(np.ma.masked_array(X))) is np.ndarray
