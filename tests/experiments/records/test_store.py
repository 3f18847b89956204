"""Records on disk: what is finished stays finished, and what cannot be read is mended or said."""

import dataclasses
import errno
import sqlite3
from contextlib import closing

import pytest

from engine.errors import UserError
from engine.recipe.config import DatasetConfig, ModelConfig, TrainConfig
from experiments.records import store as store_module
from experiments.records.result import Result
from experiments.records.store import Store
from experiments.tasks.keys import Run

CONFIG = TrainConfig(DatasetConfig("digits5k"), ModelConfig("lenet"), epochs=2)

RUN = Run("raw", 0, CONFIG)


def result_of(run: Run, store: Store, **changes) -> Result:
    metrics = {"val_accuracy": 0.5, "test_loss": 0.25}
    made = Result(run.key, run.row, run.seed, "finished", metrics, 2, 3, 100, 1.5, 0.5, folder=store.folder(run))
    return dataclasses.replace(made, **changes)


def finish(store: Store, run: Run, **changes) -> Result:
    result = result_of(run, store, **changes)
    store.finish(run, result)
    return result


def change(store: Store, statement: str) -> None:
    store.close()
    with closing(sqlite3.connect(store.root / "study.sqlite")) as connection, connection:
        connection.execute(statement)


def test_a_run_has_a_result_only_once_it_was_recorded(tmp_path):
    store, run = Store(tmp_path), Run("Row / one", 3, CONFIG)
    assert store.result(run) is None and not list(tmp_path.iterdir())
    folder = store.folder(run)
    assert folder.parent == tmp_path / "runs" and folder.name.startswith("row-one-seed3-")
    result = finish(store, run)
    assert store.result(run) == Store(tmp_path).result(run) == result
    assert [path.name for path in folder.iterdir()] == ["record.json"]


def test_a_renamed_row_finds_its_run(tmp_path):
    store = Store(tmp_path)
    result = finish(store, RUN)
    assert store.result(dataclasses.replace(RUN, row="plain")) == dataclasses.replace(result, row="plain")


def test_a_store_that_was_moved_finds_its_folders(tmp_path):
    finish(Store(tmp_path / "old"), RUN)
    (tmp_path / "old").rename(tmp_path / "new")
    moved = Store(tmp_path / "new")
    found = moved.result(RUN)
    assert found is not None and found.folder == moved.folder(RUN) and found.folder.is_dir()


def test_a_result_of_other_code_is_stale_and_counts_only_where_it_is_accepted(tmp_path, monkeypatch):
    store = Store(tmp_path)
    old = finish(store, Run("raw", 0, CONFIG))
    with monkeypatch.context() as patch:
        for module in ("tasks.keys", "records.store"):
            patch.setattr(f"experiments.{module}.code_hash", lambda: "other code")
        run = Run("raw", 0, CONFIG)
        assert run.key != old.key and store.result(run) is None
        assert store.stale(run) == store.result(run, accept_code=True) == old
        new = finish(store, run, seconds=9.0)
        assert store.result(run) == store.result(run, accept_code=True) == new
    assert store.result(Run("raw", 0, CONFIG)) == old and len(store.records()) == 2


def test_a_result_of_the_configuration_as_it_is_written_is_found_under_its_new_identity(tmp_path, monkeypatch):
    store = Store(tmp_path)
    config = dataclasses.replace(CONFIG, optimizer={"name": "adam"})
    with monkeypatch.context() as patch:
        patch.setattr(Run, "identity", Run.former)
        for module in ("tasks.keys", "records.store"):
            patch.setattr(f"experiments.{module}.code_hash", lambda: "other code")
        old = finish(store, Run("raw", 0, config))
    run = Run("raw", 0, config)
    assert run.identity != run.former
    assert store.result(run) is None and store.stale(run) == store.result(run, accept_code=True) == old
    assert store.stale(Run("raw", 0, dataclasses.replace(config, epochs=3))) is None


