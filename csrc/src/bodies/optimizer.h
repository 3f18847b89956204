/* One fused pass over parameters, gradient and states. */
#ifndef CNN_BODY_OPTIMIZER_H
#define CNN_BODY_OPTIMIZER_H

#include "kernels.h"

/* v = momentum*v + g; p = p*keep - lr * (nesterov ? g + momentum*v : v), where g has l2*p added. */
static void sgd_momentum(float *restrict parameters, float *restrict velocity, const float *restrict gradients,
                         ptrdiff_t count, const cnn_sgd_step *restrict step)
{
    const float lr = step->lr, l2 = step->l2, keep = step->keep, momentum = step->momentum;
    const float of_gradient = step->nesterov ? 1.0f : 0.0f, of_velocity = step->nesterov ? momentum : 1.0f;
    for (ptrdiff_t i = 0; i < count; i++) {
        const float p = parameters[i], g = gradients[i] + l2 * p;
        const float v = momentum * velocity[i] + g;
        velocity[i] = v;
        parameters[i] = p * keep - lr * (of_gradient * g + of_velocity * v);
    }
}

static void sgd_plain(float *restrict parameters, const float *restrict gradients, ptrdiff_t count,
                      const cnn_sgd_step *restrict step)
{
    const float lr = step->lr, l2 = step->l2, keep = step->keep;
    for (ptrdiff_t i = 0; i < count; i++) {
        const float p = parameters[i];
        parameters[i] = p * keep - lr * (gradients[i] + l2 * p);
    }
}

/* Kingma & Ba 2015, Algorithm 1; the corrections of the moments are in lr and root_factor. */
static inline simd_float adam_lanes(simd_float p, simd_float *m, simd_float *v, simd_float gradient,
                                    const cnn_adam_step *restrict step)
{
    const simd_float g = simd_fma(simd_set1(step->l2), p, gradient);
    *m = simd_fma(simd_set1(step->beta1), *m, simd_set1(step->rest1) * g);
    *v = simd_fma(simd_set1(step->beta2), *v, simd_set1(step->rest2) * (g * g));
    const simd_float root = simd_fma(simd_sqrt(*v), simd_set1(step->root_factor), simd_set1(step->eps));
    return p * simd_set1(step->keep) - (simd_set1(step->lr) * *m) / root;
}

static void adam(float *restrict parameters, float *restrict first_moment, float *restrict second_moment,
                 const float *restrict gradients, ptrdiff_t count, const cnn_adam_step *restrict step)
{
    ptrdiff_t i = 0;
    for (; i + SIMD_WIDTH <= count; i += SIMD_WIDTH) {
        simd_float m = simd_load(first_moment + i), v = simd_load(second_moment + i);
        const simd_float p = adam_lanes(simd_load(parameters + i), &m, &v, simd_load(gradients + i), step);
        simd_store(first_moment + i, m);
        simd_store(second_moment + i, v);
        simd_store(parameters + i, p);
    }
    if (i < count) {
        const ptrdiff_t left = count - i;
        simd_float m = simd_load_part(first_moment + i, left), v = simd_load_part(second_moment + i, left);
        const simd_float p =
            adam_lanes(simd_load_part(parameters + i, left), &m, &v, simd_load_part(gradients + i, left), step);
        simd_store_part(first_moment + i, m, left);
        simd_store_part(second_moment + i, v, left);
        simd_store_part(parameters + i, p, left);
    }
}

/* Dozat 2016: the gradient itself takes part in the step, as in Nesterov's momentum. */
static inline simd_float nadam_lanes(simd_float p, simd_float *m, simd_float *v, simd_float gradient,
                                     const cnn_nadam_step *restrict step)
{
    const simd_float g = simd_fma(simd_set1(step->l2), p, gradient);
    *m = simd_fma(simd_set1(step->beta1), *m, simd_set1(step->rest1) * g);
    *v = simd_fma(simd_set1(step->beta2), *v, simd_set1(step->rest2) * (g * g));
    const simd_float root = simd_fma(simd_sqrt(*v), simd_set1(step->root_factor), simd_set1(step->eps));
    const simd_float direction = simd_fma(simd_set1(step->lr), g, simd_set1(step->lr_momentum) * *m);
    return p * simd_set1(step->keep) - direction / root;
}

