"""The generated transforms: the header is what the generator prints, and its matrices are exactly right."""

from fractions import Fraction

import pytest

from csrc.winograd import generate

Vector = list[Fraction]


def apply(matrix: generate.Matrix, values: Vector) -> Vector:
    return [sum((a * b for a, b in zip(row, values)), Fraction(0)) for row in matrix]


def numbers(count: int, start: int) -> Vector:
    return [Fraction((start + 7 * i) % 11 - 5, 1 + i % 3) for i in range(count)]


def test_the_header_is_what_the_generator_prints() -> None:
    assert generate.HEADER.read_text(encoding="ascii") == generate.header()


@pytest.mark.parametrize("m, r", generate.VARIANTS)
def test_the_bilinear_form_is_the_correlation(m: int, r: int) -> None:
    """With every pair of unit vectors, so for all d and g."""
    pairs = generate.PAIRS[m + r - 1]
    bt, g, at = generate.input_matrix(pairs), generate.filter_matrix(pairs, r), generate.output_matrix(pairs, m)
    for i in range(m + r - 1):
        for k in range(r):
            spread = [row[i] for row in bt]
            y = apply(at, [a * row[k] for a, row in zip(spread, g)])
            assert y == [Fraction(int(i == out + k)) for out in range(m)]


@pytest.mark.parametrize("m, r", generate.VARIANTS)
def test_the_gradient_by_the_filter(m: int, r: int) -> None:
    pairs = generate.PAIRS[m + r - 1]
    bt, g, at = generate.input_matrix(pairs), generate.filter_matrix(pairs, r), generate.output_matrix(pairs, m)
    d, dy = numbers(m + r - 1, 3), numbers(m, 5)
    products = [a * b for a, b in zip(apply(bt, d), apply(generate.transpose(at), dy))]
    expected = [sum((d[k + i] * dy[i] for i in range(m)), Fraction(0)) for k in range(r)]
    assert apply(generate.transpose(g), products) == expected


EDGES = [(m, r, less) for m, r in generate.VARIANTS for less in range(1, m)]


@pytest.mark.parametrize("m, r, less", EDGES)
def test_a_tile_at_the_edge_needs_as_many_positions_less(m: int, r: int, less: int) -> None:
    """Its outputs and its part of the gradient, by the filters of whole tiles at the positions that it keeps."""
    pairs, alpha, wanted = generate.PAIRS[m + r - 1], m + r - 1, m - less
    kept = generate.kept_positions(alpha, less)
    assert len(kept) == wanted + r - 1
    g = [generate.filter_matrix(pairs, r)[position] for position in kept]
    bt, at = generate.input_matrix(pairs, less), generate.output_matrix(pairs, m, less)
    d, taps, dy = numbers(wanted + r - 1, 3), numbers(r, 1), numbers(wanted, 5)
    products = [a * b for a, b in zip(apply(g, taps), apply(bt, d), strict=True)]
    assert apply(at, products) == [sum(d[i + k] * taps[k] for k in range(r)) for i in range(wanted)]
    sums = [a * b for a, b in zip(apply(bt, d), apply(generate.transpose(at), dy), strict=True)]
    expected = [sum(d[k + i] * dy[i] for i in range(wanted)) for k in range(r)]
    assert apply(generate.transpose(g), sums) == expected


@pytest.mark.parametrize("m, r", generate.VARIANTS)
def test_what_touches_every_pixel_is_exact_in_float32(m: int, r: int) -> None:
    pairs = generate.PAIRS[m + r - 1]
    edges = [generate.input_matrix(pairs, less) for less in range(1, m)]
    for matrix in (generate.input_matrix(pairs), generate.output_matrix(pairs, m), *edges):
        for value in (value for row in matrix for value in row):
            power, bits = value.denominator, abs(value.numerator).bit_length()
            assert power & (power - 1) == 0 and bits <= 24, value
