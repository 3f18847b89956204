/* Direct convolution over rows of pixels, what the forward pass and the data gradient share.
 *
 * A run of pixels of one output row times a panel of weights is one tile of the micro-kernel: A's rows are pixels, its
 * segments are taps (or whole kernel rows where taps lie side by side in memory).
 */
#ifndef CNN_OPS_PIXELS_H
#define CNN_OPS_PIXELS_H

#include "internal.h"

/* A list of taps: where each starts in the padded source, where its weights start in a panel, how long it is. */
typedef struct cnn_taps {
    ptrdiff_t count, length; /* segments and their k */
    ptrdiff_t *a_offset, *b_offset;
} cnn_taps;

/* Add a tap; all taps of a list have one length. */
static inline void cnn_taps_add(cnn_taps *taps, ptrdiff_t a_offset, ptrdiff_t b_offset)
{
    taps->a_offset[taps->count] = a_offset;
    taps->b_offset[taps->count] = b_offset;
    taps->count++;
}

/* Join every `run` neighbours into one when they follow each other in memory: one longer loop instead of several. */
static inline void cnn_taps_merge(cnn_taps *taps, ptrdiff_t run)
{
    if (run < 2 || taps->count % run != 0) return;
    for (ptrdiff_t i = 0; i < taps->count; i++)
        if (i % run != 0 && (taps->a_offset[i] != taps->a_offset[i - 1] + taps->length ||
                             taps->b_offset[i] != taps->b_offset[i - 1] + taps->length * CNN_PANEL))
            return;
    for (ptrdiff_t i = 0; i < taps->count / run; i++) {
        taps->a_offset[i] = taps->a_offset[i * run];
        taps->b_offset[i] = taps->b_offset[i * run];
    }
    taps->count /= run;
    taps->length *= run;
}

/* One row of pixels: dst[p*dst_pixel + j] = bias + sum over taps of src[p*src_pixel + ...] * weights, j < columns. */
typedef struct cnn_pixel_row {
    float *dst;
    const float *src, *weights, *bias;
    const float *mask; /* NULL or laid out as dst */
    ptrdiff_t pixels, src_pixel, dst_pixel, columns;
    ptrdiff_t panel; /* elements between the panels of the weights */
    cnn_activation activation;
} cnn_pixel_row;

static inline void cnn_pixel_row_run(const cnn_pixel_row *row, const cnn_taps *taps, const cnn_kernels *kernels)
{
    const ptrdiff_t width = kernels->tile_groups * CNN_PANEL;
    for (ptrdiff_t column = 0; column < row->columns; column += width) {
        const cnn_tile tile = {.a = row->src,
                               .b = row->weights + column / CNN_PANEL * row->panel,
                               .c = row->dst + column,
                               .a_row = row->src_pixel,
                               .a_k = 1,
                               .b_k = CNN_PANEL,
                               .b_group = row->panel,
                               .c_row = row->dst_pixel,
                               .c_group = CNN_PANEL,
                               .segments = taps->count,
                               .k = taps->length,
                               .a_offset = taps->a_offset,
                               .b_offset = taps->b_offset,
                               .bias = row->bias ? row->bias + column : NULL,
                               .mask = row->mask ? row->mask + column : NULL,
                               .rows = row->pixels,
                               .columns = (int)cnn_min(width, row->columns - column),
                               .activation = row->activation};
        kernels->gemm_tile(&tile);
    }
}

/* A window of a feature map (H, W, C), which may stick out on every side: what sticks out reads as zero. */
typedef struct cnn_window {
    ptrdiff_t top, left, rows, columns;
} cnn_window;

/* Copy a window with zeros around; dst is [rows][columns][c]. */
static inline void cnn_window_copy(float *restrict dst, const float *restrict src, const cnn_window *window,
                                   ptrdiff_t h, ptrdiff_t w, ptrdiff_t c)
{
    const ptrdiff_t left = cnn_min(cnn_max(-window->left, 0), window->columns);
    const ptrdiff_t first = window->left + left; /* first column of the image that is copied */
    const ptrdiff_t inside = cnn_max(0, cnn_min(window->columns - left, w - first));
    const ptrdiff_t right = window->columns - left - inside;
    for (ptrdiff_t r = 0; r < window->rows; r++) {
        float *row = dst + r * window->columns * c;
        const ptrdiff_t y = window->top + r;
        if (y < 0 || y >= h) {
            memset(row, 0, (size_t)(window->columns * c) * sizeof *row);
            continue;
        }
        memset(row, 0, (size_t)(left * c) * sizeof *row);
        if (inside > 0) memcpy(row + left * c, src + (y * w + first) * c, (size_t)(inside * c) * sizeof *row);
        memset(row + (left + inside) * c, 0, (size_t)(right * c) * sizeof *row);
    }
}

/* Rows [2*row, 2*row + 1] of the gradient of one sample before its fused pooling, each [OW][OC], from row `row` of the
 * pooled gradient; a last odd column of theirs gets zeros. The rows lie `step` elements apart. */
static inline void cnn_unpool_rows(const cnn_conv2d_geometry *g, float *rows, ptrdiff_t step, const float *diff,
                                   const uint8_t *argmax, ptrdiff_t row, const cnn_kernels *kernels)
{
    const ptrdiff_t width = g->ow / 2, at = row * width * g->oc, used = 2 * width * g->oc, rest = g->ow * g->oc - used;
    kernels->unpool_2x2(rows, rows + step, diff + at, argmax + at, width, g->oc);
    memset(rows + used, 0, (size_t)rest * sizeof *rows);
    memset(rows + step + used, 0, (size_t)rest * sizeof *rows);
}

/* Rows per task: whole samples where the batch alone gives enough tasks, else blocks, in multiples of `unit`. Splitting
 * rows never changes a result, only who computes it. */
static inline ptrdiff_t cnn_rows_per_task(ptrdiff_t rows, ptrdiff_t batch, ptrdiff_t unit)
{
    enum { ENOUGH_TASKS = 16 };
    const ptrdiff_t blocks = cnn_min(cnn_ceil_div(ENOUGH_TASKS, batch), cnn_ceil_div(rows, unit));
    return cnn_ceil_div(cnn_ceil_div(rows, unit), blocks) * unit;
}

static inline ptrdiff_t cnn_panels(ptrdiff_t columns) { return cnn_ceil_div(columns, CNN_PANEL); }

#endif
