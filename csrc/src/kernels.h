/*
 * The inner kernels: what is worth a body per instruction set. A kernel works on one thread, on plain pointers; the
 * ops (ops/) split the work and call kernels through the table of the chosen instruction set.
 *
 * A body is written once, in bodies/, over the vector type of arch/simd_*.h or as a plain loop that the compiler
 * vectorises; arch/<isa>.c compiles all of them for one instruction set and exports one table.
 */
#ifndef CNN_KERNELS_H
#define CNN_KERNELS_H

#include "cnn.h"
#include "warp.h"
#include "winograd.h"

/*
 * A column of tiles of a batch-reduce matrix product: C[rows][columns] = sum over segments and k of A * B (+ bias), activated.
 * With one segment it is a GEMM tile; with a segment per kernel row or tap it is a direct convolution over pixels.
 *   A(i, s, k) = a[i*a_row + a_offset[s] + k*a_k]
 *   B(s, k, j) = b[(j/16)*b_group + b_offset[s] + k*b_k + j%16]       always 16 readable columns per group
 *   C(i, j)    = c[i*c_row + (j/16)*c_group + j%16]                   only `columns` of them are written
 * columns <= kernels->tile_groups * 16. Rows are cut into equal tiles of at most kernels->tile_rows; the first of them
 * fetches. Sums run over s then k, in order.
 */
typedef struct cnn_tile {
    const float *a, *b;
    float *c;
    ptrdiff_t a_row, a_k, b_k, b_group, c_row, c_group;
    ptrdiff_t segments, k;
    const ptrdiff_t *a_offset, *b_offset; /* [segments] */
    const float *bias;                    /* NULL or [columns] */
    const float *mask;                    /* NULL or laid out as C, which becomes 0 where the mask is 0 or below */
    const float *fetch;                   /* NULL, or what is read soon: `fetch_lines` lines of 16 for each segment */
    const ptrdiff_t *fetch_offset;        /* [segments] */
    ptrdiff_t rows;
    int fetch_lines, columns;
    bool accumulate;
    cnn_activation activation;
} cnn_tile;

enum { CNN_READ_STEP = 64 }; /* elements that read_burst reads together */

/* sums[r][j] += sum over items of values[i] * src[offsets[i] + r*src_row + j], r < rows, j < columns, in an order that
 * depends on the three counts only. `columns` is a multiple of CNN_PANEL, and src is readable up to there. */
typedef struct cnn_gather {
    const float *src, *values;
    const int32_t *offsets;
    float *sums;
    ptrdiff_t count, rows, columns, src_row, sums_row;
} cnn_gather;

/* A row of `pixels` windows of a pooled gradient times the source. `quads` holds for each element of the source four:
 * itself and those of the pixels to the right, below, and below that to the right (see kernels->quads). So with argmax
 * the position of the maximum in its window (255: none), for tap (y, x) < (kh, kw) and each input channel k,
 *   sums[((y*kw + x)*channels + k)*16 + c] += diff[p*diff_pixel + c] * quads[4 * (y*src_row + (2*p + x)*channels + k) +
 *                                                                            argmax[p*diff_pixel + c]]
 * over all windows p, c < columns <= 16, and totals[c] += diff. */
typedef struct cnn_pick {
    const float *quads, *diff;
    const uint8_t *argmax;
    float *sums, *totals; /* totals: [16] */
    ptrdiff_t pixels, channels, kh, kw;
    ptrdiff_t src_row, diff_pixel, columns;
} cnn_pick;

/* The pooled gradient of a row of pixels times the weights of `channels` channels, added to rows of the source's
 * gradient: with (i, j) the position of the maximum in its window (argmax = 2*i + j, 255: none),
 *   rows[i + tap][p*rows_pixel + column] += diff[p*diff_pixel + c] * table[c*table_channel + tap*table_row +
 *                                                                          (j ? 0 : table_left) + column]
 * for tap < taps and column < columns, a multiple of CNN_PANEL; the table has zeros where a window does not reach. */
