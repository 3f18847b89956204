/* Gradient of a convolution by its weights and bias.
 *
 * For one kernel row, diff_weights[k][oc] = sum over pixels of src[pixel + k] * diff_dst[pixel][oc]: a matrix product
 * whose reduction runs over pixels. Samples are cut into a fixed number of parts; each part sums its samples in order
 * into its own copy of the gradient, then the copies are added in order. Samples of small maps are joined, so that a
 * tile sums over ENOUGH_PIXELS before it adds to memory.
 */
#include "blocking.h"
#include "ops/conv2d_sparse.h"
#include "ops/depthwise.h"
#include "ops/parts.h"
#include "ops/pixels.h"

/* A tile sums at most CHAIN pixels (or one row) before it adds to memory: rounding grows with the length of a chain, and
 * pixels of one map can all be alike (a white background, the gradient of an average). All tiles go through these pixels
 * before the next ones: their gradients, CHAIN_BYTES at most, stay in the cache. */
enum {
    MOST_PARTS = 16,
    PART_BYTES = 4 << 20,
    ENOUGH_TASKS = 16,
    CHAIN = 1024,
    CHAIN_BYTES = 256 << 10,
    ENOUGH_PIXELS = 128,
    JOINED_BYTES = 160 << 10
};

/* How the work is cut: by shape and batch only. */
typedef struct cut {
    ptrdiff_t parts, slices; /* parts of the batch, slices of the panels */
    ptrdiff_t panels;        /* per group; where every channel has one filter of its own, of all */
    ptrdiff_t k;             /* KH * KW * IC/groups */
    ptrdiff_t weights;       /* elements of the gradient */
    ptrdiff_t samples;       /* joined */
} cut;

static ptrdiff_t padded_oc(const cnn_conv2d_geometry *g) { return cnn_panels(g->oc / g->groups) * CNN_PANEL; }

static bool is_padded(const cnn_conv2d_geometry *g)
{
    return g->pad_top || g->pad_left || g->pad_bottom || g->pad_right;
}

/* Whether diff_dst is copied to panels: where a tile could not read whole ones of it, and where its pixels lie so far
 * apart that those of one panel share a few sets of the first-level cache. */
static bool copies_panels(const cnn_conv2d_geometry *g)
{
    enum { FAR_APART = 64 };
    if (cnn_is_depthwise(g)) return false;
    return g->groups > 1 || padded_oc(g) != g->oc || g->oc >= FAR_APART;
}

static ptrdiff_t source_rows(const cnn_conv2d_geometry *g)
{
    return (g->oh - 1) * g->stride_h + g->dilation_h * (g->kh - 1) + 1;
}

static ptrdiff_t source_columns(const cnn_conv2d_geometry *g)
{
    return (g->ow - 1) * g->stride_w + g->dilation_w * (g->kw - 1) + 1;
}

typedef struct scratch {
    ptrdiff_t *offsets;                  /* 3 * samples * OH, and where every channel has a filter of its own KH * KW */
    float *source, *diff, *whole, *bias; /* whole: diff_dst before its pooling */
    size_t bytes;
} scratch;

/* Elements between pixels of the source as the tiles read it. A copy gets a gap where else the pixels that a tile goes
 * through would share a few sets of the first-level cache. */
static ptrdiff_t source_pixel(const cnn_conv2d_geometry *g)
{
    enum { FAR_APART = 128 };
    return is_padded(g) && g->ic % FAR_APART == 0 ? g->ic + CNN_PANEL : g->ic;
}

/* Elements of one sample as the tiles read it. */
static ptrdiff_t source_elements(const cnn_conv2d_geometry *g)
{
    return is_padded(g) ? source_rows(g) * source_columns(g) * source_pixel(g) : g->h * g->w * g->ic;
}

