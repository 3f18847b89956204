/* Winograd convolution, forward and data gradient, which is a forward pass over the gradient with other filters.
 *
 * A task is a block of tiles times a range of output channels. Its source patches are transformed into the worker's
 * scratch; then, for two panels of output channels at a time, one matrix product per position and the transform of
 * these tiles straight into dst, so that the products never leave the cache. Where dst is cold, these tiles of it are
 * fetched meanwhile, unless the products of many channels take so long that nobody waits for memory.
 */
#include "blocking.h"
#include "ops/ahead.h"

/* Tiles of a block: enough that the filters, which every block reads again, come in slower than they are used; few
 * enough that a block's patches and products stay near, and whole register tiles. Many channels need the former more,
 * and one panel of them leaves room for more, where tiles are many.
 * A handful of blocks may be larger where that makes them even in number, for two workers. */
enum { BLOCK = 18, LARGEST_BLOCK = 28, BLOCK_OF_MANY = 42, MANY_CHANNELS = 128, ENOUGH_TASKS = 8 };

/* A lone block is halved, so that two workers need not both transform all of it, where the filters that both then read
 * stay in the second-level cache, and where the halves still fill register tiles. */
enum { SMALL_FILTERS = 512 << 10, HALVED_TILES = 8 };

static ptrdiff_t largest_block(ptrdiff_t ic) { return ic < MANY_CHANNELS ? LARGEST_BLOCK : BLOCK_OF_MANY; }

static ptrdiff_t usual_block(ptrdiff_t ic, ptrdiff_t oc, ptrdiff_t tiles)
{
    if (ic >= MANY_CHANNELS) return BLOCK_OF_MANY;
    const bool small = ic <= CNN_PANEL && oc <= CNN_PANEL;
    return small && tiles >= ENOUGH_TASKS * LARGEST_BLOCK ? LARGEST_BLOCK : BLOCK;
}

static ptrdiff_t blocks_of(ptrdiff_t tiles, ptrdiff_t ic, ptrdiff_t oc, ptrdiff_t filter_bytes)
{
    const ptrdiff_t largest = largest_block(ic);
    if (tiles <= largest) return tiles >= HALVED_TILES && filter_bytes <= SMALL_FILTERS ? 2 : 1;
    const ptrdiff_t blocks = cnn_ceil_div(tiles, usual_block(ic, oc, tiles));
    const bool odd = blocks % 2 == 1 && blocks < ENOUGH_TASKS;
    return odd && cnn_ceil_div(tiles, blocks - 1) <= largest ? blocks - 1 : blocks;
}

/* What a pass computes: a correlation with stride 1 of `src`, with `pad` zeros before, to a map (OH, OW, OC). */
typedef struct pass {
    cnn_winograd_map src;
    ptrdiff_t pad_top, pad_left, oh, ow, oc, batch;
    int tile, kernel;
    const float *filter, *bias, *mask;
    float *dst;
    uint8_t *argmax;
    bool pool, dst_is_cold;
    cnn_activation activation;
} pass;

typedef struct cut {
    cnn_winograd_grid grid;
    ptrdiff_t alpha, pairs, blocks, ranges; /* pairs of panels; blocks of tiles; ranges of pairs */
    ptrdiff_t largest;                      /* tiles of a block, at most */
    ptrdiff_t row, patch;                   /* elements of a position of a patch, of a patch */
    ptrdiff_t columns, product;             /* ... of a tile's products, of all of them */
} cut;

static cut cut_of(ptrdiff_t ic, const cnn_winograd_grid *grid, ptrdiff_t oc, ptrdiff_t tile, ptrdiff_t kernel)
{
    cut c = {.grid = *grid,
             .alpha = tile + kernel - 1,
             .pairs = cnn_ceil_div(oc, WINOGRAD_COLUMNS),
             .row = cnn_winograd_row(ic),
             .columns = cnn_winograd_panels_of(oc, 0) * CNN_PANEL};
    const ptrdiff_t filters = c.alpha * c.alpha * c.pairs * WINOGRAD_COLUMNS * ic * (ptrdiff_t)sizeof(float);
    c.blocks = blocks_of(c.grid.count, ic, oc, filters);
    c.ranges = cnn_min(c.pairs, cnn_ceil_div(ENOUGH_TASKS, c.blocks));
    c.largest = cnn_min(largest_block(ic), c.grid.count);
    c.patch = cnn_winograd_stride(c.alpha * c.alpha, c.row);
    c.product = cnn_winograd_stride(c.alpha * c.alpha, c.columns);
    return c;
}

