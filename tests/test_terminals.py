"""Commands with a table, on a terminal that knows ASCII alone; and what is on disk where nothing can be printed."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

import engine
from engine.training.progress import progress_for
from experiments.checks.winograd_accuracy import verdict
from experiments.peers.records import to_json
from experiments.study.read import parse_study
from tests.experiments.peers.test_peers import record, run_of, side
from tests.terminals import FULL, on_terminal

pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
needs_full = pytest.mark.skipif(not Path(FULL).exists(), reason=f"this system has no {FULL}")

CONFIG = {
    "dataset": {"name": "digits5k", "train": {"sheets": False}, "subset": 60, "test": {"sheets": False}},
    "model": {"layers": ["Flatten", {"Linear": [784, 10]}], "input_shape": [1, 28, 28]},
    "optimizer": {"name": "SGD", "lr": 0.01},
    "batch_size": 16,
    "epochs": 1,
    "threads": 1,
}
STUDY = {
    "name": "tiny",
    "title": "Größen → Genauigkeit",
    "metric": "val_accuracy",
    "seeds": [0, 1],
    "base": {key: value for key, value in CONFIG.items() if key != "threads"},
    "rows": [
        {"name": "auto", "changes": {"algorithm": "auto"}},
        {"name": "direct", "changes": {"algorithm": "direct"}},
    ],
}
TITLE = r"Gr\xf6\xdfen -> Genauigkeit"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a study, a configuration and images, in which the commands run."""
    monkeypatch.chdir(tmp_path)
    for name, content in {"tiny": STUDY, "run": CONFIG}.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), "utf-8")
    threads = engine.get_num_threads()
    yield tmp_path
    engine.set_num_threads(threads)


