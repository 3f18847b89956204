/* Elementwise activations and their gradients, split in spans of CNN_SPAN elements. All may run in place. */
#include "internal.h"

void cnn_relu_forward(const cnn_call *call, const cnn_worker *worker)
{
    float *dst = call->operands[0];
    const float *src = call->operands[1];
    ptrdiff_t first, last;
    cnn_share_elements(worker, call->batch * call->geometry->elementwise.count, &first, &last);
    worker->kernels->relu(dst + first, src + first, last - first);
}

void cnn_relu_backward(const cnn_call *call, const cnn_worker *worker)
{
    float *diff_src = call->operands[0];
    const float *diff_dst = call->operands[1], *dst = call->operands[2];
    ptrdiff_t first, last;
    cnn_share_elements(worker, call->batch * call->geometry->elementwise.count, &first, &last);
    worker->kernels->relu_backward(diff_src + first, diff_dst + first, dst + first, last - first);
}
