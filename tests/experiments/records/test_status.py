"""What is said about a study without running it, and results on their way to other programs."""

import pandas as pd
import pytest

from engine.errors import UserError
from experiments import ablation, command
from experiments.records.export import export
from experiments.records.locks import holder, only_runner
from experiments.records.planned import planned_graph
from experiments.records.result import Result
from experiments.records.standing import results_of, standings
from experiments.records.status import duration, remaining_seconds, status_text
from experiments.records.store import Store
from experiments.running import runner
from experiments.study.read import parse_study
from tests.experiments.running.test_runner import STUDY


def recorded(store: Store, graph: runner.Graph) -> list[Result]:
    """Four runs: one finished, one failed, one begun, one missing."""
    first, second, third, _ = (task.run for task in graph.tasks)
    metrics = {"val_macro_f1": 0.5}
    results = [
        Result(
            first.key, first.row, first.seed, "finished", metrics, 2, 2, 44726, 6.0, 3.0, folder=store.folder(first)
        ),
        Result(second.key, second.row, second.seed, "failed", error="MemoryError", folder=store.folder(second)),
    ]
    for run, result in zip((first, second), results, strict=True):
        store.finish(run, result)
    store.folder(third).mkdir(parents=True)
    (store.folder(third) / "log.jsonl").write_text(
        '{"epoch": 1, "val_macro_f1": 0.1}\n{"event": "x", "epoch": 2}\n{"ep'
    )
    return results


@pytest.fixture
def study(tmp_path):
    store = Store(tmp_path / "store")
    graph = planned_graph(parse_study(STUDY, "tiny.yaml"), store)
    return store, graph, recorded(store, graph)


def test_the_status_of_every_run_is_told(study):
    store, graph, _ = study
    runs = standings(graph.runs, store)
    assert [each.state for each in runs] == ["finished", "failed", "begun", "missing"]
    assert [each.epochs for each in runs] == [2, 0, 1, 0]
    text = status_text(runs, store)
    assert "raw    seed 0: finished; seed 1: failed (MemoryError)" in text
    assert "mixed  seed 0: begun, epoch 1 of 2; seed 1: missing" in text
    assert "4 runs: 1 finished, 1 failed, 1 begun, 1 missing" in text and "at work" not in text
    assert remaining_seconds(runs) == 3.0 * (2 + 1 + 2)
    with only_runner(store.root):
        assert f"{holder(store.root)} is at work" in status_text(runs, store)


def test_a_damaged_log_is_told_of_its_run_alone(study):
    store, graph, _ = study
    third = store.folder(graph.runs[2])
    (third / "log.jsonl").write_text('{"epoch": 1}\nnonsense\n')
    runs = standings(graph.runs, store)
    assert [(each.state, each.epochs) for each in runs] == [
        ("finished", 2),
        ("failed", 0),
        ("begun", 0),
        ("missing", 0),
    ]
    assert (
        runs[2].error == f"{third / 'log.jsonl'}, line 2: is damaged, expected one JSON object with the epoch's numbers"
    )
    assert f"mixed  seed 0: begun ({runs[2].error}); seed 1: missing" in status_text(runs, store)
    assert "raw    seed 0: finished; seed 1: failed (MemoryError)" in status_text(runs, store)


def test_a_run_that_goes_on_stands_with_its_last_epoch(study):
    store, graph, _ = study
    (store.folder(graph.runs[2]) / "log.jsonl").write_text(
        '{"epoch": 1, "val_loss": 2.0, "seconds": 1.5}\n'
        '{"epoch": 2, "val_loss": 0.5, "val_accuracy": null, "seconds": 2}\n'
    )
    begun = standings(graph.runs, store)[2]
    assert (begun.state, begun.epochs, begun.planned, begun.seconds) == ("begun", 2, 2, 3.5)
    assert begun.metrics == {"val_loss": 0.5} and begun.result is None and begun.best_epoch is None


def test_results_of_other_code_are_stale(study, monkeypatch):
    store, _, _ = study
    for module in ("tasks.keys", "records.store"):
        monkeypatch.setattr(f"experiments.{module}.code_hash", lambda: "other code")
    graph = planned_graph(parse_study(STUDY, "tiny.yaml"), store)
    runs = standings(graph.runs, store)
    assert [each.state for each in runs] == ["stale", "missing", "missing", "missing"]
    assert results_of(runs) == [] and runs[0].outdated is not None and not runs[0].done
    assert runs[0].seconds_per_epoch == 3.0 and remaining_seconds(runs) == 3.0 * 2 * 4  # its seconds tell, all the same
    accepted = standings(graph.runs, store, accept_code=True)
    assert [each.state for each in accepted][0] == "finished"


def test_looking_at_a_study_that_was_never_run_leaves_nothing_behind(tmp_path, capsys):
    options = ablation.parse_arguments(["--status", "--rows", "raw", "--out", str(tmp_path / "none")])
    command.look(options)
    assert "raw  missing (3/3)" in capsys.readouterr().out and not list(tmp_path.iterdir())


def test_csv_and_parquet_hold_the_same(study, tmp_path):
    store, _, results = study
    export(results, tmp_path / "all.csv")
    table = pd.read_csv(tmp_path / "all.csv")
    assert list(table["row"]) == ["raw", "raw"] and list(table["status"]) == ["finished", "failed"]
    assert table["val_macro_f1"][0] == 0.5 and pd.isna(table["val_macro_f1"][1]) and table["best_epoch"][0] == 2
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    export(results, tmp_path / "all.parquet")
    other = pd.read_parquet(tmp_path / "all.parquet")
    assert list(other.columns) == list(table.columns) and list(other["key"]) == list(table["key"])


def test_parquet_without_pyarrow_is_refused_in_words(study, tmp_path, monkeypatch):
    def lacking(*arguments, **options):
        raise ImportError("Unable to find a usable engine")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", lacking)
    with pytest.raises(UserError, match="pip install pyarrow"):
        export(study[2], tmp_path / "all.parquet")
    with pytest.raises(UserError, match="unknown format '.xlsx'"):
        export(study[2], tmp_path / "all.xlsx")
    export([], tmp_path / "none.csv")
    assert (tmp_path / "none.csv").read_text().startswith("row,seed,status")
    assert not (tmp_path / "all.parquet").exists()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (42, "42 s"), (420, "7 min"), (12000, "3 h 20 min"), (12030, "3 h 20 min"), (432000, "5.0 days")],
)
def test_durations_are_rounded_for_readers(seconds, text):
    assert duration(seconds) == text
