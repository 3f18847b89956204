"""The texts of the files: the C file, its weights where they are to lie in a file of their own, and the header."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from engine.errors import UserError
from engine.export.c import activations, convolution, linear, moving, norms, pooling
from engine.export.c.functions import written
from engine.export.c.integer import layers as integer
from engine.export.c.integer import whole
from engine.export.c.program import Exported, exported, exported_integers
from engine.export.c.sums.plain import KEEP_LOOP
from engine.export.c.sums.vectors import TYPES
from engine.export.c.testbench import TestVector, bench
from engine.export.c.text import comment, fill, number, numbers, string
from engine.export.c.unit import Layer, Table, Unit
from engine.export.preparation import factors_of, in_words
from engine.layers import Softmax
from engine.plan.table import exact
from engine.program.code import ELEMENTWISE, Instruction
from engine.quantize.network import AnyNetwork, QuantizedNetwork

OPS: Mapping[str, Callable[[Layer], None]] = {
    "nchw_to_nhwc": moving.to_stored,
    "nhwc_to_nchw": moving.to_public,
    "copy_channels": moving.copy_channels,
    "pad2d_forward": moving.pad,
    "upsample2d_forward": moving.upsample,
    "conv2d_forward": convolution.convolution,
    "conv2d_backward_data": linear.transposed,
    "linear_forward": linear.linear,
    "maxpool2d_forward": pooling.max_pool,
    "avgpool2d_forward": pooling.average_pool,
    "batchnorm_forward_inference": norms.batch_norm,
    "groupnorm_forward": norms.group_norm,
    "prelu_forward": activations.prelu,
    "softmax_forward": activations.softmax,
    "scale": activations.scale,
    "scale_channels": activations.scale_channels,
    "add_channels": activations.add_channels,
    "multiply": activations.multiply,
    "add": activations.add,
    **{f"{name}_forward": activations.elementwise for name in ELEMENTWISE},
    **integer.OPS,
}
"""Op → what writes it. The check of the input, which every program begins with, is the file's own function."""

CHECK = "check_finite"


@dataclass(frozen=True)
class Options:
    """How the file is written: the prefix of all names, vectors, weights in a file of their own, a test vector, and the
    name of the header that is written beside it."""

    prefix: str
    simd: bool = False
    separate: bool = False
    vector: TestVector | None = None
    header: str | None = None


@dataclass(frozen=True)
class Sizes:
    """Bytes: tables in the flash, without the code; static buffers in the RAM."""

    weights: int
    ram: int

    def __str__(self) -> str:
        return f"{exact(self.weights)} of flash beside the code, {exact(self.ram)} of RAM"


def unit_of(network: AnyNetwork, prefix: str = "net", simd: bool = False) -> Unit:
    """All layers of the network as C. UserError for one that is not done, by name, and for weights that are not
    finite."""
    program = exported_integers(network) if isinstance(network, QuantizedNetwork) else exported(network)
    unit = Unit(program, prefix, simd)
    for number_, instruction in enumerate(unit.exported.code.instructions):
        if instruction.op == CHECK:
            continue
        _emitter(instruction)(Layer(unit, number_, instruction))
    if unit.zeros:
        unit.tables.append(Table(f"{prefix}_zeros", "float", unit.zeros, numbers(np.zeros(unit.zeros, np.float32))))
    if isinstance(network, QuantizedNetwork) and network.head is None and factors_of(network):
        unit.integers(f"{prefix}_pixel_codes", whole.pixel_codes(network))
    return unit


def _emitter(instruction: Instruction) -> Callable[[Layer], None]:
    emitter = OPS.get(instruction.op)
    if emitter is None or "mask" in instruction.operands:
        raise UserError(f"layer {instruction.layer!r}: its op {instruction.op!r} cannot be exported to C")
    return emitter


def sizes(network: AnyNetwork) -> Sizes:
    """What the file of this network takes of a device; trained or not makes no difference."""
    unit = unit_of(network)
    return Sizes(unit.table_bytes, unit.exported.ram_bytes)


_TOP = """/* $title
 *
 * Written by cnn-engine. C99 with nothing but <stdint.h>; no allocation, one static arena: so one prediction at a time.
 * $bits
 * Do not compile with
 * -ffast-math or its parts; on 32-bit x86 add -msse2 -mfpmath=sse. What keeps products and sums apart stands below.
 *
 * Flash: $weights bytes of tables and the code. RAM: $ram bytes, and less than a thousand of stack.
 */
"""

