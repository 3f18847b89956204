/*
 * Losses and their gradients in one op. The loss of each sample is a double in the shared workspace; after a barrier
 * the first worker adds them up in order. NaN or Inf in the mean stops the program before anything is updated.
 *
 * Cross-entropy of logits z against targets t is the sum of t * (log sum exp z - z); its gradient by z is
 * sum(t) * softmax(z) - t. Label smoothing (Szegedy et al. 2016, section 7) replaces t by (1 - eps) * t + eps / classes.
 */
#include "internal.h"
#include "workspace.h"

/* Elements that a worker holds at a time: rows of logits that together fit, at least one row. */
enum { LOSS_BLOCK = 1024 };

static ptrdiff_t rows_per_block(ptrdiff_t classes) { return cnn_max(1, LOSS_BLOCK / classes); }

/* Shared: the samples' losses. Scratch: exponentials (or loss terms and gradients) of a block, and a row maximum. */
cnn_workspace cnn_loss_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    const ptrdiff_t classes = geometry->loss.classes, block = cnn_max(LOSS_BLOCK, classes);
    return (cnn_workspace){.shared = (size_t)batch * sizeof(double),
                           .scratch = cnn_align((size_t)block * sizeof(float)) + LOSS_BLOCK * sizeof(float)};
}

static void finish(const cnn_call *call, const cnn_worker *worker, double samples)
{
    const double *losses = worker->shared;
    cnn_barrier(worker);
    if (!cnn_is_first(worker)) return;
    double sum = 0.0;
    for (ptrdiff_t n = 0; n < call->batch; n++) sum += losses[n];
    call->run->loss = sum / samples;
    if (!isfinite(call->run->loss)) *call->status = CNN_NONFINITE_LOSS;
}

typedef struct target {
    const float *row; /* probabilities, or NULL for the one-hot row of `label` */
    int64_t label;
    double keep, floor; /* smoothing: keep * t + floor */
} target;

static double target_of(const target *t, ptrdiff_t c)
{
    const double plain = t->row ? (double)t->row[c] : c == t->label ? 1.0 : 0.0;
    return t->keep * plain + t->floor;
}

/* exponentials[c] = exp(logits[c] - largest) */
static double cross_entropy_row(const target *t, float *restrict diff_logits, const float *restrict logits,
                                const float *restrict exponentials, float largest, ptrdiff_t classes, double scale)
{
    double sum = 0.0, loss = 0.0, weight = 0.0;
    for (ptrdiff_t c = 0; c < classes; c++) sum += exponentials[c];
    const double log_sum = (double)largest + log(sum);
    for (ptrdiff_t c = 0; c < classes; c++) {
        const double share = target_of(t, c);
        if (share != 0.0) loss += share * (log_sum - (double)logits[c]);
        weight += share;
    }
    if (diff_logits) {
        const double factor = weight / sum;
        for (ptrdiff_t c = 0; c < classes; c++)
            diff_logits[c] = (float)((factor * exponentials[c] - target_of(t, c)) * scale);
    }
    return loss;
}

/* Exactly one of targets [N][classes] and labels [N] is given. */
static void cross_entropy(const cnn_call *call, const cnn_worker *worker, float *diff_logits, const float *logits,
                          const float *targets, const int64_t *labels)
{
    const ptrdiff_t classes = call->geometry->loss.classes;
    const double smoothing = call->geometry->loss.label_smoothing, scale = 1.0 / (double)call->batch;
    double *losses = worker->shared;
    float *exponentials = worker->scratch;
    float *largest = exponentials + cnn_align((size_t)cnn_max(LOSS_BLOCK, classes) * sizeof(float)) / sizeof(float);
    ptrdiff_t first, last;
    assert(logits && losses && exponentials && classes >= 1 && smoothing >= 0.0 && smoothing <= 1.0);
    cnn_share(worker, call->batch, &first, &last);
    for (ptrdiff_t start = first; start < last; start += rows_per_block(classes)) {
        const ptrdiff_t rows = cnn_min(rows_per_block(classes), last - start);
        worker->kernels->exp_rows(exponentials, largest, logits + start * classes, rows, classes);
        for (ptrdiff_t r = 0; r < rows; r++) {
            const ptrdiff_t n = start + r, row = n * classes;
            const target t = {targets ? targets + row : NULL, labels ? labels[n] : -1, 1.0 - smoothing,
                              smoothing / (double)classes};
            losses[n] = cross_entropy_row(&t, diff_logits ? diff_logits + row : NULL, logits + row,
                                          exponentials + r * classes, largest[r], classes, scale);
        }
    }
    finish(call, worker, (double)call->batch);
    if (labels) cnn_stop_at_bad_label(call, worker, labels);
}

