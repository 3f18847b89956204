/* Rows of channels times a vector of factors, or plus one of terms. */
#ifndef CNN_BODY_FACTORS_H
#define CNN_BODY_FACTORS_H

#include "bodies/vector.h"
#include "kernels.h"

enum { FACTORS_NARROW = 64 }; /* rows shorter than this leave too much of their last vector unused */

/* What is done with a factor; known at compile time. KEEP: one of 0 makes 0 of anything, NaN and infinity too. */
typedef enum factor_use { FACTOR_MULTIPLY, FACTOR_KEEP, FACTOR_ADD } factor_use;

static inline __attribute__((always_inline)) simd_float factor_lanes(simd_float x, simd_float factor,
                                                                     const factor_use use)
{
    if (use == FACTOR_ADD) return x + factor;
    const simd_float product = x * factor;
    return use == FACTOR_KEEP ? simd_keep(simd_less(simd_zero(), factor), product) : product;
}

static inline __attribute__((always_inline)) void factor_row(float *dst, const float *src, const float *factors,
                                                             ptrdiff_t c, const factor_use use)
{
    ptrdiff_t j = 0;
    for (; j + SIMD_WIDTH <= c; j += SIMD_WIDTH)
        simd_store(dst + j, factor_lanes(simd_load(src + j), simd_load(factors + j), use));
    if (j < c) {
        const simd_float x = simd_load_part(src + j, c - j), factor = simd_load_part(factors + j, c - j);
        simd_store_part(dst + j, factor_lanes(x, factor, use), c - j);
    }
}

/* Narrow rows, one behind the other: the factors are repeated until they end with a vector. */
static inline __attribute__((always_inline)) void factor_narrow_rows(float *dst, const float *src, const float *factors,
                                                                     ptrdiff_t rows, ptrdiff_t c, const factor_use use)
{
    float repeated[FACTORS_NARROW * SIMD_WIDTH];
    const ptrdiff_t count = rows * c;
    ptrdiff_t period = c, i = 0, at = 0;
    while (period % SIMD_WIDTH) period += c;
    for (ptrdiff_t j = 0; j < period; j++) repeated[j] = j < c ? factors[j] : repeated[j - c];
    for (; i + SIMD_WIDTH <= count; i += SIMD_WIDTH) {
        simd_store(dst + i, factor_lanes(simd_load(src + i), simd_load(repeated + at), use));
        at = at + SIMD_WIDTH == period ? 0 : at + SIMD_WIDTH;
    }
    if (i < count) {
        const simd_float x = simd_load_part(src + i, count - i);
        simd_store_part(dst + i, factor_lanes(x, simd_load(repeated + at), use), count - i);
    }
}

static inline __attribute__((always_inline)) void factor_rows(float *dst, const float *src, const float *factors,
                                                              ptrdiff_t rows, ptrdiff_t c, const factor_use use)
{
    if (rows > 1 && c < FACTORS_NARROW)
        factor_narrow_rows(dst, src, factors, rows, c, use);
    else
        for (ptrdiff_t r = 0; r < rows; r++) factor_row(dst + r * c, src + r * c, factors, c, use);
}

static void multiply_rows(float *dst, const float *src, const float *factors, ptrdiff_t rows, ptrdiff_t c)
{
    factor_rows(dst, src, factors, rows, c, FACTOR_MULTIPLY);
}

static void keep_rows(float *dst, const float *src, const float *factors, ptrdiff_t rows, ptrdiff_t c)
{
    factor_rows(dst, src, factors, rows, c, FACTOR_KEEP);
}

static void shift_rows(float *dst, const float *src, const float *terms, ptrdiff_t rows, ptrdiff_t c)
{
    factor_rows(dst, src, terms, rows, c, FACTOR_ADD);
}

#endif
