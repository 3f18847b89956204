"""Statistics, schedule and rendering of the comparison with peers, on invented figures."""

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.measuring.networks import NETWORKS
from experiments.measuring.sides import SideEnded
from experiments.peers import goals, render
from experiments.peers.__main__ import chosen_cases, main, parser, peers_of
from experiments.peers.cases import ONLY, Case, cases_of
from experiments.peers.frameworks import PEERS, environment, foreign
from experiments.peers.job import INFERENCE, SGD, TRAINING, Job, Node, load
from experiments.peers.protocol import FEWEST_ROUNDS, Settings, Turn, compare, difference, schedule, take_rounds
from experiments.peers.records import (
    CaseRecord,
    Run,
    SideRecord,
    best_ratio,
    from_json,
    geometric_mean,
    merged,
    to_json,
)
from experiments.stats import spread

CASE = Case("lenet", TRAINING, SGD, 64, 2)


def side(*seconds: float, planned: int | None = None) -> SideRecord:
    return SideRecord(list(seconds), [2 * each for each in seconds], 1.5, 0.5, 3_000_000, planned, 1e-7)


def record(case: Case = CASE, **peers: SideRecord) -> CaseRecord:
    return CaseRecord(case, {"ours": side(1.0, 2.0, 4.0, planned=2_000_000), **peers})


def run_of(*records: CaseRecord) -> Run:
    return Run({"machine": "some"}, {"torch": "torch 9"}, {"jax": "not installed"}, list(records))


def test_ratios_are_taken_round_by_round() -> None:
    each = record(torch=side(3.0, 4.0, 20.0))
    assert each.ratios("torch") == [3.0, 2.0, 5.0]
    found = spread(each.ratios("torch"))
    assert (found.median, found.least, found.most) == (3.0, 2.0, 5.0)


def test_best_peer_has_the_smallest_median_ratio() -> None:
    each = record(torch=side(3.0, 6.0, 12.0), jax=side(2.5, 5.0, 100.0), keras=side(30.0))
    assert each.best == "jax"
    assert best_ratio(each) == 2.5
    assert record().best is None
    assert CaseRecord(CASE, {}, {"ours": "failed"}).best is None


def test_geometric_mean() -> None:
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4.0)
    assert geometric_mean([]) is None


def test_json_gives_the_run_back() -> None:
    run = run_of(record(torch=side(3.0, 4.0, 20.0)))
    data = json.loads(json.dumps(to_json(run)))
    assert data["records"][0]["best"] == "torch"
    assert data["records"][0]["sides"]["torch"]["ratio"]["median"] == 3.0
    assert from_json(data) == run


def test_runs_are_merged_and_the_later_figure_stands() -> None:
    other = Case("vgg3", TRAINING, SGD, 64, 2)
    early = dataclasses.replace(run_of(record(torch=side(3.0))), skipped=[other])
    late = dataclasses.replace(run_of(record(torch=side(5.0)), record(other)), facts={"machine": "another"})
    both = merged([early, late])
    assert [each.case for each in both.records] == [CASE, other]
    assert both.records[0].ratios("torch") == [5.0]
    assert both.skipped == []
    assert both.facts == {"machine": "some; another"}


def test_markdown_shows_ratios_goals_and_what_is_missing() -> None:
    one = dataclasses.replace(record(torch=side(3.0, 4.0, 20.0), keras=side(9.0)), dropout_apart=True)
    one.left_out["torch-cl"] = "losses differ"
    text = render.markdown(run_of(one))
    line = next(line for line in text.splitlines() if line.startswith("| lenet*"))
    assert "3.00 (2.00-5.00)" in line
    assert "9.00 (once)" in line
    assert "5 missed" in line
    assert "- jax: not installed" in text
    assert "torch-cl: losses differ" in text
    assert "3 (2)" in text  # MB measured and planned
    assert "missed: lenet" in text
    assert "dropout" in text
    widths = {len(line) for line in text.splitlines() if line.startswith(("| lenet", "| network "))}
    assert len(widths) <= 8  # columns are aligned: two lines per table


def test_rendering_does_without_anything_measured() -> None:
    assert render.markdown(run_of()).startswith("# Beside the peers")
    assert "nothing to compare" in render.progress(CaseRecord(CASE, {}, {"ours": "failed"}))


