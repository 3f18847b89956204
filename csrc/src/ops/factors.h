/* What the products, sums by channel and dropout share: rows of a sample, each with the sample's factors. */
#ifndef CNN_OPS_FACTORS_H
#define CNN_OPS_FACTORS_H

#include "internal.h"

typedef void cnn_factors_kernel(float *dst, const float *src, const float *factors, ptrdiff_t rows, ptrdiff_t c);

/* Tasks are runs of rows of one sample, of some spans: what a kernel prepares for a call is then little beside it. */
static inline void cnn_apply_factors(const cnn_worker *worker, cnn_factors_kernel *kernel, float *dst, const float *src,
                                     const float *factors, ptrdiff_t batch, const cnn_channels_geometry *g)
{
    const ptrdiff_t run = cnn_max(1, 4 * CNN_SPAN / g->c), runs = cnn_ceil_div(g->rows, run);
    ptrdiff_t first, last;
    cnn_share(worker, batch * runs, &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const ptrdiff_t sample = task / runs, row = task % runs * run, at = (sample * g->rows + row) * g->c;
        kernel(dst + at, src + at, factors + sample * g->c, cnn_min(run, g->rows - row), g->c);
    }
}

#endif
