/* cnn_warp_images against its twin, byte for byte: every fill, turns, shears, places far outside, the largest
 * coefficients, thin images, threads; and what must come out exactly: the image itself, moves by whole pixels, turns by
 * 90 degrees. */
#include <stdlib.h>
#include <string.h>

#include "common/operands.h"
#include "test.h"

enum { SAMPLES = 8, IMAGES = 3 };

typedef struct shape {
    ptrdiff_t c, h, w;
} shape;

static const int64_t ONE = CNN_WARP_ONE, LARGEST = INT64_C(1) << 46, FARTHEST = INT64_C(1) << 61;

static double draw(uint32_t stream, uint64_t i) { return 2.0 * random_uniform(13, stream, i) - 1.0; }

/* Like a turn with a scale, like a shear, within the whole range; the first one's shift is a share of the image. */
static void draw_map(int64_t a[6], uint64_t i, const shape *s, double reach)
{
    for (int k = 0; k < 6; k++) {
        const double extent = (double)(k < 3 ? s->w : s->h);
        a[k] = (int64_t)(draw((uint32_t)k, i) * (k % 3 == 2 ? 2.0 * extent : 1.3) * reach * (double)ONE);
    }
    if (reach == 1.0) a[0] += ONE, a[4] += ONE, a[2] /= 4, a[5] /= 4;
}

static cnn_image_warp warp_of(const shape *s, const uint8_t *images, const int64_t *indices,
                              const int64_t *coefficients)
{
    return (cnn_image_warp){.images = images,
                            .indices = indices,
                            .n = SAMPLES,
                            .c = s->c,
                            .h = s->h,
                            .w = s->w,
                            .coefficients = coefficients,
                            .fill_value = 201};
}

static uint8_t *draw_images(ptrdiff_t bytes)
{
    uint8_t *images = malloc((size_t)bytes);
    for (ptrdiff_t i = 0; i < bytes; i++) images[i] = (uint8_t)(255.99 * random_uniform(13, 9, (uint64_t)i));
    return images;
}

static void check_twin(const shape *s, cnn_fill fill, double reach)
{
    const ptrdiff_t size = s->c * s->h * s->w;
    test_begin("warp isa=%s c=%td h=%td w=%td fill=%d reach=%g", cnn_get_isa(), s->c, s->h, s->w, fill, reach);
    uint8_t *images = draw_images(IMAGES * size), *dst = malloc((size_t)(SAMPLES * size));
    uint8_t *expected = malloc((size_t)(SAMPLES * size));
    int64_t indices[SAMPLES], coefficients[SAMPLES][6];
    for (int n = 0; n < SAMPLES; n++) {
        indices[n] = n % IMAGES;
        draw_map(coefficients[n], (uint64_t)n, s, reach);
    }
    cnn_image_warp warp = warp_of(s, images, indices, coefficients[0]);
    warp.fill = fill;
    cnn_ref_warp_images(expected, &warp);
    static const int teams[] = {1, 2, 3, 5};
    for (size_t t = 0; t < sizeof teams / sizeof teams[0]; t++) {
        memset(dst, 0x5a, (size_t)(SAMPLES * size));
        const cnn_status status = cnn_warp_images(dst, &warp, teams[t]);
        test_expect(status == CNN_OK, "status %d", status);
        for (ptrdiff_t i = 0; i < SAMPLES * size; i++)
            if (dst[i] != expected[i]) {
                test_expect(false, "%d threads: byte %td is %d, twin %d", teams[t], i, dst[i], expected[i]);
                break;
            }
    }
    free(images), free(dst), free(expected);
    test_end();
}

