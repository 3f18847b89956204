/* Pooling, vectorised over channels. */
#ifndef CNN_BODY_POOL_H
#define CNN_BODY_POOL_H

#include "kernels.h"

/* The first of equals wins; a NaN wins over everything before it. */
static void pool_2x2(float *restrict dst, uint8_t *restrict argmax, const float *restrict top,
                     const float *restrict bottom, ptrdiff_t pooled, ptrdiff_t c, bool relu)
{
    for (ptrdiff_t p = 0; p < pooled; p++) {
        const float *restrict a = top + 2 * p * c, *restrict b = a + c;
        const float *restrict d = bottom + 2 * p * c, *restrict e = d + c;
        float *restrict out = dst + p * c;
        uint8_t *restrict where = argmax + p * c;
        for (ptrdiff_t i = 0; i < c; i++) {
            float best = a[i];
            int32_t index = 0;
            index = b[i] > best || b[i] != b[i] ? 1 : index;
            best = b[i] > best || b[i] != b[i] ? b[i] : best;
            index = d[i] > best || d[i] != d[i] ? 2 : index;
            best = d[i] > best || d[i] != d[i] ? d[i] : best;
            index = e[i] > best || e[i] != e[i] ? 3 : index;
            best = e[i] > best || e[i] != e[i] ? e[i] : best;
            const bool off = relu && best <= 0.0f;
            out[i] = off ? 0.0f : best;
            where[i] = (uint8_t)(off ? 255 : index);
        }
    }
}

#endif
