/*
 * Batch normalisation (Ioffe & Szegedy 2015, Algorithm 1) of a matrix [rows][C], rows = batch * rows per sample, with
 * the activation and the 2x2 max-pool behind it. Without weights these are ones, without bias that is zero. Its passes:
 * batchnorm.h; sums by channel: norm.h.
 */
#include "batchnorm.h"

/* The parts of a smaller batch are no more than those of the largest. */
cnn_workspace cnn_batchnorm_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    return (cnn_workspace){.shared = carve(&geometry->norm, batch, NULL).bytes, .scratch = 0};
}

void cnn_batchnorm_forward_training(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_norm_geometry *g = &call->geometry->norm;
    float *dst = call->operands[CNN_batchnorm_forward_training_dst],
          *save_mean = call->operands[CNN_batchnorm_forward_training_save_mean],
          *save_inv_std = call->operands[CNN_batchnorm_forward_training_save_inv_std];
    float *running_mean = call->operands[CNN_batchnorm_forward_training_running_mean],
          *running_var = call->operands[CNN_batchnorm_forward_training_running_var];
    const float *src = call->operands[CNN_batchnorm_forward_training_src],
                *weights = call->operands[CNN_batchnorm_forward_training_weights],
                *bias = call->operands[CNN_batchnorm_forward_training_bias];
    const ptrdiff_t c = g->c, rows = call->batch * g->rows, parts = part_count(rows, c);
    const memory m = carve(g, call->batch, worker->shared);
    ptrdiff_t first, last;
    assert(dst && save_mean && save_inv_std && running_mean && running_var && src);
    assert(worker->shared && c >= 1 && rows >= 1 && g->eps >= 0.0f);

    take_moments(call, worker, &m, src);
    cnn_share(worker, c, &first, &last);
    for (ptrdiff_t k = first; k < last; k++) {
        double mean;
        const double total = join_parts(m.first + k, m.second + k, rows, parts, c, &mean);
        save_mean[k] = (float)mean;
        save_mean[c + k] = (float)(mean - (double)save_mean[k]);
        save_inv_std[k] = (float)(1.0 / sqrt(total / (double)rows + (double)g->eps));
        update_running(g, rows, mean, total, running_mean + k, running_var + k);
        put_forward(&m, k, c, save_mean[k], save_mean[c + k], weight_at(weights, k) * save_inv_std[k],
                    bias_at(bias, k));
    }
    cnn_barrier(worker);
    apply(call, worker, &m, src, call->operands[CNN_batchnorm_forward_training_addend], dst,
          call->operands[CNN_batchnorm_forward_training_argmax]);
}

void cnn_batchnorm_forward_inference(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_norm_geometry *g = &call->geometry->norm;
    float *dst = call->operands[CNN_batchnorm_forward_inference_dst];
    const float *src = call->operands[CNN_batchnorm_forward_inference_src],
                *weights = call->operands[CNN_batchnorm_forward_inference_weights],
                *bias = call->operands[CNN_batchnorm_forward_inference_bias];
    const float *running_mean = call->operands[CNN_batchnorm_forward_inference_running_mean],
                *running_var = call->operands[CNN_batchnorm_forward_inference_running_var];
    const memory m = carve(g, call->batch, worker->shared);
    ptrdiff_t first, last;
    assert(dst && src && running_mean && running_var && worker->shared && g->c >= 1);
    cnn_share(worker, g->c, &first, &last);
    for (ptrdiff_t k = first; k < last; k++) {
        const double deviation = sqrt((double)running_var[k] + (double)g->eps);
        put_forward(&m, k, g->c, running_mean[k], 0.0f, (float)((double)weight_at(weights, k) / deviation),
                    bias_at(bias, k));
    }
    cnn_barrier(worker);
    apply(call, worker, &m, src, NULL, dst, NULL);
}

/*
 * With y' = (x - mean) * inv_std, S = sum dy, P = sum dy * y' over n rows (Ioffe & Szegedy 2015, section 3):
 *   diff_bias = S, diff_weights = P, diff_src = weights * inv_std * (dy - S/n - y' * P/n)
 *
 * The sum of diff_src over the rows is exactly zero: it is the gradient of a bias before the normalisation. Where the
 * deviations are small beside the mean, the rounding of the mean would drown that zero: save_mean has what it left.
 *
 * With a ReLU behind, its mask is taken from y, computed again bit by bit as the forward pass did.
 */
void cnn_batchnorm_backward(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_norm_geometry *g = &call->geometry->norm;
    float *diff_weights = call->operands[CNN_batchnorm_backward_diff_weights],
          *diff_bias = call->operands[CNN_batchnorm_backward_diff_bias];
    const float *weights = call->operands[CNN_batchnorm_backward_weights],
                *save_mean = call->operands[CNN_batchnorm_backward_save_mean],
                *save_inv_std = call->operands[CNN_batchnorm_backward_save_inv_std];
    const gradient d = {.diff_src = call->operands[CNN_batchnorm_backward_diff_src],
                        .src = call->operands[CNN_batchnorm_backward_src],
                        .diff_dst = call->operands[CNN_batchnorm_backward_diff_dst],
                        .mask = call->operands[CNN_batchnorm_backward_mask],
                        .argmax = call->operands[CNN_batchnorm_backward_argmax]};
    const ptrdiff_t c = g->c, rows = call->batch * g->rows, parts = part_count(rows, c);
    const memory m = carve(g, call->batch, worker->shared);
    ptrdiff_t first, last;
    assert(d.diff_src && save_mean && save_inv_std && !g->pool == !d.argmax);
    assert(worker->shared && c >= 1 && rows >= 1);

    put_saved(call, worker, &m, save_mean, save_inv_std, weights, call->operands[CNN_batchnorm_backward_bias]);
    take_sums(call, worker, &m, &d);
    cnn_share(worker, c, &first, &last);
    for (ptrdiff_t k = first; k < last; k++) {
        const double left = save_mean[c + k];
        double sum, product;
        float slope, rest;
        join_sums(&m, parts, c, k, left, &sum, &product);
        if (diff_bias) diff_bias[k] = (float)sum;
        if (diff_weights) diff_weights[k] = (float)(product * (double)save_inv_std[k]);
        gradient_factors(sum, product, weight_at(weights, k), save_inv_std[k], left, (double)rows, &slope, &rest);
        put(m.slope, k, c, slope);
        put(m.rest, k, c, rest);
    }
    cnn_barrier(worker);
    write_data(call, worker, &m, &d);
}
