/* From sums to codes with AVX-512: see bodies/int8_round.h. Sixteen sums are a vector, four vectors become 64 codes. */
#ifndef CNN_ROUND_H
#define CNN_ROUND_H
#include <immintrin.h>

#include "bodies/int8_round.h"

static inline __m512i round_short(__m512i sum, const rounding *how, int at)
{
    const __mmask16 odd = _mm512_test_epi32_mask(sum, _mm512_loadu_si512(how->bits + at));
    return _mm512_srav_epi32(_mm512_mask_add_epi32(sum, odd, sum, _mm512_set1_epi32(1)),
                             _mm512_loadu_si512(how->shifts + at));
}

/* Eight products, which are cut off at 16 bits once they are rounded: codes are within */
static inline __m512i round_products(__m512i products, __m512i shifts)
{
    const __m512i one = _mm512_set1_epi64(1), power = _mm512_sllv_epi64(one, shifts);
    const __m512i half = _mm512_srli_epi64(power, 1);
    const __mmask8 is_shifted = _mm512_test_epi64_mask(half, half);
    const __mmask8 odd = _mm512_mask_test_epi64_mask(is_shifted, products, power);
    products = _mm512_add_epi64(products, _mm512_mask_sub_epi64(half, is_shifted, half, one));
    products = _mm512_srav_epi64(_mm512_mask_add_epi64(products, odd, products, one), shifts);
    return _mm512_max_epi64(_mm512_min_epi64(products, _mm512_set1_epi64(INT16_MAX)), _mm512_set1_epi64(INT16_MIN));
}

static inline __m512i round_long(__m512i sum, const rounding *how, int at)
{
    const __m512i multipliers = _mm512_loadu_si512(how->multipliers + at),
                  shifts = _mm512_loadu_si512(how->shifts + at);
    const __m512i even =
        round_products(_mm512_mul_epi32(sum, multipliers), _mm512_and_si512(shifts, _mm512_set1_epi64(UINT32_MAX)));
    const __m512i odd = round_products(_mm512_mul_epi32(_mm512_srli_epi64(sum, 32), _mm512_srli_epi64(multipliers, 32)),
                                       _mm512_srli_epi64(shifts, 32));
    return _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
}

/* Codes of four vectors, one behind the other */
static inline __m512i round_pack(const __m512i v[4], const cnn_code_range *range)
{
    const __m512i zero = _mm512_set1_epi16((int16_t)range->zero);
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i low = _mm512_adds_epi16(_mm512_packs_epi32(v[0], v[1]), zero);
    const __m512i high = _mm512_adds_epi16(_mm512_packs_epi32(v[2], v[3]), zero);
    __m512i codes = _mm512_packus_epi16(low, high);
    codes = _mm512_max_epu8(codes, _mm512_set1_epi8((char)range->low));
    codes = _mm512_min_epu8(codes, _mm512_set1_epi8((char)range->high));
    return _mm512_permutexvar_epi32(order, codes);
}

/* Units of sums that make a panel, and these as one vector */
enum { ROUND_UNITS = CNN_PANEL / DOT_CHANNELS };

/* round_tile() of sums that are still in registers. */
static inline __attribute__((always_inline)) void round_block(uint8_t *dst, ptrdiff_t dst_pixel,
                                                              dot_sum sum[DOT_PIXELS][DOT_UNITS], const rounding *how,
                                                              int within, int channels, const int units,
                                                              const int pixels)
{
    const int panels = units / ROUND_UNITS, count = panels * pixels;
    __m512i v[DOT_SUMS + 3];
#pragma GCC unroll 32
    for (int i = 0; i < count; i++)
        v[i] = round_short(dot_panel(&sum[i / panels][i % panels * ROUND_UNITS]), how, within + i % panels * CNN_PANEL);
#pragma GCC unroll 3
    for (int i = count; i < (count + 3) / 4 * 4; i++) v[i] = _mm512_setzero_si512();
    const int missing = panels * CNN_PANEL - channels;
    const __mmask16 last = (__mmask16)(0xFFFFu >> missing);
    const bool together = missing == 0 && (panels == 4 || (4 % panels == 0 && dst_pixel == channels));
#pragma GCC unroll 8
    for (int i = 0; i < count; i += 4) {
        const __m512i codes = round_pack(v + i, &how->range);
        uint8_t *to = dst + i / panels * dst_pixel;
        if (together && i + 4 <= count) {
            _mm512_storeu_si512(to, codes);
            continue;
        }
        const __m128i parts[4] = {_mm512_castsi512_si128(codes), _mm512_extracti32x4_epi32(codes, 1),
                                  _mm512_extracti32x4_epi32(codes, 2), _mm512_extracti32x4_epi32(codes, 3)};
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++)
            if (i + j < count)
                _mm_mask_storeu_epi8(dst + (i + j) / panels * dst_pixel + (i + j) % panels * CNN_PANEL,
                                     (i + j) % panels == panels - 1 ? last : (__mmask16)0xFFFF, parts[j]);
    }
}

static void round_tile(uint8_t *restrict dst, ptrdiff_t dst_pixel, const int32_t *restrict sums, ptrdiff_t sums_pixel,
                       ptrdiff_t pixels, int channels, const rounding *restrict how, int first)
{
    const int panels = (channels + CNN_PANEL - 1) / CNN_PANEL;
    const bool whole = channels % CNN_PANEL == 0 && (panels == 4 || dst_pixel == channels);
    const __mmask16 last = (__mmask16)(0xFFFFu >> (panels * CNN_PANEL - channels));
    uint8_t *to[4] = {dst, dst, dst, dst};
    bool ends[4] = {false};
    __m512i v[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
    int filled = 0;
    for (ptrdiff_t p = 0; p < pixels; p++)
        for (int panel = 0; panel < panels; panel++) {
            const __m512i sum = _mm512_loadu_si512(sums + p * sums_pixel + panel * CNN_PANEL);
            const int at = first + panel * CNN_PANEL;
            v[filled] = how->is_short ? round_short(sum, how, at) : round_long(sum, how, at);
            to[filled] = dst + p * dst_pixel + panel * CNN_PANEL;
            ends[filled] = panel == panels - 1;
            if (++filled < 4 && (p < pixels - 1 || panel < panels - 1)) continue;
            const __m512i codes = round_pack(v, &how->range);
            if (whole && filled == 4) {
                _mm512_storeu_si512(to[0], codes);
            } else {
                const __m128i parts[4] = {_mm512_castsi512_si128(codes), _mm512_extracti32x4_epi32(codes, 1),
                                          _mm512_extracti32x4_epi32(codes, 2), _mm512_extracti32x4_epi32(codes, 3)};
                for (int i = 0; i < filled; i++)
                    _mm_mask_storeu_epi8(to[i], ends[i] ? last : (__mmask16)0xFFFF, parts[i]);
            }
            filled = 0;
        }
}

#endif
