/* Dropout (Srivastava et al. 2014), scaled in training. Element e of the batch takes draw e % 4 of block e / 4 of its
 * layer's stream, so that its fate depends on seed, stream, step and place alone. May run in place. */
#include "internal.h"

void cnn_dropout(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_dropout_geometry *g = &call->geometry->dropout;
    float *dst = call->operands[CNN_dropout_dst];
    const float *src = call->operands[CNN_dropout_src];
    assert(dst && src && g->rate >= 0.0f && g->rate < 1.0f);
    const cnn_dropout_draw draw = {
        .seed = call->run->seed,
        .step = (uint32_t)call->run->step,
        .stream = (uint32_t)g->stream,
        .threshold = (uint32_t)ceilf(g->rate * 0x1p24f), /* exact: draws have 24 bits, and so has rate */
        .factor = 1.0f / (1.0f - g->rate),
    };
    ptrdiff_t first, last;
    cnn_share_elements(worker, call->batch * g->count, &first, &last);
    /* a part of a step's batch has the draws of its place in the whole */
    const uint64_t before = (uint64_t)call->run->first_sample * (uint64_t)g->count;
    worker->kernels->dropout(dst + first, src + first, last - first, before + (uint64_t)first, &draw);
}
