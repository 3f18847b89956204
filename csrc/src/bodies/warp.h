/* Warped pixels: places, then the four pixels round each, then their mean. Whole numbers throughout, so that every
 * instruction set gives the same bytes; the first and the last loop are vectorised by the compiler. */
#ifndef CNN_BODY_WARP_H
#define CNN_BODY_WARP_H

#include "kernels.h"

enum { WARP_SPAN = 64 };

/* Of `count` pixels: the first of the four round each, and the weights of those to the right and below. */
typedef struct warp_places {
    int32_t first[WARP_SPAN], fx[WARP_SPAN], fy[WARP_SPAN];
} warp_places;

static inline int32_t warp_clamped(uint64_t place, int64_t last)
{
    const int64_t rounded = cnn_rounded_place(place), at_least = rounded < 0 ? 0 : rounded;
    return (int32_t)(at_least > last ? last : at_least);
}

/* The last pixel of a row has none to its right: it counts as the right one of the last pair, with all of the weight. */
static inline int32_t warp_pair(int32_t place, int32_t last_pair)
{
    const int32_t pixel = place >> CNN_WEIGHT_BITS;
    return pixel > last_pair ? last_pair : pixel;
}

static void find_places(warp_places *restrict places, const cnn_warp_row *row, ptrdiff_t start, ptrdiff_t count)
{
    const int64_t last_x = (int64_t)(row->w - 1) << CNN_WEIGHT_BITS, last_y = (int64_t)(row->h - 1) << CNN_WEIGHT_BITS;
    const int32_t w = (int32_t)row->w, pair_x = w - 2, pair_y = (int32_t)row->h - 2;
    const uint64_t dx = row->dx, dy = row->dy;
    uint64_t place_x = row->x + (uint64_t)start * dx, place_y = row->y + (uint64_t)start * dy;
    for (ptrdiff_t i = 0; i < count; i++) {
        const int32_t x = warp_clamped(place_x, last_x), y = warp_clamped(place_y, last_y);
        const int32_t column = warp_pair(x, pair_x), line = warp_pair(y, pair_y);
        places->first[i] = line * w + column;
        places->fx[i] = x - column * CNN_WEIGHT_ONE;
        places->fy[i] = y - line * CNN_WEIGHT_ONE;
        place_x += dx, place_y += dy;
    }
}

/* The four pixels round each place, eight bits each. */
static void fetch_pixels(uint32_t *restrict fours, const uint8_t *src, const warp_places *places, ptrdiff_t w,
                         ptrdiff_t count)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        const uint8_t *pixel = src + places->first[i], *below = pixel + w;
        const uint32_t upper = pixel[0] | (uint32_t)pixel[1] << 8, lower = below[0] | (uint32_t)below[1] << 8;
        fours[i] = upper | lower << 16;
    }
}

static void weigh_pixels(uint8_t *restrict dst, const uint32_t *restrict fours, const warp_places *restrict places,
                         ptrdiff_t count)
{
    for (ptrdiff_t i = 0; i < count; i++)
        dst[i] = cnn_between((int32_t)(fours[i] & 255), (int32_t)(fours[i] >> 8 & 255), (int32_t)(fours[i] >> 16 & 255),
                             (int32_t)(fours[i] >> 24), places->fx[i], places->fy[i]);
}

static void warp_row(const cnn_warp_row *row)
{
    warp_places places;
    uint32_t fours[WARP_SPAN];
    for (ptrdiff_t start = 0; start < row->count; start += WARP_SPAN) {
        const ptrdiff_t rest = row->count - start, count = rest < WARP_SPAN ? rest : WARP_SPAN;
        find_places(&places, row, start, count);
        for (ptrdiff_t channel = 0; channel < row->c; channel++) {
            const ptrdiff_t plane = channel * row->h * row->w;
            fetch_pixels(fours, row->src + plane, &places, row->w, count);
            weigh_pixels(row->dst + plane + start, fours, &places, count);
        }
    }
}

#endif
