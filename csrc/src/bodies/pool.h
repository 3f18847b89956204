/* Pooling, vectorised over channels. */
#ifndef CNN_BODY_POOL_H
#define CNN_BODY_POOL_H

#include <string.h>

#include "bodies/sums.h"
#include "kernels.h"

typedef int32_t simd_int __attribute__((vector_size(SIMD_WIDTH * sizeof(int32_t))));
typedef uint8_t simd_bytes __attribute__((vector_size(SIMD_WIDTH)));

static inline simd_float pool_select(simd_int mask, simd_float yes, simd_float no)
{
    return (simd_float)((mask & (simd_int)yes) | (~mask & (simd_int)no));
}

/* Makes `next` the best where it is larger or NaN, and remembers its tap. */
static inline void pool_challenge(simd_float *best, simd_int *index, simd_float next, int32_t tap)
{
    const simd_int wins = (simd_int)(next > *best) | (simd_int)(next != next);
    *best = pool_select(wins, next, *best);
    *index = (wins & tap) | (~wins & *index);
}

/* One vector of pooled outputs. The four taps are c elements apart; `left` elements may be read and written. */
static inline __attribute__((always_inline)) void pool_2x2_lanes(float *dst, uint8_t *argmax, const float *top,
                                                                 const float *bottom, ptrdiff_t c, bool relu,
                                                                 bool whole, ptrdiff_t left)
{
    const float *taps[4] = {top, top + c, bottom, bottom + c};
    simd_float best = whole ? simd_load(taps[0]) : simd_load_part(taps[0], left);
    simd_int index = (simd_int)simd_zero();
#pragma GCC unroll 3
    for (int tap = 1; tap < 4; tap++)
        pool_challenge(&best, &index, whole ? simd_load(taps[tap]) : simd_load_part(taps[tap], left), tap);
    if (relu) {
        const simd_int off = (simd_int)(best <= simd_zero());
        best = pool_select(off, simd_zero(), best);
        index |= off; /* all bits: 255 as a byte */
    }
    const simd_bytes where = __builtin_convertvector(index, simd_bytes);
    if (whole)
        simd_store(dst, best);
    else
        simd_store_part(dst, best, left);
    if (argmax) memcpy(argmax, &where, whole ? sizeof where : (size_t)left);
}

/* The first of equals wins; a NaN wins over everything before it. Outputs are written from left to right, a whole
 * vector at a time: what runs over the channels of one pixel is written again with the next. */
static void pool_2x2(float *restrict dst, uint8_t *restrict argmax, const float *restrict top,
                     const float *restrict bottom, ptrdiff_t pooled, ptrdiff_t c, bool relu)
{
    for (ptrdiff_t p = 0; p < pooled; p++)
        for (ptrdiff_t i = 0; i < c; i += SIMD_WIDTH) {
            const ptrdiff_t at = p * c + i, from = 2 * p * c + i;
            uint8_t *where = argmax ? argmax + at : NULL;
            if (pooled * c - at >= SIMD_WIDTH)
                pool_2x2_lanes(dst + at, where, top + from, bottom + from, c, relu, true, SIMD_WIDTH);
            else
                pool_2x2_lanes(dst + at, where, top + from, bottom + from, c, relu, false,
                               c - i < SIMD_WIDTH ? c - i : SIMD_WIDTH);
        }
}

/* The gradient of one row of the source, [2*pooled][c]; its taps are first_tap and first_tap + 1. */
static inline void unpool_2x2_row(float *restrict row, const float *restrict diff_dst,
                                  const uint8_t *restrict argmax, ptrdiff_t pooled, ptrdiff_t c, int32_t first_tap)
{
    for (ptrdiff_t q = 0; q < 2 * pooled; q++)
        for (ptrdiff_t i = 0; i < c; i += SIMD_WIDTH) {
            const ptrdiff_t at = q / 2 * c + i;
            const int32_t tap = first_tap + (int32_t)(q % 2);
            const bool whole = pooled * c - at >= SIMD_WIDTH && 2 * pooled * c - (q * c + i) >= SIMD_WIDTH;
            const ptrdiff_t left = c - i < SIMD_WIDTH ? c - i : SIMD_WIDTH;
            simd_bytes where = {0};
            memcpy(&where, argmax + at, whole ? sizeof where : (size_t)left);
            const simd_int here = (simd_int)(__builtin_convertvector(where, simd_int) == tap);
            const simd_float diff = whole ? simd_load(diff_dst + at) : simd_load_part(diff_dst + at, left);
            const simd_float out = (simd_float)(here & (simd_int)diff);
            if (whole)
                simd_store(row + q * c + i, out);
            else
                simd_store_part(row + q * c + i, out, left);
        }
}

