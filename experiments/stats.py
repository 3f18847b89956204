"""Statistics over the seeds of a row, between rows, and against a published value.

Few seeds say little, and what is shown depends on their number:

    1        the value alone
    2        standard deviation and bootstrap interval; of two or three values the latter is close to their range
    3        a verdict on the published value (`MIN_VERDICT`): with two, the prediction interval is 31 standard
             deviations wide and would hold almost anything
    5        the paired t-test against the base row (`MIN_TEST`), and with it the mark of a better row

One rule for values that are not finite (NaN, infinity): a single one among the values means no answer, never a good
one. Estimates, intervals and p-values are then None (so they are where the answer itself leaves the range of doubles),
the verdict is "not comparable", a row is compared with no other, a spread is NaN throughout; and Holm's correction
gives NaN for a p-value that is none and does not count it. A margin that is none makes no verdict, either.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Literal, TypeVar

import numpy as np

from engine.arguments import real_numbers
from engine.draws import generator

CONFIDENCE = 0.95
MIN_VERDICT = 3
MIN_TEST = 5
DEFAULT_MARGIN = 0.01  # of accuracies and F1 from 0 to 1, where a study states none
MOST_SEEDS = 1000  # beyond these, no number of seeds is said to decide
RESAMPLES = 9999
BOOTSTRAP = 301  # purpose of the bootstrap's draws (engine.draws.generator)

Key = TypeVar("Key", bound=Hashable)
_numbers = partial(real_numbers, "statistics", "values")


@dataclass(frozen=True)
class Estimate:
    """Mean and sample standard deviation of `count` values; std is None below two values."""

    mean: float
    std: float | None
    count: int


def _finite(values: Iterable[float]) -> bool:
    return all(map(math.isfinite, values))


def _exponent(values: Iterable[float]) -> int:
    """The power of two by which finite values must be divided before they are squared; 0 where they may stay."""
    largest = max(map(abs, values), default=0.0)
    return 0 if largest == 0 or 1e-140 < largest < 1e140 else math.frexp(largest)[1]


def _divided(values: Sequence[float], exponent: int) -> list[float]:
    return [math.ldexp(value, -exponent) for value in values] if exponent else list(values)


def estimate(values: Sequence[float]) -> Estimate | None:
    """Mean and standard deviation (divisor count - 1) in double precision; None for no values, or one not finite."""
    count = len(values := _numbers(values))
    if count == 0 or not _finite(values):
        return None
    if exponent := _exponent(values):
        within = estimate(_divided(values, exponent))
        assert within is not None
        try:
            std = None if within.std is None else math.ldexp(within.std, exponent)
            return Estimate(math.ldexp(within.mean, exponent), std, count)
        except OverflowError:
            return None
    mean = math.fsum(values) / count
    if count == 1:
        return Estimate(mean, None, 1)
    return Estimate(mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1)), count)


@dataclass(frozen=True)
class Bounds:
    """An interval, both ends included."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def _special() -> ModuleType:
    from scipy import special  # takes longer to load than NumPy, and most commands need no interval

    return special


def _alike(values: Sequence[float], scale: float = 0.0) -> bool:
    """Whether values differ by no more than rounding does; scale: the largest number they were computed from."""
    largest = max(scale, *map(abs, values))
    return max(values) - min(values) <= 16 * math.ulp(largest)


def bootstrap_interval(values: Sequence[float], confidence: float = CONFIDENCE, seed: int = 0) -> Bounds | None:
    """Bias-corrected and accelerated (BCa) bootstrap interval of the mean; None below two values.

    B. Efron, Better bootstrap confidence intervals, JASA 82 (1987), equations (2.3), (4.4) and (6.6), from `RESAMPLES`
    resamples with ties counted half. The draws depend on `seed` and the number of values alone. The interval never
    leaves the range of the values, and with few of them it is too short: of three it is about their range.
    """
    values = _numbers(values)
    if len(values) < 2 or not _finite(values):
        return None
    if exponent := _exponent(values):
        within = bootstrap_interval(_divided(values, exponent), confidence, seed)
        return within and Bounds(math.ldexp(within.low, exponent), math.ldexp(within.high, exponent))
    if _alike(values):
        return Bounds(min(values), max(values))
    special = _special()
    sample = np.asarray(values, np.float64)
    count = len(sample)
    # Sorted, a resample with every value once is summed in the order of the sample, and so ties with it to the bit.
    picks = np.sort(generator(seed, BOOTSTRAP, 0).integers(0, count, (RESAMPLES, count)), axis=1)
    means = sample[picks].mean(axis=1)
    mean = sample[np.arange(count)[None]].mean(axis=1)
    bias = special.ndtri(((means < mean).mean() + (means <= mean).mean()) / 2)
    leaving_one_out = (sample.sum() - sample) / (count - 1)
    pulls = leaving_one_out.mean() - leaving_one_out
    pulls = pulls / abs(pulls).max()  # the acceleration has no unit; powers of tiny values would vanish
    acceleration = (pulls**3).sum() / (6 * (pulls**2).sum() ** 1.5)
    shifted = bias + special.ndtri(np.array([(1 - confidence) / 2, (1 + confidence) / 2]))
    low, high = np.quantile(means, special.ndtr(bias + shifted / (1 - acceleration * shifted)))
    return Bounds(max(float(low), min(values)), min(float(high), max(values)))  # a mean may round beyond its values


