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

/*
 * One tile of a batch-reduce matrix product: C[rows][columns] = sum over segments and k of A * B (+ bias) (ReLU).
 * With one segment it is a GEMM tile; with a segment per kernel row or tap it is a direct convolution over pixels.
 *   A(i, s, k) = a[i*a_row + a_offset[s] + k*a_k]
 *   B(s, k, j) = b[(j/16)*b_group + b_offset[s] + k*b_k + j%16]       always 16 readable columns per group
 *   C(i, j)    = c[i*c_row + (j/16)*c_group + j%16]                   only `columns` of them are written
 * rows <= kernels->tile_rows, columns <= kernels->tile_groups * 16. Sums run over s then k, in order.
 */
typedef struct cnn_tile {
    const float *a, *b;
    float *c;
    ptrdiff_t a_row, a_k, b_k, b_group, c_row, c_group;
    ptrdiff_t segments, k;
    const ptrdiff_t *a_offset, *b_offset; /* [segments] */
    const float *bias;                    /* NULL or [columns] */
    int rows, columns;
    bool accumulate, relu;
} cnn_tile;

/* X(name, parameters): one row per kernel. Counts are in elements. "In place" means that dst may equal a source. */
#define CNN_KERNELS(X)                                                                                                 \
    X(gemm_tile, (const cnn_tile *tile))                                                                               \
    X(fma_burst, (int64_t rounds, float *sink))                                                                        \
    /* dst[j] += sum over rows of src[row*stride + j], j < columns; rows in order */                                   \
    X(add_rows, (float *restrict dst, const float *restrict src, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t stride)) \
    /* dst[i] = sum over parts of src[part*stride + i], parts in order */                                              \
    X(sum_parts, (float *restrict dst, const float *restrict src, ptrdiff_t parts, ptrdiff_t count, ptrdiff_t stride)) \
    /* Max-pool 2x2/2 of two rows [2*pooled][c] after ReLU or not; argmax 0..3, 255 where relu and the maximum is 0 */ \
    X(pool_2x2, (float *restrict dst, uint8_t *restrict argmax, const float *restrict top,                             \
                 const float *restrict bottom, ptrdiff_t pooled, ptrdiff_t c, bool relu))                              \
    X(relu, (float *dst, const float *src, ptrdiff_t count))                                                           \
    X(relu_backward, (float *diff_src, const float *diff_dst, const float *dst, ptrdiff_t count))

struct cnn_kernels {
    const char *isa;
    int tile_rows, tile_groups, vector_width, fma_chains;
#define CNN_KERNEL_FIELD(name, parameters) void(*name) parameters;
    CNN_KERNELS(CNN_KERNEL_FIELD)
#undef CNN_KERNEL_FIELD
};

extern const cnn_kernels cnn_kernels_portable;
#if defined(__x86_64__)
extern const cnn_kernels cnn_kernels_avx2, cnn_kernels_avx512;
#elif defined(__aarch64__)
extern const cnn_kernels cnn_kernels_neon;
#endif

/* The table in use; NULL only when CNN_ISA asks for what is not there. *reference tells whether twins run. */
const cnn_kernels *cnn_kernels_current(bool *reference);

#endif
