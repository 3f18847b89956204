"""Sums over pixels that are all alike: the worst case for rounding, and an ordinary one (a white background, the
gradient of a global average)."""

import cnncore
import numpy as np
import pytest

SIZE = 224
GEOMETRY = dict.fromkeys(cnncore.GEOMETRIES["conv2d"], 0) | dict.fromkeys(("h", "w", "oh", "ow"), SIZE)
GEOMETRY |= dict.fromkeys(("ic", "kh", "kw", "stride_h", "stride_w", "dilation_h", "dilation_w", "groups"), 1)
GEOMETRY["oc"] = 16


@pytest.mark.parametrize("isa", cnncore.available_isas())
def test_weight_gradient_of_a_large_constant_map(isa: str) -> None:
    src = np.full((1, SIZE, SIZE, 1), 0.7, np.float32)
    diff_dst = np.full((1, SIZE, SIZE, 16), 1e-3, np.float32)
    diff_weights, diff_bias = np.empty((1, 1, 1, 16), np.float32), np.empty(16, np.float32)
    operands = {"diff_weights": diff_weights, "diff_bias": diff_bias, "src": src, "diff_dst": diff_dst}
    before = cnncore.isa()
    cnncore.set_isa(isa)
    try:
        cnncore.run_op("conv2d_backward_weights", operands, GEOMETRY, 1)
    finally:
        cnncore.set_isa(before)
    pixels = SIZE * SIZE
    np.testing.assert_allclose(diff_bias, pixels * np.float64(np.float32(1e-3)), rtol=1e-4)
    exact = pixels * np.float64(np.float32(0.7)) * np.float64(np.float32(1e-3))
    np.testing.assert_allclose(diff_weights.ravel(), exact, rtol=1e-4)
