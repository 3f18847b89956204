"""Layers that only move values, or take means between them: layouts, copies, paddings, upsampling."""

from __future__ import annotations

import numpy as np

from engine.export.c.unit import Layer

_TO_STORED = """
static void $name(const float *restrict src, float *restrict dst)
{
    for (int i = 0; i < $pixels; i++)
        for (int c = 0; c < $c; c++) dst[i * $c + c] = src[c * $pixels + i];
}
"""

_TO_PUBLIC = """
static void $name(const float *restrict src, float *restrict dst)
{
    for (int c = 0; c < $c; c++)
        for (int i = 0; i < $pixels; i++) dst[c * $pixels + i] = src[i * $c + c];
}
"""

_COPY = """
static void $name(const float *restrict src, float *restrict dst)
{
    for (int row = 0; row < $rows; row++)
        for (int c = 0; c < $channels; c++)
            dst[row * $dst_stride + $dst_offset + c] = src[row * $src_stride + $src_offset + c];
}
"""

_PAD = """
/* Which row or column of the source a place shows, counted from the first; -1: none, it is zero */
static int ${name}_shown(int place, int extent)
{
    if (place >= 0 && place < extent) return place;
    return $outside;
}

static void $name(const float *restrict src, float *restrict dst)
{
    for (int y = 0; y < $height; y++) {
        const int row = ${name}_shown(y - $pad_top, $h);
        for (int x = 0; x < $width; x++, dst += $channels) {
            const int column = ${name}_shown(x - $pad_left, $w);
            for (int c = 0; c < $channels; c++) dst[c] = 0.0f;
            if (row < 0 || column < 0) continue;
            for (int c = 0; c < $c; c++) dst[$channels_before + c] = src[(row * $w + column) * $c + c];
        }
    }
}
"""

_OUTSIDE = (
    "-1",
    "place < 0 ? -place : 2 * (extent - 1) - place",
    "place < 0 ? 0 : extent - 1",
)
"""By the numbers of cnn_padding."""

_NEAREST = """
static void $name(const float *restrict src, float *restrict dst)
{
    for (int y = 0; y < $h * $scale_h; y++)
        for (int x = 0; x < $w * $scale_w; x++)
            for (int c = 0; c < $c; c++) *dst++ = src[(y / $scale_h * $w + x / $scale_w) * $c + c];
}
"""

_BILINEAR = """
/* between two rows; a row without weight does not count */
static float ${name}_between(const float *above, const float *below, int at, float rest)
{
    return rest == 0.0f ? above[at] : (1.0f - rest) * above[at] + rest * below[at];
}

static void $name(const float *restrict src, float *restrict dst)
{
    for (int y = 0; y < $h * $scale_h; y++) {
        const float *above = src + $rows[y] * $line, rest_y = $row_rests[y];
        const float *below = rest_y == 0.0f ? above : above + $line;
        for (int x = 0; x < $w * $scale_w; x++) {
            const int left = $columns[x] * $c;
            const float rest_x = $column_rests[x];
            for (int c = 0; c < $c; c++) {
                const float value = ${name}_between(above, below, left + c, rest_y);
                *dst++ = rest_x == 0.0f ? value
                                        : (1.0f - rest_x) * value +
                                              rest_x * ${name}_between(above, below, left + $c + c, rest_y);
            }
        }
    }
}
"""

HALF_PIXEL = 1  # of cnn_sampling; 0 is nearest, 2 by the corners


def to_stored(layer: Layer) -> None:
    g = layer.geometry
    layer.function(_TO_STORED, pixels=g["h"] * g["w"], c=g["c"])
    layer.call("src", "dst")


def to_public(layer: Layer) -> None:
    g = layer.geometry
    layer.function(_TO_PUBLIC, pixels=g["h"] * g["w"], c=g["c"])
    layer.call("src", "dst")


def copy_channels(layer: Layer) -> None:
    layer.function(_COPY, **layer.geometry)
    layer.call("src", "dst")


def pad(layer: Layer) -> None:
    g = layer.geometry
    layer.function(
        _PAD,
        outside=_OUTSIDE[g["mode"]],
        height=g["pad_top"] + g["h"] + g["pad_bottom"],
        width=g["pad_left"] + g["w"] + g["pad_right"],
        channels=g["channels_before"] + g["c"] + g["channels_behind"],
        **{name: g[name] for name in ("h", "w", "c", "pad_top", "pad_left", "channels_before")},
    )
    layer.call("src", "dst")


def places(extent: int, scale: int, sampling: int) -> tuple[list[int], list[float]]:
    """Where each place of an enlarged axis lies in the source: the pixel before it, and the share of the next one. A
    fraction of whole numbers, so that 0 is exact (csrc/src/ops/upsample2d.c)."""
    first, rest = [], []
    for place in range(extent * scale):
        if sampling == HALF_PIXEL:
            above, below = max(2 * place + 1 - scale, 0), 2 * scale
        else:
            above, below = place * (extent - 1), max(extent * scale - 1, 1)
        first.append(above // below)
        rest.append(above % below / below if first[-1] < extent - 1 else 0.0)
    return first, rest


def upsample(layer: Layer) -> None:
    g = layer.geometry
    if not g["sampling"]:
        layer.function(_NEAREST, **{name: g[name] for name in ("h", "w", "c", "scale_h", "scale_w")})
        layer.call("src", "dst")
        return
    rows, row_rests = places(g["h"], g["scale_h"], g["sampling"])
    columns, column_rests = places(g["w"], g["scale_w"], g["sampling"])
    layer.function(
        _BILINEAR,
        rows=layer.indices("rows", rows),
        columns=layer.indices("columns", columns),
        row_rests=layer.table("row_rests", np.array(row_rests, np.float32)),
        column_rests=layer.table("column_rests", np.array(column_rests, np.float32)),
        line=g["w"] * g["c"],
        **{name: g[name] for name in ("h", "w", "c", "scale_h", "scale_w")},
    )
    layer.call("src", "dst")
