/* Vectors of double, half as many lanes as simd_float: for sums that float cannot hold. */
#ifndef CNN_BODY_WIDE_H
#define CNN_BODY_WIDE_H

#include <string.h>

typedef double simd_double __attribute__((vector_size(SIMD_WIDTH / 2 * sizeof(double))));
typedef float simd_half __attribute__((vector_size(SIMD_WIDTH / 2 * sizeof(float))));

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
