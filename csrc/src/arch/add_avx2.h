/* Sums of codes with AVX2: see add_codes() in bodies/int8.h. */
#ifndef CNN_ADD_H
#define CNN_ADD_H
#include <immintrin.h>

#include "kernels.h"

/* Sums of products of pairs, which start with all but one of a half of 2^shift */
static inline __m256i add_round(__m256i pairs, __m256i multipliers, __m256i start, __m256i bits, __m128i shift)
{
    const __m256i sum = _mm256_add_epi32(start, _mm256_madd_epi16(pairs, multipliers));
    const __m256i odd = _mm256_cmpgt_epi32(_mm256_and_si256(sum, bits), _mm256_setzero_si256());
    return _mm256_sra_epi32(_mm256_sub_epi32(sum, odd), shift);
}

/* add_codes() of multipliers of 15 bits: how many elements are done, all but less than a vector. */
static ptrdiff_t add_native(uint8_t *dst, const uint8_t *a, const uint8_t *b, ptrdiff_t count,
                            const cnn_add_int8_geometry *g)
{
    enum { WIDTH = sizeof(__m256i) };
    const int32_t power = (int32_t)1 << g->shift, half = (power >> 1) - (power > 1);
    const int32_t none = (int32_t)(g->zero_a * g->multiplier_a + g->zero_b * g->multiplier_b);
    const __m256i multipliers = _mm256_set1_epi32((int32_t)(g->multiplier_a | g->multiplier_b << 16));
    const __m256i start = _mm256_set1_epi32(half - none), bits = _mm256_set1_epi32(power > 1 ? power : 0);
    const __m256i zero = _mm256_set1_epi16((int16_t)g->zero_dst), nothing = _mm256_setzero_si256();
    const __m128i shift = _mm_cvtsi32_si128((int32_t)g->shift);
    ptrdiff_t i = 0;
    for (; i + WIDTH <= count; i += WIDTH) {
        const __m256i x = _mm256_loadu_si256((const void *)(a + i)), y = _mm256_loadu_si256((const void *)(b + i));
        const __m256i x_low = _mm256_unpacklo_epi8(x, nothing), x_high = _mm256_unpackhi_epi8(x, nothing);
        const __m256i y_low = _mm256_unpacklo_epi8(y, nothing), y_high = _mm256_unpackhi_epi8(y, nothing);
        const __m256i low =
            _mm256_packs_epi32(add_round(_mm256_unpacklo_epi16(x_low, y_low), multipliers, start, bits, shift),
                               add_round(_mm256_unpackhi_epi16(x_low, y_low), multipliers, start, bits, shift));
        const __m256i high =
            _mm256_packs_epi32(add_round(_mm256_unpacklo_epi16(x_high, y_high), multipliers, start, bits, shift),
                               add_round(_mm256_unpackhi_epi16(x_high, y_high), multipliers, start, bits, shift));
        __m256i codes = _mm256_packus_epi16(_mm256_adds_epi16(low, zero), _mm256_adds_epi16(high, zero));
        codes = _mm256_max_epu8(codes, _mm256_set1_epi8((char)g->low));
        codes = _mm256_min_epu8(codes, _mm256_set1_epi8((char)g->high));
        _mm256_storeu_si256((void *)(dst + i), codes);
    }
    return i;
}

#endif
