/* Naive twins of ops/linear.c: matrix products by their definition, in double. Weights are [ceil(N/16)][K][16]. */
#include "ref/activations.h"
#include "ref/panels.h"

void cnn_ref_linear_forward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_linear_geometry *g = &call->geometry->linear;
    float *dst = call->operands[CNN_linear_forward_dst];
    const float *src = call->operands[CNN_linear_forward_src], *weights = call->operands[CNN_linear_forward_weights],
                *bias = call->operands[CNN_linear_forward_bias];
    for (ptrdiff_t row = 0; row < call->batch; row++)
        for (ptrdiff_t j = 0; j < g->n; j++) {
            double sum = bias ? bias[j] : 0.0;
            for (ptrdiff_t k = 0; k < g->k; k++)
                sum += (double)src[row * g->k + k] * weights[panel_index(g->n, g->k, 0, k, j)];
            dst[row * g->n + j] = (float)ref_activation((cnn_activation)g->activation, sum, 0.0, 0.0);
        }
}

void cnn_ref_linear_backward_data(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_linear_geometry *g = &call->geometry->linear;
    float *diff_src = call->operands[CNN_linear_backward_data_diff_src];
    const float *diff_dst = call->operands[CNN_linear_backward_data_diff_dst],
                *weights = call->operands[CNN_linear_backward_data_weights],
                *mask = call->operands[CNN_linear_backward_data_mask];
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
    float *diff_weights = call->operands[CNN_linear_backward_weights_diff_weights],
          *diff_bias = call->operands[CNN_linear_backward_weights_diff_bias];
    const float *src = call->operands[CNN_linear_backward_weights_src],
                *diff_dst = call->operands[CNN_linear_backward_weights_diff_dst];
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
