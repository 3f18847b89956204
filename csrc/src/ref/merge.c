/* Naive twin of ops/merge.c. */
#include "basics.h"

void cnn_ref_add(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    float *dst = call->operands[CNN_add_dst];
    const float *a = call->operands[CNN_add_a], *b = call->operands[CNN_add_b], *mask = call->operands[CNN_add_mask];
    for (ptrdiff_t i = 0; i < call->batch * call->geometry->elementwise.count; i++)
        dst[i] = mask && mask[i] <= 0.0f ? 0.0f : a[i] + b[i];
}
