/* Winograd's F(2x2, 3x3) of codes, in whole numbers: the sums of a tile, over all channels, of transformed codes times
 * transformed weights are A^T (...) A four times the sums of the convolution, since the weights are transformed by 2G. */
#ifndef CNN_BODY_WINOGRAD_INT8_H
#define CNN_BODY_WINOGRAD_INT8_H

#include "bodies/int8_dot.h"

static inline void turn_panel(int16_t *restrict dst, ptrdiff_t dst_tap, const uint8_t *restrict src, ptrdiff_t src_row,
                              ptrdiff_t src_pixel)
{
    int16_t half[4][4][CNN_PANEL];
    for (int x = 0; x < 4; x++) {
        const uint8_t *d0 = src + x * src_pixel, *d1 = d0 + src_row, *d2 = d1 + src_row, *d3 = d2 + src_row;
        for (int c = 0; c < CNN_PANEL; c++) {
            half[0][x][c] = (int16_t)(d0[c] - d2[c]);
            half[1][x][c] = (int16_t)(d1[c] + d2[c]);
            half[2][x][c] = (int16_t)(d2[c] - d1[c]);
            half[3][x][c] = (int16_t)(d1[c] - d3[c]);
        }
    }
    for (int y = 0; y < 4; y++, dst += 4 * dst_tap)
        for (int c = 0; c < CNN_PANEL; c++) {
            dst[c] = (int16_t)(half[y][0][c] - half[y][2][c]);
            dst[dst_tap + c] = (int16_t)(half[y][1][c] + half[y][2][c]);
            dst[2 * dst_tap + c] = (int16_t)(half[y][2][c] - half[y][1][c]);
            dst[3 * dst_tap + c] = (int16_t)(half[y][1][c] - half[y][3][c]);
        }
}

static void turn_codes(int16_t *restrict dst, ptrdiff_t dst_tap, const uint8_t *restrict src, ptrdiff_t src_row,
                       ptrdiff_t src_pixel, ptrdiff_t depth)
{
    for (ptrdiff_t c = 0; c < depth; c += CNN_PANEL) turn_panel(dst + c, dst_tap, src + c, src_row, src_pixel);
}

/* sums[tile][16] of so many tiles at one place of the tile: products with a panel */
static inline __attribute__((always_inline)) void multiply_pairs(int32_t *restrict sums, const int16_t *restrict src,
                                                                 ptrdiff_t depth, const int16_t *restrict weights,
                                                                 ptrdiff_t pairs, const int tiles)
{
    enum { VECTORS = CNN_PANEL / PAIR_CHANNELS };
    pair_sum sum[PAIR_TILES][VECTORS];
#pragma GCC unroll 16
    for (int t = 0; t < tiles; t++)
#pragma GCC unroll 16
        for (int v = 0; v < VECTORS; v++) sum[t][v] = pair_zero();
    for (ptrdiff_t pair = 0; pair < pairs; pair++, src += 2, weights += 2 * CNN_PANEL) {
        pair_weights w[VECTORS];
#pragma GCC unroll 16
        for (int v = 0; v < VECTORS; v++) w[v] = pair_load(weights + 2 * v * PAIR_CHANNELS);
#pragma GCC unroll 16
        for (int t = 0; t < tiles; t++)
#pragma GCC unroll 16
            for (int v = 0; v < VECTORS; v++) sum[t][v] = pair_step(sum[t][v], src + t * depth, &w[v]);
    }
#pragma GCC unroll 16
    for (int t = 0; t < tiles; t++)
#pragma GCC unroll 16
        for (int v = 0; v < VECTORS; v++) pair_store(sums + t * CNN_PANEL + v * PAIR_CHANNELS, sum[t][v]);
}

#define PAIR_CASE(count)                                                                                               \
    case count: multiply_pairs(sums, src, depth, weights, pairs, count <= PAIR_TILES ? count : 1); break;

static void multiply_tiles(int32_t *restrict sums, const int16_t *restrict src, ptrdiff_t depth,
                           const int16_t *restrict weights, ptrdiff_t pairs, int tiles)
{
    assert(tiles >= 1 && tiles <= PAIR_TILES && PAIR_TILES <= 6);
    switch (tiles) {
        PAIR_CASE(1)
        PAIR_CASE(2)
        PAIR_CASE(3)
        PAIR_CASE(4)
        PAIR_CASE(5)
        PAIR_CASE(6)
    }
}

