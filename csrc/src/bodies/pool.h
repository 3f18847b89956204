/* Pooling, vectorised over channels, or over pixels and channels where channels are few. */
#ifndef CNN_BODY_POOL_H
#define CNN_BODY_POOL_H

#include "bodies/sums.h"
#include "bodies/vector.h"
#include "kernels.h"

/* The largest so far and its tap, as a number. The first of equals wins; a NaN wins over everything before it. */
typedef struct pool_best {
    simd_float value, tap;
} pool_best;

static inline pool_best pool_challenge(pool_best best, simd_float next, float tap)
{
    const simd_mask wins = simd_either(simd_less(best.value, next), simd_is_nan(next));
    return (pool_best){simd_select(wins, next, best.value), simd_select(wins, simd_set1(tap), best.tap)};
}

/* Writes `count` pooled lanes; a whole vector where there is `room` for it: what runs over is written again by the next
 * call, as outputs go from left to right. */
static inline void pool_store(float *dst, uint8_t *argmax, pool_best best, ptrdiff_t count, ptrdiff_t room)
{
    if (room >= SIMD_WIDTH) {
        simd_store(dst, best.value);
        if (argmax) simd_store_bytes(argmax, best.tap, SIMD_WIDTH);
    } else {
        simd_store_part(dst, best.value, count);
        if (argmax) simd_store_bytes(argmax, best.tap, count);
    }
}

/* Loads a whole vector where `room` allows, whatever lies behind the lanes that count. */
static inline simd_float pool_load(const float *src, ptrdiff_t count, ptrdiff_t room)
{
    return room >= SIMD_WIDTH ? simd_load(src) : simd_load_part(src, count < room ? count : room);
}

static inline pool_best pool_of_four(simd_float a, simd_float b, simd_float d, simd_float e, bool relu)
{
    pool_best best = pool_challenge((pool_best){a, simd_zero()}, b, 1.0f);
    best = pool_challenge(pool_challenge(best, d, 2.0f), e, 3.0f);
    if (!relu) return best;
    const simd_mask off = simd_at_most(best.value, simd_zero());
    return (pool_best){simd_select(off, simd_zero(), best.value), simd_select(off, simd_set1(255.0f), best.tap)};
}

/* The lane numbers from `first` on, and each divided by n; exact for the few lanes of two vectors. */
static inline simd_int pool_lanes(int32_t first)
{
    int32_t lanes[SIMD_WIDTH];
    for (int32_t i = 0; i < SIMD_WIDTH; i++) lanes[i] = first + i;
    simd_int v;
    memcpy(&v, lanes, sizeof v);
    return v;
}
static inline simd_int pool_divide(simd_int lanes, int32_t n) { return lanes * (65536 / n + 1) >> 16; }

/* Lanes of the left pixels of SIMD_WIDTH / c pairs of pixels in two vectors; what lies behind is any lane at all. */
static inline simd_int pool_left_lanes(int32_t c)
{
    const simd_int lane = pool_lanes(0), pair = pool_divide(lane, c);
    return lane + pair * c;
}

/* c <= SIMD_WIDTH / 2: several pixels share a vector. */
static void pool_2x2_narrow(float *restrict dst, uint8_t *restrict argmax, const float *restrict top,
                            const float *restrict bottom, ptrdiff_t pooled, ptrdiff_t c, bool relu)
{
    const ptrdiff_t step = SIMD_WIDTH / c * c, count = pooled * c;
    int32_t left[SIMD_WIDTH], right[SIMD_WIDTH];
    const simd_int left_lanes = pool_left_lanes((int32_t)c), right_lanes = left_lanes + (int32_t)c;
    const simd_int left_valid = left_lanes & (2 * SIMD_WIDTH - 1), right_valid = right_lanes & (2 * SIMD_WIDTH - 1);
    memcpy(left, &left_valid, sizeof left);
    memcpy(right, &right_valid, sizeof right);
    for (ptrdiff_t at = 0; at < count; at += step) {
        const ptrdiff_t room = 2 * (count - at);
        const float *restrict upper = top + 2 * at, *restrict lower = bottom + 2 * at;
        const simd_float a = pool_load(upper, SIMD_WIDTH, room), d = pool_load(lower, SIMD_WIDTH, room);
        const simd_float b = pool_load(upper + SIMD_WIDTH, SIMD_WIDTH, room - SIMD_WIDTH);
        const simd_float e = pool_load(lower + SIMD_WIDTH, SIMD_WIDTH, room - SIMD_WIDTH);
        const pool_best best = pool_of_four(simd_permute2(a, b, left), simd_permute2(a, b, right),
                                            simd_permute2(d, e, left), simd_permute2(d, e, right), relu);
        pool_store(dst + at, argmax ? argmax + at : NULL, best, count - at, count - at);
    }
}

