/* Direct convolution, forward: dst = pool(act(src * weights + bias)), channels last.
 *
 * A task is a block of output rows of one sample; a worker takes neighbouring ones together. The rows of the source that
 * they need are copied with their padding into its scratch, each when its turn comes (skipped without padding); with fused
 * pooling two rows of outputs stay in scratch.
 *
 * Few output channels leave most of a panel empty. Then pixels take the lanes of the vectors instead (see cnn_lanes), and
 * the rows of the source are copied to planes, one for each channel. Where every channel has one filter of its own, all
 * channels of a pixel are computed together (see cnn_depthwise). A kernel of 1x1 that takes every pixel is a product whose
 * rows are the pixels of all samples (see cnn_product).
 */
#include "blocking.h"
#include "ops/depthwise.h"
#include "ops/pixels.h"
#include "ops/product.h"

static ptrdiff_t source_rows(const cnn_conv2d_geometry *g, ptrdiff_t output_rows)
{
    return (output_rows - 1) * g->stride_h + g->dilation_h * (g->kh - 1) + 1;
}

static ptrdiff_t source_columns(const cnn_conv2d_geometry *g)
{
    return (g->ow - 1) * g->stride_w + g->dilation_w * (g->kw - 1) + 1;
}

static ptrdiff_t used_rows(const cnn_conv2d_geometry *g) { return g->pool ? g->oh / 2 * 2 : g->oh; }

/* Whether pixels take the lanes: where they fill them better than output channels do, for the eight lanes of AVX2. */
static bool pixels_in_lanes(const cnn_conv2d_geometry *g)
{
    enum { LANES = 8 };
    if (g->groups > 1 || g->stride_w > 1 || g->oc >= CNN_PANEL || g->kh * g->kw == 1) return false;
    const double least_gain = 1.15;
    const double filled = (double)g->ow / (double)(cnn_ceil_div(g->ow, LANES) * LANES);
    return filled > least_gain * (double)g->oc / CNN_PANEL;
}

static bool is_product(const cnn_conv2d_geometry *g)
{
    return g->kh * g->kw == 1 && g->stride_h == 1 && g->stride_w == 1 && g->oh == g->h && g->ow == g->w &&
           g->groups == 1 && !g->pool;
}

cnn_blocking cnn_conv2d_forward_blocking(const cnn_geometry *geometry, ptrdiff_t batch)
{
    (void)batch;
    if (cnn_is_depthwise(&geometry->conv2d)) return (cnn_blocking){.variant = CNN_VARIANT_DEPTHWISE};
    if (!pixels_in_lanes(&geometry->conv2d)) return (cnn_blocking){.variant = CNN_VARIANT_USUAL};
    return (cnn_blocking){
        .variant = CNN_VARIANT_LANES, .lane_channels = CNN_LANES_CHANNELS, .lane_vectors = CNN_LANES_VECTORS};
}

/* Rows of outputs that a worker takes together at most: the windows of neighbouring tasks share rows of the source, which
 * are copied once for all of them while the copies, `columns` wide, fit well into L2. */
static ptrdiff_t rows_together(const cnn_conv2d_geometry *g, ptrdiff_t columns)
{
    enum { MOST_COPIED = 32 * 1024 }; /* floats */
    const ptrdiff_t beyond = MOST_COPIED / (columns * g->ic) - source_rows(g, 1);
    return beyond < 0 ? 0 : cnn_min(beyond / g->stride_h + 1, used_rows(g));
}

typedef struct scratch {
    ptrdiff_t *offsets; /* of taps: 2 * KH * KW, or one for each weight of a channel where pixels take the lanes */
    float *source, *rows;
    size_t bytes;
    ptrdiff_t together; /* tasks, where rows are copied */
} scratch;

static scratch carve(const cnn_conv2d_geometry *g, ptrdiff_t batch, char *memory)
{
    const ptrdiff_t block = cnn_rows_per_task(used_rows(g), batch, g->pool ? 2 : 1);
    const ptrdiff_t taps = g->kh * g->kw, beyond = pixels_in_lanes(g) ? CNN_PANEL : 0;
    const size_t offsets = cnn_align((size_t)(taps * (beyond ? g->ic : 2)) * sizeof(ptrdiff_t));
    /* pixels in lanes: without padding the whole width of the source is copied */
    const ptrdiff_t columns = beyond ? cnn_max(source_columns(g), g->w) : source_columns(g);
    const ptrdiff_t most = cnn_max(rows_together(g, columns), block);
    const size_t source = cnn_align((size_t)(source_rows(g, most) * columns * g->ic + beyond) * sizeof(float));
    const size_t rows = g->pool ? cnn_align((size_t)(2 * g->ow * g->oc) * sizeof(float)) : 0;
    return (scratch){(void *)memory, cnn_at(memory, offsets), cnn_at(memory, offsets + source), offsets + source + rows,
                     most / block};
}

cnn_workspace cnn_conv2d_forward_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    /* fewer samples mean smaller tasks, so the largest batch needs the most */
    const cnn_conv2d_geometry *g = &geometry->conv2d;
    return (cnn_workspace){0, is_product(g) ? cnn_product_scratch(g->ic) : carve(g, batch, NULL).bytes};
}

