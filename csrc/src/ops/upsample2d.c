/* Enlarging maps by whole factors: first between two rows, then between the pixels of what that gives. Forward tasks are
 * rows of the result; backward tasks are rows of the source, to which the rows of the result are added in order. */
#include "internal.h"
#include "workspace.h"

/* Where a place of the enlarged axis lies in the source: a fraction of whole numbers, so that 0 is exact. */
static cnn_place place_of(ptrdiff_t place, ptrdiff_t extent, ptrdiff_t scale, ptrdiff_t sampling)
{
    ptrdiff_t above = place, below = scale;
    if (sampling == CNN_SAMPLING_NEAREST) return (cnn_place){above / below, 0.0f};
    if (sampling == CNN_SAMPLING_HALF_PIXEL)
        above = cnn_max(2 * place + 1 - scale, 0), below = 2 * scale;
    else
        above = place * (extent - 1), below = cnn_max(extent * scale - 1, 1);
    const ptrdiff_t first = above / below;
    return (cnn_place){first, first < extent - 1 ? (float)((double)(above % below) / (double)below) : 0.0f};
}

/* A worker's places of the columns, and a line that is interpolated or summed up by rows alone. */
typedef struct scratch {
    cnn_place *places;
    float *line;
    size_t bytes;
} scratch;

static scratch carve(const cnn_upsample2d_geometry *g, char *memory)
{
    const size_t places = cnn_align((size_t)(g->w * g->scale_w) * sizeof(cnn_place));
    return (scratch){(void *)memory, cnn_at(memory, places),
                     places + cnn_align((size_t)(g->w * g->scale_w * g->c) * sizeof(float))};
}

cnn_workspace cnn_upsample2d_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    (void)batch;
    return (cnn_workspace){.scratch = carve(&geometry->upsample2d, NULL).bytes};
}

static void find_columns(const cnn_upsample2d_geometry *g, cnn_place *places)
{
    for (ptrdiff_t x = 0; x < g->w * g->scale_w; x++) places[x] = place_of(x, g->w, g->scale_w, g->sampling);
}

void cnn_upsample2d_forward(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_upsample2d_geometry *g = &call->geometry->upsample2d;
    float *dst = call->operands[CNN_upsample2d_forward_dst];
    const float *src = call->operands[CNN_upsample2d_forward_src];
    const scratch memory = carve(g, worker->scratch);
    const ptrdiff_t oh = g->h * g->scale_h, ow = g->w * g->scale_w, line = g->w * g->c;
    ptrdiff_t first, last;
    assert(dst && src);
    cnn_share(worker, call->batch * oh, &first, &last);
    if (first < last) find_columns(g, memory.places);
    for (ptrdiff_t task = first; task < last; task++) {
        const cnn_place row = place_of(task % oh, g->h, g->scale_h, g->sampling);
        const float *source = src + (task / oh * g->h + row.first) * line;
        if (row.rest != 0.0f) {
            worker->kernels->blend(memory.line, source, source + line, line, row.rest);
            source = memory.line;
        }
        worker->kernels->blend_row(dst + task * ow * g->c, source, memory.places, ow, g->c);
    }
}

/* The share of a row of the source in one of the result. */
static float share_of(cnn_place row, ptrdiff_t h)
{
    if (row.first == h) return 1.0f - row.rest;
    return row.first == h - 1 ? row.rest : 0.0f;
}

void cnn_upsample2d_backward(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_upsample2d_geometry *g = &call->geometry->upsample2d;
    float *diff_src = call->operands[CNN_upsample2d_backward_diff_src];
    const float *diff_dst = call->operands[CNN_upsample2d_backward_diff_dst];
    const scratch memory = carve(g, worker->scratch);
    const ptrdiff_t oh = g->h * g->scale_h, ow = g->w * g->scale_w, line = ow * g->c;
    ptrdiff_t first, last;
    assert(diff_src && diff_dst);
    cnn_share(worker, call->batch * g->h, &first, &last);
    if (first < last) find_columns(g, memory.places);
    for (ptrdiff_t task = first; task < last; task++) {
        const ptrdiff_t h = task % g->h;
        float *row = diff_src + task * g->w * g->c;
        memset(memory.line, 0, (size_t)line * sizeof *memory.line);
        /* no row of the result reaches further, whatever the sampling */
        const ptrdiff_t end = cnn_min((h + 2) * g->scale_h, oh);
        for (ptrdiff_t y = cnn_max((h - 1) * g->scale_h, 0); y < end; y++) {
            const float share = share_of(place_of(y, g->h, g->scale_h, g->sampling), h);
            if (share != 0.0f)
                worker->kernels->add_scaled(memory.line, diff_dst + (task / g->h * oh + y) * line, line, share);
        }
        memset(row, 0, (size_t)(g->w * g->c) * sizeof *row);
        worker->kernels->unblend_row(row, memory.line, memory.places, ow, g->c);
    }
}