/* The gradient of pool_2x2: two rows [2*pooled][c], every element written. */
static void unpool_2x2(float *restrict top, float *restrict bottom, const float *restrict diff_dst,
                       const uint8_t *restrict argmax, ptrdiff_t pooled, ptrdiff_t c)
{
    unpool_2x2_row(top, diff_dst, argmax, pooled, c, 0);
    unpool_2x2_row(bottom, diff_dst, argmax, pooled, c, 2);
}

/* The part of a window inside the image: taps [first, last) of `taps`, tap 0 at position `start` of `extent`. */
typedef struct pool_range {
    ptrdiff_t first, last;
} pool_range;

static inline pool_range pool_taps(ptrdiff_t start, ptrdiff_t taps, ptrdiff_t extent)
{
    return (pool_range){start < 0 ? -start : 0, start + taps > extent ? extent - start : taps};
}

enum { POOL_CHANNELS = 64 };

static void max_pool_row(float *restrict dst, uint8_t *restrict argmax, const float *restrict src,
                         const cnn_pool2d_geometry *g, ptrdiff_t oh)
{
    const ptrdiff_t top = oh * g->stride_h - g->pad_top, c = g->c;
    const pool_range kh = pool_taps(top, g->kh, g->h);
    float best[POOL_CHANNELS];
    int32_t index[POOL_CHANNELS];
    for (ptrdiff_t ow = 0; ow < g->ow; ow++) {
        const ptrdiff_t left = ow * g->stride_w - g->pad_left;
        const pool_range kw = pool_taps(left, g->kw, g->w);
        for (ptrdiff_t base = 0; base < c; base += POOL_CHANNELS) {
            const ptrdiff_t run = c - base < POOL_CHANNELS ? c - base : POOL_CHANNELS;
            const float *restrict first = src + ((top + kh.first) * g->w + left + kw.first) * c + base;
            for (ptrdiff_t i = 0; i < run; i++) best[i] = first[i];
            for (ptrdiff_t i = 0; i < run; i++) index[i] = (int32_t)(kh.first * g->kw + kw.first);
            for (ptrdiff_t y = kh.first; y < kh.last; y++)
                for (ptrdiff_t x = kw.first; x < kw.last; x++) {
                    const float *restrict in = src + ((top + y) * g->w + left + x) * c + base;
                    const int32_t tap = (int32_t)(y * g->kw + x);
                    for (ptrdiff_t i = 0; i < run; i++) {
                        const bool better = in[i] > best[i] || in[i] != in[i];
                        index[i] = better ? tap : index[i];
                        best[i] = better ? in[i] : best[i];
                    }
                }
            for (ptrdiff_t i = 0; i < run; i++) dst[ow * c + base + i] = best[i];
            if (argmax)
                for (ptrdiff_t i = 0; i < run; i++) argmax[ow * c + base + i] = (uint8_t)index[i];
        }
    }
}

