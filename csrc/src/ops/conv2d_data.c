/* Gradient of a convolution by its source: again a direct convolution, of diff_dst with the transposed weights.
 *
 * With a stride, the pixels of diff_src fall into stride_h * stride_w phases; within one phase every pixel reads the
 * same taps, and diff_dst moves by one pixel per pixel: each phase is a convolution with stride one.
 * Pixel i of a phase with i = s*j + phase reads, for every tap k with (phase + pad - k*dilation) divisible by s, the
 * output pixel j + (phase + pad - k*dilation) / s.
 */
#include "blocking.h"
#include "ops/conv2d_sparse.h"
#include "ops/depthwise.h"
#include "ops/pixels.h"

/* The outputs that one axis reads: from the first pixel's last tap to the last pixel's first. */
typedef struct reach {
    ptrdiff_t low, count;
} reach;

static reach reach_of(ptrdiff_t first, ptrdiff_t last, ptrdiff_t pad, ptrdiff_t kernel, ptrdiff_t dilation,
                      ptrdiff_t stride)
{
    const ptrdiff_t low = cnn_floor_div(first + pad - (kernel - 1) * dilation, stride);
    return (reach){low, cnn_floor_div(last + pad, stride) - low + 1};
}

/* Rows of diff_src per task, in whole phases so that every block meets them alike. */
static ptrdiff_t block_rows(const cnn_conv2d_geometry *g, ptrdiff_t batch)
{
    return cnn_rows_per_task(g->h, batch, g->stride_h);
}

static ptrdiff_t transposed_panel(const cnn_conv2d_geometry *g)
{
    return g->kh * g->kw * (g->oc / g->groups) * CNN_PANEL;
}

static size_t transposed_bytes(const cnn_conv2d_geometry *g)
{
    if (cnn_is_depthwise(g)) return 0;
    return cnn_align((size_t)(g->groups * cnn_panels(g->ic / g->groups) * transposed_panel(g)) * sizeof(float));
}

/* The columns of diff_dst that stay in scratch: those that are read. A pooled gradient is spread over whole rows. */
static reach source_columns(const cnn_conv2d_geometry *g)
{
    reach columns = reach_of(0, g->w - 1, g->pad_left, g->kw, g->dilation_w, g->stride_w);
    if (!g->pool) return columns;
    const ptrdiff_t end = cnn_max(columns.low + columns.count, g->ow);
    columns.low = cnn_min(columns.low, 0);
    columns.count = end - columns.low;
    return columns;
}

typedef struct scratch {
    ptrdiff_t *offsets;
    float *source; /* with pooling there is one row before it and one behind */
    size_t bytes;
} scratch;

static scratch carve(const cnn_conv2d_geometry *g, ptrdiff_t batch, char *memory)
{
    const size_t row = (size_t)(source_columns(g).count * g->oc) * sizeof(float);
    /* a block's reach depends on where it starts only through the stride, hence one row more at the most */
    const ptrdiff_t rows =
        reach_of(0, cnn_min(block_rows(g, batch), g->h) - 1, g->pad_top, g->kh, g->dilation_h, g->stride_h).count + 1;
    const size_t offsets = cnn_align((size_t)(2 * g->kh * g->kw) * sizeof(ptrdiff_t));
    const size_t before = g->pool ? row : 0, source = cnn_align((size_t)rows * row + 2 * before);
    return (scratch){(void *)memory, cnn_at(memory, offsets + before), offsets + source};
}

cnn_blocking cnn_conv2d_backward_data_blocking(const cnn_geometry *geometry, ptrdiff_t batch)
{
    (void)batch;
    const cnn_conv2d_geometry *g = &geometry->conv2d;
    if (cnn_is_depthwise(g)) return (cnn_blocking){.variant = CNN_VARIANT_DEPTHWISE};
    return (cnn_blocking){.variant = cnn_sparse_data_fits(g) ? CNN_VARIANT_SPARSE : CNN_VARIANT_USUAL};
}

cnn_workspace cnn_conv2d_backward_data_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    const cnn_conv2d_geometry *g = &geometry->conv2d;
    if (cnn_sparse_data_fits(g)) return cnn_sparse_data_workspace(g, batch);
    return (cnn_workspace){transposed_bytes(g), carve(g, batch, NULL).bytes};
}

