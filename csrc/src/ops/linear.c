/* Fully connected layers. Weights stay packed in panels [N/16][K][16] across steps: no call packs them again. */
#include "ops/pixels.h"

static const ptrdiff_t no_offset[1] = {0};

/* ---- forward: dst (M x N) = act(src (M x K) * weights (K x N) + bias) ------------------------------------------ */

cnn_workspace cnn_linear_forward_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    return cnn_no_workspace(geometry, batch);
}

/* A batch of one or two is a pass over the weights. Whichever panels a worker reads, the bits are those of a tile. */
static void forward_few(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_linear_geometry *g = &call->geometry->linear;
    cnn_few_rows product = {.dst = call->operands[0],
                            .src = call->operands[1],
                            .weights = call->operands[2],
                            .bias = call->operands[3],
                            .k = g->k,
                            .n = g->n,
                            .rows = (int)call->batch,
                            .relu = g->activation == CNN_ACTIVATION_RELU};
    cnn_share(worker, cnn_panels(g->n), &product.first, &product.last);
    worker->kernels->few_rows(&product);
}

void cnn_linear_forward(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_linear_geometry *g = &call->geometry->linear;
    float *dst = call->operands[0];
    const float *src = call->operands[1], *weights = call->operands[2], *bias = call->operands[3];
    assert(g->k >= 1 && g->n >= 1);
    if (call->batch <= 2) {
        forward_few(call, worker);
        return;
    }

    /* tasks: pairs of panels by blocks of rows; a task's panels stay in cache over its rows */
    enum { ROWS = 64 };
    const ptrdiff_t pairs = cnn_ceil_div(g->n, 2 * CNN_PANEL), blocks = cnn_ceil_div(call->batch, ROWS);
    ptrdiff_t first, last;
    cnn_share(worker, pairs * blocks, &first, &last);
    const cnn_taps taps = {1, g->k, (ptrdiff_t *)no_offset, (ptrdiff_t *)no_offset};
    for (ptrdiff_t task = first; task < last; task++) {
        const ptrdiff_t column = task / blocks * 2 * CNN_PANEL;
        const ptrdiff_t m = cnn_part(call->batch, blocks, task % blocks);
        const cnn_pixel_row row = {.dst = dst + m * g->n + column,
                                   .src = src + m * g->k,
                                   .weights = weights + column * g->k,
                                   .bias = bias ? bias + column : NULL,
                                   .pixels = cnn_part(call->batch, blocks, task % blocks + 1) - m,
                                   .src_pixel = g->k,
                                   .dst_pixel = g->n,
                                   .columns = cnn_min(2 * CNN_PANEL, g->n - column),
                                   .panel = g->k * CNN_PANEL,
                                   .relu = g->activation == CNN_ACTIVATION_RELU};
        cnn_pixel_row_run(&row, &taps, worker->kernels);
    }
}

/* ---- gradient by the source: diff_src (M x K) = diff_dst (M x N) * weights^T ------------------------------------- */

/* Vectorised over the batch: tiles of the transpose, diff_src^T = weights * diff_dst^T. The rows of A are then k,
 * straight from the panels, and B is diff_dst in panels of 16 samples, [ceil(M/16)][N padded][16]. */

static ptrdiff_t padded(ptrdiff_t n) { return cnn_panels(n) * CNN_PANEL; }

cnn_workspace cnn_linear_backward_data_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    const cnn_linear_geometry *g = &geometry->linear;
    enum { LARGEST_TILE = 32 * 32 };
    const size_t offsets = cnn_align((size_t)(2 * cnn_panels(g->n)) * sizeof(ptrdiff_t));
    return (cnn_workspace){(size_t)(padded(batch) * padded(g->n)) * sizeof(float),
                           offsets + LARGEST_TILE * sizeof(float)};
}

/* Panels of samples: out[m/16][n][m%16], zero outside. */
static void pack_samples(const cnn_linear_geometry *g, ptrdiff_t batch, const float *restrict diff_dst,
                         float *restrict out, const cnn_worker *worker)
{
    const ptrdiff_t rows = padded(g->n);
    ptrdiff_t first, last;
    cnn_share(worker, cnn_panels(batch) * cnn_panels(g->n), &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const ptrdiff_t panel = task / cnn_panels(g->n), top = task % cnn_panels(g->n) * CNN_PANEL;
        for (ptrdiff_t n = top; n < top + CNN_PANEL; n++)
            for (ptrdiff_t i = 0; i < CNN_PANEL; i++) {
                const ptrdiff_t m = panel * CNN_PANEL + i;
                out[(panel * rows + n) * CNN_PANEL + i] = m < batch && n < g->n ? diff_dst[m * g->n + n] : 0.0f;
            }
    }
}

