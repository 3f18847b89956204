/* Elementwise parts of the losses. */
#ifndef CNN_BODY_LOSS_H
#define CNN_BODY_LOSS_H

#include "bodies/math.h"
#include "kernels.h"

/* loss = max(x, 0) - x*t + ln(1 + e^-|x|), which never overflows; diff = (sigmoid(x) - t) * factor. */
static inline simd_float logistic_lanes(simd_float x, simd_float t, float factor, simd_float *diff)
{
    const simd_float decay = math_exp(math_negate(math_size(x))), inverse = simd_set1(1.0f) / (simd_set1(1.0f) + decay);
    const simd_mask below = simd_less(x, simd_zero());
    *diff = (simd_select(below, decay * inverse, inverse) - t) * simd_set1(factor);
    return (simd_select(below, simd_zero(), x) - x * t) + math_log1p(decay);
}

static void logistic_loss(float *restrict loss, float *restrict diff, const float *restrict logits,
                          const float *restrict targets, ptrdiff_t count, float factor)
{
    simd_float gradient;
    ptrdiff_t i = 0;
    for (; i + SIMD_WIDTH <= count; i += SIMD_WIDTH) {
        simd_store(loss + i, logistic_lanes(simd_load(logits + i), simd_load(targets + i), factor, &gradient));
        simd_store(diff + i, gradient);
    }
    if (i < count) {
        const ptrdiff_t left = count - i;
        const simd_float x = simd_load_part(logits + i, left), t = simd_load_part(targets + i, left);
        simd_store_part(loss + i, logistic_lanes(x, t, factor, &gradient), left);
        simd_store_part(diff + i, gradient, left);
    }
}

static void subtract(float *dst, const float *a, const float *b, ptrdiff_t count)
{
    for (ptrdiff_t i = 0; i < count; i++) dst[i] = a[i] - b[i];
}

/* sum = the sum of squares in double: SIMD_WIDTH/2 running sums per half vector, added up in lane order. */
static void square_sum(const float *restrict src, ptrdiff_t count, double *restrict sum)
{
    simd_double low = {0.0}, high = {0.0};
    ptrdiff_t i = 0;
    for (; i + SIMD_WIDTH <= count; i += SIMD_WIDTH) {
        const simd_double a = simd_low(simd_load(src + i)), b = simd_high(simd_load(src + i));
        low += a * a;
        high += b * b;
    }
    double total = 0.0;
    for (int lane = 0; lane < SIMD_WIDTH / 2; lane++) total += low[lane];
    for (int lane = 0; lane < SIMD_WIDTH / 2; lane++) total += high[lane];
    for (; i < count; i++) total += (double)src[i] * (double)src[i];
    *sum = total;
}

#endif
