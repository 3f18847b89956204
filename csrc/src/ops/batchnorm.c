/*
 * Batch normalisation (Ioffe & Szegedy 2015, Algorithm 1) of a matrix [rows][C], rows = batch * rows per sample.
 *
 * A task is a part of the rows times a slice of the channels; both depend on shape and batch only. Statistics are
 * taken in two passes over each part while it is in cache (its mean, then squared deviations from that mean, corrected
 * for the rounding of the mean); the parts are joined in order by the update of Chan, Golub & LeVeque (1979).
 *
 * When channels are few, several rows are taken as one: the kernels always see dozens of columns.
 */
#include "internal.h"
#include "workspace.h"

enum {
    WIDE = 64,             /* from here on a row fills the vectors by itself */
    SLICE = 128,           /* channels of a task, when there are WIDE or more */
    COLUMNS = 1024,        /* most columns that a kernel sees: 16 rows of up to 63 channels */
    PART_ELEMENTS = 32768, /* what a part should hold: two passes over it stay in the second-level cache */
    PART_ROWS = 64,        /* ... and the fewest rows */
    PARTS = 128,           /* most parts */
};

/* The slice [channel, channel + channels) of the matrix, `groups` rows side by side as `columns` columns. */
typedef struct slice {
    ptrdiff_t channel, channels, groups, columns, stride;
} slice;

/* Consecutive rows of the matrix. */
typedef struct range {
    ptrdiff_t first, count;
} range;

static ptrdiff_t greatest_common_divisor(ptrdiff_t a, ptrdiff_t b)
{
    while (b) {
        const ptrdiff_t rest = a % b;
        a = b, b = rest;
    }
    return a;
}

static ptrdiff_t slice_count(ptrdiff_t c) { return c < WIDE ? 1 : cnn_ceil_div(c, SLICE); }

static slice slice_of(ptrdiff_t c, ptrdiff_t index)
{
    if (c >= WIDE) {
        const ptrdiff_t channel = index * SLICE, channels = cnn_min(SLICE, c - channel);
        return (slice){channel, channels, 1, channels, c};
    }
    ptrdiff_t groups = CNN_PANEL / greatest_common_divisor(CNN_PANEL, c);
    while (groups * c < WIDE) groups *= 2;
    return (slice){0, c, groups, groups * c, groups * c};
}

static ptrdiff_t part_count(ptrdiff_t rows, ptrdiff_t c)
{
    const ptrdiff_t wished = cnn_min(rows * c / PART_ELEMENTS, rows / PART_ROWS);
    return cnn_max(1, cnn_min(wished, PARTS));
}

static range part_of(ptrdiff_t rows, ptrdiff_t parts, ptrdiff_t index)
{
    const ptrdiff_t first = cnn_part(rows, parts, index);
    return (range){first, cnn_part(rows, parts, index + 1) - first};
}

/* Three doubles for each part and channel. */
cnn_workspace cnn_batchnorm_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    const ptrdiff_t c = geometry->norm.c, parts = part_count(batch * geometry->norm.rows, c);
    return (cnn_workspace){.shared = 3 * (size_t)(parts * c) * sizeof(double), .scratch = 0};
}

/* columns[j] = vector[channel of column j] */
static void spread(const slice *s, float *restrict columns, const float *restrict vector)
{
    for (ptrdiff_t group = 0; group < s->groups; group++)
        memcpy(columns + group * s->channels, vector, (size_t)s->channels * sizeof *columns);
}

/* Adds the columns of each channel to the first of them. */
static void fold(const slice *s, double *columns)
{
    for (ptrdiff_t group = 1; group < s->groups; group++)
        for (ptrdiff_t j = 0; j < s->channels; j++) columns[j] += columns[group * s->channels + j];
}

