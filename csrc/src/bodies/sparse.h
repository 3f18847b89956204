/* Gradients of a convolution from a pooled gradient: of the four elements under a window at most one is not zero, so
 * that products are taken with lists of (value, where), never with the zeros between.
 *
 * Both kernels keep a block of rows x vectors of sums in registers over a whole list. Blocks are compile-time constants
 * in the *_block functions so that their loops vanish; SPARSE_SUMS bounds how many sums there are.
 */
#ifndef CNN_BODY_SPARSE_H
#define CNN_BODY_SPARSE_H

#include "bodies/pool.h"
#include "bodies/vector.h"
#include "kernels.h"

#if SIMD_WIDTH == 16
#define SPARSE_SUMS 24
#else
#define SPARSE_SUMS 12
#endif
#define SPARSE_INLINE static inline __attribute__((always_inline))
enum { SPARSE_ROWS = 5, SPARSE_VECTORS = 6 };

/* Few sums leave the FMA units waiting for each other: then even and odd items have sums of their own. */
SPARSE_INLINE void gather_block(const cnn_gather *g, const float *src, float *sums, const int rows, const int vectors)
{
    const int chains = rows * vectors <= SPARSE_SUMS / 3 ? 2 : 1;
    simd_float sum[2][SPARSE_ROWS][SPARSE_VECTORS];
#pragma GCC unroll 2
    for (int c = 0; c < chains; c++)
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 16
            for (int v = 0; v < vectors; v++) sum[c][r][v] = simd_zero();
    ptrdiff_t i = 0;
    for (; i + chains <= g->count; i += chains) {
#pragma GCC unroll 2
        for (int c = 0; c < chains; c++) {
            const simd_float x = simd_set1(g->values[i + c]);
            const float *at = src + g->offsets[i + c];
#pragma GCC unroll 16
            for (int r = 0; r < rows; r++, at += g->src_row)
#pragma GCC unroll 16
                for (int v = 0; v < vectors; v++)
                    sum[c][r][v] = simd_fma(x, simd_load(at + v * SIMD_WIDTH), sum[c][r][v]);
        }
    }
    if (i < g->count) {
        const simd_float x = simd_set1(g->values[i]);
        const float *at = src + g->offsets[i];
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++, at += g->src_row)
#pragma GCC unroll 16
            for (int v = 0; v < vectors; v++) sum[0][r][v] = simd_fma(x, simd_load(at + v * SIMD_WIDTH), sum[0][r][v]);
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++) {
            float *out = sums + r * g->sums_row + v * SIMD_WIDTH;
            const simd_float total = chains == 2 ? simd_add(sum[0][r][v], sum[1][r][v]) : sum[0][r][v];
            simd_store(out, simd_add(simd_load(out), total));
        }
}

/* One pooled pixel: `lists` holds what goes to the upper and the lower row of its window. */
typedef struct spread_list {
    const float *values, *offsets; /* the bits of offsets */
    ptrdiff_t count;
} spread_list;

static inline int32_t spread_offset(const float *bits)
{
    int32_t offset;
    memcpy(&offset, bits, sizeof offset);
    return offset;
}

typedef simd_float spread_sums[SPARSE_ROWS + 1][SPARSE_VECTORS];

SPARSE_INLINE void spread_items(const cnn_spread *s, const spread_list *list, const float *table, spread_sums sum,
                                const int first, const int taps, const int vectors)
{
    for (ptrdiff_t i = 0; i < list->count; i++) {
        const simd_float x = simd_set1(list->values[i]);
        const float *weights = table + spread_offset(list->offsets + i);
#pragma GCC unroll 16
        for (int r = 0; r < taps; r++, weights += s->table_row)
#pragma GCC unroll 16
            for (int v = 0; v < vectors; v++)
                sum[first + r][v] = simd_fma(x, simd_load(weights + v * SIMD_WIDTH), sum[first + r][v]);
    }
}

SPARSE_INLINE void spread_block(const cnn_spread *s, const spread_list lists[2], const float *table, float *const *rows,
                                ptrdiff_t at, const int taps, const int vectors)
{
    spread_sums sum;
#pragma GCC unroll 16
    for (int r = 0; r <= taps; r++)
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++) sum[r][v] = simd_zero();
    spread_items(s, &lists[0], table, sum, 0, taps, vectors);
    spread_items(s, &lists[1], table, sum, 1, taps, vectors);
#pragma GCC unroll 16
    for (int r = 0; r <= taps; r++)
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++) {
            float *out = rows[r] + at + v * SIMD_WIDTH;
            simd_store(out, simd_add(simd_load(out), sum[r][v]));
        }
}

/* Calls block(..., rows, vectors) with constants for every size whose sums fit: `more` extra rows of sums. */
#define SPARSE_CASE(rows, vectors, more, call)                                                                         \
    case (rows)*8 + (vectors):                                                                                         \
        if (((rows) + (more)) * (vectors) <= SPARSE_SUMS) call(rows, vectors);                                         \
        break;
