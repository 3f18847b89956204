"""Verdicts and tests while seeds are still being added: looks at stated numbers of seeds, and what each may spend.

The results are looked at after `LOOKS` seeds, from those of the study on, and no more are added once a question is
decided. Whoever looks five times at 5 % each errs more often than in 5 %; so the error is spent over the looks: at a
look at n of MOST seeds, the share n / MOST of it has been spent in all (the spending function t of Kim & DeMets,
Biometrika 74, 1987, after Lan & DeMets, Biometrika 70, 1983). Each look tests at what it spends, and the sum bounds the
chance of any error, whatever the looks have in common (Bonferroni). Over all looks, therefore, at most in 5 % of cases

- a published value that is one more run of ours is called above or below,
- a mean that lies outside the margin is called equivalent,
- a row that does not differ from its base is called better or worse (with Holm's correction: any row of the study).

Where no seeds are added, rows are judged as always, at the full 5 %.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from experiments.stats import (
    CONFIDENCE,
    DEFAULT_MARGIN,
    MIN_TEST,
    MIN_VERDICT,
    MOST_SEEDS,
    Verdict,
    equivalent,
    estimate,
    paired_p,
    verdict,
)

LOOKS = (3, 5, 8, 12, 20)
MOST = LOOKS[-1]


def looks(first: int) -> tuple[int, ...]:
    """At which numbers of seeds the results are looked at, where the study has `first`."""
    first = max(first, MIN_VERDICT)
    return (first, *(look for look in LOOKS if look > first))


def shares(first: int) -> dict[int, float]:
    """Which share of the error each look spends; they add up to 1."""
    numbers = looks(first)
    most = max(numbers)
    return {look: (look - before) / most for look, before in zip(numbers, (0, *numbers))}


def sequential_verdict(
    published: float,
    values: Sequence[float],
    first: int,
    incomparable: str = "",
    margin: float | None = DEFAULT_MARGIN,
) -> Verdict:
    """The verdict of the first look that decides, else that of the last one so far; values in the order of their
    seeds. `first`, `incomparable`, `margin` as in `looks` and `verdict`."""
    found = verdict(published, values[: max(looks(first)[0], 1)], incomparable, margin)
    for look, share in shares(first).items():
        if look > len(values):
            break
        found = verdict(published, values[:look], incomparable, margin, 1 - (1 - CONFIDENCE) * share)
        if found.word != "compatible":
            break
    return found


def sequential_p(first: int) -> Callable[[Sequence[float], Sequence[float]], float | None]:
    """A test for pairs in the order of their seeds: the least p-value of all looks, each divided by its share.

    It is at most u with a probability of at most u where there is no difference, as a p-value should be: the looks'
    chances add up to u. None below `MIN_TEST` pairs, and where no look has a p-value.
    """

    def test(row: Sequence[float], base: Sequence[float]) -> float | None:
        found = []
        for look, share in shares(max(first, MIN_TEST)).items():
            p = paired_p(row[:look], base[:look]) if look <= len(row) else None
            if p is not None:
                found.append(min(1.0, p / share))
        return min(found, default=None)

    return test


def why_untested(count: int, first: int | None = None) -> str:
    """Why so many pairs of finite values have no p-value. `first` as in `looks` (None: all are looked at once)."""
    least = max(first or 0, MIN_TEST)
    return f"no test below {least} seeds" if count < least else "no spread to test"


def shown_alike(row: Sequence[float], base: Sequence[float], first: int | None, margin: float | None) -> bool:
    """Whether a look shows the mean difference to lie within the margin; pairs in the order of their seeds. `first` as
    in `looks` (None: all pairs are looked at once)."""
    if margin is None:
        return False
    for look, share in ({len(row): 1.0} if first is None else shares(first)).items():
        if look <= len(row):
            found = estimate([a - b for a, b in zip(row[:look], base[:look], strict=True)])
            if found is None or found.std is None:
                return False
            if equivalent(found.mean, found.std, found.count, margin, 1 - (1 - CONFIDENCE) * share):
                return True
    return False


def more_pairs(row: Sequence[float], base: Sequence[float], margin: float | None) -> int | None:
    """How many more pairs would decide whether the row differs from its base (p below 5 %) or is equivalent to it
    within the margin, were mean and standard deviation of the differences to stay as they are. None: not up to 1000, or
    too few pairs to say."""
    found = estimate([a - b for a, b in zip(row, base, strict=True)])
    if found is None or not found.std:
        return None
    from scipy import special  # slow to load, and most commands need none

    counts = np.arange(max(found.count, MIN_TEST), found.count + MOST_SEEDS + 1)
    errors = found.std / np.sqrt(counts)
    decided = 2 * special.stdtr(counts - 1, -abs(found.mean) / errors) < 1 - CONFIDENCE
    if margin is not None:
        decided |= abs(found.mean) + special.stdtrit(counts - 1, CONFIDENCE) * errors <= margin
    places = np.flatnonzero(decided)
    return int(counts[places[0]]) - found.count if len(places) else None