/* Mean and sum of squared deviations of the rows, by channel. */
static void part_moments(const cnn_kernels *kernels, const slice *s, const float *src, ptrdiff_t rows, double *mean,
                         double *squares)
{
    double sum[COLUMNS] = {0.0}, square[COLUMNS] = {0.0};
    float rounded[COLUMNS], center[COLUMNS];
    const ptrdiff_t full = rows / s->groups, rest = rows % s->groups * s->channels;
    const float *tail = src + full * s->stride;
    kernels->column_sums(sum, src, full, s->columns, s->stride);
    kernels->column_sums(sum, tail, rest > 0, rest, s->stride);
    fold(s, sum);
    for (ptrdiff_t j = 0; j < s->channels; j++) rounded[j] = (float)(sum[j] / (double)rows);
    spread(s, center, rounded);

    memset(sum, 0, (size_t)s->columns * sizeof *sum);
    kernels->deviation_sums(sum, square, src, center, full, s->columns, s->stride);
    kernels->deviation_sums(sum, square, tail, center, rest > 0, rest, s->stride);
    fold(s, sum);
    fold(s, square);
    for (ptrdiff_t j = 0; j < s->channels; j++) {
        const double left = square[j] - sum[j] * sum[j] / (double)rows;
        mean[j] = (double)rounded[j] + sum[j] / (double)rows;
        squares[j] = left < 0.0 ? 0.0 : left;
    }
}

/* Joins the parts of channel c; the mean of all rows replaces that of part 0. Returns the squared deviations. */
static double join_parts(double *mean, const double *squares, ptrdiff_t rows, ptrdiff_t parts, ptrdiff_t stride)
{
    double joined = mean[0], total = squares[0], seen = (double)part_of(rows, parts, 0).count;
    for (ptrdiff_t part = 1; part < parts; part++) {
        const double count = (double)part_of(rows, parts, part).count, both = seen + count;
        const double step = mean[part * stride] - joined;
        joined += step * (count / both);
        total += squares[part * stride] + step * step * (seen * count / both);
        seen = both;
    }
    mean[0] = joined;
    return total;
}

/* dst = (src - mean) * factor + shift over some rows of a slice; vectors by channel of the slice */
static void normalize(const cnn_kernels *kernels, const slice *s, float *dst, const float *src, const float *mean,
                      const float *factor, const float *shift, ptrdiff_t rows)
{
    float means[COLUMNS], factors[COLUMNS], shifts[COLUMNS];
    const ptrdiff_t full = rows / s->groups, rest = rows % s->groups * s->channels, tail = full * s->stride;
    spread(s, means, mean);
    spread(s, factors, factor);
    spread(s, shifts, shift);
    kernels->normalize(dst, src, means, factors, shifts, full, s->columns, s->stride);
    kernels->normalize(dst + tail, src + tail, means, factors, shifts, rest > 0, rest, s->stride);
}

void cnn_batchnorm_forward_training(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_norm_geometry *g = &call->geometry->norm;
    float *dst = call->operands[0], *save_mean = call->operands[1], *save_inv_std = call->operands[2];
    float *running_mean = call->operands[3], *running_var = call->operands[4];
    const float *src = call->operands[5], *weights = call->operands[6], *bias = call->operands[7];
    const ptrdiff_t c = g->c, rows = call->batch * g->rows, parts = part_count(rows, c), slices = slice_count(c);
    double *means = worker->shared, *squares = means + parts * c; /* [parts][C] */
    ptrdiff_t first, last;
    assert(dst && save_mean && save_inv_std && running_mean && running_var && src && weights && bias);
    assert(worker->shared && c >= 1 && rows >= 1 && g->eps >= 0.0f);

    cnn_share(worker, parts * slices, &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const ptrdiff_t part = task / slices;
        const slice s = slice_of(c, task % slices);
        const range r = part_of(rows, parts, part);
        const ptrdiff_t at = part * c + s.channel;
        part_moments(worker->kernels, &s, src + r.first * c + s.channel, r.count, means + at, squares + at);
    }
    cnn_barrier(worker);

    ptrdiff_t channel, end;
    cnn_share(worker, c, &channel, &end);
    for (; channel < end; channel++) {
        const double momentum = g->momentum;
        const double total = join_parts(means + channel, squares + channel, rows, parts, c);
        const double unbiased = total / (double)cnn_max(rows - 1, 1);
        save_mean[channel] = (float)means[channel];
        save_inv_std[channel] = (float)(1.0 / sqrt(total / (double)rows + (double)g->eps));
        running_mean[channel] = (float)((1.0 - momentum) * running_mean[channel] + momentum * means[channel]);
        running_var[channel] = (float)((1.0 - momentum) * running_var[channel] + momentum * unbiased);
    }
    cnn_barrier(worker);

    for (ptrdiff_t task = last; task-- > first;) { /* what was read last is still in cache */
        const slice s = slice_of(c, task % slices);
        const range r = part_of(rows, parts, task / slices);
        const ptrdiff_t at = r.first * c + s.channel;
        float factor[SLICE], shift[SLICE];
        for (ptrdiff_t j = 0; j < s.channels; j++) {
            const ptrdiff_t k = s.channel + j;
            factor[j] = weights[k] * save_inv_std[k];
            shift[j] = (float)((double)bias[k] - (means[k] - (double)save_mean[k]) * (double)factor[j]);
        }
        normalize(worker->kernels, &s, dst + at, src + at, save_mean + s.channel, factor, shift, r.count);
    }
}

