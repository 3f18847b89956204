/*
 * Batch normalisation of a batch that is not in memory at once: its instructions run on some of the samples each (their
 * windows), in the order of the samples where they sum. What the windows before have left is in save_mean and squares,
 * or in sums and products: each a double as a float and what its rounding left.
 */
#include "batchnorm.h"

/* Rows of the windows before this one. */
static double rows_before(const cnn_call *call) { return (double)call->first * (double)call->geometry->norm.rows; }

static bool is_last_window(const cnn_call *call) { return call->first + call->batch == call->run->batch; }

/* A double in two floats, [2][C]. */
static double pair_of(const float *pairs, ptrdiff_t c, ptrdiff_t k) { return (double)pairs[k] + (double)pairs[c + k]; }

static void put_pair(float *pairs, ptrdiff_t c, ptrdiff_t k, double value)
{
    pairs[k] = (float)value;
    pairs[c + k] = (float)(value - (double)pairs[k]);
}

/* Joined as in join_parts(): Chan, Golub & LeVeque 1979. */
void cnn_batchnorm_moments(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_norm_geometry *g = &call->geometry->norm;
    float *save_mean = call->operands[CNN_batchnorm_moments_save_mean],
          *save_inv_std = call->operands[CNN_batchnorm_moments_save_inv_std],
          *squares = call->operands[CNN_batchnorm_moments_squares];
    float *running_mean = call->operands[CNN_batchnorm_moments_running_mean],
          *running_var = call->operands[CNN_batchnorm_moments_running_var];
    const ptrdiff_t c = g->c, rows = call->batch * g->rows, parts = part_count(rows, c);
    const double before = rows_before(call), all = before + (double)rows;
    const memory m = carve(g, call->batch, worker->shared);
    ptrdiff_t first, last;
    assert(save_mean && save_inv_std && squares && running_mean && running_var && worker->shared);

    take_moments(call, worker, &m, call->operands[CNN_batchnorm_moments_src]);
    cnn_share(worker, c, &first, &last);
    for (ptrdiff_t k = first; k < last; k++) {
        double mean, total = join_parts(m.first + k, m.second + k, rows, parts, c, &mean);
        if (before > 0.0) {
            const double known = pair_of(save_mean, c, k), step = mean - known;
            total += pair_of(squares, c, k) + step * step * (before * (double)rows / all);
            mean = known + step * ((double)rows / all);
        }
        put_pair(save_mean, c, k, mean);
        put_pair(squares, c, k, total);
        if (!is_last_window(call)) continue;
        save_inv_std[k] = (float)(1.0 / sqrt(total / all + (double)g->eps));
        update_running(g, (ptrdiff_t)all, mean, total, running_mean + k, running_var + k);
    }
}

void cnn_batchnorm_normalize(const cnn_call *call, const cnn_worker *worker)
{
    const memory m = carve(&call->geometry->norm, call->batch, worker->shared);
    assert(worker->shared);
    put_saved(call, worker, &m, call->operands[CNN_batchnorm_normalize_save_mean],
              call->operands[CNN_batchnorm_normalize_save_inv_std], call->operands[CNN_batchnorm_normalize_weights],
              call->operands[CNN_batchnorm_normalize_bias]);
    apply(call, worker, &m, call->operands[CNN_batchnorm_normalize_src], call->operands[CNN_batchnorm_normalize_addend],
          call->operands[CNN_batchnorm_normalize_dst], call->operands[CNN_batchnorm_normalize_argmax]);
}

void cnn_batchnorm_sums(const cnn_call *call, const cnn_worker *worker)
{
    float *diff_weights = call->operands[CNN_batchnorm_sums_diff_weights],
          *diff_bias = call->operands[CNN_batchnorm_sums_diff_bias],
          *factors = call->operands[CNN_batchnorm_sums_factors], *sums = call->operands[CNN_batchnorm_sums_sums],
          *products = call->operands[CNN_batchnorm_sums_products];
    const float *weights = call->operands[CNN_batchnorm_sums_weights],
                *save_mean = call->operands[CNN_batchnorm_sums_save_mean],
                *save_inv_std = call->operands[CNN_batchnorm_sums_save_inv_std];
    const gradient d = {.src = call->operands[CNN_batchnorm_sums_src],
                        .diff_dst = call->operands[CNN_batchnorm_sums_diff_dst],
                        .argmax = call->operands[CNN_batchnorm_sums_argmax]};
    const cnn_norm_geometry *g = &call->geometry->norm;
    const ptrdiff_t c = g->c, rows = call->batch * g->rows, parts = part_count(rows, c);
    const double before = rows_before(call), all = before + (double)rows;
    const memory m = carve(g, call->batch, worker->shared);
    ptrdiff_t first, last;
    assert(factors && sums && products && save_mean && save_inv_std && worker->shared && !g->pool == !d.argmax);

    put_saved(call, worker, &m, save_mean, save_inv_std, weights, call->operands[CNN_batchnorm_sums_bias]);
    take_sums(call, worker, &m, &d);
    cnn_share(worker, c, &first, &last);
    for (ptrdiff_t k = first; k < last; k++) {
        const double left = save_mean[c + k];
        double sum, product;
        join_sums(&m, parts, c, k, left, &sum, &product);
        if (before > 0.0) sum += pair_of(sums, c, k), product += pair_of(products, c, k);
        put_pair(sums, c, k, sum);
        put_pair(products, c, k, product);
        if (!is_last_window(call)) continue;
        if (diff_bias) diff_bias[k] = (float)sum;
        if (diff_weights) diff_weights[k] = (float)(product * (double)save_inv_std[k]);
        gradient_factors(sum, product, weight_at(weights, k), save_inv_std[k], left, all, factors + k, factors + c + k);
    }
}

void cnn_batchnorm_data(const cnn_call *call, const cnn_worker *worker)
{
    const float *factors = call->operands[CNN_batchnorm_data_factors];
    const gradient d = {.diff_src = call->operands[CNN_batchnorm_data_diff_src],
                        .src = call->operands[CNN_batchnorm_data_src],
                        .diff_dst = call->operands[CNN_batchnorm_data_diff_dst],
                        .mask = call->operands[CNN_batchnorm_data_mask],
                        .argmax = call->operands[CNN_batchnorm_data_argmax]};
    const cnn_norm_geometry *g = &call->geometry->norm;
    const memory m = carve(g, call->batch, worker->shared);
    ptrdiff_t first, last;
    assert(factors && d.diff_src && worker->shared && !g->pool == !d.argmax);
    cnn_share(worker, g->c, &first, &last);
    for (ptrdiff_t k = first; k < last; k++) {
        put(m.slope, k, g->c, factors[k]);
        put(m.rest, k, g->c, factors[g->c + k]);
    }
    put_saved(call, worker, &m, call->operands[CNN_batchnorm_data_save_mean],
              call->operands[CNN_batchnorm_data_save_inv_std], call->operands[CNN_batchnorm_data_weights],
              call->operands[CNN_batchnorm_data_bias]);
    write_data(call, worker, &m, &d);
}
