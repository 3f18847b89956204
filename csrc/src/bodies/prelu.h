/* The activation with slopes of its own for columns, and its gradient: rows of columns, summed as in norm.h. */
#ifndef CNN_BODY_PRELU_H
#define CNN_BODY_PRELU_H

#include "bodies/norm.h"

static inline __attribute__((always_inline)) void prelu_lanes(float *dst, const float *src, const float *slopes,
                                                              ptrdiff_t j, ptrdiff_t left, const bool whole)
{
    const simd_float x = norm_load(src + j, left, whole), slope = norm_load(slopes + j, left, whole);
    norm_store(dst + j, simd_select(simd_less(x, simd_zero()), x * slope, x), left, whole);
}

static void prelu(float *dst, const float *src, const float *slopes, ptrdiff_t rows, ptrdiff_t columns,
                  ptrdiff_t stride)
{
    for (ptrdiff_t r = 0; r < rows; r++) {
        ptrdiff_t j = 0;
        for (; j + SIMD_WIDTH <= columns; j += SIMD_WIDTH)
            prelu_lanes(dst + r * stride, src + r * stride, slopes, j, SIMD_WIDTH, true);
        if (j < columns) prelu_lanes(dst + r * stride, src + r * stride, slopes, j, columns - j, false);
    }
}

/* At 0 the slope is that of the negative side (PyTorch's choice). */
static inline __attribute__((always_inline)) void
prelu_backward_lanes(float *totals, float *diff_src, const float *diff_dst, const float *src, const float *slopes,
                     ptrdiff_t j, const int rows, ptrdiff_t stride, ptrdiff_t left, const bool whole)
{
    const simd_float slope = norm_load(slopes + j, left, whole);
    simd_float total = simd_load(totals + j);
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
        const simd_float x = norm_load(src + r * stride + j, left, whole);
        const simd_float diff = norm_load(diff_dst + r * stride + j, left, whole);
        const simd_mask below = simd_at_most(x, simd_zero());
        total = simd_add(total, simd_keep(below, diff * x));
        norm_store(diff_src + r * stride + j, diff * simd_select(below, slope, simd_set1(1.0f)), left, whole);
    }
    simd_store(totals + j, total);
}

static inline __attribute__((always_inline)) void prelu_backward_rows(float *totals, float *diff_src,
                                                                      const float *diff_dst, const float *src,
                                                                      const float *slopes, const int rows,
                                                                      ptrdiff_t columns, ptrdiff_t stride)
{
    ptrdiff_t j = 0;
    for (; j + SIMD_WIDTH <= columns; j += SIMD_WIDTH)
        prelu_backward_lanes(totals, diff_src, diff_dst, src, slopes, j, rows, stride, SIMD_WIDTH, true);
    if (j < columns) prelu_backward_lanes(totals, diff_src, diff_dst, src, slopes, j, rows, stride, columns - j, false);
}

static void prelu_backward(float *diff_src, double *restrict products, const float *diff_dst, const float *src,
                           const float *slopes, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t stride)
{
    float totals[CNN_NORM_COLUMNS + SIMD_WIDTH];
    for (ptrdiff_t r = 0; r < rows;) {
        const ptrdiff_t end = rows - r < NORM_BLOCK ? rows : r + NORM_BLOCK;
        for (ptrdiff_t j = 0; j < columns + SIMD_WIDTH; j++) totals[j] = 0.0f;
        for (; r < end; r += end - r < NORM_ROWS ? 1 : NORM_ROWS) {
            const ptrdiff_t at = r * stride;
            if (end - r >= NORM_ROWS)
                prelu_backward_rows(totals, diff_src + at, diff_dst + at, src + at, slopes, NORM_ROWS, columns, stride);
            else
                prelu_backward_rows(totals, diff_src + at, diff_dst + at, src + at, slopes, 1, columns, stride);
        }
        for (ptrdiff_t j = 0; j < columns; j++) products[j] += (double)totals[j];
    }
}

#endif
