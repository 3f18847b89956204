"""Looks at growing numbers of seeds: what they spend, how often they err, and when they stop."""

from __future__ import annotations

import numpy as np
import pytest

from experiments import options
from experiments.sequential import (
    LOOKS,
    MOST,
    looks,
    more_pairs,
    sequential_p,
    sequential_verdict,
    shares,
    shown_alike,
    why_untested,
)
from experiments.stats import Pairs, compare, paired_p, verdict

TRIALS = 200


@pytest.mark.parametrize(
    ("first", "expected"), [(1, LOOKS), (3, LOOKS), (4, (4, 5, 8, 12, 20)), (5, LOOKS[1:]), (30, (30,))]
)
def test_the_looks_spend_the_whole_error_once(first: int, expected: tuple[int, ...]) -> None:
    assert looks(first) == expected and tuple(shares(first)) == expected
    assert sum(shares(first).values()) == pytest.approx(1) and min(shares(first).values()) > 0
    assert MOST == options.MOST


@pytest.mark.parametrize(
    ("count", "first", "expected"),
    [
        (4, None, "no test below 5 seeds"),
        (5, None, "no spread to test"),
        (4, 3, "no test below 5 seeds"),
        (6, 7, "no test below 7 seeds"),
        (7, 7, "no spread to test"),
    ],
)
def test_why_there_is_no_p_value(count: int, first: int | None, expected: str) -> None:
    assert why_untested(count, first) == expected
    row, base = [0.5 + 0.01 * seed for seed in range(count)], [0.4] * count
    test = None if first is None else sequential_p(first)
    spread = compare({"": Pairs(row, base, test=test)})[""]
    assert (spread.p is not None) == (expected == "no spread to test")


def test_a_published_run_like_ours_is_seldom_called_above_or_below() -> None:
    draws = np.random.default_rng(1).normal(0.9, 0.01, (TRIALS, MOST + 1))
    words = [sequential_verdict(float(own[-1]), own[:-1].tolist(), 3, margin=0.001).word for own in draws]
    wrong = sum(word in ("above", "below") for word in words) / TRIALS
    assert wrong <= 0.05 + 2 * (0.05 * 0.95 / TRIALS) ** 0.5


def test_a_mean_at_the_margin_is_seldom_called_reproduced_and_one_within_it_mostly() -> None:
    draws = np.random.default_rng(2).normal(0.9, 0.005, (TRIALS, MOST))
    at_margin = [sequential_verdict(0.91, own.tolist(), 3, margin=0.01).word for own in draws]
    assert at_margin.count("reproduced") / TRIALS <= 0.05 + 2 * (0.05 * 0.95 / TRIALS) ** 0.5
    within = [sequential_verdict(0.9, own.tolist(), 3, margin=0.01).word for own in draws]
    assert within.count("reproduced") / TRIALS > 0.95


def test_rows_that_are_alike_are_seldom_called_different_and_looks_by_themselves_more_often() -> None:
    draws = np.random.default_rng(3).normal(0.0, 1.0, (TRIALS, 2, MOST))
    test = sequential_p(3)
    p_values = [test(row.tolist(), base.tolist()) for row, base in draws]
    assert all(p is not None for p in p_values)
    wrong = sum(p is not None and p < 0.05 for p in p_values) / TRIALS
    assert wrong <= 0.05 + 2 * (0.05 * 0.95 / TRIALS) ** 0.5
    naive = sum(
        min(paired_p(row[:n].tolist(), base[:n].tolist()) or 1 for n in LOOKS[1:]) < 0.05 for row, base in draws
    )
    assert naive / TRIALS > 0.08  # what the correction is for


def test_the_first_look_that_decides_stands() -> None:
    apart = [0.80, 0.81, 0.79]
    assert sequential_verdict(0.99, apart, 3).word == "below"
    assert sequential_verdict(0.99, [*apart, 0.99, 0.99], 3).word == "below"
    close = [0.90, 0.9001, 0.8999, 0.9, 0.9]
    assert sequential_verdict(0.9, [*close, *[0.5] * 3], 3).word == "reproduced"
    assert sequential_verdict(0.9, close[:2], 3).word == "too few seeds"
    assert sequential_verdict(0.9, close, 3, "other data").word == "not comparable"


def test_a_look_is_stricter_than_a_single_test() -> None:
    values = [0.900, 0.907, 0.911]
    assert verdict(0.95, values).word == "below" and sequential_verdict(0.95, values, 3).word == "compatible"


def test_pairs_that_differ_by_little_are_shown_alike() -> None:
    base = [0.90, 0.91, 0.92, 0.93, 0.94]
    row = [value + small for value, small in zip(base, [0.001, -0.001, 0.0005, -0.0005, 0.0])]
    assert (
        shown_alike(row, base, 5, 0.01)
        and not shown_alike(row, base, 5, 0.0005)
        and not shown_alike(row, base, 5, None)
    )


def test_how_many_more_pairs_would_decide() -> None:
    base = [0.90, 0.91, 0.92]
    assert more_pairs([0.95, 0.961, 0.969], base, 0.01) == 2  # the test needs five pairs
    wide = more_pairs([0.95, 0.90, 0.95], base, None)
    assert wide is not None and wide > 2
    assert more_pairs([0.95], [0.9], 0.01) is None and more_pairs([0.95, 0.96, 0.97], base, 0.01) is None
