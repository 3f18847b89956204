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


@pytest.mark.parametrize("m, r", generate.VARIANTS)
def test_what_touches_every_pixel_is_exact_in_float32(m: int, r: int) -> None:
    pairs = generate.PAIRS[m + r - 1]
    for matrix in (generate.input_matrix(pairs), generate.output_matrix(pairs, m)):
        for value in (value for row in matrix for value in row):
            power, bits = value.denominator, abs(value.numerator).bit_length()
            assert power & (power - 1) == 0 and bits <= 24, value