/* Panels over input channels: [groups][ceil(ICg/16)][tap, from the last to the first][OCg][16]. */
static void transpose_weights(const cnn_conv2d_geometry *g, const float *restrict weights, float *restrict transposed,
                              const cnn_worker *worker)
{
    const ptrdiff_t group_ic = g->ic / g->groups, group_oc = g->oc / g->groups, taps = g->kh * g->kw;
    const ptrdiff_t source_panel = taps * group_ic * CNN_PANEL, panels = cnn_panels(group_ic);
    ptrdiff_t first, last;
    cnn_share(worker, g->groups * panels * taps, &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const ptrdiff_t group = task / (panels * taps), panel = task / taps % panels, tap = taps - 1 - task % taps;
        const float *source = weights + group * cnn_panels(group_oc) * source_panel;
        float *out = transposed + task * group_oc * CNN_PANEL;
        const ptrdiff_t channels = cnn_min(CNN_PANEL, group_ic - panel * CNN_PANEL);
        for (ptrdiff_t o = 0; o < group_oc; o++) {
            const float *column = source + o / CNN_PANEL * source_panel +
                                  (tap * group_ic + panel * CNN_PANEL) * CNN_PANEL + o % CNN_PANEL;
            for (ptrdiff_t i = 0; i < CNN_PANEL; i++)
                out[o * CNN_PANEL + i] = i < channels ? column[i * CNN_PANEL] : 0.0f;
        }
    }
}

/* The taps of one phase, offsets relative to the pixel that stands for j = 0 of the window. */
static cnn_taps phase_taps(const cnn_conv2d_geometry *g, ptrdiff_t phase_h, ptrdiff_t phase_w, reach rows,
                           reach columns, ptrdiff_t *offsets)
{
    const ptrdiff_t group_oc = g->oc / g->groups, width = group_oc * CNN_PANEL;
    const bool depthwise = cnn_is_depthwise(g); /* reads the weights as they are, not from the last tap to the first */
    cnn_taps taps = {0, group_oc, offsets, offsets + g->kh * g->kw};
    for (ptrdiff_t y = g->kh - 1; y >= 0; y--) {
        const ptrdiff_t at_h = phase_h + g->pad_top - y * g->dilation_h;
        if (cnn_floor_div(at_h, g->stride_h) * g->stride_h != at_h) continue;
        for (ptrdiff_t x = g->kw - 1; x >= 0; x--) {
            const ptrdiff_t at_w = phase_w + g->pad_left - x * g->dilation_w;
            if (cnn_floor_div(at_w, g->stride_w) * g->stride_w != at_w) continue;
            const ptrdiff_t row = cnn_floor_div(at_h, g->stride_h) - rows.low;
            const ptrdiff_t column = cnn_floor_div(at_w, g->stride_w) - columns.low;
            const ptrdiff_t tap = y * g->kw + x, position = depthwise ? tap : g->kh * g->kw - 1 - tap;
            cnn_taps_add(&taps, (row * columns.count + column) * g->oc, position * width);
        }
    }
    if (g->stride_w == 1 && !depthwise) cnn_taps_merge(&taps, g->kw);
    return taps;
}

/* The window of diff_dst with zeros around; rows in pairs, hence up to one row more at both ends. */
static void unpool_window(const cnn_conv2d_geometry *g, float *dst, const float *diff, const uint8_t *argmax,
                          const cnn_window *window, const cnn_kernels *kernels)
{
    const ptrdiff_t step = window->columns * g->oc, left = -window->left * g->oc;
    memset(dst, 0, (size_t)(window->rows * step) * sizeof *dst);
    const ptrdiff_t first = cnn_max(cnn_floor_div(window->top, 2), 0);
    const ptrdiff_t last = cnn_min(cnn_floor_div(window->top + window->rows - 1, 2) + 1, g->oh / 2);
    for (ptrdiff_t row = first; row < last; row++)
        cnn_unpool_rows(g, dst + (2 * row - window->top) * step + left, step, diff, argmax, row, kernels);
}