def test_ablation(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("experiments.ablation", "--study", "tiny.yaml", "--out", "out")
    said = on_terminal(monkeypatch, *command, "--no-report")
    assert said.status == 0, said.err
    assert said.out.startswith(TITLE) and " +/- " in said.out and "written: " in said.out
    assert " ± " in (place / "out" / "table.md").read_text("utf-8")
    status = on_terminal(monkeypatch, *command, "--status")
    assert status.status == 0 and status.out.startswith(TITLE)


@needs_full
def test_ablation_writes_before_it_prints(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jinja2", reason="the report needs Jinja2")
    command = ("experiments.ablation", "--study", "tiny.yaml", "--out", "out")
    said = on_terminal(monkeypatch, *command, full=True)
    assert said.status == 2 and said.err.endswith("error: standard output: No space left on device\n"), said.err
    assert {"table.md", "table.tex", "table.csv", "report.html"} <= {path.name for path in (place / "out").iterdir()}
    again = on_terminal(monkeypatch, *command, "--status", "--export", "runs.csv", full=True)
    assert again.status == 2 and len((place / "runs.csv").read_text().splitlines()) == 5


def test_train_and_predict(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for label in ("größe ±1", "→"):
        (place / "set" / label).mkdir(parents=True)
        for number in range(6):
            picture = np.random.default_rng(number).integers(0, 256, (28, 28), np.uint8)
            cv2.imwrite(str(place / "set" / label / f"ä{number}.png"), picture)
    dataset = "dataset={name: folder, train: {path: set}, subset: null, test: null}"
    said = on_terminal(
        monkeypatch, "engine.train", "run.yaml", dataset, "model.layers=[Flatten, {Linear: [784, 2]}]", "--out", "±"
    )
    assert said.status == 0 and said.out.endswith("written: +/-\n"), said.err
    (place / "truth.csv").write_text("filename,label\nä0.png,→\nä1.png,größe ±1\n", "utf-8")
    images = ["set/→/ä0.png", "set/größe ±1/ä1.png"]
    command = ["engine.predict", *images, "--checkpoint", "±/best.safetensors", "--gt", "truth.csv"]
    said = on_terminal(monkeypatch, *command)
    assert said.status == 0 and r"set/gr\xf6\xdfe +/-1/\xe41.png" in said.out, said.err
    assert r"gr\xf6\xdfe +/-1" in said.err and "->" in said.err  # the confusion matrix
    said = on_terminal(monkeypatch, *command, "--out", "out.csv")
    assert said.status == 0 and r"gr\xf6\xdfe +/-1" in said.out
    assert "set/größe ±1/ä1.png" in (place / "out.csv").read_text("utf-8")


def test_crossval(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("engine.crossval", "run.yaml", "split={kind: folds, folds: 2}", "--seeds", "0,1", "--out", "out")
    said = on_terminal(monkeypatch, *command)
    assert said.status == 0, said.err
    assert "fold 0 of 0 ... 1" in said.out and "val_accuracy: 0." in said.out and " +/- " in said.out
    assert len(json.loads((place / "out" / "crossval.json").read_text())["folds"]) == 2


def test_a_method(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = "dataset={name: digits5k, train: {count: 120}, test: {count: 60, seed: 1}}"
    small = ["model.arguments.dense_units=8", "split.fraction=0.2", "epochs=1", "threads=1"]
    command = ["experiments.methods.transfer_mnist", "--seeds", "5,6", "--epochs", "1", "--out", "out", few, *small]
    said = on_terminal(monkeypatch, *command)
    assert said.status == 0 and "(95 %, 2 pairs, Student's t)" in said.out and " +/- " in said.out, said.err


def test_a_check(monkeypatch: pytest.MonkeyPatch) -> None:
    text = yaml.safe_dump(STUDY)
    monkeypatch.setattr(verdict, "load", lambda *arguments: parse_study(text, "tiny.yaml"))
    monkeypatch.setattr(verdict, "winograd_ops", lambda config: {"conv": 1} if config.algorithm == "auto" else {})
    said = on_terminal(monkeypatch, "experiments.checks.winograd_accuracy", "--studies", "mnist", "--out", "out")
    assert said.status in (0, 1) and "95 % paired interval of the difference: " in said.out, said.err
    assert " +/- " in said.out and "verdict: " in said.out


def test_peers(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="--plot draws with matplotlib")
    measured = replace(run_of(record(ours=side(1.0, 1.1), torch=side(2.0, 2.1))), facts={"clock": "3 ± 0.1 GHz"})
    (place / "run.json").write_text(json.dumps(to_json(measured)))
    command = ("experiments.peers", "--show", "run.json")
    said = on_terminal(monkeypatch, *command)
    assert said.status == 0 and "3 +/- 0.1 GHz" in said.out, said.err
    if Path(FULL).exists():
        said = on_terminal(monkeypatch, *command, "--plot", "ratios.png", full=True)
        assert said.status == 2 and (place / "ratios.png").stat().st_size > 1000


@needs_full
def test_a_profile_is_drawn_before_it_is_printed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="the roofline is drawn with matplotlib")
    said = on_terminal(monkeypatch, "engine.profile", "run.yaml", "--threads", "1", "--out", "roof.png", full=True)
    assert said.status == 2 and (place / "roof.png").stat().st_size > 1000, said.err


def without_streams(place: Path, closed: str, module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`python -m MODULE ARGUMENTS` where the shell closed streams, as `2>&-` does."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *command]
    return subprocess.run(shell, capture_output=True, text=True, check=False, cwd=place, env=environment)


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_commands_work_without_the_streams_that_the_shell_closed(place: Path, closed: str) -> None:
    trained = without_streams(place, closed, "engine.train", "run.yaml", "dataset.train={sheets: true}", "--out", "run")
    assert trained.returncode == 2  # the images are too large: the error has nowhere to go, and goes nowhere else
    assert trained.stdout == "" and not trained.stderr.startswith("Traceback"), trained
    trained = without_streams(place, closed, "engine.train", "run.yaml", "--out", "run")
    assert (trained.returncode, trained.stderr) == (0, ""), trained
    assert ("written: run" in trained.stdout) == (closed == "2>&-")
    (place / "new").mkdir()
    for number in range(70):  # more than are counted at a time
        cv2.imwrite(str(place / "new" / f"{number}.png"), np.full((28, 28), number, np.uint8))
    (place / "new" / "70.png").write_text("no image")
    predict = ("engine.predict", "new", "--checkpoint", "run/best.safetensors", "--skip-damaged")
    said = without_streams(place, closed, *predict, "--out", "p.csv")
    assert (said.returncode, said.stderr) == (1, ""), said
    rows = (place / "p.csv").read_text().splitlines()
    assert len(rows) == 72 and all(row.startswith(("file,", "new/")) for row in rows)
    said = without_streams(place, closed, *predict)
    assert (said.returncode, said.stderr) == (1, ""), said
    assert said.stdout.splitlines() == (rows if closed == "2>&-" else [])


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_study_works_without_standard_error(place: Path, monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    if jobs == 2:
        monkeypatch.setenv("CNN_NUM_THREADS", "2")
    said = without_streams(place, "2>&-", "experiments.ablation", "--study", "tiny.yaml", "--no-report", "-j", jobs)
    assert said.returncode == 0 and said.stdout.startswith("Größen → Genauigkeit"), said
    assert "[1/4]" not in said.stdout and (place / "runs" / "tiny" / "table.csv").exists()
    with sqlite3.connect(place / "runs" / "tiny" / "study.sqlite") as database:
        assert database.execute("SELECT count(*) FROM runs WHERE status = 'finished'").fetchone() == (4,)


def test_a_training_from_python_works_without_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert type(progress_for("auto")).__name__ == "LineProgress"
    bar = progress_for("bar")
    bar.begin(1, 10, 0)
    bar.step(10, 0.5)
    bar.close()


@needs_full
def test_what_cannot_be_told_is_dropped(place: Path) -> None:
    """Standard error that takes nothing changes no status."""
    for changes, status in (("augment.flip=0", 0), ("batch_size=0", 2)):
        said = without_streams(place, f"2>{FULL}", "engine.train", "run.yaml", changes, "--out", f"run{status}")
        assert said.returncode == status, said
    code = "from engine.cli import run; from engine.errors import warn; exit(run(lambda: warn('a')))"
    warned = subprocess.run(["sh", "-c", f'exec "$@" 2>{FULL}', "sh", sys.executable, "-c", code], check=False)
    assert warned.returncode == 0
