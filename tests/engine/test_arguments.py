"""Numbers are checked as what they become in the core."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine.arguments import FLOAT32_LIMIT, as_float32, number
from engine.data.choose.weights import class_weights
from engine.errors import UserError
from engine.recipe.config import read_config
from engine.training.schedules import Schedule
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
        lambda: engine.Clip(low=-1e39),
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


# ---- numbers and truths of every kind ---

FLOATS: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda v: engine.SGD(v).lr,
    "momentum": lambda v: engine.SGD(0.1, v).momentum,
    "l2": lambda v: (engine.SGD(0.1, l2={"conv": v}).l2 or {})["conv"],
    "betas": lambda v: engine.Adam(betas=(v, v)).betas[1],
    "eps": lambda v: engine.AdamW(eps=v).eps,
    "Dropout": lambda v: engine.Dropout(v).rate,
    "LeakyReLU": lambda v: engine.LeakyReLU(v).slope,
    "ELU": lambda v: engine.ELU(v).alpha,
    "Clip": lambda v: engine.Clip(high=v).high,
    "BatchNorm eps": lambda v: engine.BatchNorm(3, v).eps,
    "BatchNorm momentum": lambda v: engine.BatchNorm(3, momentum=v).momentum,
    "label_smoothing": lambda v: engine.CrossEntropy(v).label_smoothing,
    "minimum": lambda v: engine.Cosine(minimum=v).minimum,
    "growth": lambda v: engine.Cosine(growth=v).growth,
    "values": lambda v: engine.PiecewiseConstant((1,), (v, v)).values[1],
    "factor": lambda v: engine.ReduceLROnPlateau(v).factor,
    "plateau threshold": lambda v: engine.ReduceLROnPlateau(threshold=v).threshold,
    "min_lr": lambda v: engine.ReduceLROnPlateau(min_lr=v).min_lr,
    "threshold": lambda v: engine.EarlyStopping(1, threshold=v).threshold,
    "max_norm": lambda v: engine.Trainer(small_net(), engine.SGD(), max_norm=v).max_norm,
    "learning_rates": lambda v: engine.Trainer(small_net(), engine.SGD(), learning_rates={"0": v}).settings()[
        "learning_rates"
    ]["0.weights"],
    "class_weights": lambda v: float(class_weights([v, v], np.array([0, 1]), ())[1]),
}


@pytest.mark.parametrize("value", [np.float32(0.25), np.float64(0.25), np.float16(0.25), Fraction(1, 4)], ids=repr)
@pytest.mark.parametrize("make", FLOATS.values(), ids=FLOATS)
def test_a_real_number_of_any_kind_is_one_and_becomes_pythons(make: Callable[[Any], Any], value: Any) -> None:
    assert make(value) == 0.25 and type(make(value)) is float


@pytest.mark.parametrize("value", ["0.25", "nan", math.nan, None, True, np.bool_(True), np.float32("nan"), [0.25], 1j])
@pytest.mark.parametrize(("name", "make"), FLOATS.items(), ids=FLOATS)
def test_what_is_no_number_is_one_clear_error(name: str, make: Callable[[Any], Any], value: Any) -> None:
    if value is None and name in ("max_norm", "learning_rates"):
        return  # none at all, and an error of its own
    with pytest.raises(UserError, match="number"):
        make(value)


COUNTS: dict[str, Callable[[Any], Any]] = {
    "in_channels": lambda v: engine.Conv2D(v, 2, 3).in_channels,
    "seed": lambda v: engine.Trainer(small_net(), engine.SGD(), seed=v).seed,
    "network seed": lambda v: small_net(v).seed,
    "graph seed": lambda v: engine.Graph((1, 2, 2), seed=v).seed,
    "loader seed": lambda v: engine.Loader(TRAIN, 2, seed=v).seed,
    "prefetch": lambda v: engine.Loader(TRAIN, 2, prefetch=v).prefetch,
    "workers": lambda v: engine.Loader(TRAIN, 2, workers=v).workers,
    "batch_size": lambda v: engine.Trainer(small_net(), engine.SGD(), batch_size=v).batch_size,
    "patience": lambda v: engine.EarlyStopping(v).patience,
    "plateau patience": lambda v: engine.ReduceLROnPlateau(patience=v).patience,
    "cooldown": lambda v: engine.ReduceLROnPlateau(cooldown=v).cooldown,
    "total": lambda v: engine.Cosine(v).total,
    "warmup": lambda v: engine.Cosine(100, v).warmup,
    "restarts": lambda v: engine.Cosine(100, restarts=v).restarts,
    "boundaries": lambda v: engine.PiecewiseConstant((v,), (1.0, 2.0)).boundaries[0],
    "threads": lambda v: threads_of(v),
}


def threads_of(count: Any) -> int:
    before = engine.get_num_threads()
    try:
        engine.set_num_threads(count)
        return engine.get_num_threads()
    finally:
        engine.set_num_threads(before)


@pytest.mark.parametrize("value", [np.int64(2), np.uint8(2), 2], ids=repr)
@pytest.mark.parametrize("make", COUNTS.values(), ids=COUNTS)
def test_a_whole_number_of_any_kind_is_one_and_becomes_pythons(make: Callable[[Any], Any], value: Any) -> None:
    assert make(value) == 2 and type(make(value)) is int


@pytest.mark.parametrize("value", ["2", 2.5, 2.0, True, np.bool_(True), math.nan, np.array([2, 2]), [2], -1], ids=repr)
@pytest.mark.parametrize("make", COUNTS.values(), ids=COUNTS)
def test_what_is_no_count_is_one_clear_error(make: Callable[[Any], Any], value: Any) -> None:
    with pytest.raises(UserError, match="whole number"):
        make(value)


TRUTHS: dict[str, Callable[[Any], Any]] = {
    "bias": lambda v: engine.Conv2D(1, 2, 3, bias=v).bias,
    "bias of Linear": lambda v: engine.Linear(1, 2, v).bias,
    "nesterov": lambda v: engine.SGD(0.1, 0.9, v).nesterov,
    "ceil_mode": lambda v: engine.MaxPool2D(2, ceil_mode=v).ceil_mode,
    "ceil_mode of AvgPool2D": lambda v: engine.AvgPool2D(2, ceil_mode=v).ceil_mode,
    "count_include_pad": lambda v: engine.AvgPool2D(2, count_include_pad=v).count_include_pad,
    "drop_last": lambda v: engine.Loader(TRAIN, 2, drop_last=v).drop_last,
    "tune": lambda v: engine.Trainer(small_net(), engine.SGD(), tune=v).tune,
}
FIT_TRUTHS = ("resume", "train_metrics", "restore_best")


@pytest.mark.parametrize("make", TRUTHS.values(), ids=TRUTHS)
def test_true_and_false_are_no_texts(make: Callable[[Any], Any]) -> None:
    for value in (False, True, np.bool_(False), np.bool_(True), 0, 1):
        assert make(value) is bool(value)
    for value in ("no", "false", "true", "", None, 2, 0.0, np.nan, []):
        with pytest.raises(UserError, match="must be true or false"):
            make(value)


@pytest.mark.parametrize("name", FIT_TRUTHS)
def test_so_it_is_in_fit(name: str) -> None:
    with pytest.raises(UserError, match=f"fit: {name} must be true or false, not 'no'"):
        engine.Trainer(small_net(), engine.SGD(), progress="none").fit(TRAIN, epochs=1, **{name: "no"})


@pytest.mark.parametrize(
    "make",
    [
        lambda: engine.Cosine(6, restarts=2, growth=1e308),
        lambda: engine.Cosine(6, restarts=2000, growth=0.5),
        lambda: engine.Cosine(restarts=3, growth=1e-200),
    ],
)
def test_periods_of_a_cosine_whose_lengths_are_no_numbers(make: Callable[[], Any]) -> None:
    with pytest.raises(UserError, match=r"Cosine: .*growth.*restarts"):
        make()


def test_settings_in_numpys_numbers_are_written_and_resumed(tmp_path: Path) -> None:
    """The record of a run is JSON: nothing in it stays one of NumPy's numbers."""
    arrays: Any = np.array([1]), np.array([0.1, 0.2])
    schedules = [engine.Cosine(np.int64(10), minimum=np.float32(0)), engine.PiecewiseConstant(*arrays)]
    schedules.append(engine.ReduceLROnPlateau(np.float32(0.5), np.int32(1), metric="train_loss"))
    for place, schedule in enumerate(schedules):
        for resume in (False, True):
            options: Any = {"schedule": schedule, "batch_size": np.int64(48), "seed": np.int64(1), "progress": "none"}
            trainer = engine.Trainer(small_net(), engine.SGD(np.float32(0.1)), out=tmp_path / str(place), **options)
            stop = engine.EarlyStopping(np.int64(5), threshold=np.float32(0))
            trainer.fit(TRAIN, epochs=np.int64(1 + resume), resume=resume, early_stopping=stop)


def test_a_schedule_of_ones_own_may_give_numpys_numbers(tmp_path: Path) -> None:
    class Falling(Schedule):
        def rate(self, base: float, step: int, epoch: int) -> Any:
            return np.float32(base / (1 + step))

    schedule = dataclass(Falling)()
    trainer = engine.Trainer(small_net(), engine.SGD(0.1), schedule=schedule, out=tmp_path, progress="none")
    assert type(trainer.fit(TRAIN, epochs=1).epochs[0]["learning_rate"]) is float
