/* Gradients of a convolution straight from the gradient of its fused 2x2 pooling.
 *
 * Under a window of the pooling only the maximum has a gradient, and none where the ReLU is off: at most a quarter of
 * diff_dst before the pooling is not zero. The gradient by the weights walks, for each output channel, the list of
 * (value, where its receptive field starts); the gradient by the source adds, for each window, the weights of each
 * output channel at the place that argmax names.
 */
#include "ops/conv2d_sparse.h"
#include "ops/pixels.h"

static ptrdiff_t whole_panels(ptrdiff_t columns) { return cnn_panels(columns) * CNN_PANEL; }

/* ---- by the weights ---------------------------------------------------------------------------------------------- */

/* LIST: the most windows whose gradients are walked at once, LIST_BYTES: the most that they read of the source, so that
 * it stays in the first cache while the channels are gone through. */
enum { MOST_PARTS = 16, PART_BYTES = 4 << 20, ENOUGH_TASKS = 16, LIST = 256, LIST_BYTES = 24 << 10, LANES = 16 };

/* The lists hold places in the padded source as int32. */
bool cnn_sparse_weights_fits(const cnn_conv2d_geometry *g)
{
    const ptrdiff_t rows = g->h + g->pad_top + g->pad_bottom, columns = g->w + g->pad_left + g->pad_right;
    return g->pool == 2 && g->groups == 1 && (g->dilation_w == 1 || g->kw == 1) &&
           2 * rows * columns * g->ic <= INT32_MAX;
}

/* How the work is cut, by shape and batch only. Each part of the batch has sums of its own, [OC][KH][columns]. */
typedef struct cut {
    ptrdiff_t parts, slices;           /* of the batch, of the output channels */
    ptrdiff_t samples;                 /* whose lists are joined */
    ptrdiff_t rows;                    /* of the pooled map, in one list */
    ptrdiff_t row, columns;            /* KW * IC, and rounded up to whole panels */
    ptrdiff_t sums;                    /* elements of one part's sums */
    ptrdiff_t image_w, image_elements; /* of a sample as it is read */
    bool copied;                       /* with its padding, or so that whole panels may be read */
} cut;

static cut cut_of(const cnn_conv2d_geometry *g, ptrdiff_t batch)
{
    cut c = {.row = g->kw * g->ic, .columns = whole_panels(g->kw * g->ic)};
    c.sums = g->oc * g->kh * c.columns;
    const ptrdiff_t affordable = PART_BYTES / (c.sums * (ptrdiff_t)sizeof(float));
    c.parts = cnn_cuts(cnn_max(1, cnn_min(cnn_min(MOST_PARTS, affordable), batch)));
    c.slices = cnn_min(cnn_ceil_div(cnn_cuts(ENOUGH_TASKS), c.parts), g->oc);
    c.copied = g->pad_top || g->pad_left || g->pad_bottom || g->pad_right || c.columns != c.row;
    c.image_w = c.copied ? (g->ow - 1) * g->stride_w + g->dilation_w * (g->kw - 1) + 1 : g->w;
    c.image_elements =
        (c.copied ? (g->oh - 1) * g->stride_h + g->dilation_h * (g->kh - 1) + 1 : g->h) * c.image_w * g->ic;
    const ptrdiff_t row_bytes = 2 * g->stride_h * c.image_w * g->ic * (ptrdiff_t)sizeof(float);
    const ptrdiff_t rows = cnn_max(1, cnn_min(LIST / (g->ow / 2), LIST_BYTES / row_bytes));
    c.samples = cnn_min(cnn_max(1, rows / (g->oh / 2)), cnn_ceil_div(batch, c.parts));
    c.rows = cnn_min(rows, c.samples * (g->oh / 2));
    return c;
}

typedef struct weights_scratch {
    float *values, *images, *sums;
    int32_t *offsets;
    size_t bytes;
} weights_scratch;

static weights_scratch carve_weights(const cnn_conv2d_geometry *g, const cut *c, char *memory)
{
    const size_t list = cnn_align((size_t)(c->rows * (g->ow / 2) + LANES) * sizeof(float));
    const size_t images =
        c->copied ? cnn_align((size_t)(c->samples * c->image_elements + CNN_PANEL) * sizeof(float)) : 0;
    const size_t sums = cnn_align((size_t)(g->kh * c->columns) * sizeof(float));
    return (weights_scratch){(void *)memory, cnn_at(memory, 2 * list), cnn_at(memory, 2 * list + images),
                             cnn_at(memory, list), 2 * list + images + sums};
}

