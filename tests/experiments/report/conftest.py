"""A small study that was run, and its report."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from experiments.records.planned import planned_graph
from experiments.records.standing import results_of, standings
from experiments.records.store import Store
from experiments.report.summary import summarize
from experiments.report.write import write_report
from experiments.running.progress import Lines
from experiments.running.runner import run_graph
from experiments.study.read import parse_study
from experiments.study.study import Study
from experiments.tasks.keys import Run

STUDY = """
name: tiny
title: A tiny study of <digits>
metric: val_macro_f1
metrics: [val_macro_f1, val_accuracy]
seeds: [0, 1]
published: {title: the report, source: its tables, columns: {val_macro_f1: Table 1, parameters: Table 1}}
base:
  dataset: {name: digits5k, train: {count: 60}}
  preprocess: {colour: true, size: [28, 28]}
  model: {name: lenet}
  optimizer: {name: SGD, lr: 0.01}
  batch_size: 16
  epochs: 2
rows:
  - {name: raw, group: Table 1, base: true, published: {val_macro_f1: 0.5, parameters: 44726}}
  - name: reversed
    group: Table 1
    changes: {preprocess: {steps: [bbox, reverse]}}
    published: {val_macro_f1: {value: 0.75, note: of another network}}
  - name: fast
    group: Table 2
    changes: {optimizer: {lr: 0.1}, preprocess: {steps: [bbox, reverse]}}
  - name: too fast
    group: Table 2
    changes: {optimizer: {lr: 1.0e+30}}
assumptions: [the optimiser is SGD]
"""


@dataclass(frozen=True)
class Reported:
    study: Study
    planned: list[Run]
    store: Store
    path: Path
    missing: tuple[str, ...]


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    pytest.importorskip("jinja2", reason="an HTML report needs Jinja2")
    pytest.importorskip("matplotlib", reason="drawings need matplotlib")
    store = Store(tmp_path_factory.mktemp("study"))
    study = parse_study(STUDY, "tiny.yaml")
    graph = planned_graph(study, store)
    run_graph(graph, store, Lines([task.run for task in graph.tasks], study.metric))
    planned = [task.run for task in graph.rows]
    runs = standings(planned, store)
    summary = summarize(study, results_of(runs))
    written = write_report(
        study, summary, runs, store, ["python", "-m", "experiments.ablation", "--study", "tiny.yaml"]
    )
    return Reported(study, planned, store, written.path, written.missing)