/* The rows from `first` on of one phase, where every channel has one filter of its own. */
static void depthwise_phase(const cnn_call *call, const cnn_taps *taps, const float *weights, const scratch *memory,
                            const reach *columns, ptrdiff_t n, ptrdiff_t top, ptrdiff_t first, ptrdiff_t bottom,
                            ptrdiff_t phase_w, const cnn_kernels *kernels)
{
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    float *diff_src = call->operands[CNN_conv2d_backward_data_diff_src];
    const float *mask = call->operands[CNN_conv2d_backward_data_mask];
    for (ptrdiff_t y = first; y < bottom; y += g->stride_h) {
        const ptrdiff_t at = ((n * g->h + y) * g->w + phase_w) * g->ic;
        kernels->depthwise(&(cnn_depthwise){
            .dst = diff_src + at,
            .mask = mask ? mask + at : NULL,
            .src = memory->source + (y - top) / g->stride_h * columns->count * g->oc,
            .weights = weights,
            .src_offset = taps->a_offset,
            .weights_offset = taps->b_offset,
            .taps = taps->count,
            .run = cnn_depthwise_run(taps->a_offset, taps->count, g->oc),
            .pixels = cnn_ceil_div(g->w - phase_w, g->stride_w),
            .channels = g->oc,
            .panel = g->kh * g->kw * CNN_PANEL,
            .src_pixel = g->oc,
            .dst_pixel = g->stride_w * g->ic,
        });
    }
}

void cnn_conv2d_backward_data(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    float *diff_src = call->operands[CNN_conv2d_backward_data_diff_src], *transposed = worker->shared;
    const float *diff_dst = call->operands[CNN_conv2d_backward_data_diff_dst],
                *mask = call->operands[CNN_conv2d_backward_data_mask];
    const uint8_t *argmax = call->operands[CNN_conv2d_backward_data_argmax];
    assert(g->groups >= 1 && g->stride_h >= 1 && g->stride_w >= 1 && !g->pool == !argmax);

    if (cnn_sparse_data_fits(g)) {
        cnn_sparse_data(call, worker);
        return;
    }
    const float *weights = call->operands[CNN_conv2d_backward_data_weights];
    const bool depthwise = cnn_is_depthwise(g);
    if (!depthwise) {
        transpose_weights(g, weights, transposed, worker);
        cnn_barrier(worker);
    }

    const scratch memory = carve(g, call->batch, worker->scratch);
    const ptrdiff_t group_ic = g->ic / g->groups, group_oc = g->oc / g->groups;
    const ptrdiff_t block = block_rows(g, call->batch), blocks = cnn_ceil_div(g->h, block);
    const reach columns = source_columns(g);
    const ptrdiff_t pooled = (g->oh / 2) * (g->ow / 2) * g->oc;
    ptrdiff_t first, last;
    cnn_share(worker, call->batch * blocks, &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const ptrdiff_t n = task / blocks, top = task % blocks * block, bottom = cnn_min(top + block, g->h);
        const reach rows = reach_of(top, bottom - 1, g->pad_top, g->kh, g->dilation_h, g->stride_h);
        const cnn_window window = {rows.low, columns.low, rows.count, columns.count};
        if (g->pool)
            unpool_window(g, memory.source, diff_dst + n * pooled, argmax + n * pooled, &window, worker->kernels);
        else
            cnn_window_copy(memory.source, diff_dst + n * g->oh * g->ow * g->oc, &window, g->oh, g->ow, g->oc);
        for (ptrdiff_t phase_h = 0; phase_h < cnn_min(g->stride_h, bottom - top); phase_h++)
            for (ptrdiff_t phase_w = 0; phase_w < cnn_min(g->stride_w, g->w); phase_w++) {
                const cnn_taps taps =
                    phase_taps(g, phase_h, phase_w, reach_of(0, 0, g->pad_top, g->kh, g->dilation_h, g->stride_h),
                               columns, memory.offsets);
                if (depthwise) {
                    depthwise_phase(call, &taps, weights, &memory, &columns, n, top, top + phase_h, bottom, phase_w,
                                    worker->kernels);
                    continue;
                }
                for (ptrdiff_t y = top + phase_h; y < bottom; y += g->stride_h)
                    for (ptrdiff_t group = 0; group < g->groups; group++) {
                        const ptrdiff_t at = ((n * g->h + y) * g->w + phase_w) * g->ic + group * group_ic;
                        const cnn_pixel_row row = {
                            .dst = diff_src + at,
                            .mask = mask ? mask + at : NULL,
                            .src = memory.source + (y - top) / g->stride_h * columns.count * g->oc + group * group_oc,
                            .weights = transposed + group * cnn_panels(group_ic) * transposed_panel(g),
                            .pixels = cnn_ceil_div(g->w - phase_w, g->stride_w),
                            .src_pixel = g->oc,
                            .dst_pixel = g->stride_w * g->ic,
                            .columns = group_ic,
                            .panel = transposed_panel(g)};
                        cnn_pixel_row_run(&row, &taps, worker->kernels);
                    }
            }
    }
}
