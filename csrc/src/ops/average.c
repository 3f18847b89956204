/* What is added up over steps or over the parts of one: averages of weights, and gradients. Each worker has the elements
 * that it has in the update too, so that what it has just written is still in its cache. */
#include "internal.h"

/* Average the elements [first, last), in place: what was not moved keeps every bit. */
static void average_part(const cnn_call *call, const cnn_worker *worker, float *average, const float *src,
                         ptrdiff_t first, ptrdiff_t last)
{
    const float rest = (float)(1.0 - call->run->average);
    assert(average && src && call->run->average <= 1.0);
    if (rest != 0.0f) worker->kernels->average(average + first, src + first, last - first, rest);
}

void cnn_average(const cnn_call *call, const cnn_worker *worker)
{
    ptrdiff_t first, last;
    if (call->run->average < 0.0) return;
    cnn_share_elements(worker, call->geometry->optimizer.count, &first, &last);
    average_part(call, worker, call->operands[CNN_average_average], call->operands[CNN_average_parameters], first,
                 last);
}

void cnn_lookahead(const cnn_call *call, const cnn_worker *worker)
{
    float *average = call->operands[CNN_lookahead_average], *parameters = call->operands[CNN_lookahead_parameters];
    ptrdiff_t first, last;
    if (call->run->average < 0.0) return;
    cnn_share_elements(worker, call->geometry->optimizer.count, &first, &last);
    for (ptrdiff_t start = first; start < last; start += CNN_SPAN) {
        const ptrdiff_t end = cnn_min(start + CNN_SPAN, last);
        average_part(call, worker, average, parameters, start, end);
        memcpy(parameters + start, average + start, (size_t)(end - start) * sizeof *parameters);
    }
}

void cnn_accumulate_gradients(const cnn_call *call, const cnn_worker *worker)
{
    float *gradients = call->operands[CNN_accumulate_gradients_gradients],
          *sums = call->operands[CNN_accumulate_gradients_sums];
    const cnn_run *run = call->run;
    const float share = (float)run->share;
    ptrdiff_t first, last;
    assert(gradients && sums && run->first_sample >= 0);
    cnn_share_elements(worker, call->geometry->optimizer.count, &first, &last);
    for (ptrdiff_t start = first; start < last; start += CNN_SPAN) {
        const ptrdiff_t count = cnn_min(CNN_SPAN, last - start);
        if (run->first_sample == 0)
            worker->kernels->scale(sums + start, gradients + start, count, share);
        else
            worker->kernels->add_scaled(sums + start, gradients + start, count, share);
        if (!run->more) memcpy(gradients + start, sums + start, (size_t)count * sizeof *gradients);
    }
    if (run->more && cnn_is_first(worker)) *call->status = CNN_PART_DONE;
}