#define SPARSE_CASES(rows, more, call)                                                                                 \
    SPARSE_CASE(rows, 1, more, call)                                                                                   \
    SPARSE_CASE(rows, 2, more, call)                                                                                   \
    SPARSE_CASE(rows, 3, more, call)                                                                                   \
    SPARSE_CASE(rows, 4, more, call)                                                                                   \
    SPARSE_CASE(rows, 5, more, call)                                                                                   \
    SPARSE_CASE(rows, 6, more, call)
#define SPARSE_SWITCH(rows, vectors, more, call)                                                                       \
    switch ((rows)*8 + (vectors)) {                                                                                    \
        SPARSE_CASES(1, more, call)                                                                                    \
        SPARSE_CASES(2, more, call)                                                                                    \
        SPARSE_CASES(3, more, call)                                                                                    \
        SPARSE_CASES(4, more, call)                                                                                    \
        SPARSE_CASES(5, more, call)                                                                                    \
    default: assert(!"a block within the switch");                                                                     \
    }

static inline ptrdiff_t sparse_least(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

static void gather(const cnn_gather *g)
{
    for (ptrdiff_t row = 0; row < g->rows; row += SPARSE_ROWS) {
        const int rows = (int)sparse_least(SPARSE_ROWS, g->rows - row);
        const ptrdiff_t wide = sparse_least(SPARSE_VECTORS, SPARSE_SUMS / rows), vectors = g->columns / SIMD_WIDTH;
        for (ptrdiff_t v = 0; v < vectors; v += wide) {
            const float *src = g->src + row * g->src_row + v * SIMD_WIDTH;
            float *sums = g->sums + row * g->sums_row + v * SIMD_WIDTH;
#define GATHER_CALL(r, v) gather_block(g, src, sums, r, v)
            SPARSE_SWITCH(rows, sparse_least(wide, vectors - v), 0, GATHER_CALL)
#undef GATHER_CALL
        }
    }
}

/* Which of up to SIMD_WIDTH channels go to the lower (or upper) row of their window. */
static inline simd_mask spread_half(simd_float where, bool lower)
{
    const float left = lower ? 2.0f : 0.0f;
    return simd_either(simd_equal(where, simd_set1(left)), simd_equal(where, simd_set1(left + 1.0f)));
}

/* The lists of all pixels, one behind the other: a pixel's channels of the upper row, then those of the lower one.
 * Without branches, as no two windows are alike, and before any is used: no list is waited for. */
static inline void spread_lists(const cnn_spread *s)
{
    const simd_int lane = pool_lanes(0), channel = lane * (int32_t)s->table_channel;
    const simd_float number = __builtin_convertvector(lane, simd_float);
    ptrdiff_t count = 0;
    for (ptrdiff_t list = 0; list < 2 * s->pixels; list++) {
        const float *diff = s->diff + list / 2 * s->diff_pixel;
        const uint8_t *argmax = s->argmax + list / 2 * s->diff_pixel;
        for (ptrdiff_t c = 0; c < s->channels; c += SIMD_WIDTH) {
            const ptrdiff_t left = s->channels - c;
            simd_float where = simd_load_bytes(argmax + c, left);
            if (left < SIMD_WIDTH)
                where = simd_select(simd_less(number, simd_set1((float)left)), where, simd_set1(255.0f));
            const simd_mask is_right =
                simd_either(simd_equal(where, simd_set1(1.0f)), simd_equal(where, simd_set1(3.0f)));
            const simd_int right = channel + (int32_t)(c * s->table_channel);
            const simd_int shifted = right + (int32_t)s->table_left;
            const simd_mask used = spread_half(where, list % 2);
            simd_pack(s->offsets + count, used, simd_select(is_right, simd_of_bits(right), simd_of_bits(shifted)));
            count += simd_pack(s->values + count, used, simd_load_part(diff + c, left));
        }
        s->ends[list] = (int32_t)count;
    }
}

static void spread(const cnn_spread *s)
{
    const ptrdiff_t vectors = s->columns / SIMD_WIDTH;
    spread_lists(s);
    for (ptrdiff_t tap = 0; tap < s->taps; tap += SPARSE_ROWS) {
        const int taps = (int)sparse_least(SPARSE_ROWS, s->taps - tap);
        const int most = (int)sparse_least(SPARSE_VECTORS, SPARSE_SUMS / (taps + 1));
        for (ptrdiff_t v = 0; v < vectors; v += most) {
            const int wide = (int)sparse_least(most, vectors - v);
            const float *table = s->table + tap * s->table_row + v * SIMD_WIDTH;
            int32_t start = 0;
            for (ptrdiff_t p = 0; p < s->pixels; p++) {
                const int32_t middle = s->ends[2 * p], end = s->ends[2 * p + 1];
                const spread_list lists[2] = {{s->values + start, s->offsets + start, middle - start},
                                              {s->values + middle, s->offsets + middle, end - middle}};
                const ptrdiff_t at = p * s->rows_pixel + v * SIMD_WIDTH;
#define SPREAD_CALL(r, v) spread_block(s, lists, table, s->rows + tap, at, r, v)
                SPARSE_SWITCH(taps, wide, 1, SPREAD_CALL)
#undef SPREAD_CALL
                start = end;
            }
        }
    }
}

#undef SPARSE_CASE
#undef SPARSE_CASES
#undef SPARSE_SWITCH

#endif
