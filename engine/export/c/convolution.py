"""Convolutions as C.

A sum starts at 0 and runs over kernel rows, kernel columns and input channels; the bias comes last. Padding is not
multiplied: a product with 0 would not change a sum. Weights are laid out by blocks of outputs, and those of one input
lie side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from engine.export.c.activations import activated
from engine.export.c.pooling import pool_of_two_rows
from engine.export.c.program import ROWS_OF_A_POOL
from engine.export.c.sums.blocks import Array, Block, blocks_of, filters_of, floats_of, in_blocks
from engine.export.c.sums.plain import PLACES, Products, terms_of
from engine.export.c.sums.vectors import Tile, places_of
from engine.export.c.unit import Layer
from engine.program.code import ACTIVATION_NAMES

_ROW = """
static void $row_name(const float *restrict src, float *restrict dst, int y)
{
    const int top = y * $stride_h - $pad_top; /* the row of the source that the kernel's first lies on */
    const int ky_first = $ky_first, ky_end = $ky_end;
$loop}
"""

_PLACES = """    for (int x = 0, places; x < $ow; x += places) {
        const int left = x * $stride_w - $pad_left;
        const int kx_first = $kx_first, kx_end = $kx_end;
        places = $many_fit ? $many : 1;
$groups    }
"""

_GROUPS = """        for (int group = 0; group < $count; group++) {
$blocks        }
"""

_BLOCK = """        for (int block = 0; block < $count; block++) {
            float sums[$many * $width] = {0.0f};
            const float *weights = $weights + $base + block * $step_of_block;
            const int first = $first_output;
$taps            for (int p = 0; p < places; p++)
                for (int j = 0; j < $used; j++) {
                    const float value = sums[p * $width + j]$bias;
                    dst[(x + p) * $oc + first + j] = $activated;
                }
        }
"""

# Columns of the kernel lie side by side in the source: one run of products for each row.
_RUNS = """            for (int ky = ky_first; ky < ky_end; ky++) {
                const float *from = src + ((top + ky$dilation_h) * $w + left + kx_first) * $ic;
                const float *w = weights + (ky * $kw + kx_first) * $depth;
                const int count = (kx_end - kx_first) * $ic;
$add            }
"""

_TAPS = """            for (int ky = ky_first; ky < ky_end; ky++)
                for (int kx = kx_first; kx < kx_end; kx++) {
                    const float *from = src + ((top + ky$dilation_h) * $w + left + kx$dilation_w) * $ic$offset;
                    const float *w = weights + (ky * $kw + kx) * $depth;
                    const int count = $inputs;
$add                }
"""

# In vectors. The last places are computed together with some before them.
_TILES = """    for (int x = 0; x < $ow; x += $many) {
$back        const int left = x * $stride_w - $pad_left;
$groups    }
"""

_TILE_BLOCK = """        for (int block = 0; block < $count; block++) {
            float sums[$many * $width];
            const float *weights = $weights + $base + block * $step_of_block;
            const int first = $first_output;
            float *to = dst + x * $oc + first;
$call            for (int p = 0; p < $many; p++)
                for (int j = 0; j < $used; j++) {
                    const float value = sums[p * $width + j]$bias;
                    to[p * $oc + j] = $activated;
                }
        }
"""

_TILE_CALL = """$tile(sums, src, (top * $w + left) * $ic$offset, $step, ky_first, ky_end, $row,
                  $columns, $column, weights, $row_of_w, $column_of_w, $inputs);
"""

_EDGE_CALL = """$edge(sums, src, top * $w * $ic$offset, left, $stride_w, $w, $ic, ky_first, ky_end, $row,
                  $kw, $dilation_w, weights, $row_of_w, $depth, $group_ic);
