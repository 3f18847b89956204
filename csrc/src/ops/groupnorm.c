/*
 * Group normalisation (Wu & He 2018, section 3) of maps [rows][C]: each group of neighbouring channels of a sample by its
 * own mean and variance. Sums are taken by channel over parts of a sample's rows (norm.h), then joined in order, over the
 * parts, then over the channels of a group. The parts do not depend on the batch: a sample has the same bits in any.
 *
 * A large batch goes by samples, each read the second time from the second-level cache; a small one by parts, with all
 * workers at one sample.
 */
#include "norm.h"
#include "workspace.h"

enum {
    BY_SAMPLES = 16,   /* samples from which on each is one worker's */
    SAMPLE_PARTS = 16, /* most parts of a sample */
};

static ptrdiff_t sample_parts(const cnn_groupnorm_geometry *g)
{
    return cnn_min(part_count(g->rows, g->c), SAMPLE_PARTS);
}

static bool by_samples(const cnn_groupnorm_geometry *g, ptrdiff_t batch)
{
    return batch >= BY_SAMPLES || sample_parts(g) == 1;
}

/* Of the op: two doubles for each part and channel. */
typedef struct part_sums {
    double *first, *second; /* [batch][parts][C] */
    size_t bytes;
} part_sums;

static part_sums carve_sums(const cnn_groupnorm_geometry *g, ptrdiff_t batch, void *shared)
{
    const size_t sums = cnn_align((size_t)(batch * sample_parts(g) * g->c) * sizeof(double));
    return (part_sums){.first = shared, .second = cnn_at(shared, sums), .bytes = 2 * sums};
}

/* Of a worker: what a sample is normalised with, repeated for rows side by side, and two doubles for each channel. */
typedef struct sample_memory {
    double *first, *second; /* [C] */
    float *mean, *factor, *shift, *slope, *rest;
    size_t bytes;
} sample_memory;

static sample_memory carve_sample(const cnn_groupnorm_geometry *g, void *scratch)
{
    const size_t sums = cnn_align((size_t)g->c * sizeof(double)), vectors = 2 * sums;
    const size_t vector = cnn_align((size_t)(group_count(g->c) * g->c) * sizeof(float));
    return (sample_memory){.first = scratch,
                           .second = cnn_at(scratch, sums),
                           .mean = cnn_at(scratch, vectors),
                           .factor = cnn_at(scratch, vectors + vector),
                           .shift = cnn_at(scratch, vectors + 2 * vector),
                           .slope = cnn_at(scratch, vectors + 3 * vector),
                           .rest = cnn_at(scratch, vectors + 4 * vector),
                           .bytes = vectors + 5 * vector};
}

cnn_workspace cnn_groupnorm_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    const cnn_groupnorm_geometry *g = &geometry->groupnorm;
    return (cnn_workspace){.shared = carve_sums(g, batch, NULL).bytes, .scratch = carve_sample(g, NULL).bytes};
}

/* ---- the order of the work ---------------------------------------------------------------------------------------- */

typedef struct job {
    const cnn_call *call;
    const cnn_groupnorm_geometry *g;
    const cnn_kernels *kernels;
    part_sums sums;
    sample_memory m;
    ptrdiff_t parts;
} job;

/* Sums of a part; what a sample is normalised with, and whether to note its statistics; its rows. */
typedef struct pass {
    void (*sum)(const job *, ptrdiff_t sample, ptrdiff_t part);
    void (*prepare)(const job *, ptrdiff_t sample, bool note);
    void (*apply)(const job *, ptrdiff_t sample, range rows);
} pass;

static job job_of(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_groupnorm_geometry *g = &call->geometry->groupnorm;
    assert(worker->shared && worker->scratch && g->c % g->groups == 0);
    return (job){.call = call,
                 .g = g,
                 .kernels = worker->kernels,
                 .sums = carve_sums(g, call->batch, worker->shared),
                 .m = carve_sample(g, worker->scratch),
                 .parts = sample_parts(g)};
}

