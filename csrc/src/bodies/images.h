/* Bytes to floats for batches of images. Vectorised by the compiler; nothing is contracted, so that every instruction
 * set gives the same bits. */
#ifndef CNN_BODY_IMAGES_H
#define CNN_BODY_IMAGES_H

#include "kernels.h"

static void scale_bytes(float *restrict dst, const uint8_t *restrict src, ptrdiff_t count, float scale, float offset)
{
    for (ptrdiff_t i = 0; i < count; i++) dst[i] = (float)src[i] * scale + offset;
}

static void scale_mirrored(float *restrict dst, const uint8_t *restrict src, ptrdiff_t count, float scale, float offset)
{
    for (ptrdiff_t i = 0; i < count; i++) dst[i] = (float)src[count - 1 - i] * scale + offset;
}

#endif
