"""Rows summed up, the table as data, and its renderers."""

import csv
import dataclasses
import io
import re
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.recipe.config import DatasetConfig, ModelConfig, TrainConfig
from experiments.records.result import Result
from experiments.report.document import build_document
from experiments.report.html import html
from experiments.report.render import csv_text, latex, latex_text, markdown, terminal
from experiments.report.summary import summarize
from experiments.report.table import BETTER, Marked, study_table
from experiments.stats import Bounds, Estimate, estimate, holm, paired_p
from experiments.study.read import parse_study
from experiments.study.schema import PublishedSource, PublishedValue
from experiments.study.study import Budget, Row, Study

CONFIG = TrainConfig(DatasetConfig("digits5k"), ModelConfig("lenet"), optimizer={"name": "SGD", "lr": 0.01})
SHORT = dataclasses.replace(CONFIG, epochs=3)
STUDY = Study(
    name="small",
    title="A small study",
    metric="val_macro_f1",
    seeds=(0, 1),
    rows=(
        Row("raw|1", SHORT, full=CONFIG, published={"val_macro_f1": PublishedValue(0.1549, "another network")}),
        Row("reverse", SHORT, full=CONFIG, published={"val_macro_f1": PublishedValue(0.8858)}),
        Row("new", SHORT, full=CONFIG),
    ),
    published=PublishedSource("the report", "its Table 2", {"val_macro_f1": "last column"}),
    assumptions=("momentum 0.9",),
    overrides=("epochs=3",),
)


def result(row, seed, score, parameters=44726, seconds=1.0, metric="val_macro_f1"):
    """A finished run, or without a score one that diverged."""
    if score is None:
        error = "training diverged at step 3"
        return Result("k", row, seed, "diverged", parameters=parameters, seconds=seconds, error=error)
    return Result("k", row, seed, "finished", {metric: score}, parameters=parameters, seconds=seconds)


RESULTS = (
    result("raw|1", 0, 0.25),
    result("raw|1", 1, 0.75, seconds=2.0),
    result("reverse", 0, 0.5, seconds=3.0),
    result("reverse", 1, None),
)


def table_of(study, results):
    return study_table(study, summarize(study, results))


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20))
def test_estimate_agrees_with_the_standard_library(values):
    got = estimate(values)
    assert got is not None and got.count == len(values)
    assert got.mean == pytest.approx(statistics.fmean(values), abs=1e-9)
    assert got.std == pytest.approx(statistics.stdev(values), abs=1e-9)


def test_estimate_of_one_and_of_none():
    assert estimate([0.5]) == Estimate(0.5, None, 1)
    assert estimate([]) is None


# ---- summary ----

SEEDS = (0, 1, 2, 3, 4)
NOISE = (0.010, -0.004, 0.007, -0.011, 0.002)


def scores(row, mean, step=0.0, seeds=SEEDS, **others):
    """Results around the mean; `step` is what the row adds to or takes from every second seed."""
    return [result(row, seed, mean + NOISE[seed] + step * (-1) ** seed, **others) for seed in seeds]


def study(*rows, **others):
    return Study("s", "A study", "val_macro_f1", SEEDS, tuple(rows), **others)


def test_a_row_is_compared_with_the_base_of_its_group_seed_by_seed():
    rows = [
        Row("base", CONFIG, group="A", base=True),
        Row("good", CONFIG, group="A"),
        Row("bad", CONFIG, group="A"),
        Row("other base", CONFIG, group="B", base=True),
        Row("noise", CONFIG, group="B"),
    ]
    results = [
        *scores("base", 0.8),
        *scores("good", 0.9, 0.002)[::-1],  # in the order of their ends, not of their seeds
        *scores("bad", 0.7, 0.002),
        *scores("other base", 0.95),
        *scores("noise", 0.951, 0.01),
    ]
    base, good, bad, other, noise = summarize(study(*rows), results).rows
    assert base.base == "base" and base.comparison is None and other.comparison is None and noise.base == "other base"
    assert good.comparison.better and not bad.comparison.better and not noise.comparison.better
    assert good.comparison.difference == pytest.approx(0.1, abs=1e-3) and good.comparison.count == 5
    ours = {row: [each.seed for each in results if each.row == row] for row in ("base", "good")}
    assert ours["good"] == ours["base"][::-1]
    pairs = [("base", 0.8, "good", 0.9, 0.002), ("base", 0.8, "bad", 0.7, 0.002), ("b", 0.95, "noise", 0.951, 0.01)]
    raw = [
        paired_p([mean + NOISE[s] + step * (-1) ** s for s in SEEDS], [low + NOISE[s] for s in SEEDS])
        for _, low, _, mean, step in pairs
    ]
    assert [each.comparison.p for each in (good, bad, noise)] == pytest.approx(holm(raw))
    assert summarize(study(*rows), results).tests == 3


