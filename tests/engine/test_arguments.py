"""Numbers are checked as what they become in the core."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import engine
from engine.arguments import FLOAT32_LIMIT, as_float32, number
from engine.data.choose.weights import class_weights
from engine.errors import UserError
from engine.recipe.config import read_config
from tests.engine.small import small_dataset, small_net

TRAIN = small_dataset(96)


@pytest.mark.parametrize("value", [0.1, -3, 3.4e38, 1.2e-38, 0.0, 2.0**-126])
def test_float32_rounds_as_numpy_does(value: float) -> None:
    assert as_float32(value) == float(np.float32(value))


@pytest.mark.parametrize(
    ("value", "seen"),
    [(1e39, math.inf), (-1e39, -math.inf), (10**400, math.inf), (1e-39, 0.0), (-1e-50, 0.0), (-math.inf, -math.inf)],
)
def test_what_float32_cannot_hold(value: float, seen: float) -> None:
    assert as_float32(value) == seen


def test_the_limit_is_the_least_that_becomes_infinite() -> None:
    assert as_float32(FLOAT32_LIMIT) == math.inf
    assert as_float32(math.nextafter(FLOAT32_LIMIT, 0.0)) == float(np.finfo(np.float32).max)


@pytest.mark.parametrize(
    ("value", "low", "high", "options", "message"),
    [
        (1e39, 0.0, math.inf, {}, r"must be a number of at least 0.0, but 1e\+39 is infinite as a float32"),
        (10**400, 0.0, math.inf, {}, "infinite as a float32"),
        (-1e39, -math.inf, math.inf, {}, "finite, but -1e.39 is infinite"),
        (math.inf, 0.0, math.inf, {}, "not inf"),
        (math.nan, -math.inf, math.inf, {}, "not nan"),
        (1e-50, 0.0, 1.0, {}, "is 0 as a float32"),
        (0, 0.0, math.inf, {"above": True}, "above 0.0, not 0"),
        (1 - 1e-9, 0.0, 1.0, {"below": True}, "below 1.0, but 0.999999999 is 1 as a float32"),
        (1, 0.0, 1.0, {"below": True}, "below 1.0, not 1"),
        (True, 0.0, 1.0, {}, "not True"),
    ],
)
def test_a_number_that_would_be_another_in_the_core(
    value: Any, low: float, high: float, options: dict[str, bool], message: str
) -> None:
    with pytest.raises(UserError, match=f"SGD: lr must be a number .*{message.split('must be a number ')[-1]}"):
        number("SGD", "lr", value, low, high, **options)


def test_good_numbers_stay_as_they_are() -> None:
    assert number("", "", 0.1, 0.0, 1.0) == 0.1 and number("", "", 3e38, 0.0, math.inf) == 3e38
    assert number("", "", 0, 0.0, 1.0, below=True) == 0.0


def train(**options: Any) -> object:
    settings = {"optimizer": engine.SGD(lr=0.1), "progress": "none", **options}
    return engine.Trainer(small_net(), batch_size=16, **settings).fit(TRAIN, epochs=1)


class Rising(engine.Constant):
    def rate(self, base: float, step: int, epoch: int) -> float:
        return base * 10.0 ** (30 * step)


@pytest.mark.parametrize(
    "make",
    [
        lambda: engine.SGD(lr=1e39),
        lambda: engine.SGD(momentum=1e-50),
        lambda: engine.SGD(weight_decay=1e39),
        lambda: engine.SGD(l2={"conv": 3e38}),
        lambda: engine.Adam(lr=1e39),
        lambda: engine.Adam(eps=1e-46),
        lambda: engine.Adam(betas=(0.9, 1 - 1e-9)),
        lambda: engine.AdamW(weight_decay=1e39),
        lambda: engine.LeakyReLU(slope=-1e39),
        lambda: engine.BatchNorm(3, eps=1e39),
        lambda: engine.BatchNorm(3, momentum=1e-42),
        lambda: engine.Dropout(1 - 1e-9),
        lambda: engine.CrossEntropy(label_smoothing=1 - 1e-9),
        lambda: engine.PiecewiseConstant([1], [0.1, 1e39]),
        lambda: engine.Cosine(10, minimum=1e39),
        lambda: engine.ReduceLROnPlateau(min_lr=1e39),
        lambda: train(max_norm=1e39),
        lambda: train(max_norm=math.nan),
        lambda: train(learning_rates={"*": 1e39}),
        lambda: train(learning_rates={"*": 1e38}, optimizer=engine.SGD(lr=100.0)),
        lambda: train(schedule=Rising()),
        lambda: small_net().plan(4, True, optimizer=engine.SGD(), max_norm=1e39),
        lambda: read_config({"dataset": {"name": "digits"}, "model": {"name": "lenet"}, "max_norm": 1e39}),
        lambda: class_weights({"a": 1e39}, np.array([0, 1]), ["a", "b"]),
        lambda: small_net().load_parameters({"0.bias": np.full(4, 1e39)}, strict=False),
    ],
)
def test_every_number_on_its_way_to_the_core_is_checked_as_float32(make: Callable[[], object]) -> None:
    with pytest.raises(UserError, match="float32|finite number|above 0.0, not nan"):
        make()