typedef struct cnn_spread {
    float *const *rows; /* [taps + 1] */
    const float *diff, *table;
    const uint8_t *argmax;
    float *values, *offsets; /* scratch: pixels * channels + CNN_PANEL each */
    int32_t *ends;           /* scratch: 2 * pixels */
    ptrdiff_t pixels, channels, taps, columns;
    ptrdiff_t rows_pixel, diff_pixel, table_channel, table_row, table_left;
} cnn_spread;

/* Of a register tile of cnn_lanes, at most: output channels, and vectors of pixels. */
enum { CNN_LANES_CHANNELS = 6, CNN_LANES_VECTORS = 2 };

/* A convolution to few channels, with pixels in the lanes of a vector, of a source whose channels are planes: for `rows`
 * rows of `pixels` outputs and o < channels <= CNN_PANEL
 *   dst[r*dst_row + p*channels + o] = bias[o] + sum over k < count of src[r*src_row + offsets[k] + p] * weights[16*k + o]
 * activated. Sums run over k in order. Up to CNN_PANEL elements of src are read from the last pixel of a tap on. */
typedef struct cnn_lanes {
    float *dst;
    const float *src, *weights, *bias; /* bias: NULL or [channels] */
    const ptrdiff_t *offsets;          /* [count] */
    ptrdiff_t count, rows, pixels, channels, src_row, dst_row;
    cnn_activation activation;
} cnn_lanes;

/* A row of a convolution whose every channel has one filter of its own: for p < pixels and c < channels
 *   dst[p*dst_pixel + c] = bias[c] + sum over t < taps of src[p*src_pixel + src_offset[t] + c] *
 *                                                         weights[c/16*panel + weights_offset[t] + c%16]
 * activated, or 0 where the mask is 0 or below. Taps come in runs of 1 or 3, of which each lies src_pixel elements
 * behind the one before. Sums run over t in order. */
typedef struct cnn_depthwise {
    float *dst;
    const float *src, *weights;
    const float *bias, *mask;                     /* NULL, or [channels]; NULL, or laid out as dst */
    const ptrdiff_t *src_offset, *weights_offset; /* [taps] */
    ptrdiff_t taps, run, pixels, channels, panel, src_pixel, dst_pixel;
    cnn_activation activation;
} cnn_depthwise;

/* The gradient by its weights, from `rows` rows of `pixels` pixels:
 *   sums[(c/16*taps + t)*16 + c%16] (+)= sum over r, p of src[src_row[r] + p*src_pixel + src_offset[t] + c] *
 *                                                         diff[diff_row[r] + p*diff_pixel + c]
 * in the order of r, then p, before it is added to what is there; zero for missing columns of the last panel. */
typedef struct cnn_depthwise_sums {
    float *sums;
    const float *src, *diff;
    const ptrdiff_t *src_row, *diff_row, *src_offset; /* [rows], [rows], [taps] */
    ptrdiff_t taps, rows, pixels, channels, src_pixel, diff_pixel;
    bool accumulate;
} cnn_depthwise_sums;

/* dst[i*n + j] = bias + sum over k of src[i*k + ...] * weights, for one or two rows and the panels first ... last-1 */
typedef struct cnn_few_rows {
    float *dst;
    const float *src, *weights, *bias; /* bias: NULL or [n] */
    ptrdiff_t k, n, first, last;
    int rows;
    cnn_activation activation;
} cnn_few_rows;

/* ---- integer inference, see cnn.h ---- */

/* A sum becomes a code: clamp(rhe(sum * multiplier / 2^shift) + zero). */
typedef struct cnn_code_range {
    int32_t zero, low, high;
} cnn_code_range;

/* Products of codes with panels of weights: for r < rows, p < pixels and c < channels
 *   dst[r*dst_row + p*dst_pixel + c] = the code of bias[c] + sum over runs s and k < 4*quads of
 *       src[r*src_row + p*src_pixel + offsets[s] + k] * weights[c/16 * panel + ((s*quads + k/4)*16 + c%16)*4 + k%4]
 * where a panel has runs * quads * 64 bytes. Codes are as copy_codes() writes them, or uint8 where code_bytes is 1. */