/* Channels that fill whole vectors. What is asked of it is known when compiled: without taps little is left to do. */
static inline __attribute__((always_inline)) void pool_2x2_whole(float *restrict dst, uint8_t *restrict argmax,
                                                                 const float *restrict top,
                                                                 const float *restrict bottom, ptrdiff_t pooled,
                                                                 ptrdiff_t c, const bool relu, const bool taps)
{
    for (ptrdiff_t p = 0; p < pooled; p++) {
        for (ptrdiff_t i = 0; i < c; i += SIMD_WIDTH) {
            const pool_best best = pool_of_four(simd_load(top + i), simd_load(top + c + i), simd_load(bottom + i),
                                                simd_load(bottom + c + i), relu);
            simd_store(dst + i, best.value);
            if (taps) simd_store_bytes(argmax + i, best.tap, SIMD_WIDTH);
        }
        dst += c;
        if (taps) argmax += c;
        top += 2 * c;
        bottom += 2 * c;
    }
}

static void pool_2x2(float *restrict dst, uint8_t *restrict argmax, const float *restrict top,
                     const float *restrict bottom, ptrdiff_t pooled, ptrdiff_t c, bool relu)
{
    if (c <= SIMD_WIDTH / 2) {
        pool_2x2_narrow(dst, argmax, top, bottom, pooled, c, relu);
        return;
    }
    if (c % SIMD_WIDTH == 0) {
        if (argmax && relu) pool_2x2_whole(dst, argmax, top, bottom, pooled, c, true, true);
        if (argmax && !relu) pool_2x2_whole(dst, argmax, top, bottom, pooled, c, false, true);
        if (!argmax && relu) pool_2x2_whole(dst, argmax, top, bottom, pooled, c, true, false);
        if (!argmax && !relu) pool_2x2_whole(dst, argmax, top, bottom, pooled, c, false, false);
        return;
    }
    for (ptrdiff_t p = 0; p < pooled; p++)
        for (ptrdiff_t i = 0; i < c; i += SIMD_WIDTH) {
            const ptrdiff_t at = p * c + i, run = c - i < SIMD_WIDTH ? c - i : SIMD_WIDTH;
            const ptrdiff_t room = pooled * c - at, src_room = 2 * pooled * c - (2 * p * c + i) - c;
            const float *restrict upper = top + 2 * p * c + i, *restrict lower = bottom + 2 * p * c + i;
            const simd_float a = pool_load(upper, run, src_room), b = pool_load(upper + c, run, src_room);
            const simd_float d = pool_load(lower, run, src_room), e = pool_load(lower + c, run, src_room);
            pool_store(dst + at, argmax ? argmax + at : NULL, pool_of_four(a, b, d, e, relu), run, room);
        }
}

/* Where each lane of a row of pixel pairs comes from: the gradients that stay left are lanes 0 to SIMD_WIDTH - 1, those
 * that go right follow. The row fills two vectors; `first` is the number of their first lane. */
static inline simd_int unpool_lanes(int32_t first, int32_t c)
{
    const simd_int lane = pool_lanes(first), pair = pool_divide(lane, 2 * c), rest = lane - pair * (2 * c);
    const simd_int right = (simd_int)(rest >= c);
    return (pair * c + rest + (right & (SIMD_WIDTH - c))) & (2 * SIMD_WIDTH - 1);
}

