/* Naive twins of ops/pool2d.c. Padding never takes part: a window must hold at least one element of the image. */
#include "basics.h"

/* The part of one window that lies inside the image, as taps [first_h, last_h) x [first_w, last_w). */
typedef struct window {
    ptrdiff_t h, w; /* image position of tap (0, 0); may be negative */
    ptrdiff_t first_h, last_h, first_w, last_w;
} window;

static window window_at(const cnn_pool2d_geometry *g, ptrdiff_t oh, ptrdiff_t ow)
{
    window at = {.h = oh * g->stride_h - g->pad_top, .w = ow * g->stride_w - g->pad_left};
    at.first_h = cnn_max(0, -at.h), at.last_h = cnn_min(g->kh, g->h - at.h);
    at.first_w = cnn_max(0, -at.w), at.last_w = cnn_min(g->kw, g->w - at.w);
    assert(at.first_h < at.last_h && at.first_w < at.last_w);
    return at;
}

static double divisor(const cnn_pool2d_geometry *g, const window *at)
{
    if (g->count_include_pad)
        return (double)(cnn_min(g->kh, g->h + g->pad_top - at->h) * cnn_min(g->kw, g->w + g->pad_left - at->w));
    return (double)((at->last_h - at->first_h) * (at->last_w - at->first_w));
}

/* The first of equals wins; a NaN wins over everything before it. */
static ptrdiff_t best_tap(const cnn_pool2d_geometry *g, const window *at, const float *image, ptrdiff_t c, float *best)
{
    ptrdiff_t where = at->first_h * g->kw + at->first_w;
    *best = -INFINITY;
    for (ptrdiff_t kh = at->first_h; kh < at->last_h; kh++)
        for (ptrdiff_t kw = at->first_w; kw < at->last_w; kw++) {
            const float x = image[((at->h + kh) * g->w + at->w + kw) * g->c + c];
            if (!(x > *best || isnan(x))) continue;
            *best = x;
            where = kh * g->kw + kw;
        }
    return where;
}

void cnn_ref_maxpool2d_forward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_pool2d_geometry *g = &call->geometry->pool2d;
    float *dst = call->operands[CNN_maxpool2d_forward_dst];
    uint8_t *argmax = call->operands[CNN_maxpool2d_forward_argmax];
    const float *src = call->operands[CNN_maxpool2d_forward_src];
    assert(g->kh * g->kw <= 255);
    for (ptrdiff_t n = 0; n < call->batch; n++)
        for (ptrdiff_t oh = 0; oh < g->oh; oh++)
            for (ptrdiff_t ow = 0; ow < g->ow; ow++) {
                const window at = window_at(g, oh, ow);
                for (ptrdiff_t c = 0; c < g->c; c++) {
                    const ptrdiff_t out = ((n * g->oh + oh) * g->ow + ow) * g->c + c;
                    const ptrdiff_t where = best_tap(g, &at, src + n * g->h * g->w * g->c, c, &dst[out]);
                    if (argmax) argmax[out] = (uint8_t)where;
                }
            }
}

/* Adds what each window sends to the element (h, w, c): its whole gradient if that element won. */
static double winnings(const cnn_pool2d_geometry *g, const float *diff_dst, const uint8_t *argmax, ptrdiff_t h,
                       ptrdiff_t w, ptrdiff_t c)
{
    double sum = 0.0;
    for (ptrdiff_t oh = 0; oh < g->oh; oh++)
        for (ptrdiff_t ow = 0; ow < g->ow; ow++) {
            const ptrdiff_t kh = h - (oh * g->stride_h - g->pad_top), kw = w - (ow * g->stride_w - g->pad_left);
            if (kh < 0 || kh >= g->kh || kw < 0 || kw >= g->kw) continue;
            const ptrdiff_t out = (oh * g->ow + ow) * g->c + c;
            if (argmax[out] == kh * g->kw + kw) sum += diff_dst[out];
        }
    return sum;
}

void cnn_ref_maxpool2d_backward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_pool2d_geometry *g = &call->geometry->pool2d;
    float *diff_src = call->operands[CNN_maxpool2d_backward_diff_src];
    const float *diff_dst = call->operands[CNN_maxpool2d_backward_diff_dst];
    const uint8_t *argmax = call->operands[CNN_maxpool2d_backward_argmax];
    const ptrdiff_t pooled = g->oh * g->ow * g->c;
    for (ptrdiff_t n = 0; n < call->batch; n++)
        for (ptrdiff_t h = 0; h < g->h; h++)
            for (ptrdiff_t w = 0; w < g->w; w++)
                for (ptrdiff_t c = 0; c < g->c; c++)
                    diff_src[((n * g->h + h) * g->w + w) * g->c + c] =
                        (float)winnings(g, diff_dst + n * pooled, argmax + n * pooled, h, w, c);
}

void cnn_ref_avgpool2d_forward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_pool2d_geometry *g = &call->geometry->pool2d;
    float *dst = call->operands[CNN_avgpool2d_forward_dst];
    const float *src = call->operands[CNN_avgpool2d_forward_src];
    for (ptrdiff_t n = 0; n < call->batch; n++)
        for (ptrdiff_t oh = 0; oh < g->oh; oh++)
            for (ptrdiff_t ow = 0; ow < g->ow; ow++) {
                const window at = window_at(g, oh, ow);
                for (ptrdiff_t c = 0; c < g->c; c++) {
                    double sum = 0.0;
                    for (ptrdiff_t kh = at.first_h; kh < at.last_h; kh++)
                        for (ptrdiff_t kw = at.first_w; kw < at.last_w; kw++)
                            sum += src[((n * g->h + at.h + kh) * g->w + at.w + kw) * g->c + c];
                    dst[((n * g->oh + oh) * g->ow + ow) * g->c + c] = (float)(sum / divisor(g, &at));
                }
            }
}

/* Adds the share that the element (h, w, c) has in each window's mean. */
static double shares(const cnn_pool2d_geometry *g, const float *diff_dst, ptrdiff_t h, ptrdiff_t w, ptrdiff_t c)
{
    double sum = 0.0;
    for (ptrdiff_t oh = 0; oh < g->oh; oh++)
        for (ptrdiff_t ow = 0; ow < g->ow; ow++) {
            const window at = window_at(g, oh, ow);
            const bool inside = h >= at.h && h < at.h + g->kh && w >= at.w && w < at.w + g->kw;
            if (inside) sum += diff_dst[(oh * g->ow + ow) * g->c + c] / divisor(g, &at);
        }
    return sum;
}

void cnn_ref_avgpool2d_backward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_pool2d_geometry *g = &call->geometry->pool2d;
    float *diff_src = call->operands[CNN_avgpool2d_backward_diff_src];
    const float *diff_dst = call->operands[CNN_avgpool2d_backward_diff_dst],
                *mask = call->operands[CNN_avgpool2d_backward_mask];
    for (ptrdiff_t n = 0; n < call->batch; n++)
        for (ptrdiff_t h = 0; h < g->h; h++)
            for (ptrdiff_t w = 0; w < g->w; w++)
                for (ptrdiff_t c = 0; c < g->c; c++) {
                    const ptrdiff_t at = ((n * g->h + h) * g->w + w) * g->c + c;
                    const double sum = shares(g, diff_dst + n * g->oh * g->ow * g->c, h, w, c);
                    diff_src[at] = mask && mask[at] <= 0.0f ? 0.0f : (float)sum;
                }
}
