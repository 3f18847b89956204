/*
 * The passes of batch normalisation, which ops/batchnorm.c takes over a whole batch and ops/batchnorm_windows.c over some
 * of its samples at a time. The matrix is [rows][C], rows = samples * rows per sample. All workers call a pass.
 */
#ifndef CNN_OPS_BATCHNORM_H
#define CNN_OPS_BATCHNORM_H

#include "norm.h"
#include "workspace.h"

/* Two doubles for each part and channel, and the vectors of a cnn_norm, repeated for rows side by side. */
typedef struct memory {
    double *first, *second; /* [parts][C] */
    float *mean, *factor, *shift, *slope, *rest;
    size_t bytes;
} memory;

static inline memory carve(const cnn_norm_geometry *g, ptrdiff_t batch, void *shared)
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

static inline cnn_norm norm_of(const memory *m, bool relu)
{
    return (cnn_norm){m->mean, m->factor, m->shift, m->slope, m->rest, relu};
}

static inline cnn_norm norm_of_slice(const memory *m, const slice *s, bool relu)
{
    return (cnn_norm){
        .mean = m->mean + s->channel, .factor = m->factor + s->channel, .shift = m->shift + s->channel, .relu = relu};
}

/* A mean and what its rounding left, where the batch gives them. */
static inline void put_forward(const memory *m, ptrdiff_t channel, ptrdiff_t c, float mean, float rest, float factor,
                               float bias)
{
    put(m->mean, channel, c, mean);
    put(m->factor, channel, c, factor);
    put(m->shift, channel, c, (float)((double)bias - (double)rest * (double)factor));
}

/* The vectors of what normalises a batch, and a barrier. */
static inline void put_saved(const cnn_call *call, const cnn_worker *worker, const memory *m, const float *save_mean,
                             const float *save_inv_std, const float *weights, const float *bias)
{
    const ptrdiff_t c = call->geometry->norm.c;
    ptrdiff_t first, last;
    cnn_share(worker, c, &first, &last);
    for (ptrdiff_t k = first; k < last; k++)
        put_forward(m, k, c, save_mean[k], save_mean[c + k], weight_at(weights, k) * save_inv_std[k], bias_at(bias, k));
    cnn_barrier(worker);
}

/* ---- forward ------------------------------------------------------------------------------------------------------ */

/* Mean and squared deviations of every part, into m->first and m->second, and a barrier. */
static inline void take_moments(const cnn_call *call, const cnn_worker *worker, const memory *m, const float *src)
{
    const cnn_norm_geometry *g = &call->geometry->norm;
    const ptrdiff_t c = g->c, rows = call->batch * g->rows, parts = part_count(rows, c);
    const ptrdiff_t slices = slice_count(c, parts);
    ptrdiff_t first, last;
    cnn_share(worker, parts * slices, &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const slice s = slice_of(c, parts, task % slices);
        const range r = part_of(rows, parts, task / slices);
        const ptrdiff_t at = task / slices * c + s.channel;
        part_moments(worker->kernels, &s, src + r.first * c + s.channel, r.count, m->first + at, m->second + at);
    }
    cnn_barrier(worker);
}

/* The rows [*first, *last) of this worker, of `rows` rows of so many columns: cut in spans of CNN_SPAN elements. */
static inline void share_rows(const cnn_worker *worker, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t *first,
                              ptrdiff_t *last)
{
    const ptrdiff_t span = cnn_max(1, CNN_SPAN / columns);
    cnn_share(worker, cnn_ceil_div(rows, span), first, last);
    *first = cnn_min(*first * span, rows);
    *last = cnn_min(*last * span, rows);
}

/* dst = pool(act((src - mean) * factor + shift)), or act(... + addend) where that is given. Spans run backwards: what was
 * read last is still in cache. An activation beyond ReLU goes over a span that was just written there. */
