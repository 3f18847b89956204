/* Elementwise activations and their gradients, split in spans of CNN_SPAN elements. All may run in place. */
#include "internal.h"

static void share_batch(const cnn_call *call, const cnn_worker *worker, ptrdiff_t *first, ptrdiff_t *last)
{
    assert(call->batch >= 1 && call->geometry->elementwise.count >= 0);
    cnn_share_elements(worker, call->batch * call->geometry->elementwise.count, first, last);
}

void cnn_relu_forward(const cnn_call *call, const cnn_worker *worker)
{
    float *dst = call->operands[CNN_relu_forward_dst];
    const float *src = call->operands[CNN_relu_forward_src];
    ptrdiff_t first, last;
    assert(dst && src);
    share_batch(call, worker, &first, &last);
    worker->kernels->relu(dst + first, src + first, last - first);
}

void cnn_relu_backward(const cnn_call *call, const cnn_worker *worker)
{
    float *diff_src = call->operands[CNN_relu_backward_diff_src];
    const float *diff_dst = call->operands[CNN_relu_backward_diff_dst], *dst = call->operands[CNN_relu_backward_dst];
    ptrdiff_t first, last;
    assert(diff_src && diff_dst && dst);
    share_batch(call, worker, &first, &last);
    worker->kernels->relu_backward(diff_src + first, diff_dst + first, dst + first, last - first);
}

void cnn_leaky_relu_forward(const cnn_call *call, const cnn_worker *worker)
{
    float *dst = call->operands[CNN_leaky_relu_forward_dst];
    const float *src = call->operands[CNN_leaky_relu_forward_src];
    ptrdiff_t first, last;
    assert(dst && src);
    share_batch(call, worker, &first, &last);
    worker->kernels->leaky_relu(dst + first, src + first, last - first, call->geometry->elementwise.slope);
}

void cnn_leaky_relu_backward(const cnn_call *call, const cnn_worker *worker)
{
    float *diff_src = call->operands[CNN_leaky_relu_backward_diff_src];
    const float *diff_dst = call->operands[CNN_leaky_relu_backward_diff_dst],
                *src = call->operands[CNN_leaky_relu_backward_src];
    ptrdiff_t first, last;
    assert(diff_src && diff_dst && src);
    share_batch(call, worker, &first, &last);
    worker->kernels->leaky_relu_backward(diff_src + first, diff_dst + first, src + first, last - first,
                                         call->geometry->elementwise.slope);
}

void cnn_sigmoid_forward(const cnn_call *call, const cnn_worker *worker)
{
    float *dst = call->operands[CNN_sigmoid_forward_dst];
    const float *src = call->operands[CNN_sigmoid_forward_src];
    ptrdiff_t first, last;
    assert(dst && src);
    share_batch(call, worker, &first, &last);
    worker->kernels->sigmoid(dst + first, src + first, last - first);
}

void cnn_sigmoid_backward(const cnn_call *call, const cnn_worker *worker)
{
    float *diff_src = call->operands[CNN_sigmoid_backward_diff_src];
    const float *diff_dst = call->operands[CNN_sigmoid_backward_diff_dst],
                *dst = call->operands[CNN_sigmoid_backward_dst];
    ptrdiff_t first, last;
    assert(diff_src && diff_dst && dst);
    share_batch(call, worker, &first, &last);
    worker->kernels->sigmoid_backward(diff_src + first, diff_dst + first, dst + first, last - first);
}

void cnn_tanh_forward(const cnn_call *call, const cnn_worker *worker)
{
    float *dst = call->operands[CNN_tanh_forward_dst];
    const float *src = call->operands[CNN_tanh_forward_src];
    ptrdiff_t first, last;
    assert(dst && src);
    share_batch(call, worker, &first, &last);
    worker->kernels->hyperbolic_tangent(dst + first, src + first, last - first);
}

void cnn_tanh_backward(const cnn_call *call, const cnn_worker *worker)
{
    float *diff_src = call->operands[CNN_tanh_backward_diff_src];
    const float *diff_dst = call->operands[CNN_tanh_backward_diff_dst], *dst = call->operands[CNN_tanh_backward_dst];
    ptrdiff_t first, last;
    assert(diff_src && diff_dst && dst);
    share_batch(call, worker, &first, &last);
    worker->kernels->hyperbolic_tangent_backward(diff_src + first, diff_dst + first, dst + first, last - first);
}

void cnn_elu_forward(const cnn_call *call, const cnn_worker *worker)
{
    float *dst = call->operands[CNN_elu_forward_dst];
    const float *src = call->operands[CNN_elu_forward_src];
    ptrdiff_t first, last;
    assert(dst && src);
    share_batch(call, worker, &first, &last);
    worker->kernels->elu(dst + first, src + first, last - first, call->geometry->elementwise.slope);
}

void cnn_elu_backward(const cnn_call *call, const cnn_worker *worker)
{
    float *diff_src = call->operands[CNN_elu_backward_diff_src];
    const float *diff_dst = call->operands[CNN_elu_backward_diff_dst], *dst = call->operands[CNN_elu_backward_dst];
    ptrdiff_t first, last;
    assert(diff_src && diff_dst && dst);
    share_batch(call, worker, &first, &last);
    worker->kernels->elu_backward(diff_src + first, diff_dst + first, dst + first, last - first,
                                  call->geometry->elementwise.slope);
}
