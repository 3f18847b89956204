/* Rows of cnn_sgemm: C = op(A) * op(B) without gaps between the rows of a matrix. */
#include "bench.h"

#include <stdlib.h>

#include "internal.h"

static bool set(bench_row *row, const char *name, const char *value)
{
    bench_sgemm *r = &row->as.sgemm;
    const bench_whole fields[] = {
        {"m", &r->m}, {"n", &r->n}, {"k", &r->k}, {"transpose_a", &r->transpose_a}, {"transpose_b", &r->transpose_b}};
    return bench_set_whole(fields, sizeof fields / sizeof fields[0], name, value);
}

static bool complete(bench_row *row) { return row->as.sgemm.m >= 1 && row->as.sgemm.n >= 1 && row->as.sgemm.k >= 1; }

static float *matrix(ptrdiff_t count, uint32_t stream)
{
    float *values = malloc((size_t)count * sizeof *values);
    for (ptrdiff_t i = 0; values && i < count; i++)
        values[i] = (float)(2.0 * random_uniform(19, stream, (uint64_t)i) - 1.0);
    return values;
}

static bool prepare(bench_row *row)
{
    bench_sgemm *r = &row->as.sgemm;
    r->a = matrix(r->m * r->k, 1), r->b = matrix(r->k * r->n, 2), r->c = matrix(r->m * r->n, 3);
    return r->a && r->b && r->c;
}

static double run(bench_row *row, bool changed)
{
    (void)changed;
    const bench_sgemm *r = &row->as.sgemm;
    const ptrdiff_t lda = r->transpose_a ? r->m : r->k, ldb = r->transpose_b ? r->k : r->n;
    const double start = cnn_now();
    for (int i = 0; i < row->repeats; i++)
        if (cnn_sgemm(r->transpose_a, r->transpose_b, r->m, r->n, r->k, 1.0f, r->a, lda, r->b, ldb, 0.0f, r->c, r->n) !=
            CNN_OK)
            return -1.0;
    return cnn_now() - start;
}

static void release(bench_row *row)
{
    bench_sgemm *r = &row->as.sgemm;
    free(r->a), free(r->b), free(r->c);
    r->a = r->b = r->c = NULL;
}

static double flops(const bench_row *row)
{
    const bench_sgemm *r = &row->as.sgemm;
    return 2.0 * (double)r->m * (double)r->n * (double)r->k;
}

static double bytes(const bench_row *row)
{
    const bench_sgemm *r = &row->as.sgemm;
    return (double)(r->m * r->k + r->k * r->n + r->m * r->n) * sizeof(float);
}

static void describe(const bench_row *row, char form[BENCH_FORM])
{
    const bench_sgemm *r = &row->as.sgemm;
    snprintf(form, BENCH_FORM, "%s%s", r->transpose_a ? "transposed A " : "", r->transpose_b ? "transposed B" : "");
}

const bench_kind bench_sgemm_kind = {.set = set,
                                     .complete = complete,
                                     .prepare = prepare,
                                     .run = run,
                                     .release = release,
                                     .flops = flops,
                                     .bytes = bytes,
                                     .describe = describe};