def prediction_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Bounds | None:
    """Where one more value of the same normal distribution falls with this probability; None below two values.

    mean ± t(n - 1; (1 + confidence) / 2) s sqrt(1 + 1/n): G. J. Hahn and W. Q. Meeker, Statistical Intervals (1991),
    section 4.7 (prediction of a single future observation).
    """
    if (found := estimate(values)) is None or found.std is None:
        return None
    quantile = float(_special().stdtrit(found.count - 1, (1 + confidence) / 2))
    half_width = quantile * found.std * math.sqrt(1 + 1 / found.count)
    low, high = found.mean - half_width, found.mean + half_width
    return Bounds(low, high) if _finite([low, high]) else None


@dataclass(frozen=True)
class Verdict:
    """What our seeds say of a published value; `reason` says why where they say nothing.

    reproduced: it lies in the prediction interval of our seeds, as one more run of ours would with 95 % probability,
    and our mean is equivalent to it within the margin. compatible: it lies there, but they are not shown equivalent.
    above, below: our runs lie above or below it.
    """

    word: Literal["reproduced", "compatible", "above", "below", "not comparable", "too few seeds"]
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.word} ({self.reason})" if self.reason else self.word


def equivalent(distance: float, std: float, count: int, margin: float, confidence: float = CONFIDENCE) -> bool:
    """Two one-sided t-tests, each at 1 - `confidence`: D. J. Schuirmann, J. Pharmacokin. Biopharm. 15 (1987)."""
    return abs(distance) + float(_special().stdtrit(count - 1, confidence)) * std / math.sqrt(count) <= margin


def more_seeds(distance: float, found: Estimate, margin: float) -> int | None:
    """How many more seeds would decide, were mean and standard deviation to stay as they are; None: no number would.

    Decided is: equivalent within the margin, or outside the prediction interval. Both will move, so that these
    seeds decide in half to three quarters of all cases, and otherwise a new number is told.
    """
    assert found.std is not None
    counts = np.arange(found.count + 1, found.count + MOST_SEEDS + 1)
    quantile = _special().stdtrit
    half_widths = quantile(counts - 1, (1 + CONFIDENCE) / 2) * found.std * np.sqrt(1 + 1 / counts)
    alike = abs(distance) + quantile(counts - 1, CONFIDENCE) * found.std / np.sqrt(counts) <= margin
    decided = np.flatnonzero((abs(distance) > half_widths) | alike)
    return int(decided[0]) + 1 if len(decided) else None


def verdict(
    published: float, values: Sequence[float], incomparable: str = "", margin: float | None = DEFAULT_MARGIN,
    confidence: float = CONFIDENCE,
) -> Verdict:  # fmt: skip
    """The verdict on a published value. incomparable: why the two cannot be compared (empty: they can); margin: a
    difference of the means that does not matter, in the metric's unit (None: none is stated, so nothing is reproduced
    but what is alike); confidence: of the interval and of the tests."""
    if incomparable:
        return Verdict("not comparable", incomparable)
    published, *values = _numbers([published, *values])
    if not _finite([published, *values]):
        return Verdict("not comparable", "a value is not finite")
    if len(values) < MIN_VERDICT:
        return Verdict("too few seeds", f"{len(values)} of {MIN_VERDICT}")
    if (interval := prediction_interval(values, confidence)) is None:
        return Verdict("not comparable", "the spread of the values is beyond the range of numbers")
    if _alike([published, *values]):
        return Verdict("reproduced")
    if published not in interval:
        return Verdict("above" if published < interval.low else "below")
    if margin is None:
        return Verdict("compatible", "no margin is stated for this metric")
    if not 0 <= margin < math.inf:
        return Verdict("not comparable", f"the margin, {margin:g}, is no finite number of at least 0")
    found = estimate(values)
    assert found is not None and found.std is not None
    if equivalent(found.mean - published, found.std, found.count, margin, confidence):
        return Verdict("reproduced")
    more = more_seeds(found.mean - published, found, margin)
    many = "no number of seeds" if more is None else f"{more} more seed{'s' if more > 1 else ''}"
    return Verdict("compatible", f"but our interval is wide: {many} would decide")


