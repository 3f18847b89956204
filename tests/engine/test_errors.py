"""Warnings: which ways they take, and that all take these."""

from __future__ import annotations

import copy
import logging
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import engine
from engine.data.dataset import SizesDiffer
from engine.data.images import UnreadableImage
from engine.errors import DivergedError, EngineWarning, SampleError, UserError
from engine.network.checkpoint import Damaged

ROOT = Path(__file__).resolve().parents[2]
RARE = "momentum 0.99 is the weight of the new batch here"


def test_a_warning_points_at_the_line_of_the_user() -> None:
    with pytest.warns(EngineWarning, match=RARE) as caught:
        engine.BatchNorm(3, momentum=0.99)
    (one,) = caught
    assert one.filename == __file__ and issubclass(EngineWarning, UserWarning)


def test_a_warning_is_logged_under_the_name_of_its_module(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.warns(EngineWarning):
        engine.BatchNorm(3, momentum=0.99)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("engine.layers.normalization", "WARNING")
    assert record.filename == "normalization.py" and RARE in record.getMessage()


def said(lines: str) -> list[str]:
    """What a program of these lines, and then a BatchNorm that warns, says on standard error."""
    code = f"{lines}\nimport engine\nfor _ in range(2): engine.BatchNorm(3, momentum=0.99)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()


def test_a_program_hears_a_warning_once() -> None:
    first, *rest = said("")
    assert "EngineWarning: BatchNorm" in first and not rest


@pytest.mark.parametrize(
    "quiet",
    [
        "import warnings, engine; warnings.simplefilter('ignore', engine.EngineWarning)",
        "import logging; logging.getLogger('engine').addHandler(logging.FileHandler('/dev/null'))",
    ],
    ids=["by a filter", "by a log of its own"],
)
def test_a_program_can_send_warnings_elsewhere(quiet: str) -> None:
    assert said(quiet) == []


def test_a_handler_of_ones_own_takes_the_place_of_pythons_warnings() -> None:
    lines = said("import logging\nlogging.getLogger('engine').addHandler(logging.StreamHandler())")
    assert len(lines) == 2 and all(line.startswith("BatchNorm: ") for line in lines)


def test_all_warnings_take_the_same_way() -> None:
    sources = [path for tree in ("engine", "experiments") for path in (ROOT / tree).rglob("*.py")]
    found = [path for path in sources if "warnings.warn" in path.read_text("utf-8")]
    assert found == [ROOT / "engine" / "errors.py"]
    assert logging.getLogger("engine").handlers and logging.getLogger("experiments").handlers


EXAMPLES = {
    "DivergedError": lambda: DivergedError(3, "conv1"),
    "of a data set": lambda: DivergedError(3, None, "output", "validation"),
    "SampleError": lambda: SampleError("the input of ", 4, "holds nan"),
    "at": lambda: SampleError("the input of ", 4, "holds nan").at(9, "train"),
    "SizesDiffer": lambda: SizesDiffer("some: images differ in size (1x1 and 2x2)", (3, 4)),
    "Damaged": lambda: Damaged("x: truncated"),
    "UnreadableImage": lambda: UnreadableImage("x: truncated"),
    "long": lambda: UserError("x" * 5000),
}


@pytest.mark.parametrize("make", EXAMPLES.values(), ids=EXAMPLES)
def test_an_error_is_the_same_behind_pickle_and_copy(make: Any) -> None:
    error = make()
    for again in (pickle.loads(pickle.dumps(error)), pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(error)))),
                  copy.copy(error), copy.deepcopy(error)):  # fmt: skip
        assert type(again) is type(error) and str(again) == str(error)
        assert vars(again) == vars(error)
