/* General matrix product, blocked for the caches: Goto & van de Geijn 2008, Anatomy of High-Performance Matrix
 * Multiplication. A block of B is packed once for the team, blocks of rows of A by the worker that multiplies them. */
#include <stdlib.h>

#include "team.h"

enum { BLOCK_N = 1024, BLOCK_K = 256, BLOCK_TILES = 8, LARGEST_TILE_ROWS = 32 };

typedef struct product {
    ptrdiff_t m, n, k;
    const float *a, *b;
    ptrdiff_t a_row, a_k, b_k, b_column; /* element strides of op(A) and op(B) */
    float alpha, beta, *c;
    ptrdiff_t ldc;
} product;

static const ptrdiff_t no_offset[1] = {0};

/* Columns [column, column + n) and rows [k0, k0 + k) of op(B) as panels [n/16][k][16], zero outside. */
static void pack_b(const product *p, ptrdiff_t column, ptrdiff_t n, ptrdiff_t k0, ptrdiff_t k, float *restrict out,
                   const cnn_worker *worker)
{
    ptrdiff_t first, last;
    cnn_share(worker, cnn_ceil_div(n, CNN_PANEL), &first, &last);
    for (ptrdiff_t panel = first; panel < last; panel++) {
        const ptrdiff_t left = cnn_min(CNN_PANEL, n - panel * CNN_PANEL);
        const float *source = p->b + (column + panel * CNN_PANEL) * p->b_column + k0 * p->b_k;
        float *to = out + panel * k * CNN_PANEL;
        for (ptrdiff_t r = 0; r < k; r++)
            for (ptrdiff_t j = 0; j < CNN_PANEL; j++)
                to[r * CNN_PANEL + j] = j < left ? source[r * p->b_k + j * p->b_column] : 0.0f;
    }
}

/* Rows [row, row + rows) of alpha * op(A) as [k][rows]. */
static void pack_a(const product *p, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t k0, ptrdiff_t k, float *restrict out)
{
    const float *source = p->a + row * p->a_row + k0 * p->a_k;
    for (ptrdiff_t r = 0; r < k; r++)
        for (ptrdiff_t i = 0; i < rows; i++) out[r * rows + i] = p->alpha * source[i * p->a_row + r * p->a_k];
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

static void multiply_block(const product *p, ptrdiff_t column, ptrdiff_t n, ptrdiff_t k0, ptrdiff_t k,
                           const cnn_worker *worker)
{
    const cnn_kernels *kernels = worker->kernels;
    const ptrdiff_t tiles = cnn_ceil_div(p->m, kernels->tile_rows), blocks = cnn_ceil_div(tiles, BLOCK_TILES);
    const ptrdiff_t width = kernels->tile_groups * CNN_PANEL;
    float *packed = worker->scratch;
    cnn_tile tile = {.a_row = 1,
                     .b_k = CNN_PANEL,
                     .b_group = k * CNN_PANEL,
                     .c_row = p->ldc,
                     .c_group = CNN_PANEL,
                     .segments = 1,
                     .k = k,
                     .a_offset = no_offset,
                     .b_offset = no_offset,
                     .accumulate = true};
    ptrdiff_t first, last;
    cnn_share(worker, blocks, &first, &last);
    for (ptrdiff_t block = first; block < last; block++) {
        const ptrdiff_t begin = cnn_part(tiles, blocks, block), end = cnn_part(tiles, blocks, block + 1);
        for (ptrdiff_t t = begin; t < end; t++) {
            const ptrdiff_t row = cnn_part(p->m, tiles, t);
            pack_a(p, row, cnn_part(p->m, tiles, t + 1) - row, k0, k, packed + (t - begin) * kernels->tile_rows * k);
        }
        for (ptrdiff_t j = 0; j < n; j += width) {
            tile.b = (const float *)worker->shared + j * k;
            tile.columns = (int)cnn_min(width, n - j);
            for (ptrdiff_t t = begin; t < end; t++) {
                const ptrdiff_t row = cnn_part(p->m, tiles, t);
                tile.rows = (int)(cnn_part(p->m, tiles, t + 1) - row);
                tile.a = packed + (t - begin) * kernels->tile_rows * k;
                tile.a_k = tile.rows;
                tile.c = p->c + row * p->ldc + column + j;
                kernels->gemm_tile(&tile);
            }
        }
    }
}

static void multiply(const cnn_worker *worker, void *context)
{
    const product *p = context;
    scale_c(p, worker);
    if (p->alpha == 0.0f) return;
    for (ptrdiff_t column = 0; column < p->n; column += BLOCK_N) {
        const ptrdiff_t n = cnn_min(BLOCK_N, p->n - column);
        for (ptrdiff_t k0 = 0; k0 < p->k; k0 += BLOCK_K) {
            const ptrdiff_t k = cnn_min(BLOCK_K, p->k - k0);
            cnn_barrier(worker); /* the block before is no longer read */
            pack_b(p, column, n, k0, k, worker->shared, worker);
            cnn_barrier(worker);
            multiply_block(p, column, n, k0, k, worker);
        }
    }
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
                 .alpha = alpha,
                 .beta = beta,
                 .c = c,
                 .ldc = ldc,
                 .a_row = transpose_a ? 1 : lda,
                 .a_k = transpose_a ? lda : 1,
                 .b_k = transpose_b ? 1 : ldb,
                 .b_column = transpose_b ? ldb : 1};
    const int threads = cnn_get_threads();
    if (threads < 1) return CNN_BAD_THREADS;
    const size_t shared = (size_t)(BLOCK_K * (BLOCK_N + CNN_PANEL)) * sizeof(float);
    const size_t scratch = (size_t)(BLOCK_TILES * LARGEST_TILE_ROWS * BLOCK_K) * sizeof(float);
    char *memory = aligned_alloc(CNN_ALIGNMENT, shared + scratch * (size_t)threads);
    if (!memory) return CNN_OUT_OF_MEMORY;
    cnn_team team;
    cnn_team_init(&team);
    cnn_team_run(&team, threads, kernels, memory, memory + shared, scratch, multiply, &p);
    cnn_team_destroy(&team);
    free(memory);
    return CNN_OK;
}
