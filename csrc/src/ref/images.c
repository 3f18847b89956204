/* What cnn_gather_images computes, pixel by pixel. */
#include "ref/fill.h"

static bool inside(const int32_t box[4], ptrdiff_t y, ptrdiff_t x)
{
    return y >= box[0] && x >= box[1] && y < box[2] && x < box[3];
}

static uint8_t pixel_of(const cnn_image_batch *b, ptrdiff_t n, ptrdiff_t c, ptrdiff_t y, ptrdiff_t x)
{
    for (ptrdiff_t i = b->boxes ? b->box_count - 1 : -1; i >= 0; i--) {
        const ptrdiff_t box = n * b->box_count + i;
        if (inside(b->boxes + 4 * box, y, x)) return b->paints[box * b->c + c];
    }
    if (b->flips && b->flips[n]) x = b->w - 1 - x;
    if (b->turns && b->turns[n]) y = b->h - 1 - y;
    if (b->shifts) {
        y = ref_fill_source(b->fill, y - b->shifts[2 * n], b->h);
        x = ref_fill_source(b->fill, x - b->shifts[2 * n + 1], b->w);
    }
    if (y < 0 || x < 0) return b->fill_value;
    return b->images[((b->indices[n] * b->c + c) * b->h + y) * b->w + x];
}

void cnn_ref_gather_images(float *dst, const cnn_image_batch *b)
{
    for (ptrdiff_t n = 0; n < b->n; n++)
        for (ptrdiff_t c = 0; c < b->c; c++)
            for (ptrdiff_t y = 0; y < b->h; y++)
                for (ptrdiff_t x = 0; x < b->w; x++) {
                    const ptrdiff_t factor = (b->per_sample ? n * b->c : 0) + c;
                    const float pixel = (float)pixel_of(b, n, c, y, x);
                    dst[((n * b->c + c) * b->h + y) * b->w + x] = pixel * b->scale[factor] + b->offset[factor];
                }
}
