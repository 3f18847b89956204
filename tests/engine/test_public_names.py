"""The public names: one list, in the stub of the package."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import engine
from engine.layers import LAYERS
from engine.losses import LOSSES
from engine.optim import OPTIMIZERS
from engine.training.schedules import SCHEDULES

NAMES = engine.__all__
ROOT = Path(__file__).parents[2]


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


def _is_there(name: str) -> bool:
    """Whether a dotted name is a module, or something that its module defines or imports, found without an import."""
    place, rest = ROOT, name.split(".")
    while rest and (place / rest[0]).is_dir():
        place /= rest.pop(0)
    module = place / "__init__.py"
    if rest and (place / f"{rest[0]}.py").is_file():
        module = place / f"{rest.pop(0)}.py"
    defined = "" if not rest else rf"(?m)\b(def|class|import) (.*\b)?{rest[0]}\b|^ *{rest[0]}(,| ?[:=])"
    return (not rest or rest[0] in NAMES and place == ROOT / "engine") or bool(re.search(defined, module.read_text()))


def test_names_that_messages_and_descriptions_advise_are_there():
    said = {}
    for path in (ROOT / "engine").rglob("*.py"):
        text = path.read_text("utf-8")
        if "(engine: Any" not in text:  # a variable of that name
            said |= dict.fromkeys(re.findall(r"(?<![\w./-])engine(?:\.\w+)+", text), path.name)
    del said["engine.spell"]  # not a name of Python
    assert len(said) > 100 and not _is_there("engine.replace_head")
    assert {name: file for name, file in said.items() if not _is_there(name)} == {}
