/* Naive twins of ops/activation.c: one worker, one loop, the formula in double. */
#include "internal.h"

void cnn_ref_relu_forward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    float *dst = call->operands[0];
    const float *src = call->operands[1];
    const ptrdiff_t count = call->batch * call->geometry->elementwise.count;
    for (ptrdiff_t i = 0; i < count; i++) dst[i] = src[i] < 0.0f ? 0.0f : src[i];
}

void cnn_ref_relu_backward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    float *diff_src = call->operands[0];
    const float *diff_dst = call->operands[1], *dst = call->operands[2];
    const ptrdiff_t count = call->batch * call->geometry->elementwise.count;
    for (ptrdiff_t i = 0; i < count; i++) diff_src[i] = dst[i] <= 0.0f ? 0.0f : diff_dst[i];
}
