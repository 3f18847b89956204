/* Fully connected layers. Weights stay packed in panels [N/16][K][16] across steps: no call packs them again. */
#include "blocking.h"
#include "ops/pixels.h"
#include "ops/product.h"

static const ptrdiff_t no_offset[1] = {0};

/* ---- forward: dst (M x N) = act(src (M x K) * weights (K x N) + bias) ------------------------------------------ */

cnn_workspace cnn_linear_forward_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    (void)batch;
    return (cnn_workspace){0, cnn_product_scratch(geometry->linear.k)};
}

cnn_blocking cnn_linear_forward_blocking(const cnn_geometry *geometry, ptrdiff_t batch)
{
    (void)geometry;
    return (cnn_blocking){.variant = cnn_product_variant(batch)};
}

void cnn_linear_forward(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_linear_geometry *g = &call->geometry->linear;
    cnn_product_run(&(cnn_product){.dst = call->operands[CNN_linear_forward_dst],
                                   .src = call->operands[CNN_linear_forward_src],
                                   .weights = call->operands[CNN_linear_forward_weights],
                                   .bias = call->operands[CNN_linear_forward_bias],
                                   .m = call->batch,
                                   .k = g->k,
                                   .n = g->n,
                                   .activation = (cnn_activation)g->activation},
                    worker);
}

/* ---- gradient by the source: diff_src (M x K) = diff_dst (M x N) * weights^T ------------------------------------- */

/* Vectorised over the batch: tiles of the transpose, diff_src^T = weights * diff_dst^T. The rows of A are then k,
 * straight from the panels, and B is diff_dst in panels of 16 samples, [ceil(M/16)][N padded][16].
 *
 * A tile's weights are a few lines of each panel, far apart: no hardware prefetcher follows, and where K is a power of
 * two all of them share some cache sets. So they are fetched ahead, and a few panels serve the whole batch before the
 * next ones are read. */
enum {
    DEPTH = 32, /* panels */
    AHEAD = 3,  /* panels */
    GROUP = 4,  /* tiles that are turned round together: whole vectors of k, whatever the rows of a tile */
};

static ptrdiff_t padded(ptrdiff_t n) { return cnn_panels(n) * CNN_PANEL; }

cnn_workspace cnn_linear_backward_data_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    const cnn_linear_geometry *g = &geometry->linear;
    enum { MOST_ROWS = 32 };
    const size_t offsets = cnn_align((size_t)(2 * cnn_panels(g->n) + AHEAD) * sizeof(ptrdiff_t));
    return (cnn_workspace){(size_t)(padded(batch) * padded(g->n)) * sizeof(float),
                           offsets + (size_t)(GROUP * MOST_ROWS * padded(batch)) * sizeof(float)};
}

/* Panels of samples: out[m/16][n][m%16], zero outside. */
static void pack_samples(const cnn_linear_geometry *g, ptrdiff_t batch, const float *diff_dst, float *out,
                         const cnn_worker *worker)
{
    const ptrdiff_t blocks = cnn_panels(g->n);
    ptrdiff_t first, last;
    cnn_share(worker, cnn_panels(batch) * blocks, &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const ptrdiff_t m = task / blocks * CNN_PANEL, n = task % blocks * CNN_PANEL;
        const ptrdiff_t rows = cnn_min(CNN_PANEL, batch - m), columns = cnn_min(CNN_PANEL, g->n - n);
        float *to = out + task * CNN_PANEL * CNN_PANEL;
        worker->kernels->pack_columns(to, diff_dst + m * g->n + n, rows, columns, CNN_PANEL, g->n, 1.0f);
        memset(to + columns * CNN_PANEL, 0, (size_t)((CNN_PANEL - columns) * CNN_PANEL) * sizeof *to);
    }
}

