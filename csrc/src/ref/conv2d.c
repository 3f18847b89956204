/* Naive twins of ops/conv2d*.c: the sums of the definition, one output at a time, in double. */
#include "ref/activations.h"
#include "ref/panels.h"

/* Where the weight of an output channel for element k of its window lies. */
static ptrdiff_t weight_index(const cnn_conv2d_geometry *g, ptrdiff_t k, ptrdiff_t oc)
{
    const ptrdiff_t columns = g->oc / ref_weight_groups(g), depth = g->kh * g->kw * (g->ic / g->groups);
    return panel_index(columns, depth, oc / columns, k, oc % columns);
}

/* The output (oh, ow, oc) of one sample, before activation and pooling. */
static float output_at(const cnn_conv2d_geometry *g, const float *src, const float *weights, const float *bias,
                       ptrdiff_t oh, ptrdiff_t ow, ptrdiff_t oc)
{
    const ptrdiff_t channels = g->ic / g->groups, group = oc / (g->oc / g->groups);
    double sum = bias ? bias[oc] : 0.0;
    for (ptrdiff_t kh = 0; kh < g->kh; kh++)
        for (ptrdiff_t kw = 0; kw < g->kw; kw++) {
            const ptrdiff_t h = oh * g->stride_h - g->pad_top + kh * g->dilation_h;
            const ptrdiff_t w = ow * g->stride_w - g->pad_left + kw * g->dilation_w;
            if (h < 0 || h >= g->h || w < 0 || w >= g->w) continue;
            for (ptrdiff_t c = 0; c < channels; c++) {
                const ptrdiff_t k = (kh * g->kw + kw) * channels + c;
                sum += (double)src[(h * g->w + w) * g->ic + group * channels + c] * weights[weight_index(g, k, oc)];
            }
        }
    return (float)sum;
}

/* NaN passes. */
static float activated(const cnn_conv2d_geometry *g, float x)
{
    return (float)ref_activation((cnn_activation)g->activation, x, 0.0, 0.0);
}

static void forward_plain(const cnn_conv2d_geometry *g, float *dst, const float *src, const float *weights,
                          const float *bias)
{
    for (ptrdiff_t oh = 0; oh < g->oh; oh++)
        for (ptrdiff_t ow = 0; ow < g->ow; ow++)
            for (ptrdiff_t oc = 0; oc < g->oc; oc++)
                dst[(oh * g->ow + ow) * g->oc + oc] = activated(g, output_at(g, src, weights, bias, oh, ow, oc));
}

/* The first of equals wins; a NaN wins over everything before it; an odd last row or column is left out. */
static void forward_pooled(const cnn_conv2d_geometry *g, float *dst, uint8_t *argmax, const float *src,
                           const float *weights, const float *bias)
{
    const ptrdiff_t ph = g->oh / 2, pw = g->ow / 2;
    for (ptrdiff_t h = 0; h < ph; h++)
        for (ptrdiff_t w = 0; w < pw; w++)
            for (ptrdiff_t oc = 0; oc < g->oc; oc++) {
                float best = -INFINITY;
                uint8_t where = 0;
                for (int position = 0; position < 4; position++) {
                    const ptrdiff_t row = 2 * h + position / 2, column = 2 * w + position % 2;
                    const float x = activated(g, output_at(g, src, weights, bias, row, column, oc));
                    if (!(x > best || isnan(x))) continue;
                    best = x;
                    where = (uint8_t)position;
                }
                const ptrdiff_t at = (h * pw + w) * g->oc + oc;
                const bool off = g->activation == CNN_ACTIVATION_RELU && best <= 0.0f;
                dst[at] = best;
                if (argmax) argmax[at] = off ? 255 : where;
            }
}