static inline void unpool_store(float *dst, simd_float v, ptrdiff_t count, ptrdiff_t room)
{
    if (room >= SIMD_WIDTH)
        simd_store(dst, v);
    else
        simd_store_part(dst, v, count < room ? count : room);
}

static inline simd_float unpool_tap(simd_float diff, simd_float taps, float tap)
{
    return simd_keep(simd_equal(taps, simd_set1(tap)), diff);
}

static void unpool_2x2_narrow(float *restrict top, float *restrict bottom, const float *restrict diff_dst,
                              const uint8_t *restrict argmax, ptrdiff_t pooled, ptrdiff_t c)
{
    const ptrdiff_t step = SIMD_WIDTH / c * c, count = pooled * c;
    const simd_int low = unpool_lanes(0, (int32_t)c), high = unpool_lanes(SIMD_WIDTH, (int32_t)c);
    int32_t lanes[2 * SIMD_WIDTH];
    memcpy(lanes, &low, sizeof low);
    memcpy(lanes + SIMD_WIDTH, &high, sizeof high);
    for (ptrdiff_t at = 0; at < count; at += step) {
        const ptrdiff_t left = count - at, room = 2 * left;
        const simd_float diff = pool_load(diff_dst + at, left, left), taps = simd_load_bytes(argmax + at, left);
        const simd_float a = unpool_tap(diff, taps, 0.0f), b = unpool_tap(diff, taps, 1.0f);
        const simd_float d = unpool_tap(diff, taps, 2.0f), e = unpool_tap(diff, taps, 3.0f);
        unpool_store(top + 2 * at, simd_permute2(a, b, lanes), SIMD_WIDTH, room);
        unpool_store(bottom + 2 * at, simd_permute2(d, e, lanes), SIMD_WIDTH, room);
        unpool_store(top + 2 * at + SIMD_WIDTH, simd_permute2(a, b, lanes + SIMD_WIDTH), SIMD_WIDTH, room - SIMD_WIDTH);
        unpool_store(bottom + 2 * at + SIMD_WIDTH, simd_permute2(d, e, lanes + SIMD_WIDTH), SIMD_WIDTH,
                     room - SIMD_WIDTH);
    }
}

/* The gradient of pool_2x2: two rows [2*pooled][c], every element written. */
static void unpool_2x2(float *restrict top, float *restrict bottom, const float *restrict diff_dst,
                       const uint8_t *restrict argmax, ptrdiff_t pooled, ptrdiff_t c)
{
    if (c <= SIMD_WIDTH / 2) {
        unpool_2x2_narrow(top, bottom, diff_dst, argmax, pooled, c);
        return;
    }
    for (ptrdiff_t p = 0; p < pooled; p++)
        for (ptrdiff_t i = 0; i < c; i += SIMD_WIDTH) {
            const ptrdiff_t at = p * c + i, run = c - i < SIMD_WIDTH ? c - i : SIMD_WIDTH;
            const simd_float diff = pool_load(diff_dst + at, run, run), taps = simd_load_bytes(argmax + at, run);
            float *upper = top + 2 * p * c + i, *lower = bottom + 2 * p * c + i;
            unpool_store(upper, unpool_tap(diff, taps, 0.0f), run, run);
            unpool_store(upper + c, unpool_tap(diff, taps, 1.0f), run, run);
            unpool_store(lower, unpool_tap(diff, taps, 2.0f), run, run);
            unpool_store(lower + c, unpool_tap(diff, taps, 3.0f), run, run);
        }
}

/* The part of a window inside the image: taps [first, last) of `taps`, tap 0 at position `start` of `extent`. */
typedef struct pool_range {
    ptrdiff_t first, last;
} pool_range;

static inline pool_range pool_taps(ptrdiff_t start, ptrdiff_t taps, ptrdiff_t extent)
{
    return (pool_range){start < 0 ? -start : 0, start + taps > extent ? extent - start : taps};
}

