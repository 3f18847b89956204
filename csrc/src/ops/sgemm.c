/* General matrix product, blocked for the caches as in Goto & van de Geijn 2008, Anatomy of High-Performance Matrix
 * Multiplication, with the roles of A and B exchanged.
 *
 * A block of B (BLOCK_K x BLOCK_N) is packed by the team and stays near. A few tiles of rows of A meet all panels of
 * it before the next ones come: so C is written along its rows, and A is read where it lies unless it is transposed or
 * its rows fall into one set of the first cache.
 * An element of C is a sum over k in order, cut by the shape alone: how rows and columns are shared never changes a bit. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "team.h"

enum {
    BLOCK_K = 2048,    /* long: with every block of K each line of C comes and goes once */
    BLOCK_N = 256,     /* columns: a block of B passes in order, so that it may be larger than L2 */
    PACKED_PANELS = 4, /* panels of B packed together: 256 bytes of each row of B in one go */
    STACK = 4,         /* tiles of rows that go along together */
    AHEAD = 8,         /* lines of each row of A fetched ahead; once it runs, the hardware follows */
    WAY_BYTES = 4096,  /* of the first cache: rows so far apart share a set, which has fewer lines than a tile rows */
    LEAST_TILES_PER_WORKER = 8, /* rows are shared where all get so many, else columns, if there are more of them */
};

typedef struct product {
    ptrdiff_t m, n, k;
    const float *a, *b;
    ptrdiff_t lda, ldb, ldc;
    bool transpose_a, transpose_b;
    float alpha, beta, *c;
} product;

/* A block of alpha * op(B) and where it stands. */
typedef struct block_of_b {
    ptrdiff_t column, n, k0, k;
    const float *packed; /* [n/16][k][16] */
} block_of_b;

/* What one worker multiplies of each block: tiles of rows, pairs of panels. */
typedef struct piece {
    ptrdiff_t first_tile, last_tile, first_pair, last_pair;
} piece;

static const ptrdiff_t no_offset[1] = {0};

static ptrdiff_t tiles_of(const product *p, const cnn_kernels *kernels)
{
    return cnn_ceil_div(p->m, kernels->tile_rows);
}

static piece piece_of(const product *p, ptrdiff_t n, const cnn_worker *worker)
{
    const ptrdiff_t tiles = tiles_of(p, worker->kernels);
    const ptrdiff_t pairs = cnn_ceil_div(n, worker->kernels->tile_groups * CNN_PANEL);
    piece part = {0, tiles, 0, pairs};
    if (tiles >= cnn_min(pairs, LEAST_TILES_PER_WORKER * worker->size))
        cnn_share(worker, tiles, &part.first_tile, &part.last_tile);
    else
        cnn_share(worker, pairs, &part.first_pair, &part.last_pair);
    return part;
}

/* Columns [column, column + n) and rows [k0, k0 + k) of alpha * op(B) as panels [n/16][k][16], zero outside. */
static void pack_b(const product *p, const block_of_b *block, float *packed, const cnn_worker *worker)
{
    ptrdiff_t first, last;
    cnn_share(worker, cnn_ceil_div(block->n, CNN_PANEL), &first, &last);
    const ptrdiff_t step = p->transpose_b ? 1 : PACKED_PANELS;
    for (ptrdiff_t panel = first; panel < last; panel += step) {
        const ptrdiff_t from = panel * CNN_PANEL, to = cnn_min(cnn_min(panel + step, last) * CNN_PANEL, block->n);
        const ptrdiff_t column = block->column + from;
        float *out = packed + from * block->k;
        if (p->transpose_b)
            worker->kernels->pack_columns(out, p->b + column * p->ldb + block->k0, to - from, block->k, CNN_PANEL,
                                          p->ldb, p->alpha);
        else
            worker->kernels->pack_rows(out, p->b + block->k0 * p->ldb + column, block->k, to - from, CNN_PANEL, p->ldb,
                                       p->alpha);
    }
}

