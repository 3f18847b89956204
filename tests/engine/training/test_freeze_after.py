"""Parameters that learn for some epochs and then stay as they are."""

import numpy as np
import pytest

import engine
from engine.errors import UserError
from engine.network.checkpoint import weights_hash
from engine.recipe.config import read_config
from engine.recipe.fit import make_trainer
from engine.training.average import Average
from tests.engine.small import small_dataset, small_net

DATA, HELD_OUT = small_dataset(48), small_dataset(16, seed=1)
KEY = "0.bias"


class Stopped(Exception):
    """In place of a kill."""


def trainer(out=None, freeze_after=None, **options):
    optimizer = options.pop("optimizer", engine.Adam(lr=0.02))
    return engine.Trainer(
        small_net(), optimizer, batch_size=16, progress="none", out=out, freeze_after=freeze_after, **options
    )


def course(**options):
    """The parameters after each of four epochs."""
    run, seen = trainer(**options), []
    run.fit(DATA, epochs=4, callbacks=[lambda _: seen.append(run.net.parameters())])
    return seen


@pytest.mark.parametrize(
    "optimizer", [engine.SGD(lr=0.05, momentum=0.9, weight_decay=0.01), engine.AdamW(lr=0.02)], ids=["sgd", "adamw"]
)
def test_it_learns_for_so_many_epochs_and_then_stays(optimizer):
    free, held = course(optimizer=optimizer), course(optimizer=optimizer, freeze_after={KEY: 2})
    for epoch in range(2):
        assert all(np.array_equal(held[epoch][key], free[epoch][key]) for key in free[0])
    assert not np.array_equal(held[0][KEY], held[1][KEY])
    assert np.array_equal(held[1][KEY], held[2][KEY]) and np.array_equal(held[1][KEY], held[3][KEY])
    others = [key for key in free[0] if key != KEY]
    assert all(not np.array_equal(held[2][key], held[3][key]) for key in others)


def test_it_wins_over_factors_wherever_they_stand():
    rates = {KEY: 3.0, "*": 2.0}
    held = course(learning_rates=rates, freeze_after={"0": 1})
    for key in held[0]:
        assert np.array_equal(held[0][key], held[3][key]) == key.startswith("0."), key
    assert not np.array_equal(held[0][KEY], small_net().parameters()[KEY])


@pytest.mark.parametrize("steps", [3, 5, 6, 7, 10], ids="after {} steps".format)
def test_a_resume_is_exact_before_at_and_behind_the_end(tmp_path, steps):
    options = {"freeze_after": {KEY: 2}, "average": Average(decay=0.5), "max_norm": 1.0}
    whole = trainer(**options)
    whole.fit(DATA, HELD_OUT, epochs=4)
    cut = trainer(tmp_path, **options)
    count = 0

    def stop():
        nonlocal count
        if count == steps:
            raise Stopped
        count += 1

    cut.before_step = stop
    with pytest.raises(Stopped):
        cut.fit(DATA, HELD_OUT, epochs=4, checkpoint_every=1)
    again = trainer(tmp_path, **options)
    again.fit(DATA, HELD_OUT, epochs=4, resume=True, checkpoint_every=1)
    assert weights_hash(again.net) == weights_hash(whole.net)


def test_another_end_is_another_run(tmp_path):
    trainer(tmp_path, {KEY: 2}).fit(DATA, epochs=1)
    with pytest.raises(UserError, match=r"freeze_after\.0\.bias = 2, now it is 3"):
        trainer(tmp_path, {KEY: 3}).fit(DATA, epochs=2, resume=True)


def test_a_run_without_the_key_goes_on_as_before():
    assert trainer().settings()["freeze_after"] is None
    config = {"dataset": "mnist", "model": {"name": "mnist_cnn"}}
    assert "freeze_after" not in read_config(config).to_dict()


def test_a_configuration_can_say_it():
    given = {"dataset": "mnist", "model": {"name": "mnist_cnn"}, "freeze_after": {"0": 2, "*.bias": 5}}
    made = make_trainer(read_config(given), None)
    ends = made.settings()["freeze_after"]
    assert ends["0.weights"] == 2 and ends["0.bias"] == 5 and made.config["freeze_after"] == given["freeze_after"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"nothing": 3}, "nothing"),
        ({KEY: 0}, "epochs must be"),
        ({KEY: 1.5}, "epochs must be"),
        ({"*": 3}, "every parameter is named"),
        ([KEY], "expected names or patterns"),
    ],
    ids=["unknown", "none", "a half", "everything", "a list"],
)
def test_what_cannot_be_is_refused(given, message):
    with pytest.raises(UserError, match=message):
        trainer(freeze_after=given)


@pytest.mark.parametrize(
    "others",
    [{"freeze": ["0"]}, {"learning_rates": {"0": 0}}, {"freeze": ["0"], "learning_rates": {"0": 2}}],
    ids=["frozen", "at a factor of 0", "frozen with a factor"],
)
def test_what_never_learns_is_not_left_to_train(others):
    rest = [key for key in small_net().parameters() if not key.startswith("0.")]
    with pytest.raises(UserError, match="freeze_after: every parameter that learns is named"):
        trainer(freeze_after=dict.fromkeys(rest, 3), **others)
    trainer(freeze_after=dict.fromkeys(rest[1:], 3), **others)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rates": {"*": 0}}, "learning_rates: every parameter has a factor of 0"),
        ({"learning_rates": {"0": 2, "*": 0}}, "learning_rates: every parameter has a factor of 0"),
        ({"learning_rates": {"[!0]*": 0}, "freeze": ["0"]}, "every parameter of those that freeze leaves has a factor"),
    ],
)
def test_a_run_in_which_nothing_learns_is_refused(options, message):
    layers = [engine.Conv2D(1, 2, 3), engine.Flatten(), engine.Linear(8, 3)]
    net = engine.Sequential(layers, input_shape=(1, 4, 4), seed=0)
    with pytest.raises(UserError, match=message):
        engine.Trainer(net, engine.SGD(), progress="none", **options)


def test_running_statistics_are_something_to_train():
    trainer(learning_rates={"*": 0})
    with pytest.raises(UserError, match="every parameter of those that freeze leaves has a factor of 0"):
        trainer(learning_rates={"*": 0}, freeze=["1"])