static void max_pool_row(float *restrict dst, uint8_t *restrict argmax, const float *restrict src,
                         const cnn_pool2d_geometry *g, ptrdiff_t oh)
{
    const ptrdiff_t top = oh * g->stride_h - g->pad_top, c = g->c;
    const pool_range kh = pool_taps(top, g->kh, g->h);
    for (ptrdiff_t ow = 0; ow < g->ow; ow++) {
        const ptrdiff_t left = ow * g->stride_w - g->pad_left;
        const pool_range kw = pool_taps(left, g->kw, g->w);
        for (ptrdiff_t i = 0; i < c; i += SIMD_WIDTH) {
            const ptrdiff_t run = c - i < SIMD_WIDTH ? c - i : SIMD_WIDTH, at = ow * c + i;
            const float *restrict line = src + ((top + kh.first) * g->w + left + kw.first) * c + i;
            pool_best best = {simd_load_part(line, run), simd_set1((float)(kh.first * g->kw + kw.first))};
            for (ptrdiff_t y = kh.first; y < kh.last; y++, line += g->w * c) {
                const float *restrict in = line;
                for (ptrdiff_t x = kw.first; x < kw.last; x++, in += c)
                    best = pool_challenge(best, simd_load_part(in, run), (float)(y * g->kw + x));
            }
            pool_store(dst + at, argmax ? argmax + at : NULL, best, run, run);
        }
    }
}

/* Few channels: one addition for each output beats a vector of zeros for each tap. */
static void max_unpool_row_narrow(float *restrict diff_src, const float *restrict diff_dst,
                                  const uint8_t *restrict argmax, const cnn_pool2d_geometry *g, ptrdiff_t oh)
{
    const ptrdiff_t c = g->c;
    ptrdiff_t offset[256];
    for (ptrdiff_t y = 0; y < g->kh; y++)
        for (ptrdiff_t x = 0; x < g->kw; x++) offset[y * g->kw + x] = (y * g->w + x) * c;
    for (ptrdiff_t ow = 0; ow < g->ow; ow++) {
        const ptrdiff_t at = ((oh * g->stride_h - g->pad_top) * g->w + ow * g->stride_w - g->pad_left) * c;
        for (ptrdiff_t i = 0; i < c; i++) {
            const uint8_t tap = argmax[ow * c + i];
            if (tap != 255) diff_src[at + offset[tap] + i] += diff_dst[ow * c + i];
        }
    }
}

