/* Sums of products of codes and weights with AVX-512 VNNI: see dot_portable.h. vpdpbusd takes bytes as they are. */
#ifndef CNN_DOT_H
#define CNN_DOT_H
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define DOT_CHANNELS 16
#define DOT_UNITS 4
#define DOT_PIXELS 6

typedef uint8_t dot_code;
typedef __m512i dot_sum, dot_weight, dot_quad;

static inline dot_sum dot_zero(void) { return _mm512_setzero_si512(); }
static inline dot_weight dot_weights(const int8_t *p) { return _mm512_loadu_si512((const void *)p); }
static inline dot_quad dot_codes(const dot_code *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
}
static inline dot_sum dot_step(dot_sum sum, dot_quad x, const dot_weight *w) { return _mm512_dpbusd_epi32(sum, x, *w); }
static inline void dot_store(int32_t *p, dot_sum sum) { _mm512_storeu_si512((void *)p, sum); }

#endif