"""

_DEPTHWISE = """    for (int x = 0; x < $ow; x++) {
        const int left = x * $stride_w - $pad_left;
        const int kx_first = $kx_first, kx_end = $kx_end;
        for (int first = 0; first < $oc; first += $width) {
            const int count = $count;
            float sums[$width];
            for (int j = 0; j < count; j++) sums[j] = 0.0f;
            for (int ky = ky_first; ky < ky_end; ky++) {
                const float *from = src + ((top + ky$dilation_h) * $w + left) * $ic;
                const float *w = $weights + ky * $kw * $oc + first;
$whole                for (int kx = kx_first; kx < kx_end; kx++)
                    for (int j = 0; j < count; j++)
                        sums[j] += from[kx * $reach + $input] * w[kx * $oc + j];
            }
            for (int j = 0; j < count; j++) {
                const float value = sums[j]$bias;
                dst[x * $oc + first + j] = $activated;
            }
        }
    }
"""

_WHOLE_WINDOW = """                if (kx_end - kx_first == $kw) {
                    for (int j = 0; j < count; j++)
                        sums[j] = $sum;
                    continue;
                }
"""

_ROWS = """
static void $name(const float *restrict src, float *restrict dst)
{
    for (int y = 0; y < $oh; y++) ${name}_row(src, dst + y * $line, y);
}
"""

_POOLED_ROWS = """
static void $name(const float *restrict src, float *restrict rows, float *restrict dst)
{
    for (int y = 0; y + 1 < $oh; y += 2) {
        ${name}_row(src, rows, y);
        ${name}_row(src, rows + $line, y + 1);
        ${name}_pool(rows, dst + y / 2 * $pooled_line);
    }
}
"""


def convolution(layer: Layer) -> None:
    g = layer.geometry
    group_ic, group_oc = g["ic"] // g["groups"], g["oc"] // g["groups"]
    rows = g["kh"] * g["kw"] * group_ic
    weights = filters_of(layer.array("weights"), g, group_oc, rows)
    alone = group_ic == 1 and g["groups"] > 1
    loop = (_depthwise if alone else _tiles if layer.unit.simd else _places)(layer, weights)
    ky_first, ky_end = _inside("top", g["kh"], g["dilation_h"], g["h"], g["pad_top"], g["oh"], g["stride_h"])
    text = layer.filled(
        _ROW, row_name=f"{layer.name}_row", loop=loop, ky_first=ky_first, ky_end=ky_end,
        stride_h=g["stride_h"], pad_top=g["pad_top"],
    )  # fmt: skip
    line = g["ow"] * g["oc"]
    if not g["pool"]:
        layer.function(text + _ROWS, oh=g["oh"], line=line)
        layer.call("src", "dst")
        return
    pool = pool_of_two_rows(layer, g["ow"], g["oc"], ACTIVATION_NAMES.get(g["activation"]) == "relu")
    layer.function(text + pool + _POOLED_ROWS, oh=g["oh"], line=line, pooled_line=g["ow"] // 2 * g["oc"])
    layer.call("src", ROWS_OF_A_POOL, "dst")


def _inside(
    start: str, kernel: int, dilation: int, extent: int, pad: int, outputs: int, stride: int
) -> tuple[str, str]:
    """The first row or column of the kernel inside the image, and that behind the last, as expressions of where the
    kernel begins."""
    first, end = "0", f"{kernel}"
    if pad:
        first = f"{start} < 0 ? {_ceil(f'-{start}', dilation)} : 0"
    if (outputs - 1) * stride - pad + dilation * (kernel - 1) + 1 > extent:
        span = dilation * (kernel - 1) + 1
        end = f"{start} + {span} > {extent} ? {_ceil(f'{extent} - {start}', dilation)} : {kernel}"
    return first, end


def _ceil(what: str, by: int) -> str:
    return what if by == 1 else f"({what} + {by - 1}) / {by}"


def times(number: int) -> str:
    """What is written behind a factor."""
    return "" if number == 1 else f" * {number}"


def bias_of(layer: Layer) -> str:
    """What is added to sum j of a block from output `first` on."""
    return f" + {layer.table('bias', layer.array('bias'))}[first + j]" if layer.has("bias") else ""


def _by_block(layer: Layer, weights: Array, text: Callable[..., str]) -> str:
    """The text of all groups and blocks of outputs: text(block, …) with what they have in common."""
    g = layer.geometry
    group_ic, group_oc = g["ic"] // g["groups"], g["oc"] // g["groups"]
    blocks = blocks_of(group_oc)
    rows = g["kh"] * g["kw"] * group_ic
    table, bias = layer.table("weights", in_blocks(weights, blocks)), bias_of(layer)
    texts, base = [], 0
    for block in blocks:
        outputs = [f"group * {group_oc}"] if g["groups"] > 1 else []
        outputs += [f"{block.first}"] if block.first or not (outputs or block.count > 1) else []
        outputs += [f"block * {block.width}"] if block.count > 1 else []
        starts = [f"group * {floats_of(blocks, rows)}"] if g["groups"] > 1 else []
        texts.append(
            text(
                block, count=block.count, used=block.used, weights=table, base=" + ".join([*starts, f"{base}"]),
                step_of_block=block.width * rows, first_output=" + ".join(outputs), bias=bias, oc=g["oc"],
                activated=activated(layer, "value"),
            )
        )  # fmt: skip
        base += block.count * block.width * rows
    body = "".join(texts)
    return layer.filled(_GROUPS, count=g["groups"], blocks=body) if g["groups"] > 1 else body


def _fits(g: Mapping[str, int], many: int, span: int) -> list[str]:
    """When the kernel lies inside the image at `many` places from x on: conditions, none where it always does."""
    last = (many - 1) * g["stride_w"] + span
    return [
        *(["left >= 0"] if g["pad_left"] else []),
        *([f"left + {last} <= {g['w']}"] if (g["ow"] - 1) * g["stride_w"] - g["pad_left"] + span > g["w"] else []),
    ]


def _places(layer: Layer, weights: Array) -> str:
    """The loop over places of a row, some at once where the whole kernel lies inside the image."""
    g = layer.geometry
    group_ic = g["ic"] // g["groups"]
    in_a_run = g["groups"] == 1 and g["dilation_w"] == 1
    many = min(PLACES, g["ow"])
    span = g["dilation_w"] * (g["kw"] - 1) + 1
    kx_first, kx_end = _inside("left", g["kw"], g["dilation_w"], g["w"], g["pad_left"], g["ow"], g["stride_w"])

    def text(block: Block, **common: object) -> str:
        run = g["kw"] * g["ic"] if in_a_run else group_ic
        names = [layer.loop(Products(at_once, block.width, terms_of(run))) for at_once in sorted({1, many})]
        fields: Mapping[str, object] = {
            "w": g["w"], "ic": g["ic"], "kw": g["kw"], "dilation_h": times(g["dilation_h"]),
            "dilation_w": times(g["dilation_w"]), "depth": group_ic * block.width, "inputs": group_ic,
            "offset": f" + group * {group_ic}" if g["groups"] > 1 else "",
        }  # fmt: skip
        add = _add(names, many, block.width, g["stride_w"] * g["ic"], 16 if in_a_run else 20)
        taps = layer.filled(_RUNS if in_a_run else _TAPS, add=add, **fields)
        return layer.filled(_BLOCK, many=many, width=block.width, taps=taps, **common)

    return layer.filled(
        _PLACES, ow=g["ow"], stride_w=g["stride_w"], pad_left=g["pad_left"], kx_first=kx_first, kx_end=kx_end,
        many=many, many_fit=" && ".join([f"x + {many} <= {g['ow']}", *_fits(g, many, span)]),
        groups=_by_block(layer, weights, text),
    )  # fmt: skip


def _tiles(layer: Layer, weights: Array) -> str:
    """The loop over places of a row in vectors: some at once, where the kernel lies inside the image and where not."""
    g = layer.geometry
    group_ic, many = g["ic"] // g["groups"], places_of(g["ow"])
    span = g["dilation_w"] * (g["kw"] - 1) + 1
    in_a_run = g["groups"] == 1 and g["dilation_w"] == 1
    fits = _fits(g, many, span)
    inside = not fits
    outside = (many - 1) * g["stride_w"] + span > g["w"]  # never inside

    def call(block: Block, offset: str) -> str:
        depth = group_ic * block.width
        fields: Mapping[str, object] = {
            "w": g["w"], "ic": g["ic"], "kw": g["kw"], "stride_w": g["stride_w"], "dilation_w": g["dilation_w"],
            "offset": offset, "group_ic": group_ic, "depth": depth, "step": g["stride_w"] * g["ic"],
            "row": g["dilation_h"] * g["w"] * g["ic"], "row_of_w": g["kw"] * depth, "column_of_w": depth,
            "columns": 1 if in_a_run else g["kw"], "column": g["dilation_w"] * g["ic"],
            "inputs": g["kw"] * group_ic if in_a_run else group_ic,
        }  # fmt: skip
        space = " " * 16
        if inside:
            return space[4:] + layer.filled(_TILE_CALL, tile=layer.loop(Tile(many, block.width, False)), **fields)
        layer.unit.zeros = max(layer.unit.zeros, group_ic)
        edge = layer.filled(_EDGE_CALL, edge=layer.loop(Tile(many, block.width, True)), **fields)
        if outside:
            return space[4:] + edge
        tile = layer.filled(_TILE_CALL, tile=layer.loop(Tile(many, block.width, False)), **fields)
        return f"{space[4:]}if ({' && '.join(fits)})\n{space}{tile}{space[4:]}else\n{space}{edge}"

    def text(block: Block, **fields: object) -> str:
        offset = f" + group * {group_ic}" if g["groups"] > 1 else ""
        return layer.filled(_TILE_BLOCK, many=many, call=call(block, offset), width=block.width, **fields)

    back = "" if g["ow"] % many == 0 else f"        if (x > {g['ow'] - many}) x = {g['ow'] - many};\n"
    return layer.filled(
        _TILES, ow=g["ow"], many=many, back=back, stride_w=g["stride_w"], pad_left=g["pad_left"],
        groups=_by_block(layer, weights, text),
    )  # fmt: skip


def _add(names: list[str], many: int, width: int, step: int, indent: int) -> str:
    """The call that adds products to the sums, of one place or of many."""
    space = " " * indent
    one = f"{names[0]}(sums, from, {step}, w, count);\n"
    if many == 1:
        return space + one
    sums = ", ".join("sums" if not place else f"sums + {place * width}" for place in range(many))
    some = f"{names[1]}({sums}, from, {step}, w, count);\n"
    return f"{space}if (places == {many})\n{space}    {some}{space}else\n{space}    {one}"


def _depthwise(layer: Layer, weights: Array) -> str:
    """Every channel by itself: neighbouring channels side by side."""
    g = layer.geometry
    each = g["oc"] // g["groups"]  # outputs of a channel
    # (channels, taps, each) → [tap][output]
    table = layer.table("weights", np.ascontiguousarray(weights.transpose(1, 0, 2)).reshape(-1))
    width = min(g["oc"], 32)
    kx_first, kx_end = _inside("left", g["kw"], g["dilation_w"], g["w"], g["pad_left"], g["ow"], g["stride_w"])
    reach = g["dilation_w"] * g["ic"]
    source = "first + j" if each == 1 else f"(first + j) / {each}"
    total = "sums[j]"
    for kx in range(g["kw"]):
        total = f"{f'({total})' if kx else total} + from[{kx * reach} + {source}] * w[{kx * g['oc']} + j]"
    return layer.filled(
        _DEPTHWISE, ow=g["ow"], stride_w=g["stride_w"], pad_left=g["pad_left"], kx_first=kx_first, kx_end=kx_end,
        oc=g["oc"], ic=g["ic"], width=width, w=g["w"], kw=g["kw"], dilation_h=times(g["dilation_h"]), weights=table,
        count=f"{width}" if g["oc"] % width == 0 else f"{g['oc']} - first < {width} ? {g['oc']} - first : {width}",
        reach=reach, input=source, bias=bias_of(layer), activated=activated(layer, "value"),
        whole=layer.filled(_WHOLE_WINDOW, kw=g["kw"], sum=total) if g["kw"] <= 7 else "",
    )  # fmt: skip
