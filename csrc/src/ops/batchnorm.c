/*
 * Batch normalisation (Ioffe & Szegedy 2015, Algorithm 1) of a matrix [rows][C], rows = batch * rows per sample, with
 * the activation and the 2x2 max-pool behind it. Without weights these are ones, without bias that is zero. Sums by channel:
 * norm.h.
 */
#include "norm.h"
#include "workspace.h"

/* Two doubles for each part and channel, and the vectors of a cnn_norm, repeated for rows side by side. */
typedef struct memory {
    double *first, *second; /* [parts][C] */
    float *mean, *factor, *shift, *slope, *rest;
    size_t bytes;
} memory;

static memory carve(const cnn_norm_geometry *g, ptrdiff_t batch, void *shared)
{
    const ptrdiff_t parts = part_count(batch * g->rows, g->c);
    const size_t sums = cnn_align((size_t)(parts * g->c) * sizeof(double));
    const size_t vector = cnn_align((size_t)(group_count(g->c) * g->c) * sizeof(float)), vectors = 2 * sums;
    return (memory){.first = shared,
                    .second = cnn_at(shared, sums),
                    .mean = cnn_at(shared, vectors),
                    .factor = cnn_at(shared, vectors + vector),
                    .shift = cnn_at(shared, vectors + 2 * vector),
                    .slope = cnn_at(shared, vectors + 3 * vector),
                    .rest = cnn_at(shared, vectors + 4 * vector),
                    .bytes = vectors + 5 * vector};
}

/* The parts of a smaller batch are no more than those of the largest. */
cnn_workspace cnn_batchnorm_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    return (cnn_workspace){.shared = carve(&geometry->norm, batch, NULL).bytes, .scratch = 0};
}

static cnn_norm norm_of(const memory *m, bool relu)
{
    return (cnn_norm){m->mean, m->factor, m->shift, m->slope, m->rest, relu};
}

static cnn_norm norm_of_slice(const memory *m, const slice *s, bool relu)
{
    return (cnn_norm){
        .mean = m->mean + s->channel, .factor = m->factor + s->channel, .shift = m->shift + s->channel, .relu = relu};
}

/* ---- forward ------------------------------------------------------------------------------------------------------ */

/* The rows [*first, *last) of this worker, of `rows` rows of so many columns: cut in spans of CNN_SPAN elements. */
static void share_rows(const cnn_worker *worker, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t *first, ptrdiff_t *last)
{
    const ptrdiff_t span = cnn_max(1, CNN_SPAN / columns);
    cnn_share(worker, cnn_ceil_div(rows, span), first, last);
    *first = cnn_min(*first * span, rows);
    *last = cnn_min(*last * span, rows);
}

/* dst = pool(act((src - mean) * factor + shift)). Spans run backwards: what was read last is still in cache. An activation
 * beyond ReLU goes over a span that was just written there. */
static void apply(const cnn_call *call, const cnn_worker *worker, const memory *m, const float *src, float *dst,
                  uint8_t *argmax)
{
    const cnn_norm_geometry *g = &call->geometry->norm;
    const cnn_norm norm = norm_of(m, g->activation == CNN_ACTIVATION_RELU);
    const cnn_activate how = {.kind = (cnn_activation)g->activation};
    const cnn_kernels *kernels = worker->kernels;
    ptrdiff_t first, last;
    if (g->pool) {
        const ptrdiff_t line = g->w * g->c, oh = g->rows / g->w / 2, row = g->w / 2 * g->c;
        cnn_share(worker, call->batch * oh, &first, &last);
        for (ptrdiff_t y = last; y-- > first;)
            kernels->normalize_pool(dst + y * row, argmax ? argmax + y * row : NULL,
                                    src + y / oh * g->rows * g->c + y % oh * 2 * line, &norm, g->w / 2, g->c, line);
        return;
    }
    const ptrdiff_t groups = group_count(g->c), columns = groups * g->c, rows = call->batch * g->rows;
    const ptrdiff_t full = rows / groups, rest = rows % groups * g->c, span = cnn_max(1, PART_ELEMENTS / columns);
    share_rows(worker, full, columns, &first, &last);
    for (ptrdiff_t end = last; end > first; end -= cnn_min(span, end - first)) {
        const ptrdiff_t count = cnn_min(span, end - first), at = (end - count) * columns;
        kernels->normalize(dst + at, src + at, &norm, count, columns);
        if (how.kind > CNN_ACTIVATION_RELU) kernels->activation(dst + at, dst + at, count * columns, &how);
    }
    if (!rest || !cnn_is_first(worker)) return;
    const ptrdiff_t at = full * columns;
    kernels->normalize(dst + at, src + at, &norm, 1, rest);
    if (how.kind > CNN_ACTIVATION_RELU) kernels->activation(dst + at, dst + at, rest, &how);
}