static cnn_winograd_grid forward_grid(const cnn_conv2d_geometry *g, ptrdiff_t batch)
{
    return cnn_winograd_grid_of(g->oh, g->ow, g->pool != 0, g->tile, batch);
}

static cnn_winograd_grid data_grid(const cnn_conv2d_geometry *g, ptrdiff_t batch)
{
    return cnn_winograd_grid_of(g->h, g->w, false, g->tile, batch);
}

cnn_blocking cnn_winograd_forward_blocking(const cnn_geometry *geometry, ptrdiff_t batch)
{
    const cnn_conv2d_geometry *g = &geometry->conv2d;
    const ptrdiff_t tiles = forward_grid(g, batch).count;
    return (cnn_blocking){.tiles = tiles, .tile_block = usual_block(g->ic, g->oc, tiles)};
}

cnn_blocking cnn_winograd_backward_data_blocking(const cnn_geometry *geometry, ptrdiff_t batch)
{
    const cnn_conv2d_geometry *g = &geometry->conv2d;
    const ptrdiff_t tiles = data_grid(g, batch).count;
    return (cnn_blocking){.tiles = tiles, .tile_block = usual_block(g->oc, g->ic, tiles)};
}

typedef struct scratch {
    float *patches, *products;
    void *zeros;
    size_t bytes;
} scratch;

static scratch carve(const cut *c, ptrdiff_t ic, char *memory)
{
    const size_t patches = cnn_align((size_t)(c->largest * c->patch) * sizeof(float));
    const size_t products = cnn_align((size_t)(c->largest * c->product) * sizeof(float));
    return (scratch){(void *)memory, cnn_at(memory, patches), cnn_at(memory, patches + products),
                     patches + products + cnn_winograd_zeros_bytes(c->alpha, ic)};
}

static cnn_workspace workspace(ptrdiff_t ic, cnn_winograd_grid grid, ptrdiff_t oc, const cnn_conv2d_geometry *g)
{
    const cut c = cut_of(ic, &grid, oc, g->tile, g->kh);
    return (cnn_workspace){0, carve(&c, ic, NULL).bytes};
}

cnn_workspace cnn_winograd_forward_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    const cnn_conv2d_geometry *g = &geometry->conv2d;
    return workspace(g->ic, forward_grid(g, batch), g->oc, g);
}

cnn_workspace cnn_winograd_backward_data_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    const cnn_conv2d_geometry *g = &geometry->conv2d;
    return workspace(g->oc, data_grid(g, batch), g->ic, g);
}

static void transform_patches(const pass *p, const cut *c, const scratch *memory, const cnn_winograd_zeros *zeros,
                              cnn_winograd_order order, ptrdiff_t first, ptrdiff_t last, const cnn_kernels *kernels)
{
    cnn_winograd_patch patch = {.channels = p->src.c,
                                .tile = p->tile,
                                .kernel = p->kernel,
                                .part = WINOGRAD_ALL,
                                .position = c->row,
                                .panel = CNN_PANEL};
    cnn_winograd_place at = cnn_winograd_place_of(&c->grid, first);
    for (ptrdiff_t t = first; t < last; t++, cnn_winograd_next(&c->grid, &at)) {
        const ptrdiff_t top = at.row * p->tile - p->pad_top, left = at.column * p->tile - p->pad_left;
        cnn_winograd_aim(&patch, &p->src, zeros, at.n, top, left, c->alpha, 0);
        cnn_winograd_less(&c->grid, &at, &patch.less_rows, &patch.less_columns);
        patch.dst = memory->patches + order.next[cnn_winograd_kind(&c->grid, &at)]++ * c->patch;
        kernels->winograd_input(&patch);
    }
}

