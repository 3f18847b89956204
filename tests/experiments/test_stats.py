"""Statistics of studies and measurements against figures from elsewhere."""

import itertools
import math
import re
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from engine.errors import UserError
from experiments.stats import (
    Bounds,
    Pairs,
    Spread,
    bootstrap_interval,
    compare,
    estimate,
    holm,
    paired_interval,
    paired_p,
    prediction_interval,
    spread,
    verdict,
)


def test_paired_interval_of_a_textbook() -> None:
    # Differences 1, 2, 3, 4, 5: mean 3, standard deviation sqrt(2.5), t(4; 0.975) = 2.776 from printed tables.
    interval = paired_interval([2, 4, 6, 8, 10], [1, 2, 3, 4, 5])
    assert interval is not None and interval.half_width is not None and interval.count == 5
    assert interval.mean == pytest.approx(3.0)
    assert interval.half_width == pytest.approx(2.776 * 2.5**0.5 / 5**0.5, rel=1e-3)
    assert not interval.contains_zero


def test_pairs_count_not_the_two_means() -> None:
    """What the two have in common, however large, does not widen the interval."""
    common = [10.0, -40.0, 7.0, 90.0, 3.0]
    small = [0.1, -0.1, 0.05, -0.05, 0.0]
    interval = paired_interval([a + b for a, b in zip(common, small, strict=True)], common)
    assert interval is not None and interval.half_width is not None
    assert interval.half_width < 0.2 and interval.contains_zero


def test_one_pair_has_no_width_and_does_not_contain_zero() -> None:
    interval = paired_interval([1.0], [1.0])
    assert interval is not None and interval.half_width is None and not interval.contains_zero
    assert paired_interval([], []) is None


def test_spread_is_that_of_quartiles() -> None:
    found = spread([5.0, 1.0, 2.0, 4.0, 3.0])
    assert (found.least, found.low, found.median, found.high, found.most) == (1.0, 2.0, 3.0, 4.0, 5.0)


# ---- intervals over seeds ----

FEW = st.lists(st.floats(0, 1), min_size=2, max_size=12)


@given(FEW)
def test_bootstrap_stays_in_the_range_of_the_values(values: list[float]) -> None:
    found = bootstrap_interval(values)
    assert found is not None and min(values) <= found.low <= found.high <= max(values)
    assert bootstrap_interval(values) == found


def test_bootstrap_agrees_with_scipy() -> None:
    for seed in range(5):
        values = np.random.default_rng(seed).gamma(2.0, 0.1, 5 + 3 * seed)
        ours = bootstrap_interval(values.tolist())
        rng = np.random.default_rng(seed)
        theirs = scipy.stats.bootstrap((values,), np.mean, n_resamples=50_000, method="BCa", rng=rng)
        assert ours is not None
        tolerance = 0.03 * np.ptp(values)
        assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=tolerance)
        assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=tolerance)


def test_bootstrap_of_few_and_of_equal_values() -> None:
    assert bootstrap_interval([]) is None and bootstrap_interval([0.5]) is None
    assert bootstrap_interval([0.5] * 5) == Bounds(0.5, 0.5)
    # Of three values all the same one comes in 1 of 27 resamples, more than 2.5 %: the interval is their range.
    assert bootstrap_interval([0.1, 0.2, 0.3]) == Bounds(pytest.approx(0.1), pytest.approx(0.3))


def test_prediction_interval_by_hand() -> None:
    # 1 … 5: mean 3, standard deviation sqrt(2.5), t(4; 0.975) = 2.776 from printed tables, sqrt(1 + 1/5).
    found = prediction_interval([1, 2, 3, 4, 5])
    half_width = 2.776 * 2.5**0.5 * 1.2**0.5
    assert found == Bounds(pytest.approx(3 - half_width, rel=1e-3), pytest.approx(3 + half_width, rel=1e-3))
    assert prediction_interval([1.0]) is None


def test_prediction_interval_holds_one_more_value_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0).normal(0.9, 0.01, (4000, 4))
    hits = [next_one in interval for *seeds, next_one in draws.tolist() if (interval := prediction_interval(seeds))]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.015)


@given(FEW, st.floats(-10, 10))
def test_prediction_interval_moves_with_the_values(values: list[float], shift: float) -> None:
    here, there = prediction_interval(values), prediction_interval([value + shift for value in values])
    assert here is not None and there is not None
    assert there.low == pytest.approx(here.low + shift, abs=1e-9)
    assert there.high == pytest.approx(here.high + shift, abs=1e-9)


# ---- verdicts ----


