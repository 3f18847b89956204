/* A convolution to few channels (see cnn_lanes in kernels.h): a vector holds neighbouring pixels of one channel.
 *
 * With channels in the lanes, six of them would leave most of a panel empty. Here the register tile is a block of
 * channels times two vectors of pixels, which may stand in different rows: a tap costs two loads of the source, which
 * serve all channels, and a broadcast of a weight per channel. Each channel's vectors are turned when they are stored.
 */
#ifndef CNN_BODY_LANES_H
#define CNN_BODY_LANES_H

#include <assert.h>

#include "bodies/activation.h"
#include "bodies/vector.h"
#include "kernels.h"

/* Channels [first, first + channels) of `vectors` vectors of pixels: from at[v] in the source to to[v], of which the
 * first left[v] pixels are wanted. */
static inline __attribute__((always_inline)) void lanes_body(const cnn_lanes *l, const float *const *at,
                                                             float *const *to, const ptrdiff_t *left, ptrdiff_t first,
                                                             const int channels, const int vectors)
{
    simd_float sum[CNN_LANES_VECTORS][CNN_LANES_CHANNELS];
#pragma GCC unroll 16
    for (int v = 0; v < vectors; v++)
#pragma GCC unroll 16
        for (int o = 0; o < channels; o++) sum[v][o] = simd_zero();

    const float *weights = l->weights + first;
    const float *src[CNN_LANES_VECTORS];
#pragma GCC unroll 16
    for (int v = 0; v < vectors; v++) src[v] = at[v];
    for (ptrdiff_t k = 0; k < l->count; k++, weights += CNN_PANEL) {
        const ptrdiff_t offset = l->offsets[k];
        simd_float x[CNN_LANES_VECTORS];
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++) x[v] = simd_load(src[v] + offset);
#pragma GCC unroll 16
        for (int o = 0; o < channels; o++) {
            const simd_float w = simd_set1(weights[o]);
#pragma GCC unroll 16
            for (int v = 0; v < vectors; v++) sum[v][o] = simd_fma(x[v], w, sum[v][o]);
        }
    }

    const bool other = !activation_only_bounds(l->activation);
    const activation_bounds bounds = activation_bounds_of(other ? CNN_ACTIVATION_NONE : l->activation);
#pragma GCC unroll 16
    for (int o = 0; o < channels; o++) {
        const simd_float bias = simd_set1(l->bias ? l->bias[first + o] : 0.0f);
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++) sum[v][o] = activation_bounded(bounds, simd_add(sum[v][o], bias));
    }
    if (other) {
        float ends[CNN_LANES_VECTORS * CNN_LANES_CHANNELS * SIMD_WIDTH];
        for (int v = 0; v < vectors; v++)
            for (int o = 0; o < channels; o++) simd_store(ends + (v * channels + o) * SIMD_WIDTH, sum[v][o]);
        activation_end(l->activation, ends, (ptrdiff_t)vectors * channels * SIMD_WIDTH);
        for (int v = 0; v < vectors; v++)
            for (int o = 0; o < channels; o++) sum[v][o] = simd_load(ends + (v * channels + o) * SIMD_WIDTH);
    }
#pragma GCC unroll 16
    for (int v = 0; v < vectors; v++) {
        float *dst = to[v] + first;
        if (left[v] >= SIMD_WIDTH) {
            simd_store_turned(dst, l->channels, sum[v], channels);
            continue;
        }
        float lanes[CNN_LANES_CHANNELS][SIMD_WIDTH];
        for (int o = 0; o < channels; o++) simd_store(lanes[o], sum[v][o]);
        for (ptrdiff_t p = 0; p < left[v]; p++)
            for (int o = 0; o < channels; o++) dst[p * l->channels + o] = lanes[o][p];
    }
}

static inline __attribute__((always_inline)) void lanes_of(const cnn_lanes *l, const float *const *at, float *const *to,
                                                           const ptrdiff_t *left, ptrdiff_t first, ptrdiff_t channels,
                                                           const int vectors)
{
    switch (channels) {
    case 1: lanes_body(l, at, to, left, first, 1, vectors); break;
    case 2: lanes_body(l, at, to, left, first, 2, vectors); break;
    case 3: lanes_body(l, at, to, left, first, 3, vectors); break;
    case 4: lanes_body(l, at, to, left, first, 4, vectors); break;
    case 5: lanes_body(l, at, to, left, first, 5, vectors); break;
    case 6: lanes_body(l, at, to, left, first, 6, vectors); break;
    default: assert(!"channels within the block");
    }
}

static void lanes(const cnn_lanes *l)
{
    assert(l->channels >= 1 && l->channels <= CNN_PANEL && l->pixels >= 1);
    const ptrdiff_t per_row = (l->pixels + SIMD_WIDTH - 1) / SIMD_WIDTH, count = l->rows * per_row;
    const ptrdiff_t blocks = (l->channels + CNN_LANES_CHANNELS - 1) / CNN_LANES_CHANNELS;
    const ptrdiff_t each = l->channels / blocks, longer = l->channels % blocks;
    for (ptrdiff_t next = 0; next < count; next += CNN_LANES_VECTORS) {
        const float *at[CNN_LANES_VECTORS];
        float *to[CNN_LANES_VECTORS];
        ptrdiff_t left[CNN_LANES_VECTORS];
        const ptrdiff_t vectors = count - next < CNN_LANES_VECTORS ? count - next : CNN_LANES_VECTORS;
        for (ptrdiff_t v = 0; v < vectors; v++) {
            const ptrdiff_t row = (next + v) / per_row, pixel = (next + v) % per_row * SIMD_WIDTH;
            at[v] = l->src + row * l->src_row + pixel;
            to[v] = l->dst + row * l->dst_row + pixel * l->channels;
            left[v] = l->pixels - pixel;
        }
        for (ptrdiff_t block = 0, first = 0; block < blocks; block++) {
            const ptrdiff_t channels = each + (block < longer);
            if (vectors == CNN_LANES_VECTORS)
                lanes_of(l, at, to, left, first, channels, CNN_LANES_VECTORS);
            else
                lanes_of(l, at, to, left, first, channels, 1);
            first += channels;
        }
    }
}

#endif
