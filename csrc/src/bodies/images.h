/* Bytes to floats for batches of images, and their colours. Vectorised by the compiler; nothing is contracted, so that
 * every instruction set gives the same bits. */
#ifndef CNN_BODY_IMAGES_H
#define CNN_BODY_IMAGES_H

#include "colours.h"
#include "kernels.h"

static void scale_bytes(float *restrict dst, const uint8_t *restrict src, ptrdiff_t count, float scale, float offset)
{
    for (ptrdiff_t i = 0; i < count; i++) dst[i] = (float)src[i] * scale + offset;
}

static void scale_mirrored(float *restrict dst, const uint8_t *restrict src, ptrdiff_t count, float scale, float offset)
{
    for (ptrdiff_t i = 0; i < count; i++) dst[i] = (float)src[count - 1 - i] * scale + offset;
}

static void blend_bytes(uint8_t *pixels, ptrdiff_t count, int32_t base, int32_t factor)
{
    for (ptrdiff_t i = 0; i < count; i++) pixels[i] = cnn_blended(pixels[i], base, factor);
}

static void blend_greys(uint8_t *restrict red, uint8_t *restrict green, uint8_t *restrict blue, ptrdiff_t count,
                        int32_t factor)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        const int32_t grey = cnn_grey(red[i], green[i], blue[i]);
        red[i] = cnn_blended(red[i], grey, factor);
        green[i] = cnn_blended(green[i], grey, factor);
        blue[i] = cnn_blended(blue[i], grey, factor);
    }
}

#endif
