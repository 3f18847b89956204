/* Images turned, scaled and sheared: each pixel of the result is a mean of the four round its place in the source. */
#include "warp.h"
#include "fill.h"
#include "team.h"

static const int64_t LIMIT = INT64_C(1) << 46, SHIFT_LIMIT = INT64_C(1)
                                                             << 61; /* see cnn.h; no sum of three overflows */
static const ptrdiff_t EXTENT_LIMIT = 1 << 15;

/* One sample, or one row of it: places of the pixels (x, 0) are x0 + x*dx, y0 + x*dy. */
typedef struct line {
    int64_t x0, y0, dx, dy;
} line;

/* Of the pixels first ... last-1 of a row, leaves those whose place lies in 0 ... end-1. */
static void narrow(int64_t start, int64_t step, int64_t end, ptrdiff_t *first, ptrdiff_t *last)
{
    if (step < 0) { /* counted from the other end */
        start = end - 1 - start;
        step = -step;
    }
    if (start >= end || (step == 0 && start < 0)) {
        *last = *first;
        return;
    }
    if (step == 0) return;
    if (start < 0) *first = cnn_min(cnn_max(*first, cnn_ceil_div(-start, step)), *last);
    *last = cnn_max(cnn_min(*last, (end - 1 - start) / step + 1), *first);
}

/* Both pixels of a place along one axis, or -1 for the fill value; the weight of the second is returned. */
static int32_t pair_of(const cnn_image_warp *warp, int64_t place, ptrdiff_t extent, ptrdiff_t pixels[2])
{
    const int64_t rounded = cnn_rounded_place((uint64_t)place + CNN_PLACE_ORIGIN);
    const ptrdiff_t pixel = cnn_floor_div(rounded, CNN_WEIGHT_ONE);
    pixels[0] = cnn_fill_source(warp->fill, pixel, extent);
    pixels[1] = cnn_fill_source(warp->fill, pixel + 1, extent);
    return (int32_t)(rounded - pixel * CNN_WEIGHT_ONE);
}

/* Where the pixel lies in its plane, or -1 for the fill value. */
static ptrdiff_t offset_of(const cnn_image_warp *warp, ptrdiff_t y, ptrdiff_t x)
{
    return y < 0 || x < 0 ? -1 : y * warp->w + x;
}

static int32_t pixel_at(const cnn_image_warp *warp, const uint8_t *plane, ptrdiff_t offset)
{
    return offset < 0 ? warp->fill_value : plane[offset];
}

/* Pixels first ... last-1 of a row, wherever their places lie. */
static void write_anywhere(uint8_t *dst, const uint8_t *src, const cnn_image_warp *warp, const line *row,
                           ptrdiff_t first, ptrdiff_t last)
{
    for (ptrdiff_t i = first; i < last; i++) {
        ptrdiff_t x[2], y[2];
        const int32_t fx = pair_of(warp, row->x0 + i * row->dx, warp->w, x);
        const int32_t fy = pair_of(warp, row->y0 + i * row->dy, warp->h, y);
        const ptrdiff_t from = offset_of(warp, y[0], x[0]), right = offset_of(warp, y[0], x[1]);
        const ptrdiff_t below = offset_of(warp, y[1], x[0]), across = offset_of(warp, y[1], x[1]);
        for (ptrdiff_t channel = 0; channel < warp->c; channel++) {
            const uint8_t *plane = src + channel * warp->h * warp->w;
            dst[channel * warp->h * warp->w + i] =
                cnn_between(pixel_at(warp, plane, from), pixel_at(warp, plane, right), pixel_at(warp, plane, below),
                            pixel_at(warp, plane, across), fx, fy);
        }
    }
}

static void write_row(uint8_t *dst, const uint8_t *src, const cnn_image_warp *warp, const line *row,
                      const cnn_kernels *kernels)
{
    ptrdiff_t first = 0, last = warp->w;
    if (warp->h < 2 || warp->w < 2) {
        last = first; /* the kernel takes pixels in pairs */
    } else if (warp->fill != CNN_FILL_NEAREST) {
        narrow(row->x0, row->dx, ((int64_t)(warp->w - 1) << 32) + 1, &first, &last);
        narrow(row->y0, row->dy, ((int64_t)(warp->h - 1) << 32) + 1, &first, &last);
    }
    write_anywhere(dst, src, warp, row, 0, first);
    if (first < last) {
        const cnn_warp_row inside = {.dst = dst + first,
                                     .src = src,
                                     .c = warp->c,
                                     .h = warp->h,
                                     .w = warp->w,
                                     .count = last - first,
                                     .x = (uint64_t)(row->x0 + first * row->dx) + CNN_PLACE_ORIGIN,
                                     .y = (uint64_t)(row->y0 + first * row->dy) + CNN_PLACE_ORIGIN,
                                     .dx = (uint64_t)row->dx,
                                     .dy = (uint64_t)row->dy};
        kernels->warp_row(&inside);
    }
    write_anywhere(dst, src, warp, row, last, warp->w);
}

typedef struct warping {
    uint8_t *dst;
    const cnn_image_warp *warp;
} warping;

static void warp_samples(const cnn_worker *worker, void *context)
{
    const warping *task = context;
    const cnn_image_warp *warp = task->warp;
    const ptrdiff_t size = warp->c * warp->h * warp->w;
    ptrdiff_t first, last;
    cnn_share(worker, warp->n, &first, &last);
    for (ptrdiff_t sample = first; sample < last; sample++) {
        const int64_t *a = warp->coefficients + 6 * sample;
        for (ptrdiff_t y = 0; y < warp->h; y++) {
            const line row = {.x0 = a[1] * y + a[2], .y0 = a[4] * y + a[5], .dx = a[0], .dy = a[3]};
            write_row(task->dst + sample * size + y * warp->w, warp->images + warp->indices[sample] * size, warp, &row,
                      worker->kernels);
        }
    }
}

static bool within(int64_t value, int64_t limit) { return value >= -limit && value <= limit; }

static bool fits(const cnn_image_warp *warp)
{
    if (warp->h > EXTENT_LIMIT || warp->w > EXTENT_LIMIT) return false;
    if (warp->fill < CNN_FILL_CONSTANT || warp->fill > CNN_FILL_MIRROR) return false;
    for (ptrdiff_t i = 0; i < 6 * warp->n; i++)
        if (!within(warp->coefficients[i], i % 3 == 2 ? SHIFT_LIMIT : LIMIT)) return false;
    return true;
}

cnn_status cnn_warp_images(uint8_t *dst, const cnn_image_warp *warp, int threads)
{
    assert(warp->n >= 0 && warp->c >= 0 && warp->h >= 0 && warp->w >= 0);
    if (threads < 1 || threads > CNN_MAX_THREADS) return CNN_BAD_THREADS;
    if (!fits(warp)) return CNN_BAD_WARP;
    bool reference;
    const cnn_kernels *kernels = cnn_kernels_current(&reference);
    if (!kernels) return CNN_BAD_ISA;
    if (reference) {
        cnn_ref_warp_images(dst, warp);
        return CNN_OK;
    }
    warping task = {dst, warp};
    cnn_team team;
    cnn_team_init(&team);
    cnn_team_run(&team, threads, kernels, NULL, NULL, 0, warp_samples, &task);
    cnn_team_destroy(&team);
    return CNN_OK;
}
