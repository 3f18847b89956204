/* Elementwise loops: activations, their gradients, sums. Without branches in the loops. */
#ifndef CNN_BODY_ACTIVATION_H
#define CNN_BODY_ACTIVATION_H

#include <assert.h>
#include <math.h>

#include "bodies/math.h"
#include "kernels.h"

/*
 * The table of activations: what each makes of an element, and its gradient. `kind` is known when compiled wherever a loop
 * runs over elements, so that no loop has the switch in it. NaN passes through: a comparison with NaN is false.
 */
static inline __attribute__((always_inline)) simd_float activation_of(const cnn_activation kind, simd_float x,
                                                                      simd_float slope, simd_float high)
{
    const simd_float zero = simd_zero(), six = simd_set1(6.0f);
    switch (kind) {
    case CNN_ACTIVATION_RELU: return simd_select(simd_less(x, zero), zero, x);
    case CNN_ACTIVATION_LEAKY_RELU: return simd_select(simd_less(x, zero), x * slope, x);
    case CNN_ACTIVATION_SIGMOID: return math_sigmoid(x);
    case CNN_ACTIVATION_TANH: return math_tanh(x);
    /* above 0, at 0 (of either sign) and for NaN the element itself */
    case CNN_ACTIVATION_ELU: return simd_select(simd_less(x, zero), slope * math_expm1(x), x);
    case CNN_ACTIVATION_GELU: return math_gelu(x);
    case CNN_ACTIVATION_GELU_TANH: return math_gelu_tanh(x);
    case CNN_ACTIVATION_SILU: return math_silu(x);
    /* divided before it is multiplied: infinity is not 0 * infinity, and large numbers do not overflow */
    case CNN_ACTIVATION_HARDSWISH:
        return simd_max(simd_set1(-3.0f), x) * (math_clamp(x + simd_set1(3.0f), 0.0f, 6.0f) / six);
    case CNN_ACTIVATION_HARDSIGMOID: return math_clamp(x + simd_set1(3.0f), 0.0f, 6.0f) / six;
    case CNN_ACTIVATION_RELU6: return math_clamp(x, 0.0f, 6.0f);
    case CNN_ACTIVATION_SOFTPLUS: return math_softplus(x);
    case CNN_ACTIVATION_CLIP: x = simd_max(slope, x); return simd_select(simd_less(high, x), high, x);
    case CNN_ACTIVATION_NONE: break;
    }
    return x;
}

/* At a kink PyTorch's choice: at 0 ReLU has the slope 0, LeakyReLU and ELU that of the negative side. */
static inline __attribute__((always_inline)) simd_float
activation_gradient_of(const cnn_activation kind, simd_float diff, simd_float saved, simd_float slope, simd_float high)
{
    const simd_float zero = simd_zero(), one = simd_set1(1.0f), three = simd_set1(3.0f);
    switch (kind) {
    case CNN_ACTIVATION_RELU: return simd_select(simd_at_most(saved, zero), zero, diff);
    case CNN_ACTIVATION_LEAKY_RELU: return diff * simd_select(simd_at_most(saved, zero), slope, one);
    case CNN_ACTIVATION_SIGMOID: return diff * (saved * (one - saved));
    case CNN_ACTIVATION_TANH: return diff * (one - saved * saved);
    /* alpha * e^src = dst + alpha */
    case CNN_ACTIVATION_ELU: return diff * simd_select(simd_at_most(saved, zero), saved + slope, one);
    case CNN_ACTIVATION_GELU: return diff * math_gelu_slope(saved);
    case CNN_ACTIVATION_GELU_TANH: return diff * math_gelu_tanh_slope(saved);
    case CNN_ACTIVATION_SILU: return diff * math_silu_slope(saved);
    case CNN_ACTIVATION_HARDSWISH: {
        const simd_float bent = diff * (saved / three + simd_set1(0.5f));
        const simd_float right = simd_select(simd_at_most(three, saved), diff, bent);
        return simd_select(simd_at_most(saved, simd_set1(-3.0f)), zero, right);
    }
    case CNN_ACTIVATION_HARDSIGMOID:
        return simd_select(simd_either(simd_at_most(saved, zero), simd_at_most(one, saved)), zero,
                           diff / simd_set1(6.0f));
    case CNN_ACTIVATION_RELU6:
        return simd_select(simd_either(simd_at_most(saved, zero), simd_at_most(simd_set1(6.0f), saved)), zero, diff);
    /* e^src / (1 + e^src) = 1 - e^-dst */
    case CNN_ACTIVATION_SOFTPLUS: return diff * math_negate(math_expm1(math_negate(saved)));
    case CNN_ACTIVATION_CLIP:
        return simd_select(simd_either(simd_at_most(saved, slope), simd_at_most(high, saved)), zero, diff);
    case CNN_ACTIVATION_NONE: break;
    }
    return diff;
}

/* Activations that only bound an element, below or on both sides: kernels end with them while sums are in registers. */
typedef struct activation_bounds {
    simd_float least, most;
} activation_bounds;

