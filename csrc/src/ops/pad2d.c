/* Padding of maps. Forward tasks are rows of the result; backward tasks are rows of the source, so that what was copied
 * to several places adds up within one task: first the row itself, then the padding above, then that below, and in each
 * of these the row, then the padding at the left, then that at the right. */
#include "internal.h"

static ptrdiff_t padded_rows(const cnn_pad2d_geometry *g) { return g->pad_top + g->h + g->pad_bottom; }
static ptrdiff_t padded_channels(const cnn_pad2d_geometry *g) { return g->channels_before + g->c + g->channels_behind; }
static ptrdiff_t padded_line(const cnn_pad2d_geometry *g)
{
    return (g->pad_left + g->w + g->pad_right) * padded_channels(g);
}

static void zero(float *dst, ptrdiff_t count) { memset(dst, 0, (size_t)count * sizeof *dst); }
static void copy(float *dst, const float *src, ptrdiff_t count) { memcpy(dst, src, (size_t)count * sizeof *dst); }

/* The element that a place shows, which is counted from the first element and may lie outside; -1: none, it is zero. */
static ptrdiff_t shown_at(ptrdiff_t place, ptrdiff_t extent, ptrdiff_t mode)
{
    if (place >= 0 && place < extent) return place;
    switch (mode) {
    case CNN_PADDING_REFLECT: return place < 0 ? -place : 2 * (extent - 1) - place;
    case CNN_PADDING_REPLICATE: return place < 0 ? 0 : extent - 1;
    default: return -1;
    }
}

/* Neighbouring pixels, with zeros before and behind the channels of each. */
static void copy_pixels(const cnn_pad2d_geometry *g, float *dst, const float *src, ptrdiff_t pixels)
{
    const ptrdiff_t step = padded_channels(g);
    if (step == g->c) {
        copy(dst, src, pixels * step);
        return;
    }
    for (ptrdiff_t i = 0; i < pixels; i++, dst += step, src += g->c) {
        zero(dst, g->channels_before);
        copy(dst + g->channels_before, src, g->c);
        zero(dst + g->channels_before + g->c, g->channels_behind);
    }
}

/* The places [from, to) of a padded row, of which place 0 is at dst. */
static void copy_border(const cnn_pad2d_geometry *g, float *dst, const float *src, ptrdiff_t from, ptrdiff_t to)
{
    const ptrdiff_t step = padded_channels(g);
    for (ptrdiff_t place = from; place < to; place++) {
        const ptrdiff_t w = shown_at(place, g->w, g->mode);
        if (w < 0)
            zero(dst + place * step, step);
        else
            copy_pixels(g, dst + place * step, src + w * g->c, 1);
    }
}

void cnn_pad2d_forward(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_pad2d_geometry *g = &call->geometry->pad2d;
    float *dst = call->operands[CNN_pad2d_forward_dst];
    const float *src = call->operands[CNN_pad2d_forward_src];
    const ptrdiff_t rows = padded_rows(g), line = padded_line(g);
    ptrdiff_t first, last;
    assert(dst && src);
    cnn_share(worker, call->batch * rows, &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const ptrdiff_t h = shown_at(task % rows - g->pad_top, g->h, g->mode);
        float *row = dst + task * line, *inside = row + g->pad_left * padded_channels(g);
        if (h < 0) {
            zero(row, line);
            continue;
        }
        const float *source = src + (task / rows * g->h + h) * g->w * g->c;
        copy_border(g, inside, source, -g->pad_left, 0);
        copy_pixels(g, inside, source, g->w);
        copy_border(g, inside, source, g->w, g->w + g->pad_right);
    }
}

/* Adds what the places [from, to) of a padded row have, of which place 0 is at diff_dst. */
static void add_border(const cnn_kernels *kernels, const cnn_pad2d_geometry *g, float *diff_src, const float *diff_dst,
                       ptrdiff_t from, ptrdiff_t to)
{
    for (ptrdiff_t place = from; place < to; place++) {
        const ptrdiff_t w = shown_at(place, g->w, g->mode);
        float *pixel = diff_src + w * g->c;
        if (w >= 0) kernels->add(pixel, pixel, diff_dst + place * padded_channels(g) + g->channels_before, NULL, g->c);
    }
}

/* Adds a row of diff_dst to one of diff_src, in which nothing was before where `fresh`. */
static void add_row(const cnn_kernels *kernels, const cnn_pad2d_geometry *g, float *diff_src, const float *diff_dst,
                    bool fresh)
{
    const ptrdiff_t step = padded_channels(g), run = step == g->c ? g->w * g->c : g->c;
    const float *inside = diff_dst + g->pad_left * step, *from = inside + g->channels_before;
    for (ptrdiff_t at = 0; at < g->w * g->c; at += run, from += step)
        if (fresh)
            copy(diff_src + at, from, run);
        else
            kernels->add(diff_src + at, diff_src + at, from, NULL, run);
    if (g->mode == CNN_PADDING_ZEROS) return;
    add_border(kernels, g, diff_src, inside, -g->pad_left, 0);
    add_border(kernels, g, diff_src, inside, g->w, g->w + g->pad_right);
}

void cnn_pad2d_backward(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_pad2d_geometry *g = &call->geometry->pad2d;
    float *diff_src = call->operands[CNN_pad2d_backward_diff_src];
    const float *diff_dst = call->operands[CNN_pad2d_backward_diff_dst];
    const ptrdiff_t rows = padded_rows(g), line = padded_line(g);
    ptrdiff_t first, last;
    assert(diff_src && diff_dst);
    cnn_share(worker, call->batch * g->h, &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const ptrdiff_t h = task % g->h;
        float *row = diff_src + task * g->w * g->c;
        const float *sample = diff_dst + task / g->h * rows * line;
        add_row(worker->kernels, g, row, sample + (g->pad_top + h) * line, true);
        if (g->mode == CNN_PADDING_ZEROS) continue;
        for (ptrdiff_t place = -g->pad_top; place < g->h + g->pad_bottom; place++) {
            if (place == 0) place = g->h; /* the rows inside show themselves alone */
            if (place < g->h + g->pad_bottom && shown_at(place, g->h, g->mode) == h)
                add_row(worker->kernels, g, row, sample + (g->pad_top + place) * line, false);
        }
    }
}
