/* AVX-512F behind the names that the bodies use. A group is CNN_PANEL = 16 columns: one vector. */
#ifndef CNN_SIMD_H
#define CNN_SIMD_H
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "arch/tiles.h"
#include "arch/turn_avx.h"

#define SIMD_WIDTH AVX512_WIDTH
#define SIMD_TILE_ROWS AVX512_TILE_ROWS
#define SIMD_TILE_GROUPS AVX512_TILE_GROUPS
#define SIMD_FMA_CHAINS 16

typedef __m512 simd_float;

static inline simd_float simd_zero(void) { return _mm512_setzero_ps(); }
static inline simd_float simd_set1(float x) { return _mm512_set1_ps(x); }
static inline simd_float simd_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void simd_store(float *p, simd_float v) { _mm512_storeu_ps(p, v); }
static inline simd_float simd_add(simd_float a, simd_float b) { return _mm512_add_ps(a, b); }
/* NaN in b wins: maxps returns its second operand when either is NaN. */
static inline simd_float simd_max(simd_float a, simd_float b) { return _mm512_max_ps(a, b); }
static inline simd_float simd_min(simd_float a, simd_float b) { return _mm512_min_ps(a, b); }
static inline simd_float simd_fma(simd_float a, simd_float b, simd_float c) { return _mm512_fmadd_ps(a, b, c); }
static inline simd_float simd_sqrt(simd_float a) { return _mm512_sqrt_ps(a); }

/* The first `count` lanes; 0 <= count, lanes from SIMD_WIDTH up are ignored. */
static inline __mmask16 simd_lanes(ptrdiff_t count)
{
    return count >= SIMD_WIDTH ? (__mmask16)0xFFFF : count <= 0 ? (__mmask16)0 : (__mmask16)((1u << count) - 1u);
}
static inline simd_float simd_load_part(const float *p, ptrdiff_t count)
{
    return _mm512_maskz_loadu_ps(simd_lanes(count), p);
}
static inline void simd_store_part(float *p, simd_float v, ptrdiff_t count)
{
    _mm512_mask_storeu_ps(p, simd_lanes(count), v);
}

/* Comparisons give mask registers; with NaN they are false, except simd_is_nan. */
#define SIMD_NATIVE_MASKS
typedef __mmask16 simd_mask;
static inline simd_mask simd_less(simd_float a, simd_float b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
static inline simd_mask simd_at_most(simd_float a, simd_float b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
static inline simd_mask simd_equal(simd_float a, simd_float b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
static inline simd_mask simd_is_nan(simd_float a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
static inline simd_mask simd_either(simd_mask a, simd_mask b) { return (simd_mask)(a | b); }
static inline simd_float simd_select(simd_mask mask, simd_float yes, simd_float no)
{
    return _mm512_mask_blend_ps(mask, no, yes);
}
static inline simd_float simd_keep(simd_mask mask, simd_float v) { return _mm512_maskz_mov_ps(mask, v); }
/* The lanes where the mask holds, side by side; a whole vector is written. Returns their number. */
static inline ptrdiff_t simd_pack(float *p, simd_mask mask, simd_float v)
{
    _mm512_storeu_ps(p, _mm512_maskz_compress_ps(mask, v));
    return __builtin_popcount(mask);
}

/* Lane i of the result is lane index[i] of a and b end to end; 0 <= index < 2 * SIMD_WIDTH */
static inline simd_float simd_permute2(simd_float a, simd_float b, const int32_t index[SIMD_WIDTH])
{
    return _mm512_permutex2var_ps(a, _mm512_loadu_si512(index), b);
}
/* Lane i of the result is quad[where[i] & 3], where `where` holds integers as bits. */
#define SIMD_NATIVE_QUAD
static inline simd_float simd_of_quad(const float *quad, simd_float where)
{
    return _mm512_permutevar_ps(_mm512_broadcast_f32x4(_mm_loadu_ps(quad)), _mm512_castps_si512(where));
}
/* p[i*step + o] = v[o][i] for all lanes i and o < count <= 6, which is known when compiled */
#define SIMD_NATIVE_TURN
static inline __attribute__((always_inline)) void simd_store_turned(float *p, ptrdiff_t step, const simd_float *v,
                                                                    const int count)
{
    __m256 low[6], high[6];
#pragma GCC unroll 6
    for (int o = 0; o < count; o++) {
        low[o] = _mm512_castps512_ps256(v[o]);
        high[o] = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v[o]), 1));
    }
    turn_store(p, step, low, count);
    turn_store(p + 8 * step, step, high, count);
}
/* The first `count` bytes as numbers, zero behind them, and back: numbers are whole, 0 to 255 */
static inline simd_float simd_load_bytes(const uint8_t *p, ptrdiff_t count)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(simd_lanes(count), p)));
}
static inline void simd_store_bytes(uint8_t *p, simd_float v, ptrdiff_t count)
{
    _mm512_mask_cvtepi32_storeu_epi8(p, simd_lanes(count), _mm512_cvtps_epi32(v));
}

/* Products of the low halves of 64-bit lanes */
typedef uint64_t simd_long __attribute__((vector_size(64)));
static inline simd_long simd_multiply_low(simd_long a, simd_long b)
{
    return (simd_long)_mm512_mul_epu32((__m512i)a, (__m512i)b);
}

/* The first and the second half of the lanes in double */
typedef double simd_double __attribute__((vector_size(64)));
static inline simd_double simd_low(simd_float v) { return (simd_double)_mm512_cvtps_pd(_mm512_castps512_ps256(v)); }
static inline simd_double simd_high(simd_float v) { return (simd_double)_mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1)); }

#endif