/* Coefficients at the ends of their range, of either sign, on the largest extents: sums must not overflow. */
static void check_extremes(const shape *s, cnn_fill fill)
{
    const ptrdiff_t size = s->c * s->h * s->w;
    test_begin("warp extremes isa=%s h=%td w=%td fill=%d", cnn_get_isa(), s->h, s->w, fill);
    uint8_t *images = draw_images(IMAGES * size), *dst = malloc((size_t)(SAMPLES * size));
    uint8_t *expected = malloc((size_t)(SAMPLES * size));
    int64_t indices[SAMPLES] = {0}, coefficients[SAMPLES][6];
    for (int n = 0; n < SAMPLES; n++)
        for (int k = 0; k < 6; k++) {
            const int64_t most = k % 3 == 2 ? FARTHEST : LARGEST;
            coefficients[n][k] = n >> k % 3 & 1 ? -most : most;
        }
    cnn_image_warp warp = warp_of(s, images, indices, coefficients[0]);
    warp.fill = fill;
    cnn_ref_warp_images(expected, &warp);
    test_expect(cnn_warp_images(dst, &warp, 1) == CNN_OK, "is refused");
    test_expect(memcmp(dst, expected, (size_t)(SAMPLES * size)) == 0, "is not the twin's");
    free(images), free(dst), free(expected);
    test_end();
}

/* A map without parts of pixels: pixel (x, y) is that at (a0*x + a1*y + a2, ...), or comes from the fill value. */
static void check_exact(const shape *s, const char *what, const int64_t pixels[6])
{
    const ptrdiff_t plane = s->h * s->w, size = s->c * plane;
    test_begin("warp exact isa=%s %s c=%td h=%td w=%td", cnn_get_isa(), what, s->c, s->h, s->w);
    uint8_t *images = draw_images(IMAGES * size), *dst = malloc((size_t)size);
    const int64_t indices[] = {IMAGES - 1};
    int64_t coefficients[6];
    for (int k = 0; k < 6; k++) coefficients[k] = pixels[k] * ONE;
    cnn_image_warp warp = warp_of(s, images, indices, coefficients);
    warp.n = 1;
    test_expect(cnn_warp_images(dst, &warp, 1) == CNN_OK, "is refused");
    for (ptrdiff_t i = 0; i < size; i++) {
        const ptrdiff_t x = i % s->w, y = i / s->w % s->h;
        const int64_t from_x = pixels[0] * x + pixels[1] * y + pixels[2];
        const int64_t from_y = pixels[3] * x + pixels[4] * y + pixels[5];
        const bool inside = from_x >= 0 && from_y >= 0 && from_x < s->w && from_y < s->h;
        const uint8_t *src = images + indices[0] * size + i / plane * plane;
        const int expected = inside ? src[from_y * s->w + from_x] : 201;
        if (!test_expect(dst[i] == expected, "byte %td is %d, expected %d", i, dst[i], expected)) break;
    }
    free(images), free(dst);
    test_end();
}

/* A quarter of the way between two pixels, and halves that are rounded up. */
static void check_rounding(void)
{
    static const uint8_t image[] = {0, 100, 101, 255, 0, 100, 101, 255};
    const int64_t indices[] = {0}, coefficients[] = {ONE, 0, ONE / 4, 0, ONE, 0};
    const shape s = {1, 2, 4};
    uint8_t dst[8];
    cnn_image_warp warp = warp_of(&s, image, indices, coefficients);
    warp.n = 1, warp.fill = CNN_FILL_NEAREST;
    test_begin("warp rounding isa=%s", cnn_get_isa());
    test_expect(cnn_warp_images(dst, &warp, 1) == CNN_OK, "is refused");
    test_expect(dst[0] == 25 && dst[1] == 100 && dst[2] == 140 && dst[3] == 255, "%d %d %d %d", dst[0], dst[1], dst[2],
                dst[3]); /* 25, 100.25, 139.5, 255 */
    test_end();
}

