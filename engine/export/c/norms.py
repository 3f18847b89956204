"""Normalisations as C: that of a batch by its running statistics, and those of a sample by its own."""

from __future__ import annotations

import numpy as np

from engine.export.c.activations import activated
from engine.export.c.program import parts_of
from engine.export.c.text import number
from engine.export.c.unit import Array, Layer
from engine.program.code import ACTIVATION_NAMES

_BATCH = """
static void $name(const float *src, float *dst)
{
    for (int row = 0; row < $rows; row++)
        for (int c = 0; c < $c; c++) {
            const float value = (src[row * $c + c] - $mean[c]) * $factor[c] + $shift[c];
            dst[row * $c + c] = $activated;
        }
}
"""

# The four values of a window are normalised, then the largest is taken.
_BATCH_AND_POOL = """
static float ${name}_value(const float *src, int c) { return (src[c] - $mean[c]) * $factor[c] + $shift[c]; }

static void $name(const float *restrict src, float *restrict dst)
{
    for (int y = 0; y < $h / 2; y++)
        for (int x = 0; x < $w / 2; x++, dst += $c) {
            const float *at = src + (2 * y * $w + 2 * x) * $c;
            for (int c = 0; c < $c; c++) {
                const float left = $larger(${name}_value(at, c), ${name}_value(at + $c, c));
                const float three = $larger(left, ${name}_value(at + $w * $c, c));
                const float four = $larger(three, ${name}_value(at + $w * $c + $c, c));
                dst[c] = $pooled;
            }
        }
}
"""


def _or(layer: Layer, operand: str, value: float, count: int) -> Array:
    return layer.array(operand) if layer.has(operand) else np.full(count, value, np.float32)


