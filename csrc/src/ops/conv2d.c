/* Direct convolution, forward: dst = pool(act(src * weights + bias)), channels last.
 *
 * A task is a block of output rows of one sample. The rows of the source that it needs are copied with their padding
 * into the worker's scratch (skipped without padding); with fused pooling two rows of outputs stay in scratch.
 */
#include "ops/pixels.h"

static inline bool fits(const cnn_conv2d_geometry *g)
{
    return g->groups >= 1 && g->ic % g->groups == 0 && g->oc % g->groups == 0 &&
           g->oh == (g->h + g->pad_top + g->pad_bottom - g->dilation_h * (g->kh - 1) - 1) / g->stride_h + 1 &&
           g->ow == (g->w + g->pad_left + g->pad_right - g->dilation_w * (g->kw - 1) - 1) / g->stride_w + 1 &&
           g->oh >= 1 && g->ow >= 1 && (g->pool == 0 || g->pool == 2);
}

static ptrdiff_t source_rows(const cnn_conv2d_geometry *g, ptrdiff_t output_rows)
{
    return (output_rows - 1) * g->stride_h + g->dilation_h * (g->kh - 1) + 1;
}

static ptrdiff_t source_columns(const cnn_conv2d_geometry *g)
{
    return (g->ow - 1) * g->stride_w + g->dilation_w * (g->kw - 1) + 1;
}

static ptrdiff_t used_rows(const cnn_conv2d_geometry *g) { return g->pool ? g->oh / 2 * 2 : g->oh; }

typedef struct scratch {
    ptrdiff_t *offsets; /* 2 * KH * KW */
    float *source, *rows;
    size_t bytes;
} scratch;

static scratch carve(const cnn_conv2d_geometry *g, ptrdiff_t batch, char *memory)
{
    const ptrdiff_t block = cnn_rows_per_task(used_rows(g), batch, g->pool ? 2 : 1);
    const size_t offsets = cnn_align((size_t)(2 * g->kh * g->kw) * sizeof(ptrdiff_t));
    const size_t source = cnn_align((size_t)(source_rows(g, block) * source_columns(g) * g->ic) * sizeof(float));
    const size_t rows = g->pool ? cnn_align((size_t)(2 * g->ow * g->oc) * sizeof(float)) : 0;
    return (scratch){(void *)memory, cnn_at(memory, offsets), cnn_at(memory, offsets + source),
                     offsets + source + rows};
}

cnn_workspace cnn_conv2d_forward_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    /* fewer samples mean smaller blocks, so the largest batch needs the most */
    return (cnn_workspace){0, carve(&geometry->conv2d, batch, NULL).bytes};
}

static cnn_taps make_taps(const cnn_conv2d_geometry *g, ptrdiff_t columns, ptrdiff_t *offsets)
{
    const ptrdiff_t group_ic = g->ic / g->groups;
    cnn_taps taps = {0, group_ic, offsets, offsets + g->kh * g->kw};
    for (ptrdiff_t y = 0; y < g->kh; y++)
        for (ptrdiff_t x = 0; x < g->kw; x++)
            cnn_taps_add(&taps, (y * g->dilation_h * columns + x * g->dilation_w) * g->ic,
                         (y * g->kw + x) * group_ic * CNN_PANEL);
    cnn_taps_merge(&taps, g->kw);
    return taps;
}

/* One row of outputs for all groups. src is the row of the padded source where the first tap of the row lies. */
static void output_row(const cnn_conv2d_geometry *g, const cnn_call *call, const cnn_taps *taps, const float *src,
                       float *dst, const cnn_kernels *kernels)
{
    const float *weights = call->operands[3], *bias = call->operands[4];
    const ptrdiff_t group_ic = g->ic / g->groups, group_oc = g->oc / g->groups;
    const ptrdiff_t panel = g->kh * g->kw * group_ic * CNN_PANEL;
    for (ptrdiff_t group = 0; group < g->groups; group++) {
        const cnn_pixel_row row = {.dst = dst + group * group_oc,
                                   .src = src + group * group_ic,
                                   .weights = weights + group * cnn_panels(group_oc) * panel,
                                   .bias = bias ? bias + group * group_oc : NULL,
                                   .pixels = g->ow,
                                   .src_pixel = g->stride_w * g->ic,
                                   .dst_pixel = g->oc,
                                   .columns = group_oc,
                                   .panel = panel,
                                   .relu = g->activation == CNN_ACTIVATION_RELU};
        cnn_pixel_row_run(&row, taps, kernels);
    }
}

void cnn_conv2d_forward(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    float *dst = call->operands[0];
    uint8_t *argmax = call->operands[1];
    const float *src = call->operands[2];
    assert(fits(g));

    const scratch memory = carve(g, call->batch, worker->scratch);
    const ptrdiff_t rows = used_rows(g), block = cnn_rows_per_task(rows, call->batch, g->pool ? 2 : 1);
    const ptrdiff_t blocks = cnn_ceil_div(rows, block);
    cnn_window window = {0, -g->pad_left, 0, source_columns(g)};
    /* without padding the source itself is read; its rows are then `w` wide */
    const bool padded = g->pad_top || g->pad_left || g->pad_bottom || g->pad_right;
    const ptrdiff_t columns = padded ? window.columns : g->w;
    const cnn_taps taps = make_taps(g, columns, memory.offsets);

    ptrdiff_t first, last;
    cnn_share(worker, call->batch * blocks, &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const ptrdiff_t n = task / blocks, top = task % blocks * block, bottom = cnn_min(top + block, rows);
        const float *image = src + n * g->h * g->w * g->ic, *source = memory.source;
        window.top = top * g->stride_h - g->pad_top;
        window.rows = source_rows(g, bottom - top);
        if (padded)
            cnn_window_copy(memory.source, image, &window, g->h, g->w, g->ic);
        else
            source = image + window.top * g->w * g->ic;
        const ptrdiff_t source_step = g->stride_h * columns * g->ic;
        if (!g->pool) {
            for (ptrdiff_t y = top; y < bottom; y++)
                output_row(g, call, &taps, source + (y - top) * source_step, dst + (n * g->oh + y) * g->ow * g->oc,
                           worker->kernels);
            continue;
        }
        const ptrdiff_t ph = g->oh / 2, pw = g->ow / 2;
        for (ptrdiff_t y = top; y < bottom; y += 2) {
            const float *at = source + (y - top) * source_step;
            output_row(g, call, &taps, at, memory.rows, worker->kernels);
            output_row(g, call, &taps, at + source_step, memory.rows + g->ow * g->oc, worker->kernels);
            const ptrdiff_t pooled = (n * ph + y / 2) * pw * g->oc;
            worker->kernels->pool_2x2(dst + pooled, argmax ? argmax + pooled : NULL, memory.rows,
                                      memory.rows + g->ow * g->oc, pw, g->oc, g->activation == CNN_ACTIVATION_RELU);
        }
    }
}
