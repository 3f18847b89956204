/* Sums in a fixed order, vectorised over the elements that are summed side by side. */
#ifndef CNN_BODY_SUMS_H
#define CNN_BODY_SUMS_H

#include "kernels.h"

/* `vectors` side by side: as many sums that do not wait for one another, of whole cache lines */
static inline __attribute__((always_inline)) void add_rows_body(float *restrict dst, const float *restrict src,
                                                                ptrdiff_t rows, ptrdiff_t stride, const int vectors)
{
    simd_float sum[8];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++) sum[v] = simd_load(dst + v * SIMD_WIDTH);
    for (ptrdiff_t r = 0; r < rows; r++, src += stride)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) sum[v] = simd_add(sum[v], simd_load(src + v * SIMD_WIDTH));
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++) simd_store(dst + v * SIMD_WIDTH, sum[v]);
}

static void add_rows(float *restrict dst, const float *restrict src, ptrdiff_t rows, ptrdiff_t columns,
                     ptrdiff_t stride)
{
    ptrdiff_t j = 0;
    for (; j + 8 * SIMD_WIDTH <= columns; j += 8 * SIMD_WIDTH) add_rows_body(dst + j, src + j, rows, stride, 8);
    for (; j + 4 * SIMD_WIDTH <= columns; j += 4 * SIMD_WIDTH) add_rows_body(dst + j, src + j, rows, stride, 4);
    for (; j + SIMD_WIDTH <= columns; j += SIMD_WIDTH) add_rows_body(dst + j, src + j, rows, stride, 1);
    if (j < columns) {
        const ptrdiff_t left = columns - j;
        simd_float sum = simd_load_part(dst + j, left);
        for (ptrdiff_t r = 0; r < rows; r++) sum = simd_add(sum, simd_load_part(src + r * stride + j, left));
        simd_store_part(dst + j, sum, left);
    }
}

static void sum_parts(float *restrict dst, const float *restrict src, ptrdiff_t parts, ptrdiff_t count,
                      ptrdiff_t stride)
{
    ptrdiff_t i = 0;
    for (; i + SIMD_WIDTH <= count; i += SIMD_WIDTH) {
        simd_float sum = simd_load(src + i);
        for (ptrdiff_t part = 1; part < parts; part++) sum = simd_add(sum, simd_load(src + part * stride + i));
        simd_store(dst + i, sum);
    }
    for (; i < count; i++) {
        float sum = src[i];
        for (ptrdiff_t part = 1; part < parts; part++) sum += src[part * stride + i];
        dst[i] = sum;
    }
}

#endif