cnn_workspace cnn_sparse_weights_workspace(const cnn_conv2d_geometry *g, ptrdiff_t batch)
{
    /* a smaller batch has neither more parts nor more samples in one */
    const cut c = cut_of(g, batch);
    const size_t sums = cnn_align((size_t)(c.parts * c.sums) * sizeof(float));
    const size_t bias = cnn_align((size_t)(c.parts * g->oc) * sizeof(double));
    return (cnn_workspace){sums + bias, carve_weights(g, &c, NULL).bytes};
}

/* The list of one channel over rows [first, last) of the joined pooled maps; its length. */
static ptrdiff_t make_list(const cnn_conv2d_geometry *g, const cut *c, const weights_scratch *memory, const float *diff,
                           const uint8_t *argmax, ptrdiff_t first, ptrdiff_t last)
{
    const ptrdiff_t pixels = g->ow / 2, height = g->oh / 2, right = g->stride_w * g->ic;
    const ptrdiff_t down = g->stride_h * c->image_w * g->ic;
    const int32_t within[4] = {0, (int32_t)right, (int32_t)down, (int32_t)(down + right)};
    float *restrict values = memory->values;
    int32_t *restrict offsets = memory->offsets;
    ptrdiff_t count = 0;
    for (ptrdiff_t y = first; y < last; y++) {
        const float *restrict from = diff + y * pixels * g->oc;
        const uint8_t *restrict where = argmax + y * pixels * g->oc;
        int32_t at = (int32_t)(y / height * c->image_elements + y % height * 2 * down);
        for (ptrdiff_t x = 0; x < pixels; x++, from += g->oc, where += g->oc, at += (int32_t)(2 * right)) {
            values[count] = *from;
            offsets[count] = at + within[*where & 3];
            count += *where < 4;
        }
    }
    return count;
}

/* In lanes, so that the additions do not wait for each other. */
static double sum_of_list(float *values, ptrdiff_t count)
{
    float lanes[LANES] = {0};
    double sum = 0.0;
    for (ptrdiff_t i = count; i % LANES != 0; i++) values[i] = 0.0f;
    for (ptrdiff_t i = 0; i < count; i += LANES)
        for (ptrdiff_t lane = 0; lane < LANES; lane++) lanes[lane] += values[i + lane];
    for (ptrdiff_t lane = 0; lane < LANES; lane++) sum += (double)lanes[lane];
    return sum;
}

/* Samples [begin, end), at most c->samples of them, for the channels [first, last). */
static void add_samples(const cnn_call *call, const cut *c, const weights_scratch *memory, ptrdiff_t begin,
                        ptrdiff_t end, ptrdiff_t first, ptrdiff_t last, float *sums, double *bias,
                        const cnn_kernels *kernels)
{
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    const ptrdiff_t sample = g->h * g->w * g->ic, pooled = (g->oh / 2) * (g->ow / 2) * g->oc;
    const float *src = call->operands[CNN_conv2d_backward_weights_src],
                *diff = call->operands[CNN_conv2d_backward_weights_diff_dst], *images = src + begin * sample;
    const uint8_t *argmax = call->operands[CNN_conv2d_backward_weights_argmax];
    const cnn_window window = {-g->pad_top, -g->pad_left, c->image_elements / (c->image_w * g->ic), c->image_w};
    if (c->copied) {
        images = memory->images;
        for (ptrdiff_t n = begin; n < end; n++)
            cnn_window_copy(memory->images + (n - begin) * c->image_elements, src + n * sample, &window, g->h, g->w,
                            g->ic);
    }
    const ptrdiff_t rows = (end - begin) * (g->oh / 2);
    for (ptrdiff_t top = 0; top < rows; top += c->rows)
        for (ptrdiff_t o = first; o < last; o++) {
            const ptrdiff_t count = make_list(g, c, memory, diff + begin * pooled + o, argmax + begin * pooled + o, top,
                                              cnn_min(top + c->rows, rows));
            kernels->gather(&(cnn_gather){.src = images,
                                          .values = memory->values,
                                          .offsets = memory->offsets,
                                          .sums = sums + o * g->kh * c->columns,
                                          .count = count,
                                          .rows = g->kh,
                                          .columns = c->columns,
                                          .src_row = g->dilation_h * c->image_w * g->ic,
                                          .sums_row = c->columns});
            bias[o] += sum_of_list(memory->values, count);
        }
}