static void nadam(float *restrict parameters, float *restrict first_moment, float *restrict second_moment,
                  const float *restrict gradients, ptrdiff_t count, const cnn_nadam_step *restrict step)
{
    ptrdiff_t i = 0;
    for (; i + SIMD_WIDTH <= count; i += SIMD_WIDTH) {
        simd_float m = simd_load(first_moment + i), v = simd_load(second_moment + i);
        const simd_float p = nadam_lanes(simd_load(parameters + i), &m, &v, simd_load(gradients + i), step);
        simd_store(first_moment + i, m);
        simd_store(second_moment + i, v);
        simd_store(parameters + i, p);
    }
    if (i < count) {
        const ptrdiff_t left = count - i;
        simd_float m = simd_load_part(first_moment + i, left), v = simd_load_part(second_moment + i, left);
        const simd_float p =
            nadam_lanes(simd_load_part(parameters + i, left), &m, &v, simd_load_part(gradients + i, left), step);
        simd_store_part(first_moment + i, m, left);
        simd_store_part(second_moment + i, v, left);
        simd_store_part(parameters + i, p, left);
    }
}

/* Tieleman & Hinton 2012; v is what the momentum makes of the scaled gradient. */
static inline simd_float rmsprop_lanes(simd_float p, simd_float *s, simd_float *v, simd_float gradient,
                                       const cnn_rmsprop_step *restrict step)
{
    const simd_float g = simd_fma(simd_set1(step->l2), p, gradient);
    *s = simd_fma(simd_set1(step->beta2), *s, simd_set1(step->rest2) * (g * g));
    const simd_float root = simd_sqrt(*s + simd_set1(step->inside)) + simd_set1(step->outside);
    *v = simd_fma(simd_set1(step->momentum), *v, simd_set1(step->inner) * g / root);
    return p * simd_set1(step->keep) - simd_set1(step->outer) * *v;
}

static void rmsprop(float *restrict parameters, float *restrict second_moment, float *restrict velocity,
                    const float *restrict gradients, ptrdiff_t count, const cnn_rmsprop_step *restrict step)
{
    ptrdiff_t i = 0;
    for (; i + SIMD_WIDTH <= count; i += SIMD_WIDTH) {
        simd_float s = simd_load(second_moment + i), v = velocity ? simd_load(velocity + i) : simd_set1(0.0f);
        const simd_float p = rmsprop_lanes(simd_load(parameters + i), &s, &v, simd_load(gradients + i), step);
        simd_store(second_moment + i, s);
        if (velocity) simd_store(velocity + i, v);
        simd_store(parameters + i, p);
    }
    if (i < count) {
        const ptrdiff_t left = count - i;
        simd_float s = simd_load_part(second_moment + i, left);
        simd_float v = velocity ? simd_load_part(velocity + i, left) : simd_set1(0.0f);
        const simd_float p =
            rmsprop_lanes(simd_load_part(parameters + i, left), &s, &v, simd_load_part(gradients + i, left), step);
        simd_store_part(second_moment + i, s, left);
        if (velocity) simd_store_part(velocity + i, v, left);
        simd_store_part(parameters + i, p, left);
    }
}

/* In this form equal values stay as they are, whatever `rest` is. */
static void average(float *restrict slow, const float *restrict src, ptrdiff_t count, float rest)
{
    for (ptrdiff_t i = 0; i < count; i++) slow[i] += rest * (src[i] - slow[i]);
}

static void add_scaled(float *restrict sums, const float *restrict src, ptrdiff_t count, float factor)
{
    for (ptrdiff_t i = 0; i < count; i++) sums[i] += factor * src[i];
}

#endif
