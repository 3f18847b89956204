/* Naive twin of ops/dropout.c. Draw d of the batch is number d % 4 of block d / 4 of the layer's stream. */
#include "basics.h"

void cnn_ref_dropout(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_dropout_geometry *g = &call->geometry->dropout;
    float *dst = call->operands[CNN_dropout_dst];
    const float *src = call->operands[CNN_dropout_src];
    assert(g->rate >= 0.0f && g->rate < 1.0f);
    const uint64_t seed = call->run->seed, step = call->run->step;
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const float scale = 1.0f / (1.0f - g->rate);
    const uint64_t before = (uint64_t)(call->run->first_sample + call->first) * (uint64_t)g->draws;
    for (ptrdiff_t e = 0; e < call->batch * g->count; e++) {
        const uint64_t place = before + (uint64_t)(e / g->count * g->draws + e % g->count % g->draws),
                       block = place / 4;
        const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), (uint32_t)step, (uint32_t)g->stream};
        uint32_t draws[4];
        cnn_philox4x32(counter, key, draws);
        const float uniform = (float)(draws[place % 4] >> 8) * 0x1p-24f;
        dst[e] = uniform >= g->rate ? src[e] * scale : 0.0f;
    }
}