static cut cut_of(const cnn_conv2d_geometry *g, ptrdiff_t batch)
{
    const ptrdiff_t groups = cnn_weight_groups(g);
    cut c = {.panels = cnn_panels(g->oc / groups), .k = g->kh * g->kw * (g->ic / g->groups)};
    c.weights = groups * c.panels * c.k * CNN_PANEL;
    const ptrdiff_t affordable = PART_BYTES / (c.weights * (ptrdiff_t)sizeof(float));
    c.parts = cnn_cuts(cnn_max(1, cnn_min(cnn_min(MOST_PARTS, affordable), batch)));
    const ptrdiff_t fitting = JOINED_BYTES / (source_elements(g) * (ptrdiff_t)sizeof(float));
    c.samples = cnn_min(cnn_max(1, cnn_min(fitting, ENOUGH_PIXELS / (g->oh * g->ow))), cnn_ceil_div(batch, c.parts));
    /* a slice is at least two panels: the widest tile */
    c.slices = cnn_min(cnn_ceil_div(cnn_cuts(ENOUGH_TASKS), c.parts), cnn_ceil_div(c.panels, 2));
    if (cnn_is_depthwise(g)) c.slices = 1;
    return c;
}

static ptrdiff_t diff_elements(const cnn_conv2d_geometry *g) { return g->groups * g->oh * g->ow * padded_oc(g); }

static scratch carve(const cnn_conv2d_geometry *g, ptrdiff_t samples, char *memory)
{
    const ptrdiff_t taps = cnn_is_depthwise(g) ? g->kh * g->kw : 0;
    const size_t offsets = cnn_align((size_t)(3 * samples * g->oh + taps) * sizeof(ptrdiff_t));
    const size_t source = is_padded(g) ? cnn_align((size_t)(samples * source_elements(g)) * sizeof(float)) : 0;
    const size_t diff = copies_panels(g) ? cnn_align((size_t)(samples * diff_elements(g)) * sizeof(float)) : 0;
    const size_t whole = g->pool ? cnn_align((size_t)(samples * g->oh * g->ow * g->oc) * sizeof(float)) : 0;
    const size_t bias = cnn_align((size_t)g->oc * sizeof(float));
    scratch s = {.offsets = (void *)memory, .source = cnn_at(memory, offsets), .bytes = offsets + source};
    s.diff = cnn_at(memory, s.bytes), s.bytes += diff;
    s.whole = cnn_at(memory, s.bytes), s.bytes += whole;
    s.bias = cnn_at(memory, s.bytes), s.bytes += bias;
    return s;
}

static cnn_variant variant_of(const cnn_conv2d_geometry *g)
{
    if (cnn_is_depthwise(g)) return CNN_VARIANT_DEPTHWISE;
    if (cnn_pick_fits(g)) return CNN_VARIANT_PICK;
    return cnn_sparse_weights_fits(g) ? CNN_VARIANT_SPARSE : CNN_VARIANT_USUAL;
}

cnn_blocking cnn_conv2d_backward_weights_blocking(const cnn_geometry *geometry, ptrdiff_t batch)
{
    (void)batch;
    return (cnn_blocking){.variant = variant_of(&geometry->conv2d)};
}

cnn_workspace cnn_conv2d_backward_weights_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    const cnn_conv2d_geometry *g = &geometry->conv2d;
    const cnn_variant variant = variant_of(g);
    if (variant == CNN_VARIANT_PICK) return cnn_pick_workspace(g, batch);
    if (variant == CNN_VARIANT_SPARSE) return cnn_sparse_weights_workspace(g, batch);
    /* a smaller batch has fewer parts, never more */
    const cut c = cut_of(g, batch);
    const size_t weights = cnn_align((size_t)(c.parts * c.weights) * sizeof(float));
    const size_t bias = cnn_align((size_t)(c.parts * g->oc) * sizeof(double));
    return (cnn_workspace){weights + bias, carve(g, c.samples, NULL).bytes};
}

/* The padded source of one sample. */
static void copy_source(const cnn_conv2d_geometry *g, const float *image, float *restrict out)
{
    const cnn_window window = {-g->pad_top, -g->pad_left, source_rows(g), source_columns(g)};
    const ptrdiff_t pixel = source_pixel(g);
    if (pixel == g->ic) {
        cnn_window_copy(out, image, &window, g->h, g->w, g->ic);
        return;
    }
    memset(out, 0, (size_t)source_elements(g) * sizeof *out);
    const ptrdiff_t rows = cnn_min(g->h, window.rows - g->pad_top),
                    columns = cnn_min(g->w, window.columns - g->pad_left);
    for (ptrdiff_t y = 0; y < rows; y++)
        for (ptrdiff_t x = 0; x < columns; x++)
            memcpy(out + ((y + g->pad_top) * window.columns + x + g->pad_left) * pixel, image + (y * g->w + x) * g->ic,
                   (size_t)g->ic * sizeof *out);
}

