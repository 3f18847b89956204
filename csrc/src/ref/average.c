/* Naive twins of ops/average.c. */
#include "basics.h"

static void average(const cnn_call *call, float *slow, const float *parameters)
{
    for (ptrdiff_t i = 0; i < call->geometry->optimizer.count; i++)
        slow[i] = (float)(slow[i] + (1.0 - call->run->average) * ((double)parameters[i] - slow[i]));
}

void cnn_ref_average(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker) || call->run->average < 0.0) return;
    average(call, call->operands[CNN_average_average], call->operands[CNN_average_parameters]);
}

void cnn_ref_lookahead(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker) || call->run->average < 0.0) return;
    float *slow = call->operands[CNN_lookahead_average], *fast = call->operands[CNN_lookahead_parameters];
    average(call, slow, fast);
    for (ptrdiff_t i = 0; i < call->geometry->optimizer.count; i++) fast[i] = slow[i];
}

void cnn_ref_accumulate_gradients(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    float *gradients = call->operands[CNN_accumulate_gradients_gradients],
          *sums = call->operands[CNN_accumulate_gradients_sums];
    for (ptrdiff_t i = 0; i < call->geometry->optimizer.count; i++) {
        const double before = call->run->first_sample == 0 ? 0.0 : sums[i];
        sums[i] = (float)(before + call->run->share * gradients[i]);
        if (!call->run->more) gradients[i] = sums[i];
    }
    if (call->run->more) *call->status = CNN_PART_DONE;
}
