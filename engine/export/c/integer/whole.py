"""What a program calls in the C file of a quantised network: with floats, and with codes alone."""

from __future__ import annotations

import numpy as np

from engine.data.preprocess import Preprocess
from engine.export.c.text import fill, number
from engine.export.c.unit import Unit
from engine.layers.topology import INPUT
from engine.quantize.network import QuantizedNetwork

BITS = """All between the input and the output is integer arithmetic, which gives the same bits everywhere: those of the
 * engine. The ends are in float, as IEEE 754 has it; a softmax has the bits of the engine's plain instruction set."""

_PREDICT = """
/* From the codes of the input to those of the output, both in the arena */
static void ${n}_integers(void)
{
$integers}

int ${n}_predict(const float *image, float *outputs)
{
    /* NaN and infinity are the numbers whose exponent bits are all set. */
    for (int i = 0; i < ${N}_INPUTS; i++)
        if ((${n}_bits(image[i]) & 0x7f800000u) == 0x7f800000u) return 1;
$before    ${n}_integers();
$behind    return 0;
}
"""

_CODES = """
void ${n}_codes(const uint8_t *image, uint8_t *outputs)
{
    uint8_t *const first = $first;
    const uint8_t *const last = $last;
    for (int i = 0; i < $inputs; i++) first[i] = image[i];
    ${n}_integers();
    for (int i = 0; i < $outputs; i++) outputs[i] = last[i];
}
"""

_DECLARED = """
#include <stdint.h>

#define ${N}_CODES $outputs /* of the output of ${n}_codes */
#define ${N}_INPUT_SCALE $input_scale
#define ${N}_INPUT_ZERO $input_zero
#define ${N}_OUTPUT_SCALE $output_scale
#define ${N}_OUTPUT_ZERO $output_zero

/* The same with integers alone: a code q stands for SCALE * (q - ZERO). image: ${N}_INPUTS codes, in the order of
 * ${n}_predict. outputs: ${N}_CODES codes of what comes before the softmax, where there is one; the largest is the
 * likeliest. Not for two threads at once. */
void ${n}_codes(const uint8_t *image, uint8_t *outputs);
"""

_PREPARED = """
/* The codes of an image from its bytes, channel by channel, for ${n}_codes */
void ${n}_prepare_codes(const uint8_t *pixels, uint8_t *image);
"""

_PREPARE = """
void ${n}_prepare_codes(const uint8_t *pixels, uint8_t *image)
{
    for (int c = 0; c < $channels; c++)
        for (int i = c * $pixels; i < (c + 1) * $pixels; i++) image[i] = $table[c * 256 + pixels[i]];
}
"""


def predict(unit: Unit, network: QuantizedNetwork, prepares: bool) -> str:
    """The functions that a program calls: with floats, and with codes where nothing before them is in float32."""
    n, first, last = unit.prefix, unit.marks["quantize"], unit.marks["dequantize"]
    before, inner, behind = unit.calls[:first], unit.calls[first:last], unit.calls[last:]
    text = fill(_PREDICT, n=n, N=n.upper(), before="".join(before), integers="".join(inner), behind="".join(behind))
    if network.head is not None:
        return text
    by_op = {each.op: each.operands for each in unit.exported.code.instructions}
    places = {"first": by_op["quantize"]["dst"], "last": by_op["dequantize"]["src"]}
    text += fill(
        _CODES,
        n=n,
        inputs=int(np.prod(network.input_shape)),
        outputs=int(np.prod(network.body.topology.output_shape)),
        **{name: unit.exported.place(value, n) for name, value in places.items()},
    )
    if not prepares:
        return text
    channels, height, width = network.input_shape
    return text + fill(_PREPARE, n=n, channels=channels, pixels=height * width, table=f"{n}_pixel_codes")


def declarations(network: QuantizedNetwork, n: str, prepares: bool) -> str:
    """What the header says of the functions with codes."""
    if network.head is not None:
        return ""
    entry, end = network.body.encodings[INPUT], network.body.output
    text = fill(
        _DECLARED,
        n=n,
        N=n.upper(),
        outputs=int(np.prod(network.body.topology.output_shape)),
        input_scale=number(entry.scale),
        input_zero=entry.zero,
        output_scale=number(end.scale),
        output_zero=end.zero,
    )
    return text + (fill(_PREPARED, n=n) if prepares else "")


def pixel_codes(network: QuantizedNetwork) -> np.ndarray:
    """The code of each byte of a pixel, uint8 (C, 256), by the preprocessing that the network states."""
    assert network.preprocess is not None
    channels = network.input_shape[0]
    pixels = np.broadcast_to(np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16), (1, channels, 16, 16))
    values = Preprocess.from_dict(network.preprocess).normalise(np.ascontiguousarray(pixels))
    return network.body.encodings[INPUT].codes(values).reshape(channels, 256)
