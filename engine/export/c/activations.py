"""Activations as C: expressions of one element, and the layers that apply them to all."""

from __future__ import annotations

from engine.export.c.text import number
from engine.export.c.unit import Layer
from engine.program.code import ACTIVATION_NAMES

_WITH_NUMBERS = {
    "leaky_relu": ("leaky_relu", ("slope",)),
    "elu": ("elu", ("slope",)),
    "clip": ("bounded", ("low", "high")),
}
"""Activation → the function that computes it, and the fields of its geometry that this takes."""

_LOOP = """
static void $name(const float *src, float *dst)
{
    for (int i = 0; i < $count; i++) dst[i] = $value;
}
"""

_TWO = """
static void $name(const float *a, const float *b, float *dst)
{
    for (int i = 0; i < $count; i++) dst[i] = a[i] $operator b[i];
}
"""

_ROWS = """
static void $name(const float *src, float *dst)
{
    for (int row = 0; row < $rows; row++)
        for (int c = 0; c < $c; c++) dst[row * $c + c] = $value;
}
"""

_MULTIPLY_ROWS = """
static void $name(const float *a, const float *b, float *dst)
{
    for (int row = 0; row < $rows; row++)
        for (int c = 0; c < $c; c++) dst[row * $c + c] = a[row * $c + c] * b[c];
}
"""


def activated(layer: Layer, value: str) -> str:
    """The expression of a value behind the activation that an op's geometry ends with."""
    kind = ACTIVATION_NAMES.get(layer.geometry["activation"])
    return value if kind is None else f"{layer.helper(kind)}({value})"


def elementwise(layer: Layer) -> None:
    name = layer.instruction.op.removesuffix("_forward")
    function, fields = _WITH_NUMBERS.get(name, (name, ()))
    arguments = ", ".join(["src[i]", *(number(layer.geometry[each]) for each in fields)])
    layer.function(_LOOP, count=layer.geometry["count"], value=f"{layer.helper(function)}({arguments})")
    layer.call("src", "dst")


def scale(layer: Layer) -> None:
    factor = number(layer.geometry["slope"])
    layer.function(_LOOP, count=layer.geometry["count"], value=f"src[i] * {factor}")
    layer.call("src", "dst")


def add(layer: Layer) -> None:
    layer.function(_TWO, count=layer.geometry["count"], operator="+")
    layer.call("a", "b", "dst")


def multiply(layer: Layer) -> None:
    rows, channels = layer.geometry["rows"], layer.geometry["c"]
    if rows == 1:
        layer.function(_TWO, count=channels, operator="*")
    else:
        layer.function(_MULTIPLY_ROWS, rows=rows, c=channels)
    layer.call("a", "b", "dst")


def _by_channel(layer: Layer, operand: str, value: str) -> None:
    rows, channels = layer.geometry["rows"], layer.geometry["c"]
    table = layer.table(operand, layer.array(operand))
    layer.function(_ROWS, rows=rows, c=channels, value=layer.filled(value, c=channels, table=table))
    layer.call("src", "dst")


def scale_channels(layer: Layer) -> None:
    _by_channel(layer, "weights", "src[row * $c + c] * $table[c]")


def add_channels(layer: Layer) -> None:
    _by_channel(layer, "bias", "src[row * $c + c] + $table[c]")


def prelu(layer: Layer) -> None:
    function = layer.helper("leaky_relu")
    _by_channel(layer, "weights", f"{function}(src[row * $c + c], $table[c])")


_SOFTMAX = """
static void $name(const float *restrict src, float *restrict dst)
{
    for (int row = 0; row < $rows; row++, src += $c, dst += $c) {
        float most = src[0], share;
        double sum = 0.0;
        for (int c = 1; c < $c; c++) most = src[c] > most ? src[c] : most;
        for (int c = 0; c < $c; c++) dst[c] = $exp(src[c] - most);
        for (int c = 0; c < $c; c++) sum += (double)dst[c];
        share = (float)(1.0 / sum);
        for (int c = 0; c < $c; c++) dst[c] = $flush(dst[c] * share);
    }
}
"""


def softmax(layer: Layer) -> None:
    """exp(x - max) / sum, the sum in double from left to right."""
    rows, channels = layer.geometry["rows"], layer.geometry["c"]
    layer.function(_SOFTMAX, rows=rows, c=channels, exp=layer.helper("exp"), flush=layer.helper("flush"))
    layer.call("src", "dst")
