/*
 * exp, log and their kin in float, branch-free, so that loops over them vectorise and give the same bits in every lane.
 *
 * Method: Cody & Waite (Software Manual for the Elementary Functions, 1980) argument reduction with ln 2 split in two
 * parts, then the minimax polynomials of Moshier's Cephes library (single precision). Multiply and add round apart, so
 * that all instruction sets agree. Relative errors stay below 2e-7 (exp, log), 3e-7 (sigmoid, tanh).
 */
#ifndef CNN_BODY_MATH_H
#define CNN_BODY_MATH_H

#include <stdint.h>
#include <string.h>

static inline uint32_t math_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float math_float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* e^x: 0 below -104, infinity above 89, NaN for NaN. The power of two is applied in two halves: neither overflows
 * where the result does not, and results below the smallest normal number round once. */
static inline float math_exp(float x)
{
    const float round_magic = 12582912.0f; /* 1.5 * 2^23: adding it leaves the nearest integer in the low bits */
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;
    const float shifted = x * 1.44269504088896341f + round_magic;
    const float n = shifted - round_magic;
    const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    const float y = (p * (r * r) + r) + 1.0f;
    const int32_t power = (int32_t)(math_bits(shifted) - math_bits(round_magic));
    const int32_t half = power >> 1;
    const float low = math_float((uint32_t)(half + 127) << 23);
    const float high = math_float((uint32_t)(power - half + 127) << 23);
    return y * low * high;
}

/* ln x for normal x > 0; -infinity at 0 and below the smallest normal number, NaN for x < 0 and NaN. */
static inline float math_log(float x)
{
    const float tiny = 1.17549435e-38f, infinity = math_float(0x7f800000u);
    const uint32_t bits = math_bits(x < tiny ? tiny : x);
    /* x = 2^e * m with m in [sqrt(1/2), sqrt(2)) */
    const uint32_t biased = bits + (0x3f800000u - 0x3f3504f3u);
    const float e = (float)((int32_t)(biased >> 23) - 127);
    const float m = math_float((biased & 0x007fffffu) + 0x3f3504f3u);
    const float f = m - 1.0f, z = f * f;
    float p = 7.0376836292e-2f;
    p = p * f - 1.1514610310e-1f;
    p = p * f + 1.1676998740e-1f;
    p = p * f - 1.2420140846e-1f;
    p = p * f + 1.4249322787e-1f;
    p = p * f - 1.6668057665e-1f;
    p = p * f + 2.0000714765e-1f;
    p = p * f - 2.4999993993e-1f;
    p = p * f + 3.3333331174e-1f;
    float y = p * f * z;
    y = y + e * -2.12194440e-4f;
    y = y - 0.5f * z;
    y = (f + y) + e * 0.693359375f;
    y = x < tiny ? -infinity : y;
    y = x < 0.0f ? math_float(0x7fc00000u) : y;
    y = x == infinity ? infinity : y;
    return x != x ? x : y;
}

/* ln(1 + u) for u >= 0, accurate for small u: the rounding of 1 + u is given back to first order. */
static inline float math_log1p(float u)
{
    const float y = 1.0f + u;
    return math_log(y) + (u - (y - 1.0f)) / y;
}

static inline float math_sigmoid(float x) { return 1.0f / (1.0f + math_exp(-x)); }

/* An odd polynomial near zero, 1 - 2 / (e^2|x| + 1) elsewhere. */
static inline float math_tanh(float x)
{
    const float size = math_float(math_bits(x) & 0x7fffffffu);
    const float z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    const float small = p * z * x + x;
    const float large = 1.0f - 2.0f / (math_exp(size + size) + 1.0f);
    const float signed_large = math_float(math_bits(large) | (math_bits(x) & 0x80000000u));
    return size < 0.625f ? small : signed_large;
}

#endif
