/* Convolutions whose every channel has one filter of its own (groups = IC = OC). */
#ifndef CNN_OPS_DEPTHWISE_H
#define CNN_OPS_DEPTHWISE_H

#include "internal.h"

/* 3 where taps come three by three, each one pixel behind the one before; else 1. */
static inline ptrdiff_t cnn_depthwise_run(const ptrdiff_t *offsets, ptrdiff_t taps, ptrdiff_t pixel)
{
    if (taps % 3 != 0) return 1;
    for (ptrdiff_t t = 0; t < taps; t++)
        if (t % 3 != 0 && offsets[t] != offsets[t - 1] + pixel) return 1;
    return 3;
}

#endif
