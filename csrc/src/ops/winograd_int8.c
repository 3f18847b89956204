/*
 * Winograd's F(2x2, 3x3) of codes. A worker takes tiles of the batch, or panels of output channels where the weights are
 * more than the source, and does some tiles together: their codes are transformed into its scratch, [16][tiles][depth].
 * Integer sums are exact, so whoever computes what, the bytes are the same.
 */
#include "int8_layout.h"
#include "internal.h"
#include "workspace.h"

enum {
    TILE = 2,    /* pixels of the result, either way */
    SOURCE = 4,  /* ... of the source */
    HEAVIER = 4, /* than the source, which every worker then transforms, are weights that are worth sharing */
    PATCH = SOURCE * SOURCE
};

/* Channels of a transformed pixel: whole panels, whose last numbers meet weights of zero. */
static ptrdiff_t depth_of(const cnn_conv2d_int8_geometry *g) { return cnn_ceil_div(g->ic, CNN_PANEL) * CNN_PANEL; }

static size_t turned_bytes(const cnn_conv2d_int8_geometry *g)
{
    return cnn_align((size_t)(CNN_CODE_TAPS * CNN_MOST_CODE_TILES * depth_of(g)) * sizeof(int16_t));
}

cnn_workspace cnn_winograd_int8_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    const cnn_conv2d_int8_geometry *g = &geometry->conv2d_int8;
    (void)batch;
    return (cnn_workspace){.scratch = turned_bytes(g) + (size_t)(PATCH * depth_of(g))};
}

/* The first pixel of a tile of the result. Tiles are counted through, row by row and sample by sample. */
typedef struct tile_at {
    ptrdiff_t sample, h, w;
} tile_at;

static tile_at tile_number(const cnn_conv2d_int8_geometry *g, ptrdiff_t number)
{
    const ptrdiff_t down = cnn_ceil_div(g->oh, TILE), across = cnn_ceil_div(g->ow, TILE),
                    in_sample = number % (down * across);
    return (tile_at){number / (down * across), in_sample / across * TILE, in_sample % across * TILE};
}

static cnn_code_tile place_of(const cnn_conv2d_int8_geometry *g, const tile_at *at, uint8_t *dst)
{
    return (cnn_code_tile){.dst = dst + ((at->sample * g->oh + at->h) * g->ow + at->w) * g->oc,
                           .rows = (int)cnn_min(TILE, g->oh - at->h),
                           .columns = (int)cnn_min(TILE, g->ow - at->w)};
}

/* The 4x4 pixels of a tile that is not wholly in the map, or whose channels are no whole panels: padded with the code of
 * 0. What lies behind the channels of a pixel does not matter. */
static void copy_patch(const cnn_conv2d_int8_geometry *g, const uint8_t *sample, ptrdiff_t top, ptrdiff_t left,
                       uint8_t *patch)
{
    const ptrdiff_t depth = depth_of(g);
    for (ptrdiff_t y = top; y < top + SOURCE; y++)
        for (ptrdiff_t x = left; x < left + SOURCE; x++, patch += depth)
            if (y >= 0 && y < g->h && x >= 0 && x < g->w)
                memcpy(patch, sample + (y * g->w + x) * g->ic, (size_t)g->ic);
            else
                memset(patch, (int)g->zero_src, (size_t)g->ic);
}

static void turn_tile(const cnn_conv2d_int8_geometry *g, const cnn_kernels *kernels, const uint8_t *src,
                      const tile_at *at, uint8_t *patch, int16_t *dst, ptrdiff_t dst_tap)
{
    const ptrdiff_t depth = depth_of(g), top = at->h - g->pad_top, left = at->w - g->pad_left;
    const uint8_t *sample = src + at->sample * g->h * g->w * g->ic;
    const bool inside = top >= 0 && top + SOURCE <= g->h && left >= 0 && left + SOURCE <= g->w;
    if (inside && depth == g->ic) {
        kernels->turn_codes(dst, dst_tap, sample + (top * g->w + left) * g->ic, g->w * g->ic, g->ic, depth);
        return;
    }
    copy_patch(g, sample, top, left, patch);
    kernels->turn_codes(dst, dst_tap, patch, SOURCE * depth, depth, depth);
}

/* Whether the workers share the panels, and not the tiles. */
static bool shares_panels(const cnn_conv2d_int8_geometry *g, ptrdiff_t batch, ptrdiff_t tiles, ptrdiff_t panels,
                          ptrdiff_t size)
{
    const ptrdiff_t weights = CNN_CODE_TAPS * (ptrdiff_t)sizeof(int16_t) * g->ic * g->oc;
    const bool even = cnn_ceil_div(panels, size) * tiles <= cnn_ceil_div(tiles, size) * panels;
    return size > 1 && even && (tiles < size || weights > HEAVIER * batch * g->h * g->w * g->ic);
}

void cnn_winograd_int8(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_conv2d_int8_geometry *g = &call->geometry->conv2d_int8;
    const cnn_kernels *kernels = worker->kernels;
    const uint8_t *src = call->operands[CNN_winograd_int8_src];
    const ptrdiff_t panels = cnn_ceil_div(g->oc, CNN_PANEL), pairs = cnn_ceil_div(g->ic, 2), depth = depth_of(g);
    ptrdiff_t first_panel = 0, last_panel = panels, tile = 0;
    ptrdiff_t last = call->batch * cnn_ceil_div(g->oh, TILE) * cnn_ceil_div(g->ow, TILE);
    int16_t *turned = worker->scratch;
    uint8_t *patch = (uint8_t *)worker->scratch + turned_bytes(g);
    cnn_code_tile places[CNN_MOST_CODE_TILES];
    if (shares_panels(g, call->batch, last, panels, worker->size))
        cnn_share(worker, panels, &first_panel, &last_panel);
    else
        cnn_share(worker, last, &tile, &last);
    if (first_panel == last_panel || tile == last) return;
    const ptrdiff_t channel = first_panel * CNN_PANEL;
    cnn_winograd_codes block = {.places = places,
                                .src = turned,
                                .weights = (const int16_t *)call->operands[CNN_winograd_int8_weights] +
                                           channel * CNN_CODE_TAPS * pairs * 2,
                                .bias = (const int32_t *)call->operands[CNN_winograd_int8_bias] + channel,
                                .multipliers = (const int32_t *)call->operands[CNN_winograd_int8_multipliers] + channel,
                                .shifts = (const int32_t *)call->operands[CNN_winograd_int8_shifts] + channel,
                                .depth = depth,
                                .pairs = pairs,
                                .channels = cnn_min(last_panel * CNN_PANEL, g->oc) - channel,
                                .dst_row = g->ow * g->oc,
                                .dst_pixel = g->oc,
                                .range = {(int32_t)g->zero_dst, (int32_t)g->low, (int32_t)g->high}};
    memset(patch, 0, (size_t)(PATCH * depth));
    for (; tile < last; tile += block.tiles) {
        block.tiles = cnn_ceil_div(last - tile, cnn_ceil_div(last - tile, CNN_MOST_CODE_TILES));
        for (ptrdiff_t i = 0; i < block.tiles; i++) {
            const tile_at at = tile_number(g, tile + i);
            places[i] = place_of(g, &at, (uint8_t *)call->operands[CNN_winograd_int8_dst] + channel);
            turn_tile(g, kernels, src, &at, patch, turned + i * depth, block.tiles * depth);
        }
        kernels->winograd_codes(&block);
    }
}