@pytest.mark.parametrize(
    ("published", "values", "word"),
    [
        (0.90, [0.89, 0.90, 0.91], "compatible"),
        (0.90, [0.899, 0.900, 0.901], "reproduced"),
        (0.80, [0.89, 0.90, 0.91], "above"),
        (0.99, [0.89, 0.90, 0.91], "below"),
        (0.90, [0.89, 0.91], "too few seeds"),
        (0.90, [], "too few seeds"),
        (0.90, [0.90] * 3, "reproduced"),
        (0.91, [0.90] * 3, "below"),
    ],
)
def test_verdict_on_a_published_value(published: float, values: list[float], word: str) -> None:
    assert verdict(published, values).word == word


def test_wide_scatter_does_not_reproduce() -> None:
    """0.9664 ± 0.0048 of five seeds: 0.98 is in the prediction interval (± 0.0146), but not within 0.01 of the mean."""
    shape = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    values = (0.9664 + 0.0048 * shape / shape.std(ddof=1)).tolist()
    # t(5; 0.975) = 2.571 from printed tables: with one seed more the interval is ± 0.0133, and 0.0136 lies outside.
    assert str(verdict(0.98, values, margin=0.01)) == "compatible (but our interval is wide: 1 more seed would decide)"
    assert verdict(0.98, values, margin=0.02).word == "reproduced"
    assert verdict(0.98, [0.9664 + (value - 0.9664) / 2 for value in values]).word == "below"
    assert verdict(0.98, values, margin=None).word == "compatible"
    wide = [0.9664 + 3 * (value - 0.9664) for value in values]
    assert "no number of seeds" in str(verdict(0.98, wide, margin=0.01))


def _with(mean: float, std: float, count: int) -> list[float]:
    """Values of exactly this mean and standard deviation."""
    shape = np.linspace(-1, 1, count)
    return (mean + std * shape / shape.std(ddof=1)).tolist()


@settings(deadline=None, max_examples=40)
@given(st.floats(0, 0.03), st.floats(0.001, 0.02), st.integers(3, 8), st.floats(0.002, 0.02))
def test_the_stated_number_of_seeds_is_the_first_that_decides(
    distance: float, std: float, count: int, margin: float
) -> None:
    found = verdict(0.9, _with(0.9 + distance, std, count), margin=margin)
    assume(found.word == "compatible")
    more = re.search(r"(\d+) more seeds? would decide", found.reason)
    if more is None:
        assert "no number of seeds" in found.reason
        last = verdict(0.9, _with(0.9 + distance, std, count + 900), margin=margin)
        assert last.word == "compatible"
        return
    decided = count + int(more[1])
    assume(decided < 60)
    words = [verdict(0.9, _with(0.9 + distance, std, size), margin=margin).word for size in range(count, decided + 1)]
    assert words[:-1] == ["compatible"] * (len(words) - 1) and words[-1] in ("reproduced", "above")


@pytest.mark.parametrize(
    ("distance", "std", "count"), [(0.0136, 0.0048, 5), (0.004, 0.008, 5), (0.006, 0.006, 3), (0.02, 0.009, 4)]
)
def test_so_many_seeds_decide_more_often_than_not(distance: float, std: float, count: int) -> None:
    """Further seeds are drawn: mean and standard deviation move, and either way is as likely."""
    ours = _with(0.9 + distance, std, count)
    more = re.search(r"(\d+) more", verdict(0.9, ours).reason)
    assert more
    draws = np.random.default_rng(0).normal(0.9 + distance, std, (1000, int(more[1]))).tolist()
    decided = np.mean([verdict(0.9, [*ours, *each]).word != "compatible" for each in draws])
    assert 0.5 < decided < 0.85


def test_verdict_gives_its_reason() -> None:
    assert str(verdict(0.9, [0.9] * 5, "other data")) == "not comparable (other data)"
    assert str(verdict(0.9, [0.9])) == "too few seeds (1 of 3)"


# ---- tests between rows ----


FINITE = st.floats(allow_nan=False, allow_infinity=False)
PAIRS = st.lists(st.tuples(FINITE, FINITE) | st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=12)


def _exact_p(first: Sequence[float], second: Sequence[float]) -> float:
    """The paired t-test in fractions: scipy squares differences, and those of subnormal numbers vanish."""
    differences = [Fraction(a) - Fraction(b) for a, b in zip(first, second, strict=True)]
    count, mean = len(differences), sum(differences) / Fraction(len(differences))
    variance = sum((each - mean) ** 2 for each in differences) / (count - 1)
    square = mean**2 * count / variance
    t = math.sqrt(square) if square < 10**300 else 1e150
    return float(2 * scipy.stats.t.sf(t, count - 1))


