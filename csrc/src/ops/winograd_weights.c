/* Winograd convolution, gradient by weights and bias: G^T [sum over tiles of (A dy A^T) * (B^T d B)] G.
 *
 * A task is a share of the tiles times a block of input channels times a block of output channels. It transforms source
 * and gradient of a chunk of its tiles, of few channels as a whole and else for two rows of positions at a time, and adds
 * one matrix product per position to its sums; at the end it turns the sums into weights. Shares depend on shape and batch
 * only, and are added in order.
 *
 * Blocks are large, because every block transforms its tiles again. Their sums need not stay in the second-level cache:
 * a chunk of tiles is long enough that reading and writing them in between hides behind the products. Where the
 * source is cold, the next chunk's is fetched meanwhile: it was last used in the forward pass.
 */
#include "blocking.h"
#include "ops/ahead.h"
#include "ops/parts.h"

enum {
    CHUNK = 96,  /* tiles between two additions to the sums */
    BLOCK = 128, /* input channels, and output channels, of a block at most */
    MOST_PARTS = 16,
    PART_TILES = 128, /* at least, so that turning sums into weights stays cheap */
    PART_BYTES = 32 << 20,
    WHOLE_BYTES = 512 << 10, /* half of a second-level cache */
    ENOUGH_TASKS = 16
};

typedef struct cut {
    cnn_winograd_grid grid;
    ptrdiff_t alpha, parts;
    ptrdiff_t ic_panels, oc_panels, ic_blocks, oc_blocks;
    ptrdiff_t ic_block, oc_block;             /* channels of the largest block, whole panels */
    ptrdiff_t chunk;                          /* tiles transformed at once */
    ptrdiff_t source_position, diff_position; /* elements between positions */
    ptrdiff_t sum_position;
    ptrdiff_t steps, rows; /* a chunk's positions are transformed and multiplied in steps of so many rows */
    ptrdiff_t weights;     /* elements of one part's gradient */
} cut;

static cut cut_of(const cnn_conv2d_geometry *g, ptrdiff_t batch)
{
    cut c = {.grid = cnn_winograd_grid_of(g->oh, g->ow, g->pool != 0, g->tile, batch),
             .alpha = cnn_winograd_alpha(g),
             .ic_panels = cnn_panels(g->ic),
             .oc_panels = cnn_panels(g->oc)};
    c.oc_blocks = cnn_ceil_div(c.oc_panels, BLOCK / CNN_PANEL);
    c.oc_block = cnn_ceil_div(c.oc_panels, c.oc_blocks) * CNN_PANEL;
    c.ic_blocks = cnn_ceil_div(c.ic_panels, BLOCK / CNN_PANEL);
    c.ic_block = cnn_ceil_div(c.ic_panels, c.ic_blocks) * CNN_PANEL;
    c.chunk = cnn_min(CHUNK, c.grid.count);
    c.source_position = cnn_winograd_stride(c.chunk, c.ic_block);
    c.diff_position = cnn_winograd_stride(c.chunk, c.oc_block);
    c.sum_position = cnn_winograd_stride(c.ic_block, c.oc_block);
    /* whatever the batch: a smaller one must not need more memory */
    const ptrdiff_t longest = cnn_winograd_stride(CHUNK, c.ic_block) + cnn_winograd_stride(CHUNK, c.oc_block);
    c.rows = c.alpha * c.alpha * longest * (ptrdiff_t)sizeof(float) <= WHOLE_BYTES ? c.alpha : 2;
    c.steps = c.alpha / c.rows;
    c.weights = g->kh * g->kw * g->ic * c.oc_panels * CNN_PANEL;
    const ptrdiff_t affordable = cnn_min(MOST_PARTS, PART_BYTES / (c.weights * (ptrdiff_t)sizeof(float)));
    const ptrdiff_t wanted = cnn_ceil_div(ENOUGH_TASKS, c.ic_blocks * c.oc_blocks);
    c.parts = cnn_cuts(cnn_max(1, cnn_min(cnn_min(affordable, wanted), c.grid.count / PART_TILES)));
    return c;
}

