/* Elementwise activations: plain loops without branches, vectorised by the compiler. Count in elements. */
#ifndef CNN_BODY_ACTIVATION_H
#define CNN_BODY_ACTIVATION_H

#include "kernels.h"

/* NaN passes through: a comparison with NaN is false. */
static void relu(float *dst, const float *src, ptrdiff_t count)
{
    for (ptrdiff_t i = 0; i < count; i++) dst[i] = src[i] < 0.0f ? 0.0f : src[i];
}

/* The gradient is zero where the output is zero or below (PyTorch's choice at 0). */
static void relu_backward(float *diff_src, const float *diff_dst, const float *dst, ptrdiff_t count)
{
    for (ptrdiff_t i = 0; i < count; i++) diff_src[i] = dst[i] <= 0.0f ? 0.0f : diff_dst[i];
}

#endif
