/* Rows of cnn_warp_images: batches of images turned by random angles about their middle, as training takes them. */
#include "bench.h"

#include <math.h>
#include <stdlib.h>

#include "internal.h"

static bool set(bench_row *row, const char *name, const char *value)
{
    bench_warp *r = &row->as.warp;
    const bench_whole fields[] = {{"h", &r->warp.h},    {"w", &r->warp.w},        {"c", &r->warp.c},
                                  {"count", &r->count}, {"degrees", &r->degrees}, {"fill", &r->fill}};
    return bench_set_whole(fields, sizeof fields / sizeof fields[0], name, value);
}

static bool complete(bench_row *row)
{
    const bench_warp *r = &row->as.warp;
    return r->warp.c >= 1 && r->warp.h >= 1 && r->warp.w >= 1 && r->count >= 1 && r->degrees >= 0 &&
           r->fill >= CNN_FILL_CONSTANT && r->fill <= CNN_FILL_MIRROR;
}

static void turn(int64_t a[6], double degrees, const cnn_image_warp *warp)
{
    const double angle = degrees * 3.14159265358979323846 / 180.0, one = (double)CNN_WARP_ONE;
    const int64_t cosine = (int64_t)(cos(angle) * one), sine = (int64_t)(sin(angle) * one);
    const int64_t right = warp->w - 1, bottom = warp->h - 1;
    a[0] = cosine, a[1] = -sine, a[2] = (right * (CNN_WARP_ONE - cosine) + bottom * sine) / 2;
    a[3] = sine, a[4] = cosine, a[5] = (bottom * (CNN_WARP_ONE - cosine) - right * sine) / 2;
}

static bool prepare(bench_row *row)
{
    bench_warp *r = &row->as.warp;
    const ptrdiff_t n = row->batch, size = r->warp.c * r->warp.h * r->warp.w;
    uint8_t *images = malloc((size_t)(r->count * size));
    int64_t *indices = malloc((size_t)n * sizeof *indices),
            *coefficients = malloc((size_t)(6 * n) * sizeof *coefficients);
    r->dst = malloc((size_t)(n * size));
    r->warp.images = images, r->warp.indices = indices, r->warp.coefficients = coefficients;
    r->warp.n = n, r->warp.fill = (cnn_fill)r->fill;
    if (!images || !indices || !coefficients || !r->dst) return false;
    for (ptrdiff_t i = 0; i < r->count * size; i++) images[i] = (uint8_t)(i * 37 >> 3);
    for (ptrdiff_t i = 0; i < n; i++) {
        indices[i] = (int64_t)(random_uniform(17, 1, (uint64_t)i) * (double)r->count);
        turn(coefficients + 6 * i, (2.0 * random_uniform(17, 2, (uint64_t)i) - 1.0) * (double)r->degrees, &r->warp);
    }
    return true;
}

static double run(bench_row *row, bool changed)
{
    (void)changed;
    const double start = cnn_now();
    for (int i = 0; i < row->repeats; i++)
        if (cnn_warp_images(row->as.warp.dst, &row->as.warp.warp, cnn_get_threads()) != CNN_OK) return -1.0;
    return cnn_now() - start;
}

static void release(bench_row *row)
{
    bench_warp *r = &row->as.warp;
    free((void *)r->warp.images), free((void *)r->warp.indices), free((void *)r->warp.coefficients), free(r->dst);
    r->warp.images = NULL, r->warp.indices = r->warp.coefficients = NULL, r->dst = NULL;
}

static double flops(const bench_row *row)
{
    (void)row;
    return 0.0;
}

/* Of every pixel a byte is read and one written. */
static double bytes(const bench_row *row)
{
    const cnn_image_warp *w = &row->as.warp.warp;
    return 2.0 * (double)(row->batch * w->c * w->h * w->w);
}

static void describe(const bench_row *row, char form[BENCH_FORM])
{
    static const char *const fills[] = {"constant", "nearest", "reflect", "wrap"};
    snprintf(form, BENCH_FORM, "%td degrees %s", row->as.warp.degrees, fills[row->as.warp.fill]);
}

const bench_kind bench_warp_kind = {.set = set,
                                    .complete = complete,
                                    .prepare = prepare,
                                    .run = run,
                                    .release = release,
                                    .flops = flops,
                                    .bytes = bytes,
                                    .describe = describe};
