"""The public names: one list, in the stub of the package."""

import subprocess
import sys

import pytest

import engine
from engine.layers import LAYERS
from engine.losses import LOSSES
from engine.optim import OPTIMIZERS
from engine.training.schedules import SCHEDULES

NAMES = engine.__all__


def test_no_name_is_listed_twice():
    assert len(NAMES) > 30 and len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there(name):
    found = getattr(engine, name).__name__  # of a package that can be called, with where it stands
    assert found.removeprefix("engine.") == name and name in dir(engine)


@pytest.mark.parametrize("registry", [LAYERS, LOSSES, OPTIMIZERS, SCHEDULES], ids=lambda each: next(iter(each)))
def test_what_a_configuration_can_name_is_public(registry):
    for name, made in registry.items():
        assert made.__name__ == name and getattr(engine, name) is made


def test_a_star_takes_all_of_them():
    code = "from engine import *; print(Trainer.__name__, EarlyStopping.__name__, Dataset.__name__, Loader.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["Trainer", "EarlyStopping", "Dataset", "Loader"], done.stderr


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'Transformer'"):
        engine.Transformer  # noqa: B018  (asking for it is the test)
