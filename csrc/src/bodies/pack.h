/* Packing for the micro-kernel: panels whose elements lie in the order in which it reads them. */
#ifndef CNN_BODY_PACK_H
#define CNN_BODY_PACK_H

#include <assert.h>

#include "bodies/gemm_tile.h"
#include "kernels.h"

static void pack_rows(float *restrict dst, const float *restrict src, ptrdiff_t rows, ptrdiff_t columns,
                      ptrdiff_t width, ptrdiff_t src_stride, float factor)
{
    enum { AHEAD = 4 }; /* rows fetched ahead: each is a short run on a page of its own, too short for the hardware */
    const simd_float scale = simd_set1(factor);
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t first = 0; first < columns; first += width) {
            const float *from = src + r * src_stride + first;
            if (r + AHEAD < rows) __builtin_prefetch(from + AHEAD * src_stride);
            float *to = dst + first * rows + r * width;
            const ptrdiff_t count = columns - first < width ? columns - first : width;
            if (count == CNN_PANEL)
                for (ptrdiff_t i = 0; i < CNN_PANEL; i += SIMD_WIDTH) simd_store(to + i, simd_load(from + i) * scale);
            else
                for (ptrdiff_t i = 0; i < width; i++) to[i] = i < count ? factor * from[i] : 0.0f;
        }
}

/* Vectors that reach beyond the panel's width spill into the next row, which is written after: blocks of rows of src
 * from the last to the first. Only the end of dst must not be passed. */
static void pack_columns(float *restrict dst, const float *restrict src, ptrdiff_t rows, ptrdiff_t columns,
                         ptrdiff_t width, ptrdiff_t src_stride, float factor)
{
    assert(rows <= width && width <= CNN_PANEL);
    const simd_float scale = simd_set1(factor);
    const ptrdiff_t end = columns * width;
    for (ptrdiff_t column = 0; column < columns; column += SIMD_WIDTH) {
        const ptrdiff_t left = columns - column;
        for (ptrdiff_t first = (width - 1) / SIMD_WIDTH * SIMD_WIDTH; first >= 0; first -= SIMD_WIDTH) {
            simd_float block[SIMD_WIDTH];
#pragma GCC unroll 16
            for (int i = 0; i < SIMD_WIDTH; i++) {
                const float *from = src + (first + i) * src_stride + column;
                if (first + i >= rows)
                    block[i] = simd_zero();
                else if (left >= SIMD_WIDTH)
                    block[i] = simd_load(from) * scale;
                else
                    block[i] = simd_load_part(from, left) * scale;
            }
            simd_transpose(block);
            const ptrdiff_t last = left < SIMD_WIDTH ? left : SIMD_WIDTH;
#pragma GCC unroll 16
            for (int i = 0; i < SIMD_WIDTH; i++) {
                const ptrdiff_t at = (column + i) * width + first;
                if (i >= last) break;
                if (at + SIMD_WIDTH <= end)
                    simd_store(dst + at, block[i]);
                else
                    simd_store_part(dst + at, block[i], width - first);
            }
        }
    }
}

static void transpose_masked(float *restrict dst, const float *restrict src, const float *restrict mask, ptrdiff_t rows,
                             ptrdiff_t columns, ptrdiff_t dst_stride, ptrdiff_t src_stride)
{
    for (ptrdiff_t column = 0; column < columns; column += SIMD_WIDTH)
        for (ptrdiff_t first = 0; first < rows; first += SIMD_WIDTH) {
            simd_float block[SIMD_WIDTH];
            const ptrdiff_t count = rows - first < SIMD_WIDTH ? rows - first : SIMD_WIDTH;
            const ptrdiff_t last = columns - column < SIMD_WIDTH ? columns - column : SIMD_WIDTH;
#pragma GCC unroll 16
            for (int i = 0; i < SIMD_WIDTH; i++)
                block[i] = i >= count           ? simd_zero()
                           : last == SIMD_WIDTH ? simd_load(src + (first + i) * src_stride + column)
                                                : simd_load_part(src + (first + i) * src_stride + column, last);
            simd_transpose(block);
#pragma GCC unroll 16
            for (int i = 0; i < SIMD_WIDTH; i++) {
                const ptrdiff_t at = (column + i) * dst_stride + first;
                if (i >= last) break;
                const simd_float x = mask ? tile_masked(block[i], simd_load_part(mask + at, count)) : block[i];
                if (count == SIMD_WIDTH)
                    simd_store(dst + at, x); /* a masked store takes many times as long on some processors */
                else
                    simd_store_part(dst + at, x, count);
            }
        }
}

#endif
