/* Naive twins of ops/groupnorm.c: Wu & He 2018, section 3. */
#include "basics.h"

/* The elements of a group of a sample: [rows][channels], `c` from row to row. */
typedef struct group {
    ptrdiff_t first, channels, channel; /* in memory; how many; the first one's number */
} group;

static group group_at(const cnn_groupnorm_geometry *g, ptrdiff_t sample, ptrdiff_t number)
{
    const ptrdiff_t channels = g->c / g->groups;
    return (group){sample * g->rows * g->c + number * channels, channels, number * channels};
}

void cnn_ref_groupnorm_forward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_groupnorm_geometry *g = &call->geometry->groupnorm;
    float *dst = call->operands[CNN_groupnorm_forward_dst],
          *save_mean = call->operands[CNN_groupnorm_forward_save_mean],
          *save_inv_std = call->operands[CNN_groupnorm_forward_save_inv_std];
    const float *src = call->operands[CNN_groupnorm_forward_src],
                *weights = call->operands[CNN_groupnorm_forward_weights],
                *bias = call->operands[CNN_groupnorm_forward_bias];
    for (ptrdiff_t i = 0; i < call->batch * g->groups; i++) {
        const ptrdiff_t sample = i / g->groups, number = i % g->groups;
        const group at = group_at(g, sample, number);
        const ptrdiff_t count = g->rows * at.channels;
        double mean = 0.0, squares = 0.0;
        for (ptrdiff_t e = 0; e < count; e++) mean += src[at.first + e / at.channels * g->c + e % at.channels];
        mean /= (double)count;
        for (ptrdiff_t e = 0; e < count; e++) {
            const double centred = src[at.first + e / at.channels * g->c + e % at.channels] - mean;
            squares += centred * centred;
        }
        const double inv_std = 1.0 / sqrt(squares / (double)count + g->eps);
        for (ptrdiff_t e = 0; e < count; e++) {
            const ptrdiff_t k = e % at.channels, place = at.first + e / at.channels * g->c + k;
            const double weight = weights ? weights[at.channel + k] : 1.0, shift = bias ? bias[at.channel + k] : 0.0;
            dst[place] = (float)((src[place] - mean) * inv_std * weight + shift);
        }
        if (save_mean) {
            float *saved = save_mean + 2 * sample * g->groups + number;
            saved[0] = (float)mean;
            saved[g->groups] = (float)(mean - (double)saved[0]);
        }
        if (save_inv_std) save_inv_std[i] = (float)inv_std;
    }
}

/* The element's deviation from the mean of its group, in standard deviations, as the forward pass saw it. */
static double normal_at(const cnn_call *call, ptrdiff_t place)
{
    const cnn_groupnorm_geometry *g = &call->geometry->groupnorm;
    const ptrdiff_t sample = place / (g->rows * g->c), number = place % g->c / (g->c / g->groups);
    const float *src = call->operands[CNN_groupnorm_backward_src],
                *save_mean = call->operands[CNN_groupnorm_backward_save_mean],
                *save_inv_std = call->operands[CNN_groupnorm_backward_save_inv_std];
    const float *saved = save_mean + 2 * sample * g->groups + number;
    return (src[place] - ((double)saved[0] + saved[g->groups])) * save_inv_std[sample * g->groups + number];
}

/* With y' = (x - mean) * inv_std and g = weights * dy: diff_src = inv_std * (g - mean of g - y' * mean of g y'). */
static void diff_group(const cnn_call *call, ptrdiff_t sample, ptrdiff_t number)
{
    const cnn_groupnorm_geometry *g = &call->geometry->groupnorm;
    float *diff_src = call->operands[CNN_groupnorm_backward_diff_src];
    const float *diff_dst = call->operands[CNN_groupnorm_backward_diff_dst],
                *weights = call->operands[CNN_groupnorm_backward_weights],
                *save_inv_std = call->operands[CNN_groupnorm_backward_save_inv_std];
    const group at = group_at(g, sample, number);
    const ptrdiff_t count = g->rows * at.channels;
    double sum = 0.0, product = 0.0;
    for (ptrdiff_t e = 0; e < count; e++) {
        const ptrdiff_t k = e % at.channels, place = at.first + e / at.channels * g->c + k;
        const double diff = diff_dst[place] * (weights ? (double)weights[at.channel + k] : 1.0);
        sum += diff;
        product += diff * normal_at(call, place);
    }
    for (ptrdiff_t e = 0; e < count; e++) {
        const ptrdiff_t k = e % at.channels, place = at.first + e / at.channels * g->c + k;
        const double diff = diff_dst[place] * (weights ? (double)weights[at.channel + k] : 1.0);
        const double centred = diff - sum / (double)count - normal_at(call, place) * product / (double)count;
        diff_src[place] = (float)(save_inv_std[sample * g->groups + number] * centred);
    }
}

/* diff_src may lie over src or diff_dst: it comes last. */
void cnn_ref_groupnorm_backward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_groupnorm_geometry *g = &call->geometry->groupnorm;
    float *diff_weights = call->operands[CNN_groupnorm_backward_diff_weights],
          *diff_bias = call->operands[CNN_groupnorm_backward_diff_bias];
    const float *diff_dst = call->operands[CNN_groupnorm_backward_diff_dst];
    for (ptrdiff_t c = 0; c < g->c; c++) {
        double product = 0.0, sum = 0.0;
        for (ptrdiff_t i = c; i < call->batch * g->rows * g->c; i += g->c) {
            product += diff_dst[i] * normal_at(call, i);
            sum += diff_dst[i];
        }
        if (diff_weights) diff_weights[c] = (float)product;
        if (diff_bias) diff_bias[c] = (float)sum;
    }
    for (ptrdiff_t i = 0; i < call->batch * g->groups; i++) diff_group(call, i / g->groups, i % g->groups);
}