/* diff_dst of sample n, before pooling. */
static const float *whole_diff(const cnn_call *call, ptrdiff_t n, float *out, const cnn_kernels *kernels)
{
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    const float *diff = call->operands[CNN_conv2d_backward_weights_diff_dst];
    if (!g->pool) return diff + n * g->oh * g->ow * g->oc;
    const uint8_t *argmax = call->operands[CNN_conv2d_backward_weights_argmax];
    const ptrdiff_t row = g->ow * g->oc, sample = n * (g->oh / 2) * (g->ow / 2) * g->oc;
    for (ptrdiff_t y = 0; y < g->oh / 2; y++)
        cnn_unpool_rows(g, out + 2 * y * row, row, diff + sample, argmax + sample, y, kernels);
    if (g->oh % 2) memset(out + (g->oh - 1) * row, 0, (size_t)row * sizeof *out);
    return out;
}

/* diff_dst of one sample in panels [groups][OCg/16][OH*OW][16], unless it is read as it lies. */
static const float *panels_of_diff(const cnn_conv2d_geometry *g, const float *diff, float *restrict out,
                                   const cnn_kernels *kernels)
{
    const ptrdiff_t group_oc = g->oc / g->groups, padded = padded_oc(g), pixels = g->oh * g->ow;
    if (!copies_panels(g)) return diff;
    for (ptrdiff_t group = 0; group < g->groups; group++)
        kernels->pack_rows(out + group * pixels * padded, diff + group * group_oc, pixels, group_oc, CNN_PANEL, g->oc,
                           1.0f);
    return out;
}

/* Rows of the gradient that are summed up before they are added to memory. */
static ptrdiff_t chain_rows(const cnn_conv2d_geometry *g)
{
    const ptrdiff_t pixels = cnn_min(CHAIN, CHAIN_BYTES / (padded_oc(g) * (ptrdiff_t)sizeof(float)));
    return cnn_max(1, pixels / g->ow);
}

/* Add the products of `samples` joined samples to the panels [first, last) of one group. What is copied next, `next` if it
 * is not NULL, is fetched meanwhile. */
static void add_samples(const cnn_conv2d_geometry *g, const cut *c, const scratch *memory, ptrdiff_t samples,
                        const float *source, const float *diff, const float *next, float *sums, ptrdiff_t group,
                        ptrdiff_t first, ptrdiff_t last, bool accumulate, const cnn_kernels *kernels)
{
    const ptrdiff_t columns = is_padded(g) ? source_columns(g) : g->w, rows = samples * g->oh;
    const ptrdiff_t group_ic = g->ic / g->groups, padded = padded_oc(g), map = g->oh * g->ow;
    const bool packed = copies_panels(g);
    const ptrdiff_t diff_pixel = packed ? CNN_PANEL : padded, diff_panel = packed ? map * CNN_PANEL : CNN_PANEL;
    const ptrdiff_t pixel = source_pixel(g);
    /* taps of one kernel row lie side by side unless dilation, groups or a gap pull them apart */
    const bool whole_rows = g->groups == 1 && pixel == g->ic && (g->dilation_w == 1 || g->kw == 1);
    const ptrdiff_t runs = whole_rows ? g->kh : g->kh * g->kw, length = whole_rows ? g->kw * group_ic : group_ic;
    const ptrdiff_t products = cnn_ceil_div(last - first, kernels->tile_groups) * runs;
    const ptrdiff_t lines = samples * g->h * g->w * g->ic / CNN_PANEL / (products * rows);
    for (ptrdiff_t row = 0; row < rows; row++) {
        const ptrdiff_t n = row / g->oh, y = row % g->oh;
        memory->offsets[row] = n * source_elements(g) + y * g->stride_h * columns * pixel;
        memory->offsets[rows + row] = n * diff_elements(g) + y * g->ow * diff_pixel;
        memory->offsets[2 * rows + row] = row * lines * CNN_PANEL;
    }
    cnn_tile tile = {.a_row = 1,
                     .a_k = g->stride_w * pixel,
                     .b_k = diff_pixel,
                     .b_group = diff_panel,
                     .c_row = CNN_PANEL,
                     .c_group = c->k * CNN_PANEL,
                     .k = g->ow,
                     .fetch_lines = (int)lines,
                     .rows = length};
    ptrdiff_t product = 0;
    const ptrdiff_t chain = chain_rows(g);
    for (ptrdiff_t panel = first; panel < last; panel += kernels->tile_groups) {
        tile.b = diff + group * map * padded + panel * diff_panel;
        tile.columns = (int)cnn_min(kernels->tile_groups, last - panel) * CNN_PANEL;
        for (ptrdiff_t top = 0; top < rows; top += chain) {
            tile.segments = cnn_min(chain, rows - top);
            tile.a_offset = memory->offsets + top;
            tile.b_offset = memory->offsets + rows + top;
            tile.fetch_offset = memory->offsets + 2 * rows + top;
            tile.accumulate = accumulate || top > 0;
            for (ptrdiff_t run = 0; run < runs; run++) {
                const ptrdiff_t y = whole_rows ? run : run / g->kw, x = whole_rows ? 0 : run % g->kw;
                const float *at = source + (y * g->dilation_h * columns + x * g->dilation_w) * pixel + group * group_ic;
                tile.a = at;
                tile.fetch = next ? next + (product + run) * rows * lines * CNN_PANEL : NULL;
                tile.c = sums + ((group * c->panels + panel) * c->k + run * length) * CNN_PANEL;
                kernels->gemm_tile(&tile);
            }
        }
        product += runs;
    }
}

