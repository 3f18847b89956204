"""Rows, records, logs and databases that are not what they say: checked, mended from the run's folder, or one error."""

import json
import sqlite3
from contextlib import closing

import pytest

from engine.errors import UserError
from engine.training.folder import read_epochs
from experiments.records.export import export
from experiments.records.result import read_record
from experiments.records.standing import standings
from experiments.records.store import Store
from experiments.tasks.keys import Run
from tests.experiments.records.test_store import CONFIG, RUN, change, finish

OTHER = Run("raw", 1, CONFIG)
ALTERED = {
    "version": ["x", 0, -1, None, True, 1.5, [1]],
    "metrics": [None, [], "high", {"val_accuracy": "0.5"}, {"val_accuracy": {"x": 1}}, {"a": [1]}]
    + [{"a": True}, {"a": -1e300}],
    "status": ["zzz", "", None, ["finished"], "begun"],
    "folder": ["../..", "..", ".", "", "/tmp", "a/b", "raw-seed0-\0", None, 7, "somewhere-else", "../raw-seed0-"],
    "key": ["0" * 64, "", None, 5],
    "row": [None, 3],
    "seed": ["0", -1, 1.5, True, 10**30, None],
    "epochs": ["3", -1, 2.5, None],
    "best_epoch": ["2", -1, 2.5, [2]],
    "parameters": [None, -1, "many"],
    "seconds": [None, -1.0, "long", 10**400, 1e300],
    "seconds_per_epoch": ["1", -0.5, 1e300, 2**53 + 2],
    "error": [None, 5],
    "identity": [None, 5],
    "code": [None, {}],
    "ended": [None, "today"],
}
CASES = [(name, value) for name, values in ALTERED.items() for value in values]
TEXTS = ["", "null", "5", '"text"', "[" * 5000, "9" * 5000, '{"key": ' * 2000, "\udcff"]
NOT_FINITE = [("0.5", "NaN"), ("0.25", "-Infinity"), ("1.5", "1e999")]


def written(store, text):
    """Let the row of RUN hold this text."""
    store.close()
    with closing(sqlite3.connect(store.root / "study.sqlite")) as connection, connection:
        connection.execute("UPDATE runs SET record = ? WHERE key = ?", (text, RUN.key))


def altered(store, name, value):
    content = json.loads((store.folder(RUN) / "record.json").read_text())
    assert name in content
    return json.dumps({**content, name: value})


def check_row(tmp_path, text):
    """A row with this text is mended from the folder; without the record there, it is one error and no result."""
    store = Store(tmp_path)
    wanted = finish(store, RUN)
    written(store, text)
    again = Store(tmp_path)
    assert again.result(RUN) == wanted and again.records()[0].result == wanted
    written(again, text)
    (store.folder(RUN) / "record.json").unlink()
    with pytest.raises(UserError, match=r"study.sqlite, run .*(record|run)") as caught:
        Store(tmp_path).result(RUN)
    assert len(str(caught.value)) < 700
    with pytest.raises(UserError, match="study.sqlite, run "):
        Store(tmp_path).records()


@pytest.mark.parametrize(("name", "value"), CASES)
def test_a_row_with_a_value_that_cannot_be_is_mended_or_refused(tmp_path, name, value):
    store = Store(tmp_path)
    finish(store, RUN)
    text = altered(store, name, value)
    store.close()
    check_row(tmp_path, text)


@pytest.mark.parametrize("text", [each for each in TEXTS if each.isprintable()])
def test_a_row_that_is_no_record_is_mended_or_refused(tmp_path, text):
    check_row(tmp_path, text)


@pytest.mark.parametrize("content", [b"\xff\xfe{}", 7, 1.5])
def test_a_row_that_is_no_text_is_mended_or_refused(tmp_path, content):
    check_row(tmp_path, content)


@pytest.mark.parametrize(("number", "instead"), NOT_FINITE)
def test_a_number_that_is_none_is_mended_or_refused(tmp_path, number, instead):
    store = Store(tmp_path)
    finish(store, RUN)
    text = (store.folder(RUN) / "record.json").read_text()
    assert f": {number}" in text
    store.close()
    check_row(tmp_path, text.replace(f": {number}", f": {instead}"))


def test_a_metric_that_was_not_a_number_when_it_was_written_is_read_as_such(tmp_path):
    finish(Store(tmp_path), RUN, metrics={"val_loss": float("nan")})
    (record,) = Store(tmp_path).records()
    assert record.result.metrics["val_loss"] != record.result.metrics["val_loss"]


def test_a_row_with_the_record_of_another_run_does_not_pass_for_it(tmp_path):
    store = Store(tmp_path)
    wanted = finish(store, RUN)
    finish(store, OTHER, metrics={"val_accuracy": 1.0})
    written(store, (store.folder(OTHER) / "record.json").read_text())
    assert Store(tmp_path).result(RUN) == wanted
    written(store, (store.folder(OTHER) / "record.json").read_text())
    (store.folder(RUN) / "record.json").write_text((store.folder(OTHER) / "record.json").read_text())
    with pytest.raises(UserError, match="is the record of another run"):
        Store(tmp_path).result(RUN)


def test_a_row_of_other_code_says_itself_which_configuration_it_is_of(tmp_path, monkeypatch):
    store = Store(tmp_path)
    old = finish(store, OTHER)
    with monkeypatch.context() as patch:
        for module in ("tasks.keys", "records.store"):
            patch.setattr(f"experiments.{module}.code_hash", lambda: "other code")
        run = Run("raw", 0, CONFIG)
        change(store, f"UPDATE runs SET identity = '{run.identity}'")
        assert old.final and Store(tmp_path).result(run, accept_code=True) is None


