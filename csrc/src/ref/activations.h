/* What each activation is, in double: for the naive twins, which share no code with the ops. NaN passes. */
#ifndef CNN_REF_ACTIVATIONS_H
#define CNN_REF_ACTIVATIONS_H

#include "basics.h"

static inline double ref_gate(double v) { return 1.0 / (1.0 + exp(-v)); }
static inline double ref_clipped(double x, double low, double high) { return x < low ? low : x > high ? high : x; }
static inline double ref_gelu_twice_u(double x) { return 2.0 * sqrt(2.0 / acos(-1.0)) * (x + 0.044715 * x * x * x); }

/* x times a share of it: -0 and not NaN for minus infinity, of which the share is 0. */
static inline double ref_share(double x, double share) { return share == 0.0 ? -0.0 : x * share; }

static inline double ref_activation(cnn_activation kind, double x, double slope, double high)
{
    switch (kind) {
    case CNN_ACTIVATION_RELU: return x < 0.0 ? 0.0 : x;
    case CNN_ACTIVATION_LEAKY_RELU: return x < 0.0 ? slope * x : x;
    case CNN_ACTIVATION_SIGMOID: return ref_gate(x);
    case CNN_ACTIVATION_TANH: return tanh(x);
    case CNN_ACTIVATION_ELU: return x < 0.0 ? slope * expm1(x) : x;
    case CNN_ACTIVATION_GELU: return ref_share(x, 0.5 * erfc(-x * sqrt(0.5)));
    case CNN_ACTIVATION_GELU_TANH: return ref_share(x, ref_gate(ref_gelu_twice_u(x)));
    case CNN_ACTIVATION_SILU: return ref_share(x, ref_gate(x));
    case CNN_ACTIVATION_HARDSWISH: return ref_share(x, ref_clipped(x + 3.0, 0.0, 6.0) / 6.0);
    case CNN_ACTIVATION_HARDSIGMOID: return ref_clipped(x + 3.0, 0.0, 6.0) / 6.0;
    case CNN_ACTIVATION_RELU6: return ref_clipped(x, 0.0, 6.0);
    case CNN_ACTIVATION_SOFTPLUS: return (x < 0.0 ? 0.0 : x) + log1p(exp(-fabs(x)));
    case CNN_ACTIVATION_CLIP: return ref_clipped(x, slope, high);
    case CNN_ACTIVATION_NONE: break;
    }
    return x;
}

/* The gradient by what the activation was given. `saved` is that, or what it gave, as the registry says of its op. */
static inline double ref_activation_gradient(cnn_activation kind, double diff, double saved, double slope, double high)
{
    const double x = saved, y = saved;
    switch (kind) {
    case CNN_ACTIVATION_RELU: return y <= 0.0 ? 0.0 : diff;
    case CNN_ACTIVATION_LEAKY_RELU: return x <= 0.0 ? slope * diff : diff;
    case CNN_ACTIVATION_SIGMOID: return diff * y * (1.0 - y);
    case CNN_ACTIVATION_TANH: return diff * (1.0 - y * y);
    case CNN_ACTIVATION_ELU: return y <= 0.0 ? diff * (y + slope) : diff;
    case CNN_ACTIVATION_GELU:
        return diff * (0.5 * erfc(-x * sqrt(0.5)) + ref_share(x, exp(-0.5 * x * x) / sqrt(2.0 * acos(-1.0))));
    case CNN_ACTIVATION_GELU_TANH: {
        const double s = ref_gate(ref_gelu_twice_u(x)), rest = ref_gate(-ref_gelu_twice_u(x));
        const double bend = ref_share(s, rest), steep = 2.0 * sqrt(2.0 / acos(-1.0)) * (1.0 + 3.0 * 0.044715 * x * x);
        return diff * (s + (bend == 0.0 ? 0.0 : x * bend * steep));
    }
    case CNN_ACTIVATION_SILU: return diff * (ref_gate(x) + ref_share(x, ref_gate(x) * ref_gate(-x)));
    case CNN_ACTIVATION_HARDSWISH: return x <= -3.0 ? 0.0 : x >= 3.0 ? diff : diff * (x / 3.0 + 0.5);
    case CNN_ACTIVATION_HARDSIGMOID: return y <= 0.0 || y >= 1.0 ? 0.0 : diff / 6.0;
    case CNN_ACTIVATION_RELU6: return y <= 0.0 || y >= 6.0 ? 0.0 : diff;
    case CNN_ACTIVATION_SOFTPLUS: return y <= 0.0 ? 0.0 : diff * -expm1(-y); /* never below 0 */
    case CNN_ACTIVATION_CLIP: return y <= slope || y >= high ? 0.0 : diff;
    case CNN_ACTIVATION_NONE: break;
    }
    return diff;
}

/* ... by what the activation was given, of one that ends another op. */
static inline double ref_gradient_at(cnn_activation kind, double diff, double x)
{
    switch (kind) {
    case CNN_ACTIVATION_GELU:
    case CNN_ACTIVATION_GELU_TANH:
    case CNN_ACTIVATION_SILU:
    case CNN_ACTIVATION_HARDSWISH: return ref_activation_gradient(kind, diff, x, 0.0, 0.0);
    default: return ref_activation_gradient(kind, diff, ref_activation(kind, x, 0.0, 0.0), 0.0, 0.0);
    }
}

#endif
