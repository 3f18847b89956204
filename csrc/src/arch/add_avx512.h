/* Sums of codes with AVX-512: see add_codes() in bodies/int8.h. */
#ifndef CNN_ADD_H
#define CNN_ADD_H
#include <immintrin.h>

#include "kernels.h"

/* Sums of products of pairs, which start with all but one of a half of 2^shift */
static inline __m512i add_round(__m512i pairs, __m512i multipliers, __m512i start, __m512i bits, __m128i shift)
{
    const __m512i sum = _mm512_add_epi32(start, _mm512_madd_epi16(pairs, multipliers));
    const __mmask16 odd = _mm512_test_epi32_mask(sum, bits);
    return _mm512_sra_epi32(_mm512_mask_add_epi32(sum, odd, sum, _mm512_set1_epi32(1)), shift);
}

/* add_codes() of multipliers of 15 bits: how many elements are done, all but less than a vector. */
static ptrdiff_t add_native(uint8_t *dst, const uint8_t *a, const uint8_t *b, ptrdiff_t count,
                            const cnn_add_int8_geometry *g)
{
    enum { WIDTH = sizeof(__m512i) };
    const int32_t power = (int32_t)1 << g->shift, half = (power >> 1) - (power > 1);
    const int32_t none = (int32_t)(g->zero_a * g->multiplier_a + g->zero_b * g->multiplier_b);
    const __m512i multipliers = _mm512_set1_epi32((int32_t)(g->multiplier_a | g->multiplier_b << 16));
    const __m512i start = _mm512_set1_epi32(half - none), bits = _mm512_set1_epi32(power > 1 ? power : 0);
    const __m512i zero = _mm512_set1_epi16((int16_t)g->zero_dst), nothing = _mm512_setzero_si512();
    const __m128i shift = _mm_cvtsi32_si128((int32_t)g->shift);
    ptrdiff_t i = 0;
    for (; i + WIDTH <= count; i += WIDTH) {
        const __m512i x = _mm512_loadu_si512(a + i), y = _mm512_loadu_si512(b + i);
        const __m512i x_low = _mm512_unpacklo_epi8(x, nothing), x_high = _mm512_unpackhi_epi8(x, nothing);
        const __m512i y_low = _mm512_unpacklo_epi8(y, nothing), y_high = _mm512_unpackhi_epi8(y, nothing);
        const __m512i low =
            _mm512_packs_epi32(add_round(_mm512_unpacklo_epi16(x_low, y_low), multipliers, start, bits, shift),
                               add_round(_mm512_unpackhi_epi16(x_low, y_low), multipliers, start, bits, shift));
        const __m512i high =
            _mm512_packs_epi32(add_round(_mm512_unpacklo_epi16(x_high, y_high), multipliers, start, bits, shift),
                               add_round(_mm512_unpackhi_epi16(x_high, y_high), multipliers, start, bits, shift));
        __m512i codes = _mm512_packus_epi16(_mm512_adds_epi16(low, zero), _mm512_adds_epi16(high, zero));
        codes = _mm512_max_epu8(codes, _mm512_set1_epi8((char)g->low));
        codes = _mm512_min_epu8(codes, _mm512_set1_epi8((char)g->high));
        _mm512_storeu_si512(dst + i, codes);
    }
    return i;
}

#endif
