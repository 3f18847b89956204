/* What the bodies need beyond simd_*.h and what GNU C vectors give on every instruction set: masks, and vectors of
 * double for sums that float cannot hold. */
#ifndef CNN_BODY_VECTOR_H
#define CNN_BODY_VECTOR_H

#include <stdint.h>
#include <string.h>

/* As bits or as a mask: a lane is all ones where a comparison holds. */
typedef int32_t simd_int __attribute__((vector_size(SIMD_WIDTH * sizeof(int32_t))));
typedef double simd_double __attribute__((vector_size(SIMD_WIDTH / 2 * sizeof(double))));
typedef float simd_half __attribute__((vector_size(SIMD_WIDTH / 2 * sizeof(float))));

static inline simd_int simd_bits(simd_float v)
{
    simd_int bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static inline simd_float simd_of_bits(simd_int bits)
{
    simd_float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static inline simd_float simd_select(simd_int mask, simd_float yes, simd_float no)
{
    return simd_of_bits((mask & simd_bits(yes)) | (~mask & simd_bits(no)));
}

/* Comparisons with NaN are false. */
static inline simd_int simd_less(simd_float a, simd_float b) { return (simd_int)(a < b); }
static inline simd_int simd_at_most(simd_float a, simd_float b) { return (simd_int)(a <= b); }
static inline simd_int simd_equal(simd_float a, simd_float b) { return (simd_int)(a == b); }
static inline simd_int simd_is_nan(simd_float a) { return (simd_int)(a != a); }

/* SIMD_WIDTH / 2 floats from p, as doubles */
static inline simd_double simd_widen(const float *p)
{
    simd_half half;
    memcpy(&half, p, sizeof half);
    return __builtin_convertvector(half, simd_double);
}

/* p[0 ... SIMD_WIDTH-1] += v */
static inline void simd_add_widened(double *p, simd_float v)
{
    float lanes[SIMD_WIDTH];
    simd_store(lanes, v);
    for (int half = 0; half < 2; half++) {
        simd_double sum;
        memcpy(&sum, p + half * SIMD_WIDTH / 2, sizeof sum);
        sum += simd_widen(lanes + half * SIMD_WIDTH / 2);
        memcpy(p + half * SIMD_WIDTH / 2, &sum, sizeof sum);
    }
}

#endif
