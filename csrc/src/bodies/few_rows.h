/* A product of one or two rows with weights in panels: a pass over the weights, bound by where they come from.
 *
 * A row alone gives one FMA for each vector of weights, and each waits for the one before: so several panels are read
 * side by side. (Four; eight lie a power of two apart in usual layers and share cache sets.) The sums run over k in
 * order, as in gemm_tile: both give the same bits.
 */
#ifndef CNN_BODY_FEW_ROWS_H
#define CNN_BODY_FEW_ROWS_H

#include <assert.h>

#include "bodies/activation.h"
#include "kernels.h"

enum { FEW_VECTORS = CNN_PANEL / SIMD_WIDTH, FEW_PANELS = 4, FEW_PANELS_OF_TWO = FEW_VECTORS == 1 ? 4 : 2 };

static inline __attribute__((always_inline)) void few_rows_body(const cnn_few_rows *p, ptrdiff_t first, const int rows,
                                                                const int panels)
{
    const int vectors = panels * FEW_VECTORS;
    const ptrdiff_t panel = p->k * CNN_PANEL;
    simd_float sum[2][FEW_PANELS * FEW_VECTORS];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++) sum[i][v] = simd_zero();

    const float *weights = p->weights + first * panel;
    for (ptrdiff_t k = 0; k < p->k; k++, weights += CNN_PANEL) {
        simd_float x[2];
#pragma GCC unroll 2
        for (int i = 0; i < rows; i++) x[i] = simd_set1(p->src[i * p->k + k]);
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++) {
            const simd_float w = simd_load(weights + (v / FEW_VECTORS) * panel + (v % FEW_VECTORS) * SIMD_WIDTH);
#pragma GCC unroll 2
            for (int i = 0; i < rows; i++) sum[i][v] = simd_fma(x[i], w, sum[i][v]);
        }
    }

    const bool other = !activation_only_bounds(p->activation);
    const activation_bounds bounds = activation_bounds_of(other ? CNN_ACTIVATION_NONE : p->activation);
#pragma GCC unroll 16
    for (int v = 0; v < vectors; v++) {
        const ptrdiff_t column = first * CNN_PANEL + v * SIMD_WIDTH, left = p->n - column;
        if (left <= 0) break;
        const simd_float bias = p->bias ? simd_load_part(p->bias + column, left) : simd_zero();
#pragma GCC unroll 2
        for (int i = 0; i < rows; i++) {
            const simd_float y = simd_add(sum[i][v], bias);
            simd_store_part(p->dst + i * p->n + column, activation_bounded(bounds, y), left);
        }
    }
    if (!other) return;
    const ptrdiff_t column = first * CNN_PANEL, left = p->n - column, width = (ptrdiff_t)vectors * SIMD_WIDTH;
    for (int i = 0; i < rows; i++)
        activation_end(p->activation, p->dst + i * p->n + column, left < width ? left : width);
}

static void few_rows(const cnn_few_rows *p)
{
    ptrdiff_t panel = p->first;
    assert((p->rows == 1 || p->rows == 2) && p->first <= p->last);
    if (p->rows == 1) {
        for (; panel + FEW_PANELS <= p->last; panel += FEW_PANELS) few_rows_body(p, panel, 1, FEW_PANELS);
        for (; panel + 2 <= p->last; panel += 2) few_rows_body(p, panel, 1, 2);
        for (; panel < p->last; panel++) few_rows_body(p, panel, 1, 1);
    } else {
        for (; panel + FEW_PANELS_OF_TWO <= p->last; panel += FEW_PANELS_OF_TWO)
            few_rows_body(p, panel, 2, FEW_PANELS_OF_TWO);
        for (; panel < p->last; panel++) few_rows_body(p, panel, 2, 1);
    }
}

#endif
