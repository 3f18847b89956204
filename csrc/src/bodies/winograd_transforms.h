/* Written by csrc/winograd/generate.py, which derives it; do not edit. One-dimensional Winograd transforms.
 * Names end in the transformed size, or in output tile and kernel size. Where the last `less` outputs of a
 * tile are not wanted, as many positions before the last one are left out. */
#ifndef CNN_BODY_WINOGRAD_TRANSFORMS_H
#define CNN_BODY_WINOGRAD_TRANSFORMS_H

/* clang-format off */
/* ---- 4 points: 0, +-1, infinity ---- */

/* B^T: 4 to 4 */
static inline __attribute__((always_inline)) void winograd_input_4(simd_float *restrict out, const simd_float *restrict in, int less)
{
    if (less == 0) {
        out[0] = in[2] - in[0];
        const simd_float e0 = in[2];
        const simd_float o0 = in[1];
        out[1] = e0 + o0;
        out[2] = e0 - o0;
        out[3] = in[3] - in[1];
    } else {
        out[0] = in[1] - in[0];
        out[1] = simd_set1(2.0f) * in[1];
        out[3] = in[2] - in[1];
        out[2] = simd_zero();
    }
}

/* G of F(2, 3): 3 to 4 */
static inline __attribute__((always_inline)) void winograd_filter_2x3(simd_float *restrict out, const simd_float *restrict in)
{
    out[0] = -in[0];
    const simd_float e0 = simd_fma(simd_set1(0.5f), in[2], simd_set1(0.5f) * in[0]);
    out[1] = simd_fma(simd_set1(0.5f), in[1], e0);
    out[2] = simd_fma(simd_set1(-0.5f), in[1], e0);
    out[3] = in[2];
}

/* A^T of F(2, 3): 4 to 2 */
static inline __attribute__((always_inline)) void winograd_output_2x3(simd_float *restrict out, const simd_float *restrict in, int less)
{
    if (less == 0) {
        const simd_float s0 = in[1] + in[2];
        const simd_float d0 = in[1] - in[2];
        out[0] = in[0] + s0;
        out[1] = d0 + in[3];
    } else {
        out[0] = in[0] + in[1] + in[3];
        out[1] = simd_zero();
    }
}

/* A of F(2, 3): 2 to 4 */
static inline __attribute__((always_inline)) void winograd_diff_2x3(simd_float *restrict out, const simd_float *restrict in, int less)
{
    if (less == 0) {
        out[0] = in[0];
        out[1] = in[0] + in[1];
        out[2] = in[0] - in[1];
        out[3] = in[1];
    } else {
        out[0] = in[0];
        out[1] = in[0];
        out[3] = in[0];
        out[2] = simd_zero();
    }
}

/* G^T of F(2, 3): 4 to 3 */
static inline __attribute__((always_inline)) void winograd_gradient_2x3(simd_float *restrict out, const simd_float *restrict in)
{
    const simd_float s0 = in[1] + in[2];
    const simd_float d0 = in[1] - in[2];
    out[0] = simd_fma(simd_set1(0.5f), s0, -in[0]);
    out[1] = simd_set1(0.5f) * d0;
    out[2] = simd_fma(simd_set1(0.5f), s0, in[3]);
}

/* ---- 6 points: 0, +-5/8, +-3/2, infinity ---- */

