"""Linear layers and transposed convolutions as C: sums as in engine.export.c.convolution, of one place each."""

from __future__ import annotations

from engine.export.c.activations import activated
from engine.export.c.convolution import bias_of, times
from engine.export.c.sums.blocks import blocks_of, columns_of, filters_of, floats_of, in_blocks
from engine.export.c.unit import Layer

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
    table, bias = layer.table("weights", in_blocks(weights, blocks)), bias_of(layer)
    texts, base = [], 0
    for block in blocks:
        texts.append(
            layer.filled(
                _LINEAR_BLOCK, count=block.count, width=block.width, used=block.used, first=block.first, base=base,
                add=layer.adder(block.width, inputs), weights=table, bias=bias,
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
                dilation_h=times(g["dilation_h"]), dilation_w=times(g["dilation_w"]),
                add=layer.adder(block.width, inputs), **{name: g[name] for name in names},
            )
        )  # fmt: skip
        base += block.count * block.width * taps * inputs
    groups = layer.filled(_TRANSPOSED_GROUPS, count=g["groups"], blocks="".join(texts))
    layer.function(_TRANSPOSED, h=g["h"], w=g["w"], ic=g["ic"], groups=groups)
    layer.call("diff_dst", "diff_src")
