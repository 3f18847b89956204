/* Naive twins of ops/linear.c: matrix products by their definition, in double. Weights are [ceil(N/16)][K][16]. */
#include "ref/panels.h"

void cnn_ref_linear_forward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_linear_geometry *g = &call->geometry->linear;
    float *dst = call->operands[0];
    const float *src = call->operands[1], *weights = call->operands[2], *bias = call->operands[3];
    for (ptrdiff_t row = 0; row < call->batch; row++)
        for (ptrdiff_t j = 0; j < g->n; j++) {
            double sum = bias ? bias[j] : 0.0;
            for (ptrdiff_t k = 0; k < g->k; k++)
                sum += (double)src[row * g->k + k] * weights[panel_index(g->n, g->k, 0, k, j)];
            const bool off = g->activation == CNN_ACTIVATION_RELU && sum < 0.0;
            dst[row * g->n + j] = off ? 0.0f : (float)sum;
        }
}

void cnn_ref_linear_backward_data(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_linear_geometry *g = &call->geometry->linear;
    float *diff_src = call->operands[0];
    const float *diff_dst = call->operands[1], *weights = call->operands[2], *mask = call->operands[3];
    for (ptrdiff_t row = 0; row < call->batch; row++)
        for (ptrdiff_t k = 0; k < g->k; k++) {
            double sum = 0.0;
            for (ptrdiff_t j = 0; j < g->n; j++)
                sum += (double)diff_dst[row * g->n + j] * weights[panel_index(g->n, g->k, 0, k, j)];
            diff_src[row * g->k + k] = mask && mask[row * g->k + k] <= 0.0f ? 0.0f : (float)sum;
        }
}

void cnn_ref_linear_backward_weights(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_linear_geometry *g = &call->geometry->linear;
    float *diff_weights = call->operands[0], *diff_bias = call->operands[1];
    const float *src = call->operands[2], *diff_dst = call->operands[3];
    for (ptrdiff_t k = 0; k < g->k; k++)
        for (ptrdiff_t j = 0; j < panel_columns(g->n); j++) {
            double sum = 0.0;
            for (ptrdiff_t row = 0; j < g->n && row < call->batch; row++)
                sum += (double)src[row * g->k + k] * diff_dst[row * g->n + j];
            diff_weights[panel_index(g->n, g->k, 0, k, j)] = (float)sum;
        }
    for (ptrdiff_t j = 0; diff_bias && j < g->n; j++) {
        double sum = 0.0;
        for (ptrdiff_t row = 0; row < call->batch; row++) sum += diff_dst[row * g->n + j];
        diff_bias[j] = (float)sum;
    }
}
