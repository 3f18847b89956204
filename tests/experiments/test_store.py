"""Records on disk: what is finished stays finished, and what cannot be read is said."""

import dataclasses

import pytest

from engine.config import DatasetConfig, ModelConfig, TrainConfig
from engine.errors import UserError
from experiments.store import Result, Run, Store

CONFIG = TrainConfig(DatasetConfig("digits5k"), ModelConfig("lenet"), epochs=2)

RUN = Run("raw", 0, CONFIG)


def result_of(run: Run) -> Result:
    return Result(run.key, run.row, run.seed, "finished", 0.5, 2, 100, 1.5)


def test_the_key_follows_what_the_result_depends_on():
    assert RUN.key == Run("another name", 0, dataclasses.replace(CONFIG, threads=3, out="elsewhere", seed=9)).key
    assert RUN.key != Run("raw", 1, CONFIG).key
    assert RUN.key != Run("raw", 0, dataclasses.replace(CONFIG, optimizer={"name": "SGD", "lr": 0.02})).key


def test_a_run_is_finished_only_once_its_result_is_there(tmp_path):
    store, run = Store(tmp_path), Run("Row / one", 3, CONFIG)
    assert store.result(run) is None
    folder = store.folder(run)
    assert folder.parent == tmp_path / "runs" and folder.name.startswith("row-one-seed3-")
    store.finish(run, result_of(run))
    assert store.result(run) == result_of(run)
    assert [path.name for path in folder.iterdir()] == ["result.json"]


def test_a_renamed_row_finds_its_run(tmp_path):
    store, run = Store(tmp_path), RUN
    store.finish(run, result_of(run))
    renamed = Run("plain", 0, CONFIG)
    assert store.result(renamed) == dataclasses.replace(result_of(run), row="plain")


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"key": 1}'])
def test_a_damaged_result_is_an_error_that_says_what_to_do(tmp_path, damage):
    store, run = Store(tmp_path), RUN
    store.folder(run).mkdir(parents=True)
    (store.folder(run) / "result.json").write_text(damage)
    with pytest.raises(UserError, match="result.json.*remove the folder"):
        store.result(run)


def test_a_folder_that_cannot_be_made_is_an_operating_system_error(tmp_path):
    (tmp_path / "runs").write_text("in the way")
    with pytest.raises(OSError):
        Store(tmp_path).finish(RUN, result_of(RUN))


def test_tuned_algorithms_are_measured_once_and_part_of_the_key(tmp_path):
    store = Store(tmp_path)
    tuned = Run("raw", 0, dataclasses.replace(CONFIG, tune=True))
    first = store.tuned(tuned, lambda: {"0": {"forward": "winograd2"}})
    again = Store(tmp_path).tuned(tuned, lambda: pytest.fail("measured twice"))
    assert first.key == again.key and again.config.algorithm == {"0": {"forward": "winograd2"}}
    assert not again.config.tune and (again.row, again.seed) == ("raw", 0)
    other = Store(tmp_path / "other").tuned(tuned, lambda: {"0": {"forward": "direct"}})
    assert other.key not in (first.key, RUN.key)
    assert store.tuned(RUN, lambda: pytest.fail("not asked for")) is RUN
    (tmp_path / "choices.json").write_text("{")
    with pytest.raises(UserError, match="choices.json"):
        store.tuned(tuned, dict)
