"""A study on a disk that cannot be written to can be looked at, whatever state its runner left it in."""

import csv
import errno
import os
import shutil
import sqlite3

import pytest

from experiments import ablation, command
from experiments.records import store as store_module
from experiments.records.planned import planned_graph
from experiments.records.standing import standings
from experiments.records.status import status_text
from experiments.records.store import Store
from experiments.running import runner
from experiments.study.read import parse_study
from tests.engine.disk import mounted, set_read_only
from tests.experiments.records.test_status import recorded
from tests.experiments.running.test_runner import STUDY, Listener


def contents(folder):
    """All files but the index that SQLite makes of its log, where it can."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.name.endswith("-shm")}


def look(study, out, *options):
    arguments = ["--study", str(study), "--out", str(out), *map(str, options)]
    command.look(ablation.parse_arguments(arguments))


def closed(root):
    """What a runner leaves that came to its end."""
    store = Store(root)
    recorded(store, planned_graph(parse_study(STUDY, "tiny.yaml"), store))
    store.close()


def killed(root):
    """What one leaves that was killed: the last rows stand in the log of the database alone."""
    store = Store(root.with_name("original"))
    recorded(store, planned_graph(parse_study(STUDY, "tiny.yaml"), store))
    assert (store.root / "study.sqlite-wal").stat().st_size
    shutil.copytree(store.root, root, dirs_exist_ok=True)
    store.close()


def killed_without_index(root):
    killed(root)
    (root / "study.sqlite-shm").unlink()


def damaged(root):
    closed(root)
    (root / "study.sqlite").write_bytes(b"nonsense" * 1000)


def without_database(root):
    closed(root)
    (root / "study.sqlite").unlink()


@pytest.fixture(params=[closed, killed, killed_without_index, damaged, without_database])
def left(request):
    return request.param


def check(root, table):
    before = contents(root)
    store = Store(root)
    graph = planned_graph(parse_study(STUDY, "tiny.yaml"), store)
    runs = standings(graph.runs, store)
    assert [each.state for each in runs] == ["finished", "failed", "begun", "missing"]
    assert "4 runs: 1 finished, 1 failed, 1 begun, 1 missing" in status_text(runs, store)
    assert len(store.records()) == 2
    store.close()
    (root.parent / "tiny.yaml").write_text(STUDY)
    command.look(ablation.parse_arguments(["--study", str(root.parent / "tiny.yaml"), "--out", str(root), "--status"]))
    command.look(
        ablation.parse_arguments(
            ["--study", str(root.parent / "tiny.yaml"), "--out", str(root), "--export", str(table)]
        )
    )
    assert [row["status"] for row in csv.DictReader(table.open())] == ["finished", "failed"]
    assert contents(root) == before


@pytest.mark.filterwarnings("ignore:.*read from the folders")
def test_a_study_that_may_not_be_written_is_looked_at_and_stays_as_it_is(tmp_path, left, monkeypatch):
    left(tmp_path / "store")
    monkeypatch.setattr(store_module.os, "access", lambda path, mode: mode != os.W_OK)
    check(tmp_path / "store", tmp_path / "table.csv")


@pytest.mark.filterwarnings("ignore:.*read from the folders")
def test_so_it_is_on_a_disk_that_is_mounted_read_only(tmp_path, left):
    with mounted(tmp_path / "disk", "size=8m") as disk:
        left(disk / "store")
        (disk / "tiny.yaml").write_text(STUDY)
        set_read_only(disk)
        shutil.copy(disk / "tiny.yaml", tmp_path)
        root = tmp_path / "linked"
        root.symlink_to(disk / "store")
        check(root, tmp_path / "table.csv")
        study = parse_study(STUDY, "tiny.yaml")
        with pytest.raises(OSError, match="store") as told:
            runner.run_study(study, Store(disk / "store"), Listener())
        assert (told.value.errno, told.value.filename) == (errno.EROFS, str(disk / "store"))
        command.look(
            ablation.parse_arguments(["--study", str(tmp_path / "tiny.yaml"), "--out", str(disk / "new"), "--status"])
        )


def test_what_was_written_last_is_not_missed(tmp_path, monkeypatch):
    """A row that was replaced stands in the main file as it was; the new one in the log alone."""
    killed(tmp_path / "store")
    monkeypatch.setattr(store_module.os, "access", lambda path, mode: mode != os.W_OK)
    with sqlite3.connect(f"file:{tmp_path / 'store' / 'study.sqlite'}?immutable=1", uri=True) as stale:
        tables = stale.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        assert not tables or not stale.execute("SELECT count(*) FROM runs").fetchone()[0]
    assert len(Store(tmp_path / "store").records()) == 2
