/*
 * Convolution of codes. A worker takes output rows, or panels of output channels where the weights are more than the
 * source: integer sums are exact, so whoever computes what, the bytes are the same. Rows are done in bands, of whose
 * source the worker has a copy in its scratch, padded with the code of 0; a source that needs no padding, and whose
 * runs are whole quads, is read where it lies.
 */
#include "int8_layout.h"
#include "internal.h"
#include "workspace.h"

enum {
    BAND_CODES = 24 * 1024, /* of a copy, unless a single output row needs more */
    HEAVIER = 4,            /* than the source, which every worker then copies, are weights that are worth sharing */
};

typedef struct plan {
    cnn_int8_layout layout;
    ptrdiff_t columns; /* pixels of a row of the copy */
    ptrdiff_t band;    /* output rows that are done together */
    ptrdiff_t codes;   /* of a copy */
} plan;

static ptrdiff_t rows_of_band(const cnn_conv2d_int8_geometry *g, ptrdiff_t band)
{
    return (band - 1) * g->stride_h + g->dilation_h * (g->kh - 1) + 1;
}

static plan plan_of(const cnn_conv2d_int8_geometry *g)
{
    plan p = {.layout = cnn_int8_layout_of(g), .columns = (g->ow - 1) * g->stride_w + g->dilation_w * (g->kw - 1) + 1};
    const ptrdiff_t fit = BAND_CODES / (p.columns * g->ic); /* source rows */
    p.band = cnn_max(1, (fit - rows_of_band(g, 1)) / g->stride_h + 1);
    p.band = cnn_min(p.band, g->oh);
    p.codes = rows_of_band(g, p.band) * p.columns * g->ic;
    return p;
}

static ptrdiff_t offsets_of(const cnn_conv2d_int8_geometry *g) { return g->kh * g->kw; }

cnn_workspace cnn_conv2d_int8_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    enum { LARGEST_CODE = 2 };
    const cnn_conv2d_int8_geometry *g = &geometry->conv2d_int8;
    (void)batch;
    return (cnn_workspace){.scratch = cnn_align((size_t)offsets_of(g) * sizeof(ptrdiff_t)) +
                                      LARGEST_CODE * (size_t)(plan_of(g).codes + CNN_CODES_BEHIND)};
}

/* ---- the source of a band ------------------------------------------------------------------------------------------ */

/* Where the source of the output rows from `first` on begins, and how far its rows are apart. */
typedef struct band_source {
    const char *at;
    ptrdiff_t row; /* codes */
} band_source;

static bool needs_no_copy(const cnn_conv2d_int8_geometry *g, const plan *p, const cnn_kernels *kernels)
{
    const bool padded = g->pad_top || g->pad_left || g->pad_bottom || g->pad_right;
    return kernels->code_bytes == 1 && !padded && !p->layout.depthwise && p->layout.length % CNN_QUAD == 0;
}

static void copy_band(const cnn_conv2d_int8_geometry *g, const plan *p, const cnn_kernels *kernels,
                      const uint8_t *sample, ptrdiff_t first, ptrdiff_t rows, char *copy)
{
    const ptrdiff_t row = p->columns * g->ic, bytes = kernels->code_bytes;
    const ptrdiff_t left = cnn_min(g->pad_left, p->columns), inside = cnn_min(g->w, p->columns - left);
    const uint8_t zero = (uint8_t)g->zero_src;
    for (ptrdiff_t r = 0; r < rows_of_band(g, rows); r++, copy += row * bytes) {
        const ptrdiff_t h = first * g->stride_h - g->pad_top + r;
        if (h < 0 || h >= g->h) {
            kernels->fill_codes(copy, zero, row);
            continue;
        }
        kernels->fill_codes(copy, zero, left * g->ic);
        kernels->copy_codes(copy + left * g->ic * bytes, sample + h * g->w * g->ic, inside * g->ic);
        kernels->fill_codes(copy + (left + inside) * g->ic * bytes, zero, row - (left + inside) * g->ic);
    }
    kernels->fill_codes(copy, zero, CNN_CODES_BEHIND);
}

/* ---- the products --------------------------------------------------------------------------------------------------- */

/* What a worker computes of a sample: output rows, and panels of all groups, counted through. */
typedef struct part {
    ptrdiff_t sample, first, rows, first_panel, last_panel;
} part;

static void tap_offsets(const cnn_conv2d_int8_geometry *g, const plan *p, ptrdiff_t row, ptrdiff_t *offsets)
{
    const bool whole_rows = !p->layout.depthwise && p->layout.runs == g->kh && p->layout.length == g->kw * g->ic;
    const ptrdiff_t columns = whole_rows ? 1 : g->kw;
    for (ptrdiff_t kh = 0; kh < g->kh; kh++)
        for (ptrdiff_t kw = 0; kw < columns; kw++)
            offsets[kh * columns + kw] = kh * g->dilation_h * row + kw * g->dilation_w * g->ic;
}

static cnn_code_range range_of(const cnn_conv2d_int8_geometry *g)
{
    return (cnn_code_range){(int32_t)g->zero_dst, (int32_t)g->low, (int32_t)g->high};
}

