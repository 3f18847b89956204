/* Naive twins of ops/layout.c: moving elements, nothing computed. */
#include "basics.h"

void cnn_ref_nchw_to_nhwc(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_image_geometry *g = &call->geometry->image;
    float *dst = call->operands[CNN_nchw_to_nhwc_dst];
    const float *src = call->operands[CNN_nchw_to_nhwc_src];
    for (ptrdiff_t n = 0; n < call->batch; n++)
        for (ptrdiff_t c = 0; c < g->c; c++)
            for (ptrdiff_t h = 0; h < g->h; h++)
                for (ptrdiff_t w = 0; w < g->w; w++)
                    dst[((n * g->h + h) * g->w + w) * g->c + c] = src[((n * g->c + c) * g->h + h) * g->w + w];
}

void cnn_ref_nhwc_to_nchw(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_image_geometry *g = &call->geometry->image;
    float *dst = call->operands[CNN_nhwc_to_nchw_dst];
    const float *src = call->operands[CNN_nhwc_to_nchw_src];
    for (ptrdiff_t n = 0; n < call->batch; n++)
        for (ptrdiff_t c = 0; c < g->c; c++)
            for (ptrdiff_t h = 0; h < g->h; h++)
                for (ptrdiff_t w = 0; w < g->w; w++)
                    dst[((n * g->c + c) * g->h + h) * g->w + w] = src[((n * g->h + h) * g->w + w) * g->c + c];
}

void cnn_ref_copy_channels(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_slice_geometry *g = &call->geometry->slice;
    float *dst = call->operands[CNN_copy_channels_dst];
    const float *src = call->operands[CNN_copy_channels_src];
    for (ptrdiff_t row = 0; row < call->batch * g->rows; row++)
        for (ptrdiff_t i = 0; i < g->channels; i++)
            dst[row * g->dst_stride + g->dst_offset + i] = src[row * g->src_stride + g->src_offset + i];
}
