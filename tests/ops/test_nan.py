"""Where NaN goes: an op that hides one would hide a diverging network."""

import cnncore
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.ops.cases import KINDS, RESAMPLING
from tests.ops.families.activation import Activation
from tests.ops.families.convolution import Conv2D
from tests.ops.families.moving import Pad2D, Upsample2D
from tests.ops.families.pooling import MaxPool2D
from tests.ops.layouts import filter_panels

COUNT = 37


def nan_at(count: int, *places: int) -> NDArray[np.float32]:
    values = np.linspace(-2.0, 2.0, count, dtype=np.float32)
    values[list(places)] = np.nan
    return values


@pytest.mark.parametrize("reference", (False, True))
@pytest.mark.parametrize("kind", KINDS)
def test_activations_pass_nan(kind: str, reference: bool, isa: str) -> None:
    src, dst = nan_at(COUNT, 0, 17, 36), np.zeros(COUNT, np.float32)
    case = Activation(kind, 1, COUNT)
    cnncore.run_op(f"{kind}_forward", {"dst": dst, "src": src}, case.geometry(), 1, reference=reference)
    assert np.array_equal(np.isnan(dst), np.isnan(src))


@pytest.mark.parametrize("reference", (False, True))
def test_prelu_passes_nan(reference: bool, isa: str) -> None:
    src, dst = nan_at(COUNT, 0, 17, 36), np.zeros(COUNT, np.float32)
    operands = {"dst": dst, "src": src, "weights": np.float32([0.25])}
    cnncore.run_op("prelu_forward", operands, {"rows": COUNT, "c": 1}, 1, reference=reference)
    assert np.array_equal(np.isnan(dst), np.isnan(src))


@pytest.mark.parametrize("reference", (False, True))
@pytest.mark.parametrize("kind", cnncore.ACTIVATIONS)
def test_what_ends_with_an_activation_passes_nan(kind: str, reference: bool, isa: str) -> None:
    src, dst = np.ones((3, 33), np.float32), np.zeros((3, 17), np.float32)
    src[1, 20] = np.nan
    operands = {"dst": dst, "src": src, "weights": np.ones((2, 33, 16), np.float32)}
    geometry = {"k": 33, "n": 17, "activation": cnncore.ACTIVATIONS[kind]}
    cnncore.run_op("linear_forward", operands, geometry, 3, reference=reference)
    assert np.isnan(dst[1]).all() and not np.isnan(dst[[0, 2]]).any()


@pytest.mark.parametrize("reference", (False, True))
@pytest.mark.parametrize("kernel", ((2, 2), (3, 3)))
@pytest.mark.parametrize("channels", (1, 5, 33))
def test_nan_wins_in_max_pooling(kernel: tuple[int, int], channels: int, reference: bool, isa: str) -> None:
    case = MaxPool2D(1, 6, 6, channels, kernel=kernel, stride=kernel)
    windows = 6 // kernel[0], 6 // kernel[1]
    for tap in np.ndindex(*kernel):
        src = np.random.default_rng(0).standard_normal((6, 6, channels)).astype(np.float32)
        src[tap[0] :: kernel[0], tap[1] :: kernel[1]] = np.nan
        dst, argmax = np.zeros((*windows, channels), np.float32), np.zeros((*windows, channels), np.uint8)
        operands = {"dst": dst, "argmax": argmax, "src": src}
        cnncore.run_op("maxpool2d_forward", operands, case.geometry(), 1, reference=reference)
        assert np.isnan(dst).all(), f"{tap=} {channels=} {isa=}"
        assert (argmax == tap[0] * kernel[1] + tap[1]).all()


@pytest.mark.parametrize("reference", (False, True))
@pytest.mark.parametrize("pool", (False, True))
def test_fused_convolution_passes_nan(pool: bool, reference: bool, isa: str) -> None:
    case = Conv2D(1, 8, 8, 3, 17, pad=(1, 1, 1, 1), relu=True, pool=pool)
    src, weights, bias, _ = case.draw()
    image = np.moveaxis(src, 1, -1).copy()
    image[0, 3, 4, 1] = np.nan
    size = 4 if pool else 8
    dst = np.zeros((size, size, 17), np.float32)
    operands = {"dst": dst, "src": image, "weights": filter_panels(weights, 1), "bias": bias}
    if pool:
        operands["argmax"] = np.zeros(dst.shape, np.uint8)
    cnncore.run_op("conv2d_forward", operands, case.geometry(fused=True), 1, reference=reference)
    touched = np.zeros((8, 8), bool)
    touched[2:5, 3:6] = True
    if pool:
        touched = touched.reshape(4, 2, 4, 2).any(axis=(1, 3))
    assert np.array_equal(np.isnan(dst), np.broadcast_to(touched[..., None], dst.shape)), f"{isa=}"


