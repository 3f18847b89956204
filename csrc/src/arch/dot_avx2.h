/* Sums of products of codes and weights with AVX2, by vpmaddwd: see dot_portable.h. vpmaddubsw, which multiplies bytes,
 * cuts off at 2^15. A vector holds two sums of each channel: over the first and the last two of every four products. */
#ifndef CNN_DOT_H
#define CNN_DOT_H
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define DOT_CHANNELS 4
#define DOT_UNITS 2
#define DOT_PIXELS 6
#define DOT_SUMS 12
#define ROUND_NATIVE "arch/round_avx2.h"
#define DOT_NATIVE_DEPTHWISE "arch/depthwise_avx2.h"

typedef int16_t dot_code;
typedef __m256i dot_sum, dot_weight, dot_quad;

static inline dot_sum dot_start(const int32_t *p) { return _mm256_cvtepu32_epi64(_mm_loadu_si128((const void *)p)); }
static inline dot_weight dot_weights(const int8_t *p) { return _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)p)); }
static inline dot_quad dot_codes(const dot_code *p)
{
    int64_t four;
    memcpy(&four, p, sizeof four);
    return _mm256_set1_epi64x(four);
}
static inline dot_sum dot_step(dot_sum sum, dot_quad x, const dot_weight *w)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(x, *w));
}
static inline void dot_store(int32_t *p, dot_sum sum)
{
    const __m256i both = _mm256_add_epi32(sum, _mm256_shuffle_epi32(sum, 0xB1));
    const __m256i even = _mm256_permutevar8x32_epi32(both, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6));
    _mm_storeu_si128((void *)p, _mm256_castsi256_si128(even));
}

#define PAIR_CHANNELS 8
#define PAIR_TILES 5 /* by two: ten sums, two weights, a pair and its product; with six, a sum of 16 registers spills */

typedef __m256i pair_sum, pair_weights;

static inline pair_weights pair_load(const int16_t *p) { return _mm256_loadu_si256((const void *)p); }
static inline pair_sum pair_step(pair_sum sum, const int16_t *x, const pair_weights *w)
{
    int32_t both;
    memcpy(&both, x, sizeof both);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_set1_epi32(both), *w));
}
static inline pair_sum pair_zero(void) { return _mm256_setzero_si256(); }
static inline void pair_store(int32_t *p, pair_sum sum) { _mm256_storeu_si256((void *)p, sum); }

#endif