void cnn_cross_entropy(const cnn_call *call, const cnn_worker *worker)
{
    assert(call->operands[CNN_cross_entropy_labels]);
    cross_entropy(call, worker, call->operands[CNN_cross_entropy_diff_logits], call->operands[CNN_cross_entropy_logits],
                  NULL, call->operands[CNN_cross_entropy_labels]);
}

void cnn_cross_entropy_soft(const cnn_call *call, const cnn_worker *worker)
{
    assert(call->operands[CNN_cross_entropy_soft_targets]);
    cross_entropy(call, worker, call->operands[CNN_cross_entropy_soft_diff_logits],
                  call->operands[CNN_cross_entropy_soft_logits], call->operands[CNN_cross_entropy_soft_targets], NULL);
}

/* Of the rows of a block, of all samples one after the other. */
typedef struct pixel_block {
    double loss;
    ptrdiff_t counted, bad; /* rows whose label counts; the first with a label that is no class, or -1 */
} pixel_block;

/* Shared: what is known of each block. Scratch as above. */
cnn_workspace cnn_pixel_loss_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    const ptrdiff_t classes = geometry->pixel_loss.classes, block = cnn_max(LOSS_BLOCK, classes);
    const ptrdiff_t blocks = cnn_ceil_div(batch * geometry->pixel_loss.rows, rows_per_block(classes));
    return (cnn_workspace){.shared = (size_t)blocks * sizeof(pixel_block),
                           .scratch = cnn_align((size_t)block * sizeof(float)) + LOSS_BLOCK * sizeof(float)};
}

static pixel_block look_at_labels(const cnn_pixel_loss_geometry *g, const int64_t *labels, ptrdiff_t start,
                                  ptrdiff_t end)
{
    pixel_block block = {0.0, 0, -1};
    for (ptrdiff_t i = start; i < end; i++) {
        if (labels[i] == g->ignored) continue;
        block.counted++;
        if ((labels[i] < 0 || labels[i] >= g->classes) && block.bad < 0) block.bad = i;
    }
    return block;
}

/* The first worker adds up the blocks in order. */
static void finish_pixels(const cnn_call *call, const cnn_worker *worker, ptrdiff_t blocks, double scale)
{
    const pixel_block *all = worker->shared;
    cnn_barrier(worker);
    if (!cnn_is_first(worker)) return;
    double sum = 0.0;
    for (ptrdiff_t b = 0; b < blocks; b++) sum += all[b].loss;
    call->run->loss = sum * scale;
    if (!isfinite(call->run->loss)) *call->status = CNN_NONFINITE_LOSS;
    for (ptrdiff_t b = 0; b < blocks; b++) {
        if (all[b].bad < 0) continue;
        call->run->detail = all[b].bad;
        *call->status = CNN_LABEL_OUT_OF_RANGE;
        return;
    }
}

/* Logits [N][rows][classes] and labels [N][rows]. The work is split by blocks of rows: of one sample there may be
 * thousands. Every worker adds up all counts, which are whole numbers. */
