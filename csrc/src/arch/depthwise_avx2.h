/* A filter for each channel with AVX2, of codes of 16 bits: pairs of taps are interleaved, multiplied and added. Of the 16
 * channels of a panel, the first vector of sums has 0 ... 3 and 8 ... 11, the second the others; weights and the numbers of
 * rounding are brought into that order once for a row, and packing leads back out of it. */
#ifndef CNN_DEPTHWISE_AVX2_H
#define CNN_DEPTHWISE_AVX2_H
#include <immintrin.h>

#include "bodies/int8_dot.h"

enum { DEPTHWISE_PAIRS = 32 };

static inline __m256i depthwise_half(const int32_t *at, int half)
{
    const __m128i low = _mm_loadu_si128((const void *)(at + 4 * half));
    const __m128i high = _mm_loadu_si128((const void *)(at + 8 + 4 * half));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

/* What does not change in a row: how 16 sums become codes, in the order of the sums, and the weights in pairs */
typedef struct depthwise_panel {
    rounding how;
    __m256i starts[2], bits[2], shifts[2], weights[DEPTHWISE_PAIRS][2];
    int count;
} depthwise_panel;

static void depthwise_prepare(depthwise_panel *panel, const cnn_dot_depthwise *d, ptrdiff_t first)
{
    const ptrdiff_t bytes = (d->taps + CNN_QUAD - 1) / CNN_QUAD * CNN_QUAD_BYTES;
    const int8_t *weights = d->weights + first / CNN_PANEL * bytes;
    panel->count = (int)cnn_min(CNN_PANEL, d->channels - first);
    rounding_of(&panel->how, d->bias + first, d->multipliers + first, d->shifts + first, panel->count, &d->range);
    for (int half = 0; half < 2; half++) {
        panel->starts[half] = depthwise_half(panel->how.starts, half);
        panel->shifts[half] = depthwise_half(panel->how.shifts, half);
        panel->bits[half] = depthwise_half(panel->how.is_short ? panel->how.bits : panel->how.shifts, half);
        for (ptrdiff_t pair = 0; pair < (d->taps + 1) / 2; pair++) {
            int32_t both[CNN_PANEL];
            for (int c = 0; c < CNN_PANEL; c++) {
                const int8_t *w = weights + pair / 2 * CNN_QUAD_BYTES + c * CNN_QUAD + pair % 2 * 2;
                both[c] = (int32_t)((uint32_t)(uint16_t)w[0] | (uint32_t)(uint16_t)w[1] << 16);
            }
            panel->weights[pair][half] = depthwise_half(both, half);
        }
    }
}

static inline void depthwise_round(uint8_t *dst, const __m256i sums[2], const depthwise_panel *panel)
{
    const cnn_code_range *range = &panel->how.range;
    __m256i v[2];
    if (!panel->how.is_short) {
        int32_t halves[2][8], plain[CNN_PANEL];
        for (int half = 0; half < 2; half++) _mm256_storeu_si256((void *)halves[half], sums[half]);
        for (int c = 0; c < CNN_PANEL; c++) plain[c] = halves[c / 4 % 2][c / 8 * 4 + c % 4];
        round_tile(dst, 0, plain, 0, 1, panel->count, &panel->how, 0);
        return;
    }
    for (int half = 0; half < 2; half++) {
        const __m256i odd = _mm256_cmpgt_epi32(_mm256_and_si256(sums[half], panel->bits[half]), _mm256_setzero_si256());
        v[half] = _mm256_srav_epi32(_mm256_sub_epi32(sums[half], odd), panel->shifts[half]);
    }
    const __m256i words = _mm256_adds_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_set1_epi16((int16_t)range->zero));
    __m128i codes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    codes = _mm_max_epu8(codes, _mm_set1_epi8((char)range->low));
    codes = _mm_min_epu8(codes, _mm_set1_epi8((char)range->high));
    if (panel->count == CNN_PANEL) {
        _mm_storeu_si128((void *)dst, codes);
        return;
    }
    uint8_t all[CNN_PANEL];
    _mm_storeu_si128((void *)all, codes);
    memcpy(dst, all, (size_t)panel->count);
}

static void dot_depthwise(const cnn_dot_depthwise *d)
{
    depthwise_panel panel;
    if (d->taps > 2 * DEPTHWISE_PAIRS) {
        depthwise_plain(d);
        return;
    }
    for (ptrdiff_t first = 0; first < d->channels; first += CNN_PANEL) {
        depthwise_prepare(&panel, d, first);
        for (ptrdiff_t p = 0; p < d->pixels; p++) {
            const int16_t *src = (const int16_t *)d->src + p * d->src_pixel + first;
            __m256i sums[2] = {panel.starts[0], panel.starts[1]};
            for (ptrdiff_t t = 0; t < d->taps; t += 2) {
                const int16_t *one = src + d->offsets[t], *other = src + d->offsets[cnn_min(t + 1, d->taps - 1)];
                const __m256i a = _mm256_loadu_si256((const void *)one), b = _mm256_loadu_si256((const void *)other);
                const __m256i *w = panel.weights[t / 2];
                sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), w[0]));
                sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), w[1]));
            }
            depthwise_round(d->dst + p * d->channels + first, sums, &panel);
        }
    }
}

#endif