static void run_pass(const job *j, const pass *steps, const cnn_worker *worker)
{
    ptrdiff_t first, last;
    if (by_samples(j->g, j->call->batch)) {
        cnn_share(worker, j->call->batch, &first, &last);
        for (ptrdiff_t sample = first; sample < last; sample++) {
            for (ptrdiff_t part = 0; part < j->parts; part++) steps->sum(j, sample, part);
            steps->prepare(j, sample, true);
            steps->apply(j, sample, (range){0, j->g->rows});
        }
        return;
    }
    cnn_share(worker, j->call->batch * j->parts, &first, &last);
    for (ptrdiff_t task = first; task < last; task++) steps->sum(j, task / j->parts, task % j->parts);
    cnn_barrier(worker);
    for (ptrdiff_t task = first; task < last; task++) {
        const ptrdiff_t sample = task / j->parts, part = task % j->parts;
        if (part == 0 || task == first) steps->prepare(j, sample, part == 0);
        steps->apply(j, sample, part_of(j->g->rows, j->parts, part));
    }
}

/* Where the sums of a part begin, in elements. */
static ptrdiff_t sums_at(const job *j, ptrdiff_t sample, ptrdiff_t part)
{
    return (sample * j->parts + part) * j->g->c;
}

/* ---- forward ------------------------------------------------------------------------------------------------------ */

static void sum_moments(const job *j, ptrdiff_t sample, ptrdiff_t part)
{
    const cnn_groupnorm_geometry *g = j->g;
    const range r = part_of(g->rows, j->parts, part);
    const float *src =
        (const float *)j->call->operands[CNN_groupnorm_forward_src] + (sample * g->rows + r.first) * g->c;
    if (g->rows == 1) { /* each is its own mean */
        double *means = j->sums.first + sums_at(j, sample, part), *squares = j->sums.second + sums_at(j, sample, part);
        for (ptrdiff_t k = 0; k < g->c; k++) means[k] = src[k], squares[k] = 0.0;
        return;
    }
    for (ptrdiff_t index = 0; index < slice_count(g->c, ENOUGH_PARTS); index++) {
        const slice s = slice_of(g->c, ENOUGH_PARTS, index);
        const ptrdiff_t to = sums_at(j, sample, part) + s.channel;
        part_moments(j->kernels, &s, src + s.channel, r.count, j->sums.first + to, j->sums.second + to);
    }
}

/* Mean and squared deviations of the group that begins at this channel, from those of its channels and their parts. */
static double group_moments(const job *j, ptrdiff_t sample, ptrdiff_t channel, double *mean)
{
    const cnn_groupnorm_geometry *g = j->g;
    const ptrdiff_t channels = g->c / g->groups, at = sums_at(j, sample, 0);
    double *means = j->m.first, sum = 0.0, total = 0.0;
    for (ptrdiff_t k = channel; k < channel + channels; k++) {
        total += join_parts(j->sums.first + at + k, j->sums.second + at + k, g->rows, j->parts, g->c, &means[k]);
        sum += means[k];
    }
    *mean = sum / (double)channels;
    for (ptrdiff_t k = channel; k < channel + channels; k++)
        total += (double)g->rows * (means[k] - *mean) * (means[k] - *mean);
    return total;
}

static void prepare_forward(const job *j, ptrdiff_t sample, bool note)
{
    const cnn_groupnorm_geometry *g = j->g;
    const ptrdiff_t channels = g->c / g->groups;
    float *save_mean = j->call->operands[CNN_groupnorm_forward_save_mean],
          *save_inv_std = j->call->operands[CNN_groupnorm_forward_save_inv_std];
    const float *weights = j->call->operands[CNN_groupnorm_forward_weights],
                *bias = j->call->operands[CNN_groupnorm_forward_bias];
    for (ptrdiff_t number = 0; number < g->groups; number++) {
        double mean;
        const double total = group_moments(j, sample, number * channels, &mean);
        const float near = (float)mean, left = (float)(mean - (double)near);
        const float inv_std = (float)(1.0 / sqrt(total / (double)(g->rows * channels) + (double)g->eps));
        if (note && save_mean) {
            save_mean[2 * sample * g->groups + number] = near;
            save_mean[(2 * sample + 1) * g->groups + number] = left;
        }
        if (note && save_inv_std) save_inv_std[sample * g->groups + number] = inv_std;
        for (ptrdiff_t k = number * channels; k < (number + 1) * channels; k++) {
            const float factor = weight_at(weights, k) * inv_std;
            put(j->m.mean, k, g->c, near);
            put(j->m.factor, k, g->c, factor);
            put(j->m.shift, k, g->c, (float)((double)bias_at(bias, k) - (double)left * (double)factor));
        }
    }
}

