"""Pools as C, and the 2x2 max-pool that other layers end with."""

from __future__ import annotations

from collections.abc import Mapping

from engine.export.c.unit import Layer

POOL_TWO_ROWS = """
/* 2x2 max-pool of two rows of pixels */
static void ${name}_pool(const float *restrict rows, float *restrict dst)
{
    for (int x = 0; x < $width / 2; x++)
        for (int c = 0; c < $c; c++) {
            const float *at = rows + 2 * x * $c + c;
            const float left = $larger(at[0], at[$c]), four = $larger($larger(left, at[$line]), at[$line + $c]);
            dst[x * $c + c] = $pooled;
        }
}
"""
"""NaN wins over what stands before it; behind ReLU, -0 is 0 too."""

_WINDOW = """
static void $name(const float *restrict src, float *restrict dst)
{
    for (int y = 0; y < $oh; y++) {
        const int top = y * $stride_h - $pad_top;
        const int first_row = $first_row, end_row = $end_row;
        for (int x = 0; x < $ow; x++, dst += $c) {
            const int left = x * $stride_w - $pad_left;
            const int first_column = $first_column, end_column = $end_column;
$body        }
    }
}
"""

_MAX = """            for (int c = 0; c < $c; c++) dst[c] = src[(first_row * $w + first_column) * $c + c];
            for (int row = first_row; row < end_row; row++)
                for (int column = first_column; column < end_column; column++) {
                    const float *from = src + (row * $w + column) * $c;
                    for (int c = 0; c < $c; c++) dst[c] = $larger(dst[c], from[c]);
                }
"""

# Sums run along a row of the window, then over its rows.
_AVERAGE = """            const float share = 1.0f / (float)($elements);
            for (int start = 0; start < $c; start += $some) {
                const int count = $c - start < $some ? $c - start : $some;
                float total[$some], line[$some];
                for (int c = 0; c < count; c++) total[c] = 0.0f;
                for (int row = first_row; row < end_row; row++) {
                    for (int c = 0; c < count; c++) line[c] = 0.0f;
                    for (int column = first_column; column < end_column; column++) {
                        const float *from = src + (row * $w + column) * $c + start;
                        for (int c = 0; c < count; c++) line[c] += from[c];
                    }
                    for (int c = 0; c < count; c++) total[c] += line[c];
                }
                for (int c = 0; c < count; c++) dst[start + c] = total[c] * share;
            }
"""

_CHANNELS_AT_ONCE = 64


def _range(start: str, kernel: int, extent: int, pad: int, last: int) -> tuple[str, str]:
    """The first row or column of a window inside the image, and that behind the last; the last window begins at
    `last`."""
    first = f"{start} < 0 ? 0 : {start}" if pad else start
    end = f"{start} + {kernel}"
    return first, f"{end} > {extent} ? {extent} : {end}" if last + kernel > extent else end


def _window(layer: Layer, body: str, **fields: object) -> None:
    g = layer.geometry
    last_row, last_column = _last_windows(g)
    first_row, end_row = _range("top", g["kh"], g["h"], g["pad_top"], last_row)
    first_column, end_column = _range("left", g["kw"], g["w"], g["pad_left"], last_column)
    numbers = {name: g[name] for name in ("oh", "ow", "c", "stride_h", "stride_w", "pad_top", "pad_left")}
    layer.function(
        _WINDOW,
        body=layer.filled(body, c=g["c"], w=g["w"], **fields),
        first_row=first_row,
        end_row=end_row,
        first_column=first_column,
        end_column=end_column,
        **numbers,
    )
    layer.call("src", "dst")


def _last_windows(g: Mapping[str, int]) -> tuple[int, int]:
    """Where the last window begins: row and column of the image."""
    return (g["oh"] - 1) * g["stride_h"] - g["pad_top"], (g["ow"] - 1) * g["stride_w"] - g["pad_left"]


def max_pool(layer: Layer) -> None:
    _window(layer, _MAX, larger=layer.helper("larger"))


def average_pool(layer: Layer) -> None:
    """A window that ceil mode lets reach past the padding is cut there."""
    g = layer.geometry
    elements = "(end_row - first_row) * (end_column - first_column)"
    if g["count_include_pad"]:
        last_row, last_column = _last_windows(g)
        rows = _cut("top", g["kh"], g["h"] + g["pad_top"], last_row)
        columns = _cut("left", g["kw"], g["w"] + g["pad_left"], last_column)
        elements = f"{rows} * {columns}"
    _window(layer, _AVERAGE, elements=elements, some=min(g["c"], _CHANNELS_AT_ONCE))


def _cut(start: str, kernel: int, end: int, last: int) -> str:
    """Elements of a window in the padded image, of which the last one begins at `last`."""
    return f"{kernel}" if last + kernel <= end else f"({start} + {kernel} > {end} ? {end} - {start} : {kernel})"


def pool_of_two_rows(layer: Layer, width: int, channels: int, relu: bool) -> str:
    """The text of the function NAME_pool."""
    pooled = "four <= 0.0f ? 0.0f : four" if relu else "four"
    return layer.filled(
        POOL_TWO_ROWS, width=width, c=channels, line=width * channels, larger=layer.helper("larger"), pooled=pooled
    )