/* beta = 0 overwrites: C may hold NaN. */
static void scale_c(const product *p, const cnn_worker *worker)
{
    ptrdiff_t first, last;
    cnn_share(worker, p->m, &first, &last);
    for (ptrdiff_t i = first; i < last; i++) {
        float *row = p->c + i * p->ldc;
        for (ptrdiff_t j = 0; j < p->n; j++) row[j] = p->beta == 0.0f ? 0.0f : p->beta * row[j];
    }
}

/* Rows [row, row + rows) of op(A) as [k][rows], for a transposed A. */
static void pack_a(const product *p, ptrdiff_t row, ptrdiff_t rows, const block_of_b *block, float *restrict packed)
{
    const float *from = p->a + block->k0 * p->lda + row;
    for (ptrdiff_t k = 0; k < block->k; k++)
        memcpy(packed + k * rows, from + k * p->lda, (size_t)rows * sizeof *packed);
}

/* Whether rows of A lie whole ways apart, but for less than a line: they are read from a copy, where it is a line
 * more. */
static bool is_copied(const product *p)
{
    const ptrdiff_t line = CNN_ALIGNMENT, off = (p->lda * (ptrdiff_t)sizeof *p->a + line) % WAY_BYTES;
    return !p->transpose_a && off > 0 && off < 2 * line;
}

static void copy_a(const product *p, ptrdiff_t row, ptrdiff_t rows, const block_of_b *block, float *restrict copy)
{
    for (ptrdiff_t r = 0; r < rows; r++)
        memcpy(copy + r * (block->k + CNN_PANEL), p->a + (row + r) * p->lda + block->k0,
               (size_t)block->k * sizeof *copy);
}

/* The worker's piece of C += A * block. */
static void multiply_block(const product *p, const block_of_b *block, const cnn_worker *worker)
{
    const cnn_kernels *kernels = worker->kernels;
    const piece part = piece_of(p, block->n, worker);
    const ptrdiff_t tiles = tiles_of(p, kernels), width = kernels->tile_groups * CNN_PANEL;
    const bool copied = is_copied(p);
    cnn_tile tile = {.a_row = p->transpose_a ? 1
                              : copied       ? block->k + CNN_PANEL
                                             : p->lda,
                     .b_k = CNN_PANEL,
                     .b_group = block->k * CNN_PANEL,
                     .c_row = p->ldc,
                     .c_group = CNN_PANEL,
                     .segments = 1,
                     .k = block->k,
                     .a_offset = no_offset,
                     .b_offset = no_offset,
                     .accumulate = block->k0 > 0 || p->beta != 0.0f};
    for (ptrdiff_t t = part.first_tile; t < part.last_tile; t += STACK) {
        const ptrdiff_t row = cnn_part(p->m, tiles, t), end = cnn_part(p->m, tiles, cnn_min(t + STACK, part.last_tile));
        const ptrdiff_t after = cnn_part(p->m, tiles, cnn_min(t + 2 * STACK, part.last_tile));
        tile.rows = end - row;
        const float *rows = p->a + row * p->lda + block->k0;
        tile.a = p->transpose_a || copied ? worker->scratch : rows;
        tile.a_k = p->transpose_a ? tile.rows : 1;
        if (p->transpose_a) pack_a(p, row, tile.rows, block, worker->scratch);
        if (copied) copy_a(p, row, tile.rows, block, worker->scratch);
        const ptrdiff_t coming = p->transpose_a ? 0 : after - end, pairs = part.last_pair - part.first_pair;
        for (ptrdiff_t pair = 0; pair < pairs; pair++) {
            const ptrdiff_t j = (part.first_pair + pair) * width;
            for (ptrdiff_t r = cnn_part(coming, pairs, pair); r < cnn_part(coming, pairs, pair + 1); r++)
                for (ptrdiff_t line = 0; line < AHEAD; line++)
                    __builtin_prefetch(rows + (tile.rows + r) * p->lda + line * CNN_PANEL);
            tile.b = block->packed + j * block->k;
            tile.columns = (int)cnn_min(width, block->n - j);
            tile.c = p->c + row * p->ldc + block->column + j;
            kernels->gemm_tile(&tile);
        }
    }
}