static void apply_forward(const job *j, ptrdiff_t sample, range rows)
{
    const ptrdiff_t c = j->g->c, groups = group_count(c), at = (sample * j->g->rows + rows.first) * c;
    const ptrdiff_t full = rows.count / groups, tail = at + full * groups * c, rest = rows.count % groups * c;
    float *dst = j->call->operands[CNN_groupnorm_forward_dst];
    const float *src = j->call->operands[CNN_groupnorm_forward_src];
    const cnn_norm norm = {.mean = j->m.mean, .factor = j->m.factor, .shift = j->m.shift};
    j->kernels->normalize(dst + at, src + at, NULL, &norm, full, groups * c);
    if (rest) j->kernels->normalize(dst + tail, src + tail, NULL, &norm, 1, rest);
}

/* May run in place. */
void cnn_groupnorm_forward(const cnn_call *call, const cnn_worker *worker)
{
    static const pass forward = {sum_moments, prepare_forward, apply_forward};
    const job j = job_of(call, worker);
    assert(call->operands[CNN_groupnorm_forward_dst] && call->operands[CNN_groupnorm_forward_src]);
    run_pass(&j, &forward, worker);
}

/* ---- backward ----------------------------------------------------------------------------------------------------- */

static float mean_of(const job *j, ptrdiff_t sample, ptrdiff_t group)
{
    return ((const float *)j->call->operands[CNN_groupnorm_backward_save_mean])[2 * sample * j->g->groups + group];
}

/* What the rounding of the mean left. */
static float left_of(const job *j, ptrdiff_t sample, ptrdiff_t group)
{
    return (
        (const float *)j->call->operands[CNN_groupnorm_backward_save_mean])[(2 * sample + 1) * j->g->groups + group];
}

static float inv_std_of(const job *j, ptrdiff_t sample, ptrdiff_t group)
{
    return ((const float *)j->call->operands[CNN_groupnorm_backward_save_inv_std])[sample * j->g->groups + group];
}

static void sum_products(const job *j, ptrdiff_t sample, ptrdiff_t part)
{
    const cnn_groupnorm_geometry *g = j->g;
    const ptrdiff_t channels = g->c / g->groups;
    const range r = part_of(g->rows, j->parts, part);
    const ptrdiff_t from = (sample * g->rows + r.first) * g->c, to = sums_at(j, sample, part);
    const float *src = (const float *)j->call->operands[CNN_groupnorm_backward_src] + from,
                *diff_dst = (const float *)j->call->operands[CNN_groupnorm_backward_diff_dst] + from;
    for (ptrdiff_t number = 0; number < g->groups; number++)
        for (ptrdiff_t k = number * channels; k < (number + 1) * channels; k++)
            put(j->m.mean, k, g->c, mean_of(j, sample, number));
    for (ptrdiff_t index = 0; index < slice_count(g->c, ENOUGH_PARTS); index++) {
        const slice s = slice_of(g->c, ENOUGH_PARTS, index);
        const cnn_norm norm = {.mean = j->m.mean + s.channel};
        part_products(j->kernels, &s, src + s.channel, diff_dst + s.channel, &norm, r.count,
                      j->sums.first + to + s.channel, j->sums.second + to + s.channel);
    }
}

/*
 * With y' = (x - mean) * inv_std and, over the n elements of a group, S = sum of weights * dy and P that of weights * dy
 * * (x - mean):
 *   diff_src = inv_std * (weights * dy - S/n - y' * inv_std * P/n)
 */
