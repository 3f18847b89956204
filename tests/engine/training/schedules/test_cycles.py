"""1cycle and the triangle, against the published forms."""

import math

import pytest

from engine.errors import UserError
from engine.training.schedules import OneCycle, Triangular


def airbench(steps, start, peak, end):
    """`triangle` of airbench94 (Jordan 2024): the factors of steps 0 … steps."""
    xp, fp = [0, int(peak * steps), steps], [start, 1.0, end]
    found = []
    for x in range(steps + 1):
        i = 0 if x < xp[1] else 1
        found.append(fp[i] + (fp[i + 1] - fp[i]) / (xp[i + 1] - xp[i]) * (x - xp[i]))
    return found


def test_the_triangle_is_that_of_airbench():
    schedule = Triangular(start=0.2, peak_at=0.23, end=0.07).for_run(epochs=9, steps=49)
    rates = [schedule.rate(2.0, step, step // 49) for step in range(442)]
    assert rates == pytest.approx([2.0 * factor for factor in airbench(441, 0.2, 0.23, 0.07)])
    assert max(rates) == rates[int(0.23 * 441)] == 2.0
    assert schedule.rate(2.0, 10_000, 99) == 0.14


def pytorch(total, share, start, end, shape):
    """OneCycleLR of PyTorch, with a largest rate of 1: two phases, each from one rate to another."""
    phases = [(0.0, share * total - 1, start, 1.0), (share * total - 1, total - 1.0, 1.0, end)]

    def between(first, last, fraction):
        if shape == "linear":
            return (last - first) * fraction + first
        return last + (first - last) / 2.0 * (math.cos(math.pi * fraction) + 1)

    found = []
    for step in range(total):
        low, high, first, last = next(phase for phase in phases if step <= phase[1])
        found.append(between(first, last, (step - low) / (high - low)))
    return found


@pytest.mark.parametrize("shape", ["cosine", "linear"])
@pytest.mark.parametrize(("total", "share"), [(50, 0.3), (441, 0.23), (7, 0.5)])
def test_one_cycle_has_pytorchs_positions(shape, total, share):
    schedule = OneCycle(start=0.04, peak_at=share, end=4e-6, shape=shape).for_run(1, total)
    rates = [schedule.rate(0.5, step, 0) for step in range(total)]
    assert rates == pytest.approx([0.5 * each for each in pytorch(total, share, 0.04, 4e-6, shape)], abs=1e-12)
    assert schedule.rate(0.5, total, 1) == 0.5 * 4e-6


@pytest.mark.parametrize(("total", "share"), [(3, 0.3), (10, 0.05), (10, 0.0), (1, 0.3)])
def test_one_cycle_without_a_step_to_rise_in_begins_with_the_optimisers_rate(total, share):
    rates = [OneCycle(total=total, peak_at=share).rate(0.5, step, 0) for step in range(total)]
    assert rates[0] == (0.5 if total > 1 else 0.5 * 4e-6) and rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("kind", [OneCycle, Triangular])
def test_lengths(kind):
    assert kind().for_run(3, 4) == kind(total=12) and kind(total=5).for_run(3, 4) == kind(total=5)
    with pytest.raises(UserError, match=f"{kind.__name__} without total"):
        kind().rate(1.0, 0, 0)
    for total in (1, 2, 3):  # the shortest runs have rates too
        for peak in (0.0, 0.5, 1.0):
            rates = [kind(total=total, peak_at=peak).rate(1.0, step, 0) for step in range(total + 1)]
            assert all(0.0 <= rate <= 1.0 for rate in rates)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OneCycle(start=-1), "OneCycle: start"),
        (lambda: OneCycle(peak_at=1.5), "OneCycle: peak_at"),
        (lambda: OneCycle(shape="cosin"), "cosine"),
        (lambda: Triangular(end=math.inf), "Triangular: end"),
        (lambda: Triangular(total=0), "Triangular: total"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(UserError, match=message):
        make()
