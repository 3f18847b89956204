/* Elementwise parts of the losses. */
#ifndef CNN_BODY_LOSS_H
#define CNN_BODY_LOSS_H

#include "bodies/math.h"
#include "bodies/wide.h"
#include "kernels.h"

/* loss = max(x, 0) - x*t + ln(1 + e^-|x|), which never overflows; diff = (sigmoid(x) - t) * factor. */
static void logistic_loss(float *restrict loss, float *restrict diff, const float *restrict logits,
                          const float *restrict targets, ptrdiff_t count, float factor)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        const float x = logits[i], t = targets[i];
        const float decay = math_exp(-math_float(math_bits(x) & 0x7fffffffu));
        const float inverse = 1.0f / (1.0f + decay);
        const float positive = x < 0.0f ? 0.0f : x;
        loss[i] = (positive - x * t) + math_log1p(decay);
        diff[i] = ((x < 0.0f ? decay * inverse : inverse) - t) * factor;
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
        const simd_double a = simd_widen(src + i), b = simd_widen(src + i + SIMD_WIDTH / 2);
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
