/* Between N C H W and N H W C. A task is a block of pixels of one sample. */
#include "internal.h"

typedef struct pixel_block {
    ptrdiff_t sample, first, count; /* pixels */
} pixel_block;

static ptrdiff_t pixels_per_block(const cnn_image_geometry *g) { return cnn_max(64, CNN_SPAN / g->c); }

static ptrdiff_t blocks_per_sample(const cnn_image_geometry *g)
{
    return cnn_ceil_div(g->h * g->w, pixels_per_block(g));
}

static pixel_block block_of_task(const cnn_image_geometry *g, ptrdiff_t task)
{
    const ptrdiff_t per_sample = blocks_per_sample(g), first = task % per_sample * pixels_per_block(g);
    return (pixel_block){task / per_sample, first, cnn_min(pixels_per_block(g), g->h * g->w - first)};
}

void cnn_nchw_to_nhwc(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_image_geometry *g = &call->geometry->image;
    float *dst = call->operands[CNN_nchw_to_nhwc_dst];
    const float *src = call->operands[CNN_nchw_to_nhwc_src];
    assert(dst && src && g->h >= 1 && g->w >= 1 && g->c >= 1);
    const ptrdiff_t pixels = g->h * g->w;
    ptrdiff_t first, last;
    cnn_share(worker, call->batch * blocks_per_sample(g), &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const pixel_block block = block_of_task(g, task);
        const ptrdiff_t sample = block.sample * pixels * g->c;
        worker->kernels->transpose(dst + sample + block.first * g->c, src + sample + block.first, g->c, block.count,
                                   g->c, pixels);
    }
}

void cnn_nhwc_to_nchw(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_image_geometry *g = &call->geometry->image;
    float *dst = call->operands[CNN_nhwc_to_nchw_dst];
    const float *src = call->operands[CNN_nhwc_to_nchw_src];
    assert(dst && src && g->h >= 1 && g->w >= 1 && g->c >= 1);
    const ptrdiff_t pixels = g->h * g->w;
    ptrdiff_t first, last;
    cnn_share(worker, call->batch * blocks_per_sample(g), &first, &last);
    for (ptrdiff_t task = first; task < last; task++) {
        const pixel_block block = block_of_task(g, task);
        const ptrdiff_t sample = block.sample * pixels * g->c;
        worker->kernels->transpose(dst + sample + block.first, src + sample + block.first * g->c, block.count, g->c,
                                   pixels, g->c);
    }
}
