"""A test vector in the C file, with a main that compares bits and says so with its exit status."""

from __future__ import annotations

from dataclasses import dataclass

import cnncore
import numpy as np
from numpy.typing import NDArray

from engine.export.c.text import fill
from engine.quantize.network import AnyNetwork, QuantizedNetwork

Array = NDArray[np.float32]

_SEED = 12345


@dataclass(frozen=True)
class TestVector:
    """How many inputs are made, and what the network gives for them."""

    __test__ = False  # no class of tests

    inputs: int
    outputs: Array


def pseudo_random(count: int) -> Array:
    """Numbers from -2 to 2 of a linear congruential generator (Knuth 1997, section 3.3.4, table 1, line 20's form): the
    top 24 bits, exact in float32, as the C file makes them too."""
    state, values = _SEED, np.empty(count, np.float32)
    for index in range(count):
        state = (1664525 * state + 1013904223) & 0xFFFFFFFF
        values[index] = ((state >> 8) - (1 << 23)) / (1 << 22)
    return values


def test_vector(network: AnyNetwork) -> TestVector:
    """What the engine's plain instruction set gives with direct convolutions."""
    image = pseudo_random(int(np.prod(network.input_shape)))
    usual = cnncore.isa()
    cnncore.set_isa("portable")
    try:
        values = image.reshape(1, *network.input_shape)
        if isinstance(network, QuantizedNetwork):
            outputs = network.predict(values)
        else:
            outputs = network.predict(values, algorithm="direct")
    finally:
        cnncore.set_isa(usual)
    return TestVector(image.size, outputs.reshape(-1))


_BENCH = """
/* ---- test vector ------------------------------------------------------------------------------------------------- */

/* The bits of what the engine gave for the image that main makes */
static const uint32_t ${n}_expected[$count] = {
$words};

/* Exit status 0: the same bits. 1: others, 2: the image was refused. */
int main(void)
{
    static float image[$inputs], outputs[$count];
    uint32_t state = ${seed}u;
    for (int i = 0; i < $inputs; i++) {
        state = 1664525u * state + 1013904223u;
        image[i] = (float)((int32_t)(state >> 8) - 8388608) / 4194304.0f;
    }
    if (${n}_predict(image, outputs) != 0) return 2;
    for (int i = 0; i < $count; i++)
        if (${n}_bits(outputs[i]) != ${n}_expected[i]) return 1;
    return 0;
}
"""


def bench(vector: TestVector, prefix: str) -> str:
    words = [f"0x{word:08x}u" for word in vector.outputs.view(np.uint32).tolist()]
    lines = "".join(f"    {', '.join(words[start : start + 8])},\n" for start in range(0, len(words), 8))
    return fill(_BENCH, n=prefix, count=len(words), inputs=vector.inputs, words=lines, seed=_SEED)
