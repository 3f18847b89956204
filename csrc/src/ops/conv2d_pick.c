/* Gradient of a convolution by its weights from the gradient of its fused 2x2 pooling, for few input channels.
 *
 * Under a window of the pooling only the maximum has a gradient. Its place differs from one output channel to the next,
 * but all their places lie in the same few source pixels: with channels as lanes each picks its own, and a window costs
 * one product per weight, instead of four. For that the source is laid out as quads, the four pixels of a window side by
 * side.
 */
#include "ops/conv2d_sparse.h"
#include "ops/parts.h"
#include "ops/pixels.h"

enum { MOST_PARTS = 16, PART_BYTES = 4 << 20, ENOUGH_TASKS = 16, MOST_CHANNELS = 8 };

static ptrdiff_t weights_of_panel(const cnn_conv2d_geometry *g) { return g->kh * g->kw * g->ic * CNN_PANEL; }

/* Against lists, in cycles per window: a product each, or for each channel its list and a product per row and vector. */
bool cnn_pick_fits(const cnn_conv2d_geometry *g)
{
    enum { MAKING_A_LIST = 6 };
    return cnn_sparse_weights_fits(g) && g->stride_h == 1 && g->stride_w == 1 && g->dilation_h == 1 &&
           g->dilation_w == 1 && g->ic <= MOST_CHANNELS &&
           g->kh * g->kw * g->ic * cnn_panels(g->oc) <= g->oc * (g->kh * cnn_panels(g->kw * g->ic) / 2 + MAKING_A_LIST);
}

/* How the work is cut, by shape and batch only. */
typedef struct cut {
    ptrdiff_t parts, slices; /* of the batch, of the panels */
    ptrdiff_t weights;       /* elements of one part's sums, laid out as the weights */
    ptrdiff_t totals;        /* of one part */
    ptrdiff_t rows, image_w; /* of a sample with its padding */
} cut;

static cut cut_of(const cnn_conv2d_geometry *g, ptrdiff_t batch)
{
    const ptrdiff_t panels = cnn_panels(g->oc);
    cut c = {.weights = panels * weights_of_panel(g), .totals = panels * CNN_PANEL};
    const ptrdiff_t affordable = PART_BYTES / (c.weights * (ptrdiff_t)sizeof(float));
    c.parts = cnn_cuts(cnn_max(1, cnn_min(cnn_min(MOST_PARTS, affordable), batch)));
    c.slices = cnn_min(cnn_ceil_div(cnn_cuts(ENOUGH_TASKS), c.parts), panels);
    c.rows = g->oh + g->kh - 1, c.image_w = g->ow + g->kw - 1;
    return c;
}

static size_t image_bytes(const cnn_conv2d_geometry *g, const cut *c)
{
    return cnn_align((size_t)(c->rows * c->image_w * g->ic) * sizeof(float));
}

cnn_workspace cnn_pick_workspace(const cnn_conv2d_geometry *g, ptrdiff_t batch)
{
    /* a smaller batch has fewer parts */
    const cut c = cut_of(g, batch);
    const size_t sums = cnn_align((size_t)(c.parts * c.weights) * sizeof(float));
    return (cnn_workspace){sums + cnn_align((size_t)(c.parts * c.totals) * sizeof(double)), 5 * image_bytes(g, &c)};
}

static void add_sample(const cnn_call *call, const cut *c, float *image, ptrdiff_t n, ptrdiff_t first, ptrdiff_t last,
                       float *sums, double *totals, const cnn_kernels *kernels)
{
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    const float *src = call->operands[CNN_conv2d_backward_weights_src],
                *diff = call->operands[CNN_conv2d_backward_weights_diff_dst];
    const uint8_t *argmax = call->operands[CNN_conv2d_backward_weights_argmax];
    const cnn_window window = {-g->pad_top, -g->pad_left, c->rows, c->image_w};
    const ptrdiff_t height = g->oh / 2, width = g->ow / 2, line = c->image_w * g->ic;
    float *quads = cnn_at(image, image_bytes(g, c));
    cnn_window_copy(image, src + n * g->h * g->w * g->ic, &window, g->h, g->w, g->ic);
    for (ptrdiff_t y = 0; y + 1 < c->rows; y++)
        kernels->quads(quads + 4 * y * line, image + y * line, image + (y + 1) * line, line - g->ic, g->ic);
    for (ptrdiff_t y = 0; y < height; y++)
        for (ptrdiff_t panel = first; panel < last; panel++) {
            const ptrdiff_t at = (n * height + y) * width * g->oc + panel * CNN_PANEL;
            float lanes[CNN_PANEL] = {0};
            kernels->pick(&(cnn_pick){.quads = quads + 8 * y * line,
                                      .diff = diff + at,
                                      .argmax = argmax + at,
                                      .sums = sums + panel * weights_of_panel(g),
                                      .totals = lanes,
                                      .pixels = width,
                                      .channels = g->ic,
                                      .kh = g->kh,
                                      .kw = g->kw,
                                      .src_row = line,
                                      .diff_pixel = g->oc,
                                      .columns = cnn_min(CNN_PANEL, g->oc - panel * CNN_PANEL)});
            for (ptrdiff_t i = 0; i < CNN_PANEL; i++) totals[panel * CNN_PANEL + i] += (double)lanes[i];
        }
}

void cnn_pick_weights(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    const cut c = cut_of(g, call->batch);
    const ptrdiff_t panels = cnn_panels(g->oc);
    float *sums = worker->shared;
    double *totals = cnn_at(sums, cnn_align((size_t)(c.parts * c.weights) * sizeof(float)));
    float *image = worker->scratch;
    ptrdiff_t first, last;
    cnn_share(worker, c.parts * c.slices, &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const ptrdiff_t part = task / c.slices, slice = task % c.slices;
        const ptrdiff_t panel = cnn_part(panels, c.slices, slice), end = cnn_part(panels, c.slices, slice + 1);
        float *part_sums = sums + part * c.weights;
        double *part_totals = totals + part * c.totals;
        const ptrdiff_t weights = weights_of_panel(g);
        memset(part_sums + panel * weights, 0, (size_t)((end - panel) * weights) * sizeof *sums);
        memset(part_totals + panel * CNN_PANEL, 0, (size_t)((end - panel) * CNN_PANEL) * sizeof *totals);
        for (ptrdiff_t n = cnn_part(call->batch, c.parts, part); n < cnn_part(call->batch, c.parts, part + 1); n++)
            add_sample(call, &c, image, n, panel, end, part_sums, part_totals, worker->kernels);
    }
    cnn_barrier(worker);
    cnn_parts_add(&(cnn_parts){c.parts, c.weights, c.totals, sums, totals},
                  call->operands[CNN_conv2d_backward_weights_diff_weights],
                  call->operands[CNN_conv2d_backward_weights_diff_bias], g->oc, worker);
}
