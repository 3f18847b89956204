/* Sums of products of codes and weights with AVX-512 VNNI: see dot_portable.h. vpdpbusd takes bytes as they are. */
#ifndef CNN_DOT_H
#define CNN_DOT_H
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define DOT_CHANNELS 16
#define DOT_UNITS 4
#define DOT_PIXELS 8
#define DOT_SUMS 24
#define ROUND_NATIVE "arch/round_avx512.h"
#define DOT_NATIVE_DEPTHWISE "arch/depthwise_vnni.h"

typedef uint8_t dot_code;
typedef __m512i dot_sum, dot_weight, dot_quad;

static inline dot_sum dot_start(const int32_t *p) { return _mm512_loadu_si512((const void *)p); }
static inline dot_weight dot_weights(const int8_t *p) { return _mm512_loadu_si512((const void *)p); }
static inline dot_quad dot_codes(const dot_code *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
}
static inline dot_sum dot_step(dot_sum sum, dot_quad x, const dot_weight *w) { return _mm512_dpbusd_epi32(sum, x, *w); }
static inline void dot_store(int32_t *p, dot_sum sum) { _mm512_storeu_si512((void *)p, sum); }

/* The sums of a panel, side by side */
static inline __m512i dot_panel(const dot_sum *sums) { return sums[0]; }

#endif