void cnn_batchnorm_forward_inference(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_norm_geometry *g = &call->geometry->norm;
    float *dst = call->operands[0];
    const float *src = call->operands[1], *weights = call->operands[2], *bias = call->operands[3];
    const float *running_mean = call->operands[4], *running_var = call->operands[5];
    const ptrdiff_t c = g->c, rows = call->batch * g->rows, parts = part_count(rows, c), slices = slice_count(c);
    ptrdiff_t first, last;
    assert(dst && src && weights && bias && running_mean && running_var && c >= 1 && rows >= 1);
    cnn_share(worker, parts * slices, &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const slice s = slice_of(c, task % slices);
        const range r = part_of(rows, parts, task / slices);
        const ptrdiff_t at = r.first * c + s.channel;
        float factor[SLICE];
        for (ptrdiff_t j = 0; j < s.channels; j++) {
            const double deviation = sqrt((double)running_var[s.channel + j] + (double)g->eps);
            factor[j] = (float)((double)weights[s.channel + j] / deviation);
        }
        normalize(worker->kernels, &s, dst + at, src + at, running_mean + s.channel, factor, bias + s.channel, r.count);
    }
}

/* Sums of dy, of dy * (x - mean) and of x - mean over some rows of a slice, by channel. */
static void part_gradients(const cnn_kernels *kernels, const slice *s, const float *src, const float *diff_dst,
                           const float *mean, ptrdiff_t rows, double *sums, double *products, double *deviations)
{
    double sum[COLUMNS] = {0.0}, product[COLUMNS] = {0.0}, deviation[COLUMNS] = {0.0};
    float center[COLUMNS];
    const ptrdiff_t full = rows / s->groups, rest = rows % s->groups * s->channels, tail = full * s->stride;
    spread(s, center, mean);
    kernels->gradient_sums(sum, product, deviation, diff_dst, src, center, full, s->columns, s->stride);
    kernels->gradient_sums(sum, product, deviation, diff_dst + tail, src + tail, center, rest > 0, rest, s->stride);
    fold(s, sum);
    fold(s, product);
    fold(s, deviation);
    memcpy(deviations, deviation, (size_t)s->channels * sizeof *deviations);
    memcpy(sums, sum, (size_t)s->channels * sizeof *sums);
    memcpy(products, product, (size_t)s->channels * sizeof *products);
}

