/* Elementwise loops: activations, their gradients, sums. Without branches, vectorised by the compiler. */
#ifndef CNN_BODY_ACTIVATION_H
#define CNN_BODY_ACTIVATION_H

#include "bodies/math.h"
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

static void leaky_relu(float *dst, const float *src, ptrdiff_t count, float slope)
{
    for (ptrdiff_t i = 0; i < count; i++) dst[i] = src[i] < 0.0f ? src[i] * slope : src[i];
}

/* At 0 the slope is that of the negative side (PyTorch's choice). */
static void leaky_relu_backward(float *diff_src, const float *diff_dst, const float *src, ptrdiff_t count, float slope)
{
    for (ptrdiff_t i = 0; i < count; i++) diff_src[i] = diff_dst[i] * (src[i] <= 0.0f ? slope : 1.0f);
}

static void sigmoid(float *dst, const float *src, ptrdiff_t count)
{
    ptrdiff_t i = 0;
    for (; i + SIMD_WIDTH <= count; i += SIMD_WIDTH) simd_store(dst + i, math_sigmoid(simd_load(src + i)));
    if (i < count) simd_store_part(dst + i, math_sigmoid(simd_load_part(src + i, count - i)), count - i);
}

static void sigmoid_backward(float *diff_src, const float *diff_dst, const float *dst, ptrdiff_t count)
{
    for (ptrdiff_t i = 0; i < count; i++) diff_src[i] = diff_dst[i] * (dst[i] * (1.0f - dst[i]));
}

static void hyperbolic_tangent(float *dst, const float *src, ptrdiff_t count)
{
    ptrdiff_t i = 0;
    for (; i + SIMD_WIDTH <= count; i += SIMD_WIDTH) simd_store(dst + i, math_tanh(simd_load(src + i)));
    if (i < count) simd_store_part(dst + i, math_tanh(simd_load_part(src + i, count - i)), count - i);
}

static void hyperbolic_tangent_backward(float *diff_src, const float *diff_dst, const float *dst, ptrdiff_t count)
{
    for (ptrdiff_t i = 0; i < count; i++) diff_src[i] = diff_dst[i] * (1.0f - dst[i] * dst[i]);
}

/* Above 0, at 0 (of either sign) and for NaN the element itself. */
static inline simd_float elu_of(simd_float x, simd_float alpha)
{
    return simd_select(simd_less(x, simd_zero()), alpha * math_expm1(x), x);
}

static void elu(float *dst, const float *src, ptrdiff_t count, float alpha)
{
    const simd_float factor = simd_set1(alpha);
    ptrdiff_t i = 0;
    for (; i + SIMD_WIDTH <= count; i += SIMD_WIDTH) simd_store(dst + i, elu_of(simd_load(src + i), factor));
    if (i < count) simd_store_part(dst + i, elu_of(simd_load_part(src + i, count - i), factor), count - i);
}

/* alpha * e^src = dst + alpha: the input is not needed. At 0 the slope is alpha (PyTorch's choice). */
static void elu_backward(float *diff_src, const float *diff_dst, const float *dst, ptrdiff_t count, float alpha)
{
    for (ptrdiff_t i = 0; i < count; i++) diff_src[i] = diff_dst[i] * (dst[i] <= 0.0f ? dst[i] + alpha : 1.0f);
}

static void add(float *dst, const float *a, const float *b, ptrdiff_t count)
{
    for (ptrdiff_t i = 0; i < count; i++) dst[i] = a[i] + b[i];
}

static void scale(float *dst, const float *src, ptrdiff_t count, float factor)
{
    for (ptrdiff_t i = 0; i < count; i++) dst[i] = src[i] * factor;
}

/* NaN and infinity are the numbers whose exponent bits are all set. */
static void has_nonfinite(const float *restrict src, ptrdiff_t count, bool *restrict found)
{
    const uint32_t exponent = 0x7f800000u;
    uint32_t bad = 0;
    for (ptrdiff_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, src + i, sizeof bits);
        bad |= (bits & exponent) == exponent ? 1u : 0u;
    }
    *found = bad != 0;
}

#endif
