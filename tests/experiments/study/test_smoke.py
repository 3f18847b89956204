"""Every study, whole and on the real sets, under its smallest budget: each row ends with a figure for every published
column, and a second time nothing is trained."""

import json

import pytest

from experiments.records.store import Store
from experiments.running.runner import run_study
from experiments.study.read import load_study
from experiments.study.schema import FIGURES


class Listener:
    """Keeps which runs were trained."""

    def __init__(self):
        self.trained = []

    def start(self, run):
        pass

    def epoch(self, run, record):
        pass

    def finish(self, run, result, repeated):
        if not repeated:
            self.trained.append(run.row)


NAMES = ["quickstart", "numtadb", "mnist", "scenes", "cifar10", "midas"]
NAMES += ["numtadb_rows", "pseudo_labels", "transfer_mnist"]


@pytest.mark.parametrize("name", NAMES)
def test_a_study_runs_whole_under_smoke(name, request, tmp_path):
    overrides = []
    if name != "quickstart":  # its data come with a package
        overrides = [f"data_root={json.dumps(str(request.getfixturevalue('data_root')))}"]
    study = load_study(name, overrides, "smoke")
    first = Listener()
    results = run_study(study, Store(tmp_path), first)
    assert len(results) == len(study.rows) and len(study.seeds) == 1 and first.trained
    for row, result in zip(study.rows, results, strict=True):
        assert result.status == "finished", f"{row.name}: {result.error}"
        missing = set(row.published) - set(result.metrics) - set(FIGURES)
        assert not missing, f"{row.name}: {missing}"
        assert set(row.published) & set(study.metrics) or not row.published
    second = Listener()
    assert run_study(study, Store(tmp_path), second) == results and second.trained == []
