/*
 * Pooling over windows. Forward tasks are output rows. Backward tasks are samples, so that windows which overlap add
 * up within one task; 2x2 windows at stride 2, the common case, are split by row as they share nothing.
 */
#include "internal.h"

static void check_geometry(const cnn_pool2d_geometry *g)
{
    assert(g->h >= 1 && g->w >= 1 && g->c >= 1 && g->oh >= 1 && g->ow >= 1);
    assert(g->kh >= 1 && g->kw >= 1 && g->stride_h >= 1 && g->stride_w >= 1);
    /* every window holds at least one element of the image */
    assert(g->pad_top >= 0 && g->pad_top < g->kh && (g->oh - 1) * g->stride_h - g->pad_top < g->h);
    assert(g->pad_left >= 0 && g->pad_left < g->kw && (g->ow - 1) * g->stride_w - g->pad_left < g->w);
    (void)g;
}

static bool is_2x2(const cnn_pool2d_geometry *g)
{
    return g->kh == 2 && g->kw == 2 && g->stride_h == 2 && g->stride_w == 2 && g->pad_top == 0 && g->pad_left == 0 &&
           2 * g->oh <= g->h && 2 * g->ow <= g->w;
}

static bool is_global(const cnn_pool2d_geometry *g)
{
    return g->oh == 1 && g->ow == 1 && g->kh == g->h && g->kw == g->w && g->pad_top == 0 && g->pad_left == 0;
}

static ptrdiff_t src_size(const cnn_pool2d_geometry *g) { return g->h * g->w * g->c; }
static ptrdiff_t dst_size(const cnn_pool2d_geometry *g) { return g->oh * g->ow * g->c; }

void cnn_maxpool2d_forward(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_pool2d_geometry *g = &call->geometry->pool2d;
    float *dst = call->operands[CNN_maxpool2d_forward_dst];
    uint8_t *argmax = call->operands[CNN_maxpool2d_forward_argmax];
    const float *src = call->operands[CNN_maxpool2d_forward_src];
    const ptrdiff_t row = g->ow * g->c, line = g->w * g->c;
    ptrdiff_t first, last;
    assert(dst && src && g->kh * g->kw <= 255);
    check_geometry(g);
    cnn_share(worker, call->batch * g->oh, &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const ptrdiff_t oh = task % g->oh;
        const float *sample = src + task / g->oh * src_size(g);
        float *out = dst + task * row;
        uint8_t *where = argmax ? argmax + task * row : NULL;
        if (is_2x2(g))
            worker->kernels->pool_2x2(out, where, sample + 2 * oh * line, sample + (2 * oh + 1) * line, g->ow, g->c,
                                      false);
        else
            worker->kernels->max_pool_row(out, where, sample, g, oh);
    }
}

static void zero(float *dst, ptrdiff_t count) { memset(dst, 0, (size_t)count * sizeof *dst); }

/* Two rows of diff_src; the last task of a sample also clears what an odd height leaves over, every task its column. */
static void unpool_2x2(const cnn_kernels *kernels, const cnn_pool2d_geometry *g, float *sample, const float *diff_dst,
                       const uint8_t *argmax, ptrdiff_t oh)
{
    const ptrdiff_t line = g->w * g->c, covered = 2 * g->ow * g->c;
    float *top = sample + 2 * oh * line, *bottom = top + line;
    kernels->unpool_2x2(top, bottom, diff_dst, argmax, g->ow, g->c);
    zero(top + covered, line - covered);
    zero(bottom + covered, line - covered);
    if (oh == g->oh - 1) zero(bottom + line, (g->h - 2 * g->oh) * line);
}

void cnn_maxpool2d_backward(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_pool2d_geometry *g = &call->geometry->pool2d;
    float *diff_src = call->operands[CNN_maxpool2d_backward_diff_src];
    const float *diff_dst = call->operands[CNN_maxpool2d_backward_diff_dst];
    const uint8_t *argmax = call->operands[CNN_maxpool2d_backward_argmax];
    const ptrdiff_t row = g->ow * g->c;
    ptrdiff_t first, last;
    assert(diff_src && diff_dst && argmax && g->kh * g->kw <= 255);
    check_geometry(g);
    if (is_2x2(g)) {
        cnn_share(worker, call->batch * g->oh, &first, &last);
        for (ptrdiff_t task = first; task < last; task++)
            unpool_2x2(worker->kernels, g, diff_src + task / g->oh * src_size(g), diff_dst + task * row,
                       argmax + task * row, task % g->oh);
        return;
    }
    cnn_share(worker, call->batch, &first, &last);
    for (ptrdiff_t n = first; n < last; n++) {
        float *sample = diff_src + n * src_size(g);
        zero(sample, src_size(g));
        for (ptrdiff_t oh = 0; oh < g->oh; oh++) {
            const ptrdiff_t at = n * dst_size(g) + oh * row;
            worker->kernels->max_unpool_row(sample, diff_dst + at, argmax + at, g, oh);
        }
    }
}

void cnn_avgpool2d_forward(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_pool2d_geometry *g = &call->geometry->pool2d;
    float *dst = call->operands[CNN_avgpool2d_forward_dst];
    const float *src = call->operands[CNN_avgpool2d_forward_src];
    ptrdiff_t first, last;
    assert(dst && src);
    check_geometry(g);
    cnn_share(worker, call->batch * g->oh, &first, &last);
    for (ptrdiff_t task = first; task < last; task++)
        worker->kernels->avg_pool_row(dst + task * g->ow * g->c, src + task / g->oh * src_size(g), g, task % g->oh);
}

/* Every pixel gets the same share: a row of shares is the first row, and the others are copies of it; with a mask they
 * are made from it, the first one last. */
static void spread_global(const cnn_kernels *kernels, const cnn_pool2d_geometry *g, float *sample,
                          const float *diff_dst, const float *mask)
{
    const ptrdiff_t line = g->w * g->c;
    kernels->scale(sample, diff_dst, g->c, 1.0f / (float)(g->h * g->w));
    for (ptrdiff_t done = g->c; done < line; done *= 2)
        memcpy(sample + done, sample, (size_t)cnn_min(done, line - done) * sizeof *sample);
    for (ptrdiff_t h = 1; h < g->h; h++)
        if (mask)
            kernels->relu_backward(sample + h * line, sample, mask + h * line, line);
        else
            memcpy(sample + h * line, sample, (size_t)line * sizeof *sample);
    if (mask) kernels->relu_backward(sample, sample, mask, line);
}

void cnn_avgpool2d_backward(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_pool2d_geometry *g = &call->geometry->pool2d;
    float *diff_src = call->operands[CNN_avgpool2d_backward_diff_src];
    const float *diff_dst = call->operands[CNN_avgpool2d_backward_diff_dst],
                *mask = call->operands[CNN_avgpool2d_backward_mask];
    ptrdiff_t first, last;
    assert(diff_src && diff_dst);
    check_geometry(g);
    cnn_share(worker, call->batch, &first, &last);
    for (ptrdiff_t n = first; n < last; n++) {
        float *sample = diff_src + n * src_size(g);
        const float *gradient = diff_dst + n * dst_size(g), *off = mask ? mask + n * src_size(g) : NULL;
        if (is_global(g)) {
            spread_global(worker->kernels, g, sample, gradient, off);
            continue;
        }
        zero(sample, src_size(g));
        for (ptrdiff_t oh = 0; oh < g->oh; oh++)
            worker->kernels->avg_unpool_row(sample, gradient + oh * g->ow * g->c, g, oh);
        if (off) worker->kernels->relu_backward(sample, sample, off, src_size(g));
    }
}
