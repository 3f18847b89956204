/* Storing vectors of eight lanes turned: what lies side by side in memory comes from different vectors. */
#ifndef CNN_TURN_AVX_H
#define CNN_TURN_AVX_H
#include <immintrin.h>
#include <stddef.h>

static inline void turn_quads(float *p, ptrdiff_t step, __m256 quads)
{
    _mm_storeu_ps(p, _mm256_castps256_ps128(quads));
    _mm_storeu_ps(p + 4 * step, _mm256_extractf128_ps(quads, 1));
}

static inline void turn_pairs(float *p, ptrdiff_t step, __m256 pairs)
{
    const __m128 low = _mm256_castps256_ps128(pairs), high = _mm256_extractf128_ps(pairs, 1);
    _mm_storel_pi((__m64 *)p, low);
    _mm_storeh_pi((__m64 *)(p + step), low);
    _mm_storel_pi((__m64 *)(p + 4 * step), high);
    _mm_storeh_pi((__m64 *)(p + 5 * step), high);
}

/* p[i*step + o] = v[o][i] for i < 8, o < count; count is known when compiled */
static inline __attribute__((always_inline)) void turn_store(float *p, ptrdiff_t step, const __m256 *v, const int count)
{
    int done = 0;
    if (count >= 4) {
        const __m256 a = _mm256_unpacklo_ps(v[0], v[1]), b = _mm256_unpackhi_ps(v[0], v[1]);
        const __m256 c = _mm256_unpacklo_ps(v[2], v[3]), d = _mm256_unpackhi_ps(v[2], v[3]);
        turn_quads(p, step, _mm256_shuffle_ps(a, c, 0x44));
        turn_quads(p + step, step, _mm256_shuffle_ps(a, c, 0xEE));
        turn_quads(p + 2 * step, step, _mm256_shuffle_ps(b, d, 0x44));
        turn_quads(p + 3 * step, step, _mm256_shuffle_ps(b, d, 0xEE));
        done = 4;
    }
    if (count - done >= 2) {
        turn_pairs(p + done, step, _mm256_unpacklo_ps(v[done], v[done + 1]));
        turn_pairs(p + 2 * step + done, step, _mm256_unpackhi_ps(v[done], v[done + 1]));
        done += 2;
    }
    if (count > done) {
        float lanes[8];
        _mm256_storeu_ps(lanes, v[done]);
        for (int i = 0; i < 8; i++) p[i * step + done] = lanes[i];
    }
}

#endif
