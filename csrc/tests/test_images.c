/* cnn_gather_images against its twin: every fill, shifts beyond the image, flips both ways, boxes across the border, one
 * factor for all samples or for each, 1x1 images, threads; and cnn_recolour_images likewise: every factor's ends, one
 * channel to four. */
#include <stdlib.h>
#include <string.h>

#include "common/operands.h"
#include "test.h"

enum { SAMPLES = 7, IMAGES = 4, BOXES = 3 };

typedef struct shape {
    ptrdiff_t c, h, w;
} shape;

static int draw(uint32_t stream, ptrdiff_t i, int low, int high)
{
    return low + (int)(random_uniform(11, stream, (uint64_t)i) * (high - low + 1));
}

static void check(const shape *s, cnn_fill fill, bool changed, bool per_sample)
{
    const ptrdiff_t size = s->c * s->h * s->w, factors = (per_sample ? SAMPLES : 1) * s->c;
    test_begin("images isa=%s c=%td h=%td w=%td fill=%d changed=%d per_sample=%d", cnn_get_isa(), s->c, s->h, s->w,
               fill, changed, per_sample);
    uint8_t *images = malloc((size_t)(IMAGES * size)), *paints = malloc((size_t)(SAMPLES * BOXES * s->c));
    float *scale = malloc((size_t)factors * sizeof *scale), *offset = malloc((size_t)factors * sizeof *offset);
    int64_t indices[SAMPLES];
    int32_t shifts[SAMPLES][2], boxes[SAMPLES][BOXES][4];
    uint8_t flips[SAMPLES], turns[SAMPLES];
    for (ptrdiff_t i = 0; i < IMAGES * size; i++) images[i] = (uint8_t)draw(1, i, 0, 255);
    for (ptrdiff_t i = 0; i < SAMPLES * BOXES * s->c; i++) paints[i] = (uint8_t)draw(2, i, 0, 255);
    for (ptrdiff_t i = 0; i < factors; i++) {
        scale[i] = (float)(0.01 + random_uniform(11, 3, (uint64_t)i));
        offset[i] = (float)(random_uniform(11, 4, (uint64_t)i) - 0.5);
    }
    for (int n = 0; n < SAMPLES; n++) {
        indices[n] = draw(5, n, 0, IMAGES - 1);
        flips[n] = (uint8_t)draw(6, n, 0, 1);
        turns[n] = (uint8_t)draw(13, n, 0, 1);
        shifts[n][0] = draw(7, n, -2 * (int)s->h - 1, 2 * (int)s->h + 1);
        shifts[n][1] = draw(8, n, -2 * (int)s->w - 1, 2 * (int)s->w + 1);
        if (n % 2) shifts[n][0] /= 4, shifts[n][1] /= 4; /* most of the image stays */
        for (int i = 0; i < BOXES; i++) {
            int32_t *box = boxes[n][i];
            box[0] = draw(9, 3 * n + i, -2, (int)s->h), box[2] = box[0] + draw(10, 3 * n + i, 0, 4);
            box[1] = draw(11, 3 * n + i, -2, (int)s->w), box[3] = box[1] + draw(12, 3 * n + i, 0, 4);
        }
    }
    const cnn_image_batch batch = {.images = images,
                                   .indices = indices,
                                   .n = SAMPLES,
                                   .c = s->c,
                                   .h = s->h,
                                   .w = s->w,
                                   .scale = scale,
                                   .offset = offset,
                                   .per_sample = per_sample,
                                   .shifts = changed ? shifts[0] : NULL,
                                   .fill = fill,
                                   .fill_value = 200,
                                   .flips = changed ? flips : NULL,
                                   .turns = changed ? turns : NULL,
                                   .boxes = changed ? boxes[0][0] : NULL,
                                   .paints = changed ? paints : NULL,
                                   .box_count = changed ? BOXES : 0};
    const size_t bytes = (size_t)(SAMPLES * size) * sizeof(float);
    float *dst = malloc(bytes), *expected = malloc(bytes);
    cnn_ref_gather_images(expected, &batch);
    static const int teams[] = {1, 2, 3, 5};
    for (size_t t = 0; t < sizeof teams / sizeof teams[0]; t++) {
        memset(dst, 0xff, bytes);
        const cnn_status status = cnn_gather_images(dst, &batch, teams[t]);
        test_expect(status == CNN_OK, "status %d", status);
        for (ptrdiff_t i = 0; i < SAMPLES * size; i++)
            if (memcmp(dst + i, expected + i, sizeof *dst) != 0) {
                test_expect(false, "%d threads: element %td is %.9g, twin %.9g", teams[t], i, dst[i], expected[i]);
                break;
            }
    }
    test_expect(cnn_gather_images(dst, &batch, 0) == CNN_BAD_THREADS, "no thread is not refused");
    free(images), free(paints), free(scale), free(offset), free(dst), free(expected);
    test_end();
}

