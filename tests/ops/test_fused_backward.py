"""Backward ops that read a pooled gradient or apply a mask compute what the ops that they stand for do in sequence:

the same bits for the mask and for shapes that unpool, up to rounding for those that walk lists of gradients or let
channels pick their pixels.
"""

import cnncore
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.ops.families.convolution import Conv2D
from tests.ops.families.pooling import AvgPool2D
from tests.ops.layouts import filter_panels, to_nhwc

UNPOOLED = [
    Conv2D(2, 13, 11, 4, 8, stride=(2, 1), groups=2, pool=True),
    Conv2D(1, 9, 9, 6, 4, groups=2, pad=(4, 5, 4, 5), pool=True),
    Conv2D(3, 10, 9, 4, 6, kernel=(2, 3), dilation=(2, 2), pool=True),
]
LISTED = [
    Conv2D(3, 12, 12, 6, 16, kernel=(5, 5), pool=True),
    Conv2D(2, 11, 13, 3, 6, kernel=(5, 5), pad=(2, 2, 2, 2), pool=True),
    Conv2D(20, 8, 10, 17, 33, pad=(1, 1, 1, 1), pool=True),
    Conv2D(1, 9, 9, 3, 4, pad=(4, 5, 4, 5), pool=True),
    Conv2D(2, 12, 9, 40, 18, kernel=(7, 6), pool=True),
]
PICKED = [
    Conv2D(3, 12, 12, 3, 16, pad=(1, 1, 1, 1), pool=True),
    Conv2D(18, 11, 9, 1, 33, pool=True),
    Conv2D(2, 13, 14, 3, 20, kernel=(5, 5), pad=(2, 2, 2, 2), pool=True),
    Conv2D(1, 40, 38, 2, 14, kernel=(4, 2), pad=(0, 1, 3, 0), pool=True),
    Conv2D(2, 9, 9, 8, 64, kernel=(1, 1), pool=True),
]
CASES = UNPOOLED + LISTED + PICKED
every_case = pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
ROUNDING = 1e-5  # of the largest value


