"""An optimiser's state that is infinite: the weights would never move again, so that it counts as divergence."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine.errors import DivergedError, EngineWarning
from engine.network.checkpoint import Checkpoint, write
from engine.training.stepper import LOOK_EVERY
from engine.training.trainer import Trainer

RNG = np.random.default_rng(0)
X = RNG.standard_normal((16, 2, 1, 1)).astype(np.float32)
Y = X[:, :, 0, 0] @ np.array([[1.0], [2.0]], np.float32)
FAR = np.full((16, 1), 1e21, np.float32)


def trainer(optimizer: Any, **options: Any) -> Trainer:
    net = engine.Sequential([engine.Flatten(), engine.Linear(2, 1)], (2, 1, 1))
    return Trainer(net, optimizer, engine.MeanSquaredError(), batch_size=16, progress="none", **options)


MESSAGE = r"diverged at step 0.*second_moment of 1\.(weights|bias).*NaN or infinite"


@pytest.mark.parametrize("optimizer", [engine.Adam(0.1), engine.AdamW(0.1)], ids=str)
def test_a_moment_that_is_infinite_ends_the_run(optimizer: Any, tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=MESSAGE) as found:
        trainer(optimizer, out=tmp_path).fit((X, FAR), (X, Y), epochs=3)
    assert found.value.layer == "1"
    assert not (tmp_path / "best.safetensors").exists() and not (tmp_path / "last.safetensors").exists()


def test_so_does_one_before_a_checkpoint_within_an_epoch(tmp_path: Path) -> None:
    own = Trainer(trainer(engine.Adam()).net, engine.Adam(0.1), engine.MeanSquaredError(), batch_size=4,
                  progress="none", out=tmp_path)  # fmt: skip
    with pytest.raises(DivergedError, match="second_moment of 1"):
        own.fit((X, FAR), epochs=1, checkpoint_every=1)
    assert not (tmp_path / "last.safetensors").exists()


def test_steps_by_hand_show_it_in_the_next_evaluation() -> None:
    own = trainer(engine.Adam(0.1))
    own.step(X, FAR)
    with pytest.raises(DivergedError, match="second_moment of 1"):
        own.evaluate((X, Y))


@pytest.mark.parametrize("optimizer", [engine.SGD(3e4, 0.9), engine.Adam(0.1)], ids=str)
def test_steps_by_hand_alone_show_it_within_so_many(optimizer: Any) -> None:
    """Adam's moment is infinite from the first step on and its loss stays finite; SGD's loss overflows."""
    own = trainer(optimizer)
    with pytest.raises(DivergedError):
        for _ in range(LOOK_EVERY):
            own.step(X, FAR)
    assert own.steps <= LOOK_EVERY


def test_a_checkpoint_that_is_lost_says_so(tmp_path: Path) -> None:
    own = trainer(engine.Adam(0.1))
    own.step(X, FAR)
    assert own.session is not None
    content = Checkpoint.of(own.net, optimizer=own.session.state())
    with pytest.warns(EngineWarning, match=r"a\.safetensors: .*optimizer/second_moment\.1\.\w+ holds NaN or infinity"):
        write(tmp_path / "a.safetensors", content)
    own.net.load_parameters({"1.bias": np.array([np.inf], np.float32)}, strict=False)
    with pytest.warns(EngineWarning, match=r"b\.safetensors: .*parameters/1\.bias holds NaN or infinity"):
        own.net.save(tmp_path / "b.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer(engine.Adam(0.1)).net.save(tmp_path / "c.safetensors")


def test_frozen_layers_and_finite_states_are_none_of_it() -> None:
    for optimizer in (engine.SGD(0.1), engine.SGD(0.1, 0.9), engine.Adam(0.1)):
        own = trainer(optimizer)
        own.fit((X, Y), (X, Y), epochs=2)
        own.evaluate((X, Y))
