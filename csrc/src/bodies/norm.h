/*
 * Batch normalisation over rows of columns: y = (x - mean) * factor + shift, each column with its own three; the mean
 * goes first, it may be large beside the deviations. Vectors by column are read from the first-level cache, NORM_ROWS
 * rows at a time, so that memory is walked in order. Sums run over at most NORM_BLOCK rows in float before they are
 * added to the double totals.
 *
 * In a map that a 2x2 max-pool follows, `line` is the distance from a row of pixels to the next.
 */
#ifndef CNN_BODY_NORM_H
#define CNN_BODY_NORM_H

#include "bodies/pool.h"
#include "bodies/vector.h"
#include "kernels.h"

enum { NORM_BLOCK = 64, NORM_ROWS = 4 };

/* The first `left` lanes; `whole` is known at compile time to stand for all of them. */
static inline __attribute__((always_inline)) simd_float norm_load(const float *p, ptrdiff_t left, const bool whole)
{
    return whole ? simd_load(p) : simd_load_part(p, left);
}
static inline __attribute__((always_inline)) void norm_store(float *p, simd_float v, ptrdiff_t left, const bool whole)
{
    if (whole)
        simd_store(p, v);
    else
        simd_store_part(p, v, left);
}

/* What a vector of columns needs. */
typedef struct norm_vectors {
    simd_float mean, factor, shift, slope, rest;
} norm_vectors;

static inline __attribute__((always_inline)) simd_float norm_value(simd_float x, const norm_vectors *v)
{
    return simd_fma(x - v->mean, v->factor, v->shift);
}

static inline __attribute__((always_inline)) simd_float norm_gradient(simd_float x, simd_float diff,
                                                                      const norm_vectors *v)
{
    return simd_fma(diff, v->factor, simd_fma(x - v->mean, v->slope, v->rest));
}

/* As relu_backward: what is NaN lets the gradient pass. */
static inline __attribute__((always_inline)) simd_float norm_masked(simd_float diff, simd_float value)
{
    return simd_select(simd_at_most(value, simd_zero()), simd_zero(), diff);
}

/* ---- sums --------------------------------------------------------------------------------------------------------- */

typedef struct norm_totals {
    float first[CNN_NORM_COLUMNS + SIMD_WIDTH], second[CNN_NORM_COLUMNS + SIMD_WIDTH];
} norm_totals;

static inline void norm_clear(norm_totals *totals, ptrdiff_t columns)
{
    for (ptrdiff_t j = 0; j < columns; j++) totals->first[j] = totals->second[j] = 0.0f;
    for (ptrdiff_t j = columns; j < columns + SIMD_WIDTH; j++) totals->first[j] = totals->second[j] = 0.0f;
}

static inline void norm_flush(double *restrict first, double *restrict second, const norm_totals *totals,
                              ptrdiff_t columns)
{
    for (ptrdiff_t j = 0; j < columns; j++) first[j] += (double)totals->first[j];
    for (ptrdiff_t j = 0; j < columns; j++) second[j] += (double)totals->second[j];
}

static inline __attribute__((always_inline)) void deviation_lanes(norm_totals *totals, const float *src,
                                                                  const float *mean, ptrdiff_t j, const int rows,
                                                                  ptrdiff_t stride, ptrdiff_t left, const bool whole)
{
    const simd_float center = norm_load(mean + j, left, whole);
    simd_float total = simd_load(totals->first + j), square = simd_load(totals->second + j);
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
        const simd_float x = norm_load(src + r * stride + j, left, whole) - center;
        total = simd_add(total, x);
        square = simd_fma(x, x, square);
    }
    simd_store(totals->first + j, total);
    simd_store(totals->second + j, square);
}

static inline __attribute__((always_inline)) void deviation_rows(norm_totals *totals, const float *src,
                                                                 const float *mean, const int rows, ptrdiff_t columns,
                                                                 ptrdiff_t stride)
{
    ptrdiff_t j = 0;
    for (; j + SIMD_WIDTH <= columns; j += SIMD_WIDTH)
        deviation_lanes(totals, src, mean, j, rows, stride, SIMD_WIDTH, true);
    if (j < columns) deviation_lanes(totals, src, mean, j, rows, stride, columns - j, false);
}

/* sum += x - mean, squares += (x - mean)^2, by column */
static void deviation_sums(double *restrict sum, double *restrict squares, const float *restrict src,
                           const float *restrict mean, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t stride)
{
    norm_totals totals;
    for (ptrdiff_t r = 0; r < rows;) {
        const ptrdiff_t end = rows - r < NORM_BLOCK ? rows : r + NORM_BLOCK;
        norm_clear(&totals, columns);
        for (; r + NORM_ROWS <= end; r += NORM_ROWS)
            deviation_rows(&totals, src + r * stride, mean, NORM_ROWS, columns, stride);
        for (; r < end; r++) deviation_rows(&totals, src + r * stride, mean, 1, columns, stride);
        norm_flush(sum, squares, &totals, columns);
    }
}

