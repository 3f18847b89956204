/* The one micro-kernel: tiles of a batch-reduce matrix product, one below the other (see cnn_tile in kernels.h).
 *
 * Accumulators stay in registers over all segments and k. Each row of A is one broadcast per k, each group of B
 * 16 / SIMD_WIDTH loads. `rows` and `groups` are compile-time constants in tile_body so that the loops vanish.
 */
#ifndef CNN_BODY_GEMM_TILE_H
#define CNN_BODY_GEMM_TILE_H

#include <assert.h>
#include <limits.h>
#include <math.h>

#include "bodies/activation.h"
#include "bodies/vector.h"
#include "kernels.h"

enum {
    TILE_VECTORS_PER_GROUP = CNN_PANEL / SIMD_WIDTH,
    TILE_LONG = 64, /* products: a sum of so many leaves time to fetch C */
};

/* As relu_backward: a NaN in the mask lets the gradient pass. */
static inline simd_float tile_masked(simd_float x, simd_float mask)
{
    return simd_select(simd_at_most(mask, simd_zero()), simd_zero(), x);
}

/* How a tile ends: sums lie in registers, `rows` and `vectors` are known when compiled. */
typedef simd_float tile_sums[SIMD_TILE_ROWS][SIMD_TILE_GROUPS * TILE_VECTORS_PER_GROUP];

/* Whole vectors that are neither added to what is there nor masked, as most are: no branch between the stores. */
static inline __attribute__((always_inline)) void tile_store(const cnn_tile *t, float *c, tile_sums sum, const int rows,
                                                             const int vectors)
{
    const ptrdiff_t c_row = t->c_row, c_group = t->c_group;
    const float *bias = t->bias;
    const activation_bounds bounds = activation_bounds_of(t->activation);
#pragma GCC unroll 16
    for (int v = 0; v < vectors; v++) {
        float *out = c + (v / TILE_VECTORS_PER_GROUP) * c_group + (v % TILE_VECTORS_PER_GROUP) * SIMD_WIDTH;
        const simd_float shift = bias ? simd_load(bias + v * SIMD_WIDTH) : simd_zero();
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++)
            simd_store(out + i * c_row, activation_bounded(bounds, simd_add(sum[i][v], shift)));
    }
}

/* Whole vectors that are added to what is there. */
static inline __attribute__((always_inline)) void tile_add(const cnn_tile *t, float *c, tile_sums sum, const int rows,
                                                           const int vectors)
{
    const ptrdiff_t c_row = t->c_row, c_group = t->c_group;
#pragma GCC unroll 16
    for (int v = 0; v < vectors; v++) {
        float *out = c + (v / TILE_VECTORS_PER_GROUP) * c_group + (v % TILE_VECTORS_PER_GROUP) * SIMD_WIDTH;
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) simd_store(out + i * c_row, simd_add(sum[i][v], simd_load(out + i * c_row)));
    }
}

/* Adds the bias to the sums and activates them. */
static void tile_activate(const cnn_tile *t, float *sums, int rows, int vectors)
{
    for (int v = 0; t->bias && v < vectors && v * SIMD_WIDTH < t->columns; v++) {
        const simd_float bias = simd_load_part(t->bias + v * SIMD_WIDTH, t->columns - v * SIMD_WIDTH);
        for (int i = 0; i < rows; i++) {
            float *at = sums + (i * vectors + v) * SIMD_WIDTH;
            simd_store(at, simd_add(simd_load(at), bias));
        }
    }
    activation_end(t->activation, sums, (ptrdiff_t)rows * vectors * SIMD_WIDTH);
}

/* Everything else, from a copy of the sums. A function of its own, so that it takes no registers from the loops. */
static __attribute__((noinline)) void tile_finish(const cnn_tile *t, float *c, const float *mask, float *sums, int rows,
                                                  int vectors)
{
    const bool other = !activation_only_bounds(t->activation);
    const activation_bounds bounds = activation_bounds_of(other ? CNN_ACTIVATION_NONE : t->activation);
    assert(!other || (!t->accumulate && !mask));
    if (other) tile_activate(t, sums, rows, vectors);
    for (int v = 0; v < vectors; v++) {
        const ptrdiff_t first = v * SIMD_WIDTH, left = t->columns - first;
        if (left <= 0) break;
        const ptrdiff_t at = (v / TILE_VECTORS_PER_GROUP) * t->c_group + (v % TILE_VECTORS_PER_GROUP) * SIMD_WIDTH;
        const simd_float bias = t->bias && !other ? simd_load_part(t->bias + first, left) : simd_zero();
        for (int i = 0; i < rows; i++) {
            float *out = c + at + i * t->c_row;
            simd_float x = simd_load(sums + (i * vectors + v) * SIMD_WIDTH);
            if (!other) x = simd_add(x, bias);
            if (left >= SIMD_WIDTH) {
                if (t->accumulate) x = simd_add(x, simd_load(out));
                if (mask) x = tile_masked(x, simd_load(mask + at + i * t->c_row));
                simd_store(out, activation_bounded(bounds, x));
            } else {
                if (t->accumulate) x = simd_add(x, simd_load_part(out, left));
                if (mask) x = tile_masked(x, simd_load_part(mask + at + i * t->c_row, left));
                simd_store_part(out, activation_bounded(bounds, x), left);
            }
        }
    }
}

