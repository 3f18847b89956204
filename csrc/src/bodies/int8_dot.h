/* Products of codes with panels of int8 weights, over the vectors of arch/dot_*.h. A register tile is some pixels of a
 * row by some units of channels; its sums are over all runs before they become codes. */
#ifndef CNN_BODY_INT8_DOT_H
#define CNN_BODY_INT8_DOT_H

#include "bodies/int8_round.h"

static void copy_codes(void *restrict dst, const uint8_t *restrict src, ptrdiff_t count)
{
    dot_code *to = dst;
    for (ptrdiff_t i = 0; i < count; i++) to[i] = src[i];
}

static void fill_codes(void *restrict dst, uint8_t code, ptrdiff_t count)
{
    dot_code *to = dst;
    for (ptrdiff_t i = 0; i < count; i++) to[i] = code;
}

enum {
    TILE_CHANNELS = DOT_UNITS * DOT_CHANNELS,
    TILE_SUMS = TILE_CHANNELS > CNN_PANEL ? TILE_CHANNELS : CNN_PANEL, /* in whole panels */
};

static inline __attribute__((always_inline)) void dot_block(const cnn_dot *d, const int8_t *weights,
                                                            const dot_code *src, int32_t (*sums)[TILE_SUMS],
                                                            const int units, const int pixels)
{
    const ptrdiff_t panel = d->runs * d->quads * CNN_QUAD_BYTES, step = d->src_pixel;
    dot_sum sum[DOT_PIXELS][DOT_UNITS];
#pragma GCC unroll 16
    for (int p = 0; p < pixels; p++)
#pragma GCC unroll 16
        for (int u = 0; u < units; u++) sum[p][u] = dot_zero();
    for (ptrdiff_t run = 0; run < d->runs; run++) {
        const dot_code *at[DOT_PIXELS];
#pragma GCC unroll 16
        for (int p = 0; p < pixels; p++) at[p] = src + d->offsets[run] + p * step;
        for (ptrdiff_t quad = 0; quad < d->quads; quad++, weights += CNN_QUAD_BYTES) {
            dot_weight w[DOT_UNITS];
#pragma GCC unroll 16
            for (int u = 0; u < units; u++)
                w[u] = dot_weights(weights + u * DOT_CHANNELS / CNN_PANEL * panel +
                                   u * DOT_CHANNELS % CNN_PANEL * CNN_QUAD);
#pragma GCC unroll 16
            for (int p = 0; p < pixels; p++) {
                const dot_quad x = dot_codes(at[p] + quad * CNN_QUAD);
#pragma GCC unroll 16
                for (int u = 0; u < units; u++) sum[p][u] = dot_step(sum[p][u], x, &w[u]);
            }
        }
    }
#pragma GCC unroll 16
    for (int p = 0; p < pixels; p++)
#pragma GCC unroll 16
        for (int u = 0; u < units; u++) dot_store(sums[p] + u * DOT_CHANNELS, sum[p][u]);
}

static inline __attribute__((always_inline)) void dot_pixels(const cnn_dot *d, const int8_t *weights,
                                                             const dot_code *src, int32_t (*sums)[TILE_SUMS],
                                                             const int units, ptrdiff_t pixels)
{
    switch (pixels) {
    case 1: dot_block(d, weights, src, sums, units, 1); break;
#if DOT_PIXELS >= 2
    case 2: dot_block(d, weights, src, sums, units, 2); break;
#endif
#if DOT_PIXELS >= 6
    case 3: dot_block(d, weights, src, sums, units, 3); break;
    case 4: dot_block(d, weights, src, sums, units, 4); break;
    case 5: dot_block(d, weights, src, sums, units, 5); break;
    case 6: dot_block(d, weights, src, sums, units, 6); break;
#endif
    default: assert(!"pixels within the tile");
    }
}