void cnn_pixel_cross_entropy(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_pixel_loss_geometry *g = &call->geometry->pixel_loss;
    float *diff_logits = call->operands[CNN_pixel_cross_entropy_diff_logits];
    const float *logits = call->operands[CNN_pixel_cross_entropy_logits];
    const int64_t *labels = call->operands[CNN_pixel_cross_entropy_labels];
    const ptrdiff_t classes = g->classes, all = call->batch * g->rows, step = rows_per_block(classes);
    const ptrdiff_t blocks = cnn_ceil_div(all, step);
    pixel_block *found = worker->shared;
    float *exponentials = worker->scratch;
    float *largest = exponentials + cnn_align((size_t)cnn_max(LOSS_BLOCK, classes) * sizeof(float)) / sizeof(float);
    ptrdiff_t first, last, counted = 0;
    assert(logits && labels && found && exponentials && classes >= 1 && g->rows >= 1);
    cnn_share(worker, blocks, &first, &last);
    for (ptrdiff_t b = first; b < last; b++)
        found[b] = look_at_labels(g, labels, b * step, cnn_min((b + 1) * step, all));
    cnn_barrier(worker);
    for (ptrdiff_t b = 0; b < blocks; b++) counted += found[b].counted;
    const double smoothing = g->label_smoothing, scale = counted ? 1.0 / (double)counted : 0.0;
    for (ptrdiff_t b = first; b < last; b++) {
        const ptrdiff_t start = b * step, rows = cnn_min(step, all - start);
        worker->kernels->exp_rows(exponentials, largest, logits + start * classes, rows, classes);
        double loss = 0.0;
        for (ptrdiff_t r = 0; r < rows; r++) {
            const ptrdiff_t i = start + r;
            float *diff = diff_logits ? diff_logits + i * classes : NULL;
            const target t = {NULL, labels[i], 1.0 - smoothing, smoothing / (double)classes};
            if (labels[i] != g->ignored)
                loss += cross_entropy_row(&t, diff, logits + i * classes, exponentials + r * classes, largest[r],
                                          classes, scale);
            else if (diff)
                memset(diff, 0, (size_t)classes * sizeof(float));
        }
        found[b].loss = loss;
    }
    finish_pixels(call, worker, blocks, scale);
}

/* The gradient is 2 * (src - target) / (N * classes). */
void cnn_mean_squared_error(const cnn_call *call, const cnn_worker *worker)
{
    const ptrdiff_t classes = call->geometry->loss.classes;
    float *diff_src = call->operands[CNN_mean_squared_error_diff_src];
    const float *src = call->operands[CNN_mean_squared_error_src],
                *targets = call->operands[CNN_mean_squared_error_targets];
    double *losses = worker->shared;
    float *differences = worker->scratch;
    const double elements = (double)call->batch * (double)classes;
    ptrdiff_t first, last;
    assert(src && targets && losses && differences && classes >= 1);
    cnn_share(worker, call->batch, &first, &last);
    for (ptrdiff_t n = first; n < last; n++) {
        losses[n] = 0.0;
        for (ptrdiff_t start = n * classes; start < (n + 1) * classes; start += LOSS_BLOCK) {
            const ptrdiff_t count = cnn_min(LOSS_BLOCK, (n + 1) * classes - start);
            double sum;
            worker->kernels->subtract(differences, src + start, targets + start, count);
            worker->kernels->square_sum(differences, count, &sum);
            losses[n] += sum;
            if (diff_src) worker->kernels->scale(diff_src + start, differences, count, (float)(2.0 / elements));
        }
    }
    finish(call, worker, elements);
}

/* The gradient is (sigmoid(logit) - target) / (N * classes). */
void cnn_binary_cross_entropy(const cnn_call *call, const cnn_worker *worker)
{
    const ptrdiff_t classes = call->geometry->loss.classes;
    float *diff_logits = call->operands[CNN_binary_cross_entropy_diff_logits];
    const float *logits = call->operands[CNN_binary_cross_entropy_logits],
                *targets = call->operands[CNN_binary_cross_entropy_targets];
    double *losses = worker->shared;
    float *terms = worker->scratch, *unused = terms + LOSS_BLOCK;
    const double elements = (double)call->batch * (double)classes;
    ptrdiff_t first, last;
    assert(logits && targets && losses && terms && classes >= 1);
    cnn_share(worker, call->batch, &first, &last);
    for (ptrdiff_t n = first; n < last; n++) {
        losses[n] = 0.0;
        for (ptrdiff_t start = n * classes; start < (n + 1) * classes; start += LOSS_BLOCK) {
            const ptrdiff_t count = cnn_min(LOSS_BLOCK, (n + 1) * classes - start);
            float *diff = diff_logits ? diff_logits + start : unused;
            worker->kernels->logistic_loss(terms, diff, logits + start, targets + start, count,
                                           (float)(1.0 / elements));
            for (ptrdiff_t i = 0; i < count; i++) losses[n] += terms[i];
        }
    }
    finish(call, worker, elements);
}
