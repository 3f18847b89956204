"""A plan that needs more memory than there is, and arrays that no core can have, are refused before they are made."""

from __future__ import annotations

from pathlib import Path

import cnncore
import numpy as np
import pytest

import engine
from engine.errors import UserError
from engine.network import network
from engine.plan.memory import available as memory
from tests.engine.small import SIDE, small_net

MEGABYTE = 10**6


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with one megabyte, on which nothing can be allocated."""
    monkeypatch.setattr(memory, "_machine_limit", lambda: MEGABYTE)


def test_a_plan_beyond_the_machine_says_what_it_needs_and_what_fits(
    little: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = small_net()
    x = np.ones((4096, 1, SIDE, SIDE), np.float32)

    def refuse(*arguments: object) -> None:
        raise AssertionError("something was allocated")

    with monkeypatch.context() as patch:
        patch.setattr(cnncore, "aligned_zeros", refuse)
        patch.setattr(cnncore, "Program", refuse)
        with pytest.raises(
            UserError, match=r"inference with a batch of 4096 needs .* MB .* 1.* MB: take a smaller batch"
        ) as said:
            net.predict(x, batch_size=2**40)
        with pytest.raises(UserError, match="the plan for evaluation with a batch of 4096"):
            net.evaluate(x, np.zeros(4096, np.int64), engine.CrossEntropy(), batch_size=4096)
    fits = int(str(said.value).split()[-3])
    assert fits < 4096 and net.predict(x, batch_size=fits).shape == (4096, 3)
    with pytest.raises(UserError, match="the plan for training with a batch of 4096"):
        net.training_session(engine.CrossEntropy(), engine.SGD(lr=0.1), 4096)
    with pytest.raises(UserError, match="the plan for inference with a batch of 4096"):
        net.plan(4096, tune=True)
    with pytest.raises(UserError, match="the plan for gradients with a batch of 4096"):
        net.loss_and_gradients(x, np.zeros(4096, np.int64), engine.CrossEntropy())


def test_weights_outputs_and_states_beyond_the_machine(little: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "draw", lambda *arguments: pytest.fail("weights were drawn"))
    with pytest.raises(UserError, match=r"a network of \d+ parameters needs 4.04 MB"):
        engine.Sequential([engine.Linear(1000, 1000)], (1000,))
    monkeypatch.undo()
    monkeypatch.setattr(memory, "_machine_limit", lambda: MEGABYTE)
    net = engine.Sequential([engine.Linear(1, 100)], (1,))
    with pytest.raises(UserError, match=r"an output of shape \(5000, 100\) needs 2 MB .* take fewer samples"):
        net.predict(np.ones((5000, 1), np.float32), batch_size=1)
    wide = engine.Sequential([engine.Linear(200, 800)], (200,))
    with pytest.raises(UserError, match="the state of Adam needs 1.29 MB"):
        wide.training_session(engine.MeanSquaredError(), engine.Adam(), 1)


@pytest.mark.parametrize("batch", [2**40, 2**63, 10**30])
def test_batches_that_no_array_can_have(batch: int) -> None:
    net = small_net()
    x, y = np.ones((3, 1, SIDE, SIDE), np.float32), np.zeros(3, np.int64)
    assert net.predict(x, batch_size=batch).shape == (3, 3)
    assert net.evaluate(x, y, engine.CrossEntropy(), batch_size=batch)[1].shape == (3, 3)
    for training in (False, True):
        with pytest.raises(UserError, match="batch"):
            net.plan(batch, training=training)
    with pytest.raises(UserError, match="batch"):
        net.training_session(engine.CrossEntropy(), engine.SGD(lr=0.1), batch)


def test_a_batch_is_refused_for_the_largest_of_its_arrays() -> None:
    net = engine.Sequential([engine.Linear(1, 2**10)], (1,))
    net.plan(2**28)
    with pytest.raises(UserError, match="a batch of 268435457, of samples of 1024 numbers"):
        net.plan(2**28 + 1)


def _group(folder: Path, text: str, name: str = "memory.max") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def test_limits_of_control_groups(tmp_path: Path) -> None:
    proc, groups = tmp_path / "cgroup", tmp_path / "fs"
    assert list(memory._group_limits(proc, groups)) == []
    proc.write_text("0::/outer/inner\n")
    _group(groups / "outer" / "inner", "max\n")
    _group(groups / "outer", "5000000\n")
    assert list(memory._group_limits(proc, groups)) == [5_000_000]
    proc.write_text("5:cpu,cpuacct:/a\n4:memory:/a\n0::/\n")
    _group(groups / "memory" / "a", "7000\n", "memory.limit_in_bytes")
    _group(groups / "memory", "9000\n", "memory.limit_in_bytes")
    _group(groups / "cpu" / "a", "1\n", "memory.limit_in_bytes")
    assert list(memory._group_limits(proc, groups)) == [7000, 9000]


def test_the_limit_is_at_most_the_machine() -> None:
    assert 0 < memory.memory_limit() <= memory._physical()
