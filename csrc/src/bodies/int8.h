/* The ops of integer inference that multiply no weights. */
#ifndef CNN_BODY_INT8_H
#define CNN_BODY_INT8_H

#include "bodies/int8_dot.h"

/* Numbers between the ends of the codes are rounded by the addition of 1.5 * 2^23, whose last place is a one. */
static const float ROUNDER = 12582912.0f;

static void quantize(uint8_t *restrict dst, const float *restrict src, ptrdiff_t count, float scale, int32_t zero)
{
    const float low = (float)-zero, high = (float)(UINT8_MAX - zero);
    for (ptrdiff_t i = 0; i < count; i++) {
        float x = src[i] / scale;
        x = x > low ? x : low; /* NaN too */
        x = x < high ? x : high;
        dst[i] = (uint8_t)((int32_t)((x + ROUNDER) - ROUNDER) + zero);
    }
}

static void dequantize(float *restrict dst, const uint8_t *restrict src, ptrdiff_t count, float scale, int32_t zero)
{
    for (ptrdiff_t i = 0; i < count; i++) dst[i] = scale * (float)(src[i] - zero);
}

/* The taps of a window that lie in the map. */
typedef struct code_window {
    ptrdiff_t first, last;
} code_window;

static inline code_window window_on(ptrdiff_t at, ptrdiff_t kernel, ptrdiff_t extent)
{
    return (code_window){at < 0 ? 0 : at, at + kernel < extent ? at + kernel : extent};
}

/* Channels are taken in runs whose length the compiler knows, then one by one. */
#define CHANNEL_RUNS(channels, body)                                                                                   \
    do {                                                                                                               \
        ptrdiff_t c_ = 0;                                                                                              \
        for (; c_ + 64 <= (channels); c_ += 64) body(c_, 64);                                                          \
        if (c_ + 32 <= (channels)) body(c_, 32), c_ += 32;                                                             \
        if (c_ + 16 <= (channels)) body(c_, 16), c_ += 16;                                                             \
        if (c_ + 8 <= (channels)) body(c_, 8), c_ += 8;                                                                \
        for (; c_ < (channels); c_++) body(c_, 1);                                                                     \
    } while (0)

static inline __attribute__((always_inline)) void max_codes(uint8_t *restrict dst, const uint8_t *restrict src,
                                                            const cnn_pool2d_geometry *g, code_window h, code_window w,
                                                            const int channels)
{
    uint8_t most[64] = {0};
    for (ptrdiff_t y = h.first; y < h.last; y++)
        for (ptrdiff_t x = w.first; x < w.last; x++) {
            const uint8_t *restrict from = src + (y * g->w + x) * g->c;
            for (int c = 0; c < channels; c++) most[c] = most[c] > from[c] ? most[c] : from[c];
        }
    memcpy(dst, most, (size_t)channels);
}

static void max_codes_row(uint8_t *restrict dst, const uint8_t *restrict src, const cnn_pool2d_geometry *g,
                          ptrdiff_t oh)
{
    const code_window h = window_on(oh * g->stride_h - g->pad_top, g->kh, g->h);
    for (ptrdiff_t ow = 0; ow < g->ow; ow++, dst += g->c) {
        const code_window w = window_on(ow * g->stride_w - g->pad_left, g->kw, g->w);
#define MAX_RUN(first, count) max_codes(dst + (first), src + (first), g, h, w, count)
        CHANNEL_RUNS(g->c, MAX_RUN);
#undef MAX_RUN
    }
}

/* sum * multiplier / (count * 2^shift): at most 255 * 2^31 / 2^shift, which rounds to 0 from a shift of 41 on. */
static int64_t rounded_mean(int64_t sum, int64_t count, const cnn_avgpool2d_int8_geometry *g)
{
    enum { ALL_SMALL = 41 };
    if (g->shift >= ALL_SMALL) return 0;
    const int64_t product = sum * (int64_t)g->multiplier, divisor = count << g->shift;
    int64_t whole = product / divisor, rest = product % divisor;
    if (rest < 0) rest += divisor, whole--;
    return whole + (2 * rest > divisor || (2 * rest == divisor && (whole & 1)));
}

enum { SMALL_AREA = 4096 };

