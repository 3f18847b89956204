"""Integer inference in exact whole numbers: what each op computes, over arrays in the core's layouts. Nothing is shared
with the core; Python's own integers round."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

OPS = {
    "quantize", "dequantize", "conv2d_int8", "linear_int8", "winograd_int8", "maxpool2d_int8", "avgpool2d_int8",
    "add_int8", "lookup_int8", "copy_channels_int8", "nchw_to_nhwc_int8", "nhwc_to_nchw_int8",
}  # fmt: skip
"""Those of the core, which test_int8.py runs."""

Codes = NDArray[np.uint8]
Whole = NDArray[np.int64]


def nearest(value: int, divisor: int) -> int:
    """value / divisor to the nearest whole number, a half to the even one."""
    return round(Fraction(value, divisor))


def to_codes(values: Whole, multipliers: Any, divisors: Any, zero: int, low: int, high: int) -> Codes:
    """clamp(nearest(value * multiplier / divisor) + zero) of each value; the three broadcast."""
    whole = np.broadcast_arrays(values, multipliers, divisors)
    flat = (
        min(max(nearest(int(value) * int(multiplier), int(divisor)) + zero, low), high)
        for value, multiplier, divisor in zip(*(each.reshape(-1) for each in whole), strict=True)
    )
    return np.fromiter(flat, np.uint8, values.size).reshape(values.shape)


@dataclass(frozen=True)
class Layer:
    """A convolution or, as one of a single pixel, a linear layer. Weights (OC, IC/groups, KH, KW) and bias as the
    packer takes them."""

    geometry: dict[str, int]
    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    multipliers: NDArray[np.int32]
    shifts: NDArray[np.int32]

    def sums(self, src: Codes) -> Whole:
        """(N, OH, OW, OC) of src (N, H, W, IC)."""
        g = self.geometry
        top, left, zero = g["pad_top"], g["pad_left"], g["zero_src"]
        pads = ((0, 0), (top, g["pad_bottom"]), (left, g["pad_right"]), (0, 0))
        image = np.pad(src.astype(np.int64), pads, constant_values=zero) - zero
        groups, out = g["groups"], np.zeros((len(src), g["oh"], g["ow"], g["oc"]), np.int64)
        ic, oc = g["ic"] // groups, g["oc"] // groups
        for y in range(g["kh"]):
            for x in range(g["kw"]):
                h, w = y * g["dilation_h"], x * g["dilation_w"]
                rows = slice(h, h + (g["oh"] - 1) * g["stride_h"] + 1, g["stride_h"])
                columns = slice(w, w + (g["ow"] - 1) * g["stride_w"] + 1, g["stride_w"])
                for group in range(groups):
                    inputs = image[:, rows, columns, group * ic : (group + 1) * ic]
                    filters = self.weights[group * oc : (group + 1) * oc, :, y, x].astype(np.int64)
                    out[..., group * oc : (group + 1) * oc] += inputs @ filters.T
        return out + self.bias

    def __call__(self, src: Codes) -> Codes:
        g = self.geometry
        divisors = [1 << int(shift) for shift in self.shifts]
        return to_codes(
            self.sums(src), self.multipliers, np.array(divisors, object), g["zero_dst"], g["low"], g["high"]
        )


def windows(src: Codes, g: dict[str, int]) -> list[tuple[tuple[int, int], Codes, int]]:
    """For each output pixel: its place, the codes (N, taps, C) that lie in the map, and the taps in the padded map."""
    found = []
    for oh in range(g["oh"]):
        for ow in range(g["ow"]):
            h, w = oh * g["stride_h"] - g["pad_top"], ow * g["stride_w"] - g["pad_left"]
            inside = src[:, max(h, 0) : h + g["kh"], max(w, 0) : w + g["kw"]]
            rows = min(g["kh"], g["h"] + g["pad_top"] - h)
            columns = min(g["kw"], g["w"] + g["pad_left"] - w)
            found.append(((oh, ow), inside.reshape(len(src), -1, src.shape[-1]), rows * columns))
    return found


def max_pool(src: Codes, g: dict[str, int]) -> Codes:
    dst = np.zeros((len(src), g["oh"], g["ow"], g["c"]), np.uint8)
    for (oh, ow), codes, _ in windows(src, g):
        dst[:, oh, ow] = codes.max(axis=1)
    return dst


def average_pool(src: Codes, g: dict[str, int]) -> Codes:
    dst = np.zeros((len(src), g["oh"], g["ow"], g["c"]), np.uint8)
    for (oh, ow), codes, padded in windows(src, g):
        count = padded if g["count_include_pad"] else codes.shape[1]
        sums = (codes.astype(np.int64) - g["zero_src"]).sum(axis=1)
        divisor = np.array(count << g["shift"], object)
        dst[:, oh, ow] = to_codes(sums, g["multiplier"], divisor, g["zero_dst"], g["low"], g["high"])
    return dst


def add(a: Codes, b: Codes, g: dict[str, int]) -> Codes:
    first = (a.astype(object) - g["zero_a"]) * g["multiplier_a"]
    second = (b.astype(object) - g["zero_b"]) * g["multiplier_b"]
    return to_codes(first + second, 1, np.array(1 << g["shift"], object), g["zero_dst"], g["low"], g["high"])


def quantize(src: NDArray[np.float32], scale: float, zero: int) -> Codes:
    """A division in float32, then exact; NaN becomes 0."""
    with np.errstate(over="ignore"):
        quotients = src / np.float32(scale)
    codes = np.rint(quotients.astype(np.float64)) + zero
    return np.where(np.isnan(codes), 0, np.clip(codes, 0, 255)).astype(np.uint8)


def dequantize(src: Codes, scale: float, zero: int) -> NDArray[np.float32]:
    return np.float32(scale) * (src.astype(np.int32) - zero).astype(np.float32)
