/* Naive twins of ops/check.c: looking for what must stop a program, and the norm of the gradient. */
#include "basics.h"

static void stop(const cnn_call *call, cnn_status status, ptrdiff_t detail)
{
    *call->status = status;
    call->run->detail = detail;
}

static ptrdiff_t first_nonfinite(const float *src, ptrdiff_t count)
{
    for (ptrdiff_t i = 0; i < count; i++)
        if (!isfinite(src[i])) return i;
    return -1;
}

void cnn_ref_check_finite(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const ptrdiff_t found =
        first_nonfinite(call->operands[CNN_check_finite_src], call->batch * call->geometry->elementwise.count);
    if (found >= 0) stop(call, CNN_NONFINITE_INPUT, found);
}

void cnn_ref_check_labels(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const int64_t *labels = call->operands[CNN_check_labels_labels];
    for (ptrdiff_t n = 0; n < call->batch; n++) {
        if (labels[n] >= 0 && labels[n] < call->geometry->loss.classes) continue;
        stop(call, CNN_LABEL_OUT_OF_RANGE, n);
        return;
    }
}

void cnn_ref_check_gradients(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const ptrdiff_t found =
        first_nonfinite(call->operands[CNN_check_gradients_gradients], call->geometry->optimizer.count);
    if (found >= 0) stop(call, CNN_NONFINITE_GRADIENT, found);
}

void cnn_ref_clip_gradients(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_optimizer_geometry *g = &call->geometry->optimizer;
    float *gradients = call->operands[CNN_clip_gradients_gradients];
    double squares = 0.0;
    for (ptrdiff_t i = 0; i < g->count; i++) squares += (double)gradients[i] * gradients[i];
    const double norm = sqrt(squares);
    call->run->gradient_norm = norm;
    if (norm <= g->max_norm) return;
    for (ptrdiff_t i = 0; i < g->count; i++) gradients[i] = (float)(gradients[i] * (g->max_norm / norm));
}
