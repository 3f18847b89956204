/* Rows of cnn_gather_images: batches out of a set of images, as training takes them. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

#include "internal.h"

static bool set(bench_row *row, const char *name, const char *value)
{
    bench_images *r = &row->as.images;
    const bench_whole fields[] = {{"h", &r->batch.h},
                                  {"w", &r->batch.w},
                                  {"c", &r->batch.c},
                                  {"count", &r->count},
                                  {"shift", &r->shift},
                                  {"flip", &r->flip},
                                  {"side", &r->side},
                                  {"fill", &r->fill},
                                  {"boxes", &r->batch.box_count},
                                  {"per_sample", &r->per_sample}};
    return bench_set_whole(fields, sizeof fields / sizeof fields[0], name, value);
}

static int draw(uint32_t stream, ptrdiff_t i, ptrdiff_t below)
{
    return (int)(random_uniform(17, stream, (uint64_t)i) * (double)below);
}

/* Squares that lie in the image. */
static void draw_boxes(int32_t *boxes, ptrdiff_t count, const bench_images *r)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        const int top = draw(4, i, r->batch.h - r->side + 1), left = draw(5, i, r->batch.w - r->side + 1);
        boxes[4 * i] = top, boxes[4 * i + 1] = left;
        boxes[4 * i + 2] = top + (int)r->side, boxes[4 * i + 3] = left + (int)r->side;
    }
}

static bool complete(bench_row *row)
{
    const bench_images *r = &row->as.images;
    const cnn_image_batch *b = &r->batch;
    return b->c >= 1 && b->h >= 1 && b->w >= 1 && r->count >= 1 && b->box_count >= 0 && r->shift >= 0 &&
           r->fill >= CNN_FILL_CONSTANT && r->fill <= CNN_FILL_MIRROR && r->side >= 0 && r->side <= b->h &&
           r->side <= b->w;
}

static bool prepare(bench_row *row)
{
    bench_images *r = &row->as.images;
    const ptrdiff_t n = row->batch, c = r->batch.c, size = c * r->batch.h * r->batch.w, boxes = n * r->batch.box_count;
    const ptrdiff_t factors = (r->per_sample ? n : 1) * c;
    uint8_t *images = malloc((size_t)(r->count * size)), *flips = r->flip ? malloc((size_t)n) : NULL;
    uint8_t *paints = boxes ? malloc((size_t)(boxes * c)) : NULL;
    int64_t *indices = malloc((size_t)n * sizeof *indices);
    int32_t *shifts = r->shift ? malloc((size_t)(2 * n) * sizeof *shifts) : NULL;
    int32_t *squares = boxes ? malloc((size_t)(4 * boxes) * sizeof *squares) : NULL;
    float *scale = malloc((size_t)factors * sizeof *scale), *offset = malloc((size_t)factors * sizeof *offset);
    r->dst = malloc((size_t)(n * size) * sizeof *r->dst);
    r->batch.images = images, r->batch.flips = flips, r->batch.paints = paints, r->batch.indices = indices;
    r->batch.shifts = shifts, r->batch.boxes = squares, r->batch.scale = scale, r->batch.offset = offset;
    r->batch.n = n, r->batch.per_sample = r->per_sample != 0, r->batch.fill = (cnn_fill)r->fill;
    if (!images || !indices || !scale || !offset || !r->dst || (r->flip && !flips) || (r->shift && !shifts) ||
        (boxes && (!paints || !squares)))
        return false;
    for (ptrdiff_t i = 0; i < r->count * size; i++) images[i] = (uint8_t)(i * 37 >> 3);
    for (ptrdiff_t i = 0; i < factors; i++) scale[i] = 1.0f / 64.0f, offset[i] = -2.0f;
    for (ptrdiff_t i = 0; i < n; i++) {
        indices[i] = draw(1, i, r->count);
        if (flips) flips[i] = (uint8_t)draw(2, i, 2);
        for (ptrdiff_t axis = 0; shifts && axis < 2; axis++)
            shifts[2 * i + axis] = draw(3, 2 * i + axis, 2 * r->shift + 1) - (int)r->shift;
    }
    if (boxes) memset(paints, 0, (size_t)(boxes * c));
    draw_boxes(squares, boxes, r);
    return true;
}

static double run(bench_row *row, bool changed)
{
    (void)changed;
    const double start = cnn_now();
    for (int i = 0; i < row->repeats; i++)
        if (cnn_gather_images(row->as.images.dst, &row->as.images.batch, cnn_get_threads()) != CNN_OK) return -1.0;
    return cnn_now() - start;
}

static void release(bench_row *row)
{
    cnn_image_batch *b = &row->as.images.batch;
    free((void *)b->images), free((void *)b->indices), free((void *)b->scale);
    free((void *)b->offset), free((void *)b->shifts), free((void *)b->flips);
    free((void *)b->boxes), free((void *)b->paints), free(row->as.images.dst);
    b->images = b->flips = b->paints = NULL, b->shifts = b->boxes = NULL, b->indices = NULL;
    b->scale = b->offset = row->as.images.dst = NULL;
}

static double flops(const bench_row *row)
{
    (void)row;
    return 0.0;
}

/* Of every pixel a byte is read and a float written. */
static double bytes(const bench_row *row)
{
    const cnn_image_batch *b = &row->as.images.batch;
    return (double)(row->batch * b->c * b->h * b->w) * (1.0 + sizeof(float));
}

static void describe(const bench_row *row, char form[BENCH_FORM])
{
    const bench_images *r = &row->as.images;
    snprintf(form, BENCH_FORM, "%s%s%s%s", r->shift ? "shifts " : "", r->flip ? "flips " : "",
             r->batch.box_count ? "boxes " : "", r->per_sample ? "per sample" : "");
}

const bench_kind bench_images_kind = {.set = set,
                                      .complete = complete,
                                      .prepare = prepare,
                                      .run = run,
                                      .release = release,
                                      .flops = flops,
                                      .bytes = bytes,
                                      .describe = describe};
