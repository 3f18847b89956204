/* Sums of products of codes and weights with AVX-512BW, by vpmaddwd: see dot_portable.h and dot_avx2.h. */
#ifndef CNN_DOT_H
#define CNN_DOT_H
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define DOT_CHANNELS 8
#define DOT_UNITS 4
#define DOT_PIXELS 6

typedef int16_t dot_code;
typedef __m512i dot_sum, dot_weight, dot_quad;

static inline dot_sum dot_zero(void) { return _mm512_setzero_si512(); }
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
static inline void dot_store(int32_t *p, dot_sum sum)
{
    const __m512i both = _mm512_add_epi32(sum, _mm512_shuffle_epi32(sum, _MM_PERM_CDAB));
    _mm256_storeu_si256((void *)p, _mm512_cvtepi64_epi32(both));
}

#endif