typedef struct cnn_dot {
    uint8_t *dst;
    const void *src;
    const int8_t *weights;
    const int32_t *bias, *multipliers, *shifts; /* [channels] */
    const ptrdiff_t *offsets;                   /* [runs] */
    ptrdiff_t runs, quads, rows, pixels, channels;
    ptrdiff_t src_row, src_pixel, dst_row, dst_pixel;
    cnn_code_range range;
} cnn_dot;

/* The same where every channel has a filter of its own: for p < pixels, c < channels
 *   dst[p*channels + c] = the code of bias[c] + sum over t < taps of src[p*src_pixel + offsets[t] + c] *
 *                         weights[c/16 * panel + ((t/4)*16 + c%16)*4 + t%4]
 * where a panel has ceil(taps / 4) * 64 bytes. CNN_CODES_BEHIND codes are readable behind the last one. */
typedef struct cnn_dot_depthwise {
    uint8_t *dst;
    const void *src;
    const int8_t *weights;
    const int32_t *bias, *multipliers, *shifts;
    const ptrdiff_t *offsets; /* [taps] */
    ptrdiff_t taps, pixels, channels, src_pixel;
    cnn_code_range range;
} cnn_dot_depthwise;

/* Winograd's F(2x2, 3x3) of codes: where the result of a tile of 4x4 pixels goes, of which 2x2 or fewer are there. */
typedef struct cnn_code_tile {
    uint8_t *dst;
    int rows, columns;
} cnn_code_tile;

/* Some tiles by some channels, from the first of a panel on. src [16][tiles][depth] is what turn_codes() wrote, weights
 * are int16 filters (cnn.h) of these channels, depth is at least 2 * pairs. */
typedef struct cnn_winograd_codes {
    const cnn_code_tile *places; /* [tiles], of the first channel */
    const int16_t *src, *weights;
    const int32_t *bias, *multipliers, *shifts; /* [channels] */
    ptrdiff_t tiles, depth, pairs, channels, dst_row, dst_pixel;
    cnn_code_range range;
} cnn_winograd_codes;

enum { CNN_MOST_CODE_TILES = 20 }; /* of a block: its sums, 1 KB a tile, stay in the first cache */

/* An activation and its numbers: the slope (alpha, the lower bound) and the upper bound; 0 where it has none. */
typedef struct cnn_activate {
    cnn_activation kind;
    float slope, high;
} cnn_activate;

/* A dropout layer in one step: an element stays when (draw >> 8) >= threshold and is multiplied by factor. */
typedef struct cnn_dropout_draw {
    uint64_t seed;
    uint32_t step, stream, threshold;
    float factor;
} cnn_dropout_draw;

/* Settings of one segment in one step. keep = 1 - lr * decoupled weight decay, rest = 1 - beta. */
typedef struct cnn_sgd_step {
    float lr, l2, keep, momentum;
    bool nesterov;
} cnn_sgd_step;

typedef struct cnn_adam_step {
    float lr, l2, keep, beta1, beta2, rest1, rest2, eps;
    float root_factor; /* 1 / sqrt(1 - beta2^t) */
} cnn_adam_step;

/* lr is that of the gradients, lr_momentum that of the first moment: both with the corrections of Dozat 2016. */
typedef struct cnn_nadam_step {
    float lr, lr_momentum, l2, keep, beta1, beta2, rest1, rest2, eps, root_factor;
} cnn_nadam_step;

/* v = momentum*v + inner * g / (sqrt(s + inside) + outside), p = p*keep - outer * v. */
typedef struct cnn_rmsprop_step {
    float inner, outer, l2, keep, momentum, beta2, rest2, inside, outside;
} cnn_rmsprop_step;

/* A batch normalisation, one value for each column: y = (x - mean) * factor + shift, and 0 for y < 0 with relu. Its
 * gradient by x: dy * factor + (x - mean) * slope + rest. */
typedef struct cnn_norm {
    const float *mean, *factor, *shift, *slope, *rest;
    bool relu;
} cnn_norm;

