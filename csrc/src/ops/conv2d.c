/* Direct convolution, forward: dst = pool(act(src * weights + bias)), channels last.
 *
 * A task is a block of output rows of one sample. The rows of the source that it needs are copied with their padding
 * into the worker's scratch (skipped without padding); with fused pooling two rows of outputs stay in scratch.
 *
 * Few output channels leave most of a panel empty. Then the panel holds several neighbouring pixels: p of them are p*OC
 * columns, of a kernel p - 1 wider whose weights are those of pixel q moved by q taps, with zeros around.
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

/* The filter as it is used: `pixels` neighbours in a panel, a kernel `kw` wide. */
typedef struct filter {
    const float *weights, *bias;
    ptrdiff_t pixels, kw;
} filter;

/* Pixels per panel: as many as leave the fewest products with zeros, one where the gain is small. */
static ptrdiff_t pixels_per_panel(const cnn_conv2d_geometry *g)
{
    enum { MOST = 8 };
    if (g->groups > 1 || g->stride_w > 1 || g->dilation_w > 1 || g->oc >= CNN_PANEL) return 1;
    const double least_gain = 1.15;
    double best = least_gain * (double)g->oc / CNN_PANEL;
    ptrdiff_t pixels = 1;
    for (ptrdiff_t p = 2; p <= cnn_min(MOST, g->ow); p++) {
        const double lanes = (double)(cnn_panels(p * g->oc) * CNN_PANEL), taps = (double)(g->kw + p - 1);
        const double used = (double)(p * g->oc) / lanes * (double)g->kw / taps;
        if (used > best) best = used, pixels = p;
    }
    return pixels;
}

typedef struct scratch {
    ptrdiff_t *offsets; /* 2 * KH * (KW + pixels - 1) */
    float *source, *rows, *weights, *bias;
    size_t bytes;
} scratch;

static ptrdiff_t wide_panel(const cnn_conv2d_geometry *g, ptrdiff_t pixels)
{
    return g->kh * (g->kw + pixels - 1) * g->ic * CNN_PANEL;
}

static scratch carve(const cnn_conv2d_geometry *g, ptrdiff_t batch, char *memory)
{
    const ptrdiff_t block = cnn_rows_per_task(used_rows(g), batch, g->pool ? 2 : 1);
    const ptrdiff_t pixels = pixels_per_panel(g), columns = pixels * g->oc;
    const size_t offsets = cnn_align((size_t)(2 * g->kh * (g->kw + pixels - 1)) * sizeof(ptrdiff_t));
    const size_t source = cnn_align((size_t)(source_rows(g, block) * source_columns(g) * g->ic) * sizeof(float));
    const size_t rows = g->pool ? cnn_align((size_t)(2 * g->ow * g->oc) * sizeof(float)) : 0;
    scratch s = {.offsets = (void *)memory, .source = cnn_at(memory, offsets), .bytes = offsets + source};
    s.rows = cnn_at(memory, s.bytes), s.bytes += rows;
    if (pixels == 1) return s;
    s.weights = cnn_at(memory, s.bytes);
    s.bytes += cnn_align((size_t)(cnn_panels(columns) * wide_panel(g, pixels)) * sizeof(float));
    s.bias = cnn_at(memory, s.bytes), s.bytes += cnn_align((size_t)columns * sizeof(float));
    return s;
}

cnn_workspace cnn_conv2d_forward_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    /* fewer samples mean smaller blocks, so the largest batch needs the most */
    return (cnn_workspace){0, carve(&geometry->conv2d, batch, NULL).bytes};
}

