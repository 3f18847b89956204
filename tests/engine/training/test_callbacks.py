"""Callbacks and schedules look at a run; they do not write it. A trainer runs one fit at a time."""

from __future__ import annotations

import copy
import json
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine.errors import UserError
from engine.network.checkpoint import weights_hash
from engine.training.trainer import Trainer
from tests.engine.small import small_dataset, small_net

TRAIN, VALIDATION = small_dataset(32), small_dataset(16, seed=1)


def trainer(**options: Any) -> Trainer:
    return Trainer(small_net(), engine.SGD(0.05), batch_size=16, progress="none", **options)


def written(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "log.jsonl").read_text("utf-8").splitlines()
    timed = ("seconds", "data_wait_seconds", "images_per_second")
    records = [json.loads(line) for line in lines]
    return [{key: value for key, value in each.items() if key not in timed} for each in records]


CHANGES = {
    "clear": lambda record: record.clear(),
    "pop": lambda record: record.pop("val_loss"),
    "values": lambda record: record.update(val_loss=0.0, epoch=7),
    "new": lambda record: record.update(auc=np.float32(0.5)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_a_callback_does_to_a_record_stays_with_it(change: Any, tmp_path: Path) -> None:
    seen: list[set[str]] = []
    left = trainer(out=tmp_path / "left").fit(TRAIN, VALIDATION, epochs=2)
    options: Any = {"callbacks": [change, lambda record: seen.append(set(record))]}
    history = trainer(out=tmp_path / "changed").fit(TRAIN, VALIDATION, epochs=1, **options)
    history = trainer(out=tmp_path / "changed").fit(TRAIN, VALIDATION, epochs=2, resume=True, **options)
    assert history["val_loss"] == left["val_loss"] and history.best_epoch == left.best_epoch
    assert written(tmp_path / "changed") == written(tmp_path / "left")
    assert seen == [set(each) for each in history.epochs]


def test_a_schedule_may_keep_what_it_observes() -> None:
    class Greedy(engine.Constant):
        def observe(self, record: Any) -> None:
            record.clear()

    history = trainer(schedule=Greedy()).fit(TRAIN, VALIDATION, epochs=2)
    assert history["epoch"] == [1, 2]


# ---- one fit at a time ---


def test_a_fit_within_a_fit_is_refused() -> None:
    own = trainer()
    with pytest.raises(UserError, match="this trainer is training already"):
        own.fit(TRAIN, epochs=2, callbacks=[lambda record: own.fit(TRAIN, epochs=1)])
    own.fit(TRAIN, epochs=1)  # it is free again


def test_so_is_one_in_another_thread_and_the_first_goes_on() -> None:
    alone, own = trainer(), trainer()
    errors: list[Exception] = []

    def second() -> None:
        try:
            own.fit(TRAIN, epochs=1)
        except UserError as error:
            errors.append(error)

    def start(record: Any) -> None:
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()

    history = own.fit(TRAIN, epochs=3, callbacks=[start])
    assert len(errors) == 3 and "training already" in str(errors[0])
    assert history["step"] == [2, 4, 6]
    alone.fit(TRAIN, epochs=3)
    assert weights_hash(own.net) == weights_hash(alone.net)


def test_a_copy_of_a_trainer_that_trains_is_free() -> None:
    own = trainer()
    copies: list[Trainer] = []
    own.fit(TRAIN, epochs=1, callbacks=[lambda record: copies.append(pickle.loads(pickle.dumps(own)))])
    copies.append(copy.deepcopy(own))
    for each in copies:
        each.fit(TRAIN, epochs=1)


def test_another_trainer_and_evaluate_may_run_within() -> None:
    own, other = trainer(), trainer()
    callbacks: Any = [lambda record: own.evaluate(VALIDATION), lambda record: other.fit(TRAIN, epochs=1)]
    own.fit(TRAIN, epochs=2, callbacks=callbacks)
