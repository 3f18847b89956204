/* Products of codes with panels of int8 weights, over the vectors of arch/dot_*.h. A register tile is some pixels of a
 * row by some units of channels; its sums are over all runs before they become codes. */
#ifndef CNN_BODY_INT8_DOT_H
#define CNN_BODY_INT8_DOT_H

#include "bodies/int8_round.h"
#ifdef ROUND_NATIVE
#include ROUND_NATIVE
#endif

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

/* Where a tile's codes go, and how its sums become codes: channels of `how` from `within` on. */
typedef struct dot_end {
    uint8_t *dst;
    const rounding *how;
    int within, channels;
} dot_end;

static inline __attribute__((always_inline)) void dot_block(const cnn_dot *d, const int8_t *weights,
                                                            const dot_code *src, const dot_end *end, const int units,
                                                            const int pixels)
{
    const ptrdiff_t panel = d->runs * d->quads * CNN_QUAD_BYTES, step = d->src_pixel;
    const int32_t *starts = end->how->starts + end->within;
    dot_sum sum[DOT_PIXELS][DOT_UNITS];
#pragma GCC unroll 16
    for (int p = 0; p < pixels; p++)
#pragma GCC unroll 16
        for (int u = 0; u < units; u++) sum[p][u] = dot_start(starts + u * DOT_CHANNELS);
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
#ifdef ROUND_NATIVE
    if (end->how->is_short && units % ROUND_UNITS == 0) {
        round_block(end->dst, d->dst_pixel, sum, end->how, end->within, end->channels, units, pixels);
        return;
    }
#endif
    int32_t sums[DOT_PIXELS][TILE_SUMS] = {{0}};
#pragma GCC unroll 16
    for (int p = 0; p < pixels; p++)
#pragma GCC unroll 16
        for (int u = 0; u < units; u++) dot_store(sums[p] + u * DOT_CHANNELS, sum[p][u]);
    round_tile(end->dst, d->dst_pixel, sums[0], TILE_SUMS, pixels, end->channels, end->how, end->within);
}

#define DOT_CASE(count)                                                                                                \
    case count:                                                                                                        \
        if (units * count <= DOT_SUMS) dot_block(d, weights, src, end, units, count);                                  \
        break;

static inline __attribute__((always_inline)) void dot_pixels(const cnn_dot *d, const int8_t *weights,
                                                             const dot_code *src, const dot_end *end, const int units,
                                                             ptrdiff_t pixels)
{
    switch (pixels) {
        DOT_CASE(1)
        DOT_CASE(2)
#if DOT_PIXELS >= 6
        DOT_CASE(3)
        DOT_CASE(4)
        DOT_CASE(5)
        DOT_CASE(6)
#endif
#if DOT_PIXELS >= 8
        DOT_CASE(7)
        DOT_CASE(8)
#endif
    default: assert(!"pixels within the tile");
    }
}

#undef DOT_CASE

static void dot_units(const cnn_dot *d, const int8_t *weights, const dot_code *src, const dot_end *end, ptrdiff_t units,
                      ptrdiff_t pixels)
{
    switch (units) {
    case 1: dot_pixels(d, weights, src, end, 1, pixels); break;
#if DOT_UNITS >= 2
    case 2: dot_pixels(d, weights, src, end, 2, pixels); break;
#endif
#if DOT_UNITS >= 4
    case 3: dot_pixels(d, weights, src, end, 3, pixels); break;
    case 4: dot_pixels(d, weights, src, end, 4, pixels); break;
#endif
    default: assert(!"units within the tile");
    }
}

/* Channels first ... last - 1, which begin with a part of a panel and are as many as a tile has at most. */
static void dot_channels(const cnn_dot *d, ptrdiff_t first, ptrdiff_t last, const rounding *how, int within)
{
    const ptrdiff_t panel = d->runs * d->quads * CNN_QUAD_BYTES;
    const int8_t *weights = d->weights + first / CNN_PANEL * panel + first % CNN_PANEL * CNN_QUAD;
#ifdef ROUND_NATIVE
    const ptrdiff_t units =
        (last - first + ROUND_UNITS * DOT_CHANNELS - 1) / (ROUND_UNITS * DOT_CHANNELS) * ROUND_UNITS;
#else
    const ptrdiff_t units = (last - first + DOT_CHANNELS - 1) / DOT_CHANNELS;
#endif
    const ptrdiff_t most = units * DOT_PIXELS > DOT_SUMS ? DOT_SUMS / units : DOT_PIXELS;
    const ptrdiff_t tiles = (d->pixels + most - 1) / most, each = d->pixels / tiles, longer = d->pixels % tiles;
    dot_end end = {.how = how, .within = within, .channels = (int)(last - first)};
    for (ptrdiff_t row = 0; row < d->rows; row++) {
        const dot_code *src = (const dot_code *)d->src + row * d->src_row;
        end.dst = d->dst + row * d->dst_row + first;
        for (ptrdiff_t tile = 0; tile < tiles; tile++) {
            const ptrdiff_t pixels = each + (tile < longer);
            dot_units(d, weights, src, &end, units, pixels);
            src += pixels * d->src_pixel;
            end.dst += pixels * d->dst_pixel;
        }
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

/* Filters of more taps are taken as they lie in memory. */
enum { TURNED_TAPS = 64 };

static inline void depthwise_plain(const cnn_dot_depthwise *d)
{
    const ptrdiff_t panel = (d->taps + CNN_QUAD - 1) / CNN_QUAD * CNN_QUAD_BYTES;
    int16_t turned[TURNED_TAPS][CNN_PANEL];
    rounding how;
    for (ptrdiff_t first = 0; first < d->channels; first += CNN_PANEL) {
        const int count = (int)cnn_min(CNN_PANEL, d->channels - first);
        const int8_t *weights = d->weights + first / CNN_PANEL * panel;
        rounding_of(&how, d->bias + first, d->multipliers + first, d->shifts + first, count, &d->range);
        for (ptrdiff_t t = 0; t < cnn_min(d->taps, TURNED_TAPS); t++)
            for (int c = 0; c < CNN_PANEL; c++)
                turned[t][c] = weights[t / CNN_QUAD * CNN_QUAD_BYTES + CNN_QUAD * c + t % CNN_QUAD];
        for (ptrdiff_t p = 0; p < d->pixels; p++) {
            const dot_code *src = (const dot_code *)d->src + p * d->src_pixel + first;
            int32_t sums[CNN_PANEL];
            memcpy(sums, how.starts, sizeof sums);
            for (ptrdiff_t t = 0; t < cnn_min(d->taps, TURNED_TAPS); t++) {
                const dot_code *x = src + d->offsets[t];
                for (int c = 0; c < CNN_PANEL; c++) sums[c] += x[c] * turned[t][c];
            }
            for (ptrdiff_t t = TURNED_TAPS; t < d->taps; t++)
                for (int c = 0; c < CNN_PANEL; c++)
                    sums[c] +=
                        src[d->offsets[t] + c] * weights[t / CNN_QUAD * CNN_QUAD_BYTES + CNN_QUAD * c + t % CNN_QUAD];
            round_tile(d->dst + p * d->channels + first, 0, sums, 0, 1, count, &how, 0);
        }
    }
}

#ifdef DOT_NATIVE_DEPTHWISE
#include DOT_NATIVE_DEPTHWISE
#else
static void dot_depthwise(const cnn_dot_depthwise *d) { depthwise_plain(d); }
#endif

#endif