/* B^T: 6 to 6 */
static inline __attribute__((always_inline)) void winograd_input_6(simd_float *restrict out, const simd_float *restrict in, int less)
{
    if (less == 0) {
        out[0] = simd_fma(simd_set1(-2.640625f), in[2], simd_fma(simd_set1(0.87890625f), in[0], in[4]));
        const simd_float e0 = simd_fma(simd_set1(-2.25f), in[2], in[4]);
        const simd_float o0 = simd_fma(simd_set1(-2.25f), in[1], in[3]);
        out[1] = simd_fma(simd_set1(0.625f), o0, e0);
        out[2] = simd_fma(simd_set1(-0.625f), o0, e0);
        const simd_float e1 = simd_fma(simd_set1(-0.390625f), in[2], in[4]);
        const simd_float o1 = simd_fma(simd_set1(-0.390625f), in[1], in[3]);
        out[3] = simd_fma(simd_set1(1.5f), o1, e1);
        out[4] = simd_fma(simd_set1(-1.5f), o1, e1);
        out[5] = simd_fma(simd_set1(-2.640625f), in[3], simd_fma(simd_set1(0.87890625f), in[1], in[5]));
    } else if (less == 1) {
        out[0] = simd_fma(simd_set1(1.5f), in[3], simd_fma(simd_set1(-2.25f), in[2], simd_fma(simd_set1(-0.5859375f), in[1], simd_set1(0.87890625f) * in[0])));
        out[1] = simd_fma(simd_set1(2.125f), in[3], simd_fma(simd_set1(-1.859375f), in[2], simd_set1(-1.9921875f) * in[1]));
        out[2] = simd_fma(simd_set1(0.875f), in[3], simd_fma(simd_set1(-1.859375f), in[2], simd_set1(0.8203125f) * in[1]));
        out[3] = simd_fma(simd_set1(3.0f), in[3], simd_set1(-1.171875f) * in[1]);
        out[5] = simd_fma(simd_set1(-1.5f), in[3], simd_fma(simd_set1(-0.390625f), in[2], simd_fma(simd_set1(0.5859375f), in[1], in[4])));
        out[4] = simd_zero();
    } else if (less == 2) {
        out[0] = simd_fma(simd_set1(-2.25f), in[2], simd_set1(0.87890625f) * in[0]);
        out[1] = simd_fma(simd_set1(-1.859375f), in[2], simd_set1(-1.1621094f) * in[1]);
        out[2] = simd_fma(simd_set1(-1.859375f), in[2], simd_set1(1.1621094f) * in[1]);
        out[5] = simd_fma(simd_set1(-0.390625f), in[1], in[3]);
        out[3] = simd_zero();
        out[4] = simd_zero();
    } else {
        out[0] = simd_fma(simd_set1(-1.40625f), in[1], simd_set1(0.87890625f) * in[0]);
        out[1] = simd_set1(-2.3242188f) * in[1];
        out[5] = simd_fma(simd_set1(-0.625f), in[1], in[2]);
        out[2] = simd_zero();
        out[3] = simd_zero();
        out[4] = simd_zero();
    }
}

/* G of F(4, 3): 3 to 6 */
static inline __attribute__((always_inline)) void winograd_filter_4x3(simd_float *restrict out, const simd_float *restrict in)
{
    out[0] = simd_set1(1.1377778f) * in[0];
    const simd_float e0 = simd_fma(simd_set1(-0.268907563f), in[2], simd_set1(-0.68840336f) * in[0]);
    out[1] = simd_fma(simd_set1(-0.4302521f), in[1], e0);
    out[2] = simd_fma(simd_set1(0.4302521f), in[1], e0);
    const simd_float e1 = simd_fma(simd_set1(0.268907563f), in[2], simd_set1(0.11951447f) * in[0]);
    out[3] = simd_fma(simd_set1(0.17927171f), in[1], e1);
    out[4] = simd_fma(simd_set1(-0.17927171f), in[1], e1);
    out[5] = in[2];
}

/* A^T of F(4, 3): 6 to 4 */
static inline __attribute__((always_inline)) void winograd_output_4x3(simd_float *restrict out, const simd_float *restrict in, int less)
{
    if (less == 0) {
        const simd_float s0 = in[1] + in[2];
        const simd_float d0 = in[1] - in[2];
        const simd_float s1 = in[3] + in[4];
        const simd_float d1 = in[3] - in[4];
        out[0] = in[0] + s0 + s1;
        out[1] = simd_fma(simd_set1(1.5f), d1, simd_set1(0.625f) * d0);
        out[2] = simd_fma(simd_set1(2.25f), s1, simd_set1(0.390625f) * s0);
        out[3] = simd_fma(simd_set1(3.375f), d1, simd_fma(simd_set1(0.24414062f), d0, in[5]));
    } else if (less == 1) {
        out[0] = in[0] + in[1] + in[2] + in[3];
        out[1] = simd_fma(simd_set1(1.5f), in[3], simd_fma(simd_set1(-0.625f), in[2], simd_set1(0.625f) * in[1]));
        out[2] = simd_fma(simd_set1(2.25f), in[3], simd_fma(simd_set1(0.390625f), in[2], simd_fma(simd_set1(0.390625f), in[1], in[5])));
        out[3] = simd_zero();
    } else if (less == 2) {
        out[0] = in[0] + in[1] + in[2];
        out[1] = simd_fma(simd_set1(-0.625f), in[2], simd_fma(simd_set1(0.625f), in[1], in[5]));
        out[2] = simd_zero();
        out[3] = simd_zero();
    } else {
        out[0] = in[0] + in[1] + in[5];
        out[1] = simd_zero();
        out[2] = simd_zero();
        out[3] = simd_zero();
    }
}

