/* Winograd convolution: what its passes share. */
#ifndef CNN_OPS_WINOGRAD_H
#define CNN_OPS_WINOGRAD_H

#include "ops/pixels.h"
#include "winograd.h"

/* Transformed filters are stored by pairs of panels, [ceil(panels / 2)][alpha^2][panels of the pair][K][16]: what one
 * sweep over the columns of a pair reads lies in one piece. */
enum { WINOGRAD_PAIR = 2, WINOGRAD_COLUMNS = WINOGRAD_PAIR * CNN_PANEL };

static inline ptrdiff_t cnn_winograd_panels_of(ptrdiff_t columns, ptrdiff_t pair)
{
    return cnn_min(WINOGRAD_PAIR, cnn_panels(columns) - pair * WINOGRAD_PAIR);
}

static inline ptrdiff_t cnn_winograd_alpha(const cnn_conv2d_geometry *g) { return g->tile + g->kh - 1; }

/* A map (H, W, C) of each sample, read in patches. With argmax it is given as (H/2, W/2, C), see cnn_winograd_patch. */
typedef struct cnn_winograd_map {
    const float *data;
    const uint8_t *argmax;
    ptrdiff_t h, w, c;
} cnn_winograd_map;

/* Where zeros are read from: a row of pixels, both as numbers and as positions. */
typedef struct cnn_winograd_zeros {
    float *data;
    uint8_t *argmax;
} cnn_winograd_zeros;

static inline size_t cnn_winograd_zeros_bytes(ptrdiff_t alpha, ptrdiff_t channels)
{
    return cnn_align((size_t)(alpha * channels) * sizeof(float)) + cnn_align((size_t)(alpha * channels));
}

static inline cnn_winograd_zeros cnn_winograd_zeros_make(void *memory, ptrdiff_t alpha, ptrdiff_t channels)
{
    memset(memory, 0, cnn_winograd_zeros_bytes(alpha, channels));
    return (cnn_winograd_zeros){memory, cnn_at(memory, cnn_align((size_t)(alpha * channels) * sizeof(float)))};
}

/* Points a patch of size x size at (top, left) of sample n, channels from `channel` on. */
static inline void cnn_winograd_aim(cnn_winograd_patch *patch, const cnn_winograd_map *map,
                                    const cnn_winograd_zeros *zeros, ptrdiff_t n, ptrdiff_t top, ptrdiff_t left,
                                    ptrdiff_t size, ptrdiff_t channel)
{
    const bool pooled = map->argmax != NULL;
    const ptrdiff_t h = map->h >> pooled, w = map->w >> pooled; /* as stored */
    patch->first = cnn_max(0, -left);
    patch->last = cnn_min(size, (w << pooled) - left);
    patch->pooled = pooled;
    patch->tap = (int)((top & 1) * 2 + ((left + patch->first) & 1));
    patch->pixel = map->c;
    const ptrdiff_t column = (left + patch->first) >> pooled;
    for (ptrdiff_t i = 0; i < size; i++) {
        const ptrdiff_t y = top + i;
        const bool inside = y >= 0 && y < h << pooled && patch->first < patch->last;
        const ptrdiff_t at = inside ? ((n * h + (y >> pooled)) * w + column) * map->c + channel : 0;
        patch->row[i] = inside ? map->data + at : zeros->data;
        if (pooled) patch->argmax[i] = inside ? map->argmax + at : zeros->argmax;
    }
}

/* How the outputs of a batch are cut into tiles, numbered row by row through all samples. */
typedef struct cnn_winograd_grid {
    ptrdiff_t rows, columns, count;    /* of one sample, and of all samples */
    ptrdiff_t less_rows, less_columns; /* of the tiles at the lower and the right edge, beyond the map */
} cnn_winograd_grid;

/* Of a map that is pooled the last row or column is not wanted where there is no window for it. */
static inline cnn_winograd_grid cnn_winograd_grid_of(ptrdiff_t oh, ptrdiff_t ow, bool pooled, ptrdiff_t tile,
                                                     ptrdiff_t batch)
{
    if (pooled) oh -= oh % 2, ow -= ow % 2;
    const ptrdiff_t rows = cnn_ceil_div(oh, tile), columns = cnn_ceil_div(ow, tile);
    return (cnn_winograd_grid){rows, columns, batch * rows * columns, rows * tile - oh, columns * tile - ow};
}

