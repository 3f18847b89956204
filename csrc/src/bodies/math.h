/*
 * exp, log and their kin in float, without branches: every lane takes the same path, so that the bits do not depend on
 * where in a vector an element lies.
 *
 * Method: Cody & Waite (Software Manual for the Elementary Functions, 1980) argument reduction with ln 2 split in two
 * parts, then the minimax polynomials of Moshier's Cephes library (single precision). Relative errors stay below 1e-7
 * (exp, expm1, log) and 2e-7 (log1p, sigmoid, tanh) where the result is a normal number, and so far in the tails:
 *   gelu              5e-7; its slope 5e-7 of P + |x p|, the two terms that cancel near x = -0.75
 *   silu, softplus    3e-7; the slope of silu 4e-7 of s + |x s (1 - s)|, which cancel near x = -1.28
 *   gelu_tanh         3e-7 * (1 + |2u|), as 2u is a float; its slope likewise
 * with P and p the distribution function and density of the normal distribution, s the sigmoid.
 */
#ifndef CNN_BODY_MATH_H
#define CNN_BODY_MATH_H

#include "bodies/vector.h"

/* The polynomial with these coefficients, highest power first (Horner). */
static inline __attribute__((always_inline)) simd_float math_polynomial(simd_float x, const float *coefficients,
                                                                        const int count)
{
    simd_float sum = simd_set1(coefficients[0]);
    for (int i = 1; i < count; i++) sum = simd_fma(sum, x, simd_set1(coefficients[i]));
    return sum;
}

static inline simd_float math_negate(simd_float x) { return simd_of_bits(simd_bits(x) ^ INT32_MIN); }
static inline simd_float math_size(simd_float x) { return simd_of_bits(simd_bits(x) & INT32_MAX); }

/* x = n ln 2 + r with |r| <= ln 2 / 2, for |x| up to 104: r, and n in *power. NaN for NaN, with any n. */
static inline simd_float math_reduce(simd_float x, simd_int *power)
{
    const simd_float magic = simd_set1(12582912.0f); /* 1.5 * 2^23: leaves the nearest integer in the low bits */
    const simd_float shifted = simd_fma(x, simd_set1(1.44269504088896341f), magic), n = shifted - magic;
    *power = simd_bits(shifted) - simd_bits(magic);
    return simd_fma(n, simd_set1(2.12194440e-4f), simd_fma(n, simd_set1(-0.693359375f), x));
}