/* Adds one output row of gradients to the sample's diff_src. */
static void max_unpool_row(float *restrict diff_src, const float *restrict diff_dst, const uint8_t *restrict argmax,
                           const cnn_pool2d_geometry *g, ptrdiff_t oh)
{
    const ptrdiff_t top = oh * g->stride_h - g->pad_top, c = g->c;
    const pool_range kh = pool_taps(top, g->kh, g->h);
    for (ptrdiff_t ow = 0; ow < g->ow; ow++) {
        const ptrdiff_t left = ow * g->stride_w - g->pad_left;
        const pool_range kw = pool_taps(left, g->kw, g->w);
        const float *restrict dy = diff_dst + ow * c;
        const uint8_t *restrict where = argmax + ow * c;
        for (ptrdiff_t y = kh.first; y < kh.last; y++)
            for (ptrdiff_t x = kw.first; x < kw.last; x++) {
                float *restrict out = diff_src + ((top + y) * g->w + left + x) * c;
                const int32_t tap = (int32_t)(y * g->kw + x);
                for (ptrdiff_t i = 0; i < c; i++) out[i] += where[i] == tap ? dy[i] : 0.0f;
            }
    }
}

/* 1 / the number of elements that an average is taken over; a window that ceil mode lets reach past the padding is cut
 * there. `top` and `left` are the image position of its first tap. */
static inline float pool_share(const cnn_pool2d_geometry *g, ptrdiff_t top, ptrdiff_t left, pool_range kh,
                               pool_range kw)
{
    const ptrdiff_t below = g->h + g->pad_top - top, beside = g->w + g->pad_left - left;
    const ptrdiff_t padded = (g->kh < below ? g->kh : below) * (g->kw < beside ? g->kw : beside);
    const ptrdiff_t inside = (kh.last - kh.first) * (kw.last - kw.first);
    return 1.0f / (float)(g->count_include_pad ? padded : inside);
}

/* Sums run along a row of the window, then over its rows: two short chains instead of a long one. */
static void avg_pool_row(float *restrict dst, const float *restrict src, const cnn_pool2d_geometry *g, ptrdiff_t oh)
{
    const ptrdiff_t top = oh * g->stride_h - g->pad_top, c = g->c;
    const pool_range kh = pool_taps(top, g->kh, g->h);
    float total[POOL_CHANNELS], line[POOL_CHANNELS];
    for (ptrdiff_t ow = 0; ow < g->ow; ow++) {
        const ptrdiff_t left = ow * g->stride_w - g->pad_left;
        const pool_range kw = pool_taps(left, g->kw, g->w);
        const float share = pool_share(g, top, left, kh, kw);
        for (ptrdiff_t base = 0; base < c; base += POOL_CHANNELS) {
            const ptrdiff_t run = c - base < POOL_CHANNELS ? c - base : POOL_CHANNELS;
            for (ptrdiff_t i = 0; i < run; i++) total[i] = 0.0f;
            for (ptrdiff_t y = kh.first; y < kh.last; y++) {
                const float *restrict in = src + ((top + y) * g->w + left) * c + base;
                for (ptrdiff_t i = 0; i < run; i++) line[i] = 0.0f;
                add_rows(line, in + kw.first * c, kw.last - kw.first, run, c);
                for (ptrdiff_t i = 0; i < run; i++) total[i] += line[i];
            }
            for (ptrdiff_t i = 0; i < run; i++) dst[ow * c + base + i] = total[i] * share;
        }
    }
}

static void avg_unpool_row(float *restrict diff_src, const float *restrict diff_dst, const cnn_pool2d_geometry *g,
                           ptrdiff_t oh)
{
    const ptrdiff_t top = oh * g->stride_h - g->pad_top, c = g->c;
    const pool_range kh = pool_taps(top, g->kh, g->h);
    for (ptrdiff_t ow = 0; ow < g->ow; ow++) {
        const ptrdiff_t left = ow * g->stride_w - g->pad_left;
        const pool_range kw = pool_taps(left, g->kw, g->w);
        const float share = pool_share(g, top, left, kh, kw);
        const float *restrict dy = diff_dst + ow * c;
        for (ptrdiff_t y = kh.first; y < kh.last; y++)
            for (ptrdiff_t x = kw.first; x < kw.last; x++) {
                float *restrict out = diff_src + ((top + y) * g->w + left + x) * c;
                for (ptrdiff_t i = 0; i < c; i++) out[i] += dy[i] * share;
            }
    }
}

#endif
