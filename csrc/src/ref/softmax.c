/* Naive twins of ops/softmax.c: y = exp(x - max) / sum, and its Jacobian product y * (g - sum(g * y)). */
#include "basics.h"

void cnn_ref_softmax_forward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_softmax_geometry *g = &call->geometry->softmax;
    for (ptrdiff_t row = 0; row < call->batch * g->rows; row++) {
        float *dst = (float *)call->operands[CNN_softmax_forward_dst] + row * g->c;
        const float *src = (const float *)call->operands[CNN_softmax_forward_src] + row * g->c;
        double largest = src[0], sum = 0.0;
        for (ptrdiff_t c = 1; c < g->c; c++) largest = src[c] > largest ? src[c] : largest;
        for (ptrdiff_t c = 0; c < g->c; c++) sum += exp(src[c] - largest);
        for (ptrdiff_t c = 0; c < g->c; c++) dst[c] = (float)(exp(src[c] - largest) / sum);
    }
}

void cnn_ref_softmax_backward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_softmax_geometry *g = &call->geometry->softmax;
    for (ptrdiff_t row = 0; row < call->batch * g->rows; row++) {
        float *diff_src = (float *)call->operands[CNN_softmax_backward_diff_src] + row * g->c;
        const float *diff_dst = (const float *)call->operands[CNN_softmax_backward_diff_dst] + row * g->c;
        const float *dst = (const float *)call->operands[CNN_softmax_backward_dst] + row * g->c;
        double sum = 0.0;
        for (ptrdiff_t c = 0; c < g->c; c++) sum += (double)diff_dst[c] * dst[c];
        for (ptrdiff_t c = 0; c < g->c; c++) diff_src[c] = (float)(dst[c] * (diff_dst[c] - sum));
    }
}