def test_plot_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from experiments.peers.plot import draw

    inference = Case("lenet", INFERENCE, None, 1, 2)
    run = run_of(record(torch=side(3.0, 4.0, 20.0)), record(inference, onnxruntime=side(0.5, 1.0, 2.0)))
    draw(run, tmp_path / "ratios.png")
    assert (tmp_path / "ratios.png").read_bytes().startswith(b"\x89PNG")


def test_verdicts_follow_the_table() -> None:
    inference = Case("vgg3", INFERENCE, None, 1, 2)
    judged = goals.verdicts(
        [
            record(torch=side(6.0, 12.0, 24.0)),
            record(Case("model1", TRAINING, SGD, 64, 2), torch=side(1.5, 3.0, 6.0)),
            # Judged by ONNX Runtime, though PyTorch is ahead of it.
            record(inference, onnxruntime=side(3.0, 6.0, 12.0), torch=side(1.0, 1.0, 1.0)),
            record(Case("lenet", TRAINING, SGD, 16, 2), torch=side(1.0, 1.0, 1.0)),
        ]
    )
    assert [(each.ratio, each.goal, each.reached) for each in judged[:3]] == [
        (6.0, 5.0, True), (1.5, 2.0, False), (3.0, 2.0, True),
    ]  # fmt: skip
    assert judged[3].ratio == pytest.approx(math.sqrt(6.0 * 1.5))
    assert len(judged) == 4


def test_schedule_adapts_to_the_time() -> None:
    settings = Settings(rounds=7, turn=0.5)
    rounds, turns = schedule({"ours": 0.001, "torch": 0.005}, settings, 1e9)
    assert rounds == {"ours": 7, "torch": 7}
    assert turns == {"ours": Turn(100, 500), "torch": Turn(20, 100)}
    rounds, turns = schedule({"ours": 2.0, "torch": 8.0, "jax": 40.0}, settings, 30.0)
    assert rounds == {"ours": FEWEST_ROUNDS, "torch": FEWEST_ROUNDS, "jax": 1}  # far behind
    assert turns["torch"] == Turn(0, 1)
    rounds, _ = schedule({"ours": 1.0, "torch": 4.0}, settings, 26.0)
    assert rounds == {"ours": 5, "torch": 5}
    rounds, _ = schedule({"ours": 0.001}, Settings(rounds=1), 0.0)
    assert rounds == {"ours": 1}


class Stand:
    """In the place of a process: a step takes its number in milliseconds; at the `last` answer it ends."""

    def __init__(self, name: str, log: list[tuple[str, int]], last: int = 99):
        self.name, self.log, self.last = name, log, last

    def ask(self, steps: int) -> dict[str, Any]:
        self.log.append((self.name, steps))
        if sum(name == self.name for name, _ in self.log) == self.last:
            raise SideEnded("it ended")
        return {"seconds": [1e-3 * (each + 1) for each in range(steps)], "losses": [], "cpu_seconds": 2e-3 * steps}


def test_rounds_are_interleaved_and_begin_in_turn() -> None:
    log: list[tuple[str, int]] = []
    workers: dict[str, Any] = {name: Stand(name, log) for name in ("ours", "torch", "jax")}
    turns = {"ours": Turn(0, 3), "torch": Turn(1, 3), "jax": Turn(0, 1)}
    left_out: dict[str, str] = {}
    taken = take_rounds(workers, {"ours": 2, "torch": 2, "jax": 1}, turns, left_out)
    assert log == [("ours", 3), ("torch", 1), ("torch", 3), ("jax", 1), ("torch", 1), ("torch", 3), ("ours", 3)]
    assert (taken["ours"].seconds, taken["ours"].cpu_seconds) == ([2e-3, 2e-3], [2e-3, 2e-3])
    assert taken["ours"].calls == [1e-3, 2e-3, 3e-3] * 2
    assert taken["jax"].seconds == [1e-3]
    assert not left_out


def test_a_side_that_ends_is_left_out_of_the_other_rounds() -> None:
    log: list[tuple[str, int]] = []
    workers: dict[str, Any] = {"ours": Stand("ours", log), "torch": Stand("torch", log, last=2)}
    left_out: dict[str, str] = {}
    taken = take_rounds(workers, {"ours": 3, "torch": 3}, dict.fromkeys(workers, Turn(0, 1)), left_out)
    assert left_out == {"torch": "it ended"}
    assert set(taken) == {"ours"} and len(taken["ours"].seconds) == 3


