/* Elementwise activations and their gradients, split in spans of CNN_SPAN elements. All may run in place. */
#include "internal.h"

static void share_batch(const cnn_call *call, const cnn_worker *worker, ptrdiff_t elements, ptrdiff_t *first,
                        ptrdiff_t *last)
{
    assert(call->batch >= 1 && elements >= 0);
    cnn_share_elements(worker, call->batch * elements, first, last);
}

/* The numbers of an activation, and its elements per sample, from its geometry. */
static cnn_activate activation_of(const cnn_geometry *geometry, cnn_activation kind, ptrdiff_t *elements)
{
    if (kind == CNN_ACTIVATION_CLIP) {
        *elements = geometry->clip.count;
        return (cnn_activate){kind, geometry->clip.low, geometry->clip.high};
    }
    *elements = geometry->elementwise.count;
    return (cnn_activate){kind, geometry->elementwise.slope, 0.0f};
}

/* The operands of all activations stand in the same places. */
static void forward(const cnn_call *call, const cnn_worker *worker, cnn_activation kind)
{
    float *dst = call->operands[CNN_relu_forward_dst];
    const float *src = call->operands[CNN_relu_forward_src];
    ptrdiff_t elements, first, last;
    assert(dst && src);
    const cnn_activate how = activation_of(call->geometry, kind, &elements);
    share_batch(call, worker, elements, &first, &last);
    worker->kernels->activation(dst + first, src + first, last - first, &how);
}

_Static_assert((int)CNN_relu_backward_dst == (int)CNN_gelu_backward_src,
               "saved is the output or the input, in one place");

static void backward(const cnn_call *call, const cnn_worker *worker, cnn_activation kind)
{
    float *diff_src = call->operands[CNN_relu_backward_diff_src];
    const float *diff_dst = call->operands[CNN_relu_backward_diff_dst], *saved = call->operands[CNN_relu_backward_dst];
    ptrdiff_t elements, first, last;
    assert(diff_src && diff_dst && saved);
    const cnn_activate how = activation_of(call->geometry, kind, &elements);
    share_batch(call, worker, elements, &first, &last);
    worker->kernels->activation_backward(diff_src + first, diff_dst + first, saved + first, last - first, &how);
}

#define ACTIVATION_OPS(name, NAME)                                                                                     \
    void cnn_##name##_forward(const cnn_call *call, const cnn_worker *worker)                                          \
    {                                                                                                                  \
        forward(call, worker, CNN_ACTIVATION_##NAME);                                                                  \
    }                                                                                                                  \
    void cnn_##name##_backward(const cnn_call *call, const cnn_worker *worker)                                         \
    {                                                                                                                  \
        backward(call, worker, CNN_ACTIVATION_##NAME);                                                                 \
    }
CNN_ACTIVATIONS(ACTIVATION_OPS)
CNN_ACTIVATIONS_WITH_NUMBERS(ACTIVATION_OPS)
