/* AVX2 + FMA behind the names that the bodies use. A group is CNN_PANEL = 16 columns: two vectors. */
#ifndef CNN_SIMD_H
#define CNN_SIMD_H
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define SIMD_WIDTH 8
#define SIMD_TILE_ROWS 6
#define SIMD_TILE_GROUPS 1
#define SIMD_FMA_CHAINS 12

typedef __m256 simd_float;

static inline simd_float simd_zero(void) { return _mm256_setzero_ps(); }
static inline simd_float simd_set1(float x) { return _mm256_set1_ps(x); }
static inline simd_float simd_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void simd_store(float *p, simd_float v) { _mm256_storeu_ps(p, v); }
static inline simd_float simd_add(simd_float a, simd_float b) { return _mm256_add_ps(a, b); }
/* NaN in b wins: maxps returns its second operand when either is NaN. */
static inline simd_float simd_max(simd_float a, simd_float b) { return _mm256_max_ps(a, b); }
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

#endif