@given(PAIRS)
@example([(0.0, 1.1e-308), (0.0, 0.0)])
@example([(0.0, 1.1e-308), (0.0, 0.0), (0.0, 3e-308)])
@example([(1.7e308, -1.7e308), (0.0, 0.0)])
def test_paired_p_agrees_with_fractions(pairs: list[tuple[float, float]]) -> None:
    first, second = zip(*pairs)
    spread_of = [Fraction(a) - Fraction(b) for a, b in pairs]
    assume(max(spread_of) - min(spread_of) > Fraction(1, 10**6) * Fraction(max(map(abs, [*first, *second]))))
    assert paired_p(first, second) == pytest.approx(_exact_p(first, second), rel=1e-6, abs=1e-9)


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=2, max_size=12))
def test_paired_p_agrees_with_scipy(pairs: list[tuple[int, int]]) -> None:
    first, second = (np.array(each) / 1000 for each in zip(*pairs))
    assume(np.ptp(first - second) > 1e-6)
    expected = scipy.stats.ttest_rel(first, second).pvalue
    assert paired_p(first.tolist(), second.tolist()) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_paired_p_of_students_own_example() -> None:
    """The hours of sleep that two drugs gave ten patients, from Student's paper: t = 4.0621, p = 0.002833 (R)."""
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    assert paired_p(first, second) == pytest.approx(0.002833, abs=5e-7)


def test_equal_differences_have_no_p() -> None:
    """0.1 more in every seed, but for rounding: no spread, so no test."""
    second = [0.1, 0.2, 0.3, 0.7, 0.8]
    first = [value + 0.1 for value in second]
    assert len({a - b for a, b in zip(first, second)}) > 1
    assert paired_p(first, second) is None and paired_p([1.0], [2.0]) is None and paired_p([], []) is None


def test_holm_by_hand() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04, times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04, and the last is raised to 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0] and holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7))
def test_holm_is_the_closure_of_bonferroni(p_values: list[float]) -> None:
    """A hypothesis is rejected when Bonferroni rejects every set of hypotheses that holds it (Marcus et al., 1976)."""
    places = range(len(p_values))
    sets = [each for size in range(1, len(p_values) + 1) for each in itertools.combinations(places, size)]
    bonferroni = {each: min(1.0, len(each) * min(p_values[place] for place in each)) for each in sets}
    expected = [max(bonferroni[each] for each in sets if place in each) for place in places]
    assert holm(p_values) == pytest.approx(expected)


BASE = [0.80, 0.82, 0.79, 0.81, 0.83]


def _higher(by: float, noise: float = 0.001) -> list[float]:
    return [value + by + noise * (-1) ** place for place, value in enumerate(BASE)]


def test_better_is_marked_only_where_it_holds() -> None:
    pairs = {
        "better": Pairs(_higher(0.05), BASE),
        "worse": Pairs(_higher(-0.05), BASE),
        "noise": Pairs(_higher(0.001, noise=0.02), BASE),
        "lower loss": Pairs(_higher(-0.05), BASE, lower_is_better=True),
        "four seeds": Pairs(_higher(0.05)[:4], BASE[:4]),
        "none": Pairs([], []),
    }
    found = compare(pairs)
    assert {name for name, each in found.items() if each.better} == {"better", "lower loss"}
    assert "none" not in found and found["four seeds"].p is None and found["four seeds"].bounds is not None
    raw = [paired_p(pairs[name].row, BASE) for name in ("better", "worse", "noise", "lower loss")]
    assert [found[name].p for name in ("better", "worse", "noise", "lower loss")] == holm([p for p in raw if p])


def test_many_rows_take_the_mark_from_a_weak_one() -> None:
    weak = Pairs([value + step for value, step in zip(BASE, [0.01, 0.02, 0.005, 0.03, 0.012])], BASE)
    assert compare({"weak": weak})["weak"].better
    noise = {place: Pairs(_higher(0.001, 0.01 + place / 1000), BASE) for place in range(10)}
    assert not compare({"weak": weak, **noise})["weak"].better


# ---- values that are not finite ----


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_value_that_is_not_finite_means_no_answer(bad: float) -> None:
    values = [0.5, 0.6, bad, 0.7, 0.8]
    assert estimate(values) is None and bootstrap_interval(values) is None and prediction_interval(values) is None
    assert paired_p(values, BASE) is None and paired_p(BASE, values) is None
    assert paired_interval(values, BASE) is None
    assert str(verdict(0.5, values)) == "not comparable (a value is not finite)"
    assert verdict(bad, [0.5] * 5).word == verdict(0.5, [bad] * 5).word == "not comparable"
    assert math.isnan(spread(values).median) and math.isnan(spread(values).least)


HUGE = [1e308, -1e308, 1e308]


