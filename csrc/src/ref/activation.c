/* Naive twins of ops/activation.c: one worker, one loop, the formula in double. */
#include "basics.h"

static ptrdiff_t elements(const cnn_call *call) { return call->batch * call->geometry->elementwise.count; }

void cnn_ref_relu_forward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    float *dst = call->operands[CNN_relu_forward_dst];
    const float *src = call->operands[CNN_relu_forward_src];
    for (ptrdiff_t i = 0; i < elements(call); i++) dst[i] = src[i] < 0.0f ? 0.0f : src[i];
}

void cnn_ref_relu_backward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    float *diff_src = call->operands[CNN_relu_backward_diff_src];
    const float *diff_dst = call->operands[CNN_relu_backward_diff_dst], *dst = call->operands[CNN_relu_backward_dst];
    for (ptrdiff_t i = 0; i < elements(call); i++) diff_src[i] = dst[i] <= 0.0f ? 0.0f : diff_dst[i];
}

void cnn_ref_leaky_relu_forward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const double slope = call->geometry->elementwise.slope;
    float *dst = call->operands[CNN_leaky_relu_forward_dst];
    const float *src = call->operands[CNN_leaky_relu_forward_src];
    for (ptrdiff_t i = 0; i < elements(call); i++) dst[i] = src[i] < 0.0f ? (float)(slope * src[i]) : src[i];
}

void cnn_ref_leaky_relu_backward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const double slope = call->geometry->elementwise.slope;
    float *diff_src = call->operands[CNN_leaky_relu_backward_diff_src];
    const float *diff_dst = call->operands[CNN_leaky_relu_backward_diff_dst],
                *src = call->operands[CNN_leaky_relu_backward_src];
    for (ptrdiff_t i = 0; i < elements(call); i++)
        diff_src[i] = src[i] <= 0.0f ? (float)(slope * diff_dst[i]) : diff_dst[i];
}

void cnn_ref_sigmoid_forward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    float *dst = call->operands[CNN_sigmoid_forward_dst];
    const float *src = call->operands[CNN_sigmoid_forward_src];
    for (ptrdiff_t i = 0; i < elements(call); i++) dst[i] = (float)(1.0 / (1.0 + exp(-(double)src[i])));
}

void cnn_ref_sigmoid_backward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    float *diff_src = call->operands[CNN_sigmoid_backward_diff_src];
    const float *diff_dst = call->operands[CNN_sigmoid_backward_diff_dst],
                *dst = call->operands[CNN_sigmoid_backward_dst];
    for (ptrdiff_t i = 0; i < elements(call); i++) {
        const double y = dst[i];
        diff_src[i] = (float)(diff_dst[i] * y * (1.0 - y));
    }
}

void cnn_ref_tanh_forward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    float *dst = call->operands[CNN_tanh_forward_dst];
    const float *src = call->operands[CNN_tanh_forward_src];
    for (ptrdiff_t i = 0; i < elements(call); i++) dst[i] = (float)tanh(src[i]);
}

void cnn_ref_tanh_backward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    float *diff_src = call->operands[CNN_tanh_backward_diff_src];
    const float *diff_dst = call->operands[CNN_tanh_backward_diff_dst], *dst = call->operands[CNN_tanh_backward_dst];
    for (ptrdiff_t i = 0; i < elements(call); i++) {
        const double y = dst[i];
        diff_src[i] = (float)(diff_dst[i] * (1.0 - y * y));
    }
}

void cnn_ref_elu_forward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const double alpha = call->geometry->elementwise.slope;
    float *dst = call->operands[CNN_elu_forward_dst];
    const float *src = call->operands[CNN_elu_forward_src];
    for (ptrdiff_t i = 0; i < elements(call); i++) dst[i] = src[i] < 0.0f ? (float)(alpha * expm1(src[i])) : src[i];
}

void cnn_ref_elu_backward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const double alpha = call->geometry->elementwise.slope;
    float *diff_src = call->operands[CNN_elu_backward_diff_src];
    const float *diff_dst = call->operands[CNN_elu_backward_diff_dst], *dst = call->operands[CNN_elu_backward_dst];
    for (ptrdiff_t i = 0; i < elements(call); i++)
        diff_src[i] = dst[i] <= 0.0f ? (float)(diff_dst[i] * (dst[i] + alpha)) : diff_dst[i];
}
