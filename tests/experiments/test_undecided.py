"""Which rows get more seeds, on simulated results."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from engine.recipe.config import DatasetConfig, ModelConfig, TrainConfig
from experiments.records.result import Result
from experiments.report.summary import summarize
from experiments.report.table import study_table
from experiments.sequential import MOST
from experiments.study.schema import PublishedValue
from experiments.study.study import Row, Study, seeds_of
from experiments.undecided import with_next_seeds

CONFIG = TrainConfig(DatasetConfig("digits5k"), ModelConfig("lenet"), optimizer={"name": "SGD", "lr": 0.01})


def row(name: str, published: float | None = None, **changes: object) -> Row:
    values = {} if published is None else {"val_accuracy": PublishedValue(published)}
    return Row(name, CONFIG, published=values, **changes)  # type: ignore[arg-type]


def study(*rows: Row) -> Study:
    return Study("s", "S", "val_accuracy", (0, 1, 2), rows, sequential=True)


def simulated(of: Study, means: dict[str, float], std: float) -> list[Result]:
    """A result for each row and seed: every row's own draws, the same for a seed however many there are."""
    found = []
    for place, each in enumerate(of.rows):
        draws = np.random.default_rng([7, place]).normal(means[each.name], std, 100)
        for seed in seeds_of(of, each):
            found.append(Result("k", each.name, seed, "finished", {"val_accuracy": float(draws[seed])}))
    return found


def decided(of: Study, means: dict[str, float], std: float, most: int = MOST) -> tuple[Study, list[int]]:
    """What `--until-decided` ends with, and how many seeds its rows had after each look."""
    counts = []
    while True:
        counts.append(max(len(seeds_of(of, each)) for each in of.rows))
        further = with_next_seeds(of, summarize(of, simulated(of, means, std)), most)
        if further == of:
            return of, counts
        of = further


def test_clear_rows_get_no_seed_more() -> None:
    clear = study(row("far", 0.5), row("incomparable", 0.91, incomparable="other data"), row("unpublished"))
    assert decided(clear, dict.fromkeys(("far", "incomparable", "unpublished"), 0.9), 0.001)[0] == clear


def test_an_open_row_goes_from_look_to_look_alone_and_ends() -> None:
    means = {"open": 0.903, "far": 0.9}
    ended, counts = decided(study(row("open", 0.9), row("far", 0.5)), means, 0.006)
    assert counts[0] == 3 and counts == sorted(counts) and set(counts) <= {3, 5, 8, 12, 20} and len(counts) > 1
    assert ended.rows[0].more_seeds == tuple(range(3, counts[-1])) and ended.rows[1].more_seeds == ()
    first = summarize(ended, simulated(ended, means, 0.006)).rows[0]
    assert first.main.verdict is not None and first.main.verdict.word == "reproduced"


@pytest.mark.parametrize("most", [5, 8, MOST])
def test_what_never_decides_stops_at_the_most(most: int) -> None:
    ended, _ = decided(study(row("wide", 0.9)), {"wide": 0.93}, 0.1, most)
    assert len(seeds_of(ended, ended.rows[0])) == most
    table = study_table(ended, summarize(ended, simulated(ended, {"wide": 0.93}, 0.1)))
    assert any("looked at after 3, 5, 8, 12, 20 of them" in note for note in table.notes)


def test_an_open_comparison_gives_seeds_to_both_rows() -> None:
    pair = study(row("base", base=True), row("other"))
    ended, _ = decided(pair, {"base": 0.9, "other": 0.93}, 0.012)
    assert ended.rows[0].more_seeds == ended.rows[1].more_seeds != ()
    other = summarize(ended, simulated(ended, {"base": 0.9, "other": 0.93}, 0.012)).rows[1]
    assert other.comparison is not None and other.comparison.better


def test_a_row_of_which_a_run_diverged_gets_no_more() -> None:
    one = study(row("open", 0.9))
    results = simulated(one, {"open": 0.905}, 0.006)
    results[0] = dataclasses.replace(results[0], status="diverged", metrics={})
    assert with_next_seeds(one, summarize(one, results), MOST) == one
