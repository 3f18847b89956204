/* Where pixels outside of an image come from. */
#ifndef CNN_FILL_H
#define CNN_FILL_H

#include "internal.h"

/* The row or column of an image that stands for the one at `at`, which may lie outside; -1: the fill value does. */
static inline ptrdiff_t cnn_fill_source(cnn_fill fill, ptrdiff_t at, ptrdiff_t extent)
{
    if (at >= 0 && at < extent) return at;
    if (fill == CNN_FILL_NEAREST) return at < 0 ? 0 : extent - 1;
    if (fill == CNN_FILL_WRAP) return at - cnn_floor_div(at, extent) * extent;
    if (fill == CNN_FILL_REFLECT) {
        const ptrdiff_t period = 2 * extent, place = at - cnn_floor_div(at, period) * period;
        return place < extent ? place : period - 1 - place;
    }
    if (fill == CNN_FILL_MIRROR) {
        if (extent == 1) return 0; /* the border is all there is */
        const ptrdiff_t period = 2 * extent - 2, place = at - cnn_floor_div(at, period) * period;
        return place < extent ? place : period - place;
    }
    return -1;
}

#endif