cnn_blocking cnn_winograd_backward_weights_blocking(const cnn_geometry *geometry, ptrdiff_t batch)
{
    const cut c = cut_of(&geometry->conv2d, batch);
    return (cnn_blocking){.tiles = c.grid.count,
                          .tile_block = c.chunk,
                          .ic_blocks = c.ic_blocks,
                          .oc_blocks = c.oc_blocks,
                          .oc_block = c.oc_block};
}

typedef struct scratch {
    float *source, *diff, *sums, *bias;
    void *zeros;
    size_t bytes;
} scratch;

static scratch carve(const cnn_conv2d_geometry *g, const cut *c, char *memory)
{
    const size_t source = cnn_align((size_t)(c->rows * c->alpha * c->source_position) * sizeof(float));
    const size_t diff = cnn_align((size_t)(c->rows * c->alpha * c->diff_position) * sizeof(float));
    const size_t sums = cnn_align((size_t)(c->alpha * c->alpha * c->sum_position) * sizeof(float));
    const size_t bias = cnn_align((size_t)c->oc_block * sizeof(float));
    scratch s = {.source = (void *)memory, .diff = cnn_at(memory, source), .bytes = source + diff};
    s.sums = cnn_at(memory, s.bytes), s.bytes += sums;
    s.bias = cnn_at(memory, s.bytes), s.bytes += bias;
    s.zeros = cnn_at(memory, s.bytes), s.bytes += cnn_winograd_zeros_bytes(c->alpha, cnn_max(g->ic, g->oc));
    return s;
}

static size_t part_bytes(const cut *c) { return cnn_align((size_t)(c->parts * c->weights) * sizeof(float)); }

cnn_workspace cnn_winograd_backward_weights_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    const cnn_conv2d_geometry *g = &geometry->conv2d;
    const cut c = cut_of(g, batch);
    return (cnn_workspace){part_bytes(&c) + cnn_align((size_t)(c.parts * g->oc) * sizeof(double)),
                           carve(g, &c, NULL).bytes};
}

/* Panels of input and output channels of a task */
typedef struct block {
    ptrdiff_t ic, ic_end, oc, oc_end;
} block;

/* The rows of positions of a step, of source and gradient of the tiles [first, last); the gradient in panels of channels.
 * In the first step its pixels are added to `bias`, if given. */
static void transform(const cnn_call *call, const cut *c, const scratch *memory, const cnn_winograd_zeros *zeros,
                      const block *b, int step, float *bias, cnn_winograd_order order, ptrdiff_t first, ptrdiff_t last,
                      const cnn_kernels *kernels)
{
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    const cnn_winograd_map source = {call->operands[CNN_winograd_backward_weights_src], NULL, g->h, g->w, g->ic};
    const cnn_winograd_map diff = {call->operands[CNN_winograd_backward_weights_diff_dst],
                                   call->operands[CNN_winograd_backward_weights_argmax], g->oh, g->ow, g->oc};
    const ptrdiff_t ic = b->ic * CNN_PANEL, oc = b->oc * CNN_PANEL;
    cnn_winograd_patch of_source = {.channels = cnn_min(b->ic_end * CNN_PANEL, g->ic) - ic,
                                    .tile = (int)g->tile,
                                    .kernel = (int)g->kh,
                                    .part = c->steps == 1 ? WINOGRAD_ALL : step,
                                    .position = c->source_position,
                                    .panel = CNN_PANEL};
    cnn_winograd_patch of_diff = of_source;
    of_diff.channels = cnn_min(b->oc_end * CNN_PANEL, g->oc) - oc;
    of_diff.position = c->diff_position;
    of_diff.panel = c->chunk * CNN_PANEL;
    of_diff.sums = step == 0 ? bias : NULL;
    cnn_winograd_place at = cnn_winograd_place_of(&c->grid, first);
    for (ptrdiff_t t = first; t < last; t++, cnn_winograd_next(&c->grid, &at)) {
        const ptrdiff_t top = at.row * g->tile, left = at.column * g->tile;
        const ptrdiff_t slot = order.next[cnn_winograd_kind(&c->grid, &at)]++;
        cnn_winograd_less(&c->grid, &at, &of_source.less_rows, &of_source.less_columns);
        of_diff.less_rows = of_source.less_rows, of_diff.less_columns = of_source.less_columns;
        cnn_winograd_aim(&of_source, &source, zeros, at.n, top - g->pad_top, left - g->pad_left, c->alpha, ic);
        of_source.dst = memory->source + slot * c->ic_block;
        kernels->winograd_input(&of_source);
        cnn_winograd_aim(&of_diff, &diff, zeros, at.n, top, left, g->tile, oc);
        of_diff.dst = memory->diff + slot * CNN_PANEL;
        kernels->winograd_diff(&of_diff);
    }
}

