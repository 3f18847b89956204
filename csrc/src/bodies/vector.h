/* What the bodies need beyond simd_*.h and GNU C vectors give on every instruction set: masks, and stores of columns. */
#ifndef CNN_BODY_VECTOR_H
#define CNN_BODY_VECTOR_H

#include <stdint.h>
#include <string.h>

typedef int32_t simd_int __attribute__((vector_size(SIMD_WIDTH * sizeof(int32_t))));

static inline simd_int simd_bits(simd_float v)
{
    simd_int bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static inline simd_float simd_of_bits(simd_int bits)
{
    simd_float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

#if !defined(SIMD_NATIVE_TURN)
/* p[i*step + o] = v[o][i] for all lanes i and o < count */
static inline void simd_store_turned(float *p, ptrdiff_t step, const simd_float *v, int count)
{
    for (int o = 0; o < count; o++)
        for (int i = 0; i < SIMD_WIDTH; i++) p[i * step + o] = v[o][i];
}
#endif

#if !defined(SIMD_NATIVE_QUAD)
/* Lane i of the result is quad[where[i] & 3], where `where` holds integers as bits. */
static inline simd_float simd_of_quad(const float *quad, simd_float where)
{
    const simd_int lanes = simd_bits(where);
    simd_float v;
    for (int i = 0; i < SIMD_WIDTH; i++) v[i] = quad[lanes[i] & 3];
    return v;
}
#endif

#if !defined(SIMD_NATIVE_MASKS)
/* A lane is all ones where a comparison holds; with NaN none does, except simd_is_nan. */
typedef simd_int simd_mask;
static inline simd_mask simd_less(simd_float a, simd_float b) { return (simd_mask)(a < b); }
static inline simd_mask simd_at_most(simd_float a, simd_float b) { return (simd_mask)(a <= b); }
static inline simd_mask simd_equal(simd_float a, simd_float b) { return (simd_mask)(a == b); }
static inline simd_mask simd_is_nan(simd_float a) { return (simd_mask)(a != a); }
static inline simd_mask simd_either(simd_mask a, simd_mask b) { return a | b; }
static inline simd_float simd_select(simd_mask mask, simd_float yes, simd_float no)
{
#if defined(SIMD_HAS_BLEND)
    return simd_blend(simd_of_bits(mask), yes, no);
#else
    return simd_of_bits((mask & simd_bits(yes)) | (~mask & simd_bits(no)));
#endif
}
/* v where the mask holds, else 0 */
static inline simd_float simd_keep(simd_mask mask, simd_float v) { return simd_of_bits(mask & simd_bits(v)); }
/* The lanes where the mask holds, side by side; up to a whole vector is written. Returns their number. */
static inline ptrdiff_t simd_pack(float *p, simd_mask mask, simd_float v)
{
    ptrdiff_t count = 0;
    for (int i = 0; i < SIMD_WIDTH; i++) {
        p[count] = v[i];
        count += mask[i] & 1;
    }
    return count;
}
#endif

#ifndef SIMD_NATIVE_TRANSPOSE
/* Perfect shuffles: after log2(SIMD_WIDTH) rounds of interleaving row i with row i + SIMD_WIDTH / 2, rows are columns. */
static inline void simd_transpose(simd_float block[SIMD_WIDTH])
{
    enum { HALF = SIMD_WIDTH / 2 };
    int32_t low[SIMD_WIDTH], high[SIMD_WIDTH];
    for (int i = 0; i < SIMD_WIDTH; i++) {
        low[i] = i / 2 + i % 2 * SIMD_WIDTH;
        high[i] = low[i] + HALF;
    }
#pragma GCC unroll 4
    for (int width = 1; width < SIMD_WIDTH; width *= 2) {
        simd_float next[SIMD_WIDTH];
#pragma GCC unroll 16
        for (int i = 0; i < HALF; i++) {
            next[2 * i] = simd_permute2(block[i], block[i + HALF], low);
            next[2 * i + 1] = simd_permute2(block[i], block[i + HALF], high);
        }
#pragma GCC unroll 16
        for (int i = 0; i < SIMD_WIDTH; i++) block[i] = next[i];
    }
}
#endif

#endif
