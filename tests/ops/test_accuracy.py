"""Worst cases for rounding that ordinary networks meet: sums over pixels that are all alike (a white background, the
gradient of a global average), deviations that are small beside their mean (batch normalisation), and each result of an
activation by itself, near 0 and in its tails."""

from typing import Any

import cnncore
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.ops import oracle

SIZE = 224
GEOMETRY = dict.fromkeys(cnncore.GEOMETRIES["conv2d"], 0) | dict.fromkeys(("h", "w", "oh", "ow"), SIZE)
GEOMETRY |= dict.fromkeys(("ic", "kh", "kw", "stride_h", "stride_w", "dilation_h", "dilation_w", "groups"), 1)
GEOMETRY["oc"] = 16


def run_on(isa: str, op: str, operands: dict[str, Any], geometry: dict[str, float], batch: int) -> None:
    before = cnncore.isa()
    cnncore.set_isa(isa)
    try:
        cnncore.run_op(op, operands, geometry, batch)
    finally:
        cnncore.set_isa(before)


@pytest.mark.parametrize("isa", cnncore.available_isas())
def test_weight_gradient_of_a_large_constant_map(isa: str) -> None:
    src = np.full((1, SIZE, SIZE, 1), 0.7, np.float32)
    diff_dst = np.full((1, SIZE, SIZE, 16), 1e-3, np.float32)
    diff_weights, diff_bias = np.empty((1, 1, 1, 16), np.float32), np.empty(16, np.float32)
    operands = {"diff_weights": diff_weights, "diff_bias": diff_bias, "src": src, "diff_dst": diff_dst}
    run_on(isa, "conv2d_backward_weights", operands, GEOMETRY, 1)
    pixels = SIZE * SIZE
    np.testing.assert_allclose(diff_bias, pixels * np.float64(np.float32(1e-3)), rtol=1e-4)
    exact = pixels * np.float64(np.float32(0.7)) * np.float64(np.float32(1e-3))
    np.testing.assert_allclose(diff_weights.ravel(), exact, rtol=1e-4)


def norm_geometry(channels: int) -> dict[str, float]:
    fields = dict.fromkeys(cnncore.GEOMETRIES["norm"], 0)
    return fields | {"rows": 1, "c": channels, "eps": 0.0, "momentum": 0.1}