/* Rows [k, k + rows) of diff_src^T, [rows][batch padded]. a_offset holds AHEAD more than there are panels. */
static void multiply_samples(const cnn_linear_geometry *g, cnn_tile tile, const float *samples, float *out,
                             ptrdiff_t batch, const cnn_kernels *kernels)
{
    const ptrdiff_t panels = cnn_panels(g->n), width = kernels->tile_groups * CNN_PANEL;
    const ptrdiff_t *a_offset = tile.a_offset, *b_offset = tile.b_offset;
    tile.fetch = tile.a;
    tile.fetch_lines = (int)tile.rows;
    for (ptrdiff_t panel = 0; panel < panels; panel += DEPTH) {
        tile.segments = cnn_min(DEPTH, panels - panel);
        tile.accumulate = panel > 0;
        tile.a_offset = a_offset + panel;
        tile.b_offset = b_offset + panel;
        tile.fetch_offset = a_offset + panel + AHEAD;
        for (ptrdiff_t m = 0; m < padded(batch); m += width) {
            tile.b = samples + m * padded(g->n);
            tile.c = out + m;
            tile.columns = (int)cnn_min(width, padded(batch) - m);
            kernels->gemm_tile(&tile);
        }
    }
}

void cnn_linear_backward_data(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_linear_geometry *g = &call->geometry->linear;
    float *diff_src = call->operands[CNN_linear_backward_data_diff_src], *samples = worker->shared;
    const float *weights = call->operands[CNN_linear_backward_data_weights],
                *mask = call->operands[CNN_linear_backward_data_mask];
    const cnn_kernels *kernels = worker->kernels;
    const ptrdiff_t panels = cnn_panels(g->n), batch = padded(call->batch);

    pack_samples(g, call->batch, call->operands[CNN_linear_backward_data_diff_dst], samples, worker);
    cnn_barrier(worker);

    ptrdiff_t *a_offset = worker->scratch, *b_offset = a_offset + panels + AHEAD;
    float *buffer = (void *)((char *)worker->scratch + cnn_align((size_t)(2 * panels + AHEAD) * sizeof(ptrdiff_t)));
    for (ptrdiff_t s = 0; s < panels; s++) {
        a_offset[s] = s * g->k * CNN_PANEL;
        b_offset[s] = s * CNN_PANEL * CNN_PANEL;
    }
    const ptrdiff_t tiles = cnn_ceil_div(g->k, kernels->tile_rows);
    cnn_tile tile = {.a_row = CNN_PANEL,
                     .a_k = 1,
                     .b_k = CNN_PANEL,
                     .b_group = padded(g->n) * CNN_PANEL,
                     .c_row = batch,
                     .c_group = CNN_PANEL,
                     .k = CNN_PANEL,
                     .a_offset = a_offset,
                     .b_offset = b_offset};
    ptrdiff_t first, last;
    cnn_share(worker, tiles, &first, &last);
    for (ptrdiff_t group = first; group < last; group += GROUP) {
        const ptrdiff_t end = cnn_min(group + GROUP, last), low = cnn_part(g->k, tiles, group);
        for (ptrdiff_t t = group; t < end; t++) {
            const ptrdiff_t k = cnn_part(g->k, tiles, t);
            tile.a = weights + k * CNN_PANEL;
            tile.rows = cnn_part(g->k, tiles, t + 1) - k;
            for (ptrdiff_t s = 0; s < AHEAD; s++) a_offset[panels + s] = a_offset[s % panels] + tile.rows * CNN_PANEL;
            multiply_samples(g, tile, samples, buffer + (k - low) * batch, call->batch, kernels);
        }
        kernels->transpose_masked(diff_src + low, buffer, mask ? mask + low : NULL, cnn_part(g->k, tiles, end) - low,
                                  call->batch, g->k, batch);
    }
}

/* ---- gradient by the weights: diff_weights (K x N, panels) = src^T * diff_dst ------------------------------------- */

enum { SLAB = 8 }; /* tiles of k per task: src is packed once for all panels */

cnn_workspace cnn_linear_backward_weights_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    const cnn_linear_geometry *g = &geometry->linear;
    enum { MOST_ROWS = 32 };
    return (cnn_workspace){(size_t)(batch * padded(g->n)) * sizeof(float),
                           (size_t)(SLAB * MOST_ROWS * batch) * sizeof(float)};
}

