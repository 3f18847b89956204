/* A filter for each channel with AVX-512 VNNI. Four rows of 64 codes, one for each tap of a quad, are turned round within
 * their quarters: of vector i, quarter l then holds the channels 16*l + 4*i ... + 3, four taps of each. Weights, which lie
 * by panels, and the numbers of rounding are brought into that order once for a row; packing leads back out of it. */
#ifndef CNN_DEPTHWISE_VNNI_H
#define CNN_DEPTHWISE_VNNI_H
#include <immintrin.h>

#include "bodies/int8_dot.h"

enum { DEPTHWISE_CHANNELS = 64, DEPTHWISE_VECTORS = 4 };

/* Quarter l is at[16*l], and 0 where there is no panel l. */
static inline __m512i depthwise_quarters(const int32_t *at, ptrdiff_t step, int panels)
{
    __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const void *)at));
    v = _mm512_zextsi128_si512(_mm512_castsi512_si128(v));
    if (panels > 1) v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(at + step)), 1);
    if (panels > 2) v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(at + 2 * step)), 2);
    if (panels > 3) v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(at + 3 * step)), 3);
    return v;
}

static inline void depthwise_turn(__m512i v[4], const uint8_t *const at[4])
{
    const __m512i a = _mm512_loadu_si512(at[0]), b = _mm512_loadu_si512(at[1]), c = _mm512_loadu_si512(at[2]),
                  d = _mm512_loadu_si512(at[3]);
    const __m512i low[2] = {_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d)};
    const __m512i high[2] = {_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d)};
    v[0] = _mm512_unpacklo_epi16(low[0], low[1]);
    v[1] = _mm512_unpackhi_epi16(low[0], low[1]);
    v[2] = _mm512_unpacklo_epi16(high[0], high[1]);
    v[3] = _mm512_unpackhi_epi16(high[0], high[1]);
}

/* How 64 sums in that order become codes */
typedef struct depthwise_end {
    __m512i starts[DEPTHWISE_VECTORS], bits[DEPTHWISE_VECTORS], shifts[DEPTHWISE_VECTORS];
    __mmask64 store;
} depthwise_end;

static inline void depthwise_round(uint8_t *dst, const __m512i sums[DEPTHWISE_VECTORS], const depthwise_end *end,
                                   const rounding *how, int count)
{
    __m512i v[DEPTHWISE_VECTORS];
    if (!how->is_short) {
        int32_t plain[DEPTHWISE_CHANNELS];
        for (int i = 0; i < DEPTHWISE_VECTORS; i++) {
            int32_t lanes[CNN_PANEL];
            _mm512_storeu_si512(lanes, sums[i]);
            for (int j = 0; j < CNN_PANEL; j++) plain[j / 4 * CNN_PANEL + 4 * i + j % 4] = lanes[j];
        }
        round_tile(dst, 0, plain, 0, 1, count, how, 0);
        return;
    }
#pragma GCC unroll 4
    for (int i = 0; i < DEPTHWISE_VECTORS; i++) {
        const __mmask16 odd = _mm512_test_epi32_mask(sums[i], end->bits[i]);
        v[i] = _mm512_srav_epi32(_mm512_mask_add_epi32(sums[i], odd, sums[i], _mm512_set1_epi32(1)), end->shifts[i]);
    }
    const __m512i zero = _mm512_set1_epi16((int16_t)how->range.zero);
    const __m512i low = _mm512_adds_epi16(_mm512_packs_epi32(v[0], v[1]), zero);
    const __m512i high = _mm512_adds_epi16(_mm512_packs_epi32(v[2], v[3]), zero);
    __m512i codes = _mm512_packus_epi16(low, high);
    codes = _mm512_max_epu8(codes, _mm512_set1_epi8((char)how->range.low));
    codes = _mm512_min_epu8(codes, _mm512_set1_epi8((char)how->range.high));
    _mm512_mask_storeu_epi8(dst, end->store, codes);
}

/* 64 channels from `first` on, or those that are left. A quad of weights that lacks taps has zeros for them. */
static void depthwise_channels(const cnn_dot_depthwise *d, ptrdiff_t first, int count)
{
    enum { KEPT = 7 }; /* quads whose weights are put in order for the whole row, 28 taps */
    const int panels = (count + CNN_PANEL - 1) / CNN_PANEL;
    const ptrdiff_t quads = (d->taps + CNN_QUAD - 1) / CNN_QUAD, panel = quads * CNN_QUAD_BYTES;
    const int8_t *weights = d->weights + first / CNN_PANEL * panel;
    __m512i kept[KEPT][DEPTHWISE_VECTORS];
    rounding how;
    depthwise_end end = {.store = ~(__mmask64)0 >> (DEPTHWISE_CHANNELS - count)};
    rounding_of(&how, d->bias + first, d->multipliers + first, d->shifts + first, count, &d->range);
    for (int i = 0; i < DEPTHWISE_VECTORS; i++) {
        end.starts[i] = depthwise_quarters(how.starts + 4 * i, CNN_PANEL, panels);
        end.shifts[i] = depthwise_quarters(how.shifts + 4 * i, CNN_PANEL, panels);
        end.bits[i] = how.is_short ? depthwise_quarters(how.bits + 4 * i, CNN_PANEL, panels) : end.shifts[i];
        for (ptrdiff_t q = 0; q < cnn_min(quads, KEPT); q++)
            kept[q][i] = depthwise_quarters((const int32_t *)(const void *)(weights + q * CNN_QUAD_BYTES) + 4 * i,
                                            panel / CNN_QUAD, panels);
    }
    for (ptrdiff_t p = 0; p < d->pixels; p++) {
        const uint8_t *src = (const uint8_t *)d->src + p * d->src_pixel + first;
        __m512i sums[DEPTHWISE_VECTORS];
#pragma GCC unroll 4
        for (int i = 0; i < DEPTHWISE_VECTORS; i++) sums[i] = end.starts[i];
        for (ptrdiff_t q = 0; q < quads; q++) {
            const uint8_t *at[CNN_QUAD];
            __m512i x[DEPTHWISE_VECTORS];
            for (int k = 0; k < CNN_QUAD; k++) at[k] = src + d->offsets[cnn_min(q * CNN_QUAD + k, d->taps - 1)];
            depthwise_turn(x, at);
#pragma GCC unroll 4
            for (int i = 0; i < DEPTHWISE_VECTORS; i++) {
                const __m512i w =
                    q < KEPT ? kept[q][i]
                             : depthwise_quarters((const int32_t *)(const void *)(weights + q * CNN_QUAD_BYTES) + 4 * i,
                                                  panel / CNN_QUAD, panels);
                sums[i] = _mm512_dpbusd_epi32(sums[i], x[i], w);
            }
        }
        depthwise_round(d->dst + p * d->channels + first, sums, &end, &how, count);
    }
}

static void dot_depthwise(const cnn_dot_depthwise *d)
{
    for (ptrdiff_t first = 0; first < d->channels; first += DEPTHWISE_CHANNELS)
        depthwise_channels(d, first, (int)cnn_min(DEPTHWISE_CHANNELS, d->channels - first));
}

#endif
