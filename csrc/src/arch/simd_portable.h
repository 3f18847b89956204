/* Plain C behind the names that the bodies use: four lanes, which every x86-64 and aarch64 compiler maps to its
 * baseline vectors. Multiply and add are two roundings here, so bits differ from the FMA sets. */
#ifndef CNN_SIMD_H
#define CNN_SIMD_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "arch/tiles.h"

#define SIMD_WIDTH PORTABLE_WIDTH
#define SIMD_TILE_ROWS PORTABLE_TILE_ROWS
#define SIMD_TILE_GROUPS PORTABLE_TILE_GROUPS
#define SIMD_FMA_CHAINS 8
#define SIMD_TWO_ROUNDINGS /* simd_fma is a product and a sum */

typedef float simd_float __attribute__((vector_size(16)));

static inline simd_float simd_set1(float x) { return (simd_float){x, x, x, x}; }
static inline simd_float simd_zero(void) { return simd_set1(0.0f); }
static inline simd_float simd_load(const float *p)
{
    simd_float v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void simd_store(float *p, simd_float v) { memcpy(p, &v, sizeof v); }
static inline simd_float simd_add(simd_float a, simd_float b) { return a + b; }
/* NaN in b wins. */
static inline simd_float simd_max(simd_float a, simd_float b)
{
    simd_float v;
    for (int i = 0; i < SIMD_WIDTH; i++) v[i] = a[i] > b[i] ? a[i] : b[i];
    return v;
}
static inline simd_float simd_min(simd_float a, simd_float b)
{
    simd_float v;
    for (int i = 0; i < SIMD_WIDTH; i++) v[i] = a[i] < b[i] ? a[i] : b[i];
    return v;
}
static inline simd_float simd_fma(simd_float a, simd_float b, simd_float c) { return a * b + c; }
static inline simd_float simd_sqrt(simd_float a)
{
    simd_float v;
    for (int i = 0; i < SIMD_WIDTH; i++) v[i] = __builtin_sqrtf(a[i]);
    return v;
}
static inline simd_float simd_load_part(const float *p, ptrdiff_t count)
{
    simd_float v = simd_zero();
    for (ptrdiff_t i = 0; i < SIMD_WIDTH && i < count; i++) v[i] = p[i];
    return v;
}
static inline void simd_store_part(float *p, simd_float v, ptrdiff_t count)
{
    for (ptrdiff_t i = 0; i < SIMD_WIDTH && i < count; i++) p[i] = v[i];
}

/* Lane i of the result is lane index[i] of a and b end to end; 0 <= index < 2 * SIMD_WIDTH */
static inline simd_float simd_permute2(simd_float a, simd_float b, const int32_t index[SIMD_WIDTH])
{
    float both[2 * SIMD_WIDTH], lanes[SIMD_WIDTH];
    simd_store(both, a);
    simd_store(both + SIMD_WIDTH, b);
    for (int i = 0; i < SIMD_WIDTH; i++) lanes[i] = both[index[i]];
    return simd_load(lanes);
}
/* The first `count` bytes as numbers, zero behind them, and back: numbers are whole, 0 to 255 */
static inline simd_float simd_load_bytes(const uint8_t *p, ptrdiff_t count)
{
    float lanes[SIMD_WIDTH] = {0};
    for (ptrdiff_t i = 0; i < SIMD_WIDTH && i < count; i++) lanes[i] = (float)p[i];
    return simd_load(lanes);
}
static inline void simd_store_bytes(uint8_t *p, simd_float v, ptrdiff_t count)
{
    float lanes[SIMD_WIDTH];
    simd_store(lanes, v);
    for (ptrdiff_t i = 0; i < SIMD_WIDTH && i < count; i++) p[i] = (uint8_t)lanes[i];
}

/* Products of the low halves of 64-bit lanes */
typedef uint64_t simd_long __attribute__((vector_size(16)));
static inline simd_long simd_multiply_low(simd_long a, simd_long b) { return (a & 0xffffffffu) * (b & 0xffffffffu); }

/* The first and the second half of the lanes in double */
typedef double simd_double __attribute__((vector_size(16)));
static inline simd_double simd_low(simd_float v) { return (simd_double){v[0], v[1]}; }
static inline simd_double simd_high(simd_float v) { return (simd_double){v[2], v[3]}; }

#endif
