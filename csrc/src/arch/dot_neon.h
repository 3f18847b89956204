/* Sums of products of codes and weights with Advanced SIMD, by widening multiplications: see dot_portable.h. Four sums
 * of each channel, one for each of every four products, meet at the end. */
#ifndef CNN_DOT_H
#define CNN_DOT_H
#include <arm_neon.h>
#include <stdint.h>

#define DOT_CHANNELS 4
#define DOT_UNITS 2
#define DOT_PIXELS 2
#define DOT_SUMS 4

typedef int16_t dot_code;
typedef struct dot_sum {
    int32x4_t channels[DOT_CHANNELS];
} dot_sum;
typedef struct dot_weight {
    int16x8_t pairs[2];
} dot_weight;
typedef int16x4_t dot_quad;

static inline dot_sum dot_start(const int32_t *p)
{
    const int32x4_t zero = vdupq_n_s32(0);
    return (dot_sum){{vsetq_lane_s32(p[0], zero, 0), vsetq_lane_s32(p[1], zero, 0), vsetq_lane_s32(p[2], zero, 0),
                      vsetq_lane_s32(p[3], zero, 0)}};
}
static inline dot_weight dot_weights(const int8_t *p)
{
    const int8x16_t w = vld1q_s8(p);
    return (dot_weight){{vmovl_s8(vget_low_s8(w)), vmovl_high_s8(w)}};
}
static inline dot_quad dot_codes(const dot_code *p) { return vld1_s16(p); }
static inline dot_sum dot_step(dot_sum sum, dot_quad x, const dot_weight *w)
{
    return (dot_sum){{vmlal_s16(sum.channels[0], vget_low_s16(w->pairs[0]), x),
                      vmlal_s16(sum.channels[1], vget_high_s16(w->pairs[0]), x),
                      vmlal_s16(sum.channels[2], vget_low_s16(w->pairs[1]), x),
                      vmlal_s16(sum.channels[3], vget_high_s16(w->pairs[1]), x)}};
}
static inline void dot_store(int32_t *p, dot_sum sum)
{
    vst1q_s32(p,
              vpaddq_s32(vpaddq_s32(sum.channels[0], sum.channels[1]), vpaddq_s32(sum.channels[2], sum.channels[3])));
}

#define PAIR_CHANNELS 8
#define PAIR_TILES 4

typedef struct pair_sum {
    int32x4_t low, high;
} pair_sum;
typedef int16x8x2_t pair_weights;

static inline pair_weights pair_load(const int16_t *p) { return vld2q_s16(p); }
static inline pair_sum pair_step(pair_sum sum, const int16_t *x, const pair_weights *w)
{
    sum.low = vmlal_n_s16(vmlal_n_s16(sum.low, vget_low_s16(w->val[0]), x[0]), vget_low_s16(w->val[1]), x[1]);
    sum.high = vmlal_n_s16(vmlal_n_s16(sum.high, vget_high_s16(w->val[0]), x[0]), vget_high_s16(w->val[1]), x[1]);
    return sum;
}
static inline pair_sum pair_zero(void) { return (pair_sum){vdupq_n_s32(0), vdupq_n_s32(0)}; }
static inline void pair_store(int32_t *p, pair_sum sum) { vst1q_s32(p, sum.low), vst1q_s32(p + 4, sum.high); }

#endif
