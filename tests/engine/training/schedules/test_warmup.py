"""A warm-up around any schedule."""

import pytest

from engine.errors import UserError
from engine.recipe.build import with_warmup
from engine.recipe.config import read_config
from engine.training.schedules import Constant, Cosine, PiecewiseConstant, ReduceLROnPlateau, Warmup


def test_the_factor_rises_in_a_straight_line():
    schedule = Warmup(Constant(), steps=4, start=0.2)
    assert [schedule.rate(2.0, step, 0) for step in range(6)] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0, 2.0])


def test_epochs_are_those_of_the_run():
    schedule = Warmup(PiecewiseConstant([11], [1.0, 0.1]), epochs=2, start=0.0).for_run(epochs=5, steps=5)
    assert [schedule.rate(9.0, step, step // 5) for step in (0, 5, 9, 10, 11, 12)] == pytest.approx(
        [0.0, 0.5, 0.9, 1.0, 1.0, 0.1]
    )
    with pytest.raises(UserError, match="give steps"):
        Warmup(epochs=2).rate(1.0, 0, 0)


def test_what_is_inside_gets_the_length_and_keeps_its_later_rates():
    schedule, inner = Warmup(Cosine(), steps=3).for_run(2, 10), Cosine(20)
    assert [schedule.rate(1.0, step, 0) for step in range(3, 21)] == [inner.rate(1.0, step, 0) for step in range(3, 21)]


def test_what_is_inside_observes_and_is_remembered():
    schedule = Warmup(ReduceLROnPlateau(factor=0.5, patience=1, metric="val_loss"), steps=1)
    assert schedule.metric == "val_loss" and Warmup(Constant(), steps=1).metric is None
    for _ in range(2):
        schedule.observe({"val_loss": 1.0})
    again = Warmup(ReduceLROnPlateau(factor=0.5, patience=1, metric="val_loss"), steps=1)
    again.load_state(schedule.state_dict())
    assert again.rate(1.0, 5, 0) == schedule.rate(1.0, 5, 0) == 0.5


def test_one_length_is_needed():
    for given in ({}, {"steps": 2, "epochs": 1}):
        with pytest.raises(UserError, match="either steps or epochs"):
            Warmup(**given)
    with pytest.raises(UserError, match="warmup: steps"):
        Warmup(steps=0)
    with pytest.raises(UserError, match="Warmup: schedule"):
        Warmup("Cosine", steps=1)  # type: ignore[arg-type]


def test_a_configuration_has_a_key_for_it():
    content = {"dataset": "digits5k", "model": {"name": "lenet"}, "schedule": {"name": "Cosine"}}
    config = read_config({**content, "warmup": {"epochs": 2, "start": 0.05}})
    assert with_warmup(config) == Warmup(Cosine(), epochs=2, start=0.05)
    assert with_warmup(read_config({**content, "warmup": False})) == Cosine()
    with pytest.raises(UserError, match="warmup"):
        read_config({**content, "warmup": {"epochs": 2, "steps": 3}})
