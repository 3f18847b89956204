/* Naive twins of ops/activation.c: one worker, one loop, the formula in double. */
#include "ref/activations.h"

static ptrdiff_t elements(const cnn_call *call, cnn_activation kind)
{
    const cnn_geometry *g = call->geometry;
    return call->batch * (kind == CNN_ACTIVATION_CLIP ? g->clip.count : g->elementwise.count);
}

static double slope(const cnn_call *call, cnn_activation kind)
{
    return kind == CNN_ACTIVATION_CLIP ? call->geometry->clip.low : call->geometry->elementwise.slope;
}

static double high(const cnn_call *call, cnn_activation kind)
{
    return kind == CNN_ACTIVATION_CLIP ? call->geometry->clip.high : 0.0;
}

static void forward(const cnn_call *call, const cnn_worker *worker, cnn_activation kind)
{
    if (!cnn_is_first(worker)) return;
    float *dst = call->operands[CNN_relu_forward_dst];
    const float *src = call->operands[CNN_relu_forward_src];
    for (ptrdiff_t i = 0; i < elements(call, kind); i++)
        dst[i] = (float)ref_activation(kind, src[i], slope(call, kind), high(call, kind));
}

static void backward(const cnn_call *call, const cnn_worker *worker, cnn_activation kind)
{
    if (!cnn_is_first(worker)) return;
    float *diff_src = call->operands[CNN_relu_backward_diff_src];
    const float *diff_dst = call->operands[CNN_relu_backward_diff_dst], *saved = call->operands[CNN_relu_backward_dst];
    for (ptrdiff_t i = 0; i < elements(call, kind); i++)
        diff_src[i] = (float)ref_activation_gradient(kind, diff_dst[i], saved[i], slope(call, kind), high(call, kind));
}

#define ACTIVATION_TWINS(name, NAME)                                                                                   \
    void cnn_ref_##name##_forward(const cnn_call *call, const cnn_worker *worker)                                      \
    {                                                                                                                  \
        forward(call, worker, CNN_ACTIVATION_##NAME);                                                                  \
    }                                                                                                                  \
    void cnn_ref_##name##_backward(const cnn_call *call, const cnn_worker *worker)                                     \
    {                                                                                                                  \
        backward(call, worker, CNN_ACTIVATION_##NAME);                                                                 \
    }
CNN_ACTIVATIONS(ACTIVATION_TWINS)
CNN_ACTIVATIONS_WITH_NUMBERS(ACTIVATION_TWINS)