static inline bool activation_only_bounds(cnn_activation kind)
{
    return kind <= CNN_ACTIVATION_RELU || kind == CNN_ACTIVATION_RELU6;
}

static inline activation_bounds activation_bounds_of(cnn_activation kind)
{
    return (activation_bounds){kind == CNN_ACTIVATION_NONE ? simd_set1(-INFINITY) : simd_zero(),
                               simd_set1(kind == CNN_ACTIVATION_RELU6 ? 6.0f : INFINITY)};
}

/* NaN passes through, as in activation_of. */
static inline simd_float activation_bounded(activation_bounds bounds, simd_float x)
{
    return simd_min(bounds.most, simd_max(bounds.least, x));
}

static inline __attribute__((always_inline)) void activation_loop(float *dst, const float *src, ptrdiff_t count,
                                                                  const cnn_activate *how, const cnn_activation kind)
{
    const simd_float slope = simd_set1(how->slope), high = simd_set1(how->high);
    ptrdiff_t i = 0;
    for (; i + SIMD_WIDTH <= count; i += SIMD_WIDTH)
        simd_store(dst + i, activation_of(kind, simd_load(src + i), slope, high));
    if (i < count)
        simd_store_part(dst + i, activation_of(kind, simd_load_part(src + i, count - i), slope, high), count - i);
}

static inline __attribute__((always_inline)) void activation_backward_loop(float *diff_src, const float *diff_dst,
                                                                           const float *saved, ptrdiff_t count,
                                                                           const cnn_activate *how,
                                                                           const cnn_activation kind)
{
    const simd_float slope = simd_set1(how->slope), high = simd_set1(how->high);
    ptrdiff_t i = 0;
    for (; i + SIMD_WIDTH <= count; i += SIMD_WIDTH)
        simd_store(diff_src + i,
                   activation_gradient_of(kind, simd_load(diff_dst + i), simd_load(saved + i), slope, high));
    if (i >= count) return;
    const simd_float diff = simd_load_part(diff_dst + i, count - i), last = simd_load_part(saved + i, count - i);
    simd_store_part(diff_src + i, activation_gradient_of(kind, diff, last, slope, high), count - i);
}

static void activation(float *dst, const float *src, ptrdiff_t count, const cnn_activate *how)
{
    switch (how->kind) {
#define ACTIVATION_CASE(name, NAME)                                                                                    \
    case CNN_ACTIVATION_##NAME: activation_loop(dst, src, count, how, CNN_ACTIVATION_##NAME); break;
        CNN_ACTIVATIONS(ACTIVATION_CASE)
        CNN_ACTIVATIONS_WITH_NUMBERS(ACTIVATION_CASE)
#undef ACTIVATION_CASE
    default: assert(!"an activation");
    }
}

static void activation_backward(float *diff_src, const float *diff_dst, const float *saved, ptrdiff_t count,
                                const cnn_activate *how)
{
    switch (how->kind) {
#define ACTIVATION_CASE(name, NAME)                                                                                    \
    case CNN_ACTIVATION_##NAME:                                                                                        \
        activation_backward_loop(diff_src, diff_dst, saved, count, how, CNN_ACTIVATION_##NAME);                        \
        break;
        CNN_ACTIVATIONS(ACTIVATION_CASE)
        CNN_ACTIVATIONS_WITH_NUMBERS(ACTIVATION_CASE)
#undef ACTIVATION_CASE
    default: assert(!"an activation");
    }
}

static void relu_backward(float *diff_src, const float *diff_dst, const float *dst, ptrdiff_t count)
{
    const cnn_activate relu = {.kind = CNN_ACTIVATION_RELU};
    activation_backward_loop(diff_src, diff_dst, dst, count, &relu, CNN_ACTIVATION_RELU);
}

/* What another kernel has computed, in memory that is still in cache: beyond ReLU, an activation ends it in runs of some
 * vectors, for which its constants are loaded once. */
static void activation_end(cnn_activation kind, float *values, ptrdiff_t count)
{
    const cnn_activate how = {.kind = kind};
    activation(values, values, count, &how);
}

static void add(float *dst, const float *a, const float *b, const float *mask, ptrdiff_t count)
{
    if (!mask) {
        for (ptrdiff_t i = 0; i < count; i++) dst[i] = a[i] + b[i];
        return;
    }
    ptrdiff_t i = 0;
    for (; i + SIMD_WIDTH <= count; i += SIMD_WIDTH) {
        const simd_float sum = simd_add(simd_load(a + i), simd_load(b + i));
        simd_store(dst + i, activation_gradient_of(CNN_ACTIVATION_RELU, sum, simd_load(mask + i), sum, sum));
    }
    if (i >= count) return;
    const simd_float sum = simd_add(simd_load_part(a + i, count - i), simd_load_part(b + i, count - i));
    const simd_float last = simd_load_part(mask + i, count - i);
    simd_store_part(dst + i, activation_gradient_of(CNN_ACTIVATION_RELU, sum, last, sum, sum), count - i);
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