typedef struct cnn_winograd_place {
    ptrdiff_t n, row, column; /* sample, row and column of tiles in it */
} cnn_winograd_place;

static inline cnn_winograd_place cnn_winograd_place_of(const cnn_winograd_grid *grid, ptrdiff_t t)
{
    return (cnn_winograd_place){t / (grid->rows * grid->columns), t / grid->columns % grid->rows, t % grid->columns};
}

static inline void cnn_winograd_next(const cnn_winograd_grid *grid, cnn_winograd_place *place)
{
    if (++place->column < grid->columns) return;
    place->column = 0;
    if (++place->row < grid->rows) return;
    place->row = 0;
    place->n++;
}

/* The rows and columns of a tile that lie beyond the map */
static inline void cnn_winograd_less(const cnn_winograd_grid *grid, const cnn_winograd_place *place, int *rows,
                                     int *columns)
{
    *rows = place->row == grid->rows - 1 ? (int)grid->less_rows : 0;
    *columns = place->column == grid->columns - 1 ? (int)grid->less_columns : 0;
}

/* Tiles that reach beyond the map need not all positions (cnn_winograd_keeps). So that those which have a position in
 * common lie side by side, tiles lie in scratch by where they are: at the right edge, inside, at the lower edge, in the
 * corner. `next` is where the next tile of each kind goes. */
enum { WINOGRAD_RIGHT, WINOGRAD_INSIDE, WINOGRAD_LOWER, WINOGRAD_CORNER, WINOGRAD_KINDS };

typedef struct cnn_winograd_order {
    ptrdiff_t start[WINOGRAD_KINDS + 1], next[WINOGRAD_KINDS];
} cnn_winograd_order;

static inline int cnn_winograd_kind(const cnn_winograd_grid *grid, const cnn_winograd_place *place)
{
    const bool lower = grid->less_rows && place->row == grid->rows - 1;
    const bool right = grid->less_columns && place->column == grid->columns - 1;
    return lower ? (right ? WINOGRAD_CORNER : WINOGRAD_LOWER) : right ? WINOGRAD_RIGHT : WINOGRAD_INSIDE;
}

static inline cnn_winograd_order cnn_winograd_order_of(const cnn_winograd_grid *grid, ptrdiff_t first, ptrdiff_t last)
{
    cnn_winograd_order order = {{0}, {0}};
    cnn_winograd_place at = cnn_winograd_place_of(grid, first);
    for (ptrdiff_t t = first; t < last; t++, cnn_winograd_next(grid, &at))
        order.start[cnn_winograd_kind(grid, &at) + 1]++;
    for (int kind = 0; kind < WINOGRAD_KINDS; kind++) order.start[kind + 1] += order.start[kind];
    memcpy(order.next, order.start, sizeof order.next);
    return order;
}

typedef struct cnn_winograd_range {
    ptrdiff_t first, last;
} cnn_winograd_range;

/* Where the tiles lie that have a position. */
static inline cnn_winograd_range cnn_winograd_tiles_with(const cnn_winograd_grid *grid, const cnn_winograd_order *order,
                                                         ptrdiff_t alpha, ptrdiff_t row, ptrdiff_t column)
{
    const bool lower = cnn_winograd_keeps((int)alpha, (int)grid->less_rows, (int)row);
    const bool right = cnn_winograd_keeps((int)alpha, (int)grid->less_columns, (int)column);
    return (cnn_winograd_range){order->start[right ? WINOGRAD_RIGHT : WINOGRAD_INSIDE],
                                order->start[!lower  ? WINOGRAD_LOWER
                                             : right ? WINOGRAD_KINDS
                                                     : WINOGRAD_CORNER]};
}

/* Channels of a row of transformed values: whole panels. */
static inline ptrdiff_t cnn_winograd_row(ptrdiff_t channels) { return cnn_panels(channels) * CNN_PANEL; }

/* Elements of `count` rows and a gap to the next such: an odd number of cache lines, so that what a matrix product reads
 * side by side spreads over all sets of the first-level cache. */
static inline ptrdiff_t cnn_winograd_stride(ptrdiff_t count, ptrdiff_t row)
{
    return (count * row / CNN_PANEL | 1) * CNN_PANEL;
}

#endif