static void dot_units(const cnn_dot *d, const int8_t *weights, const dot_code *src, int32_t (*sums)[TILE_SUMS],
                      ptrdiff_t units, ptrdiff_t pixels)
{
    switch (units) {
    case 1: dot_pixels(d, weights, src, sums, 1, pixels); break;
#if DOT_UNITS >= 2
    case 2: dot_pixels(d, weights, src, sums, 2, pixels); break;
#endif
#if DOT_UNITS >= 4
    case 3: dot_pixels(d, weights, src, sums, 3, pixels); break;
    case 4: dot_pixels(d, weights, src, sums, 4, pixels); break;
#endif
    default: assert(!"units within the tile");
    }
}

/* Channels first ... last - 1, which begin with a part of a panel and are as many as a tile has. */
static void dot_channels(const cnn_dot *d, ptrdiff_t first, ptrdiff_t last, const rounding *how, int within)
{
    const ptrdiff_t panel = d->runs * d->quads * CNN_QUAD_BYTES, tiles = (d->pixels + DOT_PIXELS - 1) / DOT_PIXELS;
    const int8_t *weights = d->weights + first / CNN_PANEL * panel + first % CNN_PANEL * CNN_QUAD;
    const ptrdiff_t units = (last - first + DOT_CHANNELS - 1) / DOT_CHANNELS;
    int32_t sums[DOT_PIXELS][TILE_SUMS] = {{0}};
    for (ptrdiff_t row = 0; row < d->rows; row++)
        for (ptrdiff_t tile = 0, p = 0; tile < tiles; tile++) {
            const ptrdiff_t pixels = d->pixels / tiles + (tile < d->pixels % tiles);
            dot_units(d, weights, (const dot_code *)d->src + row * d->src_row + p * d->src_pixel, sums, units, pixels);
            for (ptrdiff_t i = 0; i < pixels; i++)
                round_sums(d->dst + row * d->dst_row + (p + i) * d->dst_pixel + first, sums[i], how, within,
                           (int)(last - first));
            p += pixels;
        }
}

static void dot(const cnn_dot *d)
{
    rounding how;
    for (ptrdiff_t block = 0; block < d->channels; block += ROUND_CHANNELS) {
        const ptrdiff_t end = cnn_min(block + ROUND_CHANNELS, d->channels);
        rounding_of(&how, d->bias + block, d->multipliers + block, d->shifts + block, end - block, &d->range);
        for (ptrdiff_t first = block; first < end; first += TILE_CHANNELS)
            dot_channels(d, first, cnn_min(first + TILE_CHANNELS, end), &how, (int)(first - block));
    }
}

/* ---- a filter for each channel ------------------------------------------------------------------------------------ */

static void dot_depthwise(const cnn_dot_depthwise *d)
{
    const ptrdiff_t panel = (d->taps + CNN_QUAD - 1) / CNN_QUAD * CNN_QUAD_BYTES;
    rounding how;
    for (ptrdiff_t first = 0; first < d->channels; first += CNN_PANEL) {
        const int count = (int)cnn_min(CNN_PANEL, d->channels - first);
        const int8_t *weights = d->weights + first / CNN_PANEL * panel;
        rounding_of(&how, d->bias + first, d->multipliers + first, d->shifts + first, count, &d->range);
        for (ptrdiff_t p = 0; p < d->pixels; p++) {
            const dot_code *src = (const dot_code *)d->src + p * d->src_pixel + first;
            int32_t sums[CNN_PANEL] = {0};
            for (ptrdiff_t t = 0; t < d->taps; t++) {
                const int8_t *w = weights + t / CNN_QUAD * CNN_QUAD_BYTES + t % CNN_QUAD;
                const dot_code *x = src + d->offsets[t];
                for (int c = 0; c < CNN_PANEL; c++) sums[c] += x[c] * w[CNN_QUAD * c];
            }
            round_sums(d->dst + p * d->channels + first, sums, &how, 0, count);
        }
    }
}

#endif