static filter make_filter(const cnn_conv2d_geometry *g, const cnn_call *call, const scratch *memory)
{
    const float *weights = call->operands[3], *bias = call->operands[4];
    const ptrdiff_t pixels = pixels_per_panel(g), kw = g->kw + pixels - 1, row = g->kw * g->ic * CNN_PANEL;
    if (pixels == 1) return (filter){weights, bias, 1, g->kw};
    const ptrdiff_t panel = wide_panel(g, pixels);
    memset(memory->weights, 0, (size_t)(cnn_panels(pixels * g->oc) * panel) * sizeof(float));
    for (ptrdiff_t column = 0; column < pixels * g->oc; column++) {
        const ptrdiff_t pixel = column / g->oc, o = column % g->oc;
        float *to = memory->weights + column / CNN_PANEL * panel + column % CNN_PANEL + pixel * g->ic * CNN_PANEL;
        for (ptrdiff_t y = 0; y < g->kh; y++, to += kw * g->ic * CNN_PANEL)
            for (ptrdiff_t j = 0; j < row; j += CNN_PANEL) to[j] = weights[y * row + j + o];
        if (bias) memory->bias[column] = bias[o];
    }
    return (filter){memory->weights, bias ? memory->bias : NULL, pixels, kw};
}

static cnn_taps make_taps(const cnn_conv2d_geometry *g, ptrdiff_t kw, ptrdiff_t columns, ptrdiff_t *offsets)
{
    const ptrdiff_t group_ic = g->ic / g->groups;
    cnn_taps taps = {0, group_ic, offsets, offsets + g->kh * kw};
    for (ptrdiff_t y = 0; y < g->kh; y++)
        for (ptrdiff_t x = 0; x < kw; x++)
            cnn_taps_add(&taps, (y * g->dilation_h * columns + x * g->dilation_w) * g->ic,
                         (y * kw + x) * group_ic * CNN_PANEL);
    cnn_taps_merge(&taps, kw);
    return taps;
}

/* One row of outputs for all groups. src is the row of the padded source where the first tap of the row lies. */
static void output_row(const cnn_conv2d_geometry *g, const filter *f, const cnn_taps *taps, const float *src,
                       float *dst, const cnn_kernels *kernels)
{
    const ptrdiff_t group_ic = g->ic / g->groups, group_oc = g->oc / g->groups;
    const ptrdiff_t panel = g->kh * f->kw * group_ic * CNN_PANEL;
    for (ptrdiff_t group = 0; group < g->groups; group++) {
        cnn_pixel_row row = {.dst = dst + group * group_oc,
                             .src = src + group * group_ic,
                             .weights = f->weights + group * cnn_panels(group_oc) * panel,
                             .bias = f->bias ? f->bias + group * group_oc : NULL,
                             .pixels = g->ow / f->pixels,
                             .src_pixel = f->pixels * g->stride_w * g->ic,
                             .dst_pixel = f->pixels * g->oc,
                             .columns = f->pixels * group_oc,
                             .panel = panel,
                             .relu = g->activation == CNN_ACTIVATION_RELU};
        cnn_pixel_row_run(&row, taps, kernels);
        if (g->ow % f->pixels == 0) continue;
        /* the last pixels once more with those that are left */
        row.src += (g->ow - f->pixels) * g->ic, row.dst += (g->ow - f->pixels) * g->oc, row.pixels = 1;
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
    const filter f = make_filter(g, call, &memory);
    const cnn_taps taps = make_taps(g, f.kw, columns, memory.offsets);

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
                output_row(g, &f, &taps, source + (y - top) * source_step, dst + (n * g->oh + y) * g->ow * g->oc,
                           worker->kernels);
            continue;
        }
        const ptrdiff_t ph = g->oh / 2, pw = g->ow / 2;
        for (ptrdiff_t y = top; y < bottom; y += 2) {
            const float *at = source + (y - top) * source_step;
            output_row(g, &f, &taps, at, memory.rows, worker->kernels);
            output_row(g, &f, &taps, at + source_step, memory.rows + g->ow * g->oc, worker->kernels);
            const ptrdiff_t pooled = (n * ph + y / 2) * pw * g->oc;
            worker->kernels->pool_2x2(dst + pooled, argmax ? argmax + pooled : NULL, memory.rows,
                                      memory.rows + g->ow * g->oc, pw, g->oc, g->activation == CNN_ACTIVATION_RELU);
        }
    }
}