/* What all tasks of a call share. `columns` is the width of a row of what is read: the copy, or the source itself. */
typedef struct plan {
    const cnn_conv2d_geometry *g;
    const float *weights, *bias;
    scratch memory;
    ptrdiff_t columns;
    bool padded;
    cnn_taps taps;
} plan;

static cnn_taps make_taps(const cnn_conv2d_geometry *g, ptrdiff_t columns, ptrdiff_t *offsets)
{
    const ptrdiff_t group_ic = g->ic / g->groups, width = group_ic * CNN_PANEL;
    cnn_taps taps = {0, group_ic, offsets, offsets + g->kh * g->kw};
    for (ptrdiff_t y = 0; y < g->kh; y++)
        for (ptrdiff_t x = 0; x < g->kw; x++)
            cnn_taps_add(&taps, (y * g->dilation_h * columns + x * g->dilation_w) * g->ic, (y * g->kw + x) * width);
    if (!cnn_is_depthwise(g)) cnn_taps_merge(&taps, g->kw);
    return taps;
}

/* Rows of outputs for all groups. src is the row of the padded source where the first tap of the first one lies. */
static void output_rows(const plan *p, const float *src, float *dst, ptrdiff_t rows, const cnn_kernels *kernels)
{
    const cnn_conv2d_geometry *g = p->g;
    const ptrdiff_t group_ic = g->ic / g->groups, group_oc = g->oc / g->groups;
    const ptrdiff_t panel = g->kh * g->kw * group_ic * CNN_PANEL;
    for (ptrdiff_t y = 0; y < rows; y++, src += g->stride_h * p->columns * g->ic, dst += g->ow * g->oc)
        for (ptrdiff_t group = 0; group < g->groups; group++) {
            const cnn_pixel_row row = {.dst = dst + group * group_oc,
                                       .src = src + group * group_ic,
                                       .weights = p->weights + group * cnn_panels(group_oc) * panel,
                                       .bias = p->bias ? p->bias + group * group_oc : NULL,
                                       .pixels = g->ow,
                                       .src_pixel = g->stride_w * g->ic,
                                       .dst_pixel = g->oc,
                                       .columns = group_oc,
                                       .panel = panel,
                                       .activation = (cnn_activation)g->activation};
            cnn_pixel_row_run(&row, &p->taps, kernels);
        }
}

/* The same rows from planes: src is the row of the first plane. */
static void output_rows_in_lanes(const plan *p, const float *src, float *dst, ptrdiff_t rows,
                                 const cnn_kernels *kernels)
{
    const cnn_conv2d_geometry *g = p->g;
    const cnn_lanes lanes = {.dst = dst,
                             .src = src,
                             .weights = p->weights,
                             .bias = p->bias,
                             .offsets = p->memory.offsets,
                             .count = g->kh * g->kw * g->ic,
                             .rows = rows,
                             .pixels = g->ow,
                             .channels = g->oc,
                             .src_row = g->stride_h * p->columns,
                             .dst_row = g->ow * g->oc,
                             .activation = (cnn_activation)g->activation};
    kernels->lanes(&lanes);
}

/* The same rows where every channel has one filter of its own. */
static void output_rows_depthwise(const plan *p, const float *src, float *dst, ptrdiff_t rows,
                                  const cnn_kernels *kernels)
{
    const cnn_conv2d_geometry *g = p->g;
    cnn_depthwise row = {.dst = dst,
                         .src = src,
                         .weights = p->weights,
                         .bias = p->bias,
                         .src_offset = p->taps.a_offset,
                         .weights_offset = p->taps.b_offset,
                         .taps = g->kh * g->kw,
                         .run = cnn_depthwise_run(p->taps.a_offset, g->kh * g->kw, g->stride_w * g->ic),
                         .pixels = g->ow,
                         .channels = g->oc,
                         .panel = g->kh * g->kw * CNN_PANEL,
                         .src_pixel = g->stride_w * g->ic,
                         .dst_pixel = g->oc,
                         .activation = (cnn_activation)g->activation};
    for (ptrdiff_t y = 0; y < rows; y++, row.src += g->stride_h * p->columns * g->ic, row.dst += g->ow * g->oc)
        kernels->depthwise(&row);
}

/* Copy a window of the source to a plane for each channel, and set where each weight's elements lie in them. */
static void copy_planes(const plan *p, const float *image, const cnn_window *window, const cnn_kernels *kernels)
{
    const cnn_conv2d_geometry *g = p->g;
    const ptrdiff_t plane = window->rows * p->columns;
    float *const dst = p->memory.source;
    memset(dst + plane * g->ic, 0, CNN_PANEL * sizeof *dst);
    if (p->padded) {
        memset(dst, 0, (size_t)(plane * g->ic) * sizeof *dst);
        const ptrdiff_t inside = cnn_min(g->w, p->columns - g->pad_left);
        for (ptrdiff_t r = 0; r < window->rows; r++) {
            const ptrdiff_t y = window->top + r;
            if (y >= 0 && y < g->h && inside > 0)
                kernels->transpose(dst + r * p->columns + g->pad_left, image + y * g->w * g->ic, inside, g->ic, plane,
                                   g->ic);
        }
    } else {
        kernels->transpose(dst, image + window->top * g->w * g->ic, plane, g->ic, plane, g->ic);
    }
    ptrdiff_t *offset = p->memory.offsets;
    for (ptrdiff_t y = 0; y < g->kh; y++)
        for (ptrdiff_t x = 0; x < g->kw; x++)
            for (ptrdiff_t c = 0; c < g->ic; c++)
                *offset++ = c * plane + y * g->dilation_h * p->columns + x * g->dilation_w;
}

