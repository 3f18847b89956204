/* Sums of products of codes and weights with AVX-512BW, by vpmaddwd: see dot_portable.h and dot_avx2.h. */
#ifndef CNN_DOT_H
#define CNN_DOT_H
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define DOT_CHANNELS 8
#define DOT_UNITS 4
#define DOT_PIXELS 8
#define DOT_SUMS 24
#define ROUND_NATIVE "arch/round_avx512.h"
#define DOT_NATIVE_DEPTHWISE "arch/depthwise_avx2.h"

typedef int16_t dot_code;
typedef __m512i dot_sum, dot_weight, dot_quad;

static inline dot_sum dot_start(const int32_t *p) { return _mm512_cvtepu32_epi64(_mm256_loadu_si256((const void *)p)); }
static inline dot_weight dot_weights(const int8_t *p)
{
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const void *)p));
}
static inline dot_quad dot_codes(const dot_code *p)
{
    int64_t four;
    memcpy(&four, p, sizeof four);
    return _mm512_set1_epi64(four);
}
static inline dot_sum dot_step(dot_sum sum, dot_quad x, const dot_weight *w)
{
    return _mm512_add_epi32(sum, _mm512_madd_epi16(x, *w));
}
static inline __m256i dot_pairs(dot_sum sum)
{
    return _mm512_cvtepi64_epi32(_mm512_add_epi32(sum, _mm512_shuffle_epi32(sum, _MM_PERM_CDAB)));
}
static inline void dot_store(int32_t *p, dot_sum sum) { _mm256_storeu_si256((void *)p, dot_pairs(sum)); }

#define PAIR_CHANNELS 16
#define PAIR_TILES 6 /* that many sums share each load of the weights */

typedef __m512i pair_sum, pair_weights;

static inline pair_weights pair_load(const int16_t *p) { return _mm512_loadu_si512((const void *)p); }
static inline pair_sum pair_step(pair_sum sum, const int16_t *x, const pair_weights *w)
{
    int32_t both;
    memcpy(&both, x, sizeof both);
    return _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_set1_epi32(both), *w));
}
static inline pair_sum pair_zero(void) { return _mm512_setzero_si512(); }
static inline void pair_store(int32_t *p, pair_sum sum) { _mm512_storeu_si512((void *)p, sum); }

/* The sums of a panel, side by side */
static inline __m512i dot_panel(const dot_sum *sums)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(dot_pairs(sums[0])), dot_pairs(sums[1]), 1);
}

#endif
