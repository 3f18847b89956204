/* Naive twins of ops/batchnorm.c and ops/batchnorm_windows.c: Ioffe & Szegedy 2015, Algorithm 1, and the gradient of section 3. */
#include "ref/activations.h"

typedef struct norm {
    double mean, inv_std, weight, bias;
} norm;

/* The output for one element, before pooling. */
static float normal(const cnn_norm_geometry *g, const float *src, const norm *n, float added)
{
    const double y = (*src - n->mean) * n->inv_std * n->weight + n->bias + added;
    return (float)ref_activation((cnn_activation)g->activation, y, 0.0, 0.0);
}

/* Writes one channel of the output, pooled where the geometry says so. */
static void write_channel(const cnn_norm_geometry *g, ptrdiff_t batch, const norm *n, const float *src,
                          const float *addend, ptrdiff_t c, float *dst, uint8_t *argmax)
{
    if (!g->pool) {
        for (ptrdiff_t i = c; i < batch * g->rows * g->c; i += g->c)
            dst[i] = normal(g, src + i, n, addend ? addend[i] : 0.0f);
        return;
    }
    const ptrdiff_t oh = g->rows / g->w / 2, ow = g->w / 2;
    for (ptrdiff_t p = 0; p < batch * oh * ow; p++) {
        const ptrdiff_t row = p / (oh * ow) * g->rows + p / ow % oh * 2 * g->w + p % ow * 2;
        float best = 0.0f;
        uint8_t tap = 0;
        for (int i = 0; i < 4; i++) {
            const float y = normal(g, src + (row + i / 2 * g->w + i % 2) * g->c + c, n, 0.0f);
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
        write_channel(g, call->batch, &n, src, call->operands[CNN_batchnorm_forward_training_addend], c,
                      call->operands[CNN_batchnorm_forward_training_dst],
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
        write_channel(g, call->batch, &n, call->operands[CNN_batchnorm_forward_inference_src], NULL, c,
                      call->operands[CNN_batchnorm_forward_inference_dst], NULL);
    }
}

/* What a gradient is taken of. */
typedef struct taken {
    const float *src, *diff_dst;
    const uint8_t *argmax;
} taken;

/* The gradient by the output before pooling and activation, at row `row` of channel c. */
static double diff_at(const cnn_norm_geometry *g, const taken *t, const norm *n, ptrdiff_t row, ptrdiff_t c)
{
    if (!g->pool) {
        const bool off = g->activation == CNN_ACTIVATION_RELU && normal(g, t->src + row * g->c + c, n, 0.0f) <= 0.0f;
        return off ? 0.0 : t->diff_dst[row * g->c + c];
    }
    const ptrdiff_t oh = g->rows / g->w / 2, ow = g->w / 2;
    const ptrdiff_t sample = row / g->rows, y = row % g->rows / g->w, x = row % g->w;
    if (y / 2 >= oh || x / 2 >= ow) return 0.0;
    const ptrdiff_t pooled = ((sample * oh + y / 2) * ow + x / 2) * g->c + c;
    return t->argmax[pooled] == y % 2 * 2 + x % 2 ? t->diff_dst[pooled] : 0.0;
}

/* A channel as save_* and the parameters describe it. */
static norm saved(const float *save_mean, const float *save_inv_std, const float *weights, const float *bias,
                  ptrdiff_t c, ptrdiff_t k)
{
    return (norm){(double)save_mean[k] + save_mean[c + k], save_inv_std[k], weights ? weights[k] : 1.0,
                  bias ? bias[k] : 0.0};
}

/* Sums of the gradient, and of the gradient times the normalised source, over all rows of channel c. */
static void sum_channel(const cnn_call *call, const taken *t, const norm *n, ptrdiff_t c, double *sum, double *product)
{
    const cnn_norm_geometry *g = &call->geometry->norm;
    *sum = *product = 0.0;
    for (ptrdiff_t row = 0; row < call->batch * g->rows; row++) {
        const double diff = diff_at(g, t, n, row, c);
        *sum += diff;
        *product += diff * (t->src[row * g->c + c] - n->mean) * n->inv_std;
    }
}

void cnn_ref_batchnorm_backward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_norm_geometry *g = &call->geometry->norm;
    float *diff_src = call->operands[CNN_batchnorm_backward_diff_src],
          *diff_weights = call->operands[CNN_batchnorm_backward_diff_weights],
          *diff_bias = call->operands[CNN_batchnorm_backward_diff_bias];
    const float *weights = call->operands[CNN_batchnorm_backward_weights],
                *bias = call->operands[CNN_batchnorm_backward_bias];
    const taken t = {call->operands[CNN_batchnorm_backward_src], call->operands[CNN_batchnorm_backward_diff_dst],
                     call->operands[CNN_batchnorm_backward_argmax]};
    const float *save_mean = call->operands[CNN_batchnorm_backward_save_mean],
                *save_inv_std = call->operands[CNN_batchnorm_backward_save_inv_std],
                *mask = call->operands[CNN_batchnorm_backward_mask];
    const ptrdiff_t rows = call->batch * g->rows;
    for (ptrdiff_t c = 0; c < g->c; c++) {
        const norm n = saved(save_mean, save_inv_std, weights, bias, g->c, c);
        double sum, product;
        sum_channel(call, &t, &n, c, &sum, &product);
        for (ptrdiff_t row = 0; row < rows; row++) {
            const ptrdiff_t i = row * g->c + c;
            const double centred = (t.src[i] - n.mean) * n.inv_std;
            const double diff = diff_at(g, &t, &n, row, c) - sum / (double)rows - centred * product / (double)rows;
            diff_src[i] = mask && mask[i] <= 0.0f ? 0.0f : (float)(n.weight * n.inv_std * diff);
        }
        if (diff_weights) diff_weights[c] = (float)product;
        if (diff_bias) diff_bias[c] = (float)sum;
    }
}

/* ---- over windows ------------------------------------------------------------------------------------------------- */

static double pair_of(const float *pairs, ptrdiff_t c, ptrdiff_t k) { return (double)pairs[k] + (double)pairs[c + k]; }

static void put_pair(float *pairs, ptrdiff_t c, ptrdiff_t k, double value)
{
    pairs[k] = (float)value;
    pairs[c + k] = (float)(value - (double)pairs[k]);
}

void cnn_ref_batchnorm_moments(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_norm_geometry *g = &call->geometry->norm;
    float *save_mean = call->operands[CNN_batchnorm_moments_save_mean],
          *save_inv_std = call->operands[CNN_batchnorm_moments_save_inv_std],
          *squares = call->operands[CNN_batchnorm_moments_squares];
    float *running_mean = call->operands[CNN_batchnorm_moments_running_mean],
          *running_var = call->operands[CNN_batchnorm_moments_running_var];
    const float *src = call->operands[CNN_batchnorm_moments_src];
    const ptrdiff_t rows = call->batch * g->rows, before = call->first * g->rows, all = before + rows;
    const double momentum = g->momentum;
    for (ptrdiff_t c = 0; c < g->c; c++) {
        const double known = before ? pair_of(save_mean, g->c, c) : 0.0;
        double sum = known * (double)before, total = before ? pair_of(squares, g->c, c) : 0.0;
        for (ptrdiff_t row = 0; row < rows; row++) sum += src[row * g->c + c];
        const double mean = sum / (double)all;
        total += (double)before * (known - mean) * (known - mean);
        for (ptrdiff_t row = 0; row < rows; row++) {
            const double centred = src[row * g->c + c] - mean;
            total += centred * centred;
        }
        put_pair(save_mean, g->c, c, mean);
        put_pair(squares, g->c, c, total);
        if (call->first + call->batch != call->run->batch) continue;
        save_inv_std[c] = (float)(1.0 / sqrt(total / (double)all + g->eps));
        running_mean[c] = (float)((1.0 - momentum) * running_mean[c] + momentum * mean);
        running_var[c] = (float)((1.0 - momentum) * running_var[c] + momentum * total / (double)cnn_max(all - 1, 1));
    }
}

void cnn_ref_batchnorm_normalize(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_norm_geometry *g = &call->geometry->norm;
    for (ptrdiff_t c = 0; c < g->c; c++) {
        const norm n = saved(
            call->operands[CNN_batchnorm_normalize_save_mean], call->operands[CNN_batchnorm_normalize_save_inv_std],
            call->operands[CNN_batchnorm_normalize_weights], call->operands[CNN_batchnorm_normalize_bias], g->c, c);
        write_channel(g, call->batch, &n, call->operands[CNN_batchnorm_normalize_src],
                      call->operands[CNN_batchnorm_normalize_addend], c, call->operands[CNN_batchnorm_normalize_dst],
                      call->operands[CNN_batchnorm_normalize_argmax]);
    }
}

/* What the op calls products is of the source less its mean, here it is normalised too: their ratio is inv_std. */
void cnn_ref_batchnorm_sums(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_norm_geometry *g = &call->geometry->norm;
    float *diff_weights = call->operands[CNN_batchnorm_sums_diff_weights],
          *diff_bias = call->operands[CNN_batchnorm_sums_diff_bias],
          *factors = call->operands[CNN_batchnorm_sums_factors], *sums = call->operands[CNN_batchnorm_sums_sums],
          *products = call->operands[CNN_batchnorm_sums_products];
    const float *save_mean = call->operands[CNN_batchnorm_sums_save_mean];
    const taken t = {call->operands[CNN_batchnorm_sums_src], call->operands[CNN_batchnorm_sums_diff_dst],
                     call->operands[CNN_batchnorm_sums_argmax]};
    const double all = (double)((call->first + call->batch) * g->rows);
    for (ptrdiff_t c = 0; c < g->c; c++) {
        const norm n =
            saved(save_mean, call->operands[CNN_batchnorm_sums_save_inv_std],
                  call->operands[CNN_batchnorm_sums_weights], call->operands[CNN_batchnorm_sums_bias], g->c, c);
        double sum, product;
        sum_channel(call, &t, &n, c, &sum, &product);
        if (call->first) sum += pair_of(sums, g->c, c), product += pair_of(products, g->c, c) * n.inv_std;
        put_pair(sums, g->c, c, sum);
        put_pair(products, g->c, c, product / n.inv_std);
        if (call->first + call->batch != call->run->batch) continue;
        if (diff_bias) diff_bias[c] = (float)sum;
        if (diff_weights) diff_weights[c] = (float)product;
        factors[c] = (float)(-n.weight * n.inv_std * n.inv_std * product / all);
        factors[g->c + c] = (float)(-n.weight * n.inv_std * sum / all - (double)factors[c] * save_mean[g->c + c]);
    }
}

void cnn_ref_batchnorm_data(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_norm_geometry *g = &call->geometry->norm;
    float *diff_src = call->operands[CNN_batchnorm_data_diff_src];
    const float *factors = call->operands[CNN_batchnorm_data_factors], *mask = call->operands[CNN_batchnorm_data_mask],
                *save_mean = call->operands[CNN_batchnorm_data_save_mean];
    const taken t = {call->operands[CNN_batchnorm_data_src], call->operands[CNN_batchnorm_data_diff_dst],
                     call->operands[CNN_batchnorm_data_argmax]};
    for (ptrdiff_t c = 0; c < g->c; c++) {
        const norm n =
            saved(save_mean, call->operands[CNN_batchnorm_data_save_inv_std],
                  call->operands[CNN_batchnorm_data_weights], call->operands[CNN_batchnorm_data_bias], g->c, c);
        for (ptrdiff_t row = 0; row < call->batch * g->rows; row++) {
            const ptrdiff_t i = row * g->c + c;
            const double diff = n.weight * n.inv_std * diff_at(g, &t, &n, row, c) +
                                ((double)t.src[i] - save_mean[c]) * factors[c] + factors[g->c + c];
            diff_src[i] = mask && mask[i] <= 0.0f ? 0.0f : (float)diff;
        }
    }
}
