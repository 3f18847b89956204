/*
 * The activation with a learned slope for each channel, or one for all (He et al. 2015), over a matrix [rows][C].
 *
 * When channels are few, several rows are taken as one, so that the kernels always see dozens of columns. The gradient of
 * the slopes is summed over parts of the rows, cut by shape and batch only, which are added up in order.
 */
#include "internal.h"
#include "workspace.h"

enum {
    WIDE = 64,             /* columns that fill the vectors */
    PART_ELEMENTS = 32768, /* what a part should hold: an eighth of a second-level cache for each operand */
    PARTS = 64,            /* most parts */
};

/* The matrix as `full` rows of `columns`, `groups` of its own rows side by side, and a last one of `rest` columns. */
typedef struct matrix {
    ptrdiff_t c, groups, columns, full, rest, parts;
} matrix;

static matrix matrix_of(const cnn_prelu_geometry *g, ptrdiff_t batch)
{
    const ptrdiff_t rows = batch * g->rows, groups = g->c >= WIDE ? 1 : cnn_ceil_div(WIDE, g->c);
    const ptrdiff_t columns = groups * g->c, full = rows / groups;
    const ptrdiff_t parts = cnn_max(1, cnn_min(cnn_min(rows * g->c / PART_ELEMENTS, full), PARTS));
    return (matrix){g->c, groups, columns, full, rows % groups * g->c, parts};
}

/* Sums of each part and channel, and the slopes, repeated for rows side by side. */
typedef struct memory {
    double *products; /* [parts][C] */
    float *slopes;
    size_t bytes;
} memory;

static memory carve(const matrix *m, void *shared)
{
    const size_t sums = cnn_align((size_t)(m->parts * m->c) * sizeof(double));
    return (memory){shared, cnn_at(shared, sums), sums + cnn_align((size_t)m->columns * sizeof(float))};
}

/* The parts of a smaller batch are no more than those of the largest. */
cnn_workspace cnn_prelu_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    const matrix m = matrix_of(&geometry->prelu, batch);
    return (cnn_workspace){.shared = carve(&m, NULL).bytes, .scratch = 0};
}

/* Behind it, every worker sees the slopes. */
static void repeat_slopes(const matrix *m, const float *weights, float *slopes, const cnn_worker *worker)
{
    ptrdiff_t first, last;
    cnn_share(worker, m->groups, &first, &last);
    for (ptrdiff_t group = first; group < last; group++)
        memcpy(slopes + group * m->c, weights, (size_t)m->c * sizeof *slopes);
    cnn_barrier(worker);
}

void cnn_prelu_forward(const cnn_call *call, const cnn_worker *worker)
{
    float *dst = call->operands[CNN_prelu_forward_dst];
    const float *src = call->operands[CNN_prelu_forward_src], *weights = call->operands[CNN_prelu_forward_weights];
    const matrix m = matrix_of(&call->geometry->prelu, call->batch);
    const memory memory = carve(&m, worker->shared);
    ptrdiff_t first, last;
    assert(dst && src && weights && worker->shared);
    repeat_slopes(&m, weights, memory.slopes, worker);
    cnn_share(worker, m.full, &first, &last);
    worker->kernels->prelu(dst + first * m.columns, src + first * m.columns, memory.slopes, last - first, m.columns,
                           m.columns);
    const ptrdiff_t tail = m.full * m.columns;
    if (m.rest && cnn_is_first(worker))
        worker->kernels->prelu(dst + tail, src + tail, memory.slopes, 1, m.rest, m.rest);
}

/* The rows of a part, in slices of columns that the kernel's totals hold; the last one has what is left over. */
static void part_gradients(const cnn_call *call, const cnn_kernels *kernels, const matrix *m, const memory *memory,
                           ptrdiff_t part)
{
    float *diff_src = call->operands[CNN_prelu_backward_diff_src];
    const float *diff_dst = call->operands[CNN_prelu_backward_diff_dst], *src = call->operands[CNN_prelu_backward_src];
    const ptrdiff_t first = cnn_part(m->full, m->parts, part), rows = cnn_part(m->full, m->parts, part + 1) - first;
    const ptrdiff_t rest = part == m->parts - 1 ? m->rest : 0, tail = m->full * m->columns;
    double *products = memory->products + part * m->c;
    memset(products, 0, (size_t)m->c * sizeof *products);
    for (ptrdiff_t column = 0; column < m->columns; column += CNN_NORM_COLUMNS) {
        double sums[CNN_NORM_COLUMNS] = {0.0};
        const ptrdiff_t columns = cnn_min(CNN_NORM_COLUMNS, m->columns - column), at = first * m->columns + column;
        kernels->prelu_backward(diff_src + at, sums, diff_dst + at, src + at, memory->slopes + column, rows, columns,
                                m->columns);
        kernels->prelu_backward(diff_src + tail, sums, diff_dst + tail, src + tail, memory->slopes, rest > 0, rest,
                                m->columns);
        for (ptrdiff_t j = 0; j < columns; j++) products[(column + j) % m->c] += sums[j];
    }
}

void cnn_prelu_backward(const cnn_call *call, const cnn_worker *worker)
{
    float *diff_weights = call->operands[CNN_prelu_backward_diff_weights];
    const float *weights = call->operands[CNN_prelu_backward_weights];
    const matrix m = matrix_of(&call->geometry->prelu, call->batch);
    const memory memory = carve(&m, worker->shared);
    ptrdiff_t first, last;
    assert(call->operands[CNN_prelu_backward_diff_src] && call->operands[CNN_prelu_backward_diff_dst] &&
           call->operands[CNN_prelu_backward_src] && weights && worker->shared);
    repeat_slopes(&m, weights, memory.slopes, worker);
    cnn_share(worker, m.parts, &first, &last);
    for (ptrdiff_t part = first; part < last; part++) part_gradients(call, worker->kernels, &m, &memory, part);
    if (!diff_weights) return;
    cnn_barrier(worker);
    cnn_share(worker, m.c, &first, &last);
    for (ptrdiff_t k = first; k < last; k++) {
        double sum = 0.0;
        for (ptrdiff_t part = 0; part < m.parts; part++) sum += memory.products[part * m.c + k];
        diff_weights[k] = (float)sum;
    }
}