_OF_FLOATS = """Any compiler that keeps to IEEE 754 gives the same bits, which are those of the engine's plain
 * instruction set with direct convolutions (as long as no intermediate value lies below the smallest normal float)."""

_GUARDS = """
#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__) || \
    defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || defined(__NO_SIGNED_ZEROS__)
#error "compile without -ffast-math and its parts: they change the results"
#endif
#include <float.h>
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16
#error "float is computed in another precision: on 32-bit x86 compile with -msse2 -mfpmath=sse"
#endif
/* No product and sum may become one rounding: clang heeds the first, GCC the second. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

#define ${N}_ASSERT(name, holds) typedef char ${n}_assert_##name[(holds) ? 1 : -1]
${N}_ASSERT(float_is_32_bits, sizeof(float) == 4 && FLT_MANT_DIG == 24);
${N}_ASSERT(double_is_64_bits, sizeof(double) == 8 && DBL_MANT_DIG == 53);
${N}_ASSERT(int_is_32_bits, sizeof(int) >= 4);
"""

_ARENA = """/* Where layers leave what the next ones read: places are used again as soon as nobody reads them. */
static $kind ${n}_arena[$count];
"""

_MEMORY = """
$arena$moments${N}_ASSERT(ram, $sum == ${N}_RAM_BYTES);
"""

_MOMENTS = """static double ${n}_moments[$doubles]; /* means and squares of normalisations */
"""

_PREDICT = """
int ${n}_predict(const float *image, float *outputs)
{
    /* NaN and infinity are the numbers whose exponent bits are all set. */
    for (int i = 0; i < ${N}_INPUTS; i++)
        if (($bits(image[i]) & 0x7f800000u) == 0x7f800000u) return 1;
$calls    return 0;
}
"""

_DECLARATIONS = """
#define ${N}_INPUTS $inputs /* $input_shape */
#define ${N}_OUTPUTS $outputs /* $output_shape */
#define ${N}_RAM_BYTES $ram
#define ${N}_WEIGHT_BYTES $weights

/*
 * $predicts
 *
 * image: ${N}_INPUTS floats, $order. $prepared
 * outputs: ${N}_OUTPUTS floats, $meaning.
 *
 * Returns 0, or 1 where the image holds NaN or infinity: the outputs are then as they were. Not for two threads at
 * once.
 */
int ${n}_predict(const float *image, float *outputs);
"""

_NORMALISE = """
/* Bytes of an image, channel by channel, as ${n}_predict takes them: value * scale + offset */
void ${n}_prepare(const unsigned char *pixels, float *image);
"""

_PREPARE = """
void ${n}_prepare(const unsigned char *pixels, float *image)
{
    static const float scale[$channels] = {$scales}, offset[$channels] = {$offsets};
    for (int c = 0; c < $channels; c++)
        for (int i = c * $pixels; i < (c + 1) * $pixels; i++) image[i] = (float)pixels[i] * scale[c] + offset[c];
}
"""


def c_file(network: AnyNetwork, unit: Unit, options: Options) -> str:
    """The text of the C file."""
    n, simd = options.prefix, options.simd
    exported_ = unit.exported
    declarations = _declarations(network, unit, options)
    parts = [_top(network, unit)]
    parts.append(f'\n#include "{options.header}"\n' if options.header else declarations)
    parts.append("\n#include <stdint.h>\n" + fill(_GUARDS, n=n, N=n.upper()))
    parts.append(_memory(exported_, n))
    parts.append("\n/* ---- weights " + "-" * 100 + " */\n")
    parts += [_declared(table) if options.separate else _table(table, "static ") for table in unit.tables]
    parts.append("\n/* ---- functions " + "-" * 98 + " */\n")
    names = dict.fromkeys(["bits", *unit.helpers])
    parts.append(written(names, n))
    if unit.loops:
        parts.append(fill(TYPES if simd else KEEP_LOOP, n=n, N=n.upper()))
    parts += [loop.text(n) for loop in sorted(unit.loops, key=lambda each: each.name)]
    parts.append("\n/* ---- layers " + "-" * 101 + " */\n")
    parts += unit.functions
    if isinstance(network, QuantizedNetwork):
        parts.append(whole.predict(unit, network, bool(factors_of(network))))
    else:
        parts.append(fill(_PREDICT, n=n, N=n.upper(), bits=f"{n}_bits", calls="".join(unit.calls)))
    parts.append(_names(network, n))
    parts.append(_prepare(network, n))
    if options.vector is not None:
        parts.append(bench(options.vector, n))
    return "".join(parts)


