/*
 * Batch normalisation over a matrix of rows and columns, `stride` elements from row to row. Every column has its own
 * mean, scale and shift. Sums run over at most NORM_BLOCK rows in float before they are added to the double totals.
 */
#ifndef CNN_BODY_NORM_H
#define CNN_BODY_NORM_H

#include "bodies/vector.h"
#include "kernels.h"

enum { NORM_BLOCK = 64, NORM_VECTORS = 4 };

static inline ptrdiff_t norm_block(ptrdiff_t rows, ptrdiff_t first)
{
    return rows - first < NORM_BLOCK ? rows - first : NORM_BLOCK;
}

/* Adds the first `left` lanes to p. */
static inline void norm_add_part(double *p, simd_float v, ptrdiff_t left)
{
    float lanes[SIMD_WIDTH];
    simd_store(lanes, v);
    for (ptrdiff_t i = 0; i < left; i++) p[i] += lanes[i];
}

static void column_sums(double *restrict sum, const float *restrict src, ptrdiff_t rows, ptrdiff_t columns,
                        ptrdiff_t stride)
{
    for (ptrdiff_t first = 0; first < rows; first += NORM_BLOCK) {
        const ptrdiff_t block = norm_block(rows, first);
        const float *restrict in = src + first * stride;
        ptrdiff_t j = 0;
        for (; j + NORM_VECTORS * SIMD_WIDTH <= columns; j += NORM_VECTORS * SIMD_WIDTH) {
            simd_float total[NORM_VECTORS];
#pragma GCC unroll 4
            for (int v = 0; v < NORM_VECTORS; v++) total[v] = simd_zero();
            for (ptrdiff_t r = 0; r < block; r++)
#pragma GCC unroll 4
                for (int v = 0; v < NORM_VECTORS; v++)
                    total[v] = simd_add(total[v], simd_load(in + r * stride + j + v * SIMD_WIDTH));
#pragma GCC unroll 4
            for (int v = 0; v < NORM_VECTORS; v++) simd_add_widened(sum + j + v * SIMD_WIDTH, total[v]);
        }
        for (; j < columns; j += SIMD_WIDTH) {
            const ptrdiff_t left = columns - j < SIMD_WIDTH ? columns - j : SIMD_WIDTH;
            simd_float total = simd_zero();
            for (ptrdiff_t r = 0; r < block; r++) total = simd_add(total, simd_load_part(in + r * stride + j, left));
            norm_add_part(sum + j, total, left);
        }
    }
}

/* sum += x - mean, squares += (x - mean)^2, by column */
static void deviation_sums(double *restrict sum, double *restrict squares, const float *restrict src,
                           const float *restrict mean, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t stride)
{
    for (ptrdiff_t first = 0; first < rows; first += NORM_BLOCK) {
        const ptrdiff_t block = norm_block(rows, first);
        const float *restrict in = src + first * stride;
        ptrdiff_t j = 0;
        for (; j + NORM_VECTORS * SIMD_WIDTH <= columns; j += NORM_VECTORS * SIMD_WIDTH) {
            simd_float total[NORM_VECTORS], square[NORM_VECTORS], center[NORM_VECTORS];
#pragma GCC unroll 4
            for (int v = 0; v < NORM_VECTORS; v++) {
                total[v] = square[v] = simd_zero();
                center[v] = simd_load(mean + j + v * SIMD_WIDTH);
            }
            for (ptrdiff_t r = 0; r < block; r++)
#pragma GCC unroll 4
                for (int v = 0; v < NORM_VECTORS; v++) {
                    const simd_float x = simd_load(in + r * stride + j + v * SIMD_WIDTH) - center[v];
                    total[v] = simd_add(total[v], x);
                    square[v] = simd_fma(x, x, square[v]);
                }
#pragma GCC unroll 4
            for (int v = 0; v < NORM_VECTORS; v++) {
                simd_add_widened(sum + j + v * SIMD_WIDTH, total[v]);
                simd_add_widened(squares + j + v * SIMD_WIDTH, square[v]);
            }
        }
        for (; j < columns; j += SIMD_WIDTH) {
            const ptrdiff_t left = columns - j < SIMD_WIDTH ? columns - j : SIMD_WIDTH;
            const simd_float center = simd_load_part(mean + j, left);
            simd_float total = simd_zero(), square = simd_zero();
            for (ptrdiff_t r = 0; r < block; r++) {
                const simd_float x = simd_load_part(in + r * stride + j, left) - center;
                total = simd_add(total, x);
                square = simd_fma(x, x, square);
            }
            norm_add_part(sum + j, total, left);
            norm_add_part(squares + j, square, left);
        }
    }
}