/* e^r - 1 for |r| <= ln 2 / 2 */
static inline simd_float math_small_expm1(simd_float r)
{
    static const float coefficients[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                         4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
    return simd_fma(math_polynomial(r, coefficients, 6), r * r, r);
}

static inline simd_float math_reduced_expm1(simd_float x, simd_int *power)
{
    return math_small_expm1(math_reduce(x, power));
}

/* e^x: 0 below -104, infinity above 89, NaN for NaN. The power of two is applied in two halves: neither overflows
 * where the result does not, and results below the smallest normal number round once. */
static inline simd_float math_exp(simd_float x)
{
    simd_int power;
    x = simd_max(simd_set1(-104.0f), x);
    x = simd_select(simd_less(simd_set1(89.0f), x), simd_set1(89.0f), x);
    const simd_float y = math_reduced_expm1(x, &power) + simd_set1(1.0f);
    const simd_int half = power >> 1;
    return y * simd_of_bits((half + 127) << 23) * simd_of_bits((power - half + 127) << 23);
}

/* y * 2^power, the power applied in two halves. */
static inline simd_float math_scaled(simd_float y, simd_int power)
{
    const simd_int half = power >> 1;
    return y * simd_of_bits((half + 127) << 23) * simd_of_bits((power - half + 127) << 23);
}

/* factor * e^(x + rest) for x <= 0 and a rest of its rounding, 0 below -104. The factor goes in before the power of two:
 * the product keeps its digits where e^x alone is below the smallest normal number. */
static inline simd_float math_exp_times(simd_float x, simd_float rest, simd_float factor)
{
    simd_int power;
    const simd_float r = math_reduce(simd_max(simd_set1(-104.0f), x), &power);
    return math_scaled((math_small_expm1(r + rest) + simd_set1(1.0f)) * factor, power);
}

/* e^x - 1 for x <= 0, -1 below -18, NaN for NaN; 0 for x > 0. It is 2^n (e^r - 1) + (2^n - 1), the second exact: nothing
 * cancels, as n = 0 near 0, and the second outweighs the first elsewhere. */
static inline simd_float math_expm1(simd_float x)
{
    simd_int power;
    x = simd_max(simd_set1(-18.0f), x);
    x = simd_select(simd_less(simd_zero(), x), simd_zero(), x);
    const simd_float y = math_reduced_expm1(x, &power), scale = simd_of_bits((power + 127) << 23);
    return simd_fma(scale, y, scale - simd_set1(1.0f));
}

/* ln x for normal x > 0; -infinity at 0 and below the smallest normal number, NaN for x < 0 and NaN. */
static inline simd_float math_log(simd_float x)
{
    static const float coefficients[] = {7.0376836292e-2f,  -1.1514610310e-1f, 1.1676998740e-1f,
                                         -1.2420140846e-1f, 1.4249322787e-1f,  -1.6668057665e-1f,
                                         2.0000714765e-1f,  -2.4999993993e-1f, 3.3333331174e-1f};
    const simd_float infinity = simd_of_bits(simd_bits(simd_zero()) | 0x7f800000);
    const simd_mask too_small = simd_less(x, simd_set1(1.17549435e-38f));
    /* x = 2^e * m with m in [sqrt(1/2), sqrt(2)) */
    const simd_int biased = simd_bits(simd_select(too_small, simd_set1(1.0f), x)) + (0x3f800000 - 0x3f3504f3);
    const simd_float e = __builtin_convertvector((biased >> 23) - 127, simd_float);
    const simd_float f = simd_of_bits((biased & 0x007fffff) + 0x3f3504f3) - simd_set1(1.0f), z = f * f;
    simd_float y = math_polynomial(f, coefficients, 9) * f * z;
    y = simd_fma(e, simd_set1(-2.12194440e-4f), y);
    y = simd_fma(simd_set1(-0.5f), z, y);
    y = simd_fma(e, simd_set1(0.693359375f), f + y);
    y = simd_select(too_small, math_negate(infinity), y);
    y = simd_select(simd_less(x, simd_zero()), infinity - infinity, y);
    return simd_select(simd_either(simd_equal(x, infinity), simd_is_nan(x)), x, y);
}

/* ln(1 + u) for finite u >= 0, accurate for small u: the rounding of 1 + u is given back to first order. */
static inline simd_float math_log1p(simd_float u)
{
    const simd_float y = simd_set1(1.0f) + u;
    return math_log(y) + (u - (y - simd_set1(1.0f))) / y;
}

static inline simd_float math_sigmoid(simd_float x)
{
    return simd_set1(1.0f) / (simd_set1(1.0f) + math_exp(math_negate(x)));
}

/* An odd polynomial near zero, 1 - 2 / (e^2|x| + 1) elsewhere. */
static inline simd_float math_tanh(simd_float x)
{
    static const float coefficients[] = {-5.70498872745e-3f, 2.06390887954e-2f, -5.37397155531e-2f, 1.33314422036e-1f,
                                         -3.33332819422e-1f};
    const simd_float size = math_size(x), z = x * x, one = simd_set1(1.0f);
    const simd_float small = simd_fma(math_polynomial(z, coefficients, 5) * z, x, x);
    const simd_float large = one - simd_set1(2.0f) / (math_exp(size + size) + one);
    const simd_float with_sign = simd_of_bits(simd_bits(large) | (simd_bits(x) & INT32_MIN));
    return simd_select(simd_less(size, simd_set1(0.625f)), small, with_sign);
}

static inline simd_float math_clamp(simd_float x, float low, float high)
{
    x = simd_max(simd_set1(low), x);
    return simd_select(simd_less(simd_set1(high), x), simd_set1(high), x);
}

/* ln(1 + e^x) */
static inline simd_float math_softplus(simd_float x)
{
    return simd_max(simd_zero(), x) + math_log1p(math_exp(math_negate(math_size(x))));
}

/* x^2 - `square`, the rounding of the square, exactly. Where multiply and add are two roundings, from products of halves of
 * 12 bits, which are exact (Dekker 1971). */
static inline simd_float math_square_rest(simd_float x, simd_float square)
{
#if !defined(SIMD_TWO_ROUNDINGS)
    return simd_fma(x, x, math_negate(square));
#else
    const simd_float high = simd_of_bits(simd_bits(x) & ~0xfff), low = x - high;
    return (high * high - square + simd_set1(2.0f) * high * low) + low * low;
#endif
}

/* What the normal distribution is made of, for |x| up to 16, beyond which its tail is 0 in float: with a = |x|,
 * P(X <= -a) = e^(-a^2 / 2) * ratio, ratio from 1/2 at 0 to about 0.4 / a. */
typedef struct math_tail {
    simd_float exponent, rest, ratio;
} math_tail;

/* The ratio is t times a minimax polynomial of t = 1 / (1 + a / 2), relative error 2.2e-8 in [0, 14]. */
static inline simd_float math_tail_ratio(simd_float a)
{
    static const float coefficients[] = {-3.750677407e-2f, 1.785192341e-1f,  -2.890323400e-1f, 5.581317842e-2f,
                                         3.852203786e-1f,  -4.279369116e-1f, 6.188408285e-2f,  2.070944756e-2f,
                                         1.536922008e-1f,  1.991561353e-1f,  1.994813532e-1f};
    const simd_float t = simd_set1(1.0f) / simd_fma(a, simd_set1(0.5f), simd_set1(1.0f));
    return math_polynomial(t, coefficients, 11) * t;
}

/* For x within +-16. The square has its rounding with it: at x = -13 that would be the sixth digit of the tail. */
static inline math_tail math_tail_of(simd_float x)
{
    const simd_float square = x * x, half = simd_set1(-0.5f);
    return (math_tail){square * half, math_square_rest(x, square) * half, math_tail_ratio(math_size(x))};
}

/* x * P(X <= x): x times the tail below 0, x minus that above. -0 at minus infinity. */
static inline simd_float math_gelu(simd_float x)
{
    const simd_float bounded = math_clamp(x, -16.0f, 16.0f);
    const math_tail tail = math_tail_of(bounded);
    const simd_float part = math_exp_times(tail.exponent, tail.rest, bounded * tail.ratio);
    return simd_select(simd_less(x, simd_zero()), part, x - part);
}

/* P(X <= x) + x * p(x), p(x) = e^(-x^2 / 2) / sqrt(2 pi) */
static inline simd_float math_gelu_slope(simd_float x)
{
    const simd_float bounded = math_clamp(x, -16.0f, 16.0f);
    const math_tail tail = math_tail_of(bounded);
    const simd_float factor = simd_fma(simd_set1(-0.398942280401432678f), math_size(bounded), tail.ratio);
    const simd_float part = math_exp_times(tail.exponent, tail.rest, factor);
    return simd_select(simd_less(x, simd_zero()), part, simd_set1(1.0f) - part);
}

/* x * sigmoid(v), where v has the sign of x; `bounded` is x within the numbers beyond which sigmoid(v) is 0 or 1. */
static inline simd_float math_gated(simd_float x, simd_float bounded, simd_float v)
{
    const simd_float below = math_negate(math_size(v)), one = simd_set1(1.0f);
    const simd_float part = math_exp_times(below, simd_zero(), bounded);
    return simd_select(simd_less(x, simd_zero()), part, x) / (one + math_exp_times(below, simd_zero(), one));
}

/* Its derivative s + x * s * (1 - s) * v', with s = sigmoid(v) and `slope` = v'. */
static inline simd_float math_gated_slope(simd_float bounded, simd_float v, simd_float slope)
{
    const simd_float below = math_negate(math_size(v)), one = simd_set1(1.0f), turn = bounded * slope;
    const simd_float power = math_exp_times(below, simd_zero(), one), large = one / (one + power);
    const simd_float part = math_exp_times(below, simd_zero(), large * simd_fma(turn, large, one));
    return simd_select(simd_less(bounded, simd_zero()), part, large * simd_fma(turn, power * large, one));
}

static inline simd_float math_silu(simd_float x)
{
    const simd_float bounded = math_clamp(x, -128.0f, 128.0f);
    return math_gated(x, bounded, bounded);
}

static inline simd_float math_silu_slope(simd_float x)
{
    const simd_float bounded = math_clamp(x, -128.0f, 128.0f);
    return math_gated_slope(bounded, bounded, simd_set1(1.0f));
}

/* 2u = x * (A + B x^2): A = 2 sqrt(2 / pi), B = 0.044715 * A */
#define MATH_GELU_A 1.59576912160573071f
#define MATH_GELU_B 0.0713548162726002527f

static inline simd_float math_gelu_tanh(simd_float x)
{
    const simd_float bounded = math_clamp(x, -16.0f, 16.0f), square = bounded * bounded;
    return math_gated(x, bounded, bounded * simd_fma(square, simd_set1(MATH_GELU_B), simd_set1(MATH_GELU_A)));
}

static inline simd_float math_gelu_tanh_slope(simd_float x)
{
    const simd_float bounded = math_clamp(x, -16.0f, 16.0f), square = bounded * bounded, a = simd_set1(MATH_GELU_A);
    return math_gated_slope(bounded, bounded * simd_fma(square, simd_set1(MATH_GELU_B), a),
                            simd_fma(square, simd_set1(3.0f * MATH_GELU_B), a));
}

#endif