static inline __attribute__((always_inline)) void gradient_lanes(norm_totals *totals, const float *diff_dst,
                                                                 const float *src, const cnn_norm *norm, ptrdiff_t j,
                                                                 const int rows, ptrdiff_t stride, ptrdiff_t left,
                                                                 const bool whole)
{
    norm_vectors v = {.mean = norm_load(norm->mean + j, left, whole)};
    if (norm->relu) {
        v.factor = norm_load(norm->factor + j, left, whole);
        v.shift = norm_load(norm->shift + j, left, whole);
    }
    simd_float total = simd_load(totals->first + j), product = simd_load(totals->second + j);
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
        const simd_float x = norm_load(src + r * stride + j, left, whole);
        simd_float diff = norm_load(diff_dst + r * stride + j, left, whole);
        if (norm->relu) diff = norm_masked(diff, norm_value(x, &v));
        total = simd_add(total, diff);
        product = simd_fma(diff, x - v.mean, product);
    }
    simd_store(totals->first + j, total);
    simd_store(totals->second + j, product);
}

static inline __attribute__((always_inline)) void gradient_rows(norm_totals *totals, const float *diff_dst,
                                                                const float *src, const cnn_norm *norm, const int rows,
                                                                ptrdiff_t columns, ptrdiff_t stride)
{
    ptrdiff_t j = 0;
    for (; j + SIMD_WIDTH <= columns; j += SIMD_WIDTH)
        gradient_lanes(totals, diff_dst, src, norm, j, rows, stride, SIMD_WIDTH, true);
    if (j < columns) gradient_lanes(totals, diff_dst, src, norm, j, rows, stride, columns - j, false);
}

/* sum += dy, products += dy * (x - mean), by column; dy as it is behind the ReLU's mask */
static void gradient_sums(double *restrict sum, double *restrict products, const float *diff_dst, const float *src,
                          const cnn_norm *norm, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t stride)
{
    norm_totals totals;
    for (ptrdiff_t r = 0; r < rows;) {
        const ptrdiff_t end = rows - r < NORM_BLOCK ? rows : r + NORM_BLOCK;
        norm_clear(&totals, columns);
        for (; r + NORM_ROWS <= end; r += NORM_ROWS)
            gradient_rows(&totals, diff_dst + r * stride, src + r * stride, norm, NORM_ROWS, columns, stride);
        for (; r < end; r++) gradient_rows(&totals, diff_dst + r * stride, src + r * stride, norm, 1, columns, stride);
        norm_flush(sum, products, &totals, columns);
    }
}

static inline __attribute__((always_inline)) void pooled_lanes(norm_totals *totals, const float *diff_dst,
                                                               const uint8_t *argmax, const float *src,
                                                               const float *mean, ptrdiff_t c, ptrdiff_t line,
                                                               ptrdiff_t j, ptrdiff_t left, const bool whole)
{
    const simd_float taps = simd_load_bytes(argmax + j, left);
    const simd_float a = norm_load(src + j, left, whole), b = norm_load(src + c + j, left, whole);
    const simd_float d = norm_load(src + line + j, left, whole), e = norm_load(src + line + c + j, left, whole);
    const simd_float upper = simd_select(simd_equal(taps, simd_set1(1.0f)), b, a);
    const simd_float lower = simd_select(simd_equal(taps, simd_set1(3.0f)), e, d);
    const simd_float x = simd_select(simd_less(taps, simd_set1(2.0f)), upper, lower);
    const simd_float diff = simd_keep(simd_at_most(taps, simd_set1(3.0f)), norm_load(diff_dst + j, left, whole));
    simd_store(totals->first + j, simd_add(simd_load(totals->first + j), diff));
    simd_store(totals->second + j, simd_fma(diff, x - norm_load(mean + j, left, whole), simd_load(totals->second + j)));
}

