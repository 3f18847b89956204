"""The numbers of the forest plots, and how the page draws them."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping

import pytest

from engine.recipe.config import DatasetConfig, ModelConfig, TrainConfig
from experiments.records.result import Result
from experiments.report import html
from experiments.report.document import build_document
from experiments.report.forest import Forest, forests
from experiments.report.summary import summarize
from experiments.stats import paired_interval, prediction_interval
from experiments.study.schema import PublishedValue
from experiments.study.study import Row, Study

CONFIG = TrainConfig(DatasetConfig("digits5k"), ModelConfig("lenet"), optimizer={"name": "SGD", "lr": 0.01})
OURS = {"base": [0.90, 0.905, 0.91, 0.902, 0.907], "good": [0.95, 0.957, 0.958, 0.951, 0.956], "new": [0.6, 0.7, 0.8]}


def study() -> Study:
    def row(name: str, published: float | None, **changes: object) -> Row:
        values = {} if published is None else {"val_accuracy": PublishedValue(published)}
        return Row(name, CONFIG, published=values, **changes)  # type: ignore[arg-type]

    rows = (
        row("base", 0.905, base=True),
        row("good", 0.99),
        row("new", None),
        row("other data", 0.8, incomparable="other images"),
    )
    return Study("s", "S", "val_accuracy", (0, 1, 2, 3, 4), rows)


def plots(of: Study, ours: Mapping[str, list[float]] = OURS) -> dict[str, Forest]:
    results = [
        Result("k", name, seed, "finished", {"val_accuracy": value})
        for name, values in ours.items()
        for seed, value in enumerate(values)
    ]
    return {each.name: each for each in forests(of, summarize(of, results))}


def test_a_difference_without_spread_says_so() -> None:
    found = plots(study(), {**OURS, "good": [value + 0.02 for value in OURS["base"]]})
    assert found["differences-val_accuracy"].strips[0].words == "open (no spread to test)"


def test_a_seed_without_a_finite_value_has_no_dot_and_leaves_no_mean() -> None:
    found = plots(study(), {**OURS, "good": [0.95, math.nan, 0.958, 0.951, 0.956]})
    good = found["verdicts-val_accuracy"].strips[1]
    assert len(good.values) == 4 and good.mean is None and good.interval is None
    assert good.words == "not comparable (a value is not finite)"
    assert [each.name for each in found["differences-val_accuracy"].strips] == ["new"]


def test_a_strip_shows_seeds_mean_and_interval_beside_the_published_value() -> None:
    verdicts = plots(study())["verdicts-val_accuracy"]
    assert [each.name for each in verdicts.strips] == ["base", "good", "other data"]  # nothing is published of "new"
    base, good, other = verdicts.strips
    assert base.values == pytest.approx([value - 0.905 for value in OURS["base"]])
    assert base.mean == pytest.approx(statistics.fmean(OURS["base"]) - 0.905)
    expected = prediction_interval(OURS["base"])
    assert expected is not None and base.interval is not None
    assert (base.interval.low, base.interval.high) == pytest.approx((expected.low - 0.905, expected.high - 0.905))
    assert (base.kind, base.words) == ("good", "reproduced") and (good.kind, good.words) == ("bad", "below")
    assert (other.kind, other.words, other.values) == ("open", "not comparable (a)", ())
    assert verdicts.notes == ("(a) other images",) and verdicts.shade is not None
    assert (verdicts.shade.low, verdicts.shade.high) == (-0.01, 0.01)
    assert base.label.startswith("base: published 0.9050, ours 0.9048 ± 0.00") and base.label.endswith("reproduced")


def test_differences_are_paired_by_seed() -> None:
    found = plots(study())["differences-val_accuracy"]
    assert [each.name for each in found.strips] == ["good", "new"]
    good, new = found.strips
    pairs = [a - b for a, b in zip(OURS["good"], OURS["base"], strict=True)]
    interval = paired_interval(OURS["good"], OURS["base"])
    assert good.values == pytest.approx(pairs) and good.mean == pytest.approx(statistics.fmean(pairs))
    assert interval is not None and interval.half_width is not None and good.interval is not None
    assert good.interval.high - good.interval.low == pytest.approx(2 * interval.half_width)
    assert good.kind == "good" and good.words == "better than base (p < 0.001)"
    assert len(new.values) == 3 and new.words.startswith("open (no test below 5 seeds; ")


def test_everything_stands_on_the_axis_and_ticks_are_round() -> None:
    for plot in plots(study()).values():
        held = [value for strip in plot.strips for value in strip.values]
        assert plot.low < min([*held, 0]) and max([*held, 0]) < plot.high
        assert 3 <= len(plot.ticks) <= 12 and all(plot.low <= value <= plot.high for value, _ in plot.ticks)
        assert any(text == "0" for _, text in plot.ticks)
        assert all(float(text) == pytest.approx(value, abs=1e-9) for value, text in plot.ticks)
        assert plot.at(plot.low) == "0.00%" and plot.at(plot.high) == plot.at(99.0) == "100.00%"


def test_a_wide_interval_is_cut_at_the_edge() -> None:
    plot = plots(study())["differences-val_accuracy"]
    new = plot.strips[1]
    assert new.interval is not None and new.interval.high - new.interval.low > 0
    assert 0 <= float(plot.width(new.interval).rstrip("%")) <= 100


def test_without_a_run_there_is_no_plot() -> None:
    assert forests(study(), summarize(study(), [])) == ()


def test_the_page_draws_a_mark_for_every_number() -> None:
    pytest.importorskip("jinja2", reason="an HTML report needs Jinja2")
    of = study()
    results = [
        Result("k", name, seed, "finished", {"val_accuracy": value})
        for name, values in OURS.items()
        for seed, value in enumerate(values)
    ]
    page = html.html(build_document(of, summarize(of, results), []))
    drawn = {each.name: each for each in build_document(of, summarize(of, results), []).forests}
    assert page.count('class="seed"') == sum(len(strip.values) for each in drawn.values() for strip in each.strips)
    assert page.count('class="target"') == 5 and page.count('class="mean"') == 4
    plot = drawn["verdicts-val_accuracy"]
    places = re.findall(r'<circle class="seed" cx="([\d.]+%)"', page)
    assert places[:5] == [plot.at(value) for value in plot.strips[0].values]
    assert page.index('id="verdicts"') < page.index('id="tables"')
