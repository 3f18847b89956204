"""Learning rates over time, against hand-computed values and the formulas' published forms."""

import math

import pytest

from engine.errors import UserError
from engine.training.schedules import Constant, Cosine, PiecewiseConstant, ReduceLROnPlateau


def test_constant_is_the_optimizers_rate():
    assert Constant().rate(0.3, step=10_000, epoch=99) == 0.3


def test_piecewise_in_steps_is_keras_form():
    schedule = PiecewiseConstant([1400, 2800, 10000], [0.1, 0.01, 0.001, 0.0001])
    rates = {step: schedule.rate(5.0, step, 0) for step in (0, 1400, 1401, 2800, 2801, 10000, 10001)}
    assert rates == {0: 0.1, 1400: 0.1, 1401: 0.01, 2800: 0.01, 2801: 0.001, 10000: 0.001, 10001: 0.0001}


def test_piecewise_in_epochs():
    schedule = PiecewiseConstant([1], [0.1, 0.01], unit="epoch")
    assert [schedule.rate(1.0, 500, epoch) for epoch in range(4)] == [0.1, 0.1, 0.01, 0.01]


def test_cosine_starts_at_base_ends_at_minimum():
    schedule = Cosine(total=100, minimum=0.1)
    assert schedule.rate(1.0, 0, 0) == 1.0
    assert schedule.rate(1.0, 50, 0) == pytest.approx(0.55)
    assert schedule.rate(1.0, 25, 0) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)
    assert schedule.rate(1.0, 100, 0) == schedule.rate(1.0, 10_000, 0) == 0.1


@pytest.mark.parametrize(("unit", "total"), [("step", 12), ("epoch", 3)])
def test_cosine_without_total_is_as_long_as_the_run(unit, total):
    schedule = Cosine(warmup=1, unit=unit)
    assert schedule.for_run(epochs=3, steps=4) == Cosine(total, warmup=1, unit=unit)
    assert Cosine(5).for_run(epochs=3, steps=4) == Cosine(5)
    with pytest.raises(UserError, match="total"):
        schedule.rate(1.0, 0, 0)
    with pytest.raises(UserError, match="total 1, warmup 1"):
        schedule.for_run(epochs=1, steps=1)


def test_cosine_warms_up_in_a_straight_line():
    schedule = Cosine(total=24, warmup=4)
    assert [schedule.rate(1.0, step, 0) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_cosine_restarts_with_growing_periods():
    schedule = Cosine(total=30, restarts=1, growth=2.0, unit="epoch")
    assert schedule.rate(1.0, 0, 9) < 0.05
    assert schedule.rate(1.0, 0, 10) == 1.0  # periods of 10 and 20
    assert schedule.rate(1.0, 0, 20) == pytest.approx(0.5)


def plateau_rates(schedule, values):
    rates = []
    for value in values:
        schedule.observe({schedule.metric: value})
        rates.append(schedule.rate(1.0, 0, 0))
    return rates


def test_plateau_cuts_after_patience():
    schedule = ReduceLROnPlateau(factor=0.5, patience=2)
    assert plateau_rates(schedule, [1.0, 0.9, 0.9, 0.9, 0.9, 0.9]) == [1, 1, 1, 0.5, 0.5, 0.25]


def test_plateau_counts_nan_as_worst():
    schedule = ReduceLROnPlateau(factor=0.5, patience=2, metric="val_macro_f1")
    assert schedule.mode == "max"
    assert plateau_rates(schedule, [math.nan, math.nan, 0.1, math.nan, math.nan]) == [1, 0.5, 0.5, 0.5, 0.25]


def test_plateau_cooldown_and_minimum():
    schedule = ReduceLROnPlateau(factor=0.1, patience=1, cooldown=2, min_lr=0.05)
    assert plateau_rates(schedule, [1.0] * 8) == pytest.approx([1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05])


def test_plateau_threshold_is_absolute():
    schedule = ReduceLROnPlateau(factor=0.5, patience=1, threshold=0.1)
    assert plateau_rates(schedule, [1.0, 0.95, 0.85]) == [1, 0.5, 0.5]


def test_plateau_state_survives_a_restart():
    values = [1.0, 0.9, 0.95, 0.97, 0.99, 0.8, 0.85, 0.9, 0.95]
    whole = ReduceLROnPlateau(factor=0.5, patience=2)
    expected = plateau_rates(whole, values)
    for cut in range(len(values)):
        first = ReduceLROnPlateau(factor=0.5, patience=2)
        begun = plateau_rates(first, values[:cut])
        second = ReduceLROnPlateau(factor=0.5, patience=2)
        second.load_state(first.state_dict())
        assert begun + plateau_rates(second, values[cut:]) == expected


@pytest.mark.parametrize(
    "make",
    [
        lambda: PiecewiseConstant([1, 2], [0.1, 0.2]),
        lambda: PiecewiseConstant([2, 1], [0.1, 0.2, 0.3]),
        lambda: PiecewiseConstant([1], [0.1, -1.0]),
        lambda: PiecewiseConstant([1], [0.1, 0.2], unit="batch"),
        lambda: Cosine(total=10, warmup=10),
        lambda: Cosine(total=10, restarts=-1),
        lambda: Cosine(total=10, growth=0.0),
        lambda: ReduceLROnPlateau(factor=1.0),
        lambda: ReduceLROnPlateau(patience=0),
        lambda: ReduceLROnPlateau(mode="upwards"),
    ],
)
def test_bad_arguments_are_named(make):
    with pytest.raises(UserError):
        make()