/* The same of a row of pooled pixels: each dy belongs to one of four x, or to none. `c` from pixel to pixel. */
static void pooled_gradient_sums(double *restrict sum, double *restrict products, const float *diff_dst,
                                 const uint8_t *argmax, const float *src, const cnn_norm *norm, ptrdiff_t pixels,
                                 ptrdiff_t columns, ptrdiff_t c, ptrdiff_t line)
{
    norm_totals totals;
    for (ptrdiff_t p = 0; p < pixels;) {
        const ptrdiff_t end = pixels - p < NORM_BLOCK ? pixels : p + NORM_BLOCK;
        norm_clear(&totals, columns);
        for (; p < end; p++) {
            const float *x = src + 2 * p * c, *diff = diff_dst + p * c;
            const uint8_t *where = argmax + p * c;
            ptrdiff_t j = 0;
            for (; j + SIMD_WIDTH <= columns; j += SIMD_WIDTH)
                pooled_lanes(&totals, diff, where, x, norm->mean, c, line, j, SIMD_WIDTH, true);
            if (j < columns) pooled_lanes(&totals, diff, where, x, norm->mean, c, line, j, columns - j, false);
        }
        norm_flush(sum, products, &totals, columns);
    }
}

/* ---- forward ------------------------------------------------------------------------------------------------------ */

static inline __attribute__((always_inline)) norm_vectors forward_vectors(const cnn_norm *norm, ptrdiff_t j,
                                                                          ptrdiff_t left, const bool whole)
{
    return (norm_vectors){.mean = norm_load(norm->mean + j, left, whole),
                          .factor = norm_load(norm->factor + j, left, whole),
                          .shift = norm_load(norm->shift + j, left, whole)};
}

static inline __attribute__((always_inline)) void normalize_lanes(float *dst, const float *src, const float *addend,
                                                                  const cnn_norm *norm, ptrdiff_t j, const int rows,
                                                                  ptrdiff_t columns, ptrdiff_t left, const bool whole)
{
    const norm_vectors v = forward_vectors(norm, j, left, whole);
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
        simd_float y = norm_value(norm_load(src + r * columns + j, left, whole), &v);
        if (addend) y = simd_add(y, norm_load(addend + r * columns + j, left, whole));
        norm_store(dst + r * columns + j, norm->relu ? simd_max(simd_zero(), y) : y, left, whole);
    }
}

static inline __attribute__((always_inline)) void normalize_rows(float *dst, const float *src, const float *addend,
                                                                 const cnn_norm *norm, const int rows,
                                                                 ptrdiff_t columns)
{
    ptrdiff_t j = 0;
    for (; j + SIMD_WIDTH <= columns; j += SIMD_WIDTH)
        normalize_lanes(dst, src, addend, norm, j, rows, columns, SIMD_WIDTH, true);
    if (j < columns) normalize_lanes(dst, src, addend, norm, j, rows, columns, columns - j, false);
}

static void normalize(float *dst, const float *src, const float *addend, const cnn_norm *norm, ptrdiff_t rows,
                      ptrdiff_t columns)
{
    ptrdiff_t r = 0;
    for (; r < rows; r += rows - r < NORM_ROWS ? 1 : NORM_ROWS) {
        const ptrdiff_t at = r * columns;
        const float *added = addend ? addend + at : NULL;
        if (rows - r >= NORM_ROWS)
            normalize_rows(dst + at, src + at, added, norm, NORM_ROWS, columns);
        else
            normalize_rows(dst + at, src + at, added, norm, 1, columns);
    }
}

static inline __attribute__((always_inline)) void normalize_pool_lanes(float *dst, uint8_t *argmax, const float *src,
                                                                       const cnn_norm *norm, ptrdiff_t c,
                                                                       ptrdiff_t line, ptrdiff_t j, ptrdiff_t left,
                                                                       const bool whole)
{
    const norm_vectors v = forward_vectors(norm, j, left, whole);
    const simd_float a = norm_load(src + j, left, whole), b = norm_load(src + c + j, left, whole);
    const simd_float d = norm_load(src + line + j, left, whole), e = norm_load(src + line + c + j, left, whole);
    const pool_best best =
        pool_of_four(norm_value(a, &v), norm_value(b, &v), norm_value(d, &v), norm_value(e, &v), norm->relu);
    norm_store(dst + j, best.value, left, whole);
    if (argmax) simd_store_bytes(argmax + j, best.tap, left);
}

/* normalize and pool_2x2 of two rows of pixels */
static void normalize_pool(float *dst, uint8_t *argmax, const float *src, const cnn_norm *norm, ptrdiff_t pixels,
                           ptrdiff_t c, ptrdiff_t line)
{
    for (ptrdiff_t p = 0; p < pixels; p++) {
        uint8_t *where = argmax ? argmax + p * c : NULL;
        ptrdiff_t j = 0;
        for (; j + SIMD_WIDTH <= c; j += SIMD_WIDTH)
            normalize_pool_lanes(dst + p * c, where, src + 2 * p * c, norm, c, line, j, SIMD_WIDTH, true);
        if (j < c) normalize_pool_lanes(dst + p * c, where, src + 2 * p * c, norm, c, line, j, c - j, false);
    }
}

/* ---- backward ----------------------------------------------------------------------------------------------------- */

