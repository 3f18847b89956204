/* Fully connected layers of codes. Workers share the panels of weights, which at one sample are all there is to read,
 * or, where these are few, the samples. */
#include "int8_layout.h"
#include "internal.h"
#include "workspace.h"

enum { BLOCK = 32 }; /* samples that are copied together, where they are */

/* Codes of a copied sample. */
static ptrdiff_t copied(const cnn_linear_int8_geometry *g) { return cnn_int8_quads(g->k) * CNN_QUAD; }

cnn_workspace cnn_linear_int8_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    enum { LARGEST_CODE = 2 };
    return (cnn_workspace){.scratch = LARGEST_CODE * (size_t)(cnn_min(batch, BLOCK) * copied(&geometry->linear_int8))};
}

void cnn_linear_int8(const cnn_call *call, const cnn_worker *worker)
{
    static const ptrdiff_t no_offset[1] = {0};
    const cnn_linear_int8_geometry *g = &call->geometry->linear_int8;
    const cnn_kernels *kernels = worker->kernels;
    const uint8_t *src = call->operands[CNN_linear_int8_src];
    const ptrdiff_t panels = cnn_ceil_div(g->n, CNN_PANEL), bytes = kernels->code_bytes, row = copied(g);
    const bool direct = bytes == 1 && row == g->k;
    ptrdiff_t first = 0, last = panels, m = 0, end = call->batch;
    if (panels >= worker->size || call->batch < worker->size)
        cnn_share(worker, panels, &first, &last);
    else
        cnn_share(worker, call->batch, &m, &end);
    const ptrdiff_t channel = first * CNN_PANEL;
    cnn_dot block = {.weights = (const int8_t *)call->operands[CNN_linear_int8_weights] + channel * row,
                     .bias = (const int32_t *)call->operands[CNN_linear_int8_bias] + channel,
                     .multipliers = (const int32_t *)call->operands[CNN_linear_int8_multipliers] + channel,
                     .shifts = (const int32_t *)call->operands[CNN_linear_int8_shifts] + channel,
                     .offsets = no_offset,
                     .runs = 1,
                     .quads = row / CNN_QUAD,
                     .rows = 1,
                     .channels = cnn_min(last * CNN_PANEL, g->n) - channel,
                     .src_pixel = row,
                     .dst_pixel = g->n,
                     .range = {(int32_t)g->zero_dst, (int32_t)g->low, (int32_t)g->high}};
    if (first == last) return;
    for (; m < end; m += block.pixels) {
        block.pixels = cnn_min(end - m, BLOCK);
        block.src = direct ? (const void *)(src + m * g->k) : worker->scratch;
        block.dst = (uint8_t *)call->operands[CNN_linear_int8_dst] + m * g->n + channel;
        for (ptrdiff_t i = 0; !direct && i < block.pixels; i++) {
            char *to = (char *)worker->scratch + i * row * bytes;
            kernels->copy_codes(to, src + (m + i) * g->k, g->k);
            kernels->fill_codes(to + g->k * bytes, 0, row - g->k);
        }
        kernels->dot(&block);
    }
}
