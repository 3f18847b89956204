/* What cnn_warp_images computes, pixel by pixel. */
#include "ref/fill.h"

/* A place, given in 2^-32 pixels, as a whole pixel and 0 ... 2047 parts of 2048 behind it. */
typedef struct spot {
    int64_t pixel, part;
} spot;

static spot spot_of(int64_t place)
{
    const int64_t unit = INT64_C(1) << 21; /* 2^-11 pixels */
    int64_t parts = (place + unit / 2) / unit;
    if (parts * unit > place + unit / 2) parts--; /* C rounds to zero, we round down */
    spot found = {parts / 2048, parts % 2048};
    if (found.part < 0) found = (spot){found.pixel - 1, found.part + 2048};
    return found;
}

static int64_t pixel_of(const cnn_image_warp *warp, const uint8_t *plane, int64_t y, int64_t x)
{
    const ptrdiff_t row = ref_fill_source(warp->fill, y, warp->h), column = ref_fill_source(warp->fill, x, warp->w);
    return row < 0 || column < 0 ? warp->fill_value : plane[row * warp->w + column];
}

static uint8_t warped(const cnn_image_warp *warp, const uint8_t *plane, spot y, spot x)
{
    int64_t sum = 0;
    for (int down = 0; down < 2; down++)
        for (int right = 0; right < 2; right++)
            sum += (down ? y.part : 2048 - y.part) * (right ? x.part : 2048 - x.part) *
                   pixel_of(warp, plane, y.pixel + down, x.pixel + right);
    return (uint8_t)((sum + 2048 * 2048 / 2) / (2048 * 2048));
}

void cnn_ref_warp_images(uint8_t *dst, const cnn_image_warp *warp)
{
    const ptrdiff_t c = warp->c, h = warp->h, w = warp->w;
    for (ptrdiff_t n = 0; n < warp->n; n++) {
        const int64_t *a = warp->coefficients + 6 * n;
        for (ptrdiff_t channel = 0; channel < c; channel++)
            for (ptrdiff_t y = 0; y < h; y++)
                for (ptrdiff_t x = 0; x < w; x++)
                    dst[((n * c + channel) * h + y) * w + x] =
                        warped(warp, warp->images + (warp->indices[n] * c + channel) * h * w,
                               spot_of(a[3] * x + a[4] * y + a[5]), spot_of(a[0] * x + a[1] * y + a[2]));
    }
}