/* sums[position][panel of oc][ic][16] of the block and the rows of a step, overwritten or added to */
static void multiply(const cnn_conv2d_geometry *g, const cut *c, const scratch *memory, const block *b, int step,
                     const cnn_winograd_order *order, bool accumulate, cnn_ahead *ahead, const cnn_kernels *kernels)
{
    static const ptrdiff_t no_offset[1] = {0};
    const ptrdiff_t channels = cnn_min(b->ic_end * CNN_PANEL, g->ic) - b->ic * CNN_PANEL, panels = b->oc_end - b->oc;
    cnn_tile tile = {.a_row = 1,
                     .a_k = c->ic_block,
                     .b_k = CNN_PANEL,
                     .b_group = c->chunk * CNN_PANEL,
                     .c_row = CNN_PANEL,
                     .c_group = c->ic_block * CNN_PANEL,
                     .segments = 1,
                     .a_offset = no_offset,
                     .b_offset = no_offset,
                     .rows = channels,
                     .accumulate = accumulate};
    for (ptrdiff_t position = 0; position < c->rows * c->alpha; position++) {
        if (ahead) cnn_ahead_step(ahead);
        const ptrdiff_t row = position / c->alpha, column = position % c->alpha;
        const ptrdiff_t of_patch = c->steps == 1 ? row : cnn_winograd_part_row((int)c->alpha, step, (int)row);
        const cnn_winograd_range range = cnn_winograd_tiles_with(&c->grid, order, c->alpha, of_patch, column);
        if (range.first == range.last && accumulate) continue;
        float *sums = memory->sums + (of_patch * c->alpha + column) * c->sum_position;
        tile.k = range.last - range.first; /* none: the sums start at zero */
        for (ptrdiff_t panel = 0; panel < panels; panel += kernels->tile_groups) {
            tile.b = memory->diff + position * c->diff_position + (panel * c->chunk + range.first) * CNN_PANEL;
            tile.columns = (int)(cnn_min(kernels->tile_groups, panels - panel) * CNN_PANEL);
            tile.a = memory->source + position * c->source_position + range.first * c->ic_block;
            tile.c = sums + panel * c->ic_block * CNN_PANEL;
            kernels->gemm_tile(&tile);
        }
    }
}

static void write_block(const cnn_conv2d_geometry *g, const cut *c, const scratch *memory, const block *b,
                        float *weights, const cnn_kernels *kernels)
{
    const ptrdiff_t ic = b->ic * CNN_PANEL, taps = g->kh * g->kw;
    cnn_winograd_filters filters = {.rows = cnn_min(b->ic_end * CNN_PANEL, g->ic) - ic,
                                    .src_row = CNN_PANEL,
                                    .dst_row = CNN_PANEL,
                                    .taps = g->ic * CNN_PANEL,
                                    .positions = c->sum_position,
                                    .tile = (int)g->tile,
                                    .kernel = (int)g->kh};
    for (ptrdiff_t panel = b->oc; panel < b->oc_end; panel++) {
        filters.src = memory->sums + (panel - b->oc) * c->ic_block * CNN_PANEL;
        filters.dst = weights + (panel * taps * g->ic + ic) * CNN_PANEL;
        kernels->winograd_gradient(&filters);
    }
}

/* A block's channels of the source of all tiles. */
static cnn_ahead source_ahead(const cnn_call *call, const cut *c, const block *b)
{
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    return (cnn_ahead){.map = call->operands[CNN_winograd_backward_weights_src],
                       .h = g->h,
                       .w = g->w,
                       .c = g->ic,
                       .size = g->tile,
                       .channel = b->ic * CNN_PANEL,
                       .channels = cnn_min(b->ic_end * CNN_PANEL, g->ic) - b->ic * CNN_PANEL,
                       .grid = &c->grid};
}