def test_only_seeds_that_both_finished_are_compared():
    rows = [Row("base", CONFIG, base=True), Row("other", CONFIG)]
    results = [*scores("base", 0.8), *scores("other", 0.9, 0.002, seeds=(0, 1, 2, 3)), result("other", 4, None)]
    other = summarize(study(*rows), results).rows[1]
    assert other.comparison.count == 4 and other.comparison.p is None and not other.comparison.better
    assert (other.finished, other.diverged, other.planned) == (4, 1, 5)
    assert other.error == "seed 4: training diverged at step 3"


def test_rows_that_train_the_same_are_tested_once():
    rows = [
        Row("base", CONFIG, base=True),
        Row("again base", CONFIG, same_as="base"),
        Row("good", CONFIG),
        Row("again good", CONFIG, same_as="good"),
    ]
    summary = summarize(study(*rows), [*scores("base", 0.8), *scores("good", 0.9, 0.002)])
    _, again_base, good, again_good = summary.rows
    assert summary.tests == 1 and again_good.comparison == good.comparison and good.comparison.better
    assert again_base.comparison is None and again_base.main.ours == summary.rows[0].main.ours


def longer(epochs):
    return dataclasses.replace(CONFIG, epochs=epochs)


FASTER = dataclasses.replace(CONFIG, optimizer={"name": "SGD", "lr": 0.1}, batch_size=128, threads=3, cache=False)


@pytest.mark.parametrize(
    ("row", "others", "expected"),
    [
        ({}, {}, "reproduced"),
        ({"incomparable": "other images"}, {}, "not comparable (other images)"),
        ({}, {"budget": Budget("evening", "as in full, three seeds")}, "reproduced"),
        ({"full": longer(12)}, {"budget": Budget("lunch", "fewer epochs")}, "not comparable (10 of 12 epochs)"),
        ({"full": longer(12)}, {"overrides": ("epochs=10",)}, "not comparable (10 of 12 epochs)"),
        ({"full": longer(10)}, {"budget": Budget("lunch", "some rows have fewer epochs")}, "reproduced"),
        ({"full": FASTER}, {}, "not comparable (with another optimizer, batch_size)"),
    ],
)
def test_verdict_of_a_row(row, others, expected):
    published = {"val_macro_f1": PublishedValue(0.8)}
    only = summarize(study(Row("a", CONFIG, published=published, **row), **others), scores("a", 0.8)).rows[0]
    assert str(only.main.verdict) == expected and only.main.difference == pytest.approx(np.mean(NOISE))
    assert 0.8 in only.main.prediction and only.main.interval.low < only.main.ours.mean < only.main.interval.high


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("optimizer.lr=1e-2", ""),
        ("optimizer={name: sgd, momentum: 0}", ""),
        ("epochs=10", ""),
        ("cache=no", ""),
        ("checkpoint_seconds=9", ""),
        ("train_metrics=true", ""),
        ("threads=2", ""),
        ("wandb.project=digits", ""),
        ("gt_csv=truth.csv", ""),
        ("optimizer.lr=1e-3", "with another optimizer"),
        ("select.count=30", "with another select"),
        ("epochs=9", "9 of 10 epochs"),
    ],
)
def test_an_override_that_says_what_stands_there_anyway_changes_nothing(override, reason):
    text = """
name: small
title: A small study
metric: val_accuracy
seeds: [0]
base: {dataset: digits5k, model: {name: lenet}, optimizer: {name: SGD, lr: 0.01}}
published: {columns: {val_accuracy: table 1}}
rows: [{name: a, published: {val_accuracy: 0.8}}]
"""
    read = parse_study(text, "small.yaml", [override])
    numbers = [result("a", seed, 0.8 + noise, metric="val_accuracy") for seed, noise in enumerate(NOISE)]
    (row,) = summarize(read, numbers).rows
    assert str(row.main.verdict) == (f"not comparable ({reason})" if reason else "reproduced")


