/* cnn_sgemm against its twin: all transposes, odd sizes, several blocks of every extent, gaps in every matrix, beta = 0
 * over NaN, threads. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/operands.h"
#include "test.h"

typedef struct product {
    bool transpose_a, transpose_b;
    ptrdiff_t m, n, k, gap; /* gap: elements between rows */
    float alpha, beta;
} product;

static float *random_matrix(ptrdiff_t count, uint32_t stream)
{
    float *matrix = malloc((size_t)count * sizeof *matrix);
    for (ptrdiff_t i = 0; matrix && i < count; i++)
        matrix[i] = (float)(2.0 * random_uniform(7, stream, (uint64_t)i) - 1.0);
    return matrix;
}

/* Elements of `rows` rows, the last one without its gap: exactly what may be touched. */
static ptrdiff_t extent(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t stride)
{
    return rows && columns ? (rows - 1) * stride + columns : 1;
}

static void expect_like_twin(const product *p, const float *c, const float *expected, ptrdiff_t ldc)
{
    double largest = 0.0;
    for (ptrdiff_t i = 0; i < p->m * p->n; i++) largest = fmax(largest, fabs(expected[i / p->n * ldc + i % p->n]));
    for (ptrdiff_t i = 0; i < p->m; i++)
        for (ptrdiff_t j = 0; j < p->n; j++) {
            const ptrdiff_t at = i * ldc + j;
            if (fabs((double)c[at] - expected[at]) <= 1e-4 * largest) continue;
            test_expect(false, "C[%td][%td] is %.9g, twin %.9g", i, j, c[at], expected[at]);
            return;
        }
}

static void check(const product *p)
{
    const ptrdiff_t a_rows = p->transpose_a ? p->k : p->m, lda = (p->transpose_a ? p->m : p->k) + p->gap;
    const ptrdiff_t b_rows = p->transpose_b ? p->n : p->k, ldb = (p->transpose_b ? p->k : p->n) + p->gap;
    const ptrdiff_t ldc = p->n + p->gap, size = extent(p->m, p->n, ldc);
    test_begin("sgemm isa=%s ta=%d tb=%d m=%td n=%td k=%td gap=%td alpha=%g beta=%g", cnn_get_isa(), p->transpose_a,
               p->transpose_b, p->m, p->n, p->k, p->gap, p->alpha, p->beta);
    float *a = random_matrix(extent(a_rows, lda - p->gap, lda), 1),
          *b = random_matrix(extent(b_rows, ldb - p->gap, ldb), 2);
    float *start = random_matrix(size, 3), *expected = malloc((size_t)size * sizeof(float));
    float *c = malloc((size_t)size * sizeof(float)), *first = malloc((size_t)size * sizeof(float));
    for (ptrdiff_t i = 0; p->beta == 0.0f && i < size; i++) start[i] = NAN;
    memcpy(expected, start, (size_t)size * sizeof(float));
    cnn_ref_sgemm(p->transpose_a, p->transpose_b, p->m, p->n, p->k, p->alpha, a, lda, b, ldb, p->beta, expected, ldc);
    static const int teams[] = {1, 2, 3, 5};
    for (size_t t = 0; t < sizeof teams / sizeof teams[0]; t++) {
        memcpy(c, start, (size_t)size * sizeof(float));
        cnn_set_threads(teams[t]);
        const cnn_status status =
            cnn_sgemm(p->transpose_a, p->transpose_b, p->m, p->n, p->k, p->alpha, a, lda, b, ldb, p->beta, c, ldc);
        test_expect(status == CNN_OK, "status %d", status);
        if (t == 0) {
            memcpy(first, c, (size_t)size * sizeof(float));
            expect_like_twin(p, c, expected, ldc);
        }
        test_expect(memcmp(first, c, (size_t)size * sizeof(float)) == 0, "other bits on %d threads", teams[t]);
    }
    for (ptrdiff_t i = 0; i + 1 < p->m && p->gap; i++)
        test_expect(memcmp(c + i * ldc + p->n, start + i * ldc + p->n, (size_t)p->gap * sizeof(float)) == 0,
                    "row %td wrote into its gap", i);
    cnn_set_threads(0);
    free(a), free(b), free(c), free(start), free(expected), free(first);
    test_end();
}

void suite_sgemm(void)
{
    static const ptrdiff_t sizes[][3] = {{1, 1, 1},      {5, 7, 3},      {6, 16, 9},      {13, 33, 17},
                                         {64, 64, 64},   {65, 17, 130},  {2, 100, 300},   {97, 3, 50},
                                         {31, 48, 1},    {20, 2085, 11}, {300, 37, 1100}, {50, 300, 2100},
                                         {61, 40, 1024}, {30, 17, 1018}, {70, 33, 4096}}; /* gap 5: 1023 */
    static const float scales[][2] = {{1.0f, 0.0f}, {1.0f, 1.0f}, {-0.5f, 2.0f}, {0.75f, 0.0f}};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
        for (int transposes = 0; transposes < 4; transposes++)
            for (size_t f = 0; f < sizeof scales / sizeof scales[0]; f++)
                check(&(product){.transpose_a = transposes & 1,
                                 .transpose_b = transposes >> 1,
                                 .m = sizes[s][0],
                                 .n = sizes[s][1],
                                 .k = sizes[s][2],
                                 .gap = f % 2 ? 5 : 0,
                                 .alpha = scales[f][0],
                                 .beta = scales[f][1]});
}
