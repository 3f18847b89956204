"""The NumPy twin of the integer arithmetic, held to Python's own integers; and its one rule of rounding."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import engine
from engine.quantize import reference
from engine.quantize.arithmetic import Encoding, Factor, factor_of, requantised, rounded
from tests.engine.quantize import oracle
from tests.engine.quantize.networks import NETWORKS, network, samples


@pytest.mark.parametrize("scales", ["power_of_two", "free"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_gives_the_codes_of_the_definition(name: str, scales: str) -> None:
    net = network(name)
    body = engine.quantize(net, samples(net), scales=scales).body
    codes = np.random.default_rng(2).integers(0, 256, (1, *net.input_shape), np.uint8)
    expected, found = oracle.run(body, codes), reference.run(body, codes)
    for each in body.topology.nodes:
        np.testing.assert_array_equal(found[each.name], expected[each.name], err_msg=each.name)


def test_halves_go_to_the_even_neighbour() -> None:
    numerators = np.arange(-40, 41)
    for denominator in (1, 2, 3, 4, 6, 7, 16, 1 << 62):
        expected = [round(Fraction(int(each), denominator)) for each in numerators]
        assert rounded(numerators, denominator).tolist() == expected


def test_products_of_the_largest_numbers_stay_exact() -> None:
    sums = np.array([-(2**31) + 1, 2**31 - 1, 2**30 + 1, -1])
    for multiplier, shift in ((2**31 - 1, 62), (2**31 - 1, 0), (2**30, 61), (1, 30)):
        found = requantised(sums, np.full(4, multiplier, np.int32), np.full(4, shift, np.int32))
        assert found.tolist() == [round(Fraction(int(each) * multiplier, 1 << shift)) for each in sums]


def test_factors() -> None:
    assert factor_of(2.0**-7) == Factor(1, 7) and factor_of(8.0) == Factor(8, 0) and factor_of(1.0) == Factor(1, 0)
    for ratio in (0.3, 1e-3, 1.7, 900.1, 1 - 2**-40, 3e-9):
        found = factor_of(ratio)
        assert 1 << 30 <= found.multiplier < 1 << 31 and 0 <= found.shift <= 62
        assert found.multiplier / 2**found.shift == pytest.approx(ratio, rel=2**-30)
    for ratio in (2.0**31, 2.0**-63, 3e9):
        with pytest.raises(OverflowError):
            factor_of(ratio)


def test_an_encoding_divides_in_float32_and_rounds_to_even() -> None:
    encoding = Encoding(0.5, 2)
    values = np.array([0, 0.25, 0.75, -0.25, -1, -9, 200, np.inf], np.float32)
    assert encoding.codes(values).tolist() == [2, 2, 4, 2, 0, 0, 255, 255]
    assert encoding.numbers(np.array([0, 2, 255], np.uint8)).tolist() == [-1.0, 0.0, 126.5]
    assert encoding.code_of(np.inf) == 255 and encoding.code_of(-np.inf) == 0 and encoding.code_of(0.75) == 4
