/* Rows of channels and one number for each channel: products, sums, and their gradients by that number. The rows of all
 * samples are those of one. */
#include "factors.h"
#include "norm.h"
#include "workspace.h"

/* The kernels sum dy * (x - mean): here there is no mean. */
static const float no_mean[CNN_NORM_COLUMNS];

/* dst is src with `numbers`, and may be src. */
static void apply(const cnn_call *call, const cnn_worker *worker, cnn_factors_kernel *kernel, float *dst,
                  const float *src, const float *numbers)
{
    const cnn_channels_geometry *g = &call->geometry->channels;
    const cnn_channels_geometry whole = {.rows = call->batch * g->rows, .c = g->c};
    assert(dst && src && numbers);
    cnn_apply_factors(worker, kernel, dst, src, numbers, 1, &whole);
}

void cnn_scale_channels(const cnn_call *call, const cnn_worker *worker)
{
    apply(call, worker, worker->kernels->multiply_rows, call->operands[CNN_scale_channels_dst],
          call->operands[CNN_scale_channels_src], call->operands[CNN_scale_channels_weights]);
}

void cnn_add_channels(const cnn_call *call, const cnn_worker *worker)
{
    apply(call, worker, worker->kernels->shift_rows, call->operands[CNN_add_channels_dst],
          call->operands[CNN_add_channels_src], call->operands[CNN_add_channels_bias]);
}

/* Two doubles for each part and channel. */
cnn_workspace cnn_channel_sums_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    const cnn_channels_geometry *g = &geometry->channels;
    return (cnn_workspace){.shared = 2 * (size_t)(part_count(batch * g->rows, g->c) * g->c) * sizeof(double)};
}

/* By channel, the sums of diff_dst over all rows or, with src, of diff_dst * src. */
static void sum_up(const cnn_call *call, const cnn_worker *worker, float *dst, const float *src, const float *diff_dst)
{
    const cnn_channels_geometry *g = &call->geometry->channels;
    const cnn_norm norm = {.mean = no_mean};
    const ptrdiff_t c = g->c, rows = call->batch * g->rows, parts = part_count(rows, c), slices = slice_count(c, parts);
    double *products = worker->shared, *sums = products + parts * c;
    const double *wanted = src ? products : sums;
    ptrdiff_t first, last;
    assert(dst && diff_dst && products);

    cnn_share(worker, parts * slices, &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const slice s = slice_of(c, parts, task % slices);
        const range r = part_of(rows, parts, task / slices);
        const ptrdiff_t from = r.first * c + s.channel, to = task / slices * c + s.channel;
        part_products(worker->kernels, &s, (src ? src : diff_dst) + from, diff_dst + from, &norm, r.count, sums + to,
                      products + to);
    }
    cnn_barrier(worker);

    cnn_share(worker, c, &first, &last);
    for (ptrdiff_t k = first; k < last; k++) {
        double sum = 0.0;
        for (ptrdiff_t part = 0; part < parts; part++) sum += wanted[part * c + k];
        dst[k] = (float)sum;
    }
}

void cnn_scale_channels_backward_weights(const cnn_call *call, const cnn_worker *worker)
{
    assert(call->operands[CNN_scale_channels_backward_weights_src]);
    sum_up(call, worker, call->operands[CNN_scale_channels_backward_weights_diff_weights],
           call->operands[CNN_scale_channels_backward_weights_src],
           call->operands[CNN_scale_channels_backward_weights_diff_dst]);
}

void cnn_add_channels_backward(const cnn_call *call, const cnn_worker *worker)
{
    sum_up(call, worker, call->operands[CNN_add_channels_backward_diff_bias], NULL,
           call->operands[CNN_add_channels_backward_diff_dst]);
}
