/* Advanced SIMD of aarch64 behind the names that the bodies use. A group is CNN_PANEL = 16 columns: four vectors. */
#ifndef CNN_SIMD_H
#define CNN_SIMD_H
#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

#include "arch/tiles.h"

#define SIMD_WIDTH NEON_WIDTH
#define SIMD_TILE_ROWS NEON_TILE_ROWS
#define SIMD_TILE_GROUPS NEON_TILE_GROUPS
#define SIMD_FMA_CHAINS 16

typedef float32x4_t simd_float;

static inline simd_float simd_zero(void) { return vdupq_n_f32(0.0f); }
static inline simd_float simd_set1(float x) { return vdupq_n_f32(x); }
static inline simd_float simd_load(const float *p) { return vld1q_f32(p); }
static inline void simd_store(float *p, simd_float v) { vst1q_f32(p, v); }
static inline simd_float simd_add(simd_float a, simd_float b) { return vaddq_f32(a, b); }
/* NaN on either side wins. */
static inline simd_float simd_max(simd_float a, simd_float b) { return vmaxq_f32(a, b); }
static inline simd_float simd_min(simd_float a, simd_float b) { return vminq_f32(a, b); }
static inline simd_float simd_fma(simd_float a, simd_float b, simd_float c) { return vfmaq_f32(c, a, b); }
static inline simd_float simd_sqrt(simd_float a) { return vsqrtq_f32(a); }
static inline simd_float simd_load_part(const float *p, ptrdiff_t count)
{
    float lanes[SIMD_WIDTH] = {0};
    for (ptrdiff_t i = 0; i < SIMD_WIDTH && i < count; i++) lanes[i] = p[i];
    return vld1q_f32(lanes);
}
static inline void simd_store_part(float *p, simd_float v, ptrdiff_t count)
{
    float lanes[SIMD_WIDTH];
    vst1q_f32(lanes, v);
    for (ptrdiff_t i = 0; i < SIMD_WIDTH && i < count; i++) p[i] = lanes[i];
}

/* Lane i of the result is lane index[i] of a and b end to end; 0 <= index < 2 * SIMD_WIDTH */
static inline simd_float simd_permute2(simd_float a, simd_float b, const int32_t index[SIMD_WIDTH])
{
    float both[2 * SIMD_WIDTH], lanes[SIMD_WIDTH];
    simd_store(both, a);
    simd_store(both + SIMD_WIDTH, b);
    for (int i = 0; i < SIMD_WIDTH; i++) lanes[i] = both[index[i]];
    return simd_load(lanes);
}
/* The first `count` bytes as numbers, zero behind them, and back: numbers are whole, 0 to 255 */
static inline simd_float simd_load_bytes(const uint8_t *p, ptrdiff_t count)
{
    float lanes[SIMD_WIDTH] = {0};
    for (ptrdiff_t i = 0; i < SIMD_WIDTH && i < count; i++) lanes[i] = (float)p[i];
    return simd_load(lanes);
}
static inline void simd_store_bytes(uint8_t *p, simd_float v, ptrdiff_t count)
{
    float lanes[SIMD_WIDTH];
    simd_store(lanes, v);
    for (ptrdiff_t i = 0; i < SIMD_WIDTH && i < count; i++) p[i] = (uint8_t)lanes[i];
}

/* Products of the low halves of 64-bit lanes */
typedef uint64_t simd_long __attribute__((vector_size(16)));
static inline simd_long simd_multiply_low(simd_long a, simd_long b)
{
    return (simd_long)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b));
}

/* The first and the second half of the lanes in double */
typedef double simd_double __attribute__((vector_size(16)));
static inline simd_double simd_low(simd_float v) { return (simd_double)vcvt_f64_f32(vget_low_f32(v)); }
static inline simd_double simd_high(simd_float v) { return (simd_double)vcvt_high_f64_f32(v); }

/* Lane i of the result is quad[where[i] & 3], where `where` holds integers as bits. */
#define SIMD_NATIVE_QUAD
static inline simd_float simd_of_quad(const float *quad, simd_float where)
{
    const uint32x4_t lanes = vandq_u32(vreinterpretq_u32_f32(where), vdupq_n_u32(3));
    const uint32x4_t bytes = vmlaq_u32(vdupq_n_u32(0x03020100), lanes, vdupq_n_u32(0x04040404));
    return vreinterpretq_f32_u8(vqtbl1q_u8(vreinterpretq_u8_f32(vld1q_f32(quad)), vreinterpretq_u8_u32(bytes)));
}

#endif
