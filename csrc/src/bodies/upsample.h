/* Interpolation between rows, and between the pixels of a row. */
#ifndef CNN_BODY_UPSAMPLE_H
#define CNN_BODY_UPSAMPLE_H

#include "kernels.h"

static void blend(float *restrict dst, const float *restrict a, const float *restrict b, ptrdiff_t count, float rest)
{
    const float near = 1.0f - rest;
    for (ptrdiff_t i = 0; i < count; i++) dst[i] = near * a[i] + rest * b[i];
}

static void blend_row(float *restrict dst, const float *restrict src, const cnn_place *restrict places, ptrdiff_t count,
                      ptrdiff_t c)
{
    for (ptrdiff_t x = 0; x < count; x++, dst += c) {
        const float *restrict a = src + places[x].first * c;
        const float rest = places[x].rest, near = 1.0f - rest;
        if (rest == 0.0f)
            for (ptrdiff_t i = 0; i < c; i++) dst[i] = a[i];
        else
            for (ptrdiff_t i = 0; i < c; i++) dst[i] = near * a[i] + rest * a[c + i];
    }
}

static void unblend_row(float *restrict diff_src, const float *restrict diff_dst, const cnn_place *restrict places,
                        ptrdiff_t count, ptrdiff_t c)
{
    for (ptrdiff_t x = 0; x < count; x++, diff_dst += c) {
        float *restrict a = diff_src + places[x].first * c;
        const float rest = places[x].rest, near = 1.0f - rest;
        for (ptrdiff_t i = 0; i < c; i++) a[i] += near * diff_dst[i];
        if (rest == 0.0f) continue;
        for (ptrdiff_t i = 0; i < c; i++) a[c + i] += rest * diff_dst[i];
    }
}

#endif