static inline __attribute__((always_inline)) norm_vectors backward_vectors(const cnn_norm *norm, ptrdiff_t j,
                                                                           ptrdiff_t left, const bool whole)
{
    norm_vectors v = forward_vectors(norm, j, left, whole);
    v.slope = norm_load(norm->slope + j, left, whole);
    v.rest = norm_load(norm->rest + j, left, whole);
    return v;
}

static inline __attribute__((always_inline)) void backward_lanes(float *diff_src, const float *diff_dst,
                                                                 const float *src, const float *mask,
                                                                 const cnn_norm *norm, ptrdiff_t j, const int rows,
                                                                 ptrdiff_t columns, ptrdiff_t left, const bool whole)
{
    const norm_vectors v = backward_vectors(norm, j, left, whole);
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
        const ptrdiff_t at = r * columns + j;
        const simd_float x = norm_load(src + at, left, whole);
        simd_float diff = diff_dst ? norm_load(diff_dst + at, left, whole) : simd_zero();
        if (norm->relu) diff = norm_masked(diff, norm_value(x, &v));
        simd_float out = norm_gradient(x, diff, &v);
        if (mask) out = norm_masked(out, norm_load(mask + at, left, whole));
        norm_store(diff_src + at, out, left, whole);
    }
}

static inline __attribute__((always_inline)) void backward_rows(float *diff_src, const float *diff_dst,
                                                                const float *src, const float *mask,
                                                                const cnn_norm *norm, const int rows, ptrdiff_t columns)
{
    ptrdiff_t j = 0;
    for (; j + SIMD_WIDTH <= columns; j += SIMD_WIDTH)
        backward_lanes(diff_src, diff_dst, src, mask, norm, j, rows, columns, SIMD_WIDTH, true);
    if (j < columns) backward_lanes(diff_src, diff_dst, src, mask, norm, j, rows, columns, columns - j, false);
}

/* diff_dst NULL: zeros. mask NULL: none. */
static void normalize_backward(float *diff_src, const float *diff_dst, const float *src, const float *mask,
                               const cnn_norm *norm, ptrdiff_t rows, ptrdiff_t columns)
{
    ptrdiff_t r = 0;
    for (; r < rows; r += rows - r < NORM_ROWS ? 1 : NORM_ROWS) {
        const ptrdiff_t at = r * columns;
        const float *diff = diff_dst ? diff_dst + at : NULL, *masked = mask ? mask + at : NULL;
        if (rows - r >= NORM_ROWS)
            backward_rows(diff_src + at, diff, src + at, masked, norm, NORM_ROWS, columns);
        else
            backward_rows(diff_src + at, diff, src + at, masked, norm, 1, columns);
    }
}

static inline __attribute__((always_inline)) void unpool_lanes_backward(float *diff_src, const float *diff_dst,
                                                                        const uint8_t *argmax, const float *src,
                                                                        const float *mask, const cnn_norm *norm,
                                                                        ptrdiff_t c, ptrdiff_t line, ptrdiff_t j,
                                                                        ptrdiff_t left, const bool whole)
{
    const norm_vectors v = backward_vectors(norm, j, left, whole);
    const simd_float diff = norm_load(diff_dst + j, left, whole), taps = simd_load_bytes(argmax + j, left);
#pragma GCC unroll 4
    for (int tap = 0; tap < 4; tap++) {
        const ptrdiff_t at = tap / 2 * line + tap % 2 * c + j;
        simd_float out = norm_gradient(norm_load(src + at, left, whole), unpool_tap(diff, taps, (float)tap), &v);
        if (mask) out = norm_masked(out, norm_load(mask + at, left, whole));
        norm_store(diff_src + at, out, left, whole);
    }
}

/* unpool_2x2 and normalize_backward of two rows of pixels; the masking of a ReLU is in argmax */
static void normalize_unpool(float *diff_src, const float *diff_dst, const uint8_t *argmax, const float *src,
                             const float *mask, const cnn_norm *norm, ptrdiff_t pixels, ptrdiff_t c, ptrdiff_t line)
{
    for (ptrdiff_t p = 0; p < pixels; p++) {
        const ptrdiff_t at = p * c, from = 2 * at;
        const float *masked = mask ? mask + from : NULL;
        ptrdiff_t j = 0;
        for (; j + SIMD_WIDTH <= c; j += SIMD_WIDTH)
            unpool_lanes_backward(diff_src + from, diff_dst + at, argmax + at, src + from, masked, norm, c, line, j,
                                  SIMD_WIDTH, true);
        if (j < c)
            unpool_lanes_backward(diff_src + from, diff_dst + at, argmax + at, src + from, masked, norm, c, line, j,
                                  c - j, false);
    }
}

#endif
