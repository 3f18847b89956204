/* Convolutions whose every channel has one filter of its own (groups = IC = OC). */
#ifndef CNN_OPS_DEPTHWISE_H
#define CNN_OPS_DEPTHWISE_H

#include "internal.h"

static inline bool cnn_is_depthwise(const cnn_conv2d_geometry *g)
{
    return g->groups > 1 && g->groups == g->ic && g->groups == g->oc;
}

static inline size_t cnn_depthwise_bytes(const cnn_conv2d_geometry *g)
{
    return cnn_align((size_t)(g->kh * g->kw * g->oc) * sizeof(float));
}

/* Weights as they are multiplied, [tap][C], from panels of one column in use, [C][tap][16]; the last tap first if
 * `turned`. All workers call it, and meet behind it. */
static inline void cnn_depthwise_gather(const cnn_conv2d_geometry *g, const float *restrict weights,
                                        float *restrict gathered, bool turned, const cnn_worker *worker)
{
    const ptrdiff_t taps = g->kh * g->kw;
    ptrdiff_t first, last;
    cnn_share(worker, g->oc, &first, &last);
    for (ptrdiff_t c = first; c < last; c++)
        for (ptrdiff_t t = 0; t < taps; t++)
            gathered[(turned ? taps - 1 - t : t) * g->oc + c] = weights[(c * taps + t) * CNN_PANEL];
    cnn_barrier(worker);
}

/* 3 where taps come three by three, each one pixel behind the one before; else 1. */
static inline ptrdiff_t cnn_depthwise_run(const ptrdiff_t *offsets, ptrdiff_t taps, ptrdiff_t pixel)
{
    if (taps % 3 != 0) return 1;
    for (ptrdiff_t t = 0; t < taps; t++)
        if (t % 3 != 0 && offsets[t] != offsets[t - 1] + pixel) return 1;
    return 3;
}

#endif
