/* Dropout (Srivastava et al. 2014), scaled in training: of elements, of channels (Tompson et al. 2015) or of samples
 * (Huang et al. 2016), by how many draws a sample takes. Draw e of the batch is number e % 4 of block e / 4 of its layer's
 * stream, so that a fate depends on seed, stream, step and place alone. May run in place. */
#include "factors.h"
#include "workspace.h"

static bool is_shared(const cnn_dropout_geometry *g) { return g->draws < g->count; }

/* The factors that several elements share. */
cnn_workspace cnn_dropout_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    const cnn_dropout_geometry *g = &geometry->dropout;
    return (cnn_workspace){.shared = is_shared(g) ? (size_t)(batch * g->draws) * sizeof(float) : 0};
}

/* Draws before those of this batch: a part of a step's batch has the draws of its place in the whole. */
static uint64_t draws_before(const cnn_call *call)
{
    return (uint64_t)(call->run->first_sample + call->first) * (uint64_t)call->geometry->dropout.draws;
}

/* Draws that elements share are first made factors, by dropping ones. */
static void drop_rows(const cnn_call *call, const cnn_worker *worker, const cnn_dropout_draw *draw)
{
    const cnn_dropout_geometry *g = &call->geometry->dropout;
    const cnn_channels_geometry rows = {.rows = g->count / g->draws, .c = g->draws};
    float *factors = worker->shared;
    ptrdiff_t first, last;
    assert(factors);
    cnn_share_elements(worker, call->batch * g->draws, &first, &last);
    for (ptrdiff_t i = first; i < last; i++) factors[i] = 1.0f;
    worker->kernels->dropout(factors + first, factors + first, last - first, draws_before(call) + (uint64_t)first,
                             draw);
    cnn_barrier(worker);
    cnn_apply_factors(worker, worker->kernels->keep_rows, call->operands[CNN_dropout_dst],
                      call->operands[CNN_dropout_src], factors, call->batch, &rows);
}

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
    if (is_shared(g)) {
        drop_rows(call, worker, &draw);
        return;
    }
    ptrdiff_t first, last;
    cnn_share_elements(worker, call->batch * g->count, &first, &last);
    worker->kernels->dropout(dst + first, src + first, last - first, draws_before(call) + (uint64_t)first, &draw);
}
