/* What must stop a program: NaN and Inf, labels out of range. Also the norm of the gradient and clipping by it. */
#include "internal.h"
#include "workspace.h"

cnn_workspace cnn_check_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    (void)geometry, (void)batch;
    return (cnn_workspace){.shared = CNN_MAX_THREADS * sizeof(ptrdiff_t), .scratch = 0};
}

/* One double for each span of the gradients, and room for the findings of each worker. */
cnn_workspace cnn_gradient_sums_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    const size_t sums = (size_t)cnn_ceil_div(geometry->optimizer.count, CNN_SPAN) * sizeof(double);
    const size_t findings = cnn_check_workspace(geometry, batch).shared;
    return (cnn_workspace){.shared = sums > findings ? sums : findings, .scratch = 0};
}

static ptrdiff_t find_nonfinite(const cnn_kernels *kernels, const float *src, ptrdiff_t first, ptrdiff_t last)
{
    for (ptrdiff_t start = first; start < last; start += CNN_SPAN) {
        const ptrdiff_t end = cnn_min(start + CNN_SPAN, last);
        bool found;
        kernels->has_nonfinite(src + start, end - start, &found);
        if (!found) continue;
        for (ptrdiff_t i = start; i < end; i++)
            if (!isfinite(src[i])) return i;
    }
    return -1;
}

/* Each worker looks through its share; the first worker takes the smallest index and stops the program. */
static void check(const cnn_call *call, const cnn_worker *worker, const float *src, ptrdiff_t count, cnn_status status)
{
    ptrdiff_t *findings = worker->shared, first, last;
    assert(src && findings && worker->size <= CNN_MAX_THREADS);
    cnn_share_elements(worker, count, &first, &last);
    findings[worker->rank] = find_nonfinite(worker->kernels, src, first, last);
    cnn_barrier(worker);
    if (!cnn_is_first(worker)) return;
    for (int rank = 0; rank < worker->size; rank++) { /* shares ascend with the rank */
        if (findings[rank] < 0) continue;
        call->run->detail = findings[rank];
        *call->status = status;
        return;
    }
}

void cnn_check_finite(const cnn_call *call, const cnn_worker *worker)
{
    check(call, worker, call->operands[CNN_check_finite_src], call->batch * call->geometry->elementwise.count,
          CNN_NONFINITE_INPUT);
}

void cnn_check_gradients(const cnn_call *call, const cnn_worker *worker)
{
    check(call, worker, call->operands[CNN_check_gradients_gradients], call->geometry->optimizer.count,
          CNN_NONFINITE_GRADIENT);
}

/* A batch of labels is less work than a barrier: the first worker looks at them alone. */
void cnn_stop_at_bad_label(const cnn_call *call, const cnn_worker *worker, const int64_t *labels)
{
    if (!cnn_is_first(worker)) return;
    for (ptrdiff_t n = 0; n < call->batch; n++) {
        if (labels[n] >= 0 && labels[n] < call->geometry->loss.classes) continue;
        call->run->detail = n;
        *call->status = CNN_LABEL_OUT_OF_RANGE;
        return;
    }
}

void cnn_check_labels(const cnn_call *call, const cnn_worker *worker)
{
    cnn_stop_at_bad_label(call, worker, call->operands[CNN_check_labels_labels]);
}

/* Squares are summed by span in double; every worker adds up all spans in order, so that all scale alike. */
void cnn_clip_gradients(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_optimizer_geometry *g = &call->geometry->optimizer;
    float *gradients = call->operands[CNN_clip_gradients_gradients];
    double *sums = worker->shared;
    const ptrdiff_t spans = cnn_ceil_div(g->count, CNN_SPAN);
    ptrdiff_t first, last;
    assert(gradients && sums && g->max_norm >= 0.0f);
    cnn_share(worker, spans, &first, &last);
    for (ptrdiff_t span = first; span < last; span++) {
        const ptrdiff_t start = span * CNN_SPAN;
        worker->kernels->square_sum(gradients + start, cnn_min(CNN_SPAN, g->count - start), &sums[span]);
    }
    cnn_barrier(worker);
    double total = 0.0;
    for (ptrdiff_t span = 0; span < spans; span++) total += sums[span];
    const double norm = sqrt(total);
    if (cnn_is_first(worker)) call->run->gradient_norm = norm;
    if (norm <= g->max_norm) return;
    const ptrdiff_t start = cnn_min(first * CNN_SPAN, g->count), end = cnn_min(last * CNN_SPAN, g->count);
    worker->kernels->scale(gradients + start, gradients + start, end - start, (float)(g->max_norm / norm));
}