/* A mean and what its rounding left, where the batch gives them. */
static void put_forward(const memory *m, ptrdiff_t channel, ptrdiff_t c, float mean, float rest, float factor,
                        float bias)
{
    put(m->mean, channel, c, mean);
    put(m->factor, channel, c, factor);
    put(m->shift, channel, c, (float)((double)bias - (double)rest * (double)factor));
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
    const ptrdiff_t slices = slice_count(c, parts);
    const memory m = carve(g, call->batch, worker->shared);
    double *means = m.first, *squares = m.second;
    ptrdiff_t first, last;
    assert(dst && save_mean && save_inv_std && running_mean && running_var && src);
    assert(worker->shared && c >= 1 && rows >= 1 && g->eps >= 0.0f);

    cnn_share(worker, parts * slices, &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const slice s = slice_of(c, parts, task % slices);
        const range r = part_of(rows, parts, task / slices);
        const ptrdiff_t at = task / slices * c + s.channel;
        part_moments(worker->kernels, &s, src + r.first * c + s.channel, r.count, means + at, squares + at);
    }
    cnn_barrier(worker);

    cnn_share(worker, c, &first, &last);
    for (ptrdiff_t k = first; k < last; k++) {
        const double momentum = g->momentum;
        double mean;
        const double total = join_parts(means + k, squares + k, rows, parts, c, &mean);
        const double unbiased = total / (double)cnn_max(rows - 1, 1);
        save_mean[k] = (float)mean;
        save_mean[c + k] = (float)(mean - (double)save_mean[k]);
        save_inv_std[k] = (float)(1.0 / sqrt(total / (double)rows + (double)g->eps));
        running_mean[k] = (float)((1.0 - momentum) * running_mean[k] + momentum * mean);
        running_var[k] = (float)((1.0 - momentum) * running_var[k] + momentum * unbiased);
        put_forward(&m, k, c, save_mean[k], save_mean[c + k], weight_at(weights, k) * save_inv_std[k],
                    bias_at(bias, k));
    }
    cnn_barrier(worker);

    apply(call, worker, &m, src, dst, call->operands[CNN_batchnorm_forward_training_argmax]);
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
    apply(call, worker, &m, src, dst, NULL);
}

/* ---- backward ----------------------------------------------------------------------------------------------------- */

/* Sums of dy and of dy * (x - mean) over the rows of a part, by channel. */
static void part_gradients(const cnn_call *call, const cnn_kernels *kernels, const memory *m, const slice *s, range r,
                           double *sums, double *products)
{
    const cnn_norm_geometry *g = &call->geometry->norm;
    const float *src = (const float *)call->operands[CNN_batchnorm_backward_src] + r.first * g->c + s->channel;
    const float *diff_dst =
        (const float *)call->operands[CNN_batchnorm_backward_diff_dst] + r.first * g->c + s->channel;
    const cnn_norm norm = norm_of_slice(m, s, g->activation == CNN_ACTIVATION_RELU);
    part_products(kernels, s, src, diff_dst, &norm, r.count, sums, products);
}

/* The same behind a pool: over rows of pooled pixels. Where nothing was pooled dy is zero. */
static void part_pooled_gradients(const cnn_call *call, const cnn_kernels *kernels, const memory *m, const slice *s,
                                  range r, double *sums, double *products)
{
    const cnn_norm_geometry *g = &call->geometry->norm;
    const float *src = call->operands[CNN_batchnorm_backward_src],
                *diff_dst = call->operands[CNN_batchnorm_backward_diff_dst];
    const uint8_t *argmax = call->operands[CNN_batchnorm_backward_argmax];
    const ptrdiff_t line = g->w * g->c, oh = g->rows / g->w / 2, row = g->w / 2 * g->c;
    const cnn_norm norm = norm_of_slice(m, s, false);
    memset(sums, 0, (size_t)s->channels * sizeof *sums);
    memset(products, 0, (size_t)s->channels * sizeof *products);
    for (ptrdiff_t y = r.first; y < r.first + r.count; y++)
        kernels->pooled_gradient_sums(sums, products, diff_dst + y * row + s->channel, argmax + y * row + s->channel,
                                      src + y / oh * g->rows * g->c + y % oh * 2 * line + s->channel, &norm, g->w / 2,
                                      s->channels, g->c, line);
}

/* diff_src of two rows of pixels that were pooled, and of what an odd width or height leaves over beside and below. */
static void unpool_rows(const cnn_call *call, const cnn_kernels *kernels, const cnn_norm *norm, ptrdiff_t y)
{
    const cnn_norm_geometry *g = &call->geometry->norm;
    const ptrdiff_t line = g->w * g->c, oh = g->rows / g->w / 2, pooled = y * (g->w / 2) * g->c;
    const ptrdiff_t at = y / oh * g->rows * g->c + y % oh * 2 * line, covered = g->w / 2 * 2 * g->c;
    float *diff_src = (float *)call->operands[CNN_batchnorm_backward_diff_src] + at;
    const float *src = (const float *)call->operands[CNN_batchnorm_backward_src] + at,
                *mask = call->operands[CNN_batchnorm_backward_mask];
    if (mask) mask += at;
    kernels->normalize_unpool(diff_src, (const float *)call->operands[CNN_batchnorm_backward_diff_dst] + pooled,
                              (const uint8_t *)call->operands[CNN_batchnorm_backward_argmax] + pooled, src, mask, norm,
                              g->w / 2, g->c, line);
    for (ptrdiff_t i = covered; i < 2 * line && covered < line; i += line)
        kernels->normalize_backward(diff_src + i, NULL, src + i, mask ? mask + i : NULL, norm, 1, g->c);
    if (y % oh == oh - 1 && 2 * oh * g->w < g->rows)
        kernels->normalize_backward(diff_src + 2 * line, NULL, src + 2 * line, mask ? mask + 2 * line : NULL, norm,
                                    g->w, g->c);
}

