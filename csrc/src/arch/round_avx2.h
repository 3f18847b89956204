/* From sums to codes with AVX2: see bodies/int8_round.h. Eight sums are a vector, four vectors become 32 codes. */
#ifndef CNN_ROUND_H
#define CNN_ROUND_H
#include <immintrin.h>

#include "bodies/int8_round.h"

static inline __m256i round_short(__m256i sum, const rounding *how, int at)
{
    const __m256i zero = _mm256_setzero_si256();
    const __m256i bits = _mm256_loadu_si256((const void *)(how->bits + at));
    const __m256i shifts = _mm256_loadu_si256((const void *)(how->shifts + at));
    /* minus one where the bit is set */
    const __m256i odd = _mm256_cmpgt_epi32(_mm256_and_si256(sum, bits), zero);
    return _mm256_srav_epi32(_mm256_sub_epi32(sum, odd), shifts);
}

/* Products are cut off at 16 bits once they are rounded: codes are within. */
static __attribute__((noinline)) __m256i round_long(const int32_t *sums, const rounding *how, int at)
{
    int32_t rounded_sums[8];
    for (int i = 0; i < 8; i++) {
        const int64_t product = rounded((int64_t)sums[i] * how->multipliers[at + i], how->shifts[at + i]);
        rounded_sums[i] = (int32_t)(product < INT16_MIN ? INT16_MIN : product > INT16_MAX ? INT16_MAX : product);
    }
    return _mm256_loadu_si256((const void *)rounded_sums);
}

/* Codes of four vectors, one behind the other */
static inline __m256i round_pack(const __m256i v[4], const cnn_code_range *range)
{
    const __m256i zero = _mm256_set1_epi16((int16_t)range->zero);
    const __m256i low = _mm256_adds_epi16(_mm256_packs_epi32(v[0], v[1]), zero);
    const __m256i high = _mm256_adds_epi16(_mm256_packs_epi32(v[2], v[3]), zero);
    __m256i codes = _mm256_packus_epi16(low, high);
    codes = _mm256_max_epu8(codes, _mm256_set1_epi8((char)range->low));
    codes = _mm256_min_epu8(codes, _mm256_set1_epi8((char)range->high));
    return _mm256_permutevar8x32_epi32(codes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* Units of sums that make a vector */
enum { ROUND_UNITS = 2 };

/* round_tile() of sums that are still in registers. */
static inline __attribute__((always_inline)) void round_block(uint8_t *dst, ptrdiff_t dst_pixel,
                                                              dot_sum sum[DOT_PIXELS][DOT_UNITS], const rounding *how,
                                                              int within, int channels, const int units,
                                                              const int pixels)
{
    __m256i v[DOT_PIXELS + 3];
    (void)units;
#pragma GCC unroll 8
    for (int p = 0; p < (pixels + 3) / 4 * 4; p++) {
        if (p >= pixels) {
            v[p] = _mm256_setzero_si256();
            continue;
        }
        const __m256i pairs = _mm256_hadd_epi32(sum[p][0], sum[p][1]);
        v[p] = round_short(_mm256_permute4x64_epi64(pairs, 0xD8), how, within);
    }
#pragma GCC unroll 2
    for (int p = 0; p < pixels; p += 4) {
        const __m256i codes = round_pack(v + p, &how->range);
        if (channels < 8) {
            uint8_t rows[4][8];
            _mm256_storeu_si256((void *)rows, codes);
            for (int i = 0; i < 4 && p + i < pixels; i++) memcpy(dst + (p + i) * dst_pixel, rows[i], (size_t)channels);
            continue;
        }
        const int64_t rows[4] = {_mm256_extract_epi64(codes, 0), _mm256_extract_epi64(codes, 1),
                                 _mm256_extract_epi64(codes, 2), _mm256_extract_epi64(codes, 3)};
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            if (p + i < pixels) memcpy(dst + (p + i) * dst_pixel, &rows[i], sizeof rows[i]);
    }
}

static inline __m256i round_eight(const int32_t *sums, const rounding *how, int at)
{
    return how->is_short ? round_short(_mm256_loadu_si256((const void *)sums), how, at) : round_long(sums, how, at);
}

static void round_tile(uint8_t *restrict dst, ptrdiff_t dst_pixel, const int32_t *restrict sums, ptrdiff_t sums_pixel,
                       ptrdiff_t pixels, int channels, const rounding *restrict how, int first)
{
    enum { WIDTH = 8 };
    int c = 0;
    for (; c + CNN_PANEL <= channels; c += CNN_PANEL)
        for (ptrdiff_t p = 0; p < pixels; p += 2) {
            const int32_t *from = sums + p * sums_pixel + c, *next = from + (p + 1 < pixels ? sums_pixel : 0);
            const __m256i v[4] = {round_eight(from, how, first + c), round_eight(from + WIDTH, how, first + c + WIDTH),
                                  round_eight(next, how, first + c), round_eight(next + WIDTH, how, first + c + WIDTH)};
            const __m256i codes = round_pack(v, &how->range);
            uint8_t *to = dst + p * dst_pixel + c;
            _mm_storeu_si128((void *)to, _mm256_castsi256_si128(codes));
            if (p + 1 < pixels) _mm_storeu_si128((void *)(to + dst_pixel), _mm256_extracti128_si256(codes, 1));
        }
    for (; c < channels; c += WIDTH) {
        const int count = channels - c < WIDTH ? channels - c : WIDTH, at = first + c;
        for (ptrdiff_t p = 0; p < pixels; p += 4) {
            const int together = pixels - p < 4 ? (int)(pixels - p) : 4;
            __m256i v[4];
            uint8_t codes[4][WIDTH];
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                const int32_t *from = sums + (p + (i < together ? i : 0)) * sums_pixel + c;
                v[i] = round_eight(from, how, at);
            }
            _mm256_storeu_si256((void *)codes, round_pack(v, &how->range));
            uint8_t *to = dst + p * dst_pixel + c;
            for (int i = 0; i < together; i++, to += dst_pixel)
                if (count == WIDTH)
                    memcpy(to, codes[i], WIDTH);
                else
                    memcpy(to, codes[i], (size_t)count);
        }
    }
}

#endif