def test_sides_that_differ_are_left_out() -> None:
    left_out: dict[str, str] = {}
    values = {"ours": np.array([2.0, 1.8]), "torch": np.array([2.0, 1.8, 0.5]), "jax": np.array([2.0, 1.81])}
    differences = compare(CASE, values | {"keras": np.array([np.nan, 1.0])}, left_out)
    assert differences["torch"] == 0.0
    assert set(left_out) == {"jax", "keras"}
    assert "losses differ from ours by 0.05" in left_out["jax"]
    inference = Case("lenet", INFERENCE, None, 2, 1)
    assert difference(inference, np.ones((2, 3)), np.ones((2, 4))) == math.inf
    assert difference(inference, np.array([[4.0, 1.0]]), np.array([[4.0, 2.0]])) == 0.25


def test_cases_are_all_combinations_that_make_sense() -> None:
    cases = cases_of(["lenet", "scene_8"], [TRAINING, INFERENCE], [SGD], {TRAINING: (64, 16), INFERENCE: (1,)}, (1, 2))
    assert len(cases) == len(set(cases)) == 2 * (3 + 2)
    assert {each.batch for each in cases if each.network == "scene_8"} == {16}
    assert str(cases[0]) == "lenet, training, sgd, batch 64, 1 thread"


def test_peers_of_a_case() -> None:
    options = parser().parse_args(["--quick"])
    training, *_ = chosen_cases(options)
    assert training.batch == 64
    assert "onnxruntime" not in peers_of(training, None, PEERS)
    inference = Case("lenet", INFERENCE, None, 1, 2)
    engines = ["onnxruntime", "openvino", "mnn", "ncnn", "litert", "tract"]
    assert peers_of(inference, None, PEERS) == ["torch", "torch-cl", *engines]
    assert peers_of(inference, ["jax"], ["ours", "jax"]) == ["jax"]
    assert peers_of(Case("scene_8", TRAINING, SGD, 16, 2), None, PEERS) == ["torch", "torch-cl"]
    assert set(ONLY) <= set(NETWORKS)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--peers", "torhc"],
        ["--networks", "lenet5"],
        ["--networks", ""],
        ["--threads", "0"],
        ["--threads", "two"],
        ["--rounds", "0"],
        ["--budget", "nan"],
        ["--python", "torch=/does/not/exist"],
        ["--python", "ours=python"],
        ["--batches", "64,-1"],
    ],
)
def test_bad_arguments_end_with_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "error: argument " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--json", "/does/not/exist/run.json"], "its folder does not exist"),
        (["--plot", "ratios.txt"], "ends with .png"),
        (["--go-on"], "needs the file of --json"),
    ],
)
def test_outputs_are_checked_first(arguments: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        main(arguments)


def test_show_refuses_other_files(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text('{"records": []}')
    with pytest.raises(ValueError, match="not a file that --json has written"):
        main(["--show", str(file)])


def test_job_survives_its_files_and_permutes_for_channels_last(tmp_path: Path) -> None:
    flatten = Node("0", "Flatten", ("input",), {}, (2, 2, 3))
    linear = Node("1", "Linear", ("0",), {"in_features": 12, "out_features": 5, "bias": True}, (12,))
    job = Job(TRAINING, SGD, 0.1, 1, 1, {}, (flatten, linear), (5,), tmp_path)
    weights = np.random.default_rng(0).standard_normal((5, 12)).astype(np.float32)
    job.save({"1.weights": weights})
    again = load(tmp_path)
    assert again == job
    x = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    expected = weights @ x.ravel()
    np.testing.assert_allclose(x.transpose(1, 2, 0).ravel() @ again.weights_channels_last(1), expected, rtol=1e-5)


def test_another_interpreter_is_given_what_a_worker_needs(tmp_path: Path) -> None:
    assert foreign("elsewhere/bin/python", tmp_path)
    code = "import sys, experiments.peers.worker as w; print(w.__file__, {'engine', 'cnncore'} & set(sys.modules))"
    environ = environment(tmp_path, 1, foreign=True)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"{tmp_path}/source/experiments/peers/worker.py set()"


def test_a_side_of_chains_refuses_branches() -> None:
    first = Node("a", "ReLU", ("input",), {}, (1, 4, 4))
    second = Node("b", "Add", ("a", "input"), {}, (1, 4, 4))
    job = Job(TRAINING, SGD, 0.1, 2, 1, {}, (first, second), (1, 4, 4), Path("nowhere"))
    assert not job.is_chain and dataclasses.replace(job, nodes=(first,)).is_chain
    with pytest.raises(NotImplementedError, match="branches"):
        job.chain(logits=True)
