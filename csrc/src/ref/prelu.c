/* Naive twins of ops/prelu.c: He et al. 2015, equations 1, 8 and 9. */
#include "basics.h"

void cnn_ref_prelu_forward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_prelu_geometry *g = &call->geometry->prelu;
    float *dst = call->operands[CNN_prelu_forward_dst];
    const float *src = call->operands[CNN_prelu_forward_src], *weights = call->operands[CNN_prelu_forward_weights];
    for (ptrdiff_t i = 0; i < call->batch * g->rows * g->c; i++)
        dst[i] = src[i] < 0.0f ? (float)((double)weights[i % g->c] * src[i]) : src[i];
}

void cnn_ref_prelu_backward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_prelu_geometry *g = &call->geometry->prelu;
    float *diff_src = call->operands[CNN_prelu_backward_diff_src],
          *diff_weights = call->operands[CNN_prelu_backward_diff_weights];
    const float *diff_dst = call->operands[CNN_prelu_backward_diff_dst], *src = call->operands[CNN_prelu_backward_src],
                *weights = call->operands[CNN_prelu_backward_weights];
    for (ptrdiff_t c = 0; c < g->c; c++) {
        double sum = 0.0;
        for (ptrdiff_t i = c; i < call->batch * g->rows * g->c; i += g->c) {
            const double x = src[i], diff = diff_dst[i];
            if (x <= 0.0) sum += diff * x;
            diff_src[i] = x <= 0.0 ? (float)(weights[c] * diff) : (float)diff;
        }
        if (diff_weights) diff_weights[c] = (float)sum;
    }
}