void cnn_ref_conv2d_forward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    float *dst = call->operands[CNN_conv2d_forward_dst];
    uint8_t *argmax = call->operands[CNN_conv2d_forward_argmax];
    const float *src = call->operands[CNN_conv2d_forward_src], *weights = call->operands[CNN_conv2d_forward_weights],
                *bias = call->operands[CNN_conv2d_forward_bias];
    assert(g->ic % g->groups == 0 && g->oc % g->groups == 0);
    assert(g->pool == 0 || g->pool == 2);
    const ptrdiff_t pooled = (g->oh / 2) * (g->ow / 2) * g->oc;
    for (ptrdiff_t n = 0; n < call->batch; n++) {
        const float *image = src + n * g->h * g->w * g->ic;
        if (g->pool)
            forward_pooled(g, dst + n * pooled, argmax ? argmax + n * pooled : NULL, image, weights, bias);
        else
            forward_plain(g, dst + n * g->oh * g->ow * g->oc, image, weights, bias);
    }
}

/* Which output reads position `at` through tap `tap` of the kernel; -1 when none does. */
static ptrdiff_t reader(ptrdiff_t at, ptrdiff_t tap, ptrdiff_t stride, ptrdiff_t pad, ptrdiff_t dilation,
                        ptrdiff_t outputs)
{
    const ptrdiff_t shifted = at + pad - tap * dilation;
    if (shifted < 0 || shifted % stride != 0) return -1;
    return shifted / stride < outputs ? shifted / stride : -1;
}

/* The gradient by the convolution's own output: given, or of the pooled output and spread by argmax. */
typedef struct gradient {
    const float *diff;
    const uint8_t *argmax;
} gradient;

static gradient gradient_of(const cnn_conv2d_geometry *g, const float *diff, const uint8_t *argmax, ptrdiff_t n)
{
    const ptrdiff_t h = g->pool ? g->oh / 2 : g->oh, w = g->pool ? g->ow / 2 : g->ow, at = n * h * w * g->oc;
    assert(!g->pool == !argmax);
    return (gradient){diff + at, argmax ? argmax + at : NULL};
}

static float diff_at(const cnn_conv2d_geometry *g, gradient from, ptrdiff_t oh, ptrdiff_t ow, ptrdiff_t oc)
{
    if (!g->pool) return from.diff[(oh * g->ow + ow) * g->oc + oc];
    if (oh / 2 >= g->oh / 2 || ow / 2 >= g->ow / 2) return 0.0f;
    const ptrdiff_t at = ((oh / 2) * (g->ow / 2) + ow / 2) * g->oc + oc;
    return from.argmax[at] == oh % 2 * 2 + ow % 2 ? from.diff[at] : 0.0f;
}

static float diff_src_at(const cnn_conv2d_geometry *g, gradient diff_dst, const float *weights, ptrdiff_t h,
                         ptrdiff_t w, ptrdiff_t ic)
{
    const ptrdiff_t columns = g->oc / g->groups, channels = g->ic / g->groups, group = ic / channels;
    double sum = 0.0;
    for (ptrdiff_t kh = 0; kh < g->kh; kh++)
        for (ptrdiff_t kw = 0; kw < g->kw; kw++) {
            const ptrdiff_t oh = reader(h, kh, g->stride_h, g->pad_top, g->dilation_h, g->oh);
            const ptrdiff_t ow = reader(w, kw, g->stride_w, g->pad_left, g->dilation_w, g->ow);
            if (oh < 0 || ow < 0) continue;
            const ptrdiff_t k = (kh * g->kw + kw) * channels + ic % channels;
            for (ptrdiff_t oc = group * columns; oc < (group + 1) * columns; oc++)
                sum += (double)diff_at(g, diff_dst, oh, ow, oc) * weights[weight_index(g, k, oc)];
        }
    return (float)sum;
}