/* Adds a chunk of tiles [first, last) to the sums of a task's block, or starts them, and to `bias`, if given. The tiles
 * after it, up to `stop`, are read next. */
static void add_chunk(const cnn_call *call, const cut *c, const scratch *memory, const cnn_winograd_zeros *zeros,
                      const block *b, ptrdiff_t first, ptrdiff_t last, ptrdiff_t stop, bool accumulate, double *bias,
                      const cnn_kernels *kernels)
{
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    const ptrdiff_t channels = cnn_min(b->oc_end * CNN_PANEL, g->oc) - b->oc * CNN_PANEL;
    const cnn_winograd_order order = cnn_winograd_order_of(&c->grid, first, last);
    float *sums = bias ? memory->bias : NULL;
    if (sums) memset(sums, 0, (size_t)c->oc_block * sizeof *sums);
    cnn_ahead ahead = source_ahead(call, c, b);
    const bool cold = cnn_is_cold(call, CNN_winograd_backward_weights_src);
    const bool fetches = cold && cnn_ahead_aim(&ahead, last, cnn_min(c->chunk, stop - last), c->alpha * c->alpha);
    for (int step = 0; step < c->steps; step++) {
        transform(call, c, memory, zeros, b, step, sums, order, first, last, kernels);
        multiply(g, c, memory, b, step, &order, accumulate, fetches ? &ahead : NULL, kernels);
    }
    for (ptrdiff_t o = 0; sums && o < channels; o++) bias[b->oc * CNN_PANEL + o] += (double)sums[o];
}

void cnn_winograd_backward_weights(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    assert(!g->pool == !call->operands[CNN_winograd_backward_weights_argmax]);
    const cut c = cut_of(g, call->batch);
    const scratch memory = carve(g, &c, worker->scratch);
    float *weights = worker->shared;
    double *bias = (void *)((char *)worker->shared + part_bytes(&c));
    const cnn_winograd_zeros zeros = cnn_winograd_zeros_make(memory.zeros, c.alpha, cnn_max(g->ic, g->oc));

    ptrdiff_t begin, end;
    cnn_share(worker, c.parts * c.oc_blocks * c.ic_blocks, &begin, &end);
    /* with one block a part's tiles follow those of the part before */
    const ptrdiff_t following = c.oc_blocks * c.ic_blocks == 1 ? cnn_part(c.grid.count, c.parts, end) : 0;
    for (ptrdiff_t task = begin; task < end; task++) {
        const ptrdiff_t ic = task % c.ic_blocks, oc = task / c.ic_blocks % c.oc_blocks;
        const ptrdiff_t part = task / c.ic_blocks / c.oc_blocks;
        const block b = {cnn_part(c.ic_panels, c.ic_blocks, ic), cnn_part(c.ic_panels, c.ic_blocks, ic + 1),
                         cnn_part(c.oc_panels, c.oc_blocks, oc), cnn_part(c.oc_panels, c.oc_blocks, oc + 1)};
        const ptrdiff_t start = cnn_part(c.grid.count, c.parts, part), stop = cnn_part(c.grid.count, c.parts, part + 1);
        double *sums = call->operands[CNN_winograd_backward_weights_diff_bias] && ic == 0 ? bias + part * g->oc : NULL;
        for (ptrdiff_t o = b.oc * CNN_PANEL; sums && o < cnn_min(b.oc_end * CNN_PANEL, g->oc); o++) sums[o] = 0.0;
        for (ptrdiff_t first = start; first < stop; first += c.chunk)
            add_chunk(call, &c, &memory, &zeros, &b, first, cnn_min(first + c.chunk, stop), cnn_max(stop, following),
                      first > start, sums, worker->kernels);
        write_block(g, &c, &memory, &b, weights + part * c.weights, worker->kernels);
    }
    cnn_barrier(worker);
    cnn_parts_add(&(cnn_parts){c.parts, c.weights, g->oc, weights, bias},
                  call->operands[CNN_winograd_backward_weights_diff_weights],
                  call->operands[CNN_winograd_backward_weights_diff_bias], g->oc, worker);
}