/* A of F(4, 3): 4 to 6 */
static inline __attribute__((always_inline)) void winograd_diff_4x3(simd_float *restrict out, const simd_float *restrict in, int less)
{
    if (less == 0) {
        out[0] = in[0];
        const simd_float e0 = simd_fma(simd_set1(0.390625f), in[2], in[0]);
        const simd_float o0 = simd_fma(simd_set1(0.390625f), in[3], in[1]);
        out[1] = simd_fma(simd_set1(0.625f), o0, e0);
        out[2] = simd_fma(simd_set1(-0.625f), o0, e0);
        const simd_float e1 = simd_fma(simd_set1(2.25f), in[2], in[0]);
        const simd_float o1 = simd_fma(simd_set1(2.25f), in[3], in[1]);
        out[3] = simd_fma(simd_set1(1.5f), o1, e1);
        out[4] = simd_fma(simd_set1(-1.5f), o1, e1);
        out[5] = in[3];
    } else if (less == 1) {
        out[0] = in[0];
        out[1] = simd_fma(simd_set1(0.390625f), in[2], simd_fma(simd_set1(0.625f), in[1], in[0]));
        out[2] = simd_fma(simd_set1(0.390625f), in[2], simd_fma(simd_set1(-0.625f), in[1], in[0]));
        out[3] = simd_fma(simd_set1(2.25f), in[2], simd_fma(simd_set1(1.5f), in[1], in[0]));
        out[5] = in[2];
        out[4] = simd_zero();
    } else if (less == 2) {
        out[0] = in[0];
        out[1] = simd_fma(simd_set1(0.625f), in[1], in[0]);
        out[2] = simd_fma(simd_set1(-0.625f), in[1], in[0]);
        out[5] = in[1];
        out[3] = simd_zero();
        out[4] = simd_zero();
    } else {
        out[0] = in[0];
        out[1] = in[0];
        out[5] = in[0];
        out[2] = simd_zero();
        out[3] = simd_zero();
        out[4] = simd_zero();
    }
}

/* G^T of F(4, 3): 6 to 3 */
static inline __attribute__((always_inline)) void winograd_gradient_4x3(simd_float *restrict out, const simd_float *restrict in)
{
    const simd_float s0 = in[1] + in[2];
    const simd_float d0 = in[1] - in[2];
    const simd_float s1 = in[3] + in[4];
    const simd_float d1 = in[3] - in[4];
    out[0] = simd_fma(simd_set1(0.11951447f), s1, simd_fma(simd_set1(-0.68840336f), s0, simd_set1(1.1377778f) * in[0]));
    out[1] = simd_fma(simd_set1(0.17927171f), d1, simd_set1(-0.4302521f) * d0);
    out[2] = simd_fma(simd_set1(0.268907563f), s1, simd_fma(simd_set1(-0.268907563f), s0, in[5]));
}

/* ---- 8 points: 0, +-1, +-2, +-1/2, infinity ---- */

