/* The numbers of a warp, which its row kernel and the code round it share. All of it is whole numbers. */
#ifndef CNN_WARP_H
#define CNN_WARP_H

#include "cnn.h"

/* A place in an image, in 2^-32 pixels, plus 2^63: unsigned, so that it may be shifted and wraps as defined. */
#define CNN_PLACE_ORIGIN (UINT64_C(1) << 63)

enum {
    CNN_WEIGHT_BITS = 11,                   /* of a place behind the point, when pixels are weighed */
    CNN_WEIGHT_ONE = 1 << CNN_WEIGHT_BITS,  /* the sum of the weights along one axis */
    CNN_PLACE_SHIFT = 32 - CNN_WEIGHT_BITS, /* from a place to a rounded one */
    CNN_VALUE_SHIFT = 2 * CNN_WEIGHT_BITS,  /* from a weighed sum to a grey level */
    CNN_VALUE_HALF = 1 << (CNN_VALUE_SHIFT - 1),
};

/* The place rounded to 1 / CNN_WEIGHT_ONE pixels, a half up. */
static inline int64_t cnn_rounded_place(uint64_t place)
{
    return (int64_t)((place + (UINT64_C(1) << (CNN_PLACE_SHIFT - 1))) >> CNN_PLACE_SHIFT) -
           (INT64_C(1) << (63 - CNN_PLACE_SHIFT));
}

/* The grey level between four pixels, at fx, fy in 0 ... CNN_WEIGHT_ONE from the first; a half is rounded up. */
static inline uint8_t cnn_between(int32_t first, int32_t right, int32_t below, int32_t across, int32_t fx, int32_t fy)
{
    const int32_t upper = first * CNN_WEIGHT_ONE + (right - first) * fx;
    const int32_t lower = below * CNN_WEIGHT_ONE + (across - below) * fx;
    return (uint8_t)((upper * CNN_WEIGHT_ONE + (lower - upper) * fy + CNN_VALUE_HALF) >> CNN_VALUE_SHIFT);
}

/* `count` pixels of a row of the result, in each of c planes. Their places are x + i*dx, y + i*dy; a place outside of
 * the plane is moved to its nearest edge. Planes have h*w pixels, h and w at least 2. */
typedef struct cnn_warp_row {
    uint8_t *dst;
    const uint8_t *src;
    ptrdiff_t c, h, w, count;
    uint64_t x, y, dx, dy;
} cnn_warp_row;

#endif
