/* Filters for Winograd convolution: U = G g G^T of every pair of an output and an input channel. */
#include "blocking.h"
#include "ops/winograd.h"

cnn_blocking cnn_winograd_filter_blocking(const cnn_geometry *geometry, ptrdiff_t batch)
{
    (void)geometry, (void)batch;
    return (cnn_blocking){.filter_columns = WINOGRAD_COLUMNS};
}

/* Where the panel of transformed filters of `k` rows starts, and its stride from position to position. */
static float *panel_start(float *dst, ptrdiff_t columns, ptrdiff_t panel, ptrdiff_t k, ptrdiff_t positions,
                          ptrdiff_t *stride)
{
    const ptrdiff_t pair = panel / WINOGRAD_PAIR;
    *stride = cnn_winograd_panels_of(columns, pair) * k * CNN_PANEL;
    return dst + (pair * WINOGRAD_PAIR * positions + panel % WINOGRAD_PAIR) * k * CNN_PANEL;
}

/* Tasks are panels of columns by blocks of 16 rows. */
void cnn_winograd_filter(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    const ptrdiff_t taps = g->kh * g->kw, alpha = cnn_winograd_alpha(g), blocks = cnn_panels(g->ic);
    const float *weights = call->operands[CNN_winograd_filter_weights];
    ptrdiff_t first, last;
    cnn_share(worker, cnn_panels(g->oc) * blocks, &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const ptrdiff_t panel = task / blocks, row = task % blocks * CNN_PANEL;
        cnn_winograd_filters filters = {.src = weights + (panel * taps * g->ic + row) * CNN_PANEL,
                                        .rows = cnn_min(CNN_PANEL, g->ic - row),
                                        .src_row = CNN_PANEL,
                                        .dst_row = CNN_PANEL,
                                        .taps = g->ic * CNN_PANEL,
                                        .tile = (int)g->tile,
                                        .kernel = (int)g->kh};
        filters.dst = panel_start(call->operands[CNN_winograd_filter_dst], g->oc, panel, g->ic, alpha * alpha,
                                  &filters.positions) +
                      row * CNN_PANEL;
        worker->kernels->winograd_filter(&filters);
    }
}

/* The gradient runs over rotated kernels with input and output channels swapped: blocks of 16 x 16 channels are turned
 * round into scratch, [taps][16 output channels][16 input channels], and read from the last tap to the first. */
cnn_workspace cnn_winograd_filter_backward_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    (void)batch;
    const cnn_conv2d_geometry *g = &geometry->conv2d;
    return (cnn_workspace){0, (size_t)(g->kh * g->kw * CNN_PANEL * CNN_PANEL) * sizeof(float)};
}

void cnn_winograd_filter_backward(const cnn_call *call, const cnn_worker *worker)
{
    enum { BLOCK = CNN_PANEL * CNN_PANEL };
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    const ptrdiff_t taps = g->kh * g->kw, alpha = cnn_winograd_alpha(g), blocks = cnn_panels(g->oc);
    const float *weights = call->operands[CNN_winograd_filter_backward_weights];
    float *turned = worker->scratch;
    ptrdiff_t first, last;
    cnn_share(worker, cnn_panels(g->ic) * blocks, &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const ptrdiff_t panel = task / blocks, block = task % blocks, row = block * CNN_PANEL;
        const ptrdiff_t channels = cnn_min(CNN_PANEL, g->ic - panel * CNN_PANEL);
        if (channels < CNN_PANEL) memset(turned, 0, (size_t)(taps * BLOCK) * sizeof *turned);
        for (ptrdiff_t tap = 0; tap < taps; tap++)
            worker->kernels->transpose(turned + tap * BLOCK,
                                       weights + ((block * taps + tap) * g->ic + panel * CNN_PANEL) * CNN_PANEL,
                                       channels, CNN_PANEL, CNN_PANEL, CNN_PANEL);
        cnn_winograd_filters filters = {.src = turned + (taps - 1) * BLOCK,
                                        .rows = cnn_min(CNN_PANEL, g->oc - row),
                                        .src_row = CNN_PANEL,
                                        .dst_row = CNN_PANEL,
                                        .taps = -BLOCK,
                                        .tile = (int)g->tile,
                                        .kernel = (int)g->kh};
        filters.dst = panel_start(call->operands[CNN_winograd_filter_backward_dst], g->ic, panel, g->oc, alpha * alpha,
                                  &filters.positions) +
                      row * CNN_PANEL;
        worker->kernels->winograd_filter(&filters);
    }
}
