/* Naive twins of ops/channels.c. */
#include "basics.h"

void cnn_ref_scale_channels(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_channels_geometry *g = &call->geometry->channels;
    float *dst = call->operands[CNN_scale_channels_dst];
    const float *src = call->operands[CNN_scale_channels_src], *weights = call->operands[CNN_scale_channels_weights];
    for (ptrdiff_t i = 0; i < call->batch * g->rows * g->c; i++) dst[i] = src[i] * weights[i % g->c];
}

void cnn_ref_scale_channels_backward_weights(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_channels_geometry *g = &call->geometry->channels;
    float *diff_weights = call->operands[CNN_scale_channels_backward_weights_diff_weights];
    const float *src = call->operands[CNN_scale_channels_backward_weights_src],
                *diff_dst = call->operands[CNN_scale_channels_backward_weights_diff_dst];
    for (ptrdiff_t c = 0; c < g->c; c++) {
        double sum = 0.0;
        for (ptrdiff_t i = c; i < call->batch * g->rows * g->c; i += g->c) sum += (double)diff_dst[i] * src[i];
        diff_weights[c] = (float)sum;
    }
}

void cnn_ref_add_channels(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_channels_geometry *g = &call->geometry->channels;
    float *dst = call->operands[CNN_add_channels_dst];
    const float *src = call->operands[CNN_add_channels_src], *bias = call->operands[CNN_add_channels_bias];
    for (ptrdiff_t i = 0; i < call->batch * g->rows * g->c; i++) dst[i] = src[i] + bias[i % g->c];
}

void cnn_ref_add_channels_backward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_channels_geometry *g = &call->geometry->channels;
    float *diff_bias = call->operands[CNN_add_channels_backward_diff_bias];
    const float *diff_dst = call->operands[CNN_add_channels_backward_diff_dst];
    for (ptrdiff_t c = 0; c < g->c; c++) {
        double sum = 0.0;
        for (ptrdiff_t i = c; i < call->batch * g->rows * g->c; i += g->c) sum += diff_dst[i];
        diff_bias[c] = (float)sum;
    }
}
