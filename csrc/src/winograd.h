/* Winograd convolution: what ops and inner kernels say to each other. The algorithm and its matrices are derived in
 * csrc/winograd/generate.py. */
#ifndef CNN_WINOGRAD_H
#define CNN_WINOGRAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WINOGRAD_MOST = 8 }; /* the largest alpha = tile + kernel - 1 */

/* The positions of a patch in parts of two rows that have their sums and differences in common: a point and its negative,
 * and zero with infinity, the first row with the last. Computing the parts one by one costs hardly more than all at once. */
enum { WINOGRAD_ALL = -1 };

/* The rows of positions of a part, `which` 0 or 1 */
static inline int cnn_winograd_part_row(int alpha, int part, int which)
{
    return part ? 2 * part - 1 + which : which * (alpha - 1);
}

/* Whether a row (or column) of positions is computed of a tile of which the last `less` rows of outputs are not wanted:
 * as many points before the last position, infinity, are left out. */
static inline bool cnn_winograd_keeps(int alpha, int less, int row)
{
    return row == alpha - 1 || row < alpha - 1 - less;
}

/* One patch of a map (alpha x alpha of a source, or tile x tile of a gradient) to be transformed. Row i starts at row[i],
 * which stands for column `first`; columns outside [first, last) are zero, and rows outside the map point at zeros.
 * With argmax the map is given pooled: row[i] and argmax[i] start at the window of column `first`, `tap` is the position
 * in its window of the pixel in row 0 and column `first`. */
typedef struct cnn_winograd_patch {
    const float *row[WINOGRAD_MOST];
    const uint8_t *argmax[WINOGRAD_MOST];
    ptrdiff_t first, last;
    ptrdiff_t pixel, channels; /* elements between pixels, channels to transform */
    int tap;
    bool pooled;
    int tile, kernel;
    int less_rows, less_columns; /* of the outputs, not wanted */
    int part;                    /* WINOGRAD_ALL, or which two rows of positions to compute */
    float *dst;         /* these positions, each the channels of a patch, filled up with zeros to whole panels */
    ptrdiff_t position; /* elements between positions */
    ptrdiff_t panel;    /* elements between panels of CNN_PANEL channels */
    float *sums;        /* NULL, or where the sums of a gradient's pixels are added, whole panels; with all or part 0 */
} cnn_winograd_patch;

/* One tile of outputs: A^T M A, then + bias, the activation, and the mask or the pooling, as far as it lies in the map. */
typedef struct cnn_winograd_tile {
    const float *src;         /* alpha^2 positions, each a row of channels in whole vectors */
    ptrdiff_t position;       /* elements between positions */
    float *dst;               /* the first pixel */
    uint8_t *argmax;          /* NULL or as dst */
    const float *bias, *mask; /* NULL, or [channels], or as dst */
    ptrdiff_t dst_row, dst_pixel, channels;
    ptrdiff_t rows, columns; /* of dst, pooled pixels with `pool` */
    int tile, kernel;
    int less_rows, less_columns; /* of the tile, not wanted */
    bool pool;
    cnn_activation activation;
} cnn_winograd_tile;

/* A run of filters, CNN_PANEL side by side, between kernel x kernel taps and alpha^2 positions. Strides in elements. */
typedef struct cnn_winograd_filters {
    const float *src;
    float *dst;
    ptrdiff_t rows, src_row, dst_row;
    ptrdiff_t taps, positions; /* stride from tap to tap, from position to position */
    int tile, kernel;
} cnn_winograd_filters;

#endif