void cnn_linear_backward_data(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_linear_geometry *g = &call->geometry->linear;
    float *diff_src = call->operands[0], *samples = worker->shared;
    const float *weights = call->operands[2], *mask = call->operands[3];
    const cnn_kernels *kernels = worker->kernels;
    const ptrdiff_t rows = padded(g->n), segments = cnn_panels(g->n);

    pack_samples(g, call->batch, call->operands[1], samples, worker);
    cnn_barrier(worker);

    ptrdiff_t *offsets = worker->scratch;
    float *buffer = (void *)((char *)worker->scratch + cnn_align((size_t)(2 * segments) * sizeof(ptrdiff_t)));
    for (ptrdiff_t s = 0; s < segments; s++) {
        offsets[s] = s * g->k * CNN_PANEL;
        offsets[segments + s] = s * CNN_PANEL * CNN_PANEL;
    }
    const ptrdiff_t width = kernels->tile_groups * CNN_PANEL;
    const ptrdiff_t tiles = cnn_ceil_div(g->k, kernels->tile_rows);
    cnn_tile tile = {.a_row = CNN_PANEL,
                     .a_k = 1,
                     .b_k = CNN_PANEL,
                     .b_group = rows * CNN_PANEL,
                     .c = buffer,
                     .c_row = width,
                     .c_group = CNN_PANEL,
                     .segments = segments,
                     .k = CNN_PANEL,
                     .a_offset = offsets,
                     .b_offset = offsets + segments};
    ptrdiff_t first, last;
    cnn_share(worker, tiles, &first, &last);
    for (ptrdiff_t t = first; t < last; t++) {
        const ptrdiff_t k = cnn_part(g->k, tiles, t);
        tile.a = weights + k * CNN_PANEL;
        tile.rows = (int)(cnn_part(g->k, tiles, t + 1) - k);
        for (ptrdiff_t m = 0; m < call->batch; m += width) {
            tile.b = samples + m * rows;
            tile.columns = (int)cnn_min(width, padded(call->batch - m));
            kernels->gemm_tile(&tile);
            for (ptrdiff_t i = 0; i < cnn_min(width, call->batch - m); i++) {
                const ptrdiff_t at = (m + i) * g->k + k;
                for (int j = 0; j < tile.rows; j++)
                    diff_src[at + j] = mask && mask[at + j] <= 0.0f ? 0.0f : buffer[j * width + i];
            }
        }
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
    const cnn_linear_geometry *g = &call->geometry->linear;
    float *diff_bias = call->operands[1];
    const float *diff_dst = call->operands[3];
    ptrdiff_t first, last;
    cnn_share(worker, cnn_panels(g->n), &first, &last);
    for (ptrdiff_t panel = first; panel < last; panel++) {
        const ptrdiff_t column = panel * CNN_PANEL, columns = cnn_min(CNN_PANEL, g->n - column);
        double sums[CNN_PANEL] = {0};
        for (ptrdiff_t m = 0; m < call->batch; m++) {
            float *to = out + (panel * call->batch + m) * CNN_PANEL;
            for (ptrdiff_t i = 0; i < CNN_PANEL; i++) to[i] = i < columns ? diff_dst[m * g->n + column + i] : 0.0f;
            for (ptrdiff_t i = 0; i < CNN_PANEL; i++) sums[i] += (double)to[i];
        }
        for (ptrdiff_t i = 0; diff_bias && i < columns; i++) diff_bias[column + i] = (float)sums[i];
    }
}

void cnn_linear_backward_weights(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_linear_geometry *g = &call->geometry->linear;
    float *diff_weights = call->operands[0], *diff = worker->shared, *slab = worker->scratch;
    const float *src = call->operands[2];
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
            for (ptrdiff_t t = begin; t < end; t++) {
                const ptrdiff_t k = cnn_part(g->k, tiles, t);
                tile.a = slab + (k - low);
                tile.c = diff_weights + (column * g->k + k * CNN_PANEL);
                tile.rows = (int)(cnn_part(g->k, tiles, t + 1) - k);
                kernels->gemm_tile(&tile);
            }
        }
    }
}
