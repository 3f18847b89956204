/* Sums over samples that were taken part by part: every weight gradient ends here. */
#ifndef CNN_OPS_PARTS_H
#define CNN_OPS_PARTS_H

#include "internal.h"

/* What the parts of a weight gradient left: weights[parts][count], and bias[parts][bias_stride] in double. */
typedef struct cnn_parts {
    ptrdiff_t parts, count, bias_stride;
    const float *weights;
    const double *bias;
} cnn_parts;

/* Adds the parts in order into diff_weights and, unless it is NULL, diff_bias [oc]. All workers call it, behind the
 * barrier after the last part. */
static inline void cnn_parts_add(const cnn_parts *p, float *diff_weights, float *diff_bias, ptrdiff_t oc,
                                 const cnn_worker *worker)
{
    ptrdiff_t first, last;
    cnn_share_elements(worker, p->count, &first, &last);
    if (first < last)
        worker->kernels->sum_parts(diff_weights + first, p->weights + first, p->parts, last - first, p->count);
    if (!diff_bias || !cnn_is_first(worker)) return;
    for (ptrdiff_t o = 0; o < oc; o++) {
        double sum = 0.0;
        for (ptrdiff_t part = 0; part < p->parts; part++) sum += p->bias[part * p->bias_stride + o];
        diff_bias[o] = (float)sum;
    }
}

#endif