/* The same for all channels at once, where each has one filter of its own. */
static void add_samples_depthwise(const cnn_conv2d_geometry *g, const scratch *memory, ptrdiff_t samples,
                                  const float *source, const float *diff, float *sums, bool accumulate,
                                  const cnn_kernels *kernels)
{
    const ptrdiff_t columns = is_padded(g) ? source_columns(g) : g->w, rows = samples * g->oh, pixel = source_pixel(g);
    ptrdiff_t *const src_row = memory->offsets, *const diff_row = src_row + rows, *const taps = diff_row + rows;
    for (ptrdiff_t row = 0; row < rows; row++) {
        src_row[row] = row / g->oh * source_elements(g) + row % g->oh * g->stride_h * columns * pixel;
        diff_row[row] = row * g->ow * g->oc;
    }
    for (ptrdiff_t y = 0; y < g->kh; y++)
        for (ptrdiff_t x = 0; x < g->kw; x++)
            taps[y * g->kw + x] = (y * g->dilation_h * columns + x * g->dilation_w) * pixel;
    const ptrdiff_t chain = chain_rows(g);
    for (ptrdiff_t top = 0; top < rows; top += chain)
        kernels->depthwise_sums(&(cnn_depthwise_sums){.sums = sums,
                                                      .src = source,
                                                      .diff = diff,
                                                      .src_row = src_row + top,
                                                      .diff_row = diff_row + top,
                                                      .src_offset = taps,
                                                      .taps = g->kh * g->kw,
                                                      .rows = cnn_min(chain, rows - top),
                                                      .pixels = g->ow,
                                                      .channels = g->oc,
                                                      .src_pixel = g->stride_w * pixel,
                                                      .diff_pixel = g->oc,
                                                      .accumulate = accumulate || top > 0});
}

static void add_bias(const cnn_conv2d_geometry *g, const scratch *memory, const float *diff, double *sums,
                     const cnn_kernels *kernels)
{
    for (ptrdiff_t y = 0; y < g->oh; y++) {
        memset(memory->bias, 0, (size_t)g->oc * sizeof *memory->bias);
        kernels->add_rows(memory->bias, diff + y * g->ow * g->oc, g->ow, g->oc, g->oc);
        for (ptrdiff_t o = 0; o < g->oc; o++) sums[o] += (double)memory->bias[o];
    }
}

/* Whether the source of the next samples is fetched before it is copied: cold as a rule, since it was last used in the
 * forward pass. */
static bool is_fetched(const cnn_call *call, ptrdiff_t samples)
{
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    const ptrdiff_t bytes = samples * g->h * g->w * g->ic * (ptrdiff_t)sizeof(float);
    return cnn_is_cold(call, CNN_conv2d_backward_weights_src) && is_padded(g) && bytes <= CNN_FETCHED_AHEAD;
}

