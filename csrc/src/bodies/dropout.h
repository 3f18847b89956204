/* Dropout: Philox draws of several counters side by side, four elements per counter. */
#ifndef CNN_BODY_DROPOUT_H
#define CNN_BODY_DROPOUT_H

#include "bodies/vector.h"
#include "kernels.h"

enum {
    DROPOUT_HALF = SIMD_WIDTH / 2, /* counters in one vector of 64-bit lanes */
    DROPOUT_CHAINS = 4,            /* vectors side by side: a round is a chain of long instructions */
    DROPOUT_LANES = DROPOUT_HALF * DROPOUT_CHAINS
};

/* draws[4*lane + k] is draw k of counter block + lane: Philox4x32-10 as in rng.c. Each 32-bit word of the state has a
 * 64-bit lane; what stands in the upper half of a lane is never read. Words leave as pairs, low half first in memory. */
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
#pragma GCC unroll 10
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
    uint64_t low[DROPOUT_LANES], high[DROPOUT_LANES], both[2 * DROPOUT_LANES];
#pragma GCC unroll 4
    for (int chain = 0; chain < DROPOUT_CHAINS; chain++) {
        const simd_long pair01 = (c0[chain] & UINT32_MAX) | (c1[chain] << 32);
        const simd_long pair23 = (c2[chain] & UINT32_MAX) | (c3[chain] << 32);
        memcpy(low + chain * DROPOUT_HALF, &pair01, sizeof pair01);
        memcpy(high + chain * DROPOUT_HALF, &pair23, sizeof pair23);
    }
    for (int i = 0; i < DROPOUT_LANES; i++) {
        both[2 * i] = low[i];
        both[2 * i + 1] = high[i];
    }
    memcpy(draws, both, sizeof both);
}

/* draws of 24 bits are whole numbers in float, and so is the threshold: the comparison is exact. */
static inline simd_float dropout_lanes(simd_float src, const uint32_t *draws, float threshold, float factor)
{
    simd_int bits;
    memcpy(&bits, draws, sizeof bits);
    const simd_float draw = __builtin_convertvector((bits >> 8) & 0x00ffffff, simd_float);
    return simd_keep(simd_at_most(simd_set1(threshold), draw), src * simd_set1(factor));
}

static void dropout(float *dst, const float *src, ptrdiff_t count, uint64_t first, const cnn_dropout_draw *draw)
{
    enum { STEP = 4 * DROPOUT_LANES };
    const float threshold = (float)draw->threshold, factor = draw->factor;
    uint32_t draws[STEP];
    if (first % 4) { /* the rest of the first block, so that all others begin where a block does */
        const ptrdiff_t begun = (ptrdiff_t)(first % 4), rest = 4 - begun < count ? 4 - begun : count;
        dropout_draws(draws, first / 4, draw);
        simd_store_part(dst, dropout_lanes(simd_load_part(src, rest), draws + begun, threshold, factor), rest);
        dst += rest, src += rest, count -= rest, first += (uint64_t)rest;
    }
    for (ptrdiff_t i = 0; i < count; i += STEP) {
        dropout_draws(draws, (first + (uint64_t)i) / 4, draw);
        const ptrdiff_t last = count - i < STEP ? count - i : STEP;
        ptrdiff_t j = 0;
        for (; j + SIMD_WIDTH <= last; j += SIMD_WIDTH)
            simd_store(dst + i + j, dropout_lanes(simd_load(src + i + j), draws + j, threshold, factor));
        if (j < last)
            simd_store_part(dst + i + j,
                            dropout_lanes(simd_load_part(src + i + j, last - j), draws + j, threshold, factor),
                            last - j);
    }
}

#endif
