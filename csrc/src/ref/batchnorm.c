/* Naive twins of ops/batchnorm.c: Ioffe & Szegedy 2015, Algorithm 1, and the gradient of section 3. */
#include "ref/activations.h"

typedef struct norm {
    double mean, inv_std, weight, bias;
} norm;

/* The output for one element, before pooling. */
static float normal(const cnn_norm_geometry *g, const float *src, const norm *n)
{
    const double y = (*src - n->mean) * n->inv_std * n->weight + n->bias;
    return (float)ref_activation((cnn_activation)g->activation, y, 0.0, 0.0);
}

/* Writes one channel of the output, pooled where the geometry says so. */
static void write_channel(const cnn_norm_geometry *g, ptrdiff_t batch, const norm *n, const float *src, ptrdiff_t c,
                          float *dst, uint8_t *argmax)
{
    if (!g->pool) {
        for (ptrdiff_t i = c; i < batch * g->rows * g->c; i += g->c) dst[i] = normal(g, src + i, n);
        return;
    }
    const ptrdiff_t oh = g->rows / g->w / 2, ow = g->w / 2;
    for (ptrdiff_t p = 0; p < batch * oh * ow; p++) {
        const ptrdiff_t row = p / (oh * ow) * g->rows + p / ow % oh * 2 * g->w + p % ow * 2;
        float best = 0.0f;
        uint8_t tap = 0;
        for (int i = 0; i < 4; i++) {
            const float y = normal(g, src + (row + i / 2 * g->w + i % 2) * g->c + c, n);
            if (i == 0 || y > best || isnan(y)) best = y, tap = (uint8_t)i;
        }
        dst[p * g->c + c] = best;
        if (argmax) argmax[p * g->c + c] = g->activation == CNN_ACTIVATION_RELU && best <= 0.0f ? 255 : tap;
    }
}

void cnn_ref_batchnorm_forward_training(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_norm_geometry *g = &call->geometry->norm;
    float *save_mean = call->operands[CNN_batchnorm_forward_training_save_mean],
          *save_inv_std = call->operands[CNN_batchnorm_forward_training_save_inv_std];
    float *running_mean = call->operands[CNN_batchnorm_forward_training_running_mean],
          *running_var = call->operands[CNN_batchnorm_forward_training_running_var];
    const float *src = call->operands[CNN_batchnorm_forward_training_src],
                *weights = call->operands[CNN_batchnorm_forward_training_weights],
                *bias = call->operands[CNN_batchnorm_forward_training_bias];
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
        const norm n = {mean, 1.0 / sqrt(squares / (double)rows + g->eps), weights ? weights[c] : 1.0,
                        bias ? bias[c] : 0.0};
        const double unbiased = squares / (double)cnn_max(rows - 1, 1);
        write_channel(g, call->batch, &n, src, c, call->operands[CNN_batchnorm_forward_training_dst],
                      call->operands[CNN_batchnorm_forward_training_argmax]);
        save_mean[c] = (float)mean;
        save_mean[g->c + c] = (float)(mean - (double)save_mean[c]);
        save_inv_std[c] = (float)n.inv_std;
        running_mean[c] = (float)((1.0 - momentum) * running_mean[c] + momentum * mean);
        running_var[c] = (float)((1.0 - momentum) * running_var[c] + momentum * unbiased);
    }
}

void cnn_ref_batchnorm_forward_inference(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_norm_geometry *g = &call->geometry->norm;
    const float *weights = call->operands[CNN_batchnorm_forward_inference_weights],
                *bias = call->operands[CNN_batchnorm_forward_inference_bias];
    const float *running_mean = call->operands[CNN_batchnorm_forward_inference_running_mean],
                *running_var = call->operands[CNN_batchnorm_forward_inference_running_var];
    for (ptrdiff_t c = 0; c < g->c; c++) {
        const norm n = {running_mean[c], 1.0 / sqrt((double)running_var[c] + g->eps), weights ? weights[c] : 1.0,
                        bias ? bias[c] : 0.0};
        write_channel(g, call->batch, &n, call->operands[CNN_batchnorm_forward_inference_src], c,
                      call->operands[CNN_batchnorm_forward_inference_dst], NULL);
    }
}

/* The gradient by the output before pooling and activation, at row `row` of channel c. */
static double diff_at(const cnn_call *call, const norm *n, ptrdiff_t row, ptrdiff_t c)
{
    const cnn_norm_geometry *g = &call->geometry->norm;
    const float *src = call->operands[CNN_batchnorm_backward_src],
                *diff_dst = call->operands[CNN_batchnorm_backward_diff_dst];
    const uint8_t *argmax = call->operands[CNN_batchnorm_backward_argmax];
    if (!g->pool) {
        const bool off = g->activation == CNN_ACTIVATION_RELU && normal(g, src + row * g->c + c, n) <= 0.0f;
        return off ? 0.0 : diff_dst[row * g->c + c];
    }
    const ptrdiff_t oh = g->rows / g->w / 2, ow = g->w / 2;
    const ptrdiff_t sample = row / g->rows, y = row % g->rows / g->w, x = row % g->w;
    if (y / 2 >= oh || x / 2 >= ow) return 0.0;
    const ptrdiff_t pooled = ((sample * oh + y / 2) * ow + x / 2) * g->c + c;
    return argmax[pooled] == y % 2 * 2 + x % 2 ? diff_dst[pooled] : 0.0;
}

void cnn_ref_batchnorm_backward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_norm_geometry *g = &call->geometry->norm;
    float *diff_src = call->operands[CNN_batchnorm_backward_diff_src],
          *diff_weights = call->operands[CNN_batchnorm_backward_diff_weights],
          *diff_bias = call->operands[CNN_batchnorm_backward_diff_bias];
    const float *src = call->operands[CNN_batchnorm_backward_src],
                *weights = call->operands[CNN_batchnorm_backward_weights],
                *bias = call->operands[CNN_batchnorm_backward_bias];
    const float *save_mean = call->operands[CNN_batchnorm_backward_save_mean],
                *save_inv_std = call->operands[CNN_batchnorm_backward_save_inv_std],
                *mask = call->operands[CNN_batchnorm_backward_mask];
    const ptrdiff_t rows = call->batch * g->rows;
    for (ptrdiff_t c = 0; c < g->c; c++) {
        const norm n = {(double)save_mean[c] + save_mean[g->c + c], save_inv_std[c], weights ? weights[c] : 1.0,
                        bias ? bias[c] : 0.0};
        double sum = 0.0, product = 0.0;
        for (ptrdiff_t row = 0; row < rows; row++) {
            const double diff = diff_at(call, &n, row, c);
            sum += diff;
            product += diff * (src[row * g->c + c] - n.mean) * n.inv_std;
        }
        for (ptrdiff_t row = 0; row < rows; row++) {
            const ptrdiff_t i = row * g->c + c;
            const double centred = (src[i] - n.mean) * n.inv_std;
            const double diff = diff_at(call, &n, row, c) - sum / (double)rows - centred * product / (double)rows;
            diff_src[i] = mask && mask[i] <= 0.0f ? 0.0f : (float)(n.weight * n.inv_std * diff);
        }
        if (diff_weights) diff_weights[c] = (float)product;
        if (diff_bias) diff_bias[c] = (float)sum;
    }
}