def weights_file(unit: Unit, options: Options) -> str:
    """The text of the file that has the tables, where they are to lie apart."""
    head = f"/* The weights of {options.prefix}_predict: {unit.table_bytes} bytes. */\n\n#include <stdint.h>\n\n"
    declared = "".join(_declared(table) for table in unit.tables)
    return head + declared + "".join(_table(table, "") for table in unit.tables)


def header_file(network: AnyNetwork, unit: Unit, options: Options) -> str:
    """The text of the header."""
    guard = f"{options.prefix.upper()}_H_"
    return (
        f"#ifndef {guard}\n#define {guard}\n{_top(network, unit)}"
        + "\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n"
        + _declarations(network, unit, options)
        + "\n#ifdef __cplusplus\n}\n#endif\n\n#endif\n"
    )  # fmt: skip


def _top(network: AnyNetwork, unit: Unit) -> str:
    floats = not isinstance(network, QuantizedNetwork)
    held = (
        f"{network.num_parameters:,} parameters" if not isinstance(network, QuantizedNetwork) else "integer arithmetic"
    )
    title = f"A network of {len(network.layers)} layers and {held} as C."
    bits = _OF_FLOATS if floats else whole.BITS
    return fill(_TOP, title=title, bits=bits, weights=unit.table_bytes, ram=unit.exported.ram_bytes)


def _memory(exported_: Exported, n: str) -> str:
    kind, count = ("uint8_t", exported_.arena_bytes) if exported_.in_bytes else ("float", exported_.arena_bytes // 4)
    moments = fill(_MOMENTS, n=n, doubles=exported_.doubles) if exported_.doubles else ""
    total = f"sizeof {n}_arena" if exported_.arena_bytes else "0"
    total += f" + sizeof {n}_moments" if exported_.doubles else ""
    arena = fill(_ARENA, n=n, kind=kind, count=max(count, 1)) if exported_.arena_bytes else ""
    return fill(_MEMORY, n=n, N=n.upper(), arena=arena, moments=moments, sum=total)


def _table(table: Table, linkage: str) -> str:
    return f"{linkage}const {table.kind} {table.name}[{table.count}] = {{\n{table.text}}};\n"


def _declared(table: Table) -> str:
    return f"extern const {table.kind} {table.name}[{table.count}];\n"


def _declarations(network: AnyNetwork, unit: Unit, options: Options) -> str:
    n = options.prefix
    softmax = any(isinstance(node.layer, Softmax) and node.name == network.topology.output
                  for node in network.topology.nodes)  # fmt: skip
    order = "channels, then rows, then columns" if len(network.input_shape) == 3 else "in their order"
    names = ""
    if network.class_names:
        names = "\n/* The names of the outputs, UTF-8 */\n"
        names += f"extern const char *const {n}_class_names[{len(network.class_names)}];\n"
    return (
        fill(
            _DECLARATIONS,
            n=n,
            N=n.upper(),
            inputs=math.prod(network.input_shape),
            outputs=math.prod(network.output_shape),
            input_shape=" x ".join(map(str, network.input_shape)),
            output_shape=" x ".join(map(str, network.output_shape)),
            ram=unit.exported.ram_bytes,
            weights=unit.table_bytes,
            predicts="What the last layer gives for an image.",
            order=order,
            prepared=comment(in_words(network)),
            meaning="probabilities, which add up to 1" if softmax else "the last layer's, which is no Softmax",
        )
        + names
        + (fill(_NORMALISE, n=n) if factors_of(network) else "")
        + (whole.declarations(network, n, bool(factors_of(network))) if isinstance(network, QuantizedNetwork) else "")
    )


def _prepare(network: AnyNetwork, n: str) -> str:
    factors = factors_of(network)
    if factors is None:
        return ""
    scales, offsets = (", ".join(number(value) for value in values) for values in factors)
    channels, height, width = network.input_shape
    return fill(_PREPARE, n=n, channels=channels, pixels=height * width, scales=scales, offsets=offsets)


def _names(network: AnyNetwork, n: str) -> str:
    if not network.class_names:
        return ""
    lines = "".join(f"    {string(name)},\n" for name in network.class_names)
    return f"\nconst char *const {n}_class_names[{len(network.class_names)}] = {{\n{lines}}};\n"
