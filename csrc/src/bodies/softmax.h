/* exp(x - max) row by row: what softmax and cross-entropy share. */
#ifndef CNN_BODY_SOFTMAX_H
#define CNN_BODY_SOFTMAX_H

#include "bodies/math.h"
#include "kernels.h"

/* The differences of all rows lie side by side before exp runs over them in one sweep: a row may be short. */
static void exp_rows(float *restrict dst, float *restrict largest, const float *restrict src, ptrdiff_t rows,
                     ptrdiff_t c)
{
    for (ptrdiff_t r = 0; r < rows; r++) {
        const float *restrict in = src + r * c;
        float *restrict out = dst + r * c;
        float most = in[0];
        for (ptrdiff_t j = 1; j < c; j++) most = in[j] > most ? in[j] : most;
        largest[r] = most;
        for (ptrdiff_t j = 0; j < c; j++) out[j] = in[j] - most;
    }
    const ptrdiff_t count = rows * c;
    ptrdiff_t i = 0;
    for (; i + SIMD_WIDTH <= count; i += SIMD_WIDTH) simd_store(dst + i, math_exp(simd_load(dst + i)));
    if (i < count) simd_store_part(dst + i, math_exp(simd_load_part(dst + i, count - i)), count - i);
}

#endif