/* Where a pair of panels of all tiles is written. */
static cnn_ahead dst_ahead(const pass *p, const cut *c, ptrdiff_t pair)
{
    const ptrdiff_t step = p->pool ? 2 : 1, channel = pair * WINOGRAD_COLUMNS;
    return (cnn_ahead){.map = p->dst,
                       .h = p->oh / step,
                       .w = p->ow / step,
                       .c = p->oc,
                       .size = p->tile / step,
                       .channel = channel,
                       .channels = cnn_min(WINOGRAD_COLUMNS, p->oc - channel),
                       .grid = &c->grid};
}

/* The products of all positions for one pair of panels of the tiles [first, last) */
static void multiply(const pass *p, const cut *c, const scratch *memory, const cnn_winograd_order *order,
                     ptrdiff_t pair, ptrdiff_t first, ptrdiff_t last, const cnn_kernels *kernels)
{
    static const ptrdiff_t no_offset[1] = {0};
    const ptrdiff_t ic = p->src.c, panel = ic * CNN_PANEL, panels = cnn_winograd_panels_of(p->oc, pair);
    const ptrdiff_t positions = c->alpha * c->alpha;
    const float *filter = p->filter + pair * positions * WINOGRAD_PAIR * panel;
    cnn_tile tile = {.a_row = c->patch,
                     .a_k = 1,
                     .b_k = CNN_PANEL,
                     .b_group = panel,
                     .c_row = c->product,
                     .c_group = CNN_PANEL,
                     .segments = 1,
                     .k = ic,
                     .a_offset = no_offset,
                     .b_offset = no_offset};
    cnn_ahead ahead = dst_ahead(p, c, pair);
    const bool fetches = p->dst_is_cold && ic < MANY_CHANNELS && cnn_ahead_aim(&ahead, first, last - first, positions);
    for (ptrdiff_t position = 0; position < positions; position++) {
        if (fetches) cnn_ahead_step(&ahead);
        const cnn_winograd_range range =
            cnn_winograd_tiles_with(&c->grid, order, c->alpha, position / c->alpha, position % c->alpha);
        if (range.first == range.last) continue;
        tile.rows = range.last - range.first;
        tile.a = memory->patches + range.first * c->patch + position * c->row;
        for (ptrdiff_t at = 0; at < panels; at += kernels->tile_groups) {
            tile.b = filter + (position * panels + at) * panel;
            tile.columns = (int)(cnn_min(kernels->tile_groups, panels - at) * CNN_PANEL);
            tile.c = memory->products + range.first * c->product + position * c->columns + at * CNN_PANEL;
            kernels->gemm_tile(&tile);
        }
    }
}

static void write_tiles(const pass *p, const cut *c, const scratch *memory, cnn_winograd_order order, ptrdiff_t pair,
                        ptrdiff_t first, ptrdiff_t last, const cnn_kernels *kernels)
{
    const ptrdiff_t step = p->pool ? 2 : 1, channel = pair * WINOGRAD_COLUMNS;
    const ptrdiff_t h = p->oh / step, w = p->ow / step, size = p->tile / step; /* of dst, of a tile in it */
    cnn_winograd_tile tile = {.position = c->columns,
                              .bias = p->bias ? p->bias + channel : NULL,
                              .dst_row = w * p->oc,
                              .dst_pixel = p->oc,
                              .channels = cnn_min(WINOGRAD_COLUMNS, p->oc - channel),
                              .tile = p->tile,
                              .kernel = p->kernel,
                              .pool = p->pool,
                              .activation = p->activation};
    cnn_winograd_place place = cnn_winograd_place_of(&c->grid, first);
    for (ptrdiff_t t = first; t < last; t++, cnn_winograd_next(&c->grid, &place)) {
        const ptrdiff_t top = place.row * size, left = place.column * size;
        const ptrdiff_t at = ((place.n * h + top) * w + left) * p->oc + channel;
        cnn_winograd_less(&c->grid, &place, &tile.less_rows, &tile.less_columns);
        tile.src = memory->products + order.next[cnn_winograd_kind(&c->grid, &place)]++ * c->product;
        tile.rows = cnn_min(size, h - top);
        tile.columns = cnn_min(size, w - left);
        tile.dst = p->dst + at;
        tile.argmax = p->argmax ? p->argmax + at : NULL;
        tile.mask = p->mask ? p->mask + at : NULL;
        kernels->winograd_output(&tile);
    }
}