static void multiply(const cnn_worker *worker, void *context)
{
    const product *p = context;
    const bool vanishes = p->alpha == 0.0f || p->k == 0;
    if (vanishes || (p->beta != 0.0f && p->beta != 1.0f)) scale_c(p, worker);
    if (vanishes) return;
    const ptrdiff_t depths = cnn_ceil_div(p->k, BLOCK_K);
    for (ptrdiff_t column = 0; column < p->n; column += BLOCK_N)
        for (ptrdiff_t i = 0; i < depths; i++) {
            const ptrdiff_t k0 = cnn_part(p->k, depths, i), k = cnn_part(p->k, depths, i + 1) - k0;
            const block_of_b block = {column, cnn_min(BLOCK_N, p->n - column), k0, k, worker->shared};
            cnn_barrier(worker); /* the block before is no longer read, C is scaled */
            pack_b(p, &block, worker->shared, worker);
            cnn_barrier(worker);
            multiply_block(p, &block, worker);
        }
}

/* Elements of a packed block of B and of one worker's rows of a transposed A, for a product of this shape. */
static ptrdiff_t shared_count(const product *p)
{
    return cnn_min(p->k, BLOCK_K) * cnn_ceil_div(cnn_min(p->n, BLOCK_N), CNN_PANEL) * CNN_PANEL;
}

static ptrdiff_t scratch_count(const product *p, const cnn_kernels *kernels)
{
    const ptrdiff_t rows = STACK * kernels->tile_rows, k = cnn_min(p->k, BLOCK_K);
    return p->transpose_a ? rows * k : is_copied(p) ? rows * (k + CNN_PANEL) : 0;
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

enum {
    HEADER = CNN_ALIGNMENT,
    LEAST_KEPT = 1 << 20, /* is laid on a large page, whatever the first product's size */
    MOST_KEPT = 16 << 20,
};

/* The block of the last product stays for the next one: the system hands out fresh memory page by page, at the first
 * touch. Whoever takes it leaves none; its size stands in its header. */
static _Atomic(char *) kept;

static char *take_memory(size_t bytes)
{
    _Static_assert(HEADER >= sizeof(size_t), "a header holds a size");
    char *block = atomic_exchange(&kept, NULL);
    if (block && *(size_t *)(void *)block >= bytes) return block + HEADER;
    free(block);
    if (bytes < LEAST_KEPT) bytes = LEAST_KEPT;
    block = cnn_allocate(HEADER + bytes);
    if (!block) return NULL;
    *(size_t *)(void *)block = bytes;
    return block + HEADER;
}

static void give_back(char *memory)
{
    char *block = memory - HEADER;
    free(*(size_t *)(void *)block > MOST_KEPT ? block : atomic_exchange(&kept, block));
}

cnn_status cnn_sgemm(bool transpose_a, bool transpose_b, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, float alpha,
                     const float *a, ptrdiff_t lda, const float *b, ptrdiff_t ldb, float beta, float *c, ptrdiff_t ldc)
{
    assert(m >= 0 && n >= 0 && k >= 0 && ldc >= n);
    bool reference;
    const cnn_kernels *kernels = cnn_kernels_current(&reference);
    if (!kernels) return CNN_BAD_ISA;
    if (reference) {
        cnn_ref_sgemm(transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
        return CNN_OK;
    }
    product p = {.m = m,
                 .n = n,
                 .k = k,
                 .a = a,
                 .b = b,
                 .lda = lda,
                 .ldb = ldb,
                 .ldc = ldc,
                 .transpose_a = transpose_a,
                 .transpose_b = transpose_b,
                 .alpha = alpha,
                 .beta = beta,
                 .c = c};
    const int threads = cnn_get_threads();
    if (threads < 1) return CNN_BAD_THREADS;
    const size_t shared = cnn_align((size_t)shared_count(&p) * sizeof(float));
    const size_t scratch = cnn_align((size_t)scratch_count(&p, kernels) * sizeof(float));
    char *memory = take_memory(shared + scratch * (size_t)threads);
    if (!memory) return CNN_OUT_OF_MEMORY;
    cnn_team team;
    cnn_team_init(&team);
    cnn_team_run(&team, threads, kernels, memory, memory + shared, scratch, multiply, &p);
    cnn_team_destroy(&team);
    give_back(memory);
    return CNN_OK;
}