/* diff_dst in panels [ceil(N/16)][M][16] and, from one worker, the gradient of the bias. */
static void pack_diff(const cnn_call *call, float *restrict out, const cnn_worker *worker)
{
    enum { TOGETHER = 4 }; /* panels: rows of diff_dst a power of two apart share one cache set */
    const cnn_linear_geometry *g = &call->geometry->linear;
    float *diff_bias = call->operands[CNN_linear_backward_weights_diff_bias];
    const float *diff_dst = call->operands[CNN_linear_backward_weights_diff_dst];
    ptrdiff_t first, last;
    cnn_share(worker, cnn_panels(g->n), &first, &last);
    for (ptrdiff_t group = first; group < last; group += TOGETHER) {
        const ptrdiff_t end = cnn_min(group + TOGETHER, last), column = group * CNN_PANEL;
        worker->kernels->pack_rows(out + column * call->batch, diff_dst + column, call->batch,
                                   cnn_min(end * CNN_PANEL, g->n) - column, CNN_PANEL, g->n, 1.0f);
        for (ptrdiff_t panel = group; diff_bias && panel < end; panel++) {
            const float *from = out + panel * call->batch * CNN_PANEL;
            double sums[CNN_PANEL] = {0};
            for (ptrdiff_t m = 0; m < call->batch; m++, from += CNN_PANEL)
                for (ptrdiff_t i = 0; i < CNN_PANEL; i++) sums[i] += (double)from[i];
            for (ptrdiff_t i = 0; i < cnn_min(CNN_PANEL, g->n - panel * CNN_PANEL); i++)
                diff_bias[panel * CNN_PANEL + i] = (float)sums[i];
        }
    }
}

void cnn_linear_backward_weights(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_linear_geometry *g = &call->geometry->linear;
    float *diff_weights = call->operands[CNN_linear_backward_weights_diff_weights], *diff = worker->shared,
          *slab = worker->scratch;
    const float *src = call->operands[CNN_linear_backward_weights_src];
    const cnn_kernels *kernels = worker->kernels;
    const ptrdiff_t batch = call->batch;

    pack_diff(call, diff, worker);
    cnn_barrier(worker);

    const ptrdiff_t tiles = cnn_ceil_div(g->k, kernels->tile_rows), slabs = cnn_ceil_div(tiles, SLAB);
    const ptrdiff_t width = kernels->tile_groups * CNN_PANEL, columns = padded(g->n);
    cnn_tile tile = {.a_row = 1,
                     .b_k = CNN_PANEL,
                     .b_group = batch * CNN_PANEL,
                     .c_row = CNN_PANEL,
                     .c_group = g->k * CNN_PANEL,
                     .segments = 1,
                     .k = batch,
                     .a_offset = no_offset,
                     .b_offset = no_offset};
    ptrdiff_t first, last;
    cnn_share(worker, slabs, &first, &last);
    for (ptrdiff_t s = first; s < last; s++) {
        const ptrdiff_t begin = cnn_part(tiles, slabs, s), end = cnn_part(tiles, slabs, s + 1);
        const ptrdiff_t low = cnn_part(g->k, tiles, begin), high = cnn_part(g->k, tiles, end);
        /* a copy of these columns of src, close together: rows of src a power of two apart share one cache set */
        for (ptrdiff_t m = 0; m < batch; m++)
            memcpy(slab + m * (high - low), src + m * g->k + low, (size_t)(high - low) * sizeof *slab);
        tile.a_k = high - low;
        for (ptrdiff_t column = 0; column < columns; column += width) {
            tile.b = diff + column * batch;
            tile.columns = (int)cnn_min(width, columns - column);
            tile.a = slab;
            tile.c = diff_weights + (column * g->k + low * CNN_PANEL);
            tile.rows = high - low;
            kernels->gemm_tile(&tile);
        }
    }
}
