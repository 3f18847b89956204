/* The gradient of a convolution's weights from a pooled gradient, where input channels are few: lanes are output
 * channels, and each lane picks its pixel of the window. With a lookup of lanes that is one product per tap; without,
 * the four pixels of the window are gone through with the gradients that belong to each.
 *
 * A block of rows x taps of sums stays in registers over all windows. Blocks are compile-time constants in pick_block so
 * that their loops vanish.
 */
#ifndef CNN_BODY_PICK_H
#define CNN_BODY_PICK_H

#include "bodies/pool.h"
#include "bodies/vector.h"
#include "kernels.h"

#ifdef SIMD_HAS_LOOKUP
#define PICK_SUMS 18
#else
#define PICK_SUMS 9
#endif
enum { PICK_ROWS = 3, PICK_TAPS = 9 };

/* What the lanes of one window add, and where they find their pixel: all zero where argmax names none. */
typedef struct pick_window {
    simd_float diff, where;
} pick_window;

static inline pick_window pick_load(const cnn_pick *p, ptrdiff_t at, ptrdiff_t lanes)
{
    const simd_float where = simd_load_bytes(p->argmax + at, lanes);
    return (pick_window){simd_keep(simd_less(where, simd_set1(4.0f)), pool_load(p->diff + at, lanes, lanes)), where};
}

#ifdef SIMD_HAS_LOOKUP
/* One load holds the taps of a block and, `channels` further on, those of the pixel to the right. */
static inline __attribute__((always_inline)) void pick_add(const cnn_pick *p, pick_window window, const float *line,
                                                           simd_float sum[PICK_ROWS][PICK_TAPS], const int rows,
                                                           const int taps)
{
    const simd_int where = __builtin_convertvector(window.where, simd_int);
    const simd_int first = (-(where & 1) & (int32_t)p->channels) + (-(where >> 1 & 1) & SIMD_WIDTH);
    simd_float above[PICK_ROWS + 1];
#pragma GCC unroll 16
    for (int r = 0; r <= rows; r++) above[r] = simd_load(line + r * p->src_row);
#pragma GCC unroll 16
    for (int t = 0; t < taps; t++)
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
            sum[r][t] = simd_fma(simd_lookup2(above[r], above[r + 1], simd_of_bits(first + t)), window.diff, sum[r][t]);
}
#else
static inline __attribute__((always_inline)) void pick_add(const cnn_pick *p, pick_window window, const float *line,
                                                           simd_float sum[PICK_ROWS][PICK_TAPS], const int rows,
                                                           const int taps)
{
    simd_float diff[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) diff[i] = unpool_tap(window.diff, window.where, (float)i);
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 16
        for (int t = 0; t < taps; t++)
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                const simd_float x = simd_set1(line[(r + i / 2) * p->src_row + i % 2 * p->channels + t]);
                sum[r][t] = simd_fma(x, diff[i], sum[r][t]);
            }
}
#endif

/* Rows and taps from (row, tap) on, of one vector of channels. The totals of the gradients go to `bias`, if given. */
static inline __attribute__((always_inline)) void
pick_block(const cnn_pick *p, ptrdiff_t row, ptrdiff_t tap, ptrdiff_t lane, float *bias, const int rows, const int taps)
{
    simd_float sum[PICK_ROWS][PICK_TAPS], total = simd_zero();
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 16
        for (int t = 0; t < taps; t++) sum[r][t] = simd_zero();
    for (ptrdiff_t y = 0; y < p->rows; y++) {
        const float *line = p->src + (2 * y + row) * p->src_row + tap;
        for (ptrdiff_t x = 0; x < p->pixels; x++, line += 2 * p->channels) {
            const pick_window window = pick_load(p, (y * p->pixels + x) * p->diff_pixel + lane, p->columns - lane);
            total = simd_add(total, window.diff);
            pick_add(p, window, line, sum, rows, taps);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 16
        for (int t = 0; t < taps; t++) {
            float *out = p->sums + ((row + r) * p->kw * p->channels + tap + t) * CNN_PANEL + lane;
            simd_store(out, simd_add(simd_load(out), sum[r][t]));
        }
    if (bias) simd_store(bias + lane, simd_add(simd_load(bias + lane), total));
}

#define PICK_CASE(r, t)                                                                                                \
    case (r)*16 + (t):                                                                                                 \
        if ((r) * (t) <= PICK_SUMS) pick_block(p, row, tap, lane, bias, r, t);                                         \
        break;
#define PICK_CASES(r)                                                                                                  \
    PICK_CASE(r, 1)                                                                                                    \
    PICK_CASE(r, 2)                                                                                                    \
    PICK_CASE(r, 3)                                                                                                    \
    PICK_CASE(r, 4)                                                                                                    \
    PICK_CASE(r, 5)                                                                                                    \
    PICK_CASE(r, 6)                                                                                                    \
    PICK_CASE(r, 7)                                                                                                    \
    PICK_CASE(r, 8)                                                                                                    \
    PICK_CASE(r, 9)

static inline ptrdiff_t pick_least(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

static void pick(const cnn_pick *p)
{
    const ptrdiff_t length = p->kw * p->channels;
#ifdef SIMD_HAS_LOOKUP
    const ptrdiff_t most = pick_least(PICK_TAPS, SIMD_WIDTH - p->channels);
#else
    const ptrdiff_t most = PICK_TAPS;
#endif
    assert(most >= 1);
    const ptrdiff_t runs = (length + most - 1) / most;
    for (ptrdiff_t lane = 0; lane < p->columns; lane += SIMD_WIDTH)
        for (ptrdiff_t run = 0; run < runs; run++) {
            const ptrdiff_t tap = length * run / runs, taps = length * (run + 1) / runs - tap;
            for (ptrdiff_t row = 0, rows; row < p->kh; row += rows) {
                float *bias = row == 0 && run == 0 ? p->totals : NULL;
                rows = pick_least(pick_least(PICK_ROWS, PICK_SUMS / taps), p->kh - row);
                switch (rows * 16 + taps) {
                    PICK_CASES(1)
                    PICK_CASES(2)
                    PICK_CASES(3)
                default: assert(!"a block within the switch");
                }
            }
        }
}

#undef PICK_CASE
#undef PICK_CASES

#endif
