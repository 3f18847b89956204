/*
 * exp, log and their kin in float, without branches: every lane takes the same path, so that the bits do not depend on
 * where in a vector an element lies.
 *
 * Method: Cody & Waite (Software Manual for the Elementary Functions, 1980) argument reduction with ln 2 split in two
 * parts, then the minimax polynomials of Moshier's Cephes library (single precision). Relative errors stay below 1e-7
 * (exp, expm1, log) and 2e-7 (log1p, sigmoid, tanh) where the result is a normal number.
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

/* x = n ln 2 + r with |r| <= ln 2 / 2, for |x| up to 104: e^r - 1, and n in *power. NaN for NaN, with any n. */
static inline simd_float math_reduced_expm1(simd_float x, simd_int *power)
{
    static const float coefficients[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                         4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
    const simd_float magic = simd_set1(12582912.0f); /* 1.5 * 2^23: leaves the nearest integer in the low bits */
    const simd_float shifted = simd_fma(x, simd_set1(1.44269504088896341f), magic), n = shifted - magic;
    const simd_float r = simd_fma(n, simd_set1(2.12194440e-4f), simd_fma(n, simd_set1(-0.693359375f), x));
    *power = simd_bits(shifted) - simd_bits(magic);
    return simd_fma(math_polynomial(r, coefficients, 6), r * r, r);
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

#endif