/* B^T: 8 to 8 */
static inline __attribute__((always_inline)) void winograd_input_8(simd_float *restrict out, const simd_float *restrict in, int less)
{
    if (less == 0) {
        out[0] = simd_fma(simd_set1(-5.25f), in[4], simd_fma(simd_set1(5.25f), in[2], in[6] - in[0]));
        const simd_float e0 = simd_fma(simd_set1(-4.25f), in[4], in[2] + in[6]);
        const simd_float o0 = simd_fma(simd_set1(-4.25f), in[3], in[1] + in[5]);
        out[1] = e0 + o0;
        out[2] = e0 - o0;
        const simd_float e1 = simd_fma(simd_set1(-1.25f), in[4], simd_fma(simd_set1(0.25f), in[2], in[6]));
        const simd_float o1 = simd_fma(simd_set1(-1.25f), in[3], simd_fma(simd_set1(0.25f), in[1], in[5]));
        out[3] = simd_fma(simd_set1(2.0f), o1, e1);
        out[4] = simd_fma(simd_set1(-2.0f), o1, e1);
        const simd_float e2 = simd_fma(simd_set1(-5.0f), in[4], simd_fma(simd_set1(4.0f), in[2], in[6]));
        const simd_float o2 = simd_fma(simd_set1(-5.0f), in[3], simd_fma(simd_set1(4.0f), in[1], in[5]));
        out[5] = simd_fma(simd_set1(0.5f), o2, e2);
        out[6] = simd_fma(simd_set1(-0.5f), o2, e2);
        out[7] = simd_fma(simd_set1(-5.25f), in[5], simd_fma(simd_set1(5.25f), in[3], in[7] - in[1]));
    } else if (less == 1) {
        out[0] = simd_fma(simd_set1(0.5f), in[5], simd_fma(simd_set1(-0.25f), in[4], simd_fma(simd_set1(-2.5f), in[3], simd_fma(simd_set1(1.25f), in[2], simd_fma(simd_set1(2.0f), in[1], -in[0])))));
        out[1] = simd_fma(simd_set1(1.5f), in[5], simd_fma(simd_set1(0.75f), in[4], simd_fma(simd_set1(-6.75f), in[3], simd_fma(simd_set1(-3.0f), in[2], simd_set1(3.0f) * in[1]))));
        out[2] = simd_fma(simd_set1(-0.5f), in[5], simd_fma(simd_set1(0.75f), in[4], simd_fma(simd_set1(1.75f), in[3], simd_fma(simd_set1(-3.0f), in[2], in[1]))));
        out[3] = simd_fma(simd_set1(2.5f), in[5], simd_fma(simd_set1(3.75f), in[4], simd_fma(simd_set1(-5.0f), in[3], simd_fma(simd_set1(-3.75f), in[2], simd_set1(2.5f) * in[1]))));
        out[4] = simd_fma(simd_set1(-1.5f), in[5], simd_fma(simd_set1(3.75f), in[4], simd_fma(simd_set1(-3.75f), in[2], simd_set1(1.5f) * in[1])));
        out[5] = simd_fma(simd_set1(-5.0f), in[3], simd_fma(simd_set1(4.0f), in[1], in[5]));
        out[7] = simd_fma(simd_set1(-0.5f), in[5], simd_fma(simd_set1(-5.0f), in[4], simd_fma(simd_set1(2.5f), in[3], simd_fma(simd_set1(4.0f), in[2], simd_fma(simd_set1(-2.0f), in[1], in[6])))));
        out[6] = simd_zero();
    } else if (less == 2) {
        out[0] = simd_fma(simd_set1(-0.25f), in[4], simd_fma(simd_set1(1.25f), in[2], -in[0]));
        out[1] = simd_fma(simd_set1(0.75f), in[4], simd_fma(simd_set1(0.75f), in[3], simd_fma(simd_set1(-3.0f), in[2], simd_set1(-3.0f) * in[1])));
        out[2] = simd_fma(simd_set1(0.75f), in[4], simd_fma(simd_set1(-0.75f), in[3], simd_fma(simd_set1(-3.0f), in[2], simd_set1(3.0f) * in[1])));
        out[3] = simd_fma(simd_set1(3.75f), in[4], simd_fma(simd_set1(7.5f), in[3], simd_fma(simd_set1(-3.75f), in[2], simd_set1(-7.5f) * in[1])));
        out[4] = simd_fma(simd_set1(3.75f), in[4], simd_fma(simd_set1(-7.5f), in[3], simd_fma(simd_set1(-3.75f), in[2], simd_set1(7.5f) * in[1])));
        out[7] = simd_fma(simd_set1(-5.0f), in[3], simd_fma(simd_set1(4.0f), in[1], in[5]));
        out[5] = simd_zero();
        out[6] = simd_zero();
    } else {
        out[0] = simd_fma(simd_set1(-0.5f), in[3], simd_fma(simd_set1(0.5f), in[1], in[2] - in[0]));
        out[1] = simd_fma(simd_set1(2.25f), in[3], simd_fma(simd_set1(-2.25f), in[2], simd_set1(-4.5f) * in[1]));
        out[2] = simd_fma(simd_set1(0.75f), in[3], simd_fma(simd_set1(-2.25f), in[2], simd_set1(1.5f) * in[1]));
        out[3] = simd_fma(simd_set1(15.0f), in[3], simd_set1(-15.0f) * in[1]);
        out[7] = simd_fma(simd_set1(-2.0f), in[3], simd_fma(simd_set1(2.0f), in[1], in[4] - in[2]));
        out[4] = simd_zero();
        out[5] = simd_zero();
        out[6] = simd_zero();
    }
}