/* sum += dy, products += dy * (x - mean), deviations += x - mean, by column */
static void gradient_sums(double *restrict sum, double *restrict products, double *restrict deviations,
                          const float *restrict diff_dst, const float *restrict src, const float *restrict mean,
                          ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t stride)
{
    for (ptrdiff_t first = 0; first < rows; first += NORM_BLOCK) {
        const ptrdiff_t block = norm_block(rows, first);
        const float *restrict in = src + first * stride, *restrict grad = diff_dst + first * stride;
        ptrdiff_t j = 0;
        for (; j + NORM_VECTORS * SIMD_WIDTH <= columns; j += NORM_VECTORS * SIMD_WIDTH) {
            simd_float total[NORM_VECTORS], product[NORM_VECTORS], deviation[NORM_VECTORS], center[NORM_VECTORS];
#pragma GCC unroll 4
            for (int v = 0; v < NORM_VECTORS; v++) {
                total[v] = product[v] = deviation[v] = simd_zero();
                center[v] = simd_load(mean + j + v * SIMD_WIDTH);
            }
            for (ptrdiff_t r = 0; r < block; r++)
#pragma GCC unroll 4
                for (int v = 0; v < NORM_VECTORS; v++) {
                    const simd_float x = simd_load(in + r * stride + j + v * SIMD_WIDTH) - center[v];
                    const simd_float dy = simd_load(grad + r * stride + j + v * SIMD_WIDTH);
                    total[v] = simd_add(total[v], dy);
                    product[v] = simd_fma(dy, x, product[v]);
                    deviation[v] = simd_add(deviation[v], x);
                }
#pragma GCC unroll 4
            for (int v = 0; v < NORM_VECTORS; v++) {
                simd_add_widened(sum + j + v * SIMD_WIDTH, total[v]);
                simd_add_widened(products + j + v * SIMD_WIDTH, product[v]);
                simd_add_widened(deviations + j + v * SIMD_WIDTH, deviation[v]);
            }
        }
        for (; j < columns; j += SIMD_WIDTH) {
            const ptrdiff_t left = columns - j < SIMD_WIDTH ? columns - j : SIMD_WIDTH;
            const simd_float center = simd_load_part(mean + j, left);
            simd_float total = simd_zero(), product = simd_zero(), deviation = simd_zero();
            for (ptrdiff_t r = 0; r < block; r++) {
                const simd_float x = simd_load_part(in + r * stride + j, left) - center;
                const simd_float dy = simd_load_part(grad + r * stride + j, left);
                total = simd_add(total, dy);
                product = simd_fma(dy, x, product);
                deviation = simd_add(deviation, x);
            }
            norm_add_part(sum + j, total, left);
            norm_add_part(products + j, product, left);
            norm_add_part(deviations + j, deviation, left);
        }
    }
}

/* dst = (src - mean) * factor + shift: the mean goes first, it may be large beside the deviations. */
static void normalize(float *restrict dst, const float *restrict src, const float *restrict mean,
                      const float *restrict factor, const float *restrict shift, ptrdiff_t rows, ptrdiff_t columns,
                      ptrdiff_t stride)
{
    for (ptrdiff_t r = 0; r < rows; r++) {
        const float *restrict in = src + r * stride;
        float *restrict out = dst + r * stride;
        for (ptrdiff_t j = 0; j < columns; j++) out[j] = (in[j] - mean[j]) * factor[j] + shift[j];
    }
}

/* diff_src = diff_dst * factor + (src - mean) * slope + shift */
static void normalize_backward(float *restrict diff_src, const float *restrict diff_dst, const float *restrict src,
                               const float *restrict mean, const float *restrict factor, const float *restrict slope,
                               const float *restrict shift, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t stride)
{
    for (ptrdiff_t r = 0; r < rows; r++) {
        const float *restrict in = src + r * stride, *restrict grad = diff_dst + r * stride;
        float *restrict out = diff_src + r * stride;
        for (ptrdiff_t j = 0; j < columns; j++)
            out[j] = grad[j] * factor[j] + ((in[j] - mean[j]) * slope[j] + shift[j]);
    }
}

#endif
