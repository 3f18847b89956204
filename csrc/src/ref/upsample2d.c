/* Naive twins of ops/upsample2d.c: every pixel of the source with its weight, the product of two hats. */
#include "basics.h"

/* The weight of element `at` at a place of the enlarged axis. */
static double weight(ptrdiff_t place, ptrdiff_t at, ptrdiff_t extent, ptrdiff_t scale, ptrdiff_t sampling)
{
    const double last = (double)(extent - 1), outputs = (double)(extent * scale);
    if (sampling == CNN_SAMPLING_NEAREST) return place / scale == at ? 1.0 : 0.0;
    double position = ((double)place + 0.5) / (double)scale - 0.5;
    if (sampling == CNN_SAMPLING_ALIGNED) position = outputs > 1.0 ? (double)place * last / (outputs - 1.0) : 0.0;
    return fmax(0.0, 1.0 - fabs(fmin(fmax(position, 0.0), last) - (double)at));
}

/* The weight of pixel (h, w) of the source in pixel (y, x) of the result. */
static double share(const cnn_upsample2d_geometry *g, ptrdiff_t y, ptrdiff_t x, ptrdiff_t h, ptrdiff_t w)
{
    return weight(y, h, g->h, g->scale_h, g->sampling) * weight(x, w, g->w, g->scale_w, g->sampling);
}

static double blended(const cnn_upsample2d_geometry *g, const float *src, ptrdiff_t y, ptrdiff_t x, ptrdiff_t c)
{
    double sum = 0.0;
    for (ptrdiff_t h = 0; h < g->h; h++)
        for (ptrdiff_t w = 0; w < g->w; w++) {
            const double part = share(g, y, x, h, w);
            if (part > 0.0) sum += part * src[(h * g->w + w) * g->c + c];
        }
    return sum;
}

static double gathered(const cnn_upsample2d_geometry *g, const float *diff_dst, ptrdiff_t h, ptrdiff_t w, ptrdiff_t c)
{
    double sum = 0.0;
    for (ptrdiff_t y = 0; y < g->h * g->scale_h; y++)
        for (ptrdiff_t x = 0; x < g->w * g->scale_w; x++) {
            const double part = share(g, y, x, h, w);
            if (part > 0.0) sum += part * diff_dst[(y * g->w * g->scale_w + x) * g->c + c];
        }
    return sum;
}

void cnn_ref_upsample2d_forward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_upsample2d_geometry *g = &call->geometry->upsample2d;
    float *dst = call->operands[CNN_upsample2d_forward_dst];
    const float *src = call->operands[CNN_upsample2d_forward_src];
    const ptrdiff_t oh = g->h * g->scale_h, ow = g->w * g->scale_w;
    for (ptrdiff_t n = 0; n < call->batch; n++)
        for (ptrdiff_t y = 0; y < oh; y++)
            for (ptrdiff_t x = 0; x < ow; x++)
                for (ptrdiff_t c = 0; c < g->c; c++)
                    dst[((n * oh + y) * ow + x) * g->c + c] = (float)blended(g, src + n * g->h * g->w * g->c, y, x, c);
}

void cnn_ref_upsample2d_backward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_upsample2d_geometry *g = &call->geometry->upsample2d;
    float *diff_src = call->operands[CNN_upsample2d_backward_diff_src];
    const float *diff_dst = call->operands[CNN_upsample2d_backward_diff_dst];
    const ptrdiff_t outputs = g->h * g->scale_h * g->w * g->scale_w * g->c;
    for (ptrdiff_t n = 0; n < call->batch; n++)
        for (ptrdiff_t h = 0; h < g->h; h++)
            for (ptrdiff_t w = 0; w < g->w; w++)
                for (ptrdiff_t c = 0; c < g->c; c++)
                    diff_src[((n * g->h + h) * g->w + w) * g->c + c] =
                        (float)gathered(g, diff_dst + n * outputs, h, w, c);
}
