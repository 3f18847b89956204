"""Claims of reports: how they are read, judged and told, and the page that sums up all published rows."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from engine.errors import UserError
from engine.recipe.config import DatasetConfig, ModelConfig, TrainConfig
from experiments import summary as command
from experiments.records.ledger import ASKED, Entry, write_ledger
from experiments.records.recalled import asked_graph
from experiments.records.result import Result
from experiments.report.claims import JudgedClaim, judged_claims
from experiments.report.overview import REPORTS, markdown, overview
from experiments.report.summary import summarize
from experiments.study.claims import Claim, Expects, Pair
from experiments.study.read import load_study, parse_study, select
from experiments.study.study import Row, Study

CONFIG = TrainConfig(DatasetConfig("digits5k"), ModelConfig("lenet"), optimizer={"name": "SGD", "lr": 0.01})
VALUES = {
    "low": [0.80, 0.81, 0.79, 0.805, 0.795],
    "high": [0.90, 0.912, 0.889, 0.905, 0.896],
    "like high": [0.901, 0.911, 0.890, 0.904, 0.897],
    "wild": [0.6, 0.95, 0.9, 0.99, 0.85],
    "few": [0.5, 0.52],
    "broken": [0.9, 0.912, float("nan"), 0.905, 0.896],
}


def judged(expects: Expects, *pairs: tuple[str, str], seeds: int = 5) -> JudgedClaim:
    names = [*VALUES, "untrained"]
    claim = Claim("so it is", tuple(Pair(*each) for each in pairs), expects)
    study = Study(
        "s", "S", "val_accuracy", tuple(range(5)), tuple(Row(name, CONFIG) for name in names), claims=(claim,)
    )
    results = [
        Result("k", name, seed, "finished", {"val_accuracy": value})
        for name, values in VALUES.items()
        for seed, value in enumerate(values[:seeds])
    ]
    (found,) = judged_claims(study, summarize(study, results))
    return found


@pytest.mark.parametrize(
    ("expects", "pair", "word", "words"),
    [
        ("higher", ("high", "low"), "holds", "val accuracy +0.1004 ["),
        ("lower", ("low", "high"), "holds", "5 seeds, p < 0.001"),
        ("higher", ("low", "high"), "does not hold", "the other way round"),
        ("alike", ("like high", "high"), "holds", "5 seeds, p = "),
        ("alike", ("high", "low"), "does not hold", "they differ"),
        ("higher", ("like high", "high"), "does not hold", "alike within 0.01"),
        ("higher", ("wild", "high"), "open", "more seeds would decide"),
        ("higher", ("few", "high"), "open", "no test below 5 seeds"),
        ("higher", ("broken", "low"), "open", "a value is not finite"),
        ("higher", ("untrained", "high"), "no runs", "no seed that both rows finished"),
    ],
)
def test_a_claim_about_two_rows(expects: Expects, pair: tuple[str, str], word: str, words: str) -> None:
    found = judged(expects, pair)
    assert found.word == word == found.pairs[0].word and words in found.pairs[0].words


def test_a_claim_holds_where_all_its_pairs_do() -> None:
    assert judged("higher", ("high", "low"), ("like high", "low")).word == "holds"
    assert judged("higher", ("high", "low"), ("low", "high")).word == "does not hold"
    assert judged("higher", ("high", "low"), ("wild", "high")).word == "open"
    assert judged("higher", ("high", "low"), ("untrained", "high")).word == "no runs"


def test_the_p_values_of_all_pairs_are_corrected_together() -> None:
    alone = judged("higher", ("like high", "low")).pairs[0].comparison
    beside = judged("higher", ("like high", "low"), ("high", "low"), ("wild", "low")).pairs[0].comparison
    assert alone is not None and beside is not None and alone.p is not None and beside.p is not None
    assert alone.p < beside.p <= 3 * alone.p


TEXT = """
name: small
title: A small study
metric: val_accuracy
seeds: [0]
base: {dataset: digits5k, model: {name: lenet}}
rows: [{name: a}, {name: b, changes: {epochs: 2}}]
"""


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ({"text": "x", "pairs": [{"row": "a", "than": "c"}]}, "claims: unknown row 'c'"),
        ({"text": "x", "pairs": [{"row": "a", "than": "a"}]}, "claims: 'x' compares 'a' with itself"),
        ({"text": "x", "pairs": []}, "the claim 'x' compares no pair of rows"),
        ({"text": "x", "pairs": [{"row": "a", "than": "b"}], "metric": "score"}, "claims: 'score' is no metric"),
        ({"text": "x", "pairs": [{"row": "a", "than": "b"}], "expects": "more"}, "expects"),
    ],
)
def test_a_claim_that_cannot_be_judged_is_refused(claim: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_study(TEXT + yaml.safe_dump({"claims": [claim]}), "small.yaml")


def test_claims_go_with_their_rows() -> None:
    study = load_study("cifar10")
    kept = select(study, ["Baseline", "Dropout"]).claims
    assert [each.text for each in kept] == ["dropout raises the accuracy"] and len(study.claims) > 5


# ---- the page ----


def ledger_of(name: str, folder: Path, rows: dict[str, float]) -> None:
    """A ledger with made-up runs of some rows: five seeds around the given values."""
    study = load_study(name)
    entries = []
    for task in asked_graph(study).rows:
        run = task.run
        if run.row in rows:
            value = rows[run.row] + 0.001 * run.seed
            hashed = f"{len(entries):064x}"
            metrics = {metric: value for metric in study.metrics if metric.startswith(("val_", "test_"))}
            entries.append(
                Entry(
                    run.row, run.seed, "finished", metrics, 1, run.config.epochs, 7, 1.0, hashed, run.asked[:ASKED],
                    hashed, hashed, "avx2", "b", hashed, "c", "m",
                )
            )  # fmt: skip
    write_ledger(folder / f"{name}.jsonl", entries)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("ledgers")
    ledger_of("numtadb", folder, {"LeNet Reverse": 0.8858, "LeNet Reverse+Dilation": 0.80, "Model1 N/A": 0.2})
    ledger_of("mnist", folder, {"Final": 0.9917})
    return markdown(overview(folder))


def cells(page: str, row: str) -> list[str]:
    (line,) = (line for line in page.splitlines() if line.startswith(f"| {row} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_all_72_rows_stand_there_once_with_a_verdict_or_a_reason(page: str) -> None:
    assert page.startswith("# 72 published rows\n")
    rows = [
        line for line in page.splitlines() if line.startswith("| ") and line.count("|") == 7 and "published" not in line
    ]
    assert len(rows) == 72
    for line in rows:
        name, _, published, _, verdict, why = (cell.strip() for cell in line.strip("|").split("|"))
        assert name and float(published) > 0 and verdict
        assert why or verdict in ("reproduced", "above", "below")


def test_what_a_row_of_the_page_says(page: str) -> None:
    assert cells(page, "LeNet Reverse")[2:5] == ["0.8858", "0.8878 ± 0.0020 (5)", "reproduced"]
    assert cells(page, "LeNet Reverse+Dilation")[4] == "below"
    assert cells(page, "Model1 N/A")[3:5] == ["0.2020 ± 0.0020 (5)", "not comparable"]
    assert cells(page, "Final")[4] == "reproduced" and cells(page, "Kernel 9")[4] == "no runs"
    assert page.count("the images at hand are 28x28 in 21 shades of grey; the report makes") == 1
    assert cells(page, "dilation raises the score")[2] == "no runs"  # of Model1


def test_the_command_prints_and_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger_of("mnist", tmp_path, {"Final": 0.9917})
    assert command.main(["--ledgers", str(tmp_path), "--studies", "mnist"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("# 6 published rows\n\n1 reproduced, 5 no runs.")
    assert command.main(["--ledgers", str(tmp_path), "--studies", "mnist", "--out", str(tmp_path / "p.md")]) == 0
    assert (tmp_path / "p.md").read_text("utf-8") == printed
    with pytest.raises(UserError, match="no such folder of ledgers"):
        command.main(["--ledgers", str(tmp_path / "none")])
    with pytest.raises(SystemExit):
        command.main(["--ledgers", str(tmp_path), "--studies", " ,"])
    assert "--studies: expected names separated by commas, got ' ,'" in capsys.readouterr().err


def test_a_page_without_claims_or_published_rows_counts_none(tmp_path: Path) -> None:
    found = markdown(overview(tmp_path, ["mnist_fast"]))
    (report,) = overview(tmp_path, ["mnist_fast"])
    assert not report.claims and "claims:" not in found and f"# {len(report.lines)} published rows\n\n" in found
    bare = markdown([dataclasses.replace(report, lines=())])
    assert bare.startswith("# 0 published rows\n\nOurs is the mean") and "|" not in bare


def test_a_changed_ledger_makes_no_page(tmp_path: Path) -> None:
    ledger_of("mnist", tmp_path, {"Final": 0.9917})
    path = tmp_path / "mnist.jsonl"
    path.write_text(path.read_text("utf-8").replace("0.9917", "0.9918", 1), "utf-8")
    with pytest.raises(UserError, match="mnist.jsonl, line 1: was changed"):
        overview(tmp_path, ["mnist"])


def test_the_reports_are_those_with_published_rows() -> None:
    assert sum(len([row for row in load_study(name).rows if row.published]) for name in REPORTS) == 72
