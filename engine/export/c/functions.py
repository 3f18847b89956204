"""exp, tanh and their kin as C text, for the file that has to bring its own.

The same polynomials in the same order as csrc/src/bodies/math.h, which says where they are from and how large their
errors are: so that a file gives the bits of the engine's plain instruction set. The engine runs with numbers below the
smallest normal one flushed to 0; here `flush` does so where a function can give them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from engine.export.c.text import fill

FUNCTIONS: dict[str, str] = {
    "word": """
typedef union {
    float value;
    uint32_t bits;
} ${n}_word;
""",
    "bits": """
static uint32_t ${n}_bits(float x)
{
    ${n}_word word;
    word.value = x;
    return word.bits;
}
""",
    "of_bits": """
static float ${n}_of_bits(uint32_t bits)
{
    ${n}_word word;
    word.bits = bits;
    return word.value;
}
""",
    "flush": """
/* 0 of the same sign in place of a number below the smallest normal one */
static float ${n}_flush(float x)
{
    const uint32_t bits = ${n}_bits(x);
    return (bits & 0x7f800000u) == 0 ? ${n}_of_bits(bits & 0x80000000u) : x;
}
""",
    "bounded": """
/* x between low and high; NaN stays */
static float ${n}_bounded(float x, float low, float high)
{
    x = low > x ? low : x;
    return high < x ? high : x;
}
""",
    "polynomial": """
/* highest power first (Horner) */
static float ${n}_polynomial(float x, const float *coefficients, int count)
{
    float sum = coefficients[0];
    int i;
    for (i = 1; i < count; i++) sum = sum * x + coefficients[i];
    return sum;
}
""",
    "reduce": """
/* x = n ln 2 + r with |r| <= ln 2 / 2, for |x| up to 104: r, and n in *power */
static float ${n}_reduce(float x, int32_t *power)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23: leaves the nearest integer in the low bits */
    const float shifted = x * 1.44269504088896341f + magic, n = shifted - magic;
    *power = (int32_t)(${n}_bits(shifted) - ${n}_bits(magic));
    return n * 2.12194440e-4f + (n * -0.693359375f + x);
}
""",
    "small_expm1": """