def assert_equal(case: Conv2D, actual: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    if case in UNPOOLED:
        assert actual.tobytes() == expected.tobytes()
    else:
        assert np.abs(actual - expected).max() <= ROUNDING * np.abs(expected).max()


def run(op: str, case: Conv2D, operands: dict[str, NDArray], pool: int = 0) -> None:
    cnncore.run_op(op, operands, {**case.geometry(fused=False), "pool": pool}, case.batch, threads=2)


def unpooled(case: Conv2D, pooled: NDArray[np.float32], argmax: NDArray[np.uint8]) -> NDArray[np.float32]:
    h, w = case.out
    whole = np.empty((case.batch, h, w, case.oc), np.float32)
    geometry = {
        "h": h, "w": w, "c": case.oc, "kh": 2, "kw": 2, "oh": h // 2, "ow": w // 2, "stride_h": 2, "stride_w": 2,
        "pad_top": 0, "pad_left": 0, "count_include_pad": 1,
    }  # fmt: skip
    operands = {"diff_src": whole, "diff_dst": pooled, "argmax": argmax}
    cnncore.run_op("maxpool2d_backward", operands, geometry, case.batch)
    return whole


def pooled_gradient(case: Conv2D) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    rng = np.random.default_rng(5)
    shape = (case.batch, case.out[0] // 2, case.out[1] // 2, case.oc)
    argmax = rng.choice(np.array([0, 1, 2, 3, 255], np.uint8), shape)
    return rng.standard_normal(shape).astype(np.float32), argmax


@every_case
def test_data_gradient(case: Conv2D, isa: str) -> None:
    src, weights, _, _ = case.draw()
    mask = np.maximum(to_nhwc(src), 0.0)
    diff, argmax = pooled_gradient(case)
    fused, plain = np.full_like(mask, np.nan), np.full_like(mask, np.nan)
    packed = filter_panels(weights, case.groups)
    run(
        "conv2d_backward_data", case,
        {"diff_src": fused, "diff_dst": diff, "weights": packed, "argmax": argmax, "mask": mask}, pool=2,
    )  # fmt: skip
    operands = {"diff_src": plain, "diff_dst": unpooled(case, diff, argmax), "weights": packed}
    run("conv2d_backward_data", case, operands)
    geometry = {"count": mask[0].size, "slope": 0.0}
    cnncore.run_op("relu_backward", {"diff_src": plain, "diff_dst": plain, "dst": mask}, geometry, case.batch)
    assert_equal(case, fused, plain)


@every_case
def test_mask(case: Conv2D, isa: str) -> None:
    """A mask gives the bits of relu_backward behind the op, whatever the op does with pooled gradients."""
    src, weights, _, _ = case.draw()
    mask = np.maximum(to_nhwc(src), 0.0)
    diff, argmax = pooled_gradient(case)
    masked, plain = np.full_like(mask, np.nan), np.full_like(mask, np.nan)
    operands = {"diff_dst": diff, "weights": filter_panels(weights, case.groups), "argmax": argmax}
    run("conv2d_backward_data", case, {**operands, "diff_src": masked, "mask": mask}, pool=2)
    run("conv2d_backward_data", case, {**operands, "diff_src": plain}, pool=2)
    geometry = {"count": mask[0].size, "slope": 0.0}
    cnncore.run_op("relu_backward", {"diff_src": plain, "diff_dst": plain, "dst": mask}, geometry, case.batch)
    assert masked.tobytes() == plain.tobytes()


@pytest.mark.parametrize("case", [AvgPool2D(3, 9, 7, 5, (9, 7)), AvgPool2D(2, 9, 8, 19, (3, 2), (2, 2), (1, 0, 1, 1))])
def test_mask_of_an_average(case: AvgPool2D, isa: str) -> None:
    """Global and in windows that overlap: the bits of relu_backward behind the op."""
    src, diff = (to_nhwc(each) for each in case.draw())
    mask = np.maximum(src, 0.0)
    masked, plain = np.full_like(mask, np.nan), np.full_like(mask, np.nan)
    for operands in ({"diff_src": masked, "mask": mask}, {"diff_src": plain}):
        cnncore.run_op("avgpool2d_backward", {**operands, "diff_dst": diff}, case.geometry(), case.batch, threads=2)
    geometry = {"count": mask[0].size, "slope": 0.0}
    cnncore.run_op("relu_backward", {"diff_src": plain, "diff_dst": plain, "dst": mask}, geometry, case.batch)
    assert masked.tobytes() == plain.tobytes()


@every_case
def test_weight_gradient(case: Conv2D, isa: str) -> None:
    src, weights, bias, _ = case.draw()
    diff, argmax = pooled_gradient(case)
    shape = filter_panels(weights, case.groups).shape
    results = []
    for pool, operands in ((2, {"diff_dst": diff, "argmax": argmax}), (0, {"diff_dst": unpooled(case, diff, argmax)})):
        outputs = {"diff_weights": np.full(shape, np.nan, np.float32), "diff_bias": np.full_like(bias, np.nan)}
        run("conv2d_backward_weights", case, {**outputs, **operands, "src": to_nhwc(src)}, pool)
        results.append(outputs)
    for name in results[0]:
        assert_equal(case, results[0][name], results[1][name])


@pytest.mark.parametrize("case", LISTED + PICKED, ids=range(len(LISTED + PICKED)))
def test_nan_in_a_pooled_gradient(case: Conv2D, isa: str) -> None:
    """A NaN stays in its channel, and where argmax names no pixel it does not show."""
    src, weights, bias, _ = case.draw()
    diff, argmax = pooled_gradient(case)
    diff[argmax == 255] = np.nan
    channel = case.oc - 1
    inside = 0, min(3, diff.shape[1] - 1), min(3, diff.shape[2] - 1), channel  # no tap lies in the padding
    diff[inside], argmax[inside] = np.nan, 0
    outputs = {
        "diff_weights": np.zeros_like(filter_panels(weights, case.groups)), "diff_bias": np.zeros_like(bias),
    }  # fmt: skip
    operands = {**outputs, "diff_dst": diff, "argmax": argmax, "src": to_nhwc(src)}
    run("conv2d_backward_weights", case, operands, pool=2)
    touched = np.isnan(outputs["diff_weights"])
    assert touched[0, channel // 16, :, channel % 16].all() and touched.sum() == touched.shape[2]
    assert np.array_equal(np.isnan(outputs["diff_bias"]), np.arange(case.oc) == channel)


@pytest.mark.parametrize("reference", (False, True))
def test_a_mask_is_no_product(reference: bool, isa: str) -> None:
    """Where the mask is zero a NaN gradient does not show, elsewhere it does."""
    case = Conv2D(1, 6, 6, 3, 5, pad=(1, 1, 1, 1))
    src, weights, _, _ = case.draw()
    mask = np.maximum(to_nhwc(src), 0.0)
    diff_src = np.zeros_like(mask)
    operands = {
        "diff_src": diff_src, "diff_dst": np.full((1, 6, 6, 5), np.nan, np.float32),
        "weights": filter_panels(weights, 1), "mask": mask,
    }  # fmt: skip
    geometry = case.geometry(fused=False)
    cnncore.run_op("conv2d_backward_data", operands, geometry, case.batch, reference=reference)
    assert np.array_equal(np.isnan(diff_src), mask > 0)
