/* The two-dimensional transforms of Winograd convolution, vectorised over channels: the one-dimensional one on every
 * column, then on every row. Sizes are compile-time constants inside the bodies, so that everything unrolls. */
#ifndef CNN_BODY_WINOGRAD_H
#define CNN_BODY_WINOGRAD_H

#include "bodies/activation.h"
#include "bodies/pool.h"
#include "bodies/winograd_edges.h"
#include "bodies/winograd_pieces.h"

/* ---- source and gradient patches -------------------------------------------------------------------------------- */

WINOGRAD_INLINE void winograd_patch_slice(const cnn_winograd_patch *p, const int tile, const int kernel,
                                          const bool is_diff, const bool pooled, const int part, ptrdiff_t channel,
                                          ptrdiff_t left)
{
    enum { MOST = WINOGRAD_MOST };
    const int alpha = tile + kernel - 1, size = is_diff ? tile : alpha, rows = part == WINOGRAD_ALL ? alpha : 2;
    const bool summing = is_diff && part <= 0 && p->sums;
    simd_float half[MOST][MOST], sum = summing ? simd_load(p->sums + channel) : simd_zero();
#pragma GCC unroll 8
    for (int c = 0; c < size; c++) {
        simd_float in[MOST], out[MOST];
        if (c >= p->first && c < p->last) {
#pragma GCC unroll 8
            for (int i = 0; i < size; i++) in[i] = winograd_pixel(p, i, c, channel, left, pooled);
            if (summing)
#pragma GCC unroll 8
                for (int i = 0; i < size; i++) sum = simd_add(sum, in[i]);
            if (is_diff)
                winograd_diff_1d(out, in, tile, kernel, 0);
            else
                winograd_input_1d(out, in, tile, kernel, 0);
        } else {
#pragma GCC unroll 8
            for (int i = 0; i < alpha; i++) out[i] = simd_zero();
        }
#pragma GCC unroll 8
        for (int i = 0; i < alpha; i++) half[i][c] = out[i];
    }
    if (summing) simd_store(p->sums + channel, sum);
    float *to = p->dst + channel / CNN_PANEL * p->panel + channel % CNN_PANEL;
    const ptrdiff_t position = p->position; /* a store through `to` might change *p, for all the compiler knows */
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
        const int row = part == WINOGRAD_ALL ? i : cnn_winograd_part_row(alpha, part, i);
        simd_float out[MOST];
        if (is_diff)
            winograd_diff_1d(out, half[row], tile, kernel, 0);
        else
            winograd_input_1d(out, half[row], tile, kernel, 0);
#pragma GCC unroll 8
        for (int j = 0; j < alpha; j++) simd_store(to + (i * alpha + j) * position, out[j]);
    }
}

WINOGRAD_INLINE void winograd_patch_body(const cnn_winograd_patch *p, const int tile, const int kernel,
                                         const bool is_diff, const bool pooled, const int part)
{
    ptrdiff_t channel = 0;
    for (; channel + SIMD_WIDTH <= p->channels; channel += SIMD_WIDTH)
        winograd_patch_slice(p, tile, kernel, is_diff, pooled, part, channel, SIMD_WIDTH);
    for (; channel % CNN_PANEL != 0 || channel < p->channels; channel += SIMD_WIDTH)
        winograd_patch_slice(p, tile, kernel, is_diff, pooled, part, channel, p->channels - channel);
}

/* The positions of a part; part 2 of a 4 x 4 patch, as part 3 of all but the largest, is not there. */
WINOGRAD_INLINE void winograd_patch_part(const cnn_winograd_patch *p, const int tile, const int kernel,
                                         const bool is_diff, const bool pooled)
{
    const int parts = (tile + kernel - 1) / 2;
    if (p->part == 0) winograd_patch_body(p, tile, kernel, is_diff, pooled, 0);
    if (p->part == 1) winograd_patch_body(p, tile, kernel, is_diff, pooled, 1);
    if (p->part == 2 && parts > 2) winograd_patch_body(p, tile, kernel, is_diff, pooled, 2);
    if (p->part == 3 && parts > 3) winograd_patch_body(p, tile, kernel, is_diff, pooled, 3);
}

