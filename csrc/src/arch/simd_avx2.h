/* AVX2 + FMA behind the names that the bodies use. A group is CNN_PANEL = 16 columns: two vectors. */
#ifndef CNN_SIMD_H
#define CNN_SIMD_H
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "arch/tiles.h"
#include "arch/turn_avx.h"

#define SIMD_WIDTH AVX2_WIDTH
#define SIMD_TILE_ROWS AVX2_TILE_ROWS
#define SIMD_TILE_GROUPS AVX2_TILE_GROUPS
#define SIMD_FMA_CHAINS 12

typedef __m256 simd_float;

static inline simd_float simd_zero(void) { return _mm256_setzero_ps(); }
static inline simd_float simd_set1(float x) { return _mm256_set1_ps(x); }
static inline simd_float simd_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void simd_store(float *p, simd_float v) { _mm256_storeu_ps(p, v); }
static inline simd_float simd_add(simd_float a, simd_float b) { return _mm256_add_ps(a, b); }
/* NaN in b wins: maxps returns its second operand when either is NaN. */
static inline simd_float simd_max(simd_float a, simd_float b) { return _mm256_max_ps(a, b); }
static inline simd_float simd_min(simd_float a, simd_float b) { return _mm256_min_ps(a, b); }
static inline simd_float simd_fma(simd_float a, simd_float b, simd_float c) { return _mm256_fmadd_ps(a, b, c); }
static inline simd_float simd_sqrt(simd_float a) { return _mm256_sqrt_ps(a); }

/* The first `count` lanes; 0 <= count, lanes from SIMD_WIDTH up are ignored. */
static inline __m256i simd_lanes(ptrdiff_t count)
{
    const int lanes = count < 0 ? 0 : count > SIMD_WIDTH ? SIMD_WIDTH : (int)count;
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline simd_float simd_load_part(const float *p, ptrdiff_t count)
{
    return _mm256_maskload_ps(p, simd_lanes(count));
}
static inline void simd_store_part(float *p, simd_float v, ptrdiff_t count)
{
    _mm256_maskstore_ps(p, simd_lanes(count), v);
}

/* Lane i of the result is lane index[i] of a and b end to end; 0 <= index < 2 * SIMD_WIDTH */
static inline simd_float simd_permute2(simd_float a, simd_float b, const int32_t index[SIMD_WIDTH])
{
    const __m256i lanes = _mm256_loadu_si256((const __m256i *)index);
    const __m256 in_b = _mm256_castsi256_ps(_mm256_slli_epi32(lanes, 28)); /* 8 and above: the sign */
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(a, lanes), _mm256_permutevar8x32_ps(b, lanes), in_b);
}
/* Rows become columns: pairs, then fours within the halves, then the halves. */
#define SIMD_NATIVE_TRANSPOSE
static inline __attribute__((always_inline)) void simd_transpose(simd_float block[SIMD_WIDTH])
{
    __m256 pairs[8], fours[8];
    for (int i = 0; i < 4; i++) {
        pairs[2 * i] = _mm256_unpacklo_ps(block[2 * i], block[2 * i + 1]);
        pairs[2 * i + 1] = _mm256_unpackhi_ps(block[2 * i], block[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++)
        for (int half = 0; half < 2; half++) {
            const __m256 low = pairs[4 * i + half], high = pairs[4 * i + 2 + half];
            fours[4 * i + 2 * half] = _mm256_shuffle_ps(low, high, 0x44);
            fours[4 * i + 2 * half + 1] = _mm256_shuffle_ps(low, high, 0xee);
        }
    for (int i = 0; i < 4; i++) {
        block[i] = _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x20);
        block[i + 4] = _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x31);
    }
}
/* yes where the sign of the mask is set, else no */
#define SIMD_HAS_BLEND
static inline simd_float simd_blend(simd_float mask, simd_float yes, simd_float no)
{
    return _mm256_blendv_ps(no, yes, mask);
}
/* Lane i of the result is quad[where[i] & 3], where `where` holds integers as bits. */
#define SIMD_NATIVE_QUAD
static inline simd_float simd_of_quad(const float *quad, simd_float where)
{
    return _mm256_permutevar_ps(_mm256_broadcast_ps((const __m128 *)quad), _mm256_castps_si256(where));
}
/* p[i*step + o] = v[o][i] for all lanes i and o < count <= 6, which is known when compiled */
#define SIMD_NATIVE_TURN
static inline __attribute__((always_inline)) void simd_store_turned(float *p, ptrdiff_t step, const simd_float *v,
                                                                    const int count)
{
    turn_store(p, step, v, count);
}
/* The first `count` bytes as numbers, zero behind them, and back: numbers are whole, 0 to 255 */
static inline simd_float simd_load_bytes(const uint8_t *p, ptrdiff_t count)
{
    uint64_t bytes = 0;
    if (count >= SIMD_WIDTH)
        memcpy(&bytes, p, sizeof bytes);
    else
        for (ptrdiff_t i = 0; i < count; i++) bytes |= (uint64_t)p[i] << (8 * i);
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((int64_t)bytes)));
}
static inline void simd_store_bytes(uint8_t *p, simd_float v, ptrdiff_t count)
{
    const __m256i whole = _mm256_cvtps_epi32(v);
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
    uint64_t bytes = (uint64_t)_mm_cvtsi128_si64(_mm_packus_epi16(words, words));
    if (count >= SIMD_WIDTH)
        memcpy(p, &bytes, sizeof bytes);
    else
        for (ptrdiff_t i = 0; i < count; i++, bytes >>= 8) p[i] = (uint8_t)bytes;
}

/* Products of the low halves of 64-bit lanes */
typedef uint64_t simd_long __attribute__((vector_size(32)));
static inline simd_long simd_multiply_low(simd_long a, simd_long b)
{
    return (simd_long)_mm256_mul_epu32((__m256i)a, (__m256i)b);
}

/* The first and the second half of the lanes in double */
typedef double simd_double __attribute__((vector_size(32)));
static inline simd_double simd_low(simd_float v) { return (simd_double)_mm256_cvtps_pd(_mm256_castps256_ps128(v)); }
static inline simd_double simd_high(simd_float v) { return (simd_double)_mm256_cvtps_pd(_mm256_extractf128_ps(v, 1)); }

#endif
