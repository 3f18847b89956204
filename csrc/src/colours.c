/* Images brightened, and their contrast and saturation changed. */
#include "colours.h"
#include "team.h"

/* The mean grey of one sample, rounded, a half up. */
static int32_t mean_grey(const uint8_t *pixels, ptrdiff_t c, ptrdiff_t size)
{
    const ptrdiff_t count = c == 3 ? size : c * size;
    int64_t sum = 0;
    if (c == 3)
        for (ptrdiff_t i = 0; i < size; i++) sum += cnn_grey(pixels[i], pixels[size + i], pixels[2 * size + i]);
    else
        for (ptrdiff_t i = 0; i < count; i++) sum += pixels[i];
    return count ? (int32_t)((2 * sum + count) / (2 * count)) : 0;
}

static void recolour(uint8_t *pixels, ptrdiff_t c, ptrdiff_t size, const int32_t factors[3], const cnn_kernels *kernels)
{
    if (factors[0] != CNN_COLOUR_ONE) kernels->blend_bytes(pixels, c * size, 0, factors[0]);
    if (factors[1] != CNN_COLOUR_ONE) kernels->blend_bytes(pixels, c * size, mean_grey(pixels, c, size), factors[1]);
    if (factors[2] != CNN_COLOUR_ONE && c == 3)
        kernels->blend_greys(pixels, pixels + size, pixels + 2 * size, size, factors[2]);
}

typedef struct recolouring {
    uint8_t *dst;
    const cnn_image_colours *colours;
} recolouring;

static void recolour_samples(const cnn_worker *worker, void *context)
{
    const recolouring *task = context;
    const cnn_image_colours *colours = task->colours;
    const ptrdiff_t size = colours->h * colours->w, whole = colours->c * size;
    ptrdiff_t first, last;
    cnn_share(worker, colours->n, &first, &last);
    for (ptrdiff_t sample = first; sample < last; sample++) {
        uint8_t *dst = task->dst + sample * whole;
        memcpy(dst, colours->images + colours->indices[sample] * whole, (size_t)whole);
        recolour(dst, colours->c, size, colours->factors + 3 * sample, worker->kernels);
    }
}

cnn_status cnn_recolour_images(uint8_t *dst, const cnn_image_colours *colours, int threads)
{
    assert(colours->n >= 0 && colours->c >= 0 && colours->h >= 0 && colours->w >= 0);
    for (ptrdiff_t i = 0; i < 3 * colours->n; i++)
        assert(colours->factors[i] >= 0 && colours->factors[i] <= CNN_COLOUR_LARGEST);
    if (threads < 1 || threads > CNN_MAX_THREADS) return CNN_BAD_THREADS;
    bool reference;
    const cnn_kernels *kernels = cnn_kernels_current(&reference);
    if (!kernels) return CNN_BAD_ISA;
    if (reference) {
        cnn_ref_recolour_images(dst, colours);
        return CNN_OK;
    }
    recolouring task = {dst, colours};
    cnn_team team;
    cnn_team_init(&team);
    cnn_team_run(&team, threads, kernels, NULL, NULL, 0, recolour_samples, &task);
    cnn_team_destroy(&team);
    return CNN_OK;
}