static void winograd_input(const cnn_winograd_patch *p)
{
    assert(p->part == WINOGRAD_ALL || !p->pooled);
    if (p->less_rows || p->less_columns)
        WINOGRAD_DISPATCH(winograd_edge_patch, p, false);
    else if (p->part != WINOGRAD_ALL)
        WINOGRAD_DISPATCH(winograd_patch_part, p, false, false);
    else if (p->pooled)
        WINOGRAD_DISPATCH(winograd_patch_body, p, false, true, WINOGRAD_ALL);
    else
        WINOGRAD_DISPATCH(winograd_patch_body, p, false, false, WINOGRAD_ALL);
}

static void winograd_diff(const cnn_winograd_patch *p)
{
    if (p->less_rows || p->less_columns)
        WINOGRAD_DISPATCH(winograd_edge_patch, p, true);
    else if (p->part == WINOGRAD_ALL && p->pooled)
        WINOGRAD_DISPATCH(winograd_patch_body, p, true, true, WINOGRAD_ALL);
    else if (p->part == WINOGRAD_ALL)
        WINOGRAD_DISPATCH(winograd_patch_body, p, true, false, WINOGRAD_ALL);
    else if (p->pooled)
        WINOGRAD_DISPATCH(winograd_patch_part, p, true, true);
    else
        WINOGRAD_DISPATCH(winograd_patch_part, p, true, false);
}

/* ---- output tiles ----------------------------------------------------------------------------------------------- */

WINOGRAD_INLINE void winograd_tile_body(const cnn_winograd_tile *t, const int tile, const int kernel, const bool pool,
                                        const bool taps)
{
    enum { MOST = WINOGRAD_MOST };
    const int alpha = tile + kernel - 1;
    const ptrdiff_t position = t->position, dst_row = t->dst_row, dst_pixel = t->dst_pixel;
    /* what comes before the maximum, ReLU excepted, or needs more than bounds */
    const bool other = pool ? t->activation > CNN_ACTIVATION_RELU : !activation_only_bounds(t->activation);
    const activation_bounds bounds = activation_bounds_of(other ? CNN_ACTIVATION_NONE : t->activation);
    for (ptrdiff_t channel = 0; channel < t->channels; channel += SIMD_WIDTH) {
        const ptrdiff_t left = t->channels - channel;
        const float *from = t->src + channel;
        const simd_float bias = t->bias ? simd_load_part(t->bias + channel, left) : simd_zero();
        simd_float half[MOST][MOST], y[MOST][MOST];
#pragma GCC unroll 8
        for (int c = 0; c < alpha; c++) {
            simd_float in[MOST], out[MOST];
#pragma GCC unroll 8
            for (int i = 0; i < alpha; i++) in[i] = simd_load(from + (i * alpha + c) * position);
            winograd_output_1d(out, in, tile, kernel, 0);
#pragma GCC unroll 8
            for (int i = 0; i < tile; i++) half[i][c] = out[i];
        }
#pragma GCC unroll 8
        for (int i = 0; i < tile; i++) {
            winograd_output_1d(y[i], half[i], tile, kernel, 0);
#pragma GCC unroll 8
            for (int j = 0; j < tile; j++) y[i][j] = simd_add(y[i][j], bias);
            if (pool || other) continue;
            if (i >= t->rows) break;
#pragma GCC unroll 8
            for (int j = 0; j < tile; j++) {
                if (j >= t->columns) break;
                winograd_store(t, activation_bounded(bounds, y[i][j]), i * dst_row + j * dst_pixel + channel, left);
            }
        }
        if (other) {
            float ends[MOST * MOST * SIMD_WIDTH];
#pragma GCC unroll 8
            for (int i = 0; i < tile; i++)
#pragma GCC unroll 8
                for (int j = 0; j < tile; j++) simd_store(ends + (i * tile + j) * SIMD_WIDTH, y[i][j]);
            activation_end(t->activation, ends, (ptrdiff_t)tile * tile * SIMD_WIDTH);
            for (int i = 0; !pool && i < tile && i < t->rows; i++)
                for (int j = 0; j < tile && j < t->columns; j++)
                    winograd_store(t, simd_load(ends + (i * tile + j) * SIMD_WIDTH),
                                   i * dst_row + j * dst_pixel + channel, left);
            if (pool)
#pragma GCC unroll 8
                for (int i = 0; i < tile; i++)
#pragma GCC unroll 8
                    for (int j = 0; j < tile; j++) y[i][j] = simd_load(ends + (i * tile + j) * SIMD_WIDTH);
        }
        if (!pool) continue;
#pragma GCC unroll 8
        for (int i = 0; i < tile / 2; i++) {
            if (i >= t->rows) break;
#pragma GCC unroll 8
            for (int j = 0; j < tile / 2; j++) {
                if (j >= t->columns) break;
                const pool_best best = pool_of_four(y[2 * i][2 * j], y[2 * i][2 * j + 1], y[2 * i + 1][2 * j],
                                                    y[2 * i + 1][2 * j + 1], t->activation == CNN_ACTIVATION_RELU);
                const ptrdiff_t at = i * dst_row + j * dst_pixel + channel;
                pool_store(t->dst + at, taps ? t->argmax + at : NULL, best, left, left);
            }
        }
    }
}