def test_the_table_shows_width_and_margin_beside_the_verdict():
    published = {"val_macro_f1": PublishedValue(0.8)}
    table = table_of(study(Row("a", CONFIG, published=published), margin=0.005), scores("a", 0.8))
    (word,) = table.column("verdict")
    assert word.startswith("compatible (but our interval is wide: ") and word.endswith("would decide)")
    assert table.column("prediction_half_width") == (pytest.approx(2.776 * np.std(NOISE, ddof=1) * 1.2**0.5, rel=1e-3),)
    assert any("val macro F1: 0.005" in note for note in table.notes)


def test_every_format_shows_width_and_what_would_decide_beside_the_verdict():
    published = {"val_macro_f1": PublishedValue(0.8), "val_accuracy": PublishedValue(0.9)}
    wide = study(Row("a", CONFIG, published=published), margin=0.005)
    results = [
        dataclasses.replace(each, metrics={**each.metrics, "val_accuracy": 0.9 + noise / 5})
        for each, noise in zip(scores("a", 0.8), NOISE)
    ]
    summary = summarize(wide, results)
    table = study_table(wide, summary)
    (width,), (word,) = table.column("prediction_half_width"), table.column("verdict")
    more = re.search(r"\d+ more seeds? would decide", word)
    assert more and table.column("val_accuracy_verdict") == ("reproduced",)
    assert table.column("val_accuracy_half_width") == pytest.approx((width / 5,))
    page = html(build_document(wide, summary, ()))
    for text in (terminal(table), markdown(table), latex(table), page):
        assert f"{width:.4f}" in text and more[0] in text
        assert "would decide: were mean and standard deviation to stay" in " ".join(text.split())
    (row,) = csv.DictReader(io.StringIO(csv_text(table)))
    assert float(row["prediction_half_width"]) == width and row["verdict"] == word
    assert float(row["val_accuracy_half_width"]) == pytest.approx(width / 5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_seed_without_a_finite_value_is_not_passed_over(bad):
    rows = [Row("a", CONFIG, published={"val_macro_f1": PublishedValue(0.8)}), Row("base", CONFIG, base=True)]
    results = [*scores("a", 0.8)[:4], result("a", 4, bad), *scores("base", 0.7)]
    summary = summarize(study(*rows), results)
    first, base = summary.rows
    assert str(first.main.verdict) == "not comparable (a value is not finite)"
    assert first.main.ours is None and first.main.interval is None and first.main.prediction is None
    assert first.comparison is None and not first.alike and base.main.ours is not None and summary.tests == 0
    table = table_of(study(*rows), results)
    assert table.column("runs") == ("5/5, 1 not finite", "5/5") and table.column("val_macro_f1")[0] is None


def test_a_figure_is_shown_and_not_judged():
    published = {"parameters": PublishedValue(44000.0)}
    only = summarize(study(Row("a", CONFIG, published=published)), scores("a", 0.8)).rows[0]
    measure = only.measures["parameters"]
    assert measure.verdict is None and measure.difference == 726 and measure.ours.mean == 44726


def test_every_published_column_has_its_place():
    published = {"test_loss": PublishedValue(0.4), "val_macro_f1": PublishedValue(0.8)}
    summary = summarize(study(Row("a", CONFIG, published=published)), scores("a", 0.8))
    assert summary.columns == ("val_macro_f1", "test_loss", "parameters", "seconds_per_epoch")


def test_accuracy_per_million_parameters():
    rows = [
        Row("a", CONFIG, published={"val_accuracy": PublishedValue(0.6), "parameters": PublishedValue(300_000.0)}),
        Row("b", CONFIG),
    ]
    of = Study("s", "A study", "val_accuracy", (0,), tuple(rows))
    results = [result(name, 0, 0.5, size, metric="val_accuracy") for name, size in (("a", 250_000), ("b", 10**6))]
    table = table_of(of, results)
    assert table.column("per_million") == pytest.approx((2.0, 0.5)) and table.column("published_per_million")[0] == 2.0
    assert "acc/M: val accuracy per million parameters" in table.notes
    assert "per_million" not in {column.key for column in table_of(of, results[:1]).columns}


# ---- table ----


def test_the_table_is_data():
    table = table_of(STUDY, RESULTS)
    assert table.title == "A small study (budget: full)"
    assert table.column("row") == ("raw|1", "reverse", "new")
    assert table.column("published_val_macro_f1") == (Marked(0.1549, "(a)"), 0.8858, None)
    assert table.column("val_macro_f1") == (Estimate(0.5, pytest.approx(0.35355339), 2), Estimate(0.5, None, 1), None)
    assert table.column("val_macro_f1_interval") == (Bounds(0.25, 0.75), None, None)
    assert table.column("runs") == ("2/2", "1/2, 1 diverged", "0/2")
    assert table.column("parameters") == (44726, 44726, None) and table.column("seconds") == (1.5, 3.0, None)
    assert table.column("verdict") == ("not comparable", "not comparable", None)
    assert table.notes == (
        "the report: its Table 2",
        "the report, columns: val macro F1, last column",
        "Budget full: every row at full length, on all samples",
        "(a) another network",
        "mean ± standard deviation over the seeds that finished; 95 % of mean: BCa bootstrap interval, of two or three "
        "seeds about their range",
        "verdict: reproduced where the published value lies in the 95 % t prediction interval of our seeds (from 3 "
        "seeds up) and our mean is equivalent to it within the margin (val macro F1: 0.01; two one-sided t-tests at "
        "0.05); compatible: the first alone; above, below: our runs lie above or below it; seeds that would decide: "
        "were mean and standard deviation to stay as they are",
        "not comparable: 3 of 10 epochs",
        "Assumption: momentum 0.9",
        "Changed for this table: epochs=3",
        "reverse, seed 1: training diverged at step 3",
    )


def test_why_rows_cannot_be_compared_is_said_once():
    published = {"val_macro_f1": PublishedValue(0.8)}
    alike = [Row(name, CONFIG, published=published, incomparable="other images") for name in "ab"]
    table = table_of(study(*alike), scores("a", 0.8))
    assert table.column("row") == ("a", "b") and table.notes.count("not comparable: other images") == 1
    mixed = table_of(study(alike[0], Row("c", CONFIG, published=published)), scores("c", 0.8))
    assert mixed.column("row") == (Marked("a", "(a)"), "c") and "(a) not comparable: other images" in mixed.notes
    assert mixed.column("verdict") == ("not comparable", "reproduced")


def test_columns_that_say_nothing_are_left_out():
    keys = [column.key for column in table_of(study(Row("a", CONFIG)), []).columns]
    assert keys == ["row", "val_macro_f1", "runs"]
    slow = dataclasses.replace(CONFIG, optimizer={"name": "SGD", "lr": 0.001})
    rows = (Row("a", CONFIG, group="Table 1"), Row("b", slow, group="Table 2"))
    table = table_of(study(*rows), [])
    assert table.column("learning_rate") == (0.01, 0.001) and table.column("group") == ("Table 1", "Table 2")


def test_the_mark_of_a_better_row():
    rows = [Row("base", CONFIG, base=True), Row("good", CONFIG, footnotes=("odd",))]
    table = table_of(study(*rows), [*scores("base", 0.8), *scores("good", 0.9, 0.002)])
    assert table.column("vs_base") == ("base", Marked(pytest.approx(0.1004), BETTER))
    assert table.column("row")[1] == Marked("good", "(a)") and "(a) odd" in table.notes
    assert "| +0.1004 * |" in markdown(table) and "| <0.001 |" in markdown(table)
    few = table_of(study(*rows), [*scores("base", 0.8)[:4], *scores("good", 0.9, 0.002)[:4]])
    assert "p" not in {column.key for column in few.columns} and isinstance(few.column("vs_base")[1], float)
    assert any("no test below 5 seeds" in note for note in few.notes)
    alike = table_of(study(*rows), [*scores("base", 0.5), *scores("good", 0.75)])
    assert [note.rpartition("; ")[2] for note in alike.notes if "vs base" in note] == ["no spread to test"]
    open_yet = table_of(study(*rows, sequential=True), [*scores("base", 0.8)[:4], *scores("good", 0.9, 0.002)[:4]])
    assert any("no test below 5 seeds" in note for note in open_yet.notes)


def test_more_notes_than_letters():
    rows = [Row(f"row {place}", CONFIG, footnotes=(f"note {place}",)) for place in range(28)]
    marks = [cell.mark for cell in table_of(study(*rows), []).column("row")]
    assert marks[0] == "(a)" and marks[25:] == ["(z)", "(aa)", "(ab)"]


# ---- renderers ----


def test_markdown_and_terminal_say_the_same():
    table = table_of(STUDY, RESULTS)
    lines = markdown(table).splitlines()
    start = "| raw\\|1 | 0.1549 (a) | 0.5000 ± 0.3536 | [0.2500, 0.7500] | +0.3451 | not comparable | 2/2 | 44,726 |"
    assert any(line.startswith(start) for line in lines)
    assert "| new | - | - | - | - | - | 0/2 | - | - |" in lines
    text = terminal(table)
    assert "0.5000 ± 0.3536" in text and "momentum 0.9" in text
    assert "[0.2500" not in text and "More columns in Markdown and CSV: 95 % of mean" in text
    header, rule, *rows = text.splitlines()[2:7]
    assert set(rule) == {"-"} and {len(row) for row in rows} == {len(rule)} and len(header) == len(rule)


NAMES = {
    "line1\nline2\tx": "line1 line2 x",
    " \r\n\u2028 a\x85b  c": "a b  c",
    "<b>": "&lt;b>",
    "</td><!--": "&lt;/td>&lt;!--",
    "a < b & c, <0.001": "a < b & c, <0.001",
    "&lt; &#60; &c": "&amp;lt; &amp;#60; &c",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_one_line_and_no_html_in_markdown(name):
    def whole(name):
        rows = [Row(name, CONFIG, footnotes=(f"see\n\n{name}",)), Row("other", CONFIG)]
        return table_of(dataclasses.replace(study(*rows), title=f"Is it {name}?"), scores(name, 0.8))

    lines = markdown(whole(name)).splitlines()
    assert lines[0] == f"# Is it {NAMES[name]}? (budget: full)"
    assert lines[4].startswith(f"| {NAMES[name]} (a) | ") and lines[5].startswith("| other | ")
    for text in (markdown, terminal, latex):
        assert len(text(whole(name)).splitlines()) == len(text(whole("name")).splitlines())


def test_csv_keeps_full_precision_and_splits_estimates():
    rows = list(csv.DictReader(io.StringIO(csv_text(table_of(STUDY, RESULTS)))))
    assert [row["row"] for row in rows] == ["raw|1", "reverse", "new"]
    assert float(rows[0]["val_macro_f1_std"]) == statistics.stdev([0.25, 0.75])
    assert rows[0]["published_val_macro_f1"] == "0.1549" and rows[0]["val_macro_f1_n"] == "2"
    assert rows[1]["val_macro_f1_std"] == "" and rows[2]["val_macro_f1_n"] == "0"
    assert (rows[0]["val_macro_f1_interval_low"], rows[0]["val_macro_f1_interval_high"]) == ("0.25", "0.75")
    assert rows[1]["val_macro_f1_interval_low"] == rows[1]["val_macro_f1_interval_high"] == ""


def test_latex_has_booktabs_and_a_cell_for_every_column():
    rows = [Row("base_1", CONFIG, base=True, footnotes=("50 % & more",)), Row("worse", CONFIG)]
    table = table_of(study(*rows), [*scores("base_1", 0.8), *scores("worse", 0.7, 0.002)])
    text = latex(table)
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\end{table}"))
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    shown = sum(not column.detail for column in table.columns)
    assert len(body) == 3 and {len(re.findall(r"(?<!\\)&", line)) for line in body} == {shown - 1}
    assert r"base\_1 (a)" in text and r"(a) 50 \% \& more" in text and r"& $-$0.09" in text
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")


WORDS = {
    "textbackslash": "\\",
    "textasciitilde": "~",
    "textasciicircum": "^",
    "textless": "<",
    "textgreater": ">",
    "textbar": "|",
    "textasciigrave": "`",
}


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126)))
def test_nothing_in_a_text_is_read_as_latex(text):
    tokens = re.compile(r"\\([a-z]+)\{\}|\\symbol\{(34)\}|\\([&%$#_{}])|\{([\[*])\}|([^\\&%$#_{}~^<>|\"`\[*])")
    found = list(tokens.finditer(latex_text(text)))
    assert "".join(each[0] for each in found) == latex_text(text)
    plain = (each[3] or each[4] or each[5] or ('"' if each[2] else WORDS[each[1]]) for each in found)
    assert "".join(plain) == text
