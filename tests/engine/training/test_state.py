"""What a checkpoint says of its run is checked before the run goes on with it."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine.errors import EngineWarning, UserError
from engine.network import checkpoint
from engine.network.checkpoint import Checkpoint, Damaged
from engine.plots.curves import read_log
from engine.training.folder import BEST, LAST, PREVIOUS
from engine.training.resume import find_last
from engine.training.schedules import ReduceLROnPlateau
from engine.training.state import read_run
from tests.engine.small import small_dataset, small_net

DATA = small_dataset(32)


def trainer_in(out: Path) -> engine.Trainer:
    schedule = ReduceLROnPlateau(metric="train_loss")
    return engine.Trainer(
        small_net(), engine.SGD(lr=0.1, momentum=0.9), schedule=schedule, batch_size=16, out=out, progress="none"
    )


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    out = tmp_path_factory.mktemp("run")
    trainer_in(out).fit(DATA, epochs=2)
    return read_run(out / LAST)


def edited(content: Checkpoint, place: tuple[str, ...], value: Any) -> Checkpoint:
    """A copy in which the value at the place (a field of Checkpoint, then keys) is another, or missing: ..."""
    copied = copy.deepcopy(content)
    *way, last = place
    inner: Any = vars(copied)
    for key in way:
        inner = inner[int(key) if isinstance(inner, list) else key]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return copied


POSITION = ("training", "position")
COUNTS = ("epoch", "batch", "step", "samples", "stale", "seconds", "waited", "loss_sum")
WRONG: list[tuple[tuple[str, ...], Any]] = [
    *(((*POSITION, name), value) for name in COUNTS for value in ("x", "1", [], {}, None, True)),
    *(((*POSITION, name), value) for name in COUNTS[:-1] for value in (-1, 2**54, 2**64, 10**400)),
    *(((*POSITION, name), value) for name in ("seconds", "loss_sum") for value in (math.nan, math.inf)),
    *(((*POSITION, "stop_best"), value) for value in ("x", [], True)),
    *(((*POSITION, name), value) for name in ("history", "schedule") for value in (5, [], "x", None)),
    *(((*POSITION, "history", "epochs"), value) for value in (5, {}, [], [5], [{}, {}], [{"epoch": 1}], ...)),
    *(((*POSITION, "history", "best_epoch"), value) for value in (0, 3, -1, "1", [], 2**70, True)),
    *(((*POSITION, "history", name), []) for name in ("metric", "best_value", "stopped_early", "more")),
    *(((*POSITION, "history", "epochs", "0", name), "x") for name in ("epoch", "seconds", "train_loss")),
    ((*POSITION, "history", "metric"), ...),
    ((*POSITION, "more"), 1),
    (POSITION, 5),
    *((("training", name), value) for name in ("settings", "data") for value in (5, [], None, ...)),
    *((("training", "facts"), value) for value in (5, [], {"training": 5}, {"training": {}}, {"x": {"samples": "y"}})),
    (("training", "initialized"), [1]),
    (("training", "surprise"), 1),
    *((("plan_choices", name), ...) for name in ("isa", "batch", "convolutions")),
]


@pytest.mark.parametrize(("place", "value"), WRONG, ids=lambda value: str(value)[-60:])
def test_another_type_or_range_is_refused(
    tmp_path: Path, content: Checkpoint, place: tuple[str, ...], value: Any
) -> None:
    checkpoint.write(tmp_path / LAST, edited(content, place, value))
    with pytest.raises(Damaged, match="last.safetensors: header") as said:
        read_run(tmp_path / LAST)
    assert len(str(said.value)) < 1000
    with pytest.raises(Damaged):
        read_log(tmp_path / LAST)
    found = find_last(tmp_path)
    assert found.last is None and found.faults


@pytest.mark.parametrize("name", ["stop_best", "best_value"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, 0.5, 1])
def test_a_best_metric_may_be_anything_that_a_metric_is(
    tmp_path: Path, content: Checkpoint, name: str, value: Any
) -> None:
    place = (*POSITION, name) if name == "stop_best" else (*POSITION, "history", name)
    checkpoint.write(tmp_path / LAST, edited(content, place, value))
    assert read_run(tmp_path / LAST).training["position"]


SCHEDULE = (*POSITION, "schedule")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ((*SCHEDULE, "cuts"), "x", "ReduceLROnPlateau: cuts must be a whole number"),
        ((*SCHEDULE, "cuts"), -(10**6), "cuts must be a whole number of at least 0"),
        ((*SCHEDULE, "cuts"), 10**30, "cuts must be a whole number of at most"),
        ((*SCHEDULE, "bad"), None, "bad must be a whole number"),
        ((*SCHEDULE, "cooling"), ..., "cooling must be a whole number"),
        ((*SCHEDULE, "best"), "x", "best must be a number or nothing"),
        (("optimizer", "velocity.0.bias"), ..., "'0.bias' is missing"),
        (("optimizer", "velocity.0.bias"), np.zeros(7, np.float32), r"0.bias has shape \(7,\)"),
        (("optimizer", "momentum.0.bias"), np.zeros(4, np.float32), "SGD keeps no state 'momentum.0.bias'"),
        (("parameters", "0.bias"), ..., "parameter '0.bias' is missing"),
        (("plan_choices", "convolutions", "0", "forward"), "fft", "algorithm of layer '0', forward: 'fft'"),
        (("plan_choices", "convolutions", "0", "sideways"), "direct", "pass in algorithm, layer '0': 'sideways'"),
        (("plan_choices", "convolutions", "9"), {"forward": "direct"}, "convolution in algorithm: '9'"),
    ],
)
def test_a_run_does_not_go_on_with_a_state_that_does_not_fit(
    tmp_path: Path, content: Checkpoint, place: tuple[str, ...], value: Any, message: str
) -> None:
    trainer_in(tmp_path).fit(DATA, epochs=2)
    before = (tmp_path / "log.jsonl").read_bytes()
    checkpoint.write(tmp_path / LAST, edited(content, place, value))
    with pytest.raises(UserError, match=f"last.safetensors: .*{message}"):
        trainer_in(tmp_path).fit(DATA, epochs=3, resume=True)
    assert (tmp_path / "log.jsonl").read_bytes() == before


def test_a_run_falls_back_to_the_checkpoint_before(tmp_path: Path, content: Checkpoint) -> None:
    trainer_in(tmp_path).fit(DATA, epochs=2)
    assert (tmp_path / PREVIOUS).is_file()
    checkpoint.write(tmp_path / LAST, edited(content, (*POSITION, "step"), "x"))
    with pytest.warns(
        UserWarning, match="last.safetensors: header: training: position: step: expected int, got str 'x'"
    ):
        history = trainer_in(tmp_path).fit(DATA, epochs=3, resume=True)
    assert len(history.epochs) == 3


def libraries_of(out: Path) -> dict[str, list[str]]:
    return dict(read_run(out / LAST).training["position"]["libraries"])


def test_a_run_that_goes_on_with_another_version_of_a_library_says_so(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    def train(epochs: int, **versions: str) -> engine.Trainer:
        trainer = trainer_in(tmp_path)
        trainer.libraries = versions
        trainer.fit(DATA, epochs=epochs, resume=True)
        return trainer

    train(1, opencv="4.9.0", warp="1")
    train(2, opencv="4.9.0", warp="1")
    assert not recwarn.list and libraries_of(tmp_path) == {"opencv": ["4.9.0"], "warp": ["1"]}
    with pytest.warns(EngineWarning, match=r"the run was trained with opencv 4.9.0, now 4.10.0: .* bits"):
        trainer = train(3, opencv="4.10.0", warp="1")
    assert libraries_of(tmp_path) == trainer.used_libraries == {"opencv": ["4.9.0", "4.10.0"], "warp": ["1"]}
    recwarn.clear()
    train(4, opencv="4.10.0", warp="1")
    assert not recwarn.list and libraries_of(tmp_path)["opencv"] == ["4.9.0", "4.10.0"]


def test_a_checkpoint_that_tells_of_no_libraries_goes_on(
    tmp_path: Path, content: Checkpoint, recwarn: pytest.WarningsRecorder
) -> None:
    trainer_in(tmp_path).fit(DATA, epochs=2)
    checkpoint.write(tmp_path / LAST, edited(content, (*POSITION, "libraries"), ...))
    trainer = trainer_in(tmp_path)
    trainer.libraries = {"opencv": "4.9.0"}
    trainer.fit(DATA, epochs=3, resume=True)
    assert not recwarn.list and libraries_of(tmp_path) == {"opencv": ["4.9.0"]}


def test_of_equal_epochs_the_first_is_the_best(tmp_path: Path) -> None:
    """With a rate of 0 all epochs are equal; so is the accuracy of a network that has learned all."""
    for metric in ("val_loss", "val_accuracy"):
        trainer = engine.Trainer(
            engine.Sequential([engine.Flatten(), engine.Linear(100, 3)], (1, 10, 10)),
            engine.SGD(lr=0.0),
            metric=metric,
            out=tmp_path / metric,
            progress="none",
        )
        history = trainer.fit(DATA, DATA, epochs=3)
        assert len(set(history[metric])) == 1 and history.best_epoch == 1
        assert checkpoint.read(tmp_path / metric / BEST).training["epoch"] == 1