@pytest.mark.parametrize("values", [[], [0.5], [0.5] * 5, [math.nan], [math.inf, -math.inf], HUGE, [5e-324, 0.0, 0.0]])
def test_every_statistic_has_an_answer_for_every_list(values: list[float]) -> None:
    for found in (bootstrap_interval(values), prediction_interval(values)):
        assert found is None or (math.isfinite(found.low) and math.isfinite(found.high))
    assert paired_p(values, values) is None and len(holm(values)) == len(values)
    assert math.isnan(spread(values).median) == (not values or not np.isfinite(values).all())
    assert set(compare({"row": Pairs(values, values)})) <= {"row"}
    for margin in (None, 0.01, 0.0, math.inf, math.nan):
        assert verdict(0.5, values, margin=margin).word in (
            ("reproduced",) if values == [0.5] * 5 else ("too few seeds", "not comparable", "below")
        )


def test_values_beyond_the_doubles_are_not_too_few() -> None:
    assert str(verdict(0.5, HUGE)) == "not comparable (the spread of the values is beyond the range of numbers)"
    assert spread(HUGE) == Spread(1e308, 0.0, 1e308, -1e308, 1e308)


def test_holm_does_not_count_what_is_no_p() -> None:
    assert holm([math.nan, 0.001]) == pytest.approx([math.nan, 0.001], nan_ok=True)
    assert holm([0.001, math.nan]) == pytest.approx([0.001, math.nan], nan_ok=True)
    assert holm([0.02, math.nan, 3e-8]) == pytest.approx([0.02, math.nan, 6e-8], nan_ok=True)


def test_a_row_with_nan_is_left_out_and_takes_nothing_from_the_others() -> None:
    good = Pairs(_higher(0.05), BASE)
    assert compare({"nan": Pairs([math.nan] * 5, BASE), "good": good}) == compare({"good": good})


@given(st.lists(FINITE, min_size=2, max_size=6))
def test_no_finite_value_makes_an_interval_raise_or_leave_the_doubles(values: list[float]) -> None:
    for found in (bootstrap_interval(values), prediction_interval(values)):
        assert found is None or (math.isfinite(found.low) and math.isfinite(found.high))


# ---- what a caller may give ---

FEW, BASE = [91, 93, 92, 95, 90], [92, 91, 93, 96, 94]
KINDS = {
    "uint8": lambda values: np.array(values, np.uint8),
    "uint16": lambda values: np.array(values, np.uint16),
    "int8": lambda values: np.array(values, np.int8),
    "float32": lambda values: np.array(values, np.float32),
    "numpy's numbers": lambda values: [np.uint8(value) for value in values],
    "tuple": tuple,
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_values_of_every_type_count_as_the_numbers_that_they_are(kind):
    few, base = kind(FEW), kind(BASE)
    assert compare({"row": Pairs(few, base)}) == compare({"row": Pairs(FEW, BASE)})
    assert compare({"row": Pairs(few, base)})["row"].difference == -1
    assert paired_p(few, base) == paired_p(FEW, BASE)
    assert paired_interval(few, base) == paired_interval(FEW, BASE)
    assert estimate(few) == estimate(FEW)
    assert spread(few) == spread(FEW)
    assert bootstrap_interval(few) == bootstrap_interval(FEW)
    assert prediction_interval(few) == prediction_interval(FEW)
    assert verdict(few[0], few, margin=1) == verdict(FEW[0], FEW, margin=1)


@pytest.mark.parametrize("values", [np.array([]), [], ()], ids=repr)
def test_no_values_have_no_spread(values):
    assert math.isnan(spread(values).median)
    assert estimate(values) is None


NO_VALUES = [[[1.0, 2.0]], np.ones((2, 2)), 3.0, "123", ["a"], [1j], np.ma.masked_array([1, 2], [1, 0])]


@pytest.mark.parametrize("values", NO_VALUES, ids=repr)
def test_what_are_no_values_is_refused(values):
    for function in (estimate, spread, bootstrap_interval, prediction_interval):
        with pytest.raises(UserError, match="values"):
            function(values)
    with pytest.raises(UserError, match="values"):
        paired_p(values, values)


@pytest.mark.parametrize("p", [-0.1, 1.1, math.inf, -math.inf])
def test_what_is_no_probability_is_no_p(p):
    assert holm([p, 0.2]) == pytest.approx([math.nan, 0.2], nan_ok=True)


def test_corrected_p_values_may_have_none_among_them():
    assert holm(np.array([0.01, math.nan, 0.04])) == pytest.approx([0.02, math.nan, 0.04], nan_ok=True)


@pytest.mark.parametrize("margin", [math.nan, -0.01, -math.inf, math.inf])
def test_what_is_no_margin_reproduces_nothing(margin):
    found = verdict(0.92, [0.92, 0.921, 0.919], margin=margin)
    assert str(found) == f"not comparable (the margin, {margin:g}, is no finite number of at least 0)"
