/* Products of rows with weights in panels. Whoever computes which rows and panels, the bits are those of one tile: sums run
 * over k in order. */
#include "ops/product.h"

#include "ops/pixels.h"

enum {
    ROWS = 64,          /* that meet a panel of weights while it is in cache */
    LEAST_SEGMENT = 96, /* products over k between two fetches */
    MOST_SEGMENTS = 32,
    LEAST_STREAMED = 128 * 1024, /* weights from which the next panel is fetched: fewer stay in L2 */
};

/* K is cut into so many segments of one length, with a fetch in each. */
static ptrdiff_t segments_of(ptrdiff_t k)
{
    ptrdiff_t segments = cnn_max(1, cnn_min(k / LEAST_SEGMENT, MOST_SEGMENTS));
    while (k % segments != 0) segments--;
    return segments;
}

size_t cnn_product_scratch(ptrdiff_t k) { return 3 * (size_t)segments_of(k) * sizeof(ptrdiff_t); }

cnn_variant cnn_product_variant(ptrdiff_t m) { return m <= 2 ? CNN_VARIANT_FEW_ROWS : CNN_VARIANT_USUAL; }

/* One row or two are a pass over the weights. */
static void run_few(const cnn_product *p, const cnn_worker *worker)
{
    cnn_few_rows product = {.dst = p->dst,
                            .src = p->src,
                            .weights = p->weights,
                            .bias = p->bias,
                            .k = p->k,
                            .n = p->n,
                            .rows = (int)p->m,
                            .activation = p->activation};
    cnn_share(worker, cnn_panels(p->n), &product.first, &product.last);
    worker->kernels->few_rows(&product);
}

/* What the tiles of a product have in common. `offsets` has room for three of each segment: of A, of B, of what is fetched,
 * `lines` of it in each segment. */
static cnn_tile tile_of(const cnn_product *p, ptrdiff_t *offsets, ptrdiff_t lines)
{
    const ptrdiff_t segments = segments_of(p->k), length = p->k / segments;
    ptrdiff_t *a_offset = offsets, *b_offset = offsets + segments, *fetch_offset = offsets + 2 * segments;
    for (ptrdiff_t s = 0; s < segments; s++) {
        a_offset[s] = s * length;
        b_offset[s] = a_offset[s] * CNN_PANEL;
        fetch_offset[s] = s * lines * CNN_PANEL;
    }
    return (cnn_tile){.a_row = p->k,
                      .a_k = 1,
                      .b_k = CNN_PANEL,
                      .b_group = p->k * CNN_PANEL,
                      .c_row = p->n,
                      .c_group = CNN_PANEL,
                      .segments = segments,
                      .k = length,
                      .a_offset = a_offset,
                      .b_offset = b_offset,
                      .fetch_offset = fetch_offset,
                      .fetch_lines = (int)lines,
                      .activation = p->activation};
}

static void set_columns(cnn_tile *tile, const cnn_product *p, ptrdiff_t column, ptrdiff_t width)
{
    tile->b = p->weights + column * p->k;
    tile->bias = p->bias ? p->bias + column : NULL;
    tile->columns = (int)cnn_min(width, p->n - column);
}

static void set_rows(cnn_tile *tile, const cnn_product *p, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t column)
{
    tile->rows = rows;
    tile->a = p->src + row * p->k;
    tile->c = p->dst + row * p->n + column;
}

/* Weights that stay in L2: a block of rows meets all of them. Every worker has as many blocks. */
static void run_by_rows(const cnn_product *p, const cnn_worker *worker)
{
    const ptrdiff_t width = worker->kernels->tile_groups * CNN_PANEL;
    const ptrdiff_t blocks = cnn_ceil_div(cnn_ceil_div(p->m, ROWS), worker->size) * worker->size;
    cnn_tile tile = tile_of(p, worker->scratch, 0);
    ptrdiff_t first, last;
    cnn_share(worker, blocks, &first, &last);
    for (ptrdiff_t block = first; block < last; block++) {
        const ptrdiff_t row = cnn_part(p->m, blocks, block), rows = cnn_part(p->m, blocks, block + 1) - row;
        if (rows == 0) break;
        for (ptrdiff_t column = 0; column < p->n; column += width) {
            set_columns(&tile, p, column, width);
            set_rows(&tile, p, row, rows, column);
            worker->kernels->gemm_tile(&tile);
        }
    }
}

/* Tasks are columns of as many panels as a tile is wide, or of one where that would be few tasks, by blocks of rows.
 * Hardware does not bring a panel from L3 fast enough for the first tile of a block, so each tile of the block before
 * fetches a share of it. */
static void run_by_columns(const cnn_product *p, const cnn_worker *worker)
{
    enum { FEW_TASKS = 4 }; /* for a worker */
    const ptrdiff_t rows = worker->kernels->tile_rows, blocks = cnn_ceil_div(p->m, ROWS);
    ptrdiff_t groups = worker->kernels->tile_groups;
    if (cnn_ceil_div(p->n, groups * CNN_PANEL) * blocks < FEW_TASKS * worker->size) groups = 1;
    const ptrdiff_t width = groups * CNN_PANEL, columns = cnn_ceil_div(p->n, width), segments = segments_of(p->k);
    const ptrdiff_t tiles = cnn_ceil_div(cnn_ceil_div(p->m, blocks), rows);
    const ptrdiff_t lines = cnn_ceil_div(groups * p->k, tiles * segments);
    cnn_tile tile = tile_of(p, worker->scratch, lines);
    ptrdiff_t first, last;
    cnn_share(worker, columns * blocks, &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const ptrdiff_t column = task / blocks * width, block = task % blocks;
        const ptrdiff_t m = cnn_part(p->m, blocks, block), end = cnn_part(p->m, blocks, block + 1);
        const bool fetches = block == blocks - 1 && task + 1 < last && p->k * p->n >= LEAST_STREAMED;
        set_columns(&tile, p, column, width);
        for (ptrdiff_t t = 0; t < tiles; t++) {
            const ptrdiff_t row = m + cnn_part(end - m, tiles, t);
            set_rows(&tile, p, row, m + cnn_part(end - m, tiles, t + 1) - row, column);
            tile.fetch = fetches ? tile.b + width * p->k + t * segments * lines * CNN_PANEL : NULL;
            worker->kernels->gemm_tile(&tile);
        }
    }
}

void cnn_product_run(const cnn_product *p, const cnn_worker *worker)
{
    assert(p->m >= 1 && p->k >= 1 && p->n >= 1);
    if (cnn_product_variant(p->m) == CNN_VARIANT_FEW_ROWS)
        run_few(p, worker);
    else if (p->k * p->n < LEAST_STREAMED && p->m > worker->kernels->tile_rows)
        run_by_rows(p, worker);
    else
        run_by_columns(p, worker);
}
