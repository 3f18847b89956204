/* Optimisers: one fused pass over parameters, gradients and states, split in spans of the arena. Gradients and states
 * lie at the same offsets as the parameters. A segment whose lr_scale is 0 is frozen: nothing of it moves. */
#include "internal.h"

/* The part of a segment that lies in this worker's share of the arena. */
typedef struct piece {
    ptrdiff_t first, count; /* count <= 0: none */
} piece;

static piece piece_of(const cnn_segment *segment, ptrdiff_t first, ptrdiff_t last)
{
    const ptrdiff_t start = cnn_max(first, (ptrdiff_t)segment->offset);
    const ptrdiff_t end = cnn_min(last, (ptrdiff_t)(segment->offset + segment->count));
    return (piece){start, end - start};
}

static bool is_frozen(const cnn_segment *segment) { return segment->lr_scale == 0.0f; }

/* Rounded to float once; all that follows from it is computed in double. */
static float rate_of(const cnn_call *call, const cnn_segment *segment)
{
    return (float)(call->run->learning_rate * (double)segment->lr_scale);
}

static float keep_of(float lr, const cnn_segment *segment)
{
    return (float)(1.0 - (double)lr * (double)segment->weight_decay);
}

void cnn_sgd(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_optimizer_geometry *g = &call->geometry->optimizer;
    float *parameters = call->operands[CNN_sgd_parameters], *velocity = call->operands[CNN_sgd_velocity];
    const float *gradients = call->operands[CNN_sgd_gradients];
    const cnn_segment *segments = call->operands[CNN_sgd_segments];
    ptrdiff_t first, last;
    assert(parameters && gradients && segments && (velocity || g->momentum == 0.0f || g->count == 0));
    cnn_share_elements(worker, g->count, &first, &last);
    for (ptrdiff_t s = 0; s < g->segments; s++) {
        const piece part = piece_of(&segments[s], first, last);
        const float lr = rate_of(call, &segments[s]);
        const cnn_sgd_step step = {lr, segments[s].l2, keep_of(lr, &segments[s]), g->momentum, g->nesterov != 0.0f};
        assert(segments[s].offset >= 0 && segments[s].offset + segments[s].count <= g->count);
        if (part.count <= 0 || is_frozen(&segments[s])) continue;
        if (velocity)
            worker->kernels->sgd_momentum(parameters + part.first, velocity + part.first, gradients + part.first,
                                          part.count, &step);
        else
            worker->kernels->sgd_plain(parameters + part.first, gradients + part.first, part.count, &step);
    }
}

/* By repeated squaring: the same bits with every maths library. */
static double power(double base, uint64_t exponent)
{
    double product = 1.0;
    for (; exponent > 0; exponent >>= 1, base *= base)
        if (exponent & 1) product *= base;
    return product;
}

/* lr * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps), the corrections drawn out of the loop. */
void cnn_adam(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_optimizer_geometry *g = &call->geometry->optimizer;
    float *parameters = call->operands[CNN_adam_parameters], *first_moment = call->operands[CNN_adam_first_moment],
          *second_moment = call->operands[CNN_adam_second_moment];
    const float *gradients = call->operands[CNN_adam_gradients];
    const cnn_segment *segments = call->operands[CNN_adam_segments];
    const double beta1 = g->beta1, beta2 = g->beta2;
    const uint64_t t = call->run->step + 1;
    const double correction1 = 1.0 - power(beta1, t), correction2 = 1.0 - power(beta2, t);
    ptrdiff_t first, last;
    assert(parameters && first_moment && second_moment && gradients && segments);
    assert(beta1 >= 0.0 && beta1 < 1.0 && beta2 >= 0.0 && beta2 < 1.0);
    cnn_share_elements(worker, g->count, &first, &last);
    for (ptrdiff_t s = 0; s < g->segments; s++) {
        const piece part = piece_of(&segments[s], first, last);
        const float lr = rate_of(call, &segments[s]);
        const cnn_adam_step step = {
            .lr = (float)((double)lr / correction1),
            .l2 = segments[s].l2,
            .keep = keep_of(lr, &segments[s]),
            .beta1 = g->beta1,
            .beta2 = g->beta2,
            .rest1 = (float)(1.0 - beta1),
            .rest2 = (float)(1.0 - beta2),
            .eps = g->eps,
            .root_factor = (float)(1.0 / sqrt(correction2)),
        };
        assert(segments[s].offset >= 0 && segments[s].offset + segments[s].count <= g->count);
        if (part.count <= 0 || is_frozen(&segments[s])) continue;
        worker->kernels->adam(parameters + part.first, first_moment + part.first, second_moment + part.first,
                              gradients + part.first, part.count, &step);
    }
}