static void dense_rows(const cnn_call *call, const cnn_worker *worker, const cnn_norm *norm)
{
    const cnn_norm_geometry *g = &call->geometry->norm;
    float *diff_src = call->operands[CNN_batchnorm_backward_diff_src];
    const float *src = call->operands[CNN_batchnorm_backward_src],
                *diff_dst = call->operands[CNN_batchnorm_backward_diff_dst],
                *mask = call->operands[CNN_batchnorm_backward_mask];
    const ptrdiff_t groups = group_count(g->c), columns = groups * g->c, rows = call->batch * g->rows;
    const ptrdiff_t full = rows / groups, tail = full * columns, rest = rows % groups * g->c;
    const ptrdiff_t span = cnn_max(1, PART_ELEMENTS / columns);
    ptrdiff_t first, last;
    share_rows(worker, full, columns, &first, &last);
    for (ptrdiff_t end = last; end > first; end -= cnn_min(span, end - first)) { /* as in apply() */
        const ptrdiff_t count = cnn_min(span, end - first), at = (end - count) * columns;
        worker->kernels->normalize_backward(diff_src + at, diff_dst + at, src + at, mask ? mask + at : NULL, norm,
                                            count, columns);
    }
    if (rest && cnn_is_first(worker))
        worker->kernels->normalize_backward(diff_src + tail, diff_dst + tail, src + tail, mask ? mask + tail : NULL,
                                            norm, 1, rest);
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
                *bias = call->operands[CNN_batchnorm_backward_bias];
    const float *save_mean = call->operands[CNN_batchnorm_backward_save_mean],
                *save_inv_std = call->operands[CNN_batchnorm_backward_save_inv_std];
    const ptrdiff_t c = g->c, rows = call->batch * g->rows, parts = part_count(rows, c);
    const ptrdiff_t slices = slice_count(c, parts), pooled_rows = g->pool ? call->batch * (g->rows / g->w / 2) : 0;
    const memory m = carve(g, call->batch, worker->shared);
    double *sums = m.first, *products = m.second;
    ptrdiff_t first, last;
    assert(call->operands[CNN_batchnorm_backward_diff_src] && save_mean && save_inv_std);
    assert(worker->shared && c >= 1 && rows >= 1 && !g->pool == !call->operands[CNN_batchnorm_backward_argmax]);

    cnn_share(worker, c, &first, &last);
    for (ptrdiff_t k = first; k < last; k++)
        put_forward(&m, k, c, save_mean[k], save_mean[c + k], weight_at(weights, k) * save_inv_std[k],
                    bias_at(bias, k));
    cnn_barrier(worker);

    cnn_share(worker, parts * slices, &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const slice s = slice_of(c, parts, task % slices);
        const ptrdiff_t part = task / slices, to = part * c + s.channel;
        if (g->pool)
            part_pooled_gradients(call, worker->kernels, &m, &s, part_of(pooled_rows, parts, part), sums + to,
                                  products + to);
        else
            part_gradients(call, worker->kernels, &m, &s, part_of(rows, parts, part), sums + to, products + to);
    }
    cnn_barrier(worker);

    cnn_share(worker, c, &first, &last);
    for (ptrdiff_t k = first; k < last; k++) {
        const double inv_std = save_inv_std[k], left = save_mean[c + k], count = (double)rows;
        for (ptrdiff_t part = 1; part < parts; part++) {
            sums[k] += sums[part * c + k];
            products[k] += products[part * c + k];
        }
        products[k] -= sums[k] * left;
        if (diff_bias) diff_bias[k] = (float)sums[k];
        if (diff_weights) diff_weights[k] = (float)(products[k] * inv_std);
        const float weight = weight_at(weights, k), factor = weight * save_inv_std[k];
        const float slope = (float)(-(double)weight * inv_std * inv_std * inv_std * products[k] / count);
        put(m.slope, k, c, slope);
        put(m.rest, k, c, (float)(-(double)factor * sums[k] / count - (double)slope * left));
    }
    cnn_barrier(worker);

    const cnn_norm norm = norm_of(&m, g->activation == CNN_ACTIVATION_RELU);
    if (!g->pool) {
        dense_rows(call, worker, &norm);
        return;
    }
    const cnn_norm unmasked = norm_of(&m, false);
    cnn_share(worker, pooled_rows, &first, &last);
    for (ptrdiff_t y = last; y-- > first;) unpool_rows(call, worker->kernels, &unmasked, y);
}