/* The mean of so few codes is exact enough in float: a half is one, and what is none does not come near. */
static inline __attribute__((always_inline)) void average_codes(uint8_t *restrict dst, const uint8_t *restrict src,
                                                                const cnn_avgpool2d_int8_geometry *g, code_window h,
                                                                code_window w, ptrdiff_t count, const int channels)
{
    const cnn_code_range range = {(int32_t)g->zero_dst, (int32_t)g->low, (int32_t)g->high};
    const int32_t none = (int32_t)(-(h.last - h.first) * (w.last - w.first) * g->zero_src);
    int32_t sums[64];
    for (int c = 0; c < channels; c++) sums[c] = none;
    for (ptrdiff_t y = h.first; y < h.last; y++)
        for (ptrdiff_t x = w.first; x < w.last; x++) {
            const uint8_t *restrict from = src + (y * g->w + x) * g->c;
            for (int c = 0; c < channels; c++) sums[c] += from[c];
        }
    if (g->shift > LARGEST_SHORT_SHIFT || g->multiplier != (ptrdiff_t)1 << g->shift || count > SMALL_AREA) {
        for (int c = 0; c < channels; c++) dst[c] = clamped(rounded_mean(sums[c], count, g), &range);
        return;
    }
    for (int c = 0; c < channels; c++) {
        const float mean = (float)sums[c] / (float)count;
        const int32_t code = (int32_t)((mean + ROUNDER) - ROUNDER) + range.zero;
        dst[c] = (uint8_t)(code < range.low ? range.low : code > range.high ? range.high : code);
    }
}

static void average_codes_row(uint8_t *restrict dst, const uint8_t *restrict src, const cnn_avgpool2d_int8_geometry *g,
                              ptrdiff_t oh)
{
    const ptrdiff_t top = oh * g->stride_h - g->pad_top;
    const code_window h = window_on(top, g->kh, g->h);
    for (ptrdiff_t ow = 0; ow < g->ow; ow++, dst += g->c) {
        const ptrdiff_t left = ow * g->stride_w - g->pad_left;
        const code_window w = window_on(left, g->kw, g->w);
        const ptrdiff_t padded = cnn_min(g->kh, g->h + g->pad_top - top) * cnn_min(g->kw, g->w + g->pad_left - left);
        const ptrdiff_t count = g->count_include_pad ? padded : (h.last - h.first) * (w.last - w.first);
#define AVERAGE_RUN(first, channels) average_codes(dst + (first), src + (first), g, h, w, count, channels)
        CHANNEL_RUNS(g->c, AVERAGE_RUN);
#undef AVERAGE_RUN
    }
}
#undef CHANNEL_RUNS

static void add_codes(uint8_t *dst, const uint8_t *a, const uint8_t *b, ptrdiff_t count, const cnn_add_int8_geometry *g)
{
    enum { SHORT_MULTIPLIER = 1 << 21 }; /* 2 * 255 * 2^21 and half of 2^30 are below 2^31 */
    const cnn_code_range range = {(int32_t)g->zero_dst, (int32_t)g->low, (int32_t)g->high};
    const int32_t za = (int32_t)g->zero_a, zb = (int32_t)g->zero_b, shift = (int32_t)g->shift;
    const int32_t ma = (int32_t)g->multiplier_a, mb = (int32_t)g->multiplier_b;
    if (ma > SHORT_MULTIPLIER || mb > SHORT_MULTIPLIER || shift > LARGEST_SHORT_SHIFT) {
        for (ptrdiff_t i = 0; i < count; i++)
            dst[i] = clamped(rounded((int64_t)(a[i] - za) * ma + (int64_t)(b[i] - zb) * mb, shift), &range);
        return;
    }
    ptrdiff_t i = 0;
#ifdef ROUND_NATIVE
    if (ma <= INT16_MAX && mb <= INT16_MAX) i = add_native(dst, a, b, count, g);
#endif
    for (; i < count; i++) {
        const int32_t code = rounded_short((a[i] - za) * ma + (b[i] - zb) * mb, shift) + range.zero;
        dst[i] = (uint8_t)(code < range.low ? range.low : code > range.high ? range.high : code);
    }
}

static void lookup_codes(uint8_t *dst, const uint8_t *src, const uint8_t *table, ptrdiff_t count)
{
    for (ptrdiff_t i = 0; i < count; i++) dst[i] = table[src[i]];
}

#endif
