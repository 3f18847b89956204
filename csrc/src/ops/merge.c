/* Where branches of a graph meet: sums and concatenations. */
#include "internal.h"

/* May run in place. */
void cnn_add(const cnn_call *call, const cnn_worker *worker)
{
    float *dst = call->operands[CNN_add_dst];
    const float *a = call->operands[CNN_add_a], *b = call->operands[CNN_add_b], *mask = call->operands[CNN_add_mask];
    ptrdiff_t first, last;
    assert(dst && a && b);
    cnn_share_elements(worker, call->batch * call->geometry->elementwise.count, &first, &last);
    worker->kernels->add(dst + first, a + first, b + first, mask ? mask + first : NULL, last - first);
}

/* Tasks are blocks of rows that copy about CNN_SPAN elements. */
void cnn_copy_channels(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_slice_geometry *g = &call->geometry->slice;
    float *restrict dst = call->operands[CNN_copy_channels_dst];
    const float *restrict src = call->operands[CNN_copy_channels_src];
    assert(dst && src && g->channels >= 1);
    assert(g->src_offset >= 0 && g->src_offset + g->channels <= g->src_stride);
    assert(g->dst_offset >= 0 && g->dst_offset + g->channels <= g->dst_stride);
    const ptrdiff_t rows = call->batch * g->rows, block = cnn_max(1, CNN_SPAN / g->channels);
    const size_t bytes = (size_t)g->channels * sizeof *dst;
    ptrdiff_t first, last;
    cnn_share(worker, cnn_ceil_div(rows, block), &first, &last);
    for (ptrdiff_t row = first * block; row < cnn_min(last * block, rows); row++)
        memcpy(dst + row * g->dst_stride + g->dst_offset, src + row * g->src_stride + g->src_offset, bytes);
}