def test_a_failed_run_gives_way_to_an_accepted_one(tmp_path, monkeypatch):
    store = Store(tmp_path)
    old = finish(store, Run("raw", 0, CONFIG))
    for module in ("tasks.keys", "records.store"):
        monkeypatch.setattr(f"experiments.{module}.code_hash", lambda: "other code")
    run = Run("raw", 0, CONFIG)
    failed = finish(store, run, status="failed", error="killed")
    assert store.result(run) == failed and store.result(run, accept_code=True) == old


def test_a_runner_that_was_killed_before_the_row_was_written_lost_nothing(tmp_path):
    store = Store(tmp_path)
    result = finish(store, RUN)
    change(store, "DELETE FROM runs")
    assert Store(tmp_path).result(RUN) == result and len(Store(tmp_path).records()) == 1


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"key": 1}'])
def test_a_damaged_row_is_mended_from_the_folder(tmp_path, damage):
    store = Store(tmp_path)
    result = finish(store, RUN)
    change(store, f"UPDATE runs SET record = '{damage}'")
    assert Store(tmp_path).result(RUN) == result
    (store.folder(RUN) / "record.json").unlink()
    assert Store(tmp_path).result(RUN) == result
    change(store, f"UPDATE runs SET record = '{damage}'")
    with pytest.raises(UserError, match="study.sqlite, run .*record"):
        Store(tmp_path).result(RUN)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"key": 1}'])
def test_a_damaged_record_without_a_row_is_an_error_that_says_what_to_do(tmp_path, damage):
    store = Store(tmp_path)
    store.folder(RUN).mkdir(parents=True)
    (store.folder(RUN) / "record.json").write_text(damage)
    with pytest.warns(UserWarning, match="record.json"), pytest.raises(UserError, match="record.json.*remove"):
        store.result(RUN)


def test_a_database_that_is_none_is_put_aside_and_made_anew(tmp_path):
    store = Store(tmp_path)
    results = [finish(store, run) for run in (RUN, Run("raw", 1, CONFIG))]
    store.close()
    (tmp_path / "study.sqlite").write_bytes(b"no database at all" * 100)
    again = Store(tmp_path)
    with pytest.warns(UserWarning, match="made anew"):
        assert again.result(RUN) == results[0]
    assert [record.result for record in again.records()] == results
    assert (tmp_path / "study.sqlite.damaged-1").read_bytes().startswith(b"no database")


def test_a_store_of_a_newer_version_is_refused(tmp_path):
    store = Store(tmp_path)
    finish(store, RUN)
    change(store, "PRAGMA user_version = 99")
    with pytest.raises(UserError, match="newer version.*layout 99"):
        Store(tmp_path).result(RUN)


def test_the_layout_before_is_refused_and_left_alone(tmp_path):
    old = tmp_path / "runs" / "raw-seed0-0123456789ab" / "result.json"
    old.parent.mkdir(parents=True)
    old.write_text('{"key": "0", "score": 0.5}')
    with pytest.raises(UserError, match="earlier version.*--out"):
        Store(tmp_path).result(RUN)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [old]


def test_a_full_disk_is_an_operating_system_error_and_keeps_what_there_is(tmp_path):
    store = Store(tmp_path)
    result = finish(store, RUN)
    with store._explained() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OSError, match="full") as caught:
        for seed in range(1, 1000):
            run = Run("raw", seed, CONFIG, data="fixed")
            store._insert(store_module.Record(result_of(run, store), run.identity, "code", 0.0))
    assert caught.value.errno == errno.ENOSPC
    assert Store(tmp_path).result(RUN) == result


def test_a_folder_that_cannot_be_made_is_an_operating_system_error(tmp_path):
    (tmp_path / "runs").write_text("in the way")
    with pytest.raises(OSError):
        Store(tmp_path).finish(RUN, result_of(RUN, Store(tmp_path)))


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
