/* Dropout: Philox draws of several counters side by side, four elements per counter. */
#ifndef CNN_BODY_DROPOUT_H
#define CNN_BODY_DROPOUT_H

#include "kernels.h"

enum { DROPOUT_LANES = 16 };

/* draws[4*lane + k] is draw k of counter block + lane: Philox4x32-10 as in rng.h, one lane per counter. */
static inline void dropout_draws(uint32_t *restrict draws, uint64_t block, const cnn_dropout_draw *restrict draw)
{
    uint32_t c0[DROPOUT_LANES], c1[DROPOUT_LANES], c2[DROPOUT_LANES], c3[DROPOUT_LANES];
    uint32_t k0 = (uint32_t)draw->seed, k1 = (uint32_t)(draw->seed >> 32);
    for (int i = 0; i < DROPOUT_LANES; i++) {
        const uint64_t counter = block + (uint64_t)i;
        c0[i] = (uint32_t)counter;
        c1[i] = (uint32_t)(counter >> 32);
        c2[i] = draw->step;
        c3[i] = draw->stream;
    }
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < DROPOUT_LANES; i++) {
            const uint64_t p0 = (uint64_t)0xD2511F53u * c0[i], p1 = (uint64_t)0xCD9E8D57u * c2[i];
            c0[i] = (uint32_t)(p1 >> 32) ^ c1[i] ^ k0;
            c2[i] = (uint32_t)(p0 >> 32) ^ c3[i] ^ k1;
            c1[i] = (uint32_t)p1;
            c3[i] = (uint32_t)p0;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    for (int i = 0; i < DROPOUT_LANES; i++) {
        draws[4 * i] = c0[i];
        draws[4 * i + 1] = c1[i];
        draws[4 * i + 2] = c2[i];
        draws[4 * i + 3] = c3[i];
    }
}

static void dropout(float *dst, const float *src, ptrdiff_t count, uint64_t first, const cnn_dropout_draw *draw)
{
    enum { STEP = 4 * DROPOUT_LANES };
    const int32_t threshold = (int32_t)draw->threshold;
    const float factor = draw->factor;
    uint32_t draws[STEP];
    for (ptrdiff_t i = 0; i < count; i += STEP) {
        dropout_draws(draws, (first + (uint64_t)i) / 4, draw);
        const ptrdiff_t run = count - i < STEP ? count - i : STEP;
        const float *in = src + i;
        float *out = dst + i;
        for (ptrdiff_t j = 0; j < run; j++) out[j] = (int32_t)(draws[j] >> 8) >= threshold ? in[j] * factor : 0.0f;
    }
}

#endif
