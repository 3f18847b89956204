/* The ops of integer inference beside convolutions and linear layers. */
#include "internal.h"
#include "workspace.h"

void cnn_quantize(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_quantize_geometry *g = &call->geometry->quantize;
    uint8_t *dst = call->operands[CNN_quantize_dst];
    const float *src = call->operands[CNN_quantize_src];
    ptrdiff_t first, last;
    cnn_share_elements(worker, call->batch * g->count, &first, &last);
    worker->kernels->quantize(dst + first, src + first, last - first, g->scale, (int32_t)g->zero);
}

void cnn_dequantize(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_quantize_geometry *g = &call->geometry->quantize;
    float *dst = call->operands[CNN_dequantize_dst];
    const uint8_t *src = call->operands[CNN_dequantize_src];
    ptrdiff_t first, last;
    cnn_share_elements(worker, call->batch * g->count, &first, &last);
    worker->kernels->dequantize(dst + first, src + first, last - first, g->scale, (int32_t)g->zero);
}

void cnn_maxpool2d_int8(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_pool2d_geometry *g = &call->geometry->pool2d;
    uint8_t *dst = call->operands[CNN_maxpool2d_int8_dst];
    const uint8_t *src = call->operands[CNN_maxpool2d_int8_src];
    ptrdiff_t first, last;
    cnn_share(worker, call->batch * g->oh, &first, &last);
    for (ptrdiff_t task = first; task < last; task++)
        worker->kernels->max_codes_row(dst + task * g->ow * g->c, src + task / g->oh * g->h * g->w * g->c, g,
                                       task % g->oh);
}

void cnn_avgpool2d_int8(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_avgpool2d_int8_geometry *g = &call->geometry->avgpool2d_int8;
    uint8_t *dst = call->operands[CNN_avgpool2d_int8_dst];
    const uint8_t *src = call->operands[CNN_avgpool2d_int8_src];
    ptrdiff_t first, last;
    cnn_share(worker, call->batch * g->oh, &first, &last);
    for (ptrdiff_t task = first; task < last; task++)
        worker->kernels->average_codes_row(dst + task * g->ow * g->c, src + task / g->oh * g->h * g->w * g->c, g,
                                           task % g->oh);
}

void cnn_add_int8(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_add_int8_geometry *g = &call->geometry->add_int8;
    uint8_t *dst = call->operands[CNN_add_int8_dst];
    const uint8_t *a = call->operands[CNN_add_int8_a], *b = call->operands[CNN_add_int8_b];
    ptrdiff_t first, last;
    cnn_share_elements(worker, call->batch * g->count, &first, &last);
    worker->kernels->add_codes(dst + first, a + first, b + first, last - first, g);
}

void cnn_lookup_int8(const cnn_call *call, const cnn_worker *worker)
{
    uint8_t *dst = call->operands[CNN_lookup_int8_dst];
    const uint8_t *src = call->operands[CNN_lookup_int8_src], *table = call->operands[CNN_lookup_int8_table];
    ptrdiff_t first, last;
    cnn_share_elements(worker, call->batch * call->geometry->lookup.count, &first, &last);
    worker->kernels->lookup_codes(dst + first, src + first, table, last - first);
}

void cnn_copy_channels_int8(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_slice_geometry *g = &call->geometry->slice;
    uint8_t *dst = call->operands[CNN_copy_channels_int8_dst];
    const uint8_t *src = call->operands[CNN_copy_channels_int8_src];
    ptrdiff_t first, last;
    cnn_share(worker, call->batch * g->rows, &first, &last);
    for (ptrdiff_t row = first; row < last; row++)
        memcpy(dst + row * g->dst_stride + g->dst_offset, src + row * g->src_stride + g->src_offset,
               (size_t)g->channels);
}

/* Bytes [rows][columns] become [columns][rows], this worker's share of the rows of a result. Blocks stay in cache. */
static void turn(uint8_t *dst, const uint8_t *src, ptrdiff_t batch, ptrdiff_t rows, ptrdiff_t columns,
                 const cnn_worker *worker)
{
    enum { BLOCK = 64 };
    const ptrdiff_t blocks = cnn_ceil_div(columns, BLOCK);
    ptrdiff_t first, last;
    cnn_share(worker, batch * blocks, &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const ptrdiff_t begin = task % blocks * BLOCK, end = cnn_min(begin + BLOCK, columns);
        const uint8_t *from = src + task / blocks * rows * columns;
        uint8_t *to = dst + task / blocks * rows * columns;
        for (ptrdiff_t row = 0; row < rows; row++)
            for (ptrdiff_t column = begin; column < end; column++)
                to[column * rows + row] = from[row * columns + column];
    }
}

void cnn_nchw_to_nhwc_int8(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_image_geometry *g = &call->geometry->image;
    turn(call->operands[CNN_nchw_to_nhwc_int8_dst], call->operands[CNN_nchw_to_nhwc_int8_src], call->batch, g->c,
         g->h * g->w, worker);
}

void cnn_nhwc_to_nchw_int8(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_image_geometry *g = &call->geometry->image;
    turn(call->operands[CNN_nhwc_to_nchw_int8_dst], call->operands[CNN_nhwc_to_nchw_int8_src], call->batch, g->h * g->w,
         g->c, worker);
}