/* The parts of some channels, added up in order and put into their panels. */
static void finish(const cnn_call *call, const cut *c, const weights_scratch *memory, const float *sums,
                   const double *bias, const cnn_worker *worker)
{
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    float *diff_weights = call->operands[CNN_conv2d_backward_weights_diff_weights],
          *diff_bias = call->operands[CNN_conv2d_backward_weights_diff_bias];
    const ptrdiff_t channel = g->kh * c->columns;
    ptrdiff_t first, last;
    cnn_share(worker, whole_panels(g->oc), &first, &last);
    for (ptrdiff_t o = first; o < last; o++) {
        float *panel = diff_weights + o / CNN_PANEL * g->kh * c->row * CNN_PANEL + o % CNN_PANEL;
        if (o >= g->oc) {
            for (ptrdiff_t k = 0; k < g->kh * c->row; k++) panel[k * CNN_PANEL] = 0.0f;
            continue;
        }
        worker->kernels->sum_parts(memory->sums, sums + o * channel, c->parts, channel, c->sums);
        for (ptrdiff_t y = 0; y < g->kh; y++)
            for (ptrdiff_t j = 0; j < c->row; j++)
                panel[(y * c->row + j) * CNN_PANEL] = memory->sums[y * c->columns + j];
        double total = 0.0;
        for (ptrdiff_t part = 0; part < c->parts; part++) total += bias[part * g->oc + o];
        if (diff_bias) diff_bias[o] = (float)total;
    }
}

void cnn_sparse_weights(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    const cut c = cut_of(g, call->batch);
    const weights_scratch memory = carve_weights(g, &c, worker->scratch);
    const ptrdiff_t channel = g->kh * c.columns;
    float *sums = worker->shared;
    double *bias = (void *)((char *)worker->shared + cnn_align((size_t)(c.parts * c.sums) * sizeof(float)));
    ptrdiff_t first, last;
    cnn_share(worker, c.parts * c.slices, &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const ptrdiff_t part = task / c.slices, slice = task % c.slices;
        const ptrdiff_t begin = cnn_part(call->batch, c.parts, part), end = cnn_part(call->batch, c.parts, part + 1);
        const ptrdiff_t o = cnn_part(g->oc, c.slices, slice), o_end = cnn_part(g->oc, c.slices, slice + 1);
        float *part_sums = sums + part * c.sums;
        memset(part_sums + o * channel, 0, (size_t)((o_end - o) * channel) * sizeof *sums);
        memset(bias + part * g->oc + o, 0, (size_t)(o_end - o) * sizeof *bias);
        for (ptrdiff_t n = begin; n < end; n += c.samples)
            add_samples(call, &c, &memory, n, cnn_min(n + c.samples, end), o, o_end, part_sums, bias + part * g->oc,
                        worker->kernels);
    }
    cnn_barrier(worker);
    finish(call, &c, &memory, sums, bias, worker);
}

/* ---- by the source ----------------------------------------------------------------------------------------------- */

/* TABLE_BYTES of the weights stay in the first cache while a row of windows is gone through; of more than TABLE_COLUMNS
 * columns, one part after the other. */
enum { TABLE_BYTES = 32 << 10, TABLE_COLUMNS = 160 };

/* A window of the pooling reaches KH + 1 rows and KW + 1 pixels of the padded source. */
typedef struct spread_layout {
    ptrdiff_t columns;   /* (KW + 1) * IC in whole panels */
    ptrdiff_t table_row; /* IC zeros, KW * IC weights, zeros: a window's left and right pixel read it one pixel apart */
    ptrdiff_t width;     /* elements of one row of the padded source's gradient */
    ptrdiff_t channels;  /* whose weights are used at once */
} spread_layout;

