"""The oracle itself: its gradients by central differences in float64, its random numbers by published vectors."""

import cnncore
import numpy as np
import pytest

from tests.ops import oracle
from tests.ops.cases import CASES
from tests.ops.families.base import Family, Function
from tests.ops.oracle import Array

STEP = 1e-6
TOLERANCE = 1e-6
DIRECTIONS = 3

CURVED = [(case, function) for case in CASES if (function := case.function()) is not None]


def slope_along(function: Function, weights: Array, at: int, direction: Array) -> float:
    """d/dt of sum(weights * forward(point + t * direction)) for argument `at`, by central differences."""

    def value(t: float) -> float:
        point = [p + t * direction if i == at else p for i, p in enumerate(function.point)]
        return float((weights * function.forward(*point)).sum())

    return (value(STEP) - value(-STEP)) / (2.0 * STEP)


@pytest.mark.parametrize("case, function", CURVED, ids=[f"{i}-{type(c).__name__}" for i, (c, _) in enumerate(CURVED)])
def test_gradients_are_derivatives(case: Family, function: Function) -> None:
    rng = np.random.default_rng(1)
    weights = rng.standard_normal(function.forward(*function.point).shape)
    gradients = function.gradient(weights, *function.point)
    for at, (point, gradient) in enumerate(zip(function.point, gradients)):
        for _ in range(DIRECTIONS):
            direction = rng.standard_normal(point.shape)
            expected = float((gradient * direction).sum())
            slope = slope_along(function, weights, at, direction)
            scale = float(np.abs(gradient * direction).sum()) + 1e-3
            assert abs(slope - expected) <= TOLERANCE * scale, f"{case}: argument {at}, {slope} is not {expected}"


# Known answers of Random123, the authors' own library: counter, key, draws.
KNOWN_DRAWS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize("counter, key, draws", KNOWN_DRAWS)
def test_philox_known_answers(counter: tuple[int, ...], key: tuple[int, int], draws: tuple[int, ...]) -> None:
    assert cnncore.philox4x32(counter, key) == draws
    assert tuple(oracle.philox4x32(np.array([counter], np.uint64), key)[0]) == draws


def test_philox_of_the_oracle_is_that_of_the_core() -> None:
    rng = np.random.default_rng(0)
    counters = rng.integers(0, 2**32, (50, 4), dtype=np.uint64)
    draws = oracle.philox4x32(counters, (123456789, 987654321))
    for counter, expected in zip(counters, draws):
        assert cnncore.philox4x32([int(c) for c in counter], (123456789, 987654321)) == tuple(expected)
