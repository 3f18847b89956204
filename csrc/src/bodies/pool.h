/* Pooling, vectorised over channels. */
#ifndef CNN_BODY_POOL_H
#define CNN_BODY_POOL_H

#include "bodies/sums.h"
#include "kernels.h"

/* The first of equals wins; a NaN wins over everything before it. */
static void pool_2x2(float *restrict dst, uint8_t *restrict argmax, const float *restrict top,
                     const float *restrict bottom, ptrdiff_t pooled, ptrdiff_t c, bool relu)
{
    for (ptrdiff_t p = 0; p < pooled; p++) {
        const float *restrict a = top + 2 * p * c, *restrict b = a + c;
        const float *restrict d = bottom + 2 * p * c, *restrict e = d + c;
        float *restrict out = dst + p * c;
        if (!argmax) {
            for (ptrdiff_t i = 0; i < c; i++) {
                float best = a[i];
                best = b[i] > best || b[i] != b[i] ? b[i] : best;
                best = d[i] > best || d[i] != d[i] ? d[i] : best;
                best = e[i] > best || e[i] != e[i] ? e[i] : best;
                out[i] = relu && best <= 0.0f ? 0.0f : best;
            }
            continue;
        }
        uint8_t *restrict where = argmax + p * c;
        for (ptrdiff_t i = 0; i < c; i++) {
            float best = a[i];
            int32_t index = 0;
            index = b[i] > best || b[i] != b[i] ? 1 : index;
            best = b[i] > best || b[i] != b[i] ? b[i] : best;
            index = d[i] > best || d[i] != d[i] ? 2 : index;
            best = d[i] > best || d[i] != d[i] ? d[i] : best;
            index = e[i] > best || e[i] != e[i] ? 3 : index;
            best = e[i] > best || e[i] != e[i] ? e[i] : best;
            const bool off = relu && best <= 0.0f;
            out[i] = off ? 0.0f : best;
            where[i] = (uint8_t)(off ? 255 : index);
        }
    }
}

/* The gradient of pool_2x2: two rows [2*pooled][c], every element written. */
static void unpool_2x2(float *restrict top, float *restrict bottom, const float *restrict diff_dst,
                       const uint8_t *restrict argmax, ptrdiff_t pooled, ptrdiff_t c)
{
    for (ptrdiff_t p = 0; p < pooled; p++) {
        float *restrict a = top + 2 * p * c, *restrict b = a + c;
        float *restrict d = bottom + 2 * p * c, *restrict e = d + c;
        const float *restrict dy = diff_dst + p * c;
        const uint8_t *restrict where = argmax + p * c;
        for (ptrdiff_t i = 0; i < c; i++) {
            const int32_t index = where[i];
            a[i] = index == 0 ? dy[i] : 0.0f;
            b[i] = index == 1 ? dy[i] : 0.0f;
            d[i] = index == 2 ? dy[i] : 0.0f;
            e[i] = index == 3 ? dy[i] : 0.0f;
        }
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

/* 1 / the number of elements that an average is taken over */
static inline float pool_share(const cnn_pool2d_geometry *g, pool_range kh, pool_range kw)
{
    const ptrdiff_t inside = (kh.last - kh.first) * (kw.last - kw.first);
    return 1.0f / (float)(g->count_include_pad ? g->kh * g->kw : inside);
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
        const float share = pool_share(g, kh, kw);
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
        const float share = pool_share(g, kh, kw);
        const float *restrict dy = diff_dst + ow * c;
        for (ptrdiff_t y = kh.first; y < kh.last; y++)
            for (ptrdiff_t x = kw.first; x < kw.last; x++) {
                float *restrict out = diff_src + ((top + y) * g->w + left + x) * c;
                for (ptrdiff_t i = 0; i < c; i++) out[i] += dy[i] * share;
            }
    }
}

#endif
