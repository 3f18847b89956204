/* Naive twins of ops/pad2d.c. */
#include "basics.h"

/* Whether a place of the padded axis, counted from the first element, is a copy of element `at`. */
static bool shows(ptrdiff_t place, ptrdiff_t at, ptrdiff_t extent, ptrdiff_t mode)
{
    if (place >= 0 && place < extent) return place == at;
    const ptrdiff_t edge = place < 0 ? 0 : extent - 1;
    if (mode == CNN_PADDING_REFLECT) return place - edge == edge - at;
    return mode == CNN_PADDING_REPLICATE && at == edge;
}

static ptrdiff_t channels(const cnn_pad2d_geometry *g) { return g->channels_before + g->c + g->channels_behind; }

/* Index in the padded sample of channel c of the source at a place. */
static ptrdiff_t index_of(const cnn_pad2d_geometry *g, ptrdiff_t h, ptrdiff_t w, ptrdiff_t c)
{
    const ptrdiff_t columns = g->pad_left + g->w + g->pad_right;
    return ((h + g->pad_top) * columns + w + g->pad_left) * channels(g) + g->channels_before + c;
}

static ptrdiff_t padded_size(const cnn_pad2d_geometry *g)
{
    return (g->pad_top + g->h + g->pad_bottom) * (g->pad_left + g->w + g->pad_right) * channels(g);
}

/* Copies the element (h, w, c) of a sample to every place that shows it. */
static void spread(const cnn_pad2d_geometry *g, float *dst, float value, ptrdiff_t h, ptrdiff_t w, ptrdiff_t c)
{
    for (ptrdiff_t y = -g->pad_top; y < g->h + g->pad_bottom; y++)
        for (ptrdiff_t x = -g->pad_left; x < g->w + g->pad_right; x++)
            if (shows(y, h, g->h, g->mode) && shows(x, w, g->w, g->mode)) dst[index_of(g, y, x, c)] = value;
}

static double gathered(const cnn_pad2d_geometry *g, const float *diff_dst, ptrdiff_t h, ptrdiff_t w, ptrdiff_t c)
{
    double sum = 0.0;
    for (ptrdiff_t y = -g->pad_top; y < g->h + g->pad_bottom; y++)
        for (ptrdiff_t x = -g->pad_left; x < g->w + g->pad_right; x++)
            if (shows(y, h, g->h, g->mode) && shows(x, w, g->w, g->mode)) sum += diff_dst[index_of(g, y, x, c)];
    return sum;
}

void cnn_ref_pad2d_forward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_pad2d_geometry *g = &call->geometry->pad2d;
    float *dst = call->operands[CNN_pad2d_forward_dst];
    const float *src = call->operands[CNN_pad2d_forward_src];
    for (ptrdiff_t i = 0; i < call->batch * padded_size(g); i++) dst[i] = 0.0f;
    for (ptrdiff_t n = 0; n < call->batch; n++)
        for (ptrdiff_t h = 0; h < g->h; h++)
            for (ptrdiff_t w = 0; w < g->w; w++)
                for (ptrdiff_t c = 0; c < g->c; c++)
                    spread(g, dst + n * padded_size(g), src[((n * g->h + h) * g->w + w) * g->c + c], h, w, c);
}

void cnn_ref_pad2d_backward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_pad2d_geometry *g = &call->geometry->pad2d;
    float *diff_src = call->operands[CNN_pad2d_backward_diff_src];
    const float *diff_dst = call->operands[CNN_pad2d_backward_diff_dst];
    for (ptrdiff_t n = 0; n < call->batch; n++)
        for (ptrdiff_t h = 0; h < g->h; h++)
            for (ptrdiff_t w = 0; w < g->w; w++)
                for (ptrdiff_t c = 0; c < g->c; c++)
                    diff_src[((n * g->h + h) * g->w + w) * g->c + c] =
                        (float)gathered(g, diff_dst + n * padded_size(g), h, w, c);
}