/* e^r - 1 for |r| <= ln 2 / 2 */
static float ${n}_small_expm1(float r)
{
    static const float coefficients[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                         4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
    return ${n}_polynomial(r, coefficients, 6) * (r * r) + r;
}
""",
    "scaled": """
/* y * 2^power, in two halves: neither overflows where the product does not */
static float ${n}_scaled(float y, int32_t power)
{
    const int32_t half = (power - (power & 1)) / 2, rest = power - half;
    y = y * ${n}_of_bits((uint32_t)(half + 127) << 23);
    return ${n}_flush(y * ${n}_of_bits((uint32_t)(rest + 127) << 23));
}
""",
    "exp": """
/* e^x: 0 below -104, infinity above 89 */
static float ${n}_exp(float x)
{
    int32_t power;
    const float r = ${n}_reduce(${n}_bounded(x, -104.0f, 89.0f), &power);
    return ${n}_scaled(${n}_small_expm1(r) + 1.0f, power);
}
""",
    "exp_times": """
/* factor * e^(x + rest) for x <= 0 and a rest of its rounding, 0 below -104 */
static float ${n}_exp_times(float x, float rest, float factor)
{
    int32_t power;
    const float r = ${n}_reduce(-104.0f > x ? -104.0f : x, &power);
    return ${n}_scaled((${n}_small_expm1(r + rest) + 1.0f) * factor, power);
}
""",
    "expm1": """
/* e^x - 1 for x <= 0, -1 below -18 */
static float ${n}_expm1(float x)
{
    int32_t power;
    const float y = ${n}_small_expm1(${n}_reduce(${n}_bounded(x, -18.0f, 0.0f), &power));
    const float scale = ${n}_of_bits((uint32_t)(power + 127) << 23);
    return scale * y + (scale - 1.0f);
}
""",
    "log": """
/* ln x for normal x > 0, infinity and NaN */
static float ${n}_log(float x)
{
    static const float coefficients[] = {7.0376836292e-2f,  -1.1514610310e-1f, 1.1676998740e-1f,
                                         -1.2420140846e-1f, 1.4249322787e-1f,  -1.6668057665e-1f,
                                         2.0000714765e-1f,  -2.4999993993e-1f, 3.3333331174e-1f};
    /* x = 2^e * m with m in [sqrt(1/2), sqrt(2)) */
    const uint32_t biased = ${n}_bits(x) + (0x3f800000u - 0x3f3504f3u);
    const float e = (float)((int32_t)(biased >> 23) - 127);
    const float f = ${n}_of_bits((biased & 0x007fffffu) + 0x3f3504f3u) - 1.0f, z = f * f;
    float y = ${n}_polynomial(f, coefficients, 9) * f * z;
    if (x != x || (${n}_bits(x) & 0x7fffffffu) == 0x7f800000u) return x;
    y = e * -2.12194440e-4f + y;
    y = -0.5f * z + y;
    return e * 0.693359375f + (f + y);
}
""",
    "size": """
static float ${n}_size(float x) { return ${n}_of_bits(${n}_bits(x) & 0x7fffffffu); }
""",
    "negative": """
static float ${n}_negative(float x) { return ${n}_of_bits(${n}_bits(x) ^ 0x80000000u); }
""",
    "sigmoid": """
static float ${n}_sigmoid(float x) { return ${n}_flush(1.0f / (1.0f + ${n}_exp(${n}_negative(x)))); }
""",
    "tanh": """
/* an odd polynomial near zero, 1 - 2 / (e^2|x| + 1) elsewhere */
static float ${n}_tanh(float x)
{
    static const float coefficients[] = {-5.70498872745e-3f, 2.06390887954e-2f, -5.37397155531e-2f, 1.33314422036e-1f,
                                         -3.33332819422e-1f};
    const float size = ${n}_size(x), z = x * x;
    const float large = 1.0f - 2.0f / (${n}_exp(size + size) + 1.0f);
    if (size < 0.625f) return ${n}_polynomial(z, coefficients, 5) * z * x + x;
    return ${n}_of_bits(${n}_bits(large) | (${n}_bits(x) & 0x80000000u));
}
""",
    "softplus": """
/* ln(1 + e^x); the rounding of 1 + u is given back to first order */
static float ${n}_softplus(float x)
{
    const float u = ${n}_exp(${n}_negative(${n}_size(x))), y = 1.0f + u;
    return (0.0f > x ? 0.0f : x) + (${n}_log(y) + (u - (y - 1.0f)) / y);
}
""",
    "gelu": """
/* x * P(X <= x) for a normal X. With a = |x| the tail is e^(-a^2 / 2) times t, times a polynomial of
 * t = 1 / (1 + a / 2); the rounding of the square goes in with it, from products of halves of 12
 * bits, which are exact. */
static float ${n}_gelu(float x)
{
    static const float coefficients[] = {-3.750677407e-2f, 1.785192341e-1f,  -2.890323400e-1f, 5.581317842e-2f,
                                         3.852203786e-1f,  -4.279369116e-1f, 6.188408285e-2f,  2.070944756e-2f,
                                         1.536922008e-1f,  1.991561353e-1f,  1.994813532e-1f};
    const float bound = ${n}_bounded(x, -16.0f, 16.0f), square = bound * bound;
    const float high = ${n}_of_bits(${n}_bits(bound) & 0xfffff000u), low = bound - high;
    const float rest = (high * high - square + 2.0f * high * low) + low * low;
    const float t = 1.0f / (${n}_size(bound) * 0.5f + 1.0f), ratio = ${n}_polynomial(t, coefficients, 11) * t;
    const float part = ${n}_exp_times(square * -0.5f, rest * -0.5f, bound * ratio);
    return x < 0.0f ? part : x - part;
}
""",
    "gated": """
/* x * sigmoid(v), where v has the sign of x; `bound` is x within the numbers beyond which sigmoid(v) is 0 or 1 */
static float ${n}_gated(float x, float bound, float v)
{
    const float below = ${n}_negative(${n}_size(v)), part = ${n}_exp_times(below, 0.0f, bound);
    return ${n}_flush((x < 0.0f ? part : x) / (1.0f + ${n}_exp_times(below, 0.0f, 1.0f)));
}
""",
    "silu": """
static float ${n}_silu(float x)
{
    const float bound = ${n}_bounded(x, -128.0f, 128.0f);
    return ${n}_gated(x, bound, bound);
}
""",
    "gelu_tanh": """
static float ${n}_gelu_tanh(float x)
{
    const float bound = ${n}_bounded(x, -16.0f, 16.0f), square = bound * bound;
    return ${n}_gated(x, bound, bound * (square * 0.0713548162726002527f + 1.59576912160573071f));
}
""",
    "hardsigmoid": """
static float ${n}_hardsigmoid(float x) { return ${n}_bounded(x + 3.0f, 0.0f, 6.0f) / 6.0f; }
""",
    "hardswish": """
static float ${n}_hardswish(float x) { return (-3.0f > x ? -3.0f : x) * (${n}_bounded(x + 3.0f, 0.0f, 6.0f) / 6.0f); }
""",
    "relu": """
static float ${n}_relu(float x) { return x < 0.0f ? 0.0f : x; }
""",
    "relu6": """
static float ${n}_relu6(float x) { return ${n}_bounded(x, 0.0f, 6.0f); }
""",
    "leaky_relu": """
static float ${n}_leaky_relu(float x, float slope) { return x < 0.0f ? x * slope : x; }
""",
    "elu": """
static float ${n}_elu(float x, float alpha) { return x < 0.0f ? alpha * ${n}_expm1(x) : x; }
""",
    "larger": """
/* the largest so far; the first of equals stays, NaN wins over everything before it */
static float ${n}_larger(float best, float next) { return next > best || next != next ? next : best; }
""",
    "square_root": """
/* of a positive, normal double, rounded as IEEE 754 asks: bit by bit */
static double ${n}_square_root(double x)
{
    union {
        double value;
        uint64_t bits;
    } word;
    uint64_t left, root = 0, base = 0, bit;
    int32_t exponent;
    word.value = x;
    exponent = (int32_t)(word.bits >> 52) - 1023;
    if (exponent == 1024) return x;
    left = (word.bits & 0xfffffffffffffu) | 0x10000000000000u;
    if (exponent & 1) {
        left += left;
        exponent--;
    }
    for (bit = (uint64_t)1 << 53; bit != 0; bit >>= 1) {
        left += left;
        if (base + bit <= left) {
            base += bit;
            left -= base;
            base += bit;
            root += bit;
        }
    }
    word.bits = ((root + (root & 1)) >> 1) - 0x10000000000000u + ((uint64_t)(exponent / 2 + 1023) << 52);
    return word.value;
}
""",
}
"""Name → the text of a static function, or of a type."""


FUNCTIONS |= {
    "code": """
static uint8_t ${n}_code(int64_t x, int low, int high)
{
    return (uint8_t)(x < low ? low : x > high ? high : x);
}
""",
    "rounded": """
/* x / 2^shift to the nearest, a half to even; shift up to 30, and x with half of 2^shift fits */
static int32_t ${n}_rounded(int32_t x, int shift)
{
    const int32_t below = x < 0 ? ~(~x >> shift) : x >> shift;
    const uint32_t rest = (uint32_t)x & (((uint32_t)1 << shift) - 1u), half = ((uint32_t)1 << shift) / 2u;
    return below + (half > 0 && (rest > half || (rest == half && below % 2 != 0)));
}
""",
    "rounded_long": """
/* The same of a product of 64 bits */
static int64_t ${n}_rounded_long(int64_t x, int shift)
{
    const int64_t below = x < 0 ? ~(~x >> shift) : x >> shift;
    const uint64_t rest = (uint64_t)x & (((uint64_t)1 << shift) - 1u), half = ((uint64_t)1 << shift) / 2u;
    return below + (half > 0 && (rest > half || (rest == half && below % 2 != 0)));
}
""",
    "divided": """
/* x / by to the nearest, a half to even */
static int64_t ${n}_divided(int64_t x, int64_t by)
{
    int64_t below = x / by, rest = x % by;
    if (rest < 0) below--, rest += by;
    return below + (rest > by - rest || (rest == by - rest && below % 2 != 0));
}
""",
}


def written(names: Iterable[str], prefix: str) -> str:
    """The text of these functions and all that they call, each behind those that it calls."""
    order: list[str] = []

    def visit(name: str) -> None:
        if name not in order:
            for called in re.findall(r"\$\{n\}_(\w+)", FUNCTIONS[name]):
                if called != name:
                    visit(called)
            order.append(name)

    for name in names:
        visit(name)
    return "".join(fill(FUNCTIONS[name], n=prefix) for name in order)