static inline void apply(const cnn_call *call, const cnn_worker *worker, const memory *m, const float *src,
                         const float *addend, float *dst, uint8_t *argmax)
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
        kernels->normalize(dst + at, src + at, addend ? addend + at : NULL, &norm, count, columns);
        if (how.kind > CNN_ACTIVATION_RELU) kernels->activation(dst + at, dst + at, count * columns, &how);
    }
    if (!rest || !cnn_is_first(worker)) return;
    const ptrdiff_t at = full * columns;
    kernels->normalize(dst + at, src + at, addend ? addend + at : NULL, &norm, 1, rest);
    if (how.kind > CNN_ACTIVATION_RELU) kernels->activation(dst + at, dst + at, rest, &how);
}

/* Running statistics after a batch of `rows` rows with this mean and these squared deviations from it in all. */
static inline void update_running(const cnn_norm_geometry *g, ptrdiff_t rows, double mean, double total,
                                  float *running_mean, float *running_var)
{
    const double momentum = g->momentum, unbiased = total / (double)cnn_max(rows - 1, 1);
    *running_mean = (float)((1.0 - momentum) * *running_mean + momentum * mean);
    *running_var = (float)((1.0 - momentum) * *running_var + momentum * unbiased);
}

/* ---- backward ----------------------------------------------------------------------------------------------------- */

/* What the passes of the gradient read and write; argmax goes with pooling, mask may be NULL. */
typedef struct gradient {
    float *diff_src;
    const float *src, *diff_dst, *mask;
    const uint8_t *argmax;
} gradient;

/* Sums of dy and of dy * (x - mean) over the rows of a part, by channel. */
static inline void part_gradients(const cnn_call *call, const cnn_kernels *kernels, const memory *m, const gradient *d,
                                  const slice *s, range r, double *sums, double *products)
{
    const cnn_norm_geometry *g = &call->geometry->norm;
    const ptrdiff_t at = r.first * g->c + s->channel;
    const cnn_norm norm = norm_of_slice(m, s, g->activation == CNN_ACTIVATION_RELU);
    part_products(kernels, s, d->src + at, d->diff_dst + at, &norm, r.count, sums, products);
}

/* The same behind a pool: over rows of pooled pixels. Where nothing was pooled dy is zero. */
static inline void part_pooled_gradients(const cnn_call *call, const cnn_kernels *kernels, const memory *m,
                                         const gradient *d, const slice *s, range r, double *sums, double *products)
{
    const cnn_norm_geometry *g = &call->geometry->norm;
    const ptrdiff_t line = g->w * g->c, oh = g->rows / g->w / 2, row = g->w / 2 * g->c;
    const cnn_norm norm = norm_of_slice(m, s, false);
    memset(sums, 0, (size_t)s->channels * sizeof *sums);
    memset(products, 0, (size_t)s->channels * sizeof *products);
    for (ptrdiff_t y = r.first; y < r.first + r.count; y++)
        kernels->pooled_gradient_sums(sums, products, d->diff_dst + y * row + s->channel,
                                      d->argmax + y * row + s->channel,
                                      d->src + y / oh * g->rows * g->c + y % oh * 2 * line + s->channel, &norm,
                                      g->w / 2, s->channels, g->c, line);
}

/* The sums of every part, into m->first and m->second, and a barrier. */
static inline void take_sums(const cnn_call *call, const cnn_worker *worker, const memory *m, const gradient *d)
{
    const cnn_norm_geometry *g = &call->geometry->norm;
    const ptrdiff_t c = g->c, rows = call->batch * g->rows, parts = part_count(rows, c);
    const ptrdiff_t slices = slice_count(c, parts), pooled_rows = g->pool ? call->batch * (g->rows / g->w / 2) : 0;
    ptrdiff_t first, last;
    cnn_share(worker, parts * slices, &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const slice s = slice_of(c, parts, task % slices);
        const ptrdiff_t part = task / slices, to = part * c + s.channel;
        if (g->pool)
            part_pooled_gradients(call, worker->kernels, m, d, &s, part_of(pooled_rows, parts, part), m->first + to,
                                  m->second + to);
        else
            part_gradients(call, worker->kernels, m, d, &s, part_of(rows, parts, part), m->first + to, m->second + to);
    }
    cnn_barrier(worker);
}

