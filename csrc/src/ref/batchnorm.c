/* Naive twins of ops/batchnorm.c: Ioffe & Szegedy 2015, Algorithm 1, and the gradient of section 3. */
#include "internal.h"

void cnn_ref_batchnorm_forward_training(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_norm_geometry *g = &call->geometry->norm;
    float *dst = call->operands[0], *save_mean = call->operands[1], *save_inv_std = call->operands[2];
    float *running_mean = call->operands[3], *running_var = call->operands[4];
    const float *src = call->operands[5], *weights = call->operands[6], *bias = call->operands[7];
    const ptrdiff_t rows = call->batch * g->rows;
    const double momentum = g->momentum;
    for (ptrdiff_t c = 0; c < g->c; c++) {
        double mean = 0.0, squares = 0.0;
        for (ptrdiff_t row = 0; row < rows; row++) mean += src[row * g->c + c];
        mean /= (double)rows;
        for (ptrdiff_t row = 0; row < rows; row++) {
            const double centred = src[row * g->c + c] - mean;
            squares += centred * centred;
        }
        const double inv_std = 1.0 / sqrt(squares / (double)rows + g->eps);
        const double unbiased = squares / (double)cnn_max(rows - 1, 1);
        for (ptrdiff_t row = 0; row < rows; row++)
            dst[row * g->c + c] = (float)((src[row * g->c + c] - mean) * inv_std * weights[c] + bias[c]);
        save_mean[c] = (float)mean;
        save_inv_std[c] = (float)inv_std;
        running_mean[c] = (float)((1.0 - momentum) * running_mean[c] + momentum * mean);
        running_var[c] = (float)((1.0 - momentum) * running_var[c] + momentum * unbiased);
    }
}

void cnn_ref_batchnorm_forward_inference(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_norm_geometry *g = &call->geometry->norm;
    float *dst = call->operands[0];
    const float *src = call->operands[1], *weights = call->operands[2], *bias = call->operands[3];
    const float *running_mean = call->operands[4], *running_var = call->operands[5];
    for (ptrdiff_t row = 0; row < call->batch * g->rows; row++)
        for (ptrdiff_t c = 0; c < g->c; c++) {
            const double centred = (double)src[row * g->c + c] - running_mean[c];
            const double inv_std = 1.0 / sqrt((double)running_var[c] + g->eps);
            dst[row * g->c + c] = (float)(centred * inv_std * weights[c] + bias[c]);
        }
}

void cnn_ref_batchnorm_backward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_norm_geometry *g = &call->geometry->norm;
    float *diff_src = call->operands[0], *diff_weights = call->operands[1], *diff_bias = call->operands[2];
    const float *src = call->operands[3], *diff_dst = call->operands[4], *weights = call->operands[5];
    const float *save_mean = call->operands[6], *save_inv_std = call->operands[7];
    const ptrdiff_t rows = call->batch * g->rows;
    for (ptrdiff_t c = 0; c < g->c; c++) {
        const double inv_std = save_inv_std[c];
        double mean = save_mean[c], sum = 0.0, product = 0.0, deviation = 0.0;
        for (ptrdiff_t row = 0; row < rows; row++) deviation += src[row * g->c + c] - mean;
        mean += deviation / (double)rows; /* without the rounding of the saved one */
        for (ptrdiff_t row = 0; row < rows; row++) {
            sum += diff_dst[row * g->c + c];
            product += diff_dst[row * g->c + c] * (src[row * g->c + c] - mean) * inv_std;
        }
        for (ptrdiff_t row = 0; row < rows; row++) {
            const ptrdiff_t i = row * g->c + c;
            const double normal = (src[i] - mean) * inv_std;
            const double centred = diff_dst[i] - sum / (double)rows - normal * product / (double)rows;
            diff_src[i] = (float)(weights[c] * inv_std * centred);
        }
        diff_weights[c] = (float)product;
        diff_bias[c] = (float)sum;
    }
}