static void winograd_output(const cnn_winograd_tile *t)
{
    assert(!t->pool || !t->mask);
    if (t->less_rows || t->less_columns)
        WINOGRAD_DISPATCH(winograd_edge_tile, t, t->pool);
    else if (t->pool && t->argmax)
        WINOGRAD_DISPATCH(winograd_tile_body, t, true, true);
    else if (t->pool)
        WINOGRAD_DISPATCH(winograd_tile_body, t, true, false);
    else
        WINOGRAD_DISPATCH(winograd_tile_body, t, false, false);
}

/* ---- filters ---------------------------------------------------------------------------------------------------- */

/* G g G^T of every filter, or G^T S G of every sum */
WINOGRAD_INLINE void winograd_filter_body(const cnn_winograd_filters *f, const int tile, const int kernel,
                                          const bool is_gradient)
{
    enum { MOST = WINOGRAD_MOST };
    const int alpha = tile + kernel - 1, from = is_gradient ? alpha : kernel, to = is_gradient ? kernel : alpha;
    const ptrdiff_t src_stride = is_gradient ? f->positions : f->taps;
    const ptrdiff_t dst_stride = is_gradient ? f->taps : f->positions;
    for (ptrdiff_t row = 0; row < f->rows; row++)
        for (ptrdiff_t lane = 0; lane < CNN_PANEL; lane += SIMD_WIDTH) {
            const float *src = f->src + row * f->src_row + lane;
            float *dst = f->dst + row * f->dst_row + lane;
            simd_float half[MOST][MOST];
#pragma GCC unroll 8
            for (int c = 0; c < from; c++) {
                simd_float in[MOST], out[MOST];
#pragma GCC unroll 8
                for (int i = 0; i < from; i++) in[i] = simd_load(src + (i * from + c) * src_stride);
                if (is_gradient)
                    winograd_gradient_1d(out, in, tile, kernel);
                else
                    winograd_filter_1d(out, in, tile, kernel);
#pragma GCC unroll 8
                for (int i = 0; i < to; i++) half[i][c] = out[i];
            }
#pragma GCC unroll 8
            for (int i = 0; i < to; i++) {
                simd_float out[MOST];
                if (is_gradient)
                    winograd_gradient_1d(out, half[i], tile, kernel);
                else
                    winograd_filter_1d(out, half[i], tile, kernel);
#pragma GCC unroll 8
                for (int j = 0; j < to; j++) simd_store(dst + (i * to + j) * dst_stride, out[j]);
            }
        }
}

static void winograd_filter(const cnn_winograd_filters *f) { WINOGRAD_DISPATCH(winograd_filter_body, f, false); }

static void winograd_gradient(const cnn_winograd_filters *f) { WINOGRAD_DISPATCH(winograd_filter_body, f, true); }

#endif