/* A place between two neighbouring elements of an axis, so far from the first one to the second: 0 to 1. With 0 there is
 * only the first. */
typedef struct cnn_place {
    ptrdiff_t first;
    float rest;
} cnn_place;

/* Most columns of a sum: float totals that stay in the first-level cache. */
enum { CNN_NORM_COLUMNS = 1024 };

/* X(name, parameters): one row per kernel. Counts are in elements. "In place" means that dst may equal a source. */
#define CNN_KERNELS(X)                                                                                                   \
    X(gemm_tile, (const cnn_tile *tile))                                                                                 \
    /* Winograd's transforms: B^T d B, A dy A^T, A^T m A, G g G^T, G^T s G */                                            \
    X(winograd_input, (const cnn_winograd_patch *patch))                                                                 \
    X(winograd_diff, (const cnn_winograd_patch *patch))                                                                  \
    X(winograd_output, (const cnn_winograd_tile *tile))                                                                  \
    X(winograd_filter, (const cnn_winograd_filters *filters))                                                            \
    X(winograd_gradient, (const cnn_winograd_filters *filters))                                                          \
    X(lanes, (const cnn_lanes *rows))                                                                                    \
    X(depthwise, (const cnn_depthwise *row))                                                                             \
    X(depthwise_sums, (const cnn_depthwise_sums *rows))                                                                  \
    X(gather, (const cnn_gather *gather))                                                                                \
    X(spread, (const cnn_spread *spread))                                                                                \
    X(pick, (const cnn_pick *pick))                                                                                      \
    /* dst[4*i ...] = top[i], top[i + step], bottom[i], bottom[i + step] */                                              \
    X(quads,                                                                                                             \
      (float *restrict dst, const float *restrict top, const float *restrict bottom, ptrdiff_t count, ptrdiff_t step))   \
    X(few_rows, (const cnn_few_rows *product))                                                                           \
    X(fma_burst, (int64_t rounds, float *sink))                                                                          \
    X(read_burst, (const float *src, ptrdiff_t count, int64_t rounds, float *sink))                                      \
    /* dst[j] += sum over rows of src[row*stride + j], j < columns; rows in order */                                     \
    X(add_rows, (float *restrict dst, const float *restrict src, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t stride))   \
    /* dst[i] = sum over parts of src[part*stride + i], parts in order */                                                \
    X(sum_parts, (float *restrict dst, const float *restrict src, ptrdiff_t parts, ptrdiff_t count, ptrdiff_t stride))   \
    /* Max-pool 2x2/2 of two rows [2*pooled][c] after ReLU or not; argmax 0..3, 255 where relu and the maximum is 0.   \
     * argmax may be NULL */ \
    X(pool_2x2, (float *restrict dst, uint8_t *restrict argmax, const float *restrict top,                               \
                 const float *restrict bottom, ptrdiff_t pooled, ptrdiff_t c, bool relu))                                \
    /* saved: what the activation was given, or what it gave, as the registry says of its gradient op */                 \
    X(activation, (float *dst, const float *src, ptrdiff_t count, const cnn_activate *how))                              \
    X(activation_backward,                                                                                               \
      (float *diff_src, const float *diff_dst, const float *saved, ptrdiff_t count, const cnn_activate *how))            \
    /* The gradient of a ReLU that gave dst */                                                                           \
    X(relu_backward, (float *diff_src, const float *diff_dst, const float *dst, ptrdiff_t count))                        \
    /* dst = src above 0, else src * slopes[j]; rows `stride` apart */                                                   \
    X(prelu, (float *dst, const float *src, const float *slopes, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t stride))   \
    /* ... and its gradient; products[j] += diff_dst * src where src is 0 or below; at most CNN_NORM_COLUMNS */          \
    X(prelu_backward, (float *diff_src, double *restrict products, const float *diff_dst, const float *src,              \
                       const float *slopes, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t stride))                        \
    /* dst = src * factors, rows of c elements with the same c factors; in place if wished, of one row over either */    \
    X(multiply_rows, (float *dst, const float *src, const float *factors, ptrdiff_t rows, ptrdiff_t c))                  \
    /* The same, but 0 where a factor is 0, whatever src is; no factor is below */                                       \
    X(keep_rows, (float *dst, const float *src, const float *factors, ptrdiff_t rows, ptrdiff_t c))                      \
    /* dst = src + terms, otherwise as multiply_rows */                                                                  \
    X(shift_rows, (float *dst, const float *src, const float *terms, ptrdiff_t rows, ptrdiff_t c))                       \
    /* dst = a + b, 0 where a mask is 0 or below; dst = a - b; dst = src * factor; all in place if wished */             \
    X(add, (float *dst, const float *a, const float *b, const float *mask, ptrdiff_t count))                             \
    X(subtract, (float *dst, const float *a, const float *b, ptrdiff_t count))                                           \
    X(scale, (float *dst, const float *src, ptrdiff_t count, float factor))                                              \
    X(has_nonfinite, (const float *restrict src, ptrdiff_t count, bool *restrict found))                                 \
    /* sum = sum of src^2 in double, in an order that depends on count only */                                           \
    X(square_sum, (const float *restrict src, ptrdiff_t count, double *restrict sum))                                    \
    /* largest[r] = max of row r, dst = exp(src - largest); rows of c elements without gaps */                           \
    X(exp_rows,                                                                                                          \
      (float *restrict dst, float *restrict largest, const float *restrict src, ptrdiff_t rows, ptrdiff_t c))            \
    /* Binary cross-entropy of each logit and (sigmoid(logit) - target) * factor */                                      \
    X(logistic_loss, (float *restrict loss, float *restrict diff, const float *restrict logits,                          \
                      const float *restrict targets, ptrdiff_t count, float factor))                                     \
    /* `first` is the index of element 0 in the batch, a multiple of 4; in place if wished */                            \
    X(dropout, (float *dst, const float *src, ptrdiff_t count, uint64_t first, const cnn_dropout_draw *draw))            \
    /* The gradient of pool_2x2: two rows [2*pooled][c], all of them written */                                          \
    X(unpool_2x2, (float *restrict top, float *restrict bottom, const float *restrict diff_dst,                          \
                   const uint8_t *restrict argmax, ptrdiff_t pooled, ptrdiff_t c))                                       \
    /* Row oh of the pooled image; src, diff_src are whole samples; *_unpool_row adds to diff_src */                     \
    X(max_pool_row, (float *restrict dst, uint8_t *restrict argmax, const float *restrict src,                           \
                     const cnn_pool2d_geometry *geometry, ptrdiff_t oh))                                                 \
    X(max_unpool_row, (float *restrict diff_src, const float *restrict diff_dst, const uint8_t *restrict argmax,         \
                       const cnn_pool2d_geometry *geometry, ptrdiff_t oh))                                               \
    X(avg_pool_row,                                                                                                      \
      (float *restrict dst, const float *restrict src, const cnn_pool2d_geometry *geometry, ptrdiff_t oh))               \
    X(avg_unpool_row,                                                                                                    \
      (float *restrict diff_src, const float *restrict diff_dst, const cnn_pool2d_geometry *geometry, ptrdiff_t oh))     \
    /* dst = (1 - rest) * a + rest * b */                                                                                \
    X(blend, (float *restrict dst, const float *restrict a, const float *restrict b, ptrdiff_t count, float rest))       \
    /* The same of pixels of c channels, which lie at `places` in the row src; unblend_row is its transpose, adds */     \
    X(blend_row, (float *restrict dst, const float *restrict src, const cnn_place *restrict places, ptrdiff_t count,     \
                  ptrdiff_t c))                                                                                          \
    X(unblend_row, (float *restrict diff_src, const float *restrict diff_dst, const cnn_place *restrict places,          \
                    ptrdiff_t count, ptrdiff_t c))                                                                       \
    /* dst[j*dst_stride + i] = src[i*src_stride + j], i < rows, j < columns */                                           \
    X(transpose, (float *restrict dst, const float *restrict src, ptrdiff_t rows, ptrdiff_t columns,                     \
                  ptrdiff_t dst_stride, ptrdiff_t src_stride))                                                           \
    /* Panels [ceil(columns / width)][rows][width] of factor * src, zero behind the last column; width <= CNN_PANEL */   \
    X(pack_rows, (float *restrict dst, const float *restrict src, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t width,    \
                  ptrdiff_t src_stride, float factor))                                                                   \
    /* The same of the transpose of src (rows x columns), as one panel: rows <= width */                                 \
    X(pack_columns, (float *restrict dst, const float *restrict src, ptrdiff_t rows, ptrdiff_t columns,                  \
                     ptrdiff_t width, ptrdiff_t src_stride, float factor))                                               \
    /* The transpose, but 0 where the mask, NULL or laid out as dst, is 0 or below; src readable in panels of columns */ \
    X(transpose_masked, (float *restrict dst, const float *restrict src, const float *restrict mask, ptrdiff_t rows,     \
                         ptrdiff_t columns, ptrdiff_t dst_stride, ptrdiff_t src_stride))                                 \
    /* Batch normalisation by column, see bodies/norm.h; sums are added to, in double; at most CNN_NORM_COLUMNS */       \
    X(deviation_sums, (double *restrict sum, double *restrict squares, const float *restrict src,                        \
                       const float *restrict mean, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t stride))                 \
    X(gradient_sums, (double *restrict sum, double *restrict products, const float *diff_dst, const float *src,          \
                      const cnn_norm *norm, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t stride))                        \
    X(pooled_gradient_sums,                                                                                              \
      (double *restrict sum, double *restrict products, const float *diff_dst, const uint8_t *argmax,                    \
       const float *src, const cnn_norm *norm, ptrdiff_t pixels, ptrdiff_t columns, ptrdiff_t c, ptrdiff_t line))        \
    /* Rows without gaps, any number of columns; diff_src may be src, and diff_dst where both have one size */           \
    X(normalize,                                                                                                         \
      (float *dst, const float *src, const float *addend, const cnn_norm *norm, ptrdiff_t rows, ptrdiff_t columns))      \
    X(normalize_pool, (float *dst, uint8_t *argmax, const float *src, const cnn_norm *norm, ptrdiff_t pixels,            \
                       ptrdiff_t c, ptrdiff_t line))                                                                     \
    X(normalize_backward, (float *diff_src, const float *diff_dst, const float *src, const float *mask,                  \
                           const cnn_norm *norm, ptrdiff_t rows, ptrdiff_t columns))                                     \
    X(normalize_unpool, (float *diff_src, const float *diff_dst, const uint8_t *argmax, const float *src,                \
                         const float *mask, const cnn_norm *norm, ptrdiff_t pixels, ptrdiff_t c, ptrdiff_t line))        \
    /* dst[i] = src[i] * scale + offset in two roundings, and the same of src[count - 1 - i] */                          \
    X(scale_bytes, (float *restrict dst, const uint8_t *restrict src, ptrdiff_t count, float scale, float offset))       \
    X(scale_mirrored, (float *restrict dst, const uint8_t *restrict src, ptrdiff_t count, float scale, float offset))    \
    /* In place: pixel * factor + base * (1 - factor), as cnn_recolour_images has it; or by each pixel's own grey */     \
    X(blend_bytes, (uint8_t * pixels, ptrdiff_t count, int32_t base, int32_t factor))                                    \
    X(blend_greys,                                                                                                       \
      (uint8_t *restrict red, uint8_t *restrict green, uint8_t *restrict blue, ptrdiff_t count, int32_t factor))         \
    X(warp_row, (const cnn_warp_row *row))                                                                               \
    /* Codes as dot() reads them, code_bytes each: copied, or `count` times the same */                                  \
    X(copy_codes, (void *restrict dst, const uint8_t *restrict src, ptrdiff_t count))                                    \
    X(fill_codes, (void *restrict dst, uint8_t code, ptrdiff_t count))                                                   \
    X(dot, (const cnn_dot *block))                                                                                       \
    X(dot_depthwise, (const cnn_dot_depthwise *row))                                                                     \
    /* B^T d B of a tile d of 4x4 pixels, number t to dst[t*dst_tap + c]; channels in whole sixteens */                  \
    X(turn_codes, (int16_t *restrict dst, ptrdiff_t dst_tap, const uint8_t *restrict src, ptrdiff_t src_row,             \
                   ptrdiff_t src_pixel, ptrdiff_t depth))                                                                \
    X(winograd_codes, (const cnn_winograd_codes *block))                                                                 \
    X(quantize, (uint8_t *restrict dst, const float *restrict src, ptrdiff_t count, float scale, int32_t zero))          \
    X(dequantize, (float *restrict dst, const uint8_t *restrict src, ptrdiff_t count, float scale, int32_t zero))        \
    /* Row oh of the pooled map; src is a whole sample */                                                                \
    X(max_codes_row,                                                                                                     \
      (uint8_t *restrict dst, const uint8_t *restrict src, const cnn_pool2d_geometry *geometry, ptrdiff_t oh))           \
    X(average_codes_row,                                                                                                 \
      (uint8_t *restrict dst, const uint8_t *restrict src, const cnn_avgpool2d_int8_geometry *geometry, ptrdiff_t oh))   \
    /* In place if wished */                                                                                             \
    X(add_codes,                                                                                                         \
      (uint8_t * dst, const uint8_t *a, const uint8_t *b, ptrdiff_t count, const cnn_add_int8_geometry *how))            \
    X(lookup_codes, (uint8_t * dst, const uint8_t *src, const uint8_t *table, ptrdiff_t count))                          \
    X(sgd_momentum, (float *restrict parameters, float *restrict velocity, const float *restrict gradients,              \
                     ptrdiff_t count, const cnn_sgd_step *restrict step))                                                \
    X(sgd_plain, (float *restrict parameters, const float *restrict gradients, ptrdiff_t count,                          \
                  const cnn_sgd_step *restrict step))                                                                    \
    X(adam, (float *restrict parameters, float *restrict first_moment, float *restrict second_moment,                    \
             const float *restrict gradients, ptrdiff_t count, const cnn_adam_step *restrict step))                      \
    X(nadam, (float *restrict parameters, float *restrict first_moment, float *restrict second_moment,                   \
              const float *restrict gradients, ptrdiff_t count, const cnn_nadam_step *restrict step))                    \
    /* velocity NULL: there is no momentum */                                                                            \
    X(rmsprop, (float *restrict parameters, float *restrict second_moment, float *restrict velocity,                     \
                const float *restrict gradients, ptrdiff_t count, const cnn_rmsprop_step *restrict step))                \
    /* slow += rest * (src - slow) */                                                                                    \
    X(average, (float *restrict slow, const float *restrict src, ptrdiff_t count, float rest))                           \
    /* sums += factor * src */                                                                                           \
    X(add_scaled, (float *restrict sums, const float *restrict src, ptrdiff_t count, float factor))

struct cnn_kernels {
    const char *isa;
    int tile_rows, tile_groups, vector_width, fma_chains;
    int code_bytes; /* of a code that dot() reads: 1 or 2 */
#define CNN_KERNEL_FIELD(name, parameters) void(*name) parameters;
    CNN_KERNELS(CNN_KERNEL_FIELD)
#undef CNN_KERNEL_FIELD
};

extern const cnn_kernels cnn_kernels_portable;
#if defined(__x86_64__)
extern const cnn_kernels cnn_kernels_avx2, cnn_kernels_avx512;
/* Puts the bodies for VNNI, whose only instruction multiplies bytes, into a copy of the table of avx512. */
void cnn_kernels_use_vnni(cnn_kernels *table);
#elif defined(__aarch64__)
extern const cnn_kernels cnn_kernels_neon;
#endif

/* The table in use; NULL only when CNN_ISA asks for what is not there. *reference tells whether twins run. */
const cnn_kernels *cnn_kernels_current(bool *reference);

#endif