void cnn_ref_conv2d_backward_data(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    float *diff_src = call->operands[CNN_conv2d_backward_data_diff_src];
    const float *weights = call->operands[CNN_conv2d_backward_data_weights],
                *mask = call->operands[CNN_conv2d_backward_data_mask];
    assert(g->ic % g->groups == 0 && g->oc % g->groups == 0);
    for (ptrdiff_t n = 0; n < call->batch; n++) {
        const gradient diff_dst = gradient_of(g, call->operands[CNN_conv2d_backward_data_diff_dst],
                                              call->operands[CNN_conv2d_backward_data_argmax], n);
        for (ptrdiff_t h = 0; h < g->h; h++)
            for (ptrdiff_t w = 0; w < g->w; w++)
                for (ptrdiff_t ic = 0; ic < g->ic; ic++) {
                    const ptrdiff_t at = ((n * g->h + h) * g->w + w) * g->ic + ic;
                    diff_src[at] = mask && mask[at] <= 0.0f ? 0.0f : diff_src_at(g, diff_dst, weights, h, w, ic);
                }
    }
}

static float diff_weight_at(const cnn_call *call, ptrdiff_t kh, ptrdiff_t kw, ptrdiff_t ic, ptrdiff_t oc)
{
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    const float *src = call->operands[CNN_conv2d_backward_weights_src];
    double sum = 0.0;
    for (ptrdiff_t n = 0; n < call->batch; n++) {
        const gradient diff_dst = gradient_of(g, call->operands[CNN_conv2d_backward_weights_diff_dst],
                                              call->operands[CNN_conv2d_backward_weights_argmax], n);
        for (ptrdiff_t oh = 0; oh < g->oh; oh++)
            for (ptrdiff_t ow = 0; ow < g->ow; ow++) {
                const ptrdiff_t h = oh * g->stride_h - g->pad_top + kh * g->dilation_h;
                const ptrdiff_t w = ow * g->stride_w - g->pad_left + kw * g->dilation_w;
                if (h < 0 || h >= g->h || w < 0 || w >= g->w) continue;
                sum += (double)src[((n * g->h + h) * g->w + w) * g->ic + ic] * diff_at(g, diff_dst, oh, ow, oc);
            }
    }
    return (float)sum;
}

static float diff_bias_at(const cnn_call *call, ptrdiff_t oc)
{
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    double sum = 0.0;
    for (ptrdiff_t n = 0; n < call->batch; n++) {
        const gradient diff_dst = gradient_of(g, call->operands[CNN_conv2d_backward_weights_diff_dst],
                                              call->operands[CNN_conv2d_backward_weights_argmax], n);
        for (ptrdiff_t oh = 0; oh < g->oh; oh++)
            for (ptrdiff_t ow = 0; ow < g->ow; ow++) sum += (double)diff_at(g, diff_dst, oh, ow, oc);
    }
    return (float)sum;
}

void cnn_ref_conv2d_backward_weights(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    float *diff_weights = call->operands[CNN_conv2d_backward_weights_diff_weights],
          *diff_bias = call->operands[CNN_conv2d_backward_weights_diff_bias];
    assert(g->ic % g->groups == 0 && g->oc % g->groups == 0);
    const ptrdiff_t groups = ref_weight_groups(g), columns = g->oc / groups, channels = g->ic / g->groups;
    const ptrdiff_t depth = g->kh * g->kw * channels;
    for (ptrdiff_t group = 0; group < groups; group++)
        for (ptrdiff_t k = 0; k < depth; k++)
            for (ptrdiff_t column = 0; column < panel_columns(columns); column++) {
                const ptrdiff_t tap = k / channels, oc = group * columns + column;
                const ptrdiff_t ic = oc / (g->oc / g->groups) * channels + k % channels;
                diff_weights[panel_index(columns, depth, group, k, column)] =
                    column >= columns ? 0.0f : diff_weight_at(call, tap / g->kw, tap % g->kw, ic, oc);
            }
    for (ptrdiff_t oc = 0; diff_bias && oc < g->oc; oc++) diff_bias[oc] = diff_bias_at(call, oc);
}
