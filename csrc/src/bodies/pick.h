/* The gradient of a convolution's weights from a pooled gradient, where input channels are few: lanes are output
 * channels, and each lane picks its pixel of the window. The four pixels that a tap can mean lie side by side, as `quads`
 * lays them, so that a tap costs one load for all lanes, one lookup and one product.
 *
 * A block of rows x taps of sums stays in registers over a row of windows. Blocks are compile-time constants in pick_block
 * so that their loops vanish.
 */
#ifndef CNN_BODY_PICK_H
#define CNN_BODY_PICK_H

#include "bodies/pool.h"
#include "bodies/vector.h"
#include "kernels.h"

#define PICK_SUMS (SIMD_WIDTH == 16 ? 24 : 12)
enum { PICK_ROWS = 3, PICK_TAPS = 12, PICK_WINDOWS = 64 };

static void quads(float *restrict dst, const float *restrict top, const float *restrict bottom, ptrdiff_t count,
                  ptrdiff_t step)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        dst[4 * i] = top[i];
        dst[4 * i + 1] = top[i + step];
        dst[4 * i + 2] = bottom[i];
        dst[4 * i + 3] = bottom[i + step];
    }
}

/* One vector of channels of some windows in a row: what their lanes add, and which pixel of a quad each takes. A lane that
 * argmax gives no pixel adds zero. */
typedef struct pick_windows {
    simd_float diff[PICK_WINDOWS], where[PICK_WINDOWS]; /* where: integers, as bits */
    ptrdiff_t count;
} pick_windows;

static inline simd_float pick_load(pick_windows *windows, const cnn_pick *p, ptrdiff_t first, ptrdiff_t lane)
{
    const ptrdiff_t lanes = p->columns - lane;
    simd_float total = simd_zero();
    for (ptrdiff_t i = 0; i < windows->count; i++) {
        const ptrdiff_t at = (first + i) * p->diff_pixel + lane;
        const simd_float where = simd_load_bytes(p->argmax + at, lanes);
        windows->diff[i] = simd_keep(simd_less(where, simd_set1(4.0f)), pool_load(p->diff + at, lanes, lanes));
        windows->where[i] = simd_of_bits(__builtin_convertvector(where, simd_int));
        total = simd_add(total, windows->diff[i]);
    }
    return total;
}

/* `rows` rows of `taps` taps: `quad` is the first one's of the first window, `sums` is where their sums are added. */
static inline __attribute__((always_inline)) void pick_block(const cnn_pick *p, const pick_windows *windows,
                                                             const float *quad, float *sums, const int rows,
                                                             const int taps)
{
    const ptrdiff_t window = 8 * p->channels, quad_row = 4 * p->src_row, sums_row = p->kw * p->channels * CNN_PANEL;
    simd_float sum[PICK_ROWS][PICK_TAPS];
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 16
        for (int t = 0; t < taps; t++) sum[r][t] = simd_zero();
    for (ptrdiff_t i = 0; i < windows->count; i++, quad += window) {
        const simd_float diff = windows->diff[i], where = windows->where[i];
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 16
            for (int t = 0; t < taps; t++)
                sum[r][t] = simd_fma(simd_of_quad(quad + r * quad_row + 4 * t, where), diff, sum[r][t]);
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 16
        for (int t = 0; t < taps; t++) {
            float *out = sums + r * sums_row + t * CNN_PANEL;
            simd_store(out, simd_add(simd_load(out), sum[r][t]));
        }
}

#define PICK_CASE(r, t)                                                                                                \
    case (r)*16 + (t):                                                                                                 \
        if ((r) * (t) <= PICK_SUMS) pick_block(p, &windows, quad, sums, r, t);                                         \
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
    PICK_CASE(r, 9)                                                                                                    \
    PICK_CASE(r, 10)                                                                                                   \
    PICK_CASE(r, 11)                                                                                                   \
    PICK_CASE(r, 12)

static inline ptrdiff_t pick_least(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

/* Windows [first, first + count) for the vector of channels from `lane` on */
static void pick_some(const cnn_pick *p, ptrdiff_t first, ptrdiff_t count, ptrdiff_t lane)
{
    const ptrdiff_t length = p->kw * p->channels, runs = (length + PICK_TAPS - 1) / PICK_TAPS;
    pick_windows windows;
    windows.count = count;
    const simd_float total = pick_load(&windows, p, first, lane);
    simd_store(p->totals + lane, simd_add(simd_load(p->totals + lane), total));
    for (ptrdiff_t run = 0; run < runs; run++) {
        const ptrdiff_t tap = length * run / runs, taps = length * (run + 1) / runs - tap;
        for (ptrdiff_t row = 0, rows; row < p->kh; row += rows) {
            const float *quad = p->quads + 4 * (row * p->src_row + 2 * first * p->channels + tap);
            float *sums = p->sums + (row * length + tap) * CNN_PANEL + lane;
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

static void pick(const cnn_pick *p)
{
    for (ptrdiff_t first = 0; first < p->pixels; first += PICK_WINDOWS)
        for (ptrdiff_t lane = 0; lane < p->columns; lane += SIMD_WIDTH)
            pick_some(p, first, pick_least(PICK_WINDOWS, p->pixels - first), lane);
}

#undef PICK_CASE
#undef PICK_CASES

#endif
