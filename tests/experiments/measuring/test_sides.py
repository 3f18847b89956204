"""Processes measured in turn: what they answer, and that they stand still in between."""

import os
import sys
import time
from pathlib import Path

import pytest

from engine.errors import UserError
from experiments.measuring.sides import Side, SideEnded, turns

ROOT = Path(__file__).resolve().parents[3]
COUNTER = """
import threading, time
from experiments.measuring.sides import serve
count = 0
def work():
    global count
    while True:
        count += 1
        time.sleep(0.001)
threading.Thread(target=work, daemon=True).start()
def answer(double):
    time.sleep(0.05)
    return {"count": count, "doubled": 2 * double}
serve(answer)
"""
ENVIRONMENT = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_a_side_answers_and_stands_still_in_between() -> None:
    with Side("counter", ["-c", COUNTER], ENVIRONMENT) as side:
        first = side.ask(double=4)
        assert first["doubled"] == 8 and first["count"] > 0
        stat = Path(f"/proc/{side.pid}/stat")
        deadline = time.monotonic() + 10
        while stat.read_text().rpartition(")")[2].split()[0] != "T":
            assert time.monotonic() < deadline, "the process was not stopped"
            time.sleep(0.01)
        assert side.ask(double=1)["doubled"] == 2


def test_a_side_that_has_ended_is_named() -> None:
    with (
        Side("gone", ["-c", "raise SystemExit"], ENVIRONMENT) as side,
        pytest.raises(UserError, match="'gone' has ended"),
    ):
        side.ask(double=1)


def test_the_reason_of_an_end_is_kept(tmp_path: Path) -> None:
    script = "import sys; print('warning', file=sys.stderr); raise SystemExit('no such device')"
    with (
        Side("gone", ["-c", script], ENVIRONMENT, messages=tmp_path / "messages") as side,
        pytest.raises(SideEnded, match="status 1: no such device"),
    ):
        side.ask(double=1)


def test_an_answer_may_not_take_for_ever() -> None:
    with (
        Side("slow", ["-c", "import time; time.sleep(60)"], ENVIRONMENT, limit=0.2) as side,
        pytest.raises(SideEnded, match="no answer within 0.2 s"),
    ):
        side.ask(double=1)


def test_every_side_begins_equally_often() -> None:
    order = turns(["a", "b", "c"], 6)
    assert [each[0] for each in order] == ["a", "b", "c"] * 2
    assert all(sorted(each) == ["a", "b", "c"] for each in order)