def paired_p(first: Sequence[float], second: Sequence[float]) -> float | None:
    """The two-sided p-value of Student's paired t-test (Biometrika 6, 1908) that first[i] - second[i] has mean 0.

    t = mean / (s / sqrt(n)) with n - 1 degrees of freedom. None below two pairs, and where the differences are all
    alike up to rounding: there is no spread to hold them against. Right for subnormal values, too: t has no unit, and
    they are scaled before they are subtracted and squared.
    """
    first, second = _numbers(first), _numbers(second)
    if not _finite([*first, *second]):
        return None
    exponent = _exponent([*first, *second])
    first, second = _divided(first, exponent), _divided(second, exponent)
    scale = max(map(abs, [*first, *second]), default=0.0)
    differences = [a - b for a, b in zip(first, second, strict=True)]
    if (found := estimate(differences)) is None or found.std is None or _alike(differences, scale):
        return None
    t = found.mean / (found.std / math.sqrt(found.count))
    return float(2 * _special().stdtr(found.count - 1, -abs(t)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number, in the order given: below alpha, the chance of one false hit is too.

    S. Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6 (1979): the k-th smallest of
    m is multiplied by m - k + 1, and none becomes smaller than the one before it. What is no number from 0 to 1 becomes
    NaN and is not counted.
    """
    p_values = _numbers(p_values)
    corrected = [math.nan] * len(p_values)
    tested = [place for place, p in enumerate(p_values) if 0.0 <= p <= 1.0]
    least = 0.0
    for rank, place in enumerate(sorted(tested, key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(tested) - rank) * p_values[place]))
        corrected[place] = least
    return corrected


@dataclass(frozen=True)
class Pairs:
    """Values of a row and of its base row, seed by seed; `test` gives the p-value (None: `paired_p`)."""

    row: Sequence[float]
    base: Sequence[float]
    lower_is_better: bool = False
    test: Callable[[Sequence[float], Sequence[float]], float | None] | None = None


@dataclass(frozen=True)
class Comparison:
    """A row against its base row over `count` seeds that both finished.

    difference  mean of row - base; bounds: its t interval (95 %, not corrected for the number of rows; None: one seed)
    p           corrected; None below `MIN_TEST` seeds, and where the difference is the same for every seed
    better      p is below 0.05 and the difference is to the good
    """

    difference: float
    bounds: Bounds | None
    count: int
    p: float | None = None
    better: bool = False


def compare(pairs: Mapping[Key, Pairs]) -> dict[Key, Comparison]:
    """Every row against its base row, the p-values corrected for all rows tested. A row without pairs, or
    with a value that is not finite, is left out."""
    enough = {key: each for key, each in pairs.items() if len(each.row) >= MIN_TEST}
    tests = {key: (each.test or paired_p)(each.row, each.base) for key, each in enough.items()}
    tested = {key: p for key, p in tests.items() if p is not None}
    corrected = dict(zip(tested, holm(list(tested.values()))))
    found = {}
    for key, each in pairs.items():
        interval = paired_interval(each.row, each.base)
        if interval is None:
            continue
        mean, half, p = interval.mean, interval.half_width, corrected.get(key)
        better = p is not None and p < 1 - CONFIDENCE and (mean < 0 if each.lower_is_better else mean > 0)
        bounds = None if half is None else Bounds(mean - half, mean + half)
        found[key] = Comparison(mean, bounds, interval.count, p, better)
    return found


@dataclass(frozen=True)
class Interval:
    """mean ± half_width, from `count` values; half_width is None below two values."""

    mean: float
    half_width: float | None
    count: int

    @property
    def contains_zero(self) -> bool:
        return self.half_width is not None and abs(self.mean) <= self.half_width


def paired_interval(first: Sequence[float], second: Sequence[float], confidence: float = 0.95) -> Interval | None:
    """Student's t interval for the mean of first[i] - second[i]; None for no pairs, or one not finite."""
    first, second = _numbers(first), _numbers(second)
    differences = estimate([a - b for a, b in zip(first, second, strict=True)])
    if differences is None:
        return None
    if differences.std is None:
        return Interval(differences.mean, None, differences.count)
    quantile = float(_special().stdtrit(differences.count - 1, (1 + confidence) / 2))
    half_width = quantile * differences.std / math.sqrt(differences.count)
    return Interval(differences.mean, half_width, differences.count) if math.isfinite(half_width) else None


@dataclass(frozen=True)
class Spread:
    """Of some ratios: the median, the quartiles around it, and the extremes."""

    median: float
    low: float
    high: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    """Quartiles by linear interpolation, as numpy has them; NaN throughout for no values, or one that is not finite."""
    values = _numbers(values)
    if not values or not _finite(values):
        return Spread(*[math.nan] * 5)
    exponent = _exponent(values)
    found = np.quantile(_divided(values, exponent), [0, 0.25, 0.5, 0.75, 1])
    least, low, median, high, most = (math.ldexp(float(value), exponent) for value in found)
    return Spread(median, low, high, least, most)
