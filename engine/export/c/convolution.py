"""Convolutions, their transposes and linear layers as C.

A sum starts at 0 and runs over kernel rows, kernel columns and input channels; the bias comes last. Padding is not
multiplied: a product with 0 would not change a sum. Weights are laid out by blocks of outputs, and those of one input
lie side by side.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from engine.export.c.activations import activated
from engine.export.c.pooling import pool_of_two_rows
from engine.export.c.products import PLACES, Products, blocks_of, columns_of, filters_of, floats_of, in_blocks, terms_of
from engine.export.c.program import ROWS_OF_A_POOL
from engine.export.c.unit import Array, Layer
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
    loop = _depthwise(layer, weights) if group_ic == 1 and g["groups"] > 1 else _places(layer, weights)
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


def _times(number: int) -> str:
    return "" if number == 1 else f" * {number}"


def _bias(layer: Layer) -> str:
    return f" + {layer.table('bias', layer.array('bias'))}[first + j]" if layer.has("bias") else ""


def _places(layer: Layer, weights: Array) -> str:
    """The loop over places of a row, some at once where the whole kernel lies inside the image."""
    g = layer.geometry
    group_ic, group_oc = g["ic"] // g["groups"], g["oc"] // g["groups"]
    blocks = blocks_of(group_oc)
    rows = g["kh"] * g["kw"] * group_ic
    table, bias = layer.table("weights", in_blocks(weights, blocks)), _bias(layer)
    in_a_run = g["groups"] == 1 and g["dilation_w"] == 1
    many = min(PLACES, g["ow"])
    span = g["dilation_w"] * (g["kw"] - 1) + 1
    kx_first, kx_end = _inside("left", g["kw"], g["dilation_w"], g["w"], g["pad_left"], g["ow"], g["stride_w"])
    texts, base = [], 0
    for block in blocks:
        run = g["kw"] * g["ic"] if in_a_run else group_ic
        names = [layer.products(Products(at_once, block.width, terms_of(run))) for at_once in sorted({1, many})]
        fields: Mapping[str, object] = {
            "w": g["w"], "ic": g["ic"], "kw": g["kw"], "dilation_h": _times(g["dilation_h"]),
            "dilation_w": _times(g["dilation_w"]), "depth": group_ic * block.width, "inputs": group_ic,
            "offset": f" + group * {group_ic}" if g["groups"] > 1 else "",
        }  # fmt: skip
        indent = 16 if in_a_run else 20
        add = _add(names, many, block.width, g["stride_w"] * g["ic"], indent)
        outputs = [f"group * {group_oc}"] if g["groups"] > 1 else []
        outputs += [f"{block.first}"] if block.first or not (outputs or block.count > 1) else []
        outputs += [f"block * {block.width}"] if block.count > 1 else []
        starts = [f"group * {floats_of(blocks, rows)}"] if g["groups"] > 1 else []
        texts.append(
            layer.filled(
                _BLOCK, count=block.count, width=block.width, used=block.used, many=many, weights=table,
                base=" + ".join([*starts, f"{base}"]), step_of_block=block.width * rows,
                first_output=" + ".join(outputs), bias=bias, activated=activated(layer, "value"), oc=g["oc"],
                taps=layer.filled(_RUNS if in_a_run else _TAPS, add=add, **fields),
            )
        )  # fmt: skip
        base += block.count * block.width * rows
    body = "".join(texts)
    if g["groups"] > 1:
        body = layer.filled(_GROUPS, count=g["groups"], blocks=body)
    last = (many - 1) * g["stride_w"] + span
    fits = [f"x + {many} <= {g['ow']}"]
    fits += ["left >= 0"] if g["pad_left"] else []
    fits += [f"left + {last} <= {g['w']}"] if (g["ow"] - 1) * g["stride_w"] - g["pad_left"] + span > g["w"] else []
    return layer.filled(
        _PLACES, ow=g["ow"], stride_w=g["stride_w"], pad_left=g["pad_left"], kx_first=kx_first, kx_end=kx_end,
        many=many, many_fit=" && ".join(fits), groups=body,
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
        oc=g["oc"], ic=g["ic"], width=width, w=g["w"], kw=g["kw"], dilation_h=_times(g["dilation_h"]), weights=table,
        count=f"{width}" if g["oc"] % width == 0 else f"{g['oc']} - first < {width} ? {g['oc']} - first : {width}",
        reach=reach, input=source, bias=_bias(layer), activated=activated(layer, "value"),
        whole=layer.filled(_WHOLE_WINDOW, kw=g["kw"], sum=total) if g["kw"] <= 7 else "",
    )  # fmt: skip


# ---- linear layers --------------------------------------------------------------------------------------------------

_LINEAR = """
static void $name(const float *restrict src, float *restrict dst)
{
$blocks}
"""

_LINEAR_BLOCK = """    for (int block = 0; block < $count; block++) {
        float sums[$width] = {0.0f};
        const int first = $first + block * $width;
        $add(sums, src, 0, $weights + $base + block * $step, $inputs);
        for (int j = 0; j < $used; j++) {
            const float value = sums[j]$bias;
            dst[first + j] = $activated;
        }
    }
