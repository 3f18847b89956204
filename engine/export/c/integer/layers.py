"""The integer part of a quantised network as C: codes in bytes, sums in int32, and one rule of rounding."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from engine.export.c.text import fill, number
from engine.export.c.unit import Layer

_QUANTIZE = """
static void $name(const float *restrict src, uint8_t *restrict dst)
{
    for (int i = 0; i < $count; i++) {
        float x = src[i] / $scale;
        x = x < -512.0f ? -512.0f : x > 512.0f ? 512.0f : x;
        int32_t code = (int32_t)x;
        const float rest = x - (float)code; /* exact, of the sign of x */
        if (rest > 0.5f || (rest == 0.5f && code % 2 != 0)) code++;
        if (rest < -0.5f || (rest == -0.5f && code % 2 != 0)) code--;
        dst[i] = $code(code + $zero, 0, 255);
    }
}
"""

_DEQUANTIZE = """
static void $name(const uint8_t *restrict src, float *restrict dst)
{
    for (int i = 0; i < $count; i++) dst[i] = $scale * (float)((int)src[i] - $zero);
}
"""

_CONVOLUTION = """
static void $name(const uint8_t *restrict src, uint8_t *restrict dst)
{
    for (int y = 0; y < $oh; y++)
        for (int x = 0; x < $ow; x++)
            for (int c = 0; c < $oc; c++) {
                const uint8_t *const group = src + $first;
                const int8_t *weight = $weights + c * $taps;
                int32_t sum = $bias[c];
                for (int i = 0; i < $kh; i++) {
                    const int row = y * $stride_h - $pad_top + i * $dilation_h;
                    for (int j = 0; j < $kw; j++, weight += $ic) {
                        const int column = x * $stride_w - $pad_left + j * $dilation_w;
$outside                        const uint8_t *const from = group + (row * $w + column) * $pixel;
                        for (int k = 0; k < $ic; k++) sum += $product;
                    }
                }
                *dst++ = $result;
            }
}
"""

_OUTSIDE = """                        if (row < 0 || row >= $h || column < 0 || column >= $w) continue;
"""

_LINEAR = """
static void $name(const uint8_t *restrict src, uint8_t *restrict dst)
{
    const uint8_t *const from = src;
    for (int c = 0; c < $n_; c++) {
        const int8_t *const weight = $weights + c * $k;
        int32_t sum = $bias[c];
        for (int k = 0; k < $k; k++) sum += $product;
        dst[c] = $result;
    }
}
"""

_WINDOW = """
static void $name(const uint8_t *restrict src, uint8_t *restrict dst)
{
    for (int y = 0; y < $oh; y++) {
        const int top = y * $stride_h - $pad_top, bottom = top + $kh;
        const int first_row = top < 0 ? 0 : top, end_row = bottom > $h ? $h : bottom;
        for (int x = 0; x < $ow; x++) {
            const int left = x * $stride_w - $pad_left, right = left + $kw;
            const int first_column = left < 0 ? 0 : left, end_column = right > $w ? $w : right;
            for (int c = 0; c < $c; c++) {
$body            }
        }
    }
}
"""

_MAX = """                uint8_t largest = 0;
                for (int row = first_row; row < end_row; row++)
                    for (int column = first_column; column < end_column; column++) {
                        const uint8_t code = src[(row * $w + column) * $c + c];
                        largest = code > largest ? code : largest;
                    }
                *dst++ = largest;
"""

_MEAN = """                int32_t sum = 0;
                for (int row = first_row; row < end_row; row++)
                    for (int column = first_column; column < end_column; column++)
                        sum += (int32_t)src[(row * $w + column) * $c + c] - $zero_src;
                const int64_t mean = $divided((int64_t)sum * $multiplier, (int64_t)($elements) * $power);
                *dst++ = $code(mean + $zero_dst, $low, $high);