static void normalize_backward(const cnn_kernels *kernels, const slice *s, float *diff_src, const float *diff_dst,
                               const float *src, const float *mean, const float *factor, const float *slope,
                               const float *shift, ptrdiff_t rows)
{
    float means[COLUMNS], factors[COLUMNS], slopes[COLUMNS], shifts[COLUMNS];
    const ptrdiff_t full = rows / s->groups, rest = rows % s->groups * s->channels, tail = full * s->stride;
    spread(s, means, mean);
    spread(s, factors, factor);
    spread(s, slopes, slope);
    spread(s, shifts, shift);
    kernels->normalize_backward(diff_src, diff_dst, src, means, factors, slopes, shifts, full, s->columns, s->stride);
    kernels->normalize_backward(diff_src + tail, diff_dst + tail, src + tail, means, factors, slopes, shifts, rest > 0,
                                rest, s->stride);
}

/*
 * With y' = (x - mean) * inv_std, S = sum dy, P = sum dy * y' over n rows (Ioffe & Szegedy 2015, section 3):
 *   diff_bias = S, diff_weights = P, diff_src = weights * inv_std * (dy - S/n - y' * P/n)
 *
 * The sum of diff_src over the rows is exactly zero: it is the gradient of a bias before the normalisation. Where the
 * deviations are small beside the mean, the rounding of the saved mean would drown that zero: D = sum (x - saved mean)
 * restores the true mean, saved mean + D/n.
 */
void cnn_batchnorm_backward(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_norm_geometry *g = &call->geometry->norm;
    float *diff_src = call->operands[0], *diff_weights = call->operands[1], *diff_bias = call->operands[2];
    const float *src = call->operands[3], *diff_dst = call->operands[4], *weights = call->operands[5];
    const float *save_mean = call->operands[6], *save_inv_std = call->operands[7];
    const ptrdiff_t c = g->c, rows = call->batch * g->rows, parts = part_count(rows, c), slices = slice_count(c);
    double *sums = worker->shared, *products = sums + parts * c, *deviations = products + parts * c; /* [parts][C] */
    ptrdiff_t first, last;
    assert(diff_src && diff_weights && diff_bias && src && diff_dst && weights && save_mean && save_inv_std);
    assert(worker->shared && c >= 1 && rows >= 1);

    cnn_share(worker, parts * slices, &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const ptrdiff_t part = task / slices;
        const slice s = slice_of(c, task % slices);
        const range r = part_of(rows, parts, part);
        const ptrdiff_t at = r.first * c + s.channel, to = part * c + s.channel;
        part_gradients(worker->kernels, &s, src + at, diff_dst + at, save_mean + s.channel, r.count, sums + to,
                       products + to, deviations + to);
    }
    cnn_barrier(worker);

    ptrdiff_t channel, end;
    cnn_share(worker, c, &channel, &end);
    for (; channel < end; channel++) {
        for (ptrdiff_t part = 1; part < parts; part++) {
            sums[channel] += sums[part * c + channel];
            products[channel] += products[part * c + channel];
            deviations[channel] += deviations[part * c + channel];
        }
        products[channel] -= sums[channel] * deviations[channel] / (double)rows;
        diff_bias[channel] = (float)sums[channel];
        diff_weights[channel] = (float)(products[channel] * (double)save_inv_std[channel]);
    }
    cnn_barrier(worker);

    for (ptrdiff_t task = last; task-- > first;) { /* what was read last is still in cache */
        const slice s = slice_of(c, task % slices);
        const range r = part_of(rows, parts, task / slices);
        const ptrdiff_t at = r.first * c + s.channel;
        float factor[SLICE], slope[SLICE], shift[SLICE];
        for (ptrdiff_t j = 0; j < s.channels; j++) {
            const ptrdiff_t k = s.channel + j;
            const double inv_std = save_inv_std[k], scale = (double)weights[k] * inv_std;
            factor[j] = (float)scale;
            slope[j] = (float)(-scale * inv_std * inv_std * products[k] / (double)rows);
            shift[j] = (float)(-(factor[j] * sums[k] + slope[j] * deviations[k]) / (double)rows);
        }
        normalize_backward(worker->kernels, &s, diff_src + at, diff_dst + at, src + at, save_mean + s.channel, factor,
                           slope, shift, r.count);
    }
}