/* G of F(4, 5): 5 to 8 */
static inline __attribute__((always_inline)) void winograd_filter_4x5(simd_float *restrict out, const simd_float *restrict in)
{
    out[0] = -in[0];
    const simd_float e0 = simd_fma(simd_set1(-0.22222222f), in[4], simd_fma(simd_set1(-0.22222222f), in[2], simd_set1(-0.22222222f) * in[0]));
    const simd_float o0 = in[1] + in[3];
    out[1] = simd_fma(simd_set1(-0.22222222f), o0, e0);
    out[2] = simd_fma(simd_set1(0.22222222f), o0, e0);
    const simd_float e1 = simd_fma(simd_set1(0.17777778f), in[4], simd_fma(simd_set1(0.044444444f), in[2], simd_set1(0.011111111f) * in[0]));
    const simd_float o1 = simd_fma(simd_set1(4.0f), in[3], in[1]);
    out[3] = simd_fma(simd_set1(0.022222222f), o1, e1);
    out[4] = simd_fma(simd_set1(-0.022222222f), o1, e1);
    const simd_float e2 = simd_fma(simd_set1(0.044444444f), in[4], simd_fma(simd_set1(0.17777778f), in[2], simd_set1(0.7111111f) * in[0]));
    const simd_float o2 = simd_fma(simd_set1(0.25f), in[3], in[1]);
    out[5] = simd_fma(simd_set1(0.35555556f), o2, e2);
    out[6] = simd_fma(simd_set1(-0.35555556f), o2, e2);
    out[7] = in[4];
}

/* A^T of F(4, 5): 8 to 4 */
static inline __attribute__((always_inline)) void winograd_output_4x5(simd_float *restrict out, const simd_float *restrict in, int less)
{
    if (less == 0) {
        const simd_float s0 = in[1] + in[2];
        const simd_float d0 = in[1] - in[2];
        const simd_float s1 = in[3] + in[4];
        const simd_float d1 = in[3] - in[4];
        const simd_float s2 = in[5] + in[6];
        const simd_float d2 = in[5] - in[6];
        out[0] = in[0] + s0 + s1 + s2;
        out[1] = simd_fma(simd_set1(0.5f), d2, simd_fma(simd_set1(2.0f), d1, d0));
        out[2] = simd_fma(simd_set1(0.25f), s2, simd_fma(simd_set1(4.0f), s1, s0));
        out[3] = simd_fma(simd_set1(0.125f), d2, simd_fma(simd_set1(8.0f), d1, d0 + in[7]));
    } else if (less == 1) {
        out[0] = in[0] + in[1] + in[2] + in[3] + in[4] + in[5];
        out[1] = simd_fma(simd_set1(0.5f), in[5], simd_fma(simd_set1(-2.0f), in[4], simd_fma(simd_set1(2.0f), in[3], in[1] - in[2])));
        out[2] = simd_fma(simd_set1(0.25f), in[5], simd_fma(simd_set1(4.0f), in[4], simd_fma(simd_set1(4.0f), in[3], in[1] + in[2] + in[7])));
        out[3] = simd_zero();
    } else if (less == 2) {
        out[0] = in[0] + in[1] + in[2] + in[3] + in[4];
        out[1] = simd_fma(simd_set1(-2.0f), in[4], simd_fma(simd_set1(2.0f), in[3], in[1] + in[7] - in[2]));
        out[2] = simd_zero();
        out[3] = simd_zero();
    } else {
        out[0] = in[0] + in[1] + in[2] + in[3] + in[7];
        out[1] = simd_zero();
        out[2] = simd_zero();
        out[3] = simd_zero();
    }
}

