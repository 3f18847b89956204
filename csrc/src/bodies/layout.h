/* Transposes between channels first and channels last. */
#ifndef CNN_BODY_LAYOUT_H
#define CNN_BODY_LAYOUT_H

#include <string.h>

#include "bodies/pack.h"
#include "kernels.h"

/* dst[j*dst_stride + i] = src[i*src_stride + j] for i < rows, j < columns. Three of either is an RGB image. */
static void transpose(float *restrict dst, const float *restrict src, ptrdiff_t rows, ptrdiff_t columns,
                      ptrdiff_t dst_stride, ptrdiff_t src_stride)
{
    if (rows == 3 && dst_stride == 3) {
        const float *restrict a = src, *restrict b = src + src_stride, *restrict c = src + 2 * src_stride;
        for (ptrdiff_t j = 0; j < columns; j++) {
            dst[3 * j] = a[j];
            dst[3 * j + 1] = b[j];
            dst[3 * j + 2] = c[j];
        }
    } else if (columns == 3 && src_stride == 3) {
        float *restrict a = dst, *restrict b = dst + dst_stride, *restrict c = dst + 2 * dst_stride;
        for (ptrdiff_t i = 0; i < rows; i++) {
            a[i] = src[3 * i];
            b[i] = src[3 * i + 1];
            c[i] = src[3 * i + 2];
        }
    } else if (rows == 1 && dst_stride == 1) {
        memcpy(dst, src, (size_t)columns * sizeof *dst);
    } else if (columns == 1 && src_stride == 1) {
        memcpy(dst, src, (size_t)rows * sizeof *dst);
    } else {
        transpose_masked(dst, src, NULL, rows, columns, dst_stride, src_stride);
    }
}

#endif