"""

_SUM = """
static void $name(const uint8_t *a, const uint8_t *b, uint8_t *dst)
{
    for (int i = 0; i < $count; i++) {
        const int32_t sum = ((int32_t)a[i] - $zero_a) * $multiplier_a + ((int32_t)b[i] - $zero_b) * $multiplier_b;
        dst[i] = $code($rounded(sum, $shift) + $zero_dst, $low, $high);
    }
}
"""

_LOOKUP = """
static void $name(const uint8_t *src, uint8_t *dst)
{
    for (int i = 0; i < $count; i++) dst[i] = $table[src[i]];
}
"""

_COPY = """
static void $name(const uint8_t *restrict src, uint8_t *restrict dst)
{
    for (int row = 0; row < $rows; row++)
        for (int c = 0; c < $channels; c++)
            dst[row * $dst_stride + $dst_offset + c] = src[row * $src_stride + $src_offset + c];
}
"""

_TURNED = """
static void $name(const uint8_t *restrict src, uint8_t *restrict dst)
{
    for (int i = 0; i < $pixels; i++)
        for (int c = 0; c < $c; c++) $turned;
}
"""


def quantize(layer: Layer) -> None:
    layer.function(_QUANTIZE, code=layer.helper("code"), **_scaled(layer))
    layer.call("src", "dst")
    layer.unit.marks["quantize"] = len(layer.unit.calls)


def dequantize(layer: Layer) -> None:
    layer.unit.marks["dequantize"] = len(layer.unit.calls)
    layer.function(_DEQUANTIZE, **_scaled(layer))
    layer.call("src", "dst")


def _scaled(layer: Layer) -> dict[str, object]:
    g = layer.geometry
    return {"count": g["count"], "zero": g["zero"], "scale": number(g["scale"])}


def convolution(layer: Layer) -> None:
    g = layer.geometry
    inputs, outputs = g["ic"] // g["groups"], g["oc"] // g["groups"]
    padded = any(g[f"pad_{side}"] for side in ("top", "left", "bottom", "right"))
    weights = layer.array("weights").transpose(0, 2, 3, 1)  # a filter's rows, columns, channels
    layer.function(
        _CONVOLUTION,
        outside=layer.filled(_OUTSIDE, h=g["h"], w=g["w"]) if padded else "",
        first="0" if g["groups"] == 1 else f"c / {outputs} * {inputs}",
        taps=g["kh"] * g["kw"] * inputs,
        ic=inputs,
        pixel=g["ic"],
        **{name: g[name] for name in ("oh", "ow", "oc", "kh", "kw", "stride_h", "stride_w", "pad_top", "pad_left",
                                      "dilation_h", "dilation_w", "w")},
        **_products(layer, weights),
    )  # fmt: skip
    layer.call("src", "dst")


def linear(layer: Layer) -> None:
    g = layer.geometry
    layer.function(_LINEAR, k=g["k"], n_=g["n"], **_products(layer, layer.array("weights")))
    layer.call("src", "dst")


def _products(layer: Layer, weights: np.ndarray) -> dict[str, object]:
    """Tables of weights, bias and factors; a product; and how a sum becomes a code."""
    g = layer.geometry
    # The core's bias has zero_src taken off every code already; here the codes have it taken off, of padding too.
    bias = layer.array("bias") + g["zero_src"] * weights.reshape(len(weights), -1).sum(axis=1, dtype=np.int64)
    multipliers, shifts = layer.array("multipliers"), layer.array("shifts")
    shift = f"{layer.integers('shifts', shifts.astype(np.uint8))}[c]"
    if (multipliers == 1).all():
        rounded = f"{layer.helper('rounded')}(sum, {shift})"
    else:
        factor = layer.integers("multipliers", multipliers)
        rounded = f"{layer.helper('rounded_long')}((int64_t)sum * {factor}[c], {shift})"
    code = "(int32_t)from[k]" if g["zero_src"] == 0 else f"((int32_t)from[k] - {g['zero_src']})"
    return {
        "weights": layer.integers("weights", weights),
        "bias": layer.integers("bias", bias.astype(np.int32)),
        "product": f"{code} * weight[k]",
        "result": f"{layer.helper('code')}({rounded} + {g['zero_dst']}, {g['low']}, {g['high']})",
    }


def max_pool(layer: Layer) -> None:
    _window(layer, _MAX)


def average_pool(layer: Layer) -> None:
    """A window that ceil mode lets reach past the padding is cut there."""
    g = layer.geometry
    elements = "(end_row - first_row) * (end_column - first_column)"
    if g["count_include_pad"]:
        rows, columns = (f"({end} > {most} ? {most} : {end}) - {start}" for start, end, most in (
            ("top", "bottom", g["h"] + g["pad_top"]), ("left", "right", g["w"] + g["pad_left"])
        ))  # fmt: skip
        elements = f"({rows}) * ({columns})"
    names = ("zero_src", "zero_dst", "multiplier", "low", "high")
    code, divided = layer.helper("code"), layer.helper("divided")
    rest = {name: g[name] for name in names} | {"power": f"(INT64_C(1) << {g['shift']})", "elements": elements}
    _window(layer, _MEAN, code=code, divided=divided, **rest)


def _window(layer: Layer, body: str, **fields: object) -> None:
    g = layer.geometry
    names = ("h", "w", "c", "kh", "kw", "oh", "ow", "stride_h", "stride_w", "pad_top", "pad_left")
    numbers = {name: g[name] for name in names}
    layer.function(_WINDOW, body=layer.filled(body, c=g["c"], w=g["w"], **fields), **numbers)
    layer.call("src", "dst")


def add(layer: Layer) -> None:
    layer.function(_SUM, code=layer.helper("code"), rounded=layer.helper("rounded"), **layer.geometry)
    layer.call("a", "b", "dst")


def lookup(layer: Layer) -> None:
    table = layer.integers("table", layer.array("table"))
    layer.function(_LOOKUP, count=layer.geometry["count"], table=table)
    layer.call("src", "dst")


def copy_channels(layer: Layer) -> None:
    layer.function(_COPY, **layer.geometry)
    layer.call("src", "dst")


def to_stored(layer: Layer) -> None:
    _turned(layer, "dst[i * $c + c] = src[c * $pixels + i]")


def to_public(layer: Layer) -> None:
    _turned(layer, "dst[c * $pixels + i] = src[i * $c + c]")


def _turned(layer: Layer, turned: str) -> None:
    g = layer.geometry
    numbers = {"pixels": g["h"] * g["w"], "c": g["c"]}
    layer.function(_TURNED, turned=fill(turned, **numbers), **numbers)
    layer.call("src", "dst")


OPS: Mapping[str, Callable[[Layer], None]] = {
    "quantize": quantize,
    "dequantize": dequantize,
    "conv2d_int8": convolution,
    "linear_int8": linear,
    "maxpool2d_int8": max_pool,
    "avgpool2d_int8": average_pool,
    "add_int8": add,
    "lookup_int8": lookup,
    "copy_channels_int8": copy_channels,
    "nchw_to_nhwc_int8": to_stored,
    "nhwc_to_nchw_int8": to_public,
}
"""Op → what writes it."""