static void prepare_backward(const job *j, ptrdiff_t sample, bool note)
{
    const cnn_groupnorm_geometry *g = j->g;
    const ptrdiff_t channels = g->c / g->groups, at = sums_at(j, sample, 0);
    const double count = (double)(g->rows * channels);
    const float *weights = j->call->operands[CNN_groupnorm_backward_weights];
    (void)note;
    for (ptrdiff_t number = 0; number < g->groups; number++) {
        const double left = left_of(j, sample, number), inv_std = inv_std_of(j, sample, number);
        double sum = 0.0, product = 0.0;
        for (ptrdiff_t k = number * channels; k < (number + 1) * channels; k++) {
            double of_channel = 0.0, with_deviation = 0.0;
            for (ptrdiff_t part = 0; part < j->parts; part++) {
                of_channel += j->sums.first[at + part * g->c + k];
                with_deviation += j->sums.second[at + part * g->c + k];
            }
            sum += (double)weight_at(weights, k) * of_channel;
            product += (double)weight_at(weights, k) * (with_deviation - of_channel * left);
        }
        const float slope = (float)(-inv_std * inv_std * inv_std * product / count);
        const float rest = (float)(-inv_std * sum / count - (double)slope * left);
        for (ptrdiff_t k = number * channels; k < (number + 1) * channels; k++) {
            put(j->m.mean, k, g->c, mean_of(j, sample, number));
            put(j->m.factor, k, g->c, weight_at(weights, k) * (float)inv_std);
            put(j->m.slope, k, g->c, slope);
            put(j->m.rest, k, g->c, rest);
        }
    }
}

static void apply_backward(const job *j, ptrdiff_t sample, range rows)
{
    const ptrdiff_t c = j->g->c, groups = group_count(c), at = (sample * j->g->rows + rows.first) * c;
    const ptrdiff_t full = rows.count / groups, tail = at + full * groups * c, rest = rows.count % groups * c;
    float *diff_src = j->call->operands[CNN_groupnorm_backward_diff_src];
    const float *src = j->call->operands[CNN_groupnorm_backward_src],
                *diff_dst = j->call->operands[CNN_groupnorm_backward_diff_dst];
    /* the kernel loads a shift, and needs none without an activation */
    const cnn_norm norm = {j->m.mean, j->m.factor, j->m.factor, j->m.slope, j->m.rest, false};
    j->kernels->normalize_backward(diff_src + at, diff_dst + at, src + at, NULL, &norm, full, groups * c);
    if (rest) j->kernels->normalize_backward(diff_src + tail, diff_dst + tail, src + tail, NULL, &norm, 1, rest);
}

/* Over the samples in order, and over the parts of each. */
static void sum_samples(const job *j, const cnn_worker *worker)
{
    const cnn_groupnorm_geometry *g = j->g;
    float *diff_weights = j->call->operands[CNN_groupnorm_backward_diff_weights],
          *diff_bias = j->call->operands[CNN_groupnorm_backward_diff_bias];
    double *sums = j->m.first, *products = j->m.second;
    const ptrdiff_t channels = g->c / g->groups;
    ptrdiff_t first, last;
    cnn_share(worker, g->c, &first, &last);
    for (ptrdiff_t k = first; k < last; k++) sums[k] = products[k] = 0.0;
    for (ptrdiff_t i = 0; i < j->call->batch * j->parts; i++)
        for (ptrdiff_t k = first; k < last;) {
            const ptrdiff_t number = k / channels, end = cnn_min(last, (number + 1) * channels);
            const double left = left_of(j, i / j->parts, number), inv_std = inv_std_of(j, i / j->parts, number);
            for (; k < end; k++) {
                const double sum = j->sums.first[i * g->c + k];
                sums[k] += sum;
                products[k] += (j->sums.second[i * g->c + k] - sum * left) * inv_std;
            }
        }
    for (ptrdiff_t k = first; k < last; k++) {
        if (diff_bias) diff_bias[k] = (float)sums[k];
        if (diff_weights) diff_weights[k] = (float)products[k];
    }
}

void cnn_groupnorm_backward(const cnn_call *call, const cnn_worker *worker)
{
    static const pass backward = {sum_products, prepare_backward, apply_backward};
    const job j = job_of(call, worker);
    assert(call->operands[CNN_groupnorm_backward_diff_src] && call->operands[CNN_groupnorm_backward_src] &&
           call->operands[CNN_groupnorm_backward_diff_dst] && call->operands[CNN_groupnorm_backward_save_mean] &&
           call->operands[CNN_groupnorm_backward_save_inv_std]);
    run_pass(&j, &backward, worker);
    if (!call->operands[CNN_groupnorm_backward_diff_weights] && !call->operands[CNN_groupnorm_backward_diff_bias])
        return;
    cnn_barrier(worker);
    sum_samples(&j, worker);
}