@pytest.mark.parametrize("every", [1, 2, 512])
@pytest.mark.parametrize("isa", cnncore.available_isas())
def test_variance_beside_far_outliers(every: int, isa: str) -> None:
    """Deviations are taken from a mean that is guessed from a few rows: here these rows lie far from all others, or all
    rows are alike."""
    rows, channels = 8192, 16
    src = np.random.default_rng(3).normal(5.0, 1e-3, (rows, channels)).astype(np.float32)
    src[::every] += 0.0 if every == 1 else 300.0
    dst = np.empty_like(src)
    vectors = {name: np.zeros(channels, np.float32) for name in ("bias", "running_mean", "running_var")}
    saved = {"save_mean": np.empty((2, channels), np.float32), "save_inv_std": np.empty(channels, np.float32)}
    operands = {"dst": dst, "src": src, "weights": np.ones(channels, np.float32)} | vectors | saved
    run_on(isa, "batchnorm_forward_training", operands, norm_geometry(channels), rows)
    exact = src.astype(np.float64)
    mean, deviation = exact.mean(axis=0), exact.std(axis=0)
    np.testing.assert_allclose(saved["save_inv_std"], 1.0 / deviation, rtol=1e-5)
    np.testing.assert_array_less(np.abs(saved["save_mean"].astype(np.float64).sum(axis=0) - mean), 1e-7 * deviation)
    np.testing.assert_allclose(dst, (exact - mean) / deviation, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("rows", [9, 1000])
@pytest.mark.parametrize("isa", cnncore.available_isas())
def test_a_bias_before_batch_normalisation_has_no_gradient(rows: int, isa: str) -> None:
    """The columns of diff_src sum to zero: up to the rounding of its elements, however large the mean is beside the
    deviations."""
    rng = np.random.default_rng(57)
    channels, geometry = 10, norm_geometry(10)
    src = (1.0 + 6e-3 * rng.standard_normal((rows, channels))).astype(np.float32)
    diff_dst = rng.standard_normal((rows, channels)).astype(np.float32)
    weights = np.ones(channels, np.float32)
    dst, diff_src = np.empty_like(src), np.empty_like(src)
    vectors = {name: np.zeros(channels, np.float32) for name in ("bias", "running_mean", "running_var")}
    saved = {"save_mean": np.empty((2, channels), np.float32), "save_inv_std": np.empty(channels, np.float32)}
    gradients = {name: np.empty(channels, np.float32) for name in ("diff_weights", "diff_bias")}
    forward = {"dst": dst, "src": src, "weights": weights} | vectors | saved
    run_on(isa, "batchnorm_forward_training", forward, geometry, rows)
    backward = {"diff_src": diff_src, "src": src, "diff_dst": diff_dst, "weights": weights} | gradients | saved
    backward["bias"] = vectors["bias"]
    run_on(isa, "batchnorm_backward", backward, geometry, rows)
    rounding = np.finfo(np.float32).eps * np.abs(diff_src).max() * rows
    np.testing.assert_array_less(np.abs(diff_src.astype(np.float64).sum(axis=0)), rounding)


@pytest.mark.parametrize("rows", [9, 1000])
@pytest.mark.parametrize("isa", cnncore.available_isas())
def test_a_bias_before_instance_normalisation_has_no_gradient(rows: int, isa: str) -> None:
    """As before batch normalisation, by channel of a sample."""
    rng = np.random.default_rng(58)
    geometry = {"rows": rows, "c": 10, "groups": 10, "eps": 0.0}
    src = (1.0 + 6e-3 * rng.standard_normal((3, rows, 10))).astype(np.float32)
    diff_dst = rng.standard_normal(src.shape).astype(np.float32)
    dst, diff_src = np.empty_like(src), np.empty_like(src)
    saved = {"save_mean": np.empty((3, 2, 10), np.float32), "save_inv_std": np.empty((3, 10), np.float32)}
    run_on(isa, "groupnorm_forward", {"dst": dst, "src": src} | saved, geometry, 3)
    exact = src.astype(np.float64)
    np.testing.assert_allclose(saved["save_inv_std"], 1.0 / exact.std(axis=1), rtol=1e-5)
    run_on(isa, "groupnorm_backward", {"diff_src": diff_src, "src": src, "diff_dst": diff_dst} | saved, geometry, 3)
    rounding = np.finfo(np.float32).eps * np.abs(diff_src).max() * rows
    np.testing.assert_array_less(np.abs(diff_src.astype(np.float64).sum(axis=1)), rounding)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("isa", cnncore.available_isas())
def test_deviation_of_a_group_whose_channels_lie_far_apart(groups: int, isa: str) -> None:
    """Means of channels are joined to that of the group, not sums of squares of large numbers."""
    rng = np.random.default_rng(59)
    src = (1000.0 + np.arange(16) * 1e-2 + 1e-3 * rng.standard_normal((2, 300, 16))).astype(np.float32)
    dst, geometry = np.empty_like(src), {"rows": 300, "c": 16, "groups": groups, "eps": 0.0}
    run_on(isa, "groupnorm_forward", {"dst": dst, "src": src}, geometry, 2)
    split = src.astype(np.float64).reshape(2, 300, groups, -1)
    mean, deviation = split.mean(axis=(1, 3), keepdims=True), split.std(axis=(1, 3), keepdims=True)
    np.testing.assert_allclose(dst, ((split - mean) / deviation).reshape(src.shape), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("alpha", [1.0, 0.3])
@pytest.mark.parametrize("isa", cnncore.available_isas())
def test_elu_keeps_its_digits_near_zero(alpha: float, isa: str) -> None:
    """Each element by itself: e^x - 1 of a small x is about x, though e^x has lost most of its digits."""
    magnitudes = np.geomspace(1e-35, 50.0, 100_003).astype(np.float32)
    src = np.concatenate([-magnitudes, np.float32([-np.inf])])
    dst = np.empty_like(src)
    run_on(isa, "elu_forward", {"dst": dst, "src": src}, {"count": src.size, "slope": alpha}, 1)
    exact = np.float64(np.float32(alpha)) * np.expm1(src.astype(np.float64))
    np.testing.assert_allclose(dst, exact, rtol=2e-7)
    assert dst[-1] == -np.float32(alpha)


SMALLEST = float(np.finfo(np.float32).smallest_normal)


def sweep() -> NDArray[np.float32]:
    """Numbers of both signs, dense where results are not yet 0 or the number itself, and sizes down to the smallest."""
    line = np.linspace(-14.0, 14.0, 120_001, dtype=np.float32)
    sizes = np.geomspace(1e-35, 120.0, 40_001).astype(np.float32)
    return np.concatenate([line, sizes, -sizes])


def run_activation(isa: str, name: str, src: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What it gives, and its slopes."""
    dst, slopes = np.empty_like(src), np.empty_like(src)
    geometry = {"count": src.size, "slope": 0.0}
    run_on(isa, f"{name}_forward", {"dst": dst, "src": src}, geometry, 1)
    saved = {"src": src} if name in ("gelu", "gelu_tanh", "silu") else {"dst": dst}
    operands = {"diff_src": slopes, "diff_dst": np.ones_like(src), **saved}
    run_on(isa, f"{name}_backward", operands, geometry, 1)
    return dst.astype(np.float64), slopes.astype(np.float64)


def worst(got: NDArray[np.float64], exact: NDArray[np.float64], size: NDArray[np.float64]) -> float:
    """The largest error beside `size`, of those that are normal numbers; the others are 0 or among the smallest."""
    normal = np.abs(exact) >= SMALLEST
    assert (np.abs(got[~normal]) <= 2.0 * SMALLEST).all()
    return float((np.abs(got - exact)[normal] / size[normal]).max())


@pytest.mark.parametrize("isa", cnncore.available_isas())
def test_every_gelu_keeps_its_digits(isa: str) -> None:
    src = sweep()
    dst, slopes = run_activation(isa, "gelu", src)
    x = src.astype(np.float64)
    density = np.abs(x) * np.exp(-0.5 * x * x) / np.sqrt(2.0 * np.pi)
    assert worst(dst, oracle.gelu(x), np.abs(oracle.gelu(x))) < 5e-7
    assert worst(slopes, oracle.gelu_gradient(np.ones_like(x), x), oracle.normal_distribution(x) + density) < 5e-7


@pytest.mark.parametrize("isa", cnncore.available_isas())
def test_every_gelu_by_tanh_keeps_the_digits_that_its_exponent_has(isa: str) -> None:
    src = sweep()
    dst, slopes = run_activation(isa, "gelu_tanh", src)
    x = src.astype(np.float64)
    exponent = oracle.gelu_tanh_exponent(x)
    bend = oracle.logistic(exponent) * oracle.logistic(-exponent) * np.sqrt(8.0 / np.pi) * (1.0 + 0.134145 * x * x)
    bound = 1.0 + np.abs(exponent)
    assert worst(dst, oracle.gelu_tanh(x), np.abs(oracle.gelu_tanh(x)) * bound) < 3e-7
    exact = oracle.gelu_tanh_gradient(np.ones_like(x), x)
    assert worst(slopes, exact, (oracle.logistic(exponent) + np.abs(x) * bend) * bound) < 3e-7


@pytest.mark.parametrize("isa", cnncore.available_isas())
def test_every_silu_keeps_its_digits(isa: str) -> None:
    src = sweep()
    dst, slopes = run_activation(isa, "silu", src)
    x = src.astype(np.float64)
    bend = np.abs(x) * oracle.logistic(x) * oracle.logistic(-x)
    assert worst(dst, oracle.silu(x), np.abs(oracle.silu(x))) < 3e-7
    assert worst(slopes, oracle.silu_gradient(np.ones_like(x), x), oracle.logistic(x) + bend) < 4e-7


@pytest.mark.parametrize("isa", cnncore.available_isas())
def test_every_softplus_keeps_its_digits(isa: str) -> None:
    src = sweep()
    dst, slopes = run_activation(isa, "softplus", src)
    x = src.astype(np.float64)
    assert worst(dst, oracle.softplus(x), oracle.softplus(x)) < 3e-7
    assert worst(slopes, oracle.logistic(x), oracle.logistic(x)) < 5e-7


@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "silu", "softplus", "hardswish", "hardsigmoid"])
@pytest.mark.parametrize("isa", cnncore.available_isas())
def test_a_result_has_the_same_bits_wherever_it_stands(name: str, isa: str) -> None:
    src = np.random.default_rng(0).normal(0.0, 3.0, 67).astype(np.float32)
    dst, single = np.empty_like(src), np.empty(1, np.float32)
    run_on(isa, f"{name}_forward", {"dst": dst, "src": src}, {"count": src.size, "slope": 0.0}, 1)
    for i in range(src.size):
        run_on(isa, f"{name}_forward", {"dst": single, "src": src[i : i + 1].copy()}, {"count": 1, "slope": 0.0}, 1)
        assert single[0].tobytes() == dst[i].tobytes()