static spread_layout layout_of(const cnn_conv2d_geometry *g)
{
    spread_layout l = {.columns = whole_panels((g->kw + 1) * g->ic)};
    l.table_row = g->ic + l.columns;
    l.width = cnn_max(g->ow + g->kw - 1, g->pad_left + g->w) * g->ic + CNN_PANEL;
    const ptrdiff_t channel_bytes = g->kh * cnn_min(l.table_row, TABLE_COLUMNS) * (ptrdiff_t)sizeof(float);
    l.channels = cnn_min(cnn_max(1, TABLE_BYTES / channel_bytes / CNN_PANEL) * CNN_PANEL, g->oc);
    return l;
}

/* The lists hold places in the table as int32, and their ends. */
bool cnn_sparse_data_fits(const cnn_conv2d_geometry *g)
{
    if (g->pool != 2 || g->groups != 1 || g->stride_h != 1 || g->stride_w != 1 || g->dilation_h != 1 ||
        g->dilation_w != 1)
        return false;
    const spread_layout l = layout_of(g);
    return (l.channels + CNN_PANEL) * cnn_max(g->kh * l.table_row, g->ow) <= INT32_MAX;
}

typedef struct data_scratch {
    float *rows;             /* KH + 1 rows, used in turn */
    float *values, *offsets; /* lists of a row of windows */
    int32_t *ends;
    float **order; /* the KH + 1 rows from the top */
    size_t bytes;
} data_scratch;

static data_scratch carve_data(const cnn_conv2d_geometry *g, const spread_layout *l, char *memory)
{
    data_scratch s = {.rows = (void *)memory, .bytes = cnn_align((size_t)((g->kh + 1) * l->width) * sizeof(float))};
    const size_t list = cnn_align((size_t)(g->ow / 2 * l->channels + CNN_PANEL) * sizeof(float));
    s.values = cnn_at(memory, s.bytes), s.bytes += list;
    s.offsets = cnn_at(memory, s.bytes), s.bytes += list;
    s.ends = cnn_at(memory, s.bytes), s.bytes += cnn_align((size_t)(g->ow / 2 * 2) * sizeof(int32_t));
    s.order = cnn_at(memory, s.bytes), s.bytes += cnn_align((size_t)(g->kh + 1) * sizeof(float *));
    return s;
}

cnn_workspace cnn_sparse_data_workspace(const cnn_conv2d_geometry *g, ptrdiff_t batch)
{
    (void)batch;
    const spread_layout l = layout_of(g);
    return (cnn_workspace){(size_t)(g->oc * g->kh * l.table_row) * sizeof(float), carve_data(g, &l, NULL).bytes};
}

/* The weights as [OC][KH][table_row]. */
static void fill_table(const cnn_conv2d_geometry *g, const spread_layout *l, const float *restrict weights,
                       float *restrict table, const cnn_worker *worker)
{
    const ptrdiff_t row = g->kw * g->ic;
    ptrdiff_t first, last;
    cnn_share(worker, g->oc * g->kh, &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const ptrdiff_t o = task / g->kh, y = task % g->kh;
        const float *from = weights + (o / CNN_PANEL * g->kh * row + y * row) * CNN_PANEL + o % CNN_PANEL;
        float *to = table + task * l->table_row;
        memset(to, 0, (size_t)l->table_row * sizeof *to);
        for (ptrdiff_t j = 0; j < row; j++) to[g->ic + j] = from[j * CNN_PANEL];
    }
}

/* Rows [top, bottom) of one sample of diff_src. Row p of the padded source (row p - pad_top of the image) gets its
 * first contribution from pooled row (p - KH) / 2 and its last from p / 2: KH + 1 rows are open at a time. */
typedef struct band {
    const cnn_conv2d_geometry *g;
    const spread_layout *layout;
    const data_scratch *memory;
    float *diff_src;
    const float *mask; /* NULL, or the sample */
    ptrdiff_t top, bottom;
} band;

static float *open_row(const band *b, ptrdiff_t p) { return b->memory->rows + p % (b->g->kh + 1) * b->layout->width; }

static void clear_row(const band *b, ptrdiff_t p)
{
    memset(open_row(b, p), 0, (size_t)b->layout->width * sizeof(float));
}