/* A of F(4, 5): 4 to 8 */
static inline __attribute__((always_inline)) void winograd_diff_4x5(simd_float *restrict out, const simd_float *restrict in, int less)
{
    if (less == 0) {
        out[0] = in[0];
        const simd_float e0 = in[0] + in[2];
        const simd_float o0 = in[1] + in[3];
        out[1] = e0 + o0;
        out[2] = e0 - o0;
        const simd_float e1 = simd_fma(simd_set1(4.0f), in[2], in[0]);
        const simd_float o1 = simd_fma(simd_set1(4.0f), in[3], in[1]);
        out[3] = simd_fma(simd_set1(2.0f), o1, e1);
        out[4] = simd_fma(simd_set1(-2.0f), o1, e1);
        const simd_float e2 = simd_fma(simd_set1(0.25f), in[2], in[0]);
        const simd_float o2 = simd_fma(simd_set1(0.25f), in[3], in[1]);
        out[5] = simd_fma(simd_set1(0.5f), o2, e2);
        out[6] = simd_fma(simd_set1(-0.5f), o2, e2);
        out[7] = in[3];
    } else if (less == 1) {
        out[0] = in[0];
        out[1] = in[0] + in[1] + in[2];
        out[2] = in[0] + in[2] - in[1];
        out[3] = simd_fma(simd_set1(4.0f), in[2], simd_fma(simd_set1(2.0f), in[1], in[0]));
        out[4] = simd_fma(simd_set1(4.0f), in[2], simd_fma(simd_set1(-2.0f), in[1], in[0]));
        out[5] = simd_fma(simd_set1(0.25f), in[2], simd_fma(simd_set1(0.5f), in[1], in[0]));
        out[7] = in[2];
        out[6] = simd_zero();
    } else if (less == 2) {
        out[0] = in[0];
        out[1] = in[0] + in[1];
        out[2] = in[0] - in[1];
        out[3] = simd_fma(simd_set1(2.0f), in[1], in[0]);
        out[4] = simd_fma(simd_set1(-2.0f), in[1], in[0]);
        out[7] = in[1];
        out[5] = simd_zero();
        out[6] = simd_zero();
    } else {
        out[0] = in[0];
        out[1] = in[0];
        out[2] = in[0];
        out[3] = in[0];
        out[7] = in[0];
        out[4] = simd_zero();
        out[5] = simd_zero();
        out[6] = simd_zero();
    }
}

/* G^T of F(4, 5): 8 to 5 */
static inline __attribute__((always_inline)) void winograd_gradient_4x5(simd_float *restrict out, const simd_float *restrict in)
{
    const simd_float s0 = in[1] + in[2];
    const simd_float d0 = in[1] - in[2];
    const simd_float s1 = in[3] + in[4];
    const simd_float d1 = in[3] - in[4];
    const simd_float s2 = in[5] + in[6];
    const simd_float d2 = in[5] - in[6];
    out[0] = simd_fma(simd_set1(0.7111111f), s2, simd_fma(simd_set1(0.011111111f), s1, simd_fma(simd_set1(-0.22222222f), s0, -in[0])));
    out[1] = simd_fma(simd_set1(0.35555556f), d2, simd_fma(simd_set1(0.022222222f), d1, simd_set1(-0.22222222f) * d0));
    out[2] = simd_fma(simd_set1(0.17777778f), s2, simd_fma(simd_set1(0.044444444f), s1, simd_set1(-0.22222222f) * s0));
    out[3] = simd_fma(simd_set1(0.08888889f), d2, simd_fma(simd_set1(0.08888889f), d1, simd_set1(-0.22222222f) * d0));
    out[4] = simd_fma(simd_set1(0.044444444f), s2, simd_fma(simd_set1(0.17777778f), s1, simd_fma(simd_set1(-0.22222222f), s0, in[7])));
}

/* clang-format on */

#endif
