/* Products: by one number, and of two maps, one of which may be a vector for each sample. */
#include "factors.h"
#include "norm.h"

/* The kernels sum dy * (x - mean): here there is no mean. */
static const float no_mean[CNN_NORM_COLUMNS];

/* May run in place. */
void cnn_scale(const cnn_call *call, const cnn_worker *worker)
{
    float *dst = call->operands[CNN_scale_dst];
    const float *src = call->operands[CNN_scale_src];
    ptrdiff_t first, last;
    assert(dst && src);
    cnn_share_elements(worker, call->batch * call->geometry->elementwise.count, &first, &last);
    worker->kernels->scale(dst + first, src + first, last - first, call->geometry->elementwise.slope);
}

/* May run in place. Of one row, no two elements share a factor. */
void cnn_multiply(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_channels_geometry *g = &call->geometry->channels;
    float *dst = call->operands[CNN_multiply_dst];
    const float *a = call->operands[CNN_multiply_a], *b = call->operands[CNN_multiply_b];
    assert(dst && a && b);
    if (g->rows > 1) {
        cnn_apply_factors(worker, worker->kernels->multiply_rows, dst, a, b, call->batch, g);
        return;
    }
    ptrdiff_t first, last;
    cnn_share_elements(worker, call->batch * g->c, &first, &last);
    worker->kernels->multiply_rows(dst + first, a + first, b + first, 1, last - first);
}

/* Tasks are slices of the channels of a sample. */
void cnn_multiply_backward(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_channels_geometry *g = &call->geometry->channels;
    float *diff_b = call->operands[CNN_multiply_backward_diff_b];
    const float *a = call->operands[CNN_multiply_backward_a],
                *diff_dst = call->operands[CNN_multiply_backward_diff_dst];
    const cnn_norm norm = {.mean = no_mean};
    const ptrdiff_t slices = slice_count(g->c, 1);
    double sums[SLICE], products[SLICE];
    ptrdiff_t first, last;
    assert(diff_b && a && diff_dst);
    cnn_share(worker, call->batch * slices, &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const slice s = slice_of(g->c, 1, task % slices);
        const ptrdiff_t sample = task / slices, at = sample * g->rows * g->c + s.channel;
        part_products(worker->kernels, &s, a + at, diff_dst + at, &norm, g->rows, sums, products);
        for (ptrdiff_t j = 0; j < s.channels; j++) diff_b[sample * g->c + s.channel + j] = (float)products[j];
    }
}
