"""The matrix product: all four transpose cases, alpha and beta, gaps between rows, teams, instruction sets."""

import itertools

import cnncore
import numpy as np
import pytest
from numpy.typing import NDArray

TOLERANCE = 1e-4
SHAPES = [
    (1, 1, 1), (9, 7, 5), (6, 16, 33), (17, 33, 1), (1, 100, 64), (5, 1, 300), (65, 130, 257), (200, 48, 400)
]  # fmt: skip
TRANSPOSES = list(itertools.product((False, True), repeat=2))


def operand(rng: np.random.Generator, rows: int, columns: int, gap: int = 0) -> NDArray[np.float32]:
    """A matrix whose rows lie `gap` elements apart; the gap holds NaN, which must not be touched."""
    memory = np.full((rows, columns + gap), np.nan, np.float32)
    memory[:, :columns] = rng.standard_normal((rows, columns))
    return memory[:, :columns]


def arranged(rng: np.random.Generator, rows: int, columns: int, transpose: bool, gap: int) -> NDArray[np.float32]:
    return operand(rng, columns, rows, gap) if transpose else operand(rng, rows, columns, gap)


def plain(matrix: NDArray[np.float32], transpose: bool) -> NDArray[np.float64]:
    wide = matrix.astype(np.float64)
    return wide.T if transpose else wide


@pytest.mark.parametrize("gap", (0, 3))
@pytest.mark.parametrize("ta, tb", TRANSPOSES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_products(shape: tuple[int, int, int], ta: bool, tb: bool, gap: int, isa: str) -> None:
    m, n, k = shape
    rng = np.random.default_rng(m * n + k)
    a, b, c = arranged(rng, m, k, ta, gap), arranged(rng, k, n, tb, gap), operand(rng, m, n, gap)
    for alpha, beta in [(1.0, 0.0), (0.5, 1.0), (-2.0, 0.25), (0.0, 2.0)]:
        expected = alpha * plain(a, ta) @ plain(b, tb) + beta * c.astype(np.float64)
        for reference in (False, True):
            out = operand(rng, m, n, gap)
            out[...] = c
            cnncore.sgemm(a, b, transpose_a=ta, transpose_b=tb, alpha=alpha, beta=beta, out=out, reference=reference)
            error = np.abs(out - expected).max() / np.abs(expected).max()
            assert error <= TOLERANCE, f"{shape} {ta=} {tb=} {alpha=} {beta=} {gap=} {isa=} {reference=}: {error:.3g}"
            if gap:
                assert out.base is not None and np.isnan(out.base[:, n:]).all(), "wrote between the rows of out"


@pytest.mark.parametrize("reference", (False, True))
def test_beta_zero_overwrites_nan(reference: bool, isa: str) -> None:
    rng = np.random.default_rng(0)
    a, b = operand(rng, 19, 35), operand(rng, 35, 21)
    out = np.full((19, 21), np.nan, np.float32)
    cnncore.sgemm(a, b, beta=0.0, out=out, reference=reference)
    assert np.array_equal(out, cnncore.sgemm(a, b, reference=reference))


def test_same_bits_on_any_team(isa: str) -> None:
    rng = np.random.default_rng(1)
    try:
        for (m, n, k), (ta, tb) in itertools.product(SHAPES, TRANSPOSES):
            a, b = arranged(rng, m, k, ta, 0), arranged(rng, k, n, tb, 0)
            results = []
            for team in (1, 2, 3, 5):
                cnncore.set_num_threads(team)
                results.append(cnncore.sgemm(a, b, transpose_a=ta, transpose_b=tb).tobytes())
            assert len(set(results)) == 1, f"{m=} {n=} {k=} {ta=} {tb=} {isa=}"
    finally:
        cnncore.set_num_threads(0)


def test_shapes_that_disagree_are_quoted() -> None:
    a, b = np.zeros((2, 3), np.float32), np.zeros((4, 5), np.float32)
    with pytest.raises(ValueError, match="2x3.*4x5"):
        cnncore.sgemm(a, b)
    with pytest.raises(ValueError, match=r"\(2, 5\).*\(1, 1\)"):
        cnncore.sgemm(a, np.zeros((3, 5), np.float32), out=np.zeros((1, 1), np.float32))
    with pytest.raises(ValueError, match="beta needs out"):
        cnncore.sgemm(a, np.zeros((3, 5), np.float32), beta=1.0)
    with pytest.raises(ValueError, match="float32.*float64"):
        cnncore.sgemm(a.astype(np.float64), b)
