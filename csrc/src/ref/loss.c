/* Naive twins of ops/loss.c. Each sets run.loss to the mean in double; NaN or Inf there stops the program.
 *
 * Cross-entropy of logits z against targets t: sum of t * (logsumexp(z) - z); its gradient is
 * sum(t) * softmax(z) - t. Label smoothing (Szegedy et al. 2016, section 7) replaces t by (1-eps) * t + eps/classes.
 */
#include "basics.h"

static void finish(const cnn_call *call, double loss)
{
    call->run->loss = loss;
    if (!isfinite(loss)) *call->status = CNN_NONFINITE_LOSS;
}

static double log_sum_exp(const float *logits, ptrdiff_t classes)
{
    double largest = logits[0], sum = 0.0;
    for (ptrdiff_t c = 1; c < classes; c++) largest = logits[c] > largest ? logits[c] : largest;
    for (ptrdiff_t c = 0; c < classes; c++) sum += exp(logits[c] - largest);
    return largest + log(sum);
}

/* The target of class c: from the row of targets, or one-hot from the label where that is NULL. */
static double target_of(const cnn_loss_geometry *g, const float *targets, int64_t label, ptrdiff_t c)
{
    const double plain = targets ? targets[c] : c == label ? 1.0 : 0.0;
    return (1.0 - g->label_smoothing) * plain + g->label_smoothing / (double)g->classes;
}

static double cross_entropy_row(const cnn_loss_geometry *g, float *diff_logits, const float *logits,
                                const float *targets, int64_t label, double scale)
{
    const double log_sum = log_sum_exp(logits, g->classes);
    double loss = 0.0, total = 0.0;
    for (ptrdiff_t c = 0; c < g->classes; c++) {
        const double target = target_of(g, targets, label, c);
        loss += target * (log_sum - logits[c]);
        total += target;
    }
    for (ptrdiff_t c = 0; diff_logits && c < g->classes; c++) {
        const double probability = exp(logits[c] - log_sum);
        diff_logits[c] = (float)((total * probability - target_of(g, targets, label, c)) * scale);
    }
    return loss;
}

/* Exactly one of targets [N][classes] and labels [N] is given. */
static void cross_entropy(const cnn_call *call, float *diff_logits, const float *logits, const float *targets,
                          const int64_t *labels)
{
    const cnn_loss_geometry *g = &call->geometry->loss;
    double sum = 0.0;
    for (ptrdiff_t n = 0; n < call->batch; n++) {
        const ptrdiff_t row = n * g->classes;
        sum += cross_entropy_row(g, diff_logits ? diff_logits + row : NULL, logits + row,
                                 targets ? targets + row : NULL, labels ? labels[n] : -1, 1.0 / (double)call->batch);
    }
    finish(call, sum / (double)call->batch);
    for (ptrdiff_t n = 0; labels && n < call->batch; n++) {
        if (labels[n] >= 0 && labels[n] < g->classes) continue;
        call->run->detail = n;
        *call->status = CNN_LABEL_OUT_OF_RANGE;
        return;
    }
}

void cnn_ref_cross_entropy(const cnn_call *call, const cnn_worker *worker)
{
    if (cnn_is_first(worker))
        cross_entropy(call, call->operands[CNN_cross_entropy_diff_logits], call->operands[CNN_cross_entropy_logits],
                      NULL, call->operands[CNN_cross_entropy_labels]);
}

void cnn_ref_cross_entropy_soft(const cnn_call *call, const cnn_worker *worker)
{
    if (cnn_is_first(worker))
        cross_entropy(call, call->operands[CNN_cross_entropy_soft_diff_logits],
                      call->operands[CNN_cross_entropy_soft_logits], call->operands[CNN_cross_entropy_soft_targets],
                      NULL);
}

void cnn_ref_pixel_cross_entropy(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_pixel_loss_geometry *g = &call->geometry->pixel_loss;
    const cnn_loss_geometry row = {g->classes, g->label_smoothing};
    float *diff_logits = call->operands[CNN_pixel_cross_entropy_diff_logits];
    const float *logits = call->operands[CNN_pixel_cross_entropy_logits];
    const int64_t *labels = call->operands[CNN_pixel_cross_entropy_labels];
    const ptrdiff_t rows = call->batch * g->rows;
    ptrdiff_t counted = 0;
    double sum = 0.0;
    for (ptrdiff_t i = 0; i < rows; i++) counted += labels[i] != g->ignored;
    for (ptrdiff_t i = 0; i < rows; i++) {
        float *diff = diff_logits ? diff_logits + i * g->classes : NULL;
        if (labels[i] != g->ignored)
            sum += cross_entropy_row(&row, diff, logits + i * g->classes, NULL, labels[i], 1.0 / (double)counted);
        for (ptrdiff_t c = 0; diff && labels[i] == g->ignored && c < g->classes; c++) diff[c] = 0.0f;
    }
    finish(call, counted ? sum / (double)counted : 0.0);
    for (ptrdiff_t i = 0; i < rows; i++) {
        if (labels[i] == g->ignored || (labels[i] >= 0 && labels[i] < g->classes)) continue;
        call->run->detail = i;
        *call->status = CNN_LABEL_OUT_OF_RANGE;
        return;
    }
}

void cnn_ref_mean_squared_error(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    float *diff_src = call->operands[CNN_mean_squared_error_diff_src];
    const float *src = call->operands[CNN_mean_squared_error_src],
                *targets = call->operands[CNN_mean_squared_error_targets];
    const ptrdiff_t count = call->batch * call->geometry->loss.classes;
    double sum = 0.0;
    for (ptrdiff_t i = 0; i < count; i++) {
        const double difference = (double)src[i] - targets[i];
        sum += difference * difference;
        if (diff_src) diff_src[i] = (float)(2.0 * difference / (double)count);
    }
    finish(call, sum / (double)count);
}

/* max(z, 0) - z*t + log(1 + exp(-|z|)), which never overflows. */
void cnn_ref_binary_cross_entropy(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    float *diff_logits = call->operands[CNN_binary_cross_entropy_diff_logits];
    const float *logits = call->operands[CNN_binary_cross_entropy_logits],
                *targets = call->operands[CNN_binary_cross_entropy_targets];
    const ptrdiff_t count = call->batch * call->geometry->loss.classes;
    double sum = 0.0;
    for (ptrdiff_t i = 0; i < count; i++) {
        const double z = logits[i], t = targets[i];
        sum += (z < 0.0 ? 0.0 : z) - z * t + log1p(exp(-fabs(z)));
        if (diff_logits) diff_logits[i] = (float)((1.0 / (1.0 + exp(-z)) - t) / (double)count);
    }
    finish(call, sum / (double)count);
}
