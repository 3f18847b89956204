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

/* 0.96^psi by the series of e^x, which for |x| < 0.041 is exact to the last bit or two: as `power`, it does not hang on
 * a maths library. */
static double damping(double psi)
{
    enum { TERMS = 12 };
    const double x = psi * -0.040821994520255166; /* ln 0.96 */
    double term = 1.0, sum = 1.0;
    for (int i = 1; i < TERMS; i++) {
        term *= x / i;
        sum += term;
    }
    return sum;
}

/* The momentum of step t and of the next, and the products of all up to them. */
typedef struct schedule {
    double now, next, product, next_product;
} schedule;

static schedule schedule_of(const cnn_optimizer_geometry *g, uint64_t t)
{
    const double beta1 = g->beta1, q = damping(g->momentum_decay), enough = 0x1p-60;
    schedule s = {.product = 1.0};
    double damped = q;
    /* a product that no longer changes 1 - product need not be carried on */
    for (uint64_t i = 1; i <= t && s.product > enough; i++, damped *= q) s.product *= beta1 * (1.0 - 0.5 * damped);
    damped = power(q, t);
    s.now = beta1 * (1.0 - 0.5 * damped);
    s.next = beta1 * (1.0 - 0.5 * damped * q);
    s.next_product = s.product * s.next;
    return s;
}

void cnn_nadam(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_optimizer_geometry *g = &call->geometry->optimizer;
    float *parameters = call->operands[CNN_nadam_parameters], *first_moment = call->operands[CNN_nadam_first_moment],
          *second_moment = call->operands[CNN_nadam_second_moment];
    const float *gradients = call->operands[CNN_nadam_gradients];
    const cnn_segment *segments = call->operands[CNN_nadam_segments];
    const uint64_t t = call->run->step + 1;
    const schedule momentum = schedule_of(g, t);
    ptrdiff_t first, last;
    assert(parameters && first_moment && second_moment && gradients && segments);
    cnn_share_elements(worker, g->count, &first, &last);
    for (ptrdiff_t s = 0; s < g->segments; s++) {
        const piece part = piece_of(&segments[s], first, last);
        const float lr = rate_of(call, &segments[s]);
        const cnn_nadam_step step = {
            .lr = (float)((double)lr * (1.0 - momentum.now) / (1.0 - momentum.product)),
            .lr_momentum = (float)((double)lr * momentum.next / (1.0 - momentum.next_product)),
            .l2 = segments[s].l2,
            .keep = keep_of(lr, &segments[s]),
            .beta1 = g->beta1,
            .beta2 = g->beta2,
            .rest1 = (float)(1.0 - (double)g->beta1),
            .rest2 = (float)(1.0 - (double)g->beta2),
            .eps = g->eps,
            .root_factor = (float)(1.0 / sqrt(1.0 - power((double)g->beta2, t))),
        };
        assert(segments[s].offset >= 0 && segments[s].offset + segments[s].count <= g->count);
        if (part.count <= 0 || is_frozen(&segments[s])) continue;
        worker->kernels->nadam(parameters + part.first, first_moment + part.first, second_moment + part.first,
                               gradients + part.first, part.count, &step);
    }
}

void cnn_rmsprop(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_optimizer_geometry *g = &call->geometry->optimizer;
    float *parameters = call->operands[CNN_rmsprop_parameters],
          *second_moment = call->operands[CNN_rmsprop_second_moment], *velocity = call->operands[CNN_rmsprop_velocity];
    const float *gradients = call->operands[CNN_rmsprop_gradients];
    const cnn_segment *segments = call->operands[CNN_rmsprop_segments];
    const bool keras = g->keras != 0.0f;
    ptrdiff_t first, last;
    assert(parameters && second_moment && gradients && segments && (velocity || g->momentum == 0.0f || g->count == 0));
    cnn_share_elements(worker, g->count, &first, &last);
    for (ptrdiff_t s = 0; s < g->segments; s++) {
        const piece part = piece_of(&segments[s], first, last);
        const float lr = rate_of(call, &segments[s]);
        const cnn_rmsprop_step step = {
            .inner = keras ? lr : 1.0f,
            .outer = keras ? 1.0f : lr,
            .l2 = segments[s].l2,
            .keep = keep_of(lr, &segments[s]),
            .momentum = g->momentum,
            .beta2 = g->beta2,
            .rest2 = (float)(1.0 - (double)g->beta2),
            .inside = keras ? g->eps : 0.0f,
            .outside = keras ? 0.0f : g->eps,
        };
        assert(segments[s].offset >= 0 && segments[s].offset + segments[s].count <= g->count);
        if (part.count <= 0 || is_frozen(&segments[s])) continue;
        worker->kernels->rmsprop(parameters + part.first, second_moment + part.first,
                                 velocity ? velocity + part.first : NULL, gradients + part.first, part.count, &step);
    }
}