/* Copy what the rows of outputs [top, bottom) read and is not there yet: the window is what was copied last, without rows
 * at first, and becomes what is copied now. */
static void copy_up_to(const plan *p, const float *image, cnn_window *window, ptrdiff_t top, ptrdiff_t bottom)
{
    const cnn_conv2d_geometry *g = p->g;
    const ptrdiff_t start = top * g->stride_h - g->pad_top, end = start + source_rows(g, bottom - top);
    window->top += window->rows;
    window->rows = end - window->top;
    cnn_window_copy(p->memory.source + (window->top - start) * p->columns * g->ic, image, window, g->h, g->w, g->ic);
}

void cnn_conv2d_forward(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    const cnn_kernels *kernels = worker->kernels;
    float *dst = call->operands[CNN_conv2d_forward_dst];
    uint8_t *argmax = call->operands[CNN_conv2d_forward_argmax];
    const float *src = call->operands[CNN_conv2d_forward_src];
    assert(cnn_geometry_fits(cnn_op_find(CNN_OP_conv2d_forward), call->geometry));
    if (is_product(g)) {
        cnn_product_run(&(cnn_product){.dst = dst,
                                       .src = src,
                                       .weights = call->operands[CNN_conv2d_forward_weights],
                                       .bias = call->operands[CNN_conv2d_forward_bias],
                                       .m = call->batch * g->h * g->w,
                                       .k = g->ic,
                                       .n = g->oc,
                                       .activation = (cnn_activation)g->activation},
                        worker);
        return;
    }

    const bool lanes = pixels_in_lanes(g), depthwise = cnn_is_depthwise(g);
    plan p = {.g = g,
              .weights = call->operands[CNN_conv2d_forward_weights],
              .bias = call->operands[CNN_conv2d_forward_bias],
              .memory = carve(g, call->batch, worker->scratch),
              .padded = g->pad_top || g->pad_left || g->pad_bottom || g->pad_right};
    /* without padding the rows are as wide as the source, which itself is read unless it is copied to planes */
    p.columns = p.padded ? source_columns(g) : g->w;
    if (!lanes) p.taps = make_taps(g, p.columns, p.memory.offsets);
    const ptrdiff_t rows = used_rows(g), block = cnn_rows_per_task(rows, call->batch, g->pool ? 2 : 1);
    const ptrdiff_t blocks = cnn_ceil_div(rows, block);
    cnn_window window = {0, -g->pad_left, 0, p.columns};

    const ptrdiff_t together = p.padded || lanes ? p.memory.together : blocks;
    ptrdiff_t first, last;
    cnn_share(worker, call->batch * blocks, &first, &last);
    for (ptrdiff_t task = first; task < last;) {
        const ptrdiff_t n = task / blocks, begin = task % blocks;
        const ptrdiff_t end = begin + cnn_min(cnn_min(together, blocks - begin), last - task);
        const ptrdiff_t top = begin * block, bottom = cnn_min(end * block, rows);
        const float *image = src + n * g->h * g->w * g->ic, *source = p.memory.source;
        task += end - begin;
        window.top = top * g->stride_h - g->pad_top;
        window.rows = source_rows(g, bottom - top);
        if (lanes)
            copy_planes(&p, image, &window, kernels);
        else if (p.padded)
            window.rows = 0;
        else
            source = image + window.top * g->w * g->ic;
        const ptrdiff_t source_step = g->stride_h * p.columns * (lanes ? 1 : g->ic);
        const ptrdiff_t step = g->pool ? 2 : lanes || !p.padded ? bottom - top : 1;
        for (ptrdiff_t y = top; y < bottom; y += step) {
            if (p.padded && !lanes) copy_up_to(&p, image, &window, top, y + step);
            const float *at = source + (y - top) * source_step;
            float *to = g->pool ? p.memory.rows : dst + (n * g->oh + y) * g->ow * g->oc;
            (lanes ? output_rows_in_lanes : depthwise ? output_rows_depthwise : output_rows)(&p, at, to, step, kernels);
            if (!g->pool) continue;
            const ptrdiff_t pooled = (n * (g->oh / 2) + y / 2) * (g->ow / 2) * g->oc;
            kernels->pool_2x2(dst + pooled, argmax ? argmax + pooled : NULL, to, to + g->ow * g->oc, g->ow / 2, g->oc,
                              g->activation == CNN_ACTIVATION_RELU);
        }
    }
}
