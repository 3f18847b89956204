"""Statistics, the table as data, and its renderers."""

import csv
import io
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import DatasetConfig, ModelConfig, TrainConfig
from experiments.config import PublishedSource, PublishedValue, Row, Study
from experiments.report.render import csv_text, markdown, terminal
from experiments.report.table import Marked, study_table
from experiments.stats import Estimate, estimate
from experiments.store import Result

CONFIG = TrainConfig(DatasetConfig("digits5k"), ModelConfig("lenet"), optimizer={"name": "SGD", "lr": 0.01})
STUDY = Study(
    name="small",
    title="A small study",
    metric="val_macro_f1",
    seeds=(0, 1),
    rows=(
        Row("raw|1", CONFIG, published={"val_macro_f1": PublishedValue(0.1549, "another network")}),
        Row("reverse", CONFIG, published={"val_macro_f1": PublishedValue(0.8858)}),
        Row("new", CONFIG),
    ),
    published=PublishedSource("the report", "its Table 2"),
    assumptions=("momentum 0.9",),
    overrides=("epochs=3",),
)
RESULTS = (
    Result("k", "raw|1", 0, "finished", {"val_macro_f1": 0.25}, parameters=44726, seconds=1.0),
    Result("k", "raw|1", 1, "finished", {"val_macro_f1": 0.75}, parameters=44726, seconds=2.0),
    Result("k", "reverse", 0, "finished", {"val_macro_f1": 0.5}, parameters=44726, seconds=3.0),
    Result("k", "reverse", 1, "diverged", parameters=44726, seconds=0.1, error="training diverged at step 3"),
)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20))
def test_estimate_agrees_with_the_standard_library(values):
    got = estimate(values)
    assert got is not None and got.count == len(values)
    assert got.mean == pytest.approx(statistics.fmean(values), abs=1e-9)
    assert got.std == pytest.approx(statistics.stdev(values), abs=1e-9)


def test_estimate_of_one_and_of_none():
    assert estimate([0.5]) == Estimate(0.5, None, 1)
    assert estimate([]) is None


def test_the_table_is_data():
    table = study_table(STUDY, RESULTS)
    raw, reverse, new = table.rows
    assert raw[0] == "raw|1" and raw[2] == Marked(0.1549, "(a)")
    assert raw[3] == Estimate(0.5, pytest.approx(0.35355339), 2) and raw[4:] == ("2/2", 44726, 1.5)
    assert reverse[2] == 0.8858 and reverse[3] == Estimate(0.5, None, 1) and reverse[4] == "1/2"
    assert new[2:] == (None, None, "0/0", None, None)
    assert table.notes == (
        "the report: its Table 2",
        "(a) another network",
        "Assumption: momentum 0.9",
        "Changed for this table: epochs=3",
        "reverse, seed 1: training diverged at step 3",
    )


def test_markdown_and_terminal_say_the_same():
    table = study_table(STUDY, RESULTS)
    lines = markdown(table).splitlines()
    assert "| raw\\|1 | 0.01 | 0.1549 (a) | 0.5000 ± 0.3536 | 2/2 | 44,726 | 1.5 |" in lines
    assert "| new | 0.01 | - | - | 0/0 | - | - |" in lines
    text = terminal(table)
    assert "0.5000 ± 0.3536" in text and "momentum 0.9" in text
    header, rule, *rows = text.splitlines()[2:7]
    assert set(rule) == {"-"} and {len(row) for row in rows} == {len(rule)} and len(header) == len(rule)


def test_csv_keeps_full_precision_and_splits_estimates():
    rows = list(csv.DictReader(io.StringIO(csv_text(study_table(STUDY, RESULTS)))))
    assert [row["row"] for row in rows] == ["raw|1", "reverse", "new"]
    assert float(rows[0]["val_macro_f1_std"]) == statistics.stdev([0.25, 0.75])
    assert rows[0]["published"] == "0.1549" and rows[0]["val_macro_f1_n"] == "2"
    assert rows[1]["val_macro_f1_std"] == "" and rows[2]["val_macro_f1_n"] == "0"
