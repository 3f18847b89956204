"""Worst cases for rounding that ordinary networks meet: sums over pixels that are all alike (a white background, the
gradient of a global average), deviations that are small beside their mean (batch normalisation), and e^x - 1 near 0."""

from typing import Any

import cnncore
import numpy as np
import pytest

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