/* Adds one output row of gradients to the sample's diff_src. */
static void max_unpool_row(float *restrict diff_src, const float *restrict diff_dst, const uint8_t *restrict argmax,
                           const cnn_pool2d_geometry *g, ptrdiff_t oh)
{
    const ptrdiff_t top = oh * g->stride_h - g->pad_top, c = g->c;
    const pool_range kh = pool_taps(top, g->kh, g->h);
    if (c < SIMD_WIDTH) {
        max_unpool_row_narrow(diff_src, diff_dst, argmax, g, oh);
        return;
    }
    for (ptrdiff_t ow = 0; ow < g->ow; ow++) {
        const ptrdiff_t left = ow * g->stride_w - g->pad_left;
        const pool_range kw = pool_taps(left, g->kw, g->w);
        for (ptrdiff_t i = 0; i < c; i += SIMD_WIDTH) {
            const ptrdiff_t run = c - i < SIMD_WIDTH ? c - i : SIMD_WIDTH, at = ow * c + i;
            const simd_float diff = simd_load_part(diff_dst + at, run), taps = simd_load_bytes(argmax + at, run);
            for (ptrdiff_t y = kh.first; y < kh.last; y++) {
                float *restrict out = diff_src + ((top + y) * g->w + left + kw.first) * c + i;
                for (ptrdiff_t x = kw.first; x < kw.last; x++, out += c) {
                    const simd_float sent = unpool_tap(diff, taps, (float)(y * g->kw + x));
                    simd_store_part(out, simd_add(simd_load_part(out, run), sent), run);
                }
            }
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

/* A vector of channels of one window: sums run along a row of the window, then over its rows, two short chains instead of
 * a long one. `step` elements lie between rows. */
static inline simd_float pool_sum(const float *restrict window, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t step,
                                  ptrdiff_t c, ptrdiff_t left)
{
    simd_float total = simd_zero();
    for (ptrdiff_t y = 0; y < rows; y++, window += step) {
        simd_float line = simd_zero();
        for (ptrdiff_t x = 0; x < columns; x++) line = simd_add(line, pool_load(window + x * c, left, left));
        total = simd_add(total, line);
    }
    return total;
}

/* Vectors of channels that are summed together: a pass over a large window then reads whole lines side by side, and the
 * additions of one vector do not wait for each other. With AVX2 their sums fill half of the registers. */
enum { POOL_SUMS = 4 };

/* POOL_SUMS whole vectors, each in the order of pool_sum. */
static inline void pool_sums(simd_float *restrict total, const float *restrict window, ptrdiff_t rows,
                             ptrdiff_t columns, ptrdiff_t step, ptrdiff_t c)
{
    for (int v = 0; v < POOL_SUMS; v++) total[v] = simd_zero();
    for (ptrdiff_t y = 0; y < rows; y++, window += step) {
        simd_float line[POOL_SUMS];
#pragma GCC unroll 4
        for (int v = 0; v < POOL_SUMS; v++) line[v] = simd_zero();
        for (ptrdiff_t x = 0; x < columns; x++)
#pragma GCC unroll 4
            for (int v = 0; v < POOL_SUMS; v++) line[v] = simd_add(line[v], simd_load(window + x * c + v * SIMD_WIDTH));
#pragma GCC unroll 4
        for (int v = 0; v < POOL_SUMS; v++) total[v] = simd_add(total[v], line[v]);
    }
}

static void avg_pool_row(float *restrict dst, const float *restrict src, const cnn_pool2d_geometry *g, ptrdiff_t oh)
{
    const ptrdiff_t top = oh * g->stride_h - g->pad_top, c = g->c;
    const pool_range kh = pool_taps(top, g->kh, g->h);
    for (ptrdiff_t ow = 0; ow < g->ow; ow++, dst += c) {
        const ptrdiff_t left = ow * g->stride_w - g->pad_left;
        const pool_range kw = pool_taps(left, g->kw, g->w);
        const simd_float share = simd_set1(pool_share(g, top, left, kh, kw));
        const float *window = src + ((top + kh.first) * g->w + left + kw.first) * c;
        const ptrdiff_t rows = kh.last - kh.first, columns = kw.last - kw.first;
        ptrdiff_t i = 0;
        for (; i + POOL_SUMS * SIMD_WIDTH <= c; i += POOL_SUMS * SIMD_WIDTH) {
            simd_float sums[POOL_SUMS];
            pool_sums(sums, window + i, rows, columns, g->w * c, c);
            for (int v = 0; v < POOL_SUMS; v++) simd_store(dst + i + v * SIMD_WIDTH, sums[v] * share);
        }
        for (; i < c; i += SIMD_WIDTH) {
            const simd_float sum = pool_sum(window + i, rows, columns, g->w * c, c, c - i);
            unpool_store(dst + i, sum * share, c - i, c - i);
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
        const simd_float share = simd_set1(pool_share(g, top, left, kh, kw));
        const float *restrict dy = diff_dst + ow * c;
        for (ptrdiff_t i = 0; i < c; i += SIMD_WIDTH) {
            const ptrdiff_t run = c - i < SIMD_WIDTH ? c - i : SIMD_WIDTH;
            const simd_float sent = pool_load(dy + i, run, run) * share;
            for (ptrdiff_t y = kh.first; y < kh.last; y++) {
                float *out = diff_src + ((top + y) * g->w + left + kw.first) * c + i;
                for (ptrdiff_t x = kw.first; x < kw.last; x++, out += c)
                    unpool_store(out, simd_add(pool_load(out, run, run), sent), run, run);
            }
        }
    }
}

#endif
