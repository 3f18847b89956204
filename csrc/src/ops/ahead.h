/* Winograd convolution: fetching ahead. While a block of tiles is multiplied memory has nothing to do, and what the
 * transforms read or write next comes into the second-level cache. They would wait for it: the rows of a tile lie far
 * apart, and the hardware does not follow them from tile to tile. */
#ifndef CNN_OPS_AHEAD_H
#define CNN_OPS_AHEAD_H

#include "ops/winograd.h"

/* Consecutive tiles of `size` x `size` pixels in a map (H, W, C) of each sample, channels [channel, channel + channels). */
typedef struct cnn_ahead {
    const float *map;
    ptrdiff_t h, w, c, size, channel, channels;
    const cnn_winograd_grid *grid;
    /* set by cnn_ahead_aim */
    cnn_winograd_place at;
    ptrdiff_t tiles, steps, due; /* a tile is due when `due`, which grows by `tiles` in a step, reaches `steps` */
} cnn_ahead;

/* Aims at `tiles` tiles from `first` on, to be fetched in so many steps. False: they are none, or too many to be kept. */
bool cnn_ahead_aim(cnn_ahead *ahead, ptrdiff_t first, ptrdiff_t tiles, ptrdiff_t steps);

void cnn_ahead_step(cnn_ahead *ahead);

#endif
