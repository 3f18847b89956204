/* Softmax over the last axis, and its gradient. A task is a block of rows. */
#include "internal.h"

static ptrdiff_t rows_per_task(ptrdiff_t c) { return cnn_max(1, CNN_SPAN / c); }

static void share_rows(const cnn_call *call, const cnn_worker *worker, ptrdiff_t *first, ptrdiff_t *last)
{
    const cnn_softmax_geometry *g = &call->geometry->softmax;
    const ptrdiff_t rows = call->batch * g->rows, block = rows_per_task(g->c);
    assert(g->rows >= 1 && g->c >= 1);
    cnn_share(worker, cnn_ceil_div(rows, block), first, last);
    *first = cnn_min(*first * block, rows);
    *last = cnn_min(*last * block, rows);
}

/* exp(x - max) / sum; the sum in double, from left to right. */
void cnn_softmax_forward(const cnn_call *call, const cnn_worker *worker)
{
    enum { ROWS = 64 };
    const ptrdiff_t c = call->geometry->softmax.c;
    float *restrict dst = call->operands[CNN_softmax_forward_dst];
    const float *restrict src = call->operands[CNN_softmax_forward_src];
    float largest[ROWS];
    ptrdiff_t first, last;
    assert(dst && src);
    share_rows(call, worker, &first, &last);
    for (ptrdiff_t row = first; row < last; row += ROWS) {
        const ptrdiff_t rows = cnn_min(ROWS, last - row);
        worker->kernels->exp_rows(dst + row * c, largest, src + row * c, rows, c);
        for (ptrdiff_t r = row; r < row + rows; r++) {
            float *restrict out = dst + r * c;
            double sum = 0.0;
            for (ptrdiff_t j = 0; j < c; j++) sum += out[j];
            const float share = (float)(1.0 / sum);
            for (ptrdiff_t j = 0; j < c; j++) out[j] *= share;
        }
    }
}

/* diff_src = dst * (diff_dst - sum of diff_dst * dst) */
void cnn_softmax_backward(const cnn_call *call, const cnn_worker *worker)
{
    const ptrdiff_t c = call->geometry->softmax.c;
    float *restrict diff_src = call->operands[CNN_softmax_backward_diff_src];
    const float *restrict diff_dst = call->operands[CNN_softmax_backward_diff_dst],
                          *restrict dst = call->operands[CNN_softmax_backward_dst];
    ptrdiff_t first, last;
    assert(diff_src && diff_dst && dst);
    share_rows(call, worker, &first, &last);
    for (ptrdiff_t row = first; row < last; row++) {
        double product = 0.0;
        for (ptrdiff_t j = row * c; j < row * c + c; j++) product += (double)diff_dst[j] * dst[j];
        const float mean = (float)product;
        for (ptrdiff_t j = row * c; j < row * c + c; j++) diff_src[j] = dst[j] * (diff_dst[j] - mean);
    }
}
