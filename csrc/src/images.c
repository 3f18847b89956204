/* Batches of images: gathered by index, shifted, mirrored, painted over and turned into floats in one pass. */
#include "fill.h"
#include "team.h"

/* One channel of one sample on its way into the batch. */
typedef struct plane {
    const uint8_t *src;
    float *dst;
    ptrdiff_t h, w, down, right;
    bool flip, turn;
    float scale, offset;
} plane;

static float valued(const plane *p, uint8_t pixel) { return (float)pixel * p->scale + p->offset; }

static void write_constant(float *dst, ptrdiff_t count, float value)
{
    for (ptrdiff_t i = 0; i < count; i++) dst[i] = value;
}

/* Columns first ... last-1 of a row, counted before it is mirrored, that a shift moved in from outside. */
static void write_edge(const plane *p, const cnn_image_batch *batch, float *dst, const uint8_t *src, ptrdiff_t first,
                       ptrdiff_t last)
{
    for (ptrdiff_t x = first; x < last; x++) {
        const ptrdiff_t from = cnn_fill_source(batch->fill, x - p->right, p->w);
        dst[p->flip ? p->w - 1 - x : x] = valued(p, from < 0 ? batch->fill_value : src[from]);
    }
}

static void write_row(const plane *p, const cnn_image_batch *batch, float *dst, const uint8_t *src,
                      const cnn_kernels *kernels)
{
    const ptrdiff_t first = cnn_min(cnn_max(p->right, 0), p->w), last = cnn_max(cnn_min(p->w + p->right, p->w), 0);
    if (first < last && p->flip)
        kernels->scale_mirrored(dst + p->w - last, src + first - p->right, last - first, p->scale, p->offset);
    else if (first < last)
        kernels->scale_bytes(dst + first, src + first - p->right, last - first, p->scale, p->offset);
    write_edge(p, batch, dst, src, 0, first);
    write_edge(p, batch, dst, src, last, p->w);
}

static void write_plane(const plane *p, const cnn_image_batch *batch, const cnn_kernels *kernels)
{
    if (p->down == 0 && p->right == 0 && !p->flip && !p->turn) {
        kernels->scale_bytes(p->dst, p->src, p->h * p->w, p->scale, p->offset);
        return;
    }
    for (ptrdiff_t y = 0; y < p->h; y++) {
        const ptrdiff_t from = cnn_fill_source(batch->fill, y - p->down, p->h);
        float *dst = p->dst + (p->turn ? p->h - 1 - y : y) * p->w;
        if (from < 0)
            write_constant(dst, p->w, valued(p, batch->fill_value));
        else
            write_row(p, batch, dst, p->src + from * p->w, kernels);
    }
}

static void paint(const plane *p, const int32_t box[4], uint8_t pixel)
{
    const ptrdiff_t top = cnn_max(box[0], 0), left = cnn_max(box[1], 0);
    const ptrdiff_t bottom = cnn_min(box[2], p->h), right = cnn_min(box[3], p->w);
    for (ptrdiff_t y = top; y < bottom; y++) write_constant(p->dst + y * p->w + left, right - left, valued(p, pixel));
}

static void write_sample(float *dst, const cnn_image_batch *batch, ptrdiff_t sample, const cnn_kernels *kernels)
{
    const ptrdiff_t c = batch->c, size = batch->h * batch->w;
    const uint8_t *src = batch->images + batch->indices[sample] * c * size;
    const int32_t *shift = batch->shifts ? batch->shifts + 2 * sample : (const int32_t[2]){0, 0};
    const ptrdiff_t factors = batch->per_sample ? sample * c : 0;
    for (ptrdiff_t channel = 0; channel < c; channel++) {
        const plane p = {.src = src + channel * size,
                         .dst = dst + (sample * c + channel) * size,
                         .h = batch->h,
                         .w = batch->w,
                         .down = shift[0],
                         .right = shift[1],
                         .flip = batch->flips && batch->flips[sample],
                         .turn = batch->turns && batch->turns[sample],
                         .scale = batch->scale[factors + channel],
                         .offset = batch->offset[factors + channel]};
        write_plane(&p, batch, kernels);
        for (ptrdiff_t i = 0; batch->boxes && i < batch->box_count; i++) {
            const ptrdiff_t box = sample * batch->box_count + i;
            paint(&p, batch->boxes + 4 * box, batch->paints[box * c + channel]);
        }
    }
}

typedef struct gathering {
    float *dst;
    const cnn_image_batch *batch;
} gathering;

static void gather_samples(const cnn_worker *worker, void *context)
{
    const gathering *task = context;
    ptrdiff_t first, last;
    cnn_share(worker, task->batch->n, &first, &last);
    for (ptrdiff_t sample = first; sample < last; sample++)
        write_sample(task->dst, task->batch, sample, worker->kernels);
}

cnn_status cnn_gather_images(float *dst, const cnn_image_batch *batch, int threads)
{
    assert(batch->n >= 0 && batch->c >= 0 && batch->h >= 0 && batch->w >= 0 && batch->box_count >= 0);
    assert(!batch->boxes || batch->paints);
    if (threads < 1 || threads > CNN_MAX_THREADS) return CNN_BAD_THREADS;
    bool reference;
    const cnn_kernels *kernels = cnn_kernels_current(&reference);
    if (!kernels) return CNN_BAD_ISA;
    if (reference) {
        cnn_ref_gather_images(dst, batch);
        return CNN_OK;
    }
    gathering task = {dst, batch};
    cnn_team team;
    cnn_team_init(&team);
    cnn_team_run(&team, threads, kernels, NULL, NULL, 0, gather_samples, &task);
    cnn_team_destroy(&team);
    return CNN_OK;
}
