"""Places and tables where some sides have not five correct digits, and runs that go on, on invented figures."""

import argparse
import dataclasses
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.errors import UserError
from experiments.measuring import neighbour
from experiments.peers import __main__ as command
from experiments.peers import render
from experiments.peers.cases import Case
from experiments.peers.job import INFERENCE
from experiments.peers.protocol import Taken
from experiments.peers.records import CaseRecord, Run, SideRecord, best_ratio, from_json, to_json

CASE = Case("lenet", INFERENCE, None, 1, 2)


def side(seconds: float, error: float | None) -> SideRecord:
    return SideRecord([seconds] * 3, [seconds] * 3, 1.0, 0.5, 1, None, 0.0, error, 2 * seconds, 3 * seconds, 1234)


def record(**peers: SideRecord) -> CaseRecord:
    return CaseRecord(CASE, {"ours": side(2e-3, 2e-7), **peers})


COARSE = record(
    mnn=side(1e-3, 3e-5), onnxruntime=side(6e-3, 1e-5), openvino=side(4e-3, 5e-7), ncnn=side(3e-3, math.nan)
)


def run_of(*records: CaseRecord, beside: bool = False) -> Run:
    facts = {"machine": "some"} | ({command.BESIDE: neighbour.WORDS} if beside else {})
    return Run(facts, {"openvino": "openvino 9"}, {"tract": "No module named 'tract'"}, list(records))


def test_only_those_with_five_correct_digits_have_places() -> None:
    places = {"ours": 1, "openvino": 2, "onnxruntime": 3, "mnn": None, "ncnn": None}
    assert list(COARSE.ranking().items()) == list(places.items())
    assert COARSE.best == "openvino"
    assert best_ratio(COARSE) == 2.0


def test_without_a_known_error_nobody_is_coarse() -> None:
    assert record(mnn=side(1e-3, None)).best == "mnn"
    assert record(mnn=side(1e-3, 1.1e-5)).best is None


def test_a_table_names_places_errors_and_tails() -> None:
    text = render.markdown(run_of(COARSE))
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| lenet")
    ]
    placed = [row for row in rows if row[-1] == "1,234"]
    assert [row[3:6] for row in placed] == [
        ["ours", "1", "2.0e-07"], ["openvino", "2", "5.0e-07"], ["onnxruntime", "3", "1.0e-05"],
        ["mnn", "~", "3.0e-05"], ["ncnn", "~", "nan"],
    ]  # fmt: skip
    assert placed[1][6:9] == ["4.000", "8.000", "12.000"]
    assert "0.50 (0.50-0.50) ~" in text  # faster than ours, and marked
    assert "- tract: No module named 'tract'" in text
    assert "has not five correct digits" in text


def test_means_leave_the_coarse_out() -> None:
    other = dataclasses.replace(record(mnn=side(8e-3, 1e-6)), case=dataclasses.replace(CASE, network="vgg3"))
    text = render.markdown(run_of(COARSE, other))
    mean = next(line for line in text.splitlines() if line.startswith("|     1 |"))
    assert [cell.strip() for cell in mean.split("|")[3:-1]] == ["2", "3.00", "2.00", "4.00", "-", "2.83"]


def test_a_record_of_before_has_no_errors() -> None:
    assert from_json(json.loads(json.dumps(to_json(run_of(record(openvino=side(4e-3, 1e-7))))))).records[0].best
    data = to_json(run_of(record(mnn=side(1e-3, 3e-5))))
    for each in data["records"][0]["sides"].values():
        for name in ("error", "p95", "p99", "calls"):
            del each[name]
    old = from_json(data)
    assert old.records[0].best == "mnn"
    assert "Places" not in render.markdown(old)


def test_percentiles_are_times_that_were_measured() -> None:
    taken = Taken(calls=[float(each) for each in range(1, 101)])
    assert (taken.percentile(95), taken.percentile(99)) == (96.0, 100.0)
    assert Taken(calls=[0.5]).percentile(99) == 0.5


@pytest.fixture
def invented(monkeypatch: pytest.MonkeyPatch) -> list[Case]:
    """In the place of a measurement; the list fills with the cases that are measured."""
    measured: list[Case] = []

    def measure(case: Case, *_: Any) -> CaseRecord:
        measured.append(case)
        Path(_[2]).mkdir()
        return dataclasses.replace(record(openvino=side(4e-3, 5e-7)), case=case)

    monkeypatch.setattr(command, "measure", measure)
    monkeypatch.setattr(command, "probe", lambda names, *_: ({name: f"{name} 1" for name in names}, {}))
    return measured


def options(file: Path, *more: str) -> argparse.Namespace:
    fixed = ["--tasks", "inference", "--threads", "2", "--inference-batches", "1", "--peers", "openvino"]
    return command.parser().parse_args([*fixed, "--json", str(file), "--go-on", *more])


def test_a_run_goes_on_where_it_stopped(tmp_path: Path, invented: list[Case]) -> None:
    file = tmp_path / "run.json"
    first = command.run(options(file, "--networks", "lenet"), ["one"])
    assert [each.case.network for each in first.records] == ["lenet"]
    both = command.run(options(file, "--networks", "lenet,vgg3"), ["two"])
    assert [each.network for each in invented] == ["lenet", "vgg3"]  # lenet not again
    assert [each.case.network for each in both.records] == ["lenet", "vgg3"]
    assert from_json(json.loads(file.read_text())) == both
    assert "`one`; `two`" in both.facts["command"]


def test_a_run_does_not_go_on_with_or_without_a_neighbour(tmp_path: Path, invented: list[Case]) -> None:
    file = tmp_path / "run.json"
    beside = command.run(options(file, "--networks", "lenet", "--neighbour"), ["one"])
    assert beside.facts[command.BESIDE] == neighbour.WORDS
    with pytest.raises(UserError, match="with a busy neighbour"):
        command.run(options(file, "--networks", "vgg3"), ["two"])
    assert len(invented) == 1


def test_a_neighbour_is_busy_and_ends() -> None:
    with neighbour.busy() as pid:
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_neighbour_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    missing: Sequence[str] = ("no-such-command",)
    monkeypatch.setattr(neighbour, "COMMAND", missing)
    with pytest.raises(UserError, match="a busy neighbour needs the command no-such-command"), neighbour.busy():
        pass