/* Write rows [first, last) of the padded source's gradient, zeros where they are not open. */
static void close_rows(const band *b, ptrdiff_t first, ptrdiff_t last, bool open, const cnn_kernels *kernels)
{
    const ptrdiff_t count = b->g->w * b->g->ic, pad = b->g->pad_top;
    for (ptrdiff_t p = cnn_max(first, b->top + pad); p < cnn_min(last, b->bottom + pad); p++) {
        const ptrdiff_t at = (p - pad) * count;
        const float *row = open_row(b, p) + b->g->pad_left * b->g->ic;
        if (!open)
            memset(b->diff_src + at, 0, (size_t)count * sizeof *b->diff_src);
        else if (b->mask)
            kernels->relu_backward(b->diff_src + at, row, b->mask + at, count);
        else
            memcpy(b->diff_src + at, row, (size_t)count * sizeof *b->diff_src);
    }
}

static void fill_band(const band *b, const float *diff, const uint8_t *argmax, const float *table,
                      const cnn_kernels *kernels)
{
    const cnn_conv2d_geometry *g = b->g;
    const ptrdiff_t start = b->top + g->pad_top, end = b->bottom + g->pad_top, pixels = g->ow / 2;
    const ptrdiff_t first = cnn_max(0, cnn_ceil_div(cnn_max(0, start - g->kh), 2));
    const ptrdiff_t last = cnn_min(g->oh / 2, cnn_ceil_div(end, 2)), channel = g->kh * b->layout->table_row;
    if (first >= last) {
        close_rows(b, start, end, false, kernels);
        return;
    }
    close_rows(b, start, 2 * first, false, kernels);
    for (ptrdiff_t p = 2 * first; p < 2 * first + g->kh - 1; p++) clear_row(b, p);
    for (ptrdiff_t y = first; y < last; y++) {
        clear_row(b, 2 * y + g->kh - 1);
        clear_row(b, 2 * y + g->kh);
        for (ptrdiff_t r = 0; r <= g->kh; r++) b->memory->order[r] = open_row(b, 2 * y + r);
        for (ptrdiff_t o = 0; o < g->oc; o += b->layout->channels)
            kernels->spread(&(cnn_spread){.rows = b->memory->order,
                                          .diff = diff + y * pixels * g->oc + o,
                                          .argmax = argmax + y * pixels * g->oc + o,
                                          .table = table + o * channel,
                                          .values = b->memory->values,
                                          .offsets = b->memory->offsets,
                                          .pixels = pixels,
                                          .channels = cnn_min(b->layout->channels, g->oc - o),
                                          .taps = g->kh,
                                          .columns = b->layout->columns,
                                          .ends = b->memory->ends,
                                          .rows_pixel = 2 * g->ic,
                                          .diff_pixel = g->oc,
                                          .table_channel = channel,
                                          .table_row = b->layout->table_row,
                                          .table_left = g->ic});
        close_rows(b, 2 * y, 2 * y + 2, true, kernels);
    }
    close_rows(b, 2 * last, 2 * last + g->kh - 1, true, kernels);
    close_rows(b, 2 * last + g->kh - 1, end, false, kernels);
}

void cnn_sparse_data(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    float *diff_src = call->operands[CNN_conv2d_backward_data_diff_src], *table = worker->shared;
    const float *diff_dst = call->operands[CNN_conv2d_backward_data_diff_dst],
                *mask = call->operands[CNN_conv2d_backward_data_mask];
    const uint8_t *argmax = call->operands[CNN_conv2d_backward_data_argmax];
    const spread_layout layout = layout_of(g);
    fill_table(g, &layout, call->operands[CNN_conv2d_backward_data_weights], table, worker);
    cnn_barrier(worker);

    const data_scratch memory = carve_data(g, &layout, worker->scratch);
    const ptrdiff_t block = cnn_rows_per_task(g->h, call->batch, 2), blocks = cnn_ceil_div(g->h, block);
    const ptrdiff_t sample = g->h * g->w * g->ic, pooled = (g->oh / 2) * (g->ow / 2) * g->oc;
    ptrdiff_t first, last;
    cnn_share(worker, call->batch * blocks, &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const ptrdiff_t n = task / blocks, top = task % blocks * block;
        const band b = {.g = g,
                        .layout = &layout,
                        .memory = &memory,
                        .diff_src = diff_src + n * sample,
                        .mask = mask ? mask + n * sample : NULL,
                        .top = top,
                        .bottom = cnn_min(top + block, g->h)};
        fill_band(&b, diff_dst + n * pooled, argmax + n * pooled, table, worker->kernels);
    }
}