static void check_colours(const shape *s, int32_t lowest, int32_t highest)
{
    const ptrdiff_t size = s->c * s->h * s->w;
    test_begin("colours isa=%s c=%td h=%td w=%td factors=%d..%d", cnn_get_isa(), s->c, s->h, s->w, lowest, highest);
    uint8_t *images = malloc((size_t)(IMAGES * size));
    int64_t indices[SAMPLES];
    int32_t factors[SAMPLES][3];
    for (ptrdiff_t i = 0; i < IMAGES * size; i++) images[i] = (uint8_t)draw(14, i, 0, 255);
    for (int n = 0; n < SAMPLES; n++) {
        indices[n] = draw(15, n, 0, IMAGES - 1);
        for (int i = 0; i < 3; i++) factors[n][i] = draw(16, 3 * n + i, lowest, highest);
    }
    const cnn_image_colours colours = {images, indices, SAMPLES, s->c, s->h, s->w, factors[0]};
    const size_t bytes = (size_t)(SAMPLES * size);
    uint8_t *dst = malloc(bytes), *expected = malloc(bytes);
    cnn_ref_recolour_images(expected, &colours);
    static const int teams[] = {1, 2, 5};
    for (size_t t = 0; t < sizeof teams / sizeof teams[0]; t++) {
        memset(dst, 0xff, bytes);
        const cnn_status status = cnn_recolour_images(dst, &colours, teams[t]);
        test_expect(status == CNN_OK, "status %d", status);
        test_expect(memcmp(dst, expected, bytes) == 0, "%d threads: other bytes than the twin", teams[t]);
    }
    if (lowest == CNN_COLOUR_ONE && highest == CNN_COLOUR_ONE)
        for (int n = 0; n < SAMPLES; n++)
            test_expect(memcmp(dst + n * size, images + indices[n] * size, (size_t)size) == 0, "factors of 1 change");
    test_expect(cnn_recolour_images(dst, &colours, 0) == CNN_BAD_THREADS, "no thread is not refused");
    free(images), free(dst), free(expected);
    test_end();
}

void suite_images(void)
{
    static const shape shapes[] = {{1, 1, 1}, {3, 1, 9}, {1, 28, 28}, {3, 7, 33}, {2, 5, 4}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
        for (int fill = CNN_FILL_CONSTANT; fill <= CNN_FILL_MIRROR; fill++)
            for (int variant = 0; variant < 4; variant++) check(&shapes[s], (cnn_fill)fill, variant & 1, variant >> 1);
    static const int32_t factors[][2] = {
        {0, CNN_COLOUR_LARGEST}, {CNN_COLOUR_ONE / 2, 2 * CNN_COLOUR_ONE}, {0, 0}, {CNN_COLOUR_ONE, CNN_COLOUR_ONE}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
        for (size_t f = 0; f < sizeof factors / sizeof factors[0]; f++)
            check_colours(&shapes[s], factors[f][0], factors[f][1]);
}
