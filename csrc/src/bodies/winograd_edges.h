/* The transforms of Winograd convolution for tiles that reach beyond the map. Their loops stay loops: unrolled for every
 * size and every number of rows and columns that are not wanted they made the library half as large again. */
#ifndef CNN_BODY_WINOGRAD_EDGES_H
#define CNN_BODY_WINOGRAD_EDGES_H

#include "bodies/activation.h"
#include "bodies/pool.h"
#include "bodies/winograd_pieces.h"

WINOGRAD_INLINE void winograd_edge_slice(const cnn_winograd_patch *p, const int tile, const int kernel,
                                         const bool is_diff, const bool pooled, const int part, ptrdiff_t channel,
                                         ptrdiff_t left)
{
    enum { MOST = WINOGRAD_MOST };
    const int alpha = tile + kernel - 1, size = is_diff ? tile : alpha, rows = part == WINOGRAD_ALL ? alpha : 2;
    const int less_rows = p->less_rows, less_columns = p->less_columns;
    const int height = size - less_rows, width = size - less_columns; /* of the patch, as far as it counts */
    const bool summing = is_diff && part <= 0 && p->sums;
    simd_float half[MOST][MOST], in[MOST], out[MOST], sum = summing ? simd_load(p->sums + channel) : simd_zero();
    for (int i = 0; i < MOST; i++) in[i] = simd_zero();
    for (int c = 0; c < size; c++) {
        if (c < width && c >= p->first && c < p->last) {
            for (int i = 0; i < height; i++) in[i] = winograd_pixel(p, i, c, channel, left, pooled);
            for (int i = 0; summing && i < height; i++) sum = simd_add(sum, in[i]);
            if (is_diff)
                winograd_diff_1d(out, in, tile, kernel, less_rows);
            else
                winograd_input_1d(out, in, tile, kernel, less_rows);
        } else {
            for (int i = 0; i < alpha; i++) out[i] = simd_zero();
        }
        for (int i = 0; i < rows; i++)
            half[i][c] = out[part == WINOGRAD_ALL ? i : cnn_winograd_part_row(alpha, part, i)];
    }
    if (summing) simd_store(p->sums + channel, sum);
    float *to = p->dst + channel / CNN_PANEL * p->panel + channel % CNN_PANEL;
    const ptrdiff_t position = p->position;
    for (int i = 0; i < rows; i++) {
        const int row = part == WINOGRAD_ALL ? i : cnn_winograd_part_row(alpha, part, i);
        if (!cnn_winograd_keeps(alpha, less_rows, row)) continue;
        if (is_diff)
            winograd_diff_1d(out, half[i], tile, kernel, less_columns);
        else
            winograd_input_1d(out, half[i], tile, kernel, less_columns);
        for (int j = 0; j < alpha; j++) simd_store(to + (i * alpha + j) * position, out[j]);
    }
}

WINOGRAD_INLINE void winograd_edge_part(const cnn_winograd_patch *p, const int tile, const int kernel,
                                        const bool is_diff, const bool pooled, const int part)
{
    for (ptrdiff_t channel = 0; channel % CNN_PANEL != 0 || channel < p->channels; channel += SIMD_WIDTH)
        winograd_edge_slice(p, tile, kernel, is_diff, pooled, part, channel, p->channels - channel);
}

/* All positions, or a part: see winograd_patch_part. */
WINOGRAD_INLINE void winograd_edge_patch(const cnn_winograd_patch *p, const int tile, const int kernel,
                                         const bool is_diff)
{
    const int parts = (tile + kernel - 1) / 2;
    if (p->part == WINOGRAD_ALL) winograd_edge_part(p, tile, kernel, is_diff, p->pooled, WINOGRAD_ALL);
    if (p->part == 0) winograd_edge_part(p, tile, kernel, is_diff, p->pooled, 0);
    if (p->part == 1) winograd_edge_part(p, tile, kernel, is_diff, p->pooled, 1);
    if (p->part == 2 && parts > 2) winograd_edge_part(p, tile, kernel, is_diff, p->pooled, 2);
    if (p->part == 3 && parts > 3) winograd_edge_part(p, tile, kernel, is_diff, p->pooled, 3);
}

/* Of every four outputs the largest */
WINOGRAD_INLINE void winograd_edge_pool(const cnn_winograd_tile *t, const float *y, const int tile, ptrdiff_t channel)
{
    const ptrdiff_t left = t->channels - channel;
    for (int i = 0; i < t->rows; i++)
        for (int j = 0; j < t->columns; j++) {
            const float *upper = y + (2 * i * tile + 2 * j) * SIMD_WIDTH, *lower = upper + tile * SIMD_WIDTH;
            const pool_best best = pool_of_four(simd_load(upper), simd_load(upper + SIMD_WIDTH), simd_load(lower),
                                                simd_load(lower + SIMD_WIDTH), t->activation == CNN_ACTIVATION_RELU);
            const ptrdiff_t at = i * t->dst_row + j * t->dst_pixel + channel;
            pool_store(t->dst + at, t->argmax ? t->argmax + at : NULL, best, left, left);
        }
}

WINOGRAD_INLINE void winograd_edge_tile(const cnn_winograd_tile *t, const int tile, const int kernel, const bool pool)
{
    enum { MOST = WINOGRAD_MOST };
    const int alpha = tile + kernel - 1;
    const int height = tile - t->less_rows, width = tile - t->less_columns;
    const ptrdiff_t position = t->position;
    const bool other = pool ? t->activation > CNN_ACTIVATION_RELU : !activation_only_bounds(t->activation);
    const activation_bounds bounds = activation_bounds_of(other ? CNN_ACTIVATION_NONE : t->activation);
    for (ptrdiff_t channel = 0; channel < t->channels; channel += SIMD_WIDTH) {
        const ptrdiff_t left = t->channels - channel;
        const float *from = t->src + channel;
        const simd_float bias = t->bias ? simd_load_part(t->bias + channel, left) : simd_zero();
        simd_float half[MOST][MOST], in[MOST], out[MOST];
        float y[MOST * MOST * SIMD_WIDTH];
        for (int c = 0; c < alpha; c++) {
            for (int i = 0; i < alpha; i++) in[i] = simd_load(from + (i * alpha + c) * position);
            winograd_output_1d(out, in, tile, kernel, t->less_rows);
            for (int i = 0; i < tile; i++) half[i][c] = out[i];
        }
        for (int i = 0; i < tile; i++) {
            winograd_output_1d(out, half[i], tile, kernel, t->less_columns);
            for (int j = 0; j < tile; j++) simd_store(y + (i * tile + j) * SIMD_WIDTH, simd_add(out[j], bias));
        }
        if (other) activation_end(t->activation, y, (ptrdiff_t)tile * tile * SIMD_WIDTH);
        if (pool) {
            winograd_edge_pool(t, y, tile, channel);
            continue;
        }
        for (int i = 0; i < height; i++)
            for (int j = 0; j < width; j++)
                winograd_store(t, activation_bounded(bounds, simd_load(y + (i * tile + j) * SIMD_WIDTH)),
                               i * t->dst_row + j * t->dst_pixel + channel, left);
    }
}

#endif