@pytest.mark.parametrize("reference", (False, True))
def test_a_nan_stays_in_its_group(reference: bool, isa: str) -> None:
    src = np.random.default_rng(0).standard_normal((3, 7, 6)).astype(np.float32)
    src[1, 4, 2] = np.nan
    dst, geometry = np.zeros_like(src), {"rows": 7, "c": 6, "groups": 3, "eps": 1e-5}
    cnncore.run_op("groupnorm_forward", {"dst": dst, "src": src}, geometry, 3, reference=reference)
    touched = np.zeros(src.shape, bool)
    touched[1, :, 2:4] = True
    assert np.array_equal(np.isnan(dst), touched)


@pytest.mark.parametrize("reference", (False, True))
@pytest.mark.parametrize("rows", (1, 9))
def test_products_pass_nan(rows: int, reference: bool, isa: str) -> None:
    a, b = np.ones((3, rows, 33), np.float32), np.zeros((3, 1, 33), np.float32)
    a[1, 0, 20], b[2, 0, 7] = np.nan, np.nan
    dst, geometry = np.zeros_like(a), {"rows": rows, "c": 33}
    cnncore.run_op("multiply", {"dst": dst, "a": a, "b": b}, geometry, 3, reference=reference)
    assert np.array_equal(np.isnan(dst), np.isnan(a * b))
    cnncore.run_op("scale_channels", {"dst": dst, "src": a, "weights": b[2, 0]}, geometry, 3, reference=reference)
    assert np.array_equal(np.isnan(dst), np.isnan(a * b[2]))
    elements = {"count": rows * 33, "slope": 0.0}
    cnncore.run_op("scale", {"dst": dst, "src": a}, elements, 3, reference=reference)
    assert np.array_equal(np.isnan(dst), np.isnan(a))


@pytest.mark.parametrize("reference", (False, True))
def test_a_bias_passes_nan(reference: bool, isa: str) -> None:
    src, bias = np.ones((3, 9, 33), np.float32), np.zeros(33, np.float32)
    src[1, 0, 20], bias[7] = np.nan, np.nan
    dst, diff_bias, geometry = np.zeros_like(src), np.zeros_like(bias), {"rows": 9, "c": 33}
    cnncore.run_op("add_channels", {"dst": dst, "src": src, "bias": bias}, geometry, 3, reference=reference)
    assert np.array_equal(np.isnan(dst), np.isnan(src + bias))
    cnncore.run_op("add_channels_backward", {"diff_bias": diff_bias, "diff_dst": src}, geometry, 3, reference=reference)
    assert np.flatnonzero(np.isnan(diff_bias)).tolist() == [20]


@pytest.mark.parametrize("reference", (False, True))
@pytest.mark.parametrize("case", [case for case in RESAMPLING if case.h > 1], ids=repr)
def test_resampling_takes_nan_where_it_has_weight_and_nowhere_else(
    case: Pad2D | Upsample2D, reference: bool, isa: str
) -> None:
    for call in case.calls():
        (source,), (result,) = call.inputs, call.expected
        ones, marked = (np.zeros_like(call.inputs[source]) for _ in range(2))
        ones[0, 1, -1], marked[0, 1, -1] = 1.0, np.nan
        found = []
        for given in (ones, marked):
            operands = {source: given, result: np.zeros(call.expected[result].shape, np.float32)}
            cnncore.run_op(call.op, operands, call.geometry, call.batch, reference=reference)
            found.append(operands[result])
        assert np.array_equal(np.isnan(found[1]), found[0] != 0.0), f"{call.op} {isa=}"


@pytest.mark.parametrize("reference", (False, True))
@pytest.mark.parametrize("draws", (1, 5, 70))
def test_dropped_rows_are_zero_and_others_pass_nan(draws: int, reference: bool, isa: str) -> None:
    src = np.full((16, 9, draws), np.nan, np.float32)
    ones, kept = np.ones_like(src), np.empty_like(src)
    geometry = {"count": 9 * draws, "draws": draws, "stream": 0, "rate": 0.5}
    dst = np.empty_like(src)
    for given, taken in ((src, dst), (ones, kept)):
        cnncore.run_op("dropout", {"dst": taken, "src": given}, geometry, 16, seed=3, reference=reference)
    assert np.array_equal(np.isnan(dst), kept == 2.0) and not dst[kept == 0.0].any()


@pytest.mark.parametrize("reference", (False, True))
def test_linear_passes_nan(reference: bool, isa: str) -> None:
    src = np.ones((3, 33), np.float32)
    src[1, 20] = np.nan
    dst = np.zeros((3, 17), np.float32)
    operands = {"dst": dst, "src": src, "weights": np.ones((2, 33, 16), np.float32)}
    cnncore.run_op("linear_forward", operands, {"k": 33, "n": 17, "activation": 1}, 3, reference=reference)
    assert np.isnan(dst[1]).all() and not np.isnan(dst[[0, 2]]).any()