#undef PAIR_CASE

/* The sums of the four pixels of a tile from those of its 16 places, which lie so far apart. They wrap round; what counts
 * is that four times a sum fits 32 bits. */
static inline void turn_sums(int32_t out[4][CNN_PANEL], const int32_t *restrict sums, ptrdiff_t place,
                             const int32_t *restrict starts)
{
    for (int c = 0; c < CNN_PANEL; c++) {
        uint32_t half[2][4];
#pragma GCC unroll 4
        for (int x = 0; x < 4; x++) {
            const uint32_t s0 = (uint32_t)sums[x * place + c], s1 = (uint32_t)sums[(4 + x) * place + c],
                           s2 = (uint32_t)sums[(8 + x) * place + c], s3 = (uint32_t)sums[(12 + x) * place + c];
            half[0][x] = s0 + s1 + s2;
            half[1][x] = s1 - s2 - s3;
        }
#pragma GCC unroll 2
        for (int y = 0; y < 2; y++) {
            const int32_t left = (int32_t)(half[y][0] + half[y][1] + half[y][2]) >> 2,
                          right = (int32_t)(half[y][1] - half[y][2] - half[y][3]) >> 2;
            out[2 * y][c] = (int32_t)((uint32_t)left + (uint32_t)starts[c]);
            out[2 * y + 1][c] = (int32_t)((uint32_t)right + (uint32_t)starts[c]);
        }
    }
}

static inline void store_tile(const cnn_code_tile *place, ptrdiff_t channel, ptrdiff_t dst_row, ptrdiff_t dst_pixel,
                              uint8_t codes[4][CNN_PANEL], int channels)
{
    uint8_t *to = place->dst + channel;
    if (channels == CNN_PANEL && place->rows == 2 && place->columns == 2) {
        memcpy(to, codes[0], CNN_PANEL);
        memcpy(to + dst_pixel, codes[1], CNN_PANEL);
        memcpy(to + dst_row, codes[2], CNN_PANEL);
        memcpy(to + dst_row + dst_pixel, codes[3], CNN_PANEL);
        return;
    }
    for (int y = 0; y < place->rows; y++)
        for (int x = 0; x < place->columns; x++)
            memcpy(to + y * dst_row + x * dst_pixel, codes[2 * y + x], (size_t)channels);
}

/* sums[16][tiles][16] with one panel of weights, tap by tap: those of a tap stay in the first cache */
static void multiply_panel(int32_t *restrict sums, const cnn_winograd_codes *b, const int16_t *restrict weights)
{
    const ptrdiff_t tiles = (b->tiles + PAIR_TILES - 1) / PAIR_TILES, each = b->tiles / tiles,
                    longer = b->tiles % tiles;
    const int16_t *src = b->src;
    for (int tap = 0; tap < CNN_CODE_TAPS; tap++, weights += b->pairs * 2 * CNN_PANEL)
        for (ptrdiff_t tile = 0; tile < tiles; tile++) {
            const int together = (int)(each + (tile < longer));
            multiply_tiles(sums, src, b->depth, weights, b->pairs, together);
            sums += together * CNN_PANEL, src += together * b->depth;
        }
}

static void winograd_codes(const cnn_winograd_codes *b)
{
    int32_t sums[CNN_CODE_TAPS * CNN_MOST_CODE_TILES * CNN_PANEL];
    const ptrdiff_t panel = CNN_CODE_TAPS * b->pairs * 2;
    rounding how;
    assert(b->tiles <= CNN_MOST_CODE_TILES);
    for (ptrdiff_t channel = 0; channel < b->channels; channel += CNN_PANEL) {
        const int count = (int)cnn_min(CNN_PANEL, b->channels - channel);
        rounding_of(&how, b->bias + channel, b->multipliers + channel, b->shifts + channel, count, &b->range);
        multiply_panel(sums, b, b->weights + channel * panel);
        for (ptrdiff_t tile = 0; tile < b->tiles; tile++) {
            int32_t out[4][CNN_PANEL];
            uint8_t codes[4][CNN_PANEL];
            turn_sums(out, sums + tile * CNN_PANEL, b->tiles * CNN_PANEL, how.starts);
            round_tile(codes[0], CNN_PANEL, out[0], CNN_PANEL, 4, count, &how, 0);
            store_tile(&b->places[tile], channel, b->dst_row, b->dst_pixel, codes, count);
        }
    }
}

#endif