"""


def linear(layer: Layer) -> None:
    inputs, outputs = layer.geometry["k"], layer.geometry["n"]
    blocks = blocks_of(outputs, alone=True)
    weights = columns_of(layer.array("weights"), 1, outputs, inputs)
    table, bias = layer.table("weights", in_blocks(weights, blocks)), _bias(layer)
    texts, base = [], 0
    for block in blocks:
        texts.append(
            layer.filled(
                _LINEAR_BLOCK, count=block.count, width=block.width, used=block.used, first=block.first, base=base,
                add=layer.products(Products(1, block.width, terms_of(inputs))), weights=table, bias=bias,
                step=block.width * inputs, inputs=inputs, activated=activated(layer, "value"),
            )
        )  # fmt: skip
        base += block.count * block.width * inputs
    layer.function(_LINEAR, blocks="".join(texts))
    layer.call("src", "dst")


# ---- transposed convolutions ----------------------------------------------------------------------------------------

_TRANSPOSED = """
/* Kernel rows and columns run from the last to the first; those between the strides meet no pixel of the source. */
static void $name(const float *restrict src, float *restrict dst)
{
    for (int y = 0; y < $h; y++)
        for (int x = 0; x < $w; x++, dst += $ic)
$groups}
"""

_TRANSPOSED_GROUPS = """            for (int group = 0; group < $count; group++) {
$blocks            }
"""

_TRANSPOSED_BLOCK = """                for (int block = 0; block < $count; block++) {
                    float sums[$width] = {0.0f};
                    const float *weights = $weights + group * $of_a_group + $base + block * $step_of_block;
                    for (int ky = $kh - 1; ky >= 0; ky--) {
                        const int down = y + $pad_top - ky$dilation_h;
                        if (down < 0 || down % $stride_h != 0 || down / $stride_h >= $oh) continue;
                        for (int kx = $kw - 1; kx >= 0; kx--) {
                            const int across = x + $pad_left - kx$dilation_w;
                            if (across < 0 || across % $stride_w != 0 || across / $stride_w >= $ow) continue;
                            $add(sums, src + (down / $stride_h * $ow + across / $stride_w) * $oc + group * $inputs, 0,
                                 weights + (ky * $kw + kx) * $depth, $inputs);
                        }
                    }
                    for (int j = 0; j < $used; j++) dst[group * $outputs + $first + block * $width + j] = sums[j];
                }
"""


def transposed(layer: Layer) -> None:
    """A convolution's gradient by its input: its outputs, `oc`, are what comes in here, and `ic` what goes out."""
    g = layer.geometry
    inputs, outputs, taps = g["oc"] // g["groups"], g["ic"] // g["groups"], g["kh"] * g["kw"]
    forward = filters_of(layer.array("weights"), g, inputs, taps * outputs)
    turned = forward.reshape(g["groups"], taps, outputs, inputs).transpose(0, 1, 3, 2)
    blocks = blocks_of(outputs)
    table = layer.table("weights", in_blocks(turned.reshape(g["groups"], taps * inputs, outputs), blocks))
    names = ("h", "w", "oh", "ow", "oc", "kh", "kw", "stride_h", "stride_w", "pad_top", "pad_left")
    texts, base = [], 0
    for block in blocks:
        texts.append(
            layer.filled(
                _TRANSPOSED_BLOCK, count=block.count, width=block.width, used=block.used, first=block.first,
                weights=table, of_a_group=floats_of(blocks, taps * inputs), base=base,
                step_of_block=block.width * taps * inputs, depth=inputs * block.width, inputs=inputs, outputs=outputs,
                dilation_h=_times(g["dilation_h"]), dilation_w=_times(g["dilation_w"]),
                add=layer.products(Products(1, block.width, terms_of(inputs))), **{name: g[name] for name in names},
            )
        )  # fmt: skip
        base += block.count * block.width * taps * inputs
    groups = layer.filled(_TRANSPOSED_GROUPS, count=g["groups"], blocks="".join(texts))
    layer.function(_TRANSPOSED, h=g["h"], w=g["w"], ic=g["ic"], groups=groups)
    layer.call("diff_dst", "diff_src")