@pytest.mark.parametrize(("name", "value"), [("status", "z"), ("metrics", {"a": "b"}), ("seed", -1), ("version", "x")])
def test_a_record_in_a_folder_with_a_value_that_cannot_be_is_refused(tmp_path, name, value):
    store = Store(tmp_path)
    finish(store, RUN)
    path = store.folder(RUN) / "record.json"
    path.write_text(altered(store, name, value))
    with pytest.raises(UserError, match=rf"record.json: not the record of a run \({name} is .*\); remove it"):
        read_record(path)


def test_a_record_counts_in_the_folder_where_it_lies(tmp_path):
    store = Store(tmp_path)
    finish(store, RUN)
    path = store.folder(RUN) / "record.json"
    moved = path.parent.with_name(f"renamed-{RUN.key[:12]}")
    path.parent.rename(moved)
    change(store, "DELETE FROM runs")
    result = Store(tmp_path).result(RUN)
    assert result is not None and result.folder == moved


def test_a_record_of_an_endless_text_is_told_of_in_less_than_a_screen(tmp_path):
    store = Store(tmp_path)
    finish(store, RUN)
    path = store.folder(RUN) / "record.json"
    path.write_text(altered(store, "row", ["long"] * 100_000))
    with pytest.raises(UserError, match="row is .* … ") as caught:
        read_record(path)
    assert len(str(caught.value)) < 500


# ---- the database ----


@pytest.mark.parametrize("how", ["unlink", "replace", "nonsense"])
def test_a_database_that_vanishes_while_it_is_used_is_made_anew_from_the_folders(tmp_path, how):
    store = Store(tmp_path)
    first = finish(store, RUN)
    path = tmp_path / "study.sqlite"
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"study.sqlite{suffix}").unlink(missing_ok=True)
    path.unlink()
    if how == "replace":
        finish(Store(tmp_path / "elsewhere"), RUN)
        (tmp_path / "elsewhere" / "study.sqlite").rename(path)
    elif how == "nonsense":
        path.write_bytes(b"no database" * 100)
    with pytest.warns(UserWarning, match="was removed or replaced"):
        second = finish(store, OTHER)
    assert [each.result for each in store.records()] == [first, second]
    assert {each.result.seed for each in Store(tmp_path).records()} == {0, 1}


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE runs (key TEXT)", "PRAGMA user_version = 1"],
        ["CREATE TABLE people (name TEXT)"],
        ["PRAGMA user_version = 1"],
        ["CREATE TABLE people (name TEXT)", "CREATE VIEW runs AS SELECT name AS key FROM people"],
    ],
)
def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path, statements):
    path = tmp_path / "study.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    before = path.read_bytes()
    for look in (lambda store: store.result(RUN), lambda store: store.records(), lambda store: finish(store, RUN)):
        with pytest.raises(UserError, match="study.sqlite: not the database of a study"):
            look(Store(tmp_path))
    assert path.read_bytes() == before


def test_a_database_that_would_compute_when_it_is_read_is_refused(tmp_path):
    store = Store(tmp_path)
    finish(store, RUN)
    change(store, "CREATE TRIGGER more AFTER INSERT ON runs BEGIN DELETE FROM runs; END")
    with pytest.raises(UserError, match="not the database of a study"):
        Store(tmp_path).result(RUN)


@pytest.mark.parametrize("note", ["", "{", "[]", "[[1]]", '{"0": 5}', '{"0": {"forward": 5}}', "[" * 5000])
def test_a_damaged_note_of_algorithms_is_measured_again(tmp_path, note):
    store = Store(tmp_path)
    run = Run("raw", 0, CONFIG.__class__(**{**CONFIG.__dict__, "tune": True}))
    first = store.tuned(run, lambda: {"0": {"forward": "direct"}})
    change(store, f"UPDATE notes SET value = '{note}'")
    assert Store(tmp_path).tuned(run, lambda: {"0": {"forward": "direct"}}).key == first.key


# ---- logs ----

DAMAGED = [
    '{"epoch": 1, "val_loss": NaN}',
    '{"epoch": 1, "val_loss": 1e999}',
    '{"epoch": 1, "val_loss": true}',
    '{"epoch": 1, "val_loss": {"x": 1}}',
    '{"epoch": 1, "seconds": "1"}',
    '{"epoch": 1, "seconds": -1.0}',
    '{"epoch": 1, "seconds": 1e300}',
    '{"epoch": 1, "val_loss": 1e300}',
    '{"epoch": 1, "seconds": 1' + "0" * 400 + "}",
    '{"epoch": 1' + "0" * 400 + "}",
    '{"epoch": true}',
    '{"epoch": 0}',
    "[" * 5000,
    "9" * 5000,
]


@pytest.mark.parametrize("line", DAMAGED)
def test_a_line_of_a_log_that_is_no_epoch_is_told_of_with_its_number(tmp_path, line):
    store = Store(tmp_path)
    log = store.folder(RUN) / "log.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text('{"epoch": 1, "val_loss": null, "seconds": 0.5}\n' + line + "\n")
    with pytest.raises(UserError, match="log.jsonl, line 2: is damaged"):
        read_epochs(log)
    (standing,) = standings([RUN], store)
    assert standing.state == "begun" and "line 2" in standing.error
    export([], tmp_path / "a.csv")
