/* Naive twins of ops/optimizer.c. A segment whose lr_scale is 0 is frozen: neither parameter nor state moves. */
#include "basics.h"

/* The learning rate of a segment, rounded to float once. */
static double rate_of(const cnn_call *call, const cnn_segment *segment)
{
    return (float)(call->run->learning_rate * segment->lr_scale);
}

void cnn_ref_sgd(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_optimizer_geometry *g = &call->geometry->optimizer;
    float *parameters = call->operands[CNN_sgd_parameters], *velocity = call->operands[CNN_sgd_velocity];
    const float *gradients = call->operands[CNN_sgd_gradients];
    const cnn_segment *segments = call->operands[CNN_sgd_segments];
    const double momentum = g->momentum;
    assert(velocity || g->momentum == 0.0f || g->count == 0);
    for (ptrdiff_t s = 0; s < g->segments; s++) {
        const cnn_segment *segment = &segments[s];
        const double lr = rate_of(call, segment);
        assert(segment->offset >= 0 && segment->offset + segment->count <= g->count);
        if (segment->lr_scale == 0.0f) continue;
        for (int64_t i = segment->offset; i < segment->offset + segment->count; i++) {
            const double decayed = parameters[i] * (1.0 - lr * segment->weight_decay);
            const double gradient = gradients[i] + (double)segment->l2 * parameters[i];
            const double v = velocity ? momentum * velocity[i] + gradient : gradient;
            const double direction = g->nesterov != 0.0f ? gradient + momentum * v : v;
            if (velocity) velocity[i] = (float)v;
            parameters[i] = (float)(decayed - lr * direction);
        }
    }
}

void cnn_ref_adam(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_optimizer_geometry *g = &call->geometry->optimizer;
    float *parameters = call->operands[CNN_adam_parameters], *first = call->operands[CNN_adam_first_moment],
          *second = call->operands[CNN_adam_second_moment];
    const float *gradients = call->operands[CNN_adam_gradients];
    const cnn_segment *segments = call->operands[CNN_adam_segments];
    const double beta1 = g->beta1, beta2 = g->beta2, t = (double)(call->run->step + 1);
    const double correct1 = 1.0 - pow(beta1, t), correct2 = 1.0 - pow(beta2, t);
    for (ptrdiff_t s = 0; s < g->segments; s++) {
        const cnn_segment *segment = &segments[s];
        const double lr = rate_of(call, segment);
        assert(segment->offset >= 0 && segment->offset + segment->count <= g->count);
        if (segment->lr_scale == 0.0f) continue;
        for (int64_t i = segment->offset; i < segment->offset + segment->count; i++) {
            const double decayed = parameters[i] * (1.0 - lr * segment->weight_decay);
            const double gradient = gradients[i] + (double)segment->l2 * parameters[i];
            const double m = beta1 * first[i] + (1.0 - beta1) * gradient;
            const double v = beta2 * second[i] + (1.0 - beta2) * gradient * gradient;
            first[i] = (float)m;
            second[i] = (float)v;
            parameters[i] = (float)(decayed - lr * (m / correct1) / (sqrt(v / correct2) + g->eps));
        }
    }
}

/* Dozat 2016, with the momentum beta1 * (1 - 0.96^(t * psi) / 2) of step t. */
void cnn_ref_nadam(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_optimizer_geometry *g = &call->geometry->optimizer;
    float *parameters = call->operands[CNN_nadam_parameters], *first = call->operands[CNN_nadam_first_moment],
          *second = call->operands[CNN_nadam_second_moment];
    const float *gradients = call->operands[CNN_nadam_gradients];
    const cnn_segment *segments = call->operands[CNN_nadam_segments];
    const double beta1 = g->beta1, beta2 = g->beta2, psi = g->momentum_decay, t = (double)(call->run->step + 1);
    double now = 0.0, product = 1.0;
    for (double i = 1.0; i <= t; i += 1.0) {
        now = beta1 * (1.0 - 0.5 * pow(0.96, i * psi));
        product *= now;
    }
    const double next = beta1 * (1.0 - 0.5 * pow(0.96, (t + 1.0) * psi)), correct2 = 1.0 - pow(beta2, t);
    for (ptrdiff_t s = 0; s < g->segments; s++) {
        const cnn_segment *segment = &segments[s];
        const double lr = rate_of(call, segment);
        if (segment->lr_scale == 0.0f) continue;
        for (int64_t i = segment->offset; i < segment->offset + segment->count; i++) {
            const double decayed = parameters[i] * (1.0 - lr * segment->weight_decay);
            const double gradient = gradients[i] + (double)segment->l2 * parameters[i];
            const double m = beta1 * first[i] + (1.0 - beta1) * gradient;
            const double v = beta2 * second[i] + (1.0 - beta2) * gradient * gradient;
            const double direction = (1.0 - now) * gradient / (1.0 - product) + next * m / (1.0 - product * next);
            first[i] = (float)m;
            second[i] = (float)v;
            parameters[i] = (float)(decayed - lr * direction / (sqrt(v / correct2) + g->eps));
        }
    }
}

void cnn_ref_rmsprop(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_optimizer_geometry *g = &call->geometry->optimizer;
    float *parameters = call->operands[CNN_rmsprop_parameters], *second = call->operands[CNN_rmsprop_second_moment],
          *velocity = call->operands[CNN_rmsprop_velocity];
    const float *gradients = call->operands[CNN_rmsprop_gradients];
    const cnn_segment *segments = call->operands[CNN_rmsprop_segments];
    const double beta2 = g->beta2, eps = g->eps, momentum = g->momentum;
    const bool keras = g->keras != 0.0f;
    for (ptrdiff_t s = 0; s < g->segments; s++) {
        const cnn_segment *segment = &segments[s];
        const double lr = rate_of(call, segment);
        if (segment->lr_scale == 0.0f) continue;
        for (int64_t i = segment->offset; i < segment->offset + segment->count; i++) {
            const double decayed = parameters[i] * (1.0 - lr * segment->weight_decay);
            const double gradient = gradients[i] + (double)segment->l2 * parameters[i];
            const double square = beta2 * second[i] + (1.0 - beta2) * gradient * gradient;
            const double scaled = keras ? lr * gradient / sqrt(square + eps) : gradient / (sqrt(square) + eps);
            const double v = velocity ? momentum * velocity[i] + scaled : scaled;
            second[i] = (float)square;
            if (velocity) velocity[i] = (float)v;
            parameters[i] = (float)(decayed - (keras ? v : lr * v));
        }
    }
}