static void check_bad_arguments(void)
{
    uint8_t image[4] = {0}, dst[4];
    const int64_t indices[] = {0};
    const shape s = {1, 2, 2};
    test_begin("warp: what is out of range is refused");
    for (int k = 0; k < 6; k++)
        for (int sign = -1; sign <= 1; sign += 2) {
            int64_t coefficients[6] = {0};
            cnn_image_warp warp = warp_of(&s, image, indices, coefficients);
            warp.n = 1;
            coefficients[k] = sign * (k % 3 == 2 ? FARTHEST : LARGEST);
            test_expect(cnn_warp_images(dst, &warp, 1) == CNN_OK, "coefficient %d of the largest size is refused", k);
            coefficients[k] += sign;
            test_expect(cnn_warp_images(dst, &warp, 1) == CNN_BAD_WARP, "coefficient %d is taken", k);
            coefficients[k] = sign < 0 ? INT64_MIN : INT64_MAX;
            test_expect(cnn_warp_images(dst, &warp, 1) == CNN_BAD_WARP, "coefficient %d at the end of int64", k);
        }
    const int64_t still[6] = {ONE, 0, 0, 0, ONE, 0};
    cnn_image_warp warp = warp_of(&s, image, indices, still);
    warp.n = 1;
    test_expect(cnn_warp_images(dst, &warp, 0) == CNN_BAD_THREADS, "no thread");
    test_expect(cnn_warp_images(dst, &warp, CNN_MAX_THREADS + 1) == CNN_BAD_THREADS, "too many threads");
    warp.fill = (cnn_fill)(CNN_FILL_MIRROR + 1);
    test_expect(cnn_warp_images(dst, &warp, 1) == CNN_BAD_WARP, "an unknown fill");
    warp.fill = CNN_FILL_WRAP, warp.h = (1 << 15) + 1;
    test_expect(cnn_warp_images(dst, &warp, 1) == CNN_BAD_WARP, "too many rows");
    warp.h = 2, warp.w = (1 << 15) + 1;
    test_expect(cnn_warp_images(dst, &warp, 1) == CNN_BAD_WARP, "too many columns");
    warp.n = 0, warp.w = 2;
    test_expect(cnn_warp_images(dst, &warp, 2) == CNN_OK, "no sample");
    warp.n = 1, warp.h = 0;
    test_expect(cnn_warp_images(dst, &warp, 2) == CNN_OK, "no pixel");
    test_end();
}

void suite_warp(void)
{
    static const shape shapes[] = {{1, 1, 1}, {3, 1, 9}, {2, 6, 1}, {1, 28, 28}, {3, 7, 33}, {2, 5, 150}, {1, 2, 2}};
    static const shape wide = {1, 2, 1 << 15}, tall = {1, 1 << 15, 2}, thin = {1, 1 << 15, 1};
    static const double reaches[] = {1.0, 30.0, 1e4};
    const char *before = cnn_get_isa(), *isa;
    for (int i = 0; (isa = cnn_available_isa(i)) != NULL; i++) {
        cnn_set_isa(isa);
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            const ptrdiff_t h = shapes[s].h, w = shapes[s].w;
            for (int fill = CNN_FILL_CONSTANT; fill <= CNN_FILL_MIRROR; fill++)
                for (size_t r = 0; r < sizeof reaches / sizeof reaches[0]; r++)
                    check_twin(&shapes[s], (cnn_fill)fill, reaches[r]);
            check_exact(&shapes[s], "identity", (const int64_t[]){1, 0, 0, 0, 1, 0});
            check_exact(&shapes[s], "moved", (const int64_t[]){1, 0, -2, 0, 1, 3});
            check_exact(&shapes[s], "mirrored", (const int64_t[]){-1, 0, w - 1, 0, 1, 0});
            check_exact(&shapes[s], "turned by 90", (const int64_t[]){0, 1, 0, -1, 0, h - 1});
            check_exact(&shapes[s], "turned by 180", (const int64_t[]){-1, 0, w - 1, 0, -1, h - 1});
            check_exact(&shapes[s], "turned by 270", (const int64_t[]){0, -1, w - 1, 1, 0, 0});
        }
        for (int fill = CNN_FILL_CONSTANT; fill <= CNN_FILL_MIRROR; fill++)
            check_extremes(&wide, (cnn_fill)fill), check_extremes(&tall, (cnn_fill)fill),
                check_extremes(&thin, (cnn_fill)fill);
        check_rounding();
    }
    cnn_set_isa(before);
    check_bad_arguments();
}