static void run(const pass *p, const cnn_worker *worker)
{
    const cnn_winograd_grid grid = cnn_winograd_grid_of(p->oh, p->ow, p->pool, p->tile, p->batch);
    const cut c = cut_of(p->src.c, &grid, p->oc, p->tile, p->kernel);
    const scratch memory = carve(&c, p->src.c, worker->scratch);
    ptrdiff_t begin, end;
    cnn_share(worker, c.blocks * c.ranges, &begin, &end);
    if (begin == end) return;
    const cnn_winograd_zeros zeros = cnn_winograd_zeros_make(memory.zeros, c.alpha, p->src.c);
    ptrdiff_t transformed = -1; /* the block whose patches are in scratch */
    for (ptrdiff_t task = begin; task < end; task++) {
        const ptrdiff_t block = task / c.ranges, range = task % c.ranges;
        const ptrdiff_t first = cnn_part(c.grid.count, c.blocks, block);
        const ptrdiff_t last = cnn_part(c.grid.count, c.blocks, block + 1);
        const cnn_winograd_order order = cnn_winograd_order_of(&c.grid, first, last);
        if (block != transformed) transform_patches(p, &c, &memory, &zeros, order, first, last, worker->kernels);
        transformed = block;
        const ptrdiff_t pairs_end = cnn_part(c.pairs, c.ranges, range + 1);
        for (ptrdiff_t pair = cnn_part(c.pairs, c.ranges, range); pair < pairs_end; pair++) {
            multiply(p, &c, &memory, &order, pair, first, last, worker->kernels);
            write_tiles(p, &c, &memory, order, pair, first, last, worker->kernels);
        }
    }
}

void cnn_winograd_forward(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    const pass p = {.src = {call->operands[CNN_winograd_forward_src], NULL, g->h, g->w, g->ic},
                    .pad_top = g->pad_top,
                    .pad_left = g->pad_left,
                    .oh = g->oh,
                    .ow = g->ow,
                    .oc = g->oc,
                    .batch = call->batch,
                    .tile = (int)g->tile,
                    .kernel = (int)g->kh,
                    .filter = call->operands[CNN_winograd_forward_filter],
                    .bias = call->operands[CNN_winograd_forward_bias],
                    .dst = call->operands[CNN_winograd_forward_dst],
                    .argmax = call->operands[CNN_winograd_forward_argmax],
                    .pool = g->pool != 0,
                    .dst_is_cold = cnn_is_cold(call, CNN_winograd_forward_dst),
                    .activation = (cnn_activation)g->activation};
    run(&p, worker);
}

void cnn_winograd_backward_data(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    assert(!g->pool == !call->operands[CNN_winograd_backward_data_argmax]);
    const pass p = {.src = {call->operands[CNN_winograd_backward_data_diff_dst],
                            call->operands[CNN_winograd_backward_data_argmax], g->oh, g->ow, g->oc},
                    .pad_top = g->kh - 1 - g->pad_top,
                    .pad_left = g->kw - 1 - g->pad_left,
                    .oh = g->h,
                    .ow = g->w,
                    .oc = g->ic,
                    .batch = call->batch,
                    .tile = (int)g->tile,
                    .kernel = (int)g->kh,
                    .filter = call->operands[CNN_winograd_backward_data_filter],
                    .mask = call->operands[CNN_winograd_backward_data_mask],
                    .dst = call->operands[CNN_winograd_backward_data_diff_src],
                    .dst_is_cold = cnn_is_cold(call, CNN_winograd_backward_data_diff_src)};
    run(&p, worker);
}
