/* What the transforms of whole tiles (winograd.h) and of those at the edge of a map (winograd_edges.h) have in common. */
#ifndef CNN_BODY_WINOGRAD_PIECES_H
#define CNN_BODY_WINOGRAD_PIECES_H

#include <assert.h>

#include "bodies/gemm_tile.h"
#include "bodies/winograd_transforms.h"
#include "kernels.h"

#define WINOGRAD_INLINE static inline __attribute__((always_inline))

/* The one-dimensional transforms by size; of a tile the last `less` outputs are not wanted */
WINOGRAD_INLINE void winograd_input_1d(simd_float *out, const simd_float *in, const int tile, const int kernel,
                                       int less)
{
    if (tile + kernel == 5) winograd_input_4(out, in, less);
    if (tile + kernel == 7) winograd_input_6(out, in, less);
    if (tile + kernel == 9) winograd_input_8(out, in, less);
}

#define WINOGRAD_OF_TILES(name)                                                                                        \
    WINOGRAD_INLINE void winograd_##name##_1d(simd_float *out, const simd_float *in, const int tile, const int kernel, \
                                              int less)                                                                \
    {                                                                                                                  \
        if (tile == 2 && kernel == 3) winograd_##name##_2x3(out, in, less);                                            \
        if (tile == 4 && kernel == 3) winograd_##name##_4x3(out, in, less);                                            \
        if (tile == 4 && kernel == 5) winograd_##name##_4x5(out, in, less);                                            \
    }
WINOGRAD_OF_TILES(output)
WINOGRAD_OF_TILES(diff)
#undef WINOGRAD_OF_TILES

#define WINOGRAD_OF_FILTERS(name)                                                                                      \
    WINOGRAD_INLINE void winograd_##name##_1d(simd_float *out, const simd_float *in, const int tile, const int kernel) \
    {                                                                                                                  \
        if (tile == 2 && kernel == 3) winograd_##name##_2x3(out, in);                                                  \
        if (tile == 4 && kernel == 3) winograd_##name##_4x3(out, in);                                                  \
        if (tile == 4 && kernel == 5) winograd_##name##_4x5(out, in);                                                  \
    }
WINOGRAD_OF_FILTERS(filter)
WINOGRAD_OF_FILTERS(gradient)
#undef WINOGRAD_OF_FILTERS

/* Calls body(argument, tile, kernel, ...) with constants. */
#define WINOGRAD_DISPATCH(body, argument, ...)                                                                         \
    do {                                                                                                               \
        const int tile_ = (argument)->tile, kernel_ = (argument)->kernel;                                              \
        if (tile_ == 4 && kernel_ == 3)                                                                                \
            body(argument, 4, 3, __VA_ARGS__);                                                                         \
        else if (tile_ == 2 && kernel_ == 3)                                                                           \
            body(argument, 2, 3, __VA_ARGS__);                                                                         \
        else if (tile_ == 4 && kernel_ == 5)                                                                           \
            body(argument, 4, 5, __VA_ARGS__);                                                                         \
        else                                                                                                           \
            assert(!"a variant of Winograd's algorithm");                                                              \
    } while (0)

/* A pixel of a source or gradient patch */
WINOGRAD_INLINE simd_float winograd_pixel(const cnn_winograd_patch *p, int i, ptrdiff_t c, ptrdiff_t channel,
                                          ptrdiff_t left, const bool pooled)
{
    if (!pooled) {
        const float *at = p->row[i] + (c - p->first) * p->pixel + channel;
        return left >= SIMD_WIDTH ? simd_load(at) : simd_load_part(at, left);
    }
    const int tap_row = ((p->tap >> 1) + i) & 1, tap_column = ((p->tap & 1) + (int)(c - p->first)) & 1;
    const ptrdiff_t at = (((p->tap & 1) + c - p->first) >> 1) * p->pixel + channel;
    const simd_float diff = left >= SIMD_WIDTH ? simd_load(p->row[i] + at) : simd_load_part(p->row[i] + at, left);
    const simd_float taps = simd_load_bytes(p->argmax[i] + at, left);
    return simd_keep(simd_equal(taps, simd_set1((float)(2 * tap_row + tap_column))), diff);
}

/* Stores one vector of a pixel: bias and ReLU are done, the mask is not. */
WINOGRAD_INLINE void winograd_store(const cnn_winograd_tile *t, simd_float v, ptrdiff_t at, ptrdiff_t left)
{
    if (left >= SIMD_WIDTH) {
        if (t->mask) v = tile_masked(v, simd_load(t->mask + at));
        simd_store(t->dst + at, v);
    } else {
        if (t->mask) v = tile_masked(v, simd_load_part(t->mask + at, left));
        simd_store_part(t->dst + at, v, left);
    }
}

#endif
