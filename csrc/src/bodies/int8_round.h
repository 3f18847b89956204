/* From sums to codes: every rounding of integer inference is to the nearest, a half to even, of an exact number. */
#ifndef CNN_BODY_INT8_ROUND_H
#define CNN_BODY_INT8_ROUND_H

#include "int8_layout.h"
#include "kernels.h"

enum { LARGEST_SHORT_SHIFT = 30 }; /* up to which sums of 32 bits are rounded in 32 bits */

/* value / 2^shift, shift <= LARGEST_SHORT_SHIFT, the sum with a half of 2^shift within 32 bits */
static inline int32_t rounded_short(int32_t value, int32_t shift)
{
    const uint32_t odd = (uint32_t)(value >> shift) & 1u, half = (UINT32_C(1) << shift >> 1) - (shift > 0);
    return (int32_t)((uint32_t)value + half + (shift > 0 ? odd : 0)) >> shift;
}

/* value / 2^shift, shift <= CNN_MAX_SHIFT, |value| <= 2^62 */
static inline int64_t rounded(int64_t value, int32_t shift)
{
    const uint64_t odd = (uint64_t)(value >> shift) & 1u, half = (UINT64_C(1) << shift >> 1) - (shift > 0);
    return (int64_t)((uint64_t)value + half + (shift > 0 ? odd : 0)) >> shift;
}

static inline uint8_t clamped(int64_t value, const cnn_code_range *range)
{
    const int64_t code = value + range->zero;
    return (uint8_t)(code < range->low ? range->low : code > range->high ? range->high : code);
}

/* How the sums of some channels become codes. Sums start at `starts`, the bias and, where 32 bits are enough, all but one
 * of a half of 2^shift: such a sum is rounded by adding one where its bit `bits` is set, which is that of 2^shift, and
 * dividing. Wherever the addition does not make a half even, it changes nothing. */
enum { ROUND_CHANNELS = 64 };
typedef struct rounding {
    int32_t starts[ROUND_CHANNELS], bits[ROUND_CHANNELS], shifts[ROUND_CHANNELS], multipliers[ROUND_CHANNELS];
    cnn_code_range range;
    bool is_short;
} rounding;

/* Of `count` channels and, with nothing to do, up to the end of the last panel. */
static void rounding_of(rounding *restrict out, const int32_t *restrict bias, const int32_t *restrict multipliers,
                        const int32_t *restrict shifts, ptrdiff_t count, const cnn_code_range *range)
{
    const ptrdiff_t end = (count + CNN_PANEL - 1) / CNN_PANEL * CNN_PANEL;
    int32_t others = 0;
    memset(out->starts, 0, (size_t)end * sizeof(int32_t));
    memset(out->shifts, 0, (size_t)end * sizeof(int32_t));
    memcpy(out->starts, bias, (size_t)count * sizeof(int32_t));
    memcpy(out->multipliers, multipliers, (size_t)count * sizeof(int32_t));
    for (ptrdiff_t c = 0; c < count; c++) {
        out->shifts[c] = shifts[c] & 63;
        others |= (multipliers[c] != 1) | (out->shifts[c] > LARGEST_SHORT_SHIFT);
    }
    for (ptrdiff_t c = count; c < end; c++) out->multipliers[c] = 1;
    out->range = *range;
    out->is_short = !others;
    if (others) return;
    for (ptrdiff_t c = 0; c < end; c++) {
        const int32_t power = (int32_t)(UINT32_C(1) << out->shifts[c]);
        out->bits[c] = power & -(power > 1);
        out->starts[c] = (int32_t)((uint32_t)out->starts[c] + (uint32_t)((power >> 1) - (power > 1)));
    }
}

/* dst[p*dst_pixel + c] = the code of sums[p*sums_pixel + c], which started as `how` says; channels, at most
 * ROUND_CHANNELS, are those of `how` from `first` on, and whole panels of sums are readable. */
#ifndef ROUND_NATIVE
static void round_tile(uint8_t *restrict dst, ptrdiff_t dst_pixel, const int32_t *restrict sums, ptrdiff_t sums_pixel,
                       ptrdiff_t pixels, int channels, const rounding *restrict how, int first)
{
    uint8_t codes[CNN_PANEL];
    const cnn_code_range range = how->range;
    for (; pixels > 0; pixels--, dst += dst_pixel, sums += sums_pixel)
        for (int c = 0; c < channels; c += CNN_PANEL) {
            const int32_t *sum = sums + c, *shifts = how->shifts + first + c, *bits = how->bits + first + c,
                          *multipliers = how->multipliers + first + c;
            for (int i = 0; i < CNN_PANEL && how->is_short; i++) {
                const int32_t code =
                    ((int32_t)((uint32_t)sum[i] + ((sum[i] & bits[i]) != 0)) >> shifts[i]) + range.zero;
                codes[i] = (uint8_t)(code < range.low ? range.low : code > range.high ? range.high : code);
            }
            for (int i = 0; i < CNN_PANEL && !how->is_short; i++)
                codes[i] = clamped(rounded((int64_t)sum[i] * multipliers[i], shifts[i]), &range);
            memcpy(dst + c, codes, (size_t)(channels - c < CNN_PANEL ? channels - c : CNN_PANEL));
        }
}
#endif

#endif