void cnn_conv2d_backward_weights(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    const float *src = call->operands[CNN_conv2d_backward_weights_src];
    assert(g->groups >= 1 && g->ic % g->groups == 0 && g->oc % g->groups == 0 &&
           !g->pool == !call->operands[CNN_conv2d_backward_weights_argmax]);

    const cnn_variant variant = variant_of(g);
    if (variant == CNN_VARIANT_PICK) {
        cnn_pick_weights(call, worker);
        return;
    }
    if (variant == CNN_VARIANT_SPARSE) {
        cnn_sparse_weights(call, worker);
        return;
    }
    const cut c = cut_of(g, call->batch);
    const scratch memory = carve(g, c.samples, worker->scratch);
    float *weights = worker->shared;
    double *bias = (void *)((char *)worker->shared + cnn_align((size_t)(c.parts * c.weights) * sizeof(float)));
    const bool padded = is_padded(g), depthwise = variant == CNN_VARIANT_DEPTHWISE;

    ptrdiff_t first, last;
    cnn_share(worker, c.parts * c.slices, &first, &last);
    /* with one slice a part's samples follow those of the part before */
    const ptrdiff_t following = c.slices == 1 ? cnn_part(call->batch, c.parts, last) : 0;
    for (ptrdiff_t task = first, slices; task < last; task += slices) {
        /* all slices of a part that are this worker's: their samples are copied once */
        const ptrdiff_t part = task / c.slices, slice = task % c.slices;
        slices = cnn_min(c.slices - slice, last - task);
        /* slices are cut between pairs of panels */
        const ptrdiff_t pairs = cnn_ceil_div(c.panels, 2);
        const ptrdiff_t panel = 2 * cnn_part(pairs, c.slices, slice);
        const ptrdiff_t panel_end = cnn_min(c.panels, 2 * cnn_part(pairs, c.slices, slice + slices));
        const ptrdiff_t begin = cnn_part(call->batch, c.parts, part), end = cnn_part(call->batch, c.parts, part + 1);
        float *sums = weights + part * c.weights;
        double *bias_sums = bias + part * g->oc;
        if (slice == 0) memset(bias_sums, 0, (size_t)g->oc * sizeof *bias_sums);
        for (ptrdiff_t n = begin; n < end; n += c.samples) {
            const ptrdiff_t samples = cnn_min(c.samples, end - n);
            const float *source = padded ? memory.source : src + n * source_elements(g);
            const float *panels = NULL;
            const bool fetches = is_fetched(call, samples) && n + 2 * samples <= cnn_max(end, following);
            const float *next = fetches ? src + (n + samples) * g->h * g->w * g->ic : NULL;
            for (ptrdiff_t i = 0; i < samples; i++) {
                const float *image = src + (n + i) * g->h * g->w * g->ic;
                float *whole = cnn_at(memory.whole, (size_t)(i * g->oh * g->ow * g->oc) * sizeof *whole);
                const float *diff = whole_diff(call, n + i, whole, worker->kernels);
                if (padded) copy_source(g, image, memory.source + i * source_elements(g));
                const float *sample = panels_of_diff(g, diff, memory.diff + i * diff_elements(g), worker->kernels);
                if (i == 0) panels = sample;
                if (slice == 0 && call->operands[CNN_conv2d_backward_weights_diff_bias])
                    add_bias(g, &memory, diff, bias_sums, worker->kernels);
            }
            if (depthwise) {
                add_samples_depthwise(g, &memory, samples, source, panels, sums, n > begin, worker->kernels);
                continue;
            }
            for (ptrdiff_t group = 0; group < g->groups; group++)
                add_samples(g, &c, &memory, samples, source, panels, group == 0 ? next : NULL, sums, group, panel,
                            panel_end, n > begin, worker->kernels);
        }
    }
    cnn_barrier(worker);
    float *diff_weights = call->operands[CNN_conv2d_backward_weights_diff_weights];
    cnn_parts_add(&(cnn_parts){c.parts, c.weights, g->oc, weights, bias}, diff_weights,
                  call->operands[CNN_conv2d_backward_weights_diff_bias], g->oc, worker);
}
