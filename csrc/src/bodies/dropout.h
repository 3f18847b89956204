/* Dropout: Philox draws of several counters side by side, four elements per counter. */
#ifndef CNN_BODY_DROPOUT_H
#define CNN_BODY_DROPOUT_H

#include <string.h>

#include "kernels.h"

enum {
    DROPOUT_HALF = SIMD_WIDTH / 2, /* counters in one vector of 64-bit lanes */
    DROPOUT_CHAINS = 4,            /* vectors side by side: a round is a chain of long instructions */
    DROPOUT_LANES = DROPOUT_HALF * DROPOUT_CHAINS
};

/* draws[4*lane + k] is draw k of counter block + lane: Philox4x32-10 as in rng.h. Each 32-bit word of the state has a
 * 64-bit lane; what stands in the upper half of a lane is never read. */
static inline void dropout_draws(uint32_t *restrict draws, uint64_t block, const cnn_dropout_draw *restrict draw)
{
    const simd_long none = {0}, multiply0 = none + 0xD2511F53u, multiply1 = none + 0xCD9E8D57u;
    simd_long c0[DROPOUT_CHAINS], c1[DROPOUT_CHAINS], c2[DROPOUT_CHAINS], c3[DROPOUT_CHAINS];
    uint32_t k0 = (uint32_t)draw->seed, k1 = (uint32_t)(draw->seed >> 32);
    uint64_t counters[DROPOUT_LANES];
    for (int i = 0; i < DROPOUT_LANES; i++) counters[i] = block + (uint64_t)i;
#pragma GCC unroll 4
    for (int chain = 0; chain < DROPOUT_CHAINS; chain++) {
        memcpy(&c0[chain], counters + chain * DROPOUT_HALF, sizeof c0[chain]);
        c1[chain] = c0[chain] >> 32;
        c2[chain] = none + draw->step;
        c3[chain] = none + draw->stream;
    }
    for (int round = 0; round < 10; round++) {
#pragma GCC unroll 4
        for (int chain = 0; chain < DROPOUT_CHAINS; chain++) {
            const simd_long p0 = simd_multiply_low(c0[chain], multiply0), p1 = simd_multiply_low(c2[chain], multiply1);
            c0[chain] = (p1 >> 32) ^ c1[chain] ^ k0;
            c2[chain] = (p0 >> 32) ^ c3[chain] ^ k1;
            c1[chain] = p1;
            c3[chain] = p0;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    uint64_t words[4][DROPOUT_LANES];
    for (int chain = 0; chain < DROPOUT_CHAINS; chain++) {
        memcpy(&words[0][chain * DROPOUT_HALF], &c0[chain], sizeof c0[chain]);
        memcpy(&words[1][chain * DROPOUT_HALF], &c1[chain], sizeof c1[chain]);
        memcpy(&words[2][chain * DROPOUT_HALF], &c2[chain], sizeof c2[chain]);
        memcpy(&words[3][chain * DROPOUT_HALF], &c3[chain], sizeof c3[chain]);
    }
    for (int i = 0; i < DROPOUT_LANES; i++) {
        draws[4 * i] = (uint32_t)words[0][i];
        draws[4 * i + 1] = (uint32_t)words[1][i];
        draws[4 * i + 2] = (uint32_t)words[2][i];
        draws[4 * i + 3] = (uint32_t)words[3][i];
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