/* Sums of dy and dy * (x - mean) of a channel over all parts; `left` is what rounding took from the mean. */
static inline void join_sums(const memory *m, ptrdiff_t parts, ptrdiff_t c, ptrdiff_t k, double left, double *sum,
                             double *product)
{
    *sum = m->first[k], *product = m->second[k];
    for (ptrdiff_t part = 1; part < parts; part++) {
        *sum += m->first[part * c + k];
        *product += m->second[part * c + k];
    }
    *product -= *sum * left;
}

/* The factors of diff_src for n = `count` rows: by x - mean, and what is added; see cnn_batchnorm_backward(). */
static inline void gradient_factors(double sum, double product, float weight, float save_inv_std, double left,
                                    double count, float *slope, float *rest)
{
    const double inv_std = save_inv_std;
    const float factor = weight * save_inv_std;
    *slope = (float)(-(double)weight * inv_std * inv_std * inv_std * product / count);
    *rest = (float)(-(double)factor * sum / count - (double)*slope * left);
}

/* diff_src of two rows of pixels that were pooled, and of what an odd width or height leaves over beside and below. */
static inline void unpool_rows(const cnn_call *call, const cnn_kernels *kernels, const cnn_norm *norm,
                               const gradient *d, ptrdiff_t y)
{
    const cnn_norm_geometry *g = &call->geometry->norm;
    const ptrdiff_t line = g->w * g->c, oh = g->rows / g->w / 2, pooled = y * (g->w / 2) * g->c;
    const ptrdiff_t at = y / oh * g->rows * g->c + y % oh * 2 * line, covered = g->w / 2 * 2 * g->c;
    float *diff_src = d->diff_src + at;
    const float *src = d->src + at, *mask = d->mask ? d->mask + at : NULL;
    kernels->normalize_unpool(diff_src, d->diff_dst + pooled, d->argmax + pooled, src, mask, norm, g->w / 2, g->c,
                              line);
    for (ptrdiff_t i = covered; i < 2 * line && covered < line; i += line)
        kernels->normalize_backward(diff_src + i, NULL, src + i, mask ? mask + i : NULL, norm, 1, g->c);
    if (y % oh == oh - 1 && 2 * oh * g->w < g->rows)
        kernels->normalize_backward(diff_src + 2 * line, NULL, src + 2 * line, mask ? mask + 2 * line : NULL, norm,
                                    g->w, g->c);
}

static inline void dense_rows(const cnn_call *call, const cnn_worker *worker, const cnn_norm *norm, const gradient *d)
{
    const cnn_norm_geometry *g = &call->geometry->norm;
    const float *mask = d->mask;
    const ptrdiff_t groups = group_count(g->c), columns = groups * g->c, rows = call->batch * g->rows;
    const ptrdiff_t full = rows / groups, tail = full * columns, rest = rows % groups * g->c;
    const ptrdiff_t span = cnn_max(1, PART_ELEMENTS / columns);
    ptrdiff_t first, last;
    share_rows(worker, full, columns, &first, &last);
    for (ptrdiff_t end = last; end > first; end -= cnn_min(span, end - first)) { /* as in apply() */
        const ptrdiff_t count = cnn_min(span, end - first), at = (end - count) * columns;
        worker->kernels->normalize_backward(d->diff_src + at, d->diff_dst + at, d->src + at, mask ? mask + at : NULL,
                                            norm, count, columns);
    }
    if (rest && cnn_is_first(worker))
        worker->kernels->normalize_backward(d->diff_src + tail, d->diff_dst + tail, d->src + tail,
                                            mask ? mask + tail : NULL, norm, 1, rest);
}

/* diff_src of all rows, behind a barrier that follows the vectors. */
static inline void write_data(const cnn_call *call, const cnn_worker *worker, const memory *m, const gradient *d)
{
    const cnn_norm_geometry *g = &call->geometry->norm;
    if (!g->pool) {
        const cnn_norm norm = norm_of(m, g->activation == CNN_ACTIVATION_RELU);
        dense_rows(call, worker, &norm, d);
        return;
    }
    const cnn_norm unmasked = norm_of(m, false);
    ptrdiff_t first, last;
    cnn_share(worker, call->batch * (g->rows / g->w / 2), &first, &last);
    for (ptrdiff_t y = last; y-- > first;) unpool_rows(call, worker->kernels, &unmasked, d, y);
}

#endif