def batch_norm(layer: Layer) -> None:
    """(x - mean) * factor + shift, with weights / sqrt(var + eps) in double, rounded once."""
    g = layer.geometry
    weights, bias = _or(layer, "weights", 1.0, g["c"]), _or(layer, "bias", 0.0, g["c"])
    deviation = np.sqrt(layer.array("running_var").astype(np.float64) + float(np.float32(g["eps"])))
    tables = {
        "mean": layer.table("mean", layer.array("running_mean")),
        "factor": layer.table("factor", (weights.astype(np.float64) / deviation).astype(np.float32)),
        "shift": layer.table("shift", bias),
    }
    if not g["pool"]:
        layer.function(_BATCH, rows=g["rows"], c=g["c"], activated=activated(layer, "value"), **tables)
    else:
        relu = ACTIVATION_NAMES.get(g["activation"]) == "relu"
        pooled = "four <= 0.0f ? 0.0f : four" if relu else "four"
        size = {"h": g["rows"] // g["w"], "w": g["w"], "c": g["c"]}
        layer.function(_BATCH_AND_POOL, larger=layer.helper("larger"), pooled=pooled, **size, **tables)
    layer.call("src", "dst")


# Statistics are summed as the core sums them (csrc/src/ops/norm.h): $side rows side by side, in float over 64 at a
# time, in double over these; deviations from the mean of a few rows, and again from their own where that lay far off.
_GROUP = """
/* Mean of a channel over a few rows, evenly spaced */
static float ${name}_guess(const float *src, int rows)
{
    const int full = rows / $side, taken = full < 1 ? 1 : full < 16 ? full : 16, side = full ? $side : rows;
    const int step = (full < 1 ? 1 : full) / taken * $side;
    float center = 0.0f;
    for (int s = 0; s < side; s++) {
        float sum = 0.0f;
        for (int t = 0; t < taken; t++) sum += src[(t * step + s) * $c];
        center = s == 0 ? sum : center + sum;
    }
    return center / (float)(taken * side);
}

/* Sums of deviations and of their squares */
static void ${name}_deviations(const float *src, int rows, float center, double *sum, double *square)
{
    const int full = rows / $side;
    *sum = *square = 0.0;
    for (int s = 0; s < $side; s++) {
        double first = 0.0, second = 0.0;
        for (int row = 0; row < full;) {
            const int end = full - row < 64 ? full : row + 64;
            float total = 0.0f, squares = 0.0f;
            for (; row < end; row++) {
                const float x = src[(row * $side + s) * $c] - center;
                total += x;
                squares = x * x + squares;
            }
            first += (double)total;
            second += (double)squares;
        }
        if (s < rows % $side) {
            const float x = src[(full * $side + s) * $c] - center;
            first += (double)(0.0f + x);
            second += (double)(x * x + 0.0f);
        }
        *sum = s == 0 ? first : *sum + first;
        *square = s == 0 ? second : *square + second;
    }
}

/* Mean and squared deviations of neighbouring channels over rows */
static void ${name}_moments(const float *src, int rows, int channels, double *mean, double *squares)
{
    int far = 1;
    for (int attempt = 0; far && attempt < 2; attempt++) {
        far = 0;
        for (int c = 0; c < channels; c++) {
            const float center = attempt ? (float)mean[c] : ${name}_guess(src + c, rows);
            double sum, square, left;
            ${name}_deviations(src + c, rows, center, &sum, &square);
            left = square - sum * sum / (double)rows;
            mean[c] = (double)center + sum / (double)rows;
            squares[c] = left < 0.0 ? 0.0 : left;
            far |= square > 32.0 * squares[c];
        }
    }
}

/* Joins the parts of a channel: its squared deviations from *all, their mean */
static double ${name}_join(const double *mean, const double *squares, double *all)
{
    double joined = mean[0], total = squares[0], seen = (double)${name}_rows_of(0);
    for (int part = 1; part < $parts; part++) {
        const double count = (double)${name}_rows_of(part), both = seen + count;
        const double step = mean[part * $c] - joined;
        joined += step * (count / both);
        total += squares[part * $c] + step * step * (seen * count / both);
        seen = both;
    }
    *all = joined;
    return total;
}

static void $name(const float *src, float *dst)
{
    double *means = ${n}_moments, *squares = ${n}_moments + $parts * $c;
    for (int part = 0, row = 0; part < $parts; row += ${name}_rows_of(part), part++)
        for (int c = 0; c < $c; c += $slice) {
            const int channels = $c - c < $slice ? $c - c : $slice, at = part * $c + c;
$sums        }
    for (int group = 0; group < $groups; group++) {
        const int first = group * $channels;
        double sum = 0.0, total = 0.0, mean, inverse;
        float near, left, inverse_deviation;
        for (int c = first; c < first + $channels; c++) {
            total += ${name}_join(means + c, squares + c, means + c);
            sum += means[c];
        }
        mean = sum / $channels.0;
        for (int c = first; c < first + $channels; c++) total += $rows.0 * (means[c] - mean) * (means[c] - mean);
        near = (float)mean;
        left = (float)(mean - (double)near);
        inverse = 1.0 / $square_root(total / $count.0 + (double)$eps);
        inverse_deviation = (float)inverse;
        for (int c = first; c < first + $channels; c++) {
            const float factor = $weights[c] * inverse_deviation;
            const float shift = (float)((double)$bias[c] - (double)left * (double)factor);
            for (int row = 0; row < $rows; row++) dst[row * $c + c] = (src[row * $c + c] - near) * factor + shift;
        }
    }
}
"""

_ROWS_OF = """
/* Rows of a part */
static int ${name}_rows_of(int part) { return $rows / $parts + (part < $rows % $parts ? 1 : 0); }
"""

_SUMS = """            ${name}_moments(src + row * $c + c, ${name}_rows_of(part), channels, means + at, squares + at);
"""

# One row is its own mean.
_SUMS_OF_ONE = """            for (int i = 0; i < channels; i++) {
                means[at + i] = (double)src[c + i];
                squares[at + i] = 0.0;
            }
"""

_SLICE = 1024


def side_by_side(channels: int) -> int:
    """Rows that the core takes as one, so that it sees dozens of columns."""
    if channels >= 64:
        return 1
    rows = 16 // np.gcd(16, channels)
    while rows * channels < 64:
        rows *= 2
    return int(rows)


def group_norm(layer: Layer) -> None:
    g = layer.geometry
    rows, channels = g["rows"], g["c"]
    body = _GROUP
    if rows == 1:
        start = body.index("/* Joins the parts")
        body = "\n" + body[start:]
    sizes = {"rows": rows, "parts": parts_of(rows, channels)}
    layer.function(
        _ROWS_OF + body,
        c=channels,
        groups=g["groups"],
        channels=channels // g["groups"],
        count=rows * (channels // g["groups"]),
        side=side_by_side(channels),
        slice=min(channels, _SLICE),
        eps=number(g["eps"]),
        square_root=layer.helper("square_root"),
        weights=layer.table("weights", _or(layer, "weights", 1.0, channels)),
        bias=layer.table("bias", _or(layer, "bias", 0.0, channels)),
        sums=layer.filled(_SUMS_OF_ONE if rows == 1 else _SUMS, c=channels),
        **sizes,
    )
    layer.call("src", "dst")
