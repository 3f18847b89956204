/* Convolutions whose every channel has one filter of its own: channels lie in the lanes (see cnn_depthwise in kernels.h).
 *
 * Forward and for the source, a register tile is a vector of channels times some pixels of a row: a tap costs a load of
 * the weights and one for each pixel. Where taps in a row lie one pixel apart, neighbouring pixels share what they read.
 * For the weights it is a vector of channels times some taps, which share the load of the gradient.
 */
#ifndef CNN_BODY_DEPTHWISE_H
#define CNN_BODY_DEPTHWISE_H

#include <assert.h>
#include <math.h>

#include "bodies/activation.h"
#include "bodies/vector.h"
#include "kernels.h"

/* Sums, weights and a row of the source in the 16 registers of AVX2: 6 + 3 + 1. */
enum { DEPTHWISE_PIXELS = 6, DEPTHWISE_TAPS = 9 };

static inline simd_float depthwise_load(const float *p, ptrdiff_t left)
{
    return left >= SIMD_WIDTH ? simd_load(p) : simd_load_part(p, left);
}

static inline void depthwise_store(float *p, simd_float v, ptrdiff_t left)
{
    if (left >= SIMD_WIDTH)
        simd_store(p, v);
    else
        simd_store_part(p, v, left);
}

/* The channels from `channel` on, a vector of them or what is left, of `pixels` pixels from `pixel` on. */
static inline __attribute__((always_inline)) void depthwise_body(const cnn_depthwise *d, ptrdiff_t pixel,
                                                                 ptrdiff_t channel, const int pixels, const int run)
{
    const ptrdiff_t left = d->channels - channel, step = d->src_pixel;
    const float *src = d->src + pixel * step + channel;
    const float *weights = d->weights + channel / CNN_PANEL * d->panel + channel % CNN_PANEL;
    simd_float sum[DEPTHWISE_PIXELS];
#pragma GCC unroll 16
    for (int i = 0; i < pixels; i++) sum[i] = simd_zero();
    for (ptrdiff_t t = 0; t < d->taps; t += run) {
        const float *at = src + d->src_offset[t];
        simd_float w[3];
#pragma GCC unroll 16
        for (int x = 0; x < run; x++) w[x] = simd_load(weights + d->weights_offset[t + x]);
#pragma GCC unroll 16
        for (int i = 0; i < pixels + run - 1; i++) {
            const simd_float value = depthwise_load(at + i * step, left);
            /* pixel i - x reads it by its tap x: for each pixel the taps come in order */
#pragma GCC unroll 16
            for (int x = 0; x < run; x++)
                if (i - x >= 0 && i - x < pixels) sum[i - x] = simd_fma(value, w[x], sum[i - x]);
        }
    }
    const simd_float bias = d->bias ? depthwise_load(d->bias + channel, left) : simd_zero();
    const bool other = !activation_only_bounds(d->activation);
    const activation_bounds bounds = activation_bounds_of(other ? CNN_ACTIVATION_NONE : d->activation);
    const ptrdiff_t out = pixel * d->dst_pixel + channel;
#pragma GCC unroll 16
    for (int i = 0; i < pixels; i++) {
        simd_float x = simd_add(sum[i], bias);
        if (d->mask) {
            const simd_float mask = depthwise_load(d->mask + out + i * d->dst_pixel, left);
            x = simd_select(simd_at_most(mask, simd_zero()), simd_zero(), x);
        }
        depthwise_store(d->dst + out + i * d->dst_pixel, activation_bounded(bounds, x), left);
    }
}

static inline __attribute__((always_inline)) void depthwise_pixels(const cnn_depthwise *d, ptrdiff_t pixel,
                                                                   const int pixels)
{
    for (ptrdiff_t channel = 0; channel < d->channels; channel += SIMD_WIDTH)
        if (d->run == 3)
            depthwise_body(d, pixel, channel, pixels, 3);
        else
            depthwise_body(d, pixel, channel, pixels, 1);
}

static void depthwise(const cnn_depthwise *d)
{
    assert(d->pixels >= 1 && d->channels >= 1 && (d->run == 1 || d->run == 3) && d->taps % d->run == 0);
    ptrdiff_t pixel = 0;
    for (; pixel + DEPTHWISE_PIXELS <= d->pixels; pixel += DEPTHWISE_PIXELS)
        depthwise_pixels(d, pixel, DEPTHWISE_PIXELS);
    switch (d->pixels - pixel) {
    case 1: depthwise_pixels(d, pixel, 1); break;
    case 2: depthwise_pixels(d, pixel, 2); break;
    case 3: depthwise_pixels(d, pixel, 3); break;
    case 4: depthwise_pixels(d, pixel, 4); break;
    case 5: depthwise_pixels(d, pixel, 5); break;
    default: break;
    }
    if (!activation_only_bounds(d->activation))
        for (ptrdiff_t p = 0; p < d->pixels; p++) activation_end(d->activation, d->dst + p * d->dst_pixel, d->channels);
}

static inline __attribute__((always_inline)) void depthwise_sums_body(const cnn_depthwise_sums *d, ptrdiff_t channel,
                                                                      ptrdiff_t first, const int taps)
{
    const ptrdiff_t left = d->channels - channel;
    float *const sums = d->sums + (channel / CNN_PANEL * d->taps + first) * CNN_PANEL + channel % CNN_PANEL;
    simd_float sum[DEPTHWISE_TAPS];
#pragma GCC unroll 16
    for (int t = 0; t < taps; t++) sum[t] = simd_zero();
    for (ptrdiff_t row = 0; row < d->rows; row++) {
        const float *diff = d->diff + d->diff_row[row] + channel, *src = d->src + d->src_row[row] + channel;
        const float *at[DEPTHWISE_TAPS];
#pragma GCC unroll 16
        for (int t = 0; t < taps; t++) at[t] = src + d->src_offset[first + t];
        for (ptrdiff_t p = 0; p < d->pixels; p++) {
            const simd_float value = depthwise_load(diff + p * d->diff_pixel, left);
#pragma GCC unroll 16
            for (int t = 0; t < taps; t++)
                sum[t] = simd_fma(depthwise_load(at[t] + p * d->src_pixel, left), value, sum[t]);
        }
    }
#pragma GCC unroll 16
    for (int t = 0; t < taps; t++) {
        float *out = sums + t * CNN_PANEL;
        const simd_float before = d->accumulate ? simd_load(out) : simd_zero();
        simd_store(out, simd_add(sum[t], before));
    }
}

static void depthwise_sums(const cnn_depthwise_sums *d)
{
    assert(d->rows >= 1 && d->pixels >= 1 && d->channels >= 1);
    ptrdiff_t channel = 0;
    for (; channel < d->channels; channel += SIMD_WIDTH) {
        ptrdiff_t tap = 0;
        for (; tap + DEPTHWISE_TAPS <= d->taps; tap += DEPTHWISE_TAPS)
            depthwise_sums_body(d, channel, tap, DEPTHWISE_TAPS);
        for (; tap + 3 <= d->taps; tap += 3) depthwise_sums_body(d, channel, tap, 3);
        for (; tap < d->taps; tap++) depthwise_sums_body(d, channel, tap, 1);
    }
    /* the vectors of the last panel that have no channel */
    for (; channel % CNN_PANEL; channel += SIMD_WIDTH)
        for (ptrdiff_t t = 0; t < d->taps; t++)
            simd_store(d->sums + (channel / CNN_PANEL * d->taps + t) * CNN_PANEL + channel % CNN_PANEL, simd_zero());
}

#endif
