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

/* How the sums of some channels become codes: as in memory, behind the last channel with nothing to do. */
enum { ROUND_CHANNELS = 64 };
typedef struct rounding {
    int32_t bias[ROUND_CHANNELS], multipliers[ROUND_CHANNELS], shifts[ROUND_CHANNELS];
    cnn_code_range range;
    bool is_short;
} rounding;

static void rounding_of(rounding *out, const int32_t *bias, const int32_t *multipliers, const int32_t *shifts,
                        ptrdiff_t count, const cnn_code_range *range)
{
    out->range = *range;
    out->is_short = true;
    for (ptrdiff_t c = 0; c < ROUND_CHANNELS; c++) {
        const bool there = c < count;
        out->bias[c] = there ? bias[c] : 0;
        out->multipliers[c] = there ? multipliers[c] : 1;
        out->shifts[c] = there ? shifts[c] & 63 : 0;
        out->is_short = out->is_short && out->multipliers[c] == 1 && out->shifts[c] <= LARGEST_SHORT_SHIFT;
    }
}

/* dst[c] = the code of sums[c] + bias, c < count <= ROUND_CHANNELS, a whole panel of sums is readable */
static void round_sums(uint8_t *restrict dst, const int32_t *restrict sums, const rounding *restrict how, int first,
                       int count)
{
    uint8_t codes[CNN_PANEL];
    for (int c = 0; c < count; c += CNN_PANEL, first += CNN_PANEL) {
        if (how->is_short)
            for (int i = 0; i < CNN_PANEL; i++) {
                const int32_t sum = (int32_t)((uint32_t)sums[c + i] + (uint32_t)how->bias[first + i]);
                const int32_t code = rounded_short(sum, how->shifts[first + i]) + how->range.zero;
                codes[i] = (uint8_t)(code < how->range.low    ? how->range.low
                                     : code > how->range.high ? how->range.high
                                                              : code);
            }
        else
            for (int i = 0; i < CNN_PANEL; i++) {
                const int32_t sum = (int32_t)((uint32_t)sums[c + i] + (uint32_t)how->bias[first + i]);
                codes[i] =
                    clamped(rounded((int64_t)sum * how->multipliers[first + i], how->shifts[first + i]), &how->range);
            }
        memcpy(dst + c, codes, (size_t)cnn_min(CNN_PANEL, count - c));
    }
}

#endif
