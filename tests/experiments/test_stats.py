"""Statistics of studies and measurements against figures from elsewhere."""

import pytest

from experiments.stats import paired_interval, spread


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
