/* What the processor can do at best, for benchmarks to hold kernels against: FMAs on registers, reads of memory. */
#ifndef CNN_BODY_BURST_H
#define CNN_BODY_BURST_H

#include "bodies/vector.h"
#include "kernels.h"

/* Independent FMA chains in registers: the peak that GFLOP/s are held against. 2 FLOPs per lane, chain and round. */
static void fma_burst(int64_t rounds, float *sink)
{
    simd_float chain[SIMD_FMA_CHAINS];
    const simd_float scale = simd_set1(0.999f), step = simd_set1(1e-3f);
#pragma GCC unroll 16
    for (int i = 0; i < SIMD_FMA_CHAINS; i++) chain[i] = simd_set1(1.0f + (float)i);
    for (int64_t r = 0; r < rounds; r++) {
#pragma GCC unroll 16
        for (int i = 0; i < SIMD_FMA_CHAINS; i++) chain[i] = simd_fma(chain[i], scale, step);
    }
    simd_float total = simd_zero();
#pragma GCC unroll 16
    for (int i = 0; i < SIMD_FMA_CHAINS; i++) total = simd_add(total, chain[i]);
    float lanes[SIMD_WIDTH];
    simd_store(lanes, total);
    *sink += lanes[0];
}

/* One pass after the other over whole groups of CNN_READ_STEP elements, front to back: the order that hardware fetches
 * ahead best. The sums keep the compiler from leaving reads out. */
static void read_burst(const float *src, ptrdiff_t count, int64_t rounds, float *sink)
{
    enum { VECTORS = CNN_READ_STEP / SIMD_WIDTH };
    simd_float sum[VECTORS];
#pragma GCC unroll 16
    for (int i = 0; i < VECTORS; i++) sum[i] = simd_zero();
    for (int64_t r = 0; r < rounds; r++)
        for (ptrdiff_t at = 0; at + CNN_READ_STEP <= count; at += CNN_READ_STEP)
#pragma GCC unroll 16
            for (int i = 0; i < VECTORS; i++) sum[i] = simd_add(sum[i], simd_load(src + at + i * SIMD_WIDTH));
    simd_float total = simd_zero();
#pragma GCC unroll 16
    for (int i = 0; i < VECTORS; i++) total = simd_add(total, sum[i]);
    float lanes[SIMD_WIDTH];
    simd_store(lanes, total);
    *sink += lanes[0];
}

#endif