/* `rows` rows of the product, of which a, c and mask are the first. */
static inline __attribute__((always_inline)) void tile_body(const cnn_tile *t, const float *from, float *c,
                                                            const float *mask, const float *fetch, const int rows,
                                                            const int groups)
{
    enum { MOST = SIMD_TILE_GROUPS * TILE_VECTORS_PER_GROUP };
    const int vectors = groups * TILE_VECTORS_PER_GROUP;
    /* What is added to, or was left long ago, comes in while the products run. */
    if (t->accumulate || t->k * t->segments >= TILE_LONG)
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 16
            for (int g = 0; g < groups; g++) __builtin_prefetch(c + i * t->c_row + g * t->c_group, 1);

    tile_sums sum;
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++) sum[i][v] = simd_zero();

    const ptrdiff_t a_row = t->a_row, a_k = t->a_k, b_k = t->b_k, b_group = t->b_group, depth = t->k;
    for (ptrdiff_t s = 0; s < t->segments; s++) {
        if (fetch)
            for (int i = 0; i < t->fetch_lines; i++)
                __builtin_prefetch(fetch + t->fetch_offset[s] + (ptrdiff_t)i * CNN_PANEL);
        /* One pointer per three rows keeps the addresses within base + {0, 1, 2} * a_row. */
        const float *a[(SIMD_TILE_ROWS + 2) / 3];
        a[0] = from + t->a_offset[s];
#pragma GCC unroll 16
        for (int p = 1; p < (rows + 2) / 3; p++) a[p] = a[p - 1] + 3 * a_row;
        const float *b = t->b + t->b_offset[s];
#pragma GCC unroll 2
        for (ptrdiff_t k = 0; k < depth; k++) {
            simd_float column[MOST];
#pragma GCC unroll 16
            for (int v = 0; v < vectors; v++)
                column[v] =
                    simd_load(b + (v / TILE_VECTORS_PER_GROUP) * b_group + (v % TILE_VECTORS_PER_GROUP) * SIMD_WIDTH);
#pragma GCC unroll 16
            for (int i = 0; i < rows; i++) {
                const simd_float x = simd_set1(a[i / 3][(i % 3) * a_row]);
#pragma GCC unroll 16
                for (int v = 0; v < vectors; v++) sum[i][v] = simd_fma(x, column[v], sum[i][v]);
            }
#pragma GCC unroll 16
            for (int p = 0; p < (rows + 2) / 3; p++) a[p] += a_k;
            b += b_k;
        }
    }

    const bool whole = t->columns >= vectors * SIMD_WIDTH;
    if (whole && !t->accumulate && !mask && activation_only_bounds(t->activation)) {
        tile_store(t, c, sum, rows, vectors);
    } else if (whole && !t->bias && !mask && t->activation == CNN_ACTIVATION_NONE) {
        tile_add(t, c, sum, rows, vectors);
    } else {
        float sums[SIMD_TILE_ROWS * MOST * SIMD_WIDTH];
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 16
            for (int v = 0; v < vectors; v++) simd_store(sums + (i * vectors + v) * SIMD_WIDTH, sum[i][v]);
        tile_finish(t, c, mask, sums, rows, vectors);
    }
}

static inline __attribute__((always_inline)) void tile_of_groups(const cnn_tile *t, const float *a, float *c,
                                                                 const float *mask, const float *fetch, int rows,
                                                                 const int groups)
{
    switch (rows) {
    case 1: tile_body(t, a, c, mask, fetch, 1, groups); break;
    case 2: tile_body(t, a, c, mask, fetch, 2, groups); break;
#if SIMD_TILE_ROWS >= 6
    case 3: tile_body(t, a, c, mask, fetch, 3, groups); break;
    case 4: tile_body(t, a, c, mask, fetch, 4, groups); break;
    case 5: tile_body(t, a, c, mask, fetch, 5, groups); break;
    case 6: tile_body(t, a, c, mask, fetch, 6, groups); break;
#endif
#if SIMD_TILE_ROWS >= 14
    case 7: tile_body(t, a, c, mask, fetch, 7, groups); break;
    case 8: tile_body(t, a, c, mask, fetch, 8, groups); break;
    case 9: tile_body(t, a, c, mask, fetch, 9, groups); break;
    case 10: tile_body(t, a, c, mask, fetch, 10, groups); break;
    case 11: tile_body(t, a, c, mask, fetch, 11, groups); break;
    case 12: tile_body(t, a, c, mask, fetch, 12, groups); break;
    case 13: tile_body(t, a, c, mask, fetch, 13, groups); break;
    case 14: tile_body(t, a, c, mask, fetch, 14, groups); break;
#endif
    default: assert(!"rows within the tile");
    }
}

static void gemm_tile(const cnn_tile *t)
{
    const unsigned tiles = ((unsigned)t->rows + SIMD_TILE_ROWS - 1) / SIMD_TILE_ROWS;
    assert(t->rows >= 1 && t->rows <= INT_MAX);
    assert(t->columns >= 1 && t->columns <= SIMD_TILE_GROUPS * CNN_PANEL);
    const int each = (int)((unsigned)t->rows / tiles), longer = (int)((unsigned)t->rows % tiles);
    const float *a = t->a, *mask = t->mask, *fetch = t->fetch;
    float *c = t->c;
    for (int tile = 0; tile < (int)tiles; tile++) {
        const int rows = each + (tile < longer);
#if SIMD_TILE_GROUPS > 1
        if (t->columns > CNN_PANEL)
            tile_of_groups(t, a, c, mask, fetch, rows, 2);
        else
#endif
            tile_of_groups(t, a, c, mask, fetch, rows, 1);
        fetch = NULL;
        a += rows * t->a_row;
        c += rows * t->c_row;
        if (mask) mask += rows * t->c_row;
    }
}

#endif
