/* Naive twins of ops/multiply.c. */
#include "basics.h"

void cnn_ref_scale(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    float *dst = call->operands[CNN_scale_dst];
    const float *src = call->operands[CNN_scale_src];
    const cnn_elementwise_geometry *g = &call->geometry->elementwise;
    for (ptrdiff_t i = 0; i < call->batch * g->count; i++) dst[i] = src[i] * g->slope;
}

void cnn_ref_multiply(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_channels_geometry *g = &call->geometry->channels;
    float *dst = call->operands[CNN_multiply_dst];
    const float *a = call->operands[CNN_multiply_a], *b = call->operands[CNN_multiply_b];
    for (ptrdiff_t i = 0; i < call->batch * g->rows * g->c; i++)
        dst[i] = a[i] * b[i / (g->rows * g->c) * g->c + i % g->c];
}

void cnn_ref_multiply_backward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_channels_geometry *g = &call->geometry->channels;
    float *diff_b = call->operands[CNN_multiply_backward_diff_b];
    const float *a = call->operands[CNN_multiply_backward_a],
                *diff_dst = call->operands[CNN_multiply_backward_diff_dst];
    for (ptrdiff_t i = 0; i < call->batch * g->c; i++) {
        const ptrdiff_t first = i / g->c * g->rows * g->c + i % g->c;
        double sum = 0.0;
        for (ptrdiff_t row = 0; row < g->rows; row++)
            sum += (double)diff_dst[first + row * g->c] * a[first + row * g->c];
        diff_b[i] = (float)sum;
    }
}