static void multiply_depthwise(const cnn_call *call, const part *at, const band_source *source,
                               const ptrdiff_t *offsets, uint8_t *dst, const cnn_kernels *kernels)
{
    const cnn_conv2d_int8_geometry *g = &call->geometry->conv2d_int8;
    cnn_dot_depthwise row = {.weights = call->operands[CNN_conv2d_int8_weights],
                             .bias = call->operands[CNN_conv2d_int8_bias],
                             .multipliers = call->operands[CNN_conv2d_int8_multipliers],
                             .shifts = call->operands[CNN_conv2d_int8_shifts],
                             .offsets = offsets,
                             .taps = g->kh * g->kw,
                             .pixels = g->ow,
                             .channels = g->oc,
                             .src_pixel = g->stride_w * g->ic,
                             .range = range_of(g)};
    for (ptrdiff_t r = 0; r < at->rows; r++) {
        row.dst = dst + r * g->ow * g->oc;
        row.src = source->at + r * g->stride_h * source->row * kernels->code_bytes;
        kernels->dot_depthwise(&row);
    }
}

static void multiply(const cnn_call *call, const plan *p, const part *at, const band_source *source,
                     const ptrdiff_t *offsets, const cnn_kernels *kernels)
{
    const cnn_conv2d_int8_geometry *g = &call->geometry->conv2d_int8;
    const int32_t *bias = call->operands[CNN_conv2d_int8_bias],
                  *multipliers = call->operands[CNN_conv2d_int8_multipliers],
                  *shifts = call->operands[CNN_conv2d_int8_shifts];
    uint8_t *dst = (uint8_t *)call->operands[CNN_conv2d_int8_dst] + (at->sample * g->oh + at->first) * g->ow * g->oc;
    const ptrdiff_t panels = cnn_ceil_div(p->layout.columns, CNN_PANEL);
    if (p->layout.depthwise) {
        multiply_depthwise(call, at, source, offsets, dst, kernels);
        return;
    }
    cnn_dot block = {.offsets = offsets,
                     .runs = p->layout.runs,
                     .quads = cnn_int8_quads(p->layout.length),
                     .rows = at->rows,
                     .pixels = g->ow,
                     .src_row = g->stride_h * source->row,
                     .src_pixel = g->stride_w * g->ic,
                     .dst_row = g->ow * g->oc,
                     .dst_pixel = g->oc,
                     .range = range_of(g)};
    for (ptrdiff_t panel = at->first_panel; panel < at->last_panel;) {
        const ptrdiff_t group = panel / panels, end = cnn_min(at->last_panel, (group + 1) * panels);
        const ptrdiff_t column = panel % panels * CNN_PANEL, channel = group * p->layout.columns + column;
        block.channels = cnn_min((end - group * panels) * CNN_PANEL, p->layout.columns) - column;
        block.dst = dst + channel;
        block.src = source->at + group * (g->ic / g->groups) * kernels->code_bytes;
        block.weights =
            (const int8_t *)call->operands[CNN_conv2d_int8_weights] + panel * cnn_int8_panel_bytes(&p->layout);
        block.bias = bias + channel, block.multipliers = multipliers + channel, block.shifts = shifts + channel;
        kernels->dot(&block);
        panel = end;
    }
}

/* Whether the workers share the panels, and not the output rows of the batch. */
static bool shares_panels(const cnn_conv2d_int8_geometry *g, const plan *p, ptrdiff_t batch, ptrdiff_t panels,
                          ptrdiff_t size)
{
    const ptrdiff_t rows = batch * g->oh;
    if (size == 1 || p->layout.depthwise) return false;
    const bool even = cnn_ceil_div(panels, size) * rows <= cnn_ceil_div(rows, size) * panels;
    return even && (rows < size || panels * cnn_int8_panel_bytes(&p->layout) > HEAVIER * batch * g->h * g->w * g->ic);
}

void cnn_conv2d_int8(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_conv2d_int8_geometry *g = &call->geometry->conv2d_int8;
    const cnn_kernels *kernels = worker->kernels;
    const uint8_t *src = call->operands[CNN_conv2d_int8_src];
    const plan p = plan_of(g);
    const ptrdiff_t panels = p.layout.groups * cnn_ceil_div(p.layout.columns, CNN_PANEL);
    const bool direct = needs_no_copy(g, &p, kernels);
    ptrdiff_t *offsets = worker->scratch;
    char *copy = (char *)worker->scratch + cnn_align((size_t)offsets_of(g) * sizeof(ptrdiff_t));
    band_source source = {copy, (direct ? g->w : p.columns) * g->ic};
    part at = {.first_panel = 0, .last_panel = panels};
    ptrdiff_t row = 0, last = call->batch * g->oh;
    if (shares_panels(g, &p, call->batch, panels, worker->size))
        cnn_share(worker, panels, &at.first_panel, &at.last_panel);
    else
        cnn_share(worker, last, &row, &last);
    if (at.first_panel == at.last_panel) return;
    tap_offsets(g, &p, source.row, offsets);
    for (; row < last; row += at.rows) {
        at.sample = row / g->oh, at.first = row % g->oh;
        at.rows = cnn_min(cnn_min(p.band, g->oh - at.first), last - row);
        const uint8_t *sample = src + at.sample * g->h * g->w * g->ic;
        if (direct)
            source.at = (const char *)sample + at.first * g->stride_h * source.row;
        else
            copy_band(g, &p, kernels, sample, at.first, at.rows, copy);
        multiply(call, &p, &at, &source, offsets, kernels);
    }
}
