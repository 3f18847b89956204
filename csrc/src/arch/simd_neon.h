/* Advanced SIMD of aarch64 behind the names that the bodies use. A group is CNN_PANEL = 16 columns: four vectors. */
#ifndef CNN_SIMD_H
#define CNN_SIMD_H
#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

#define SIMD_WIDTH 4
#define SIMD_TILE_ROWS 6
#define SIMD_TILE_GROUPS 1
#define SIMD_FMA_CHAINS 16

typedef float32x4_t simd_float;

static inline simd_float simd_zero(void) { return vdupq_n_f32(0.0f); }
static inline simd_float simd_set1(float x) { return vdupq_n_f32(x); }
static inline simd_float simd_load(const float *p) { return vld1q_f32(p); }
static inline void simd_store(float *p, simd_float v) { vst1q_f32(p, v); }
static inline simd_float simd_add(simd_float a, simd_float b) { return vaddq_f32(a, b); }
/* NaN on either side wins. */
static inline simd_float simd_max(simd_float a, simd_float b) { return vmaxq_f32(a, b); }
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

#endif
