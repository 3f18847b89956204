/* What cnn_recolour_images computes, pixel by pixel, in double: every product and sum is a whole number of 2^-16, which
 * it holds exactly. */
#include "basics.h"

static double rounded(double value) { return floor(value + 0.5); }

/* Of a channel of the pixel at `at`; three channels have one grey. */
static double grey_of(const uint8_t *pixels, ptrdiff_t c, ptrdiff_t size, ptrdiff_t channel, ptrdiff_t at)
{
    if (c != 3) return pixels[channel * size + at];
    return rounded((19595.0 * pixels[at] + 38470.0 * pixels[size + at] + 7471.0 * pixels[2 * size + at]) / 65536.0);
}

static double mean_grey(const uint8_t *pixels, ptrdiff_t c, ptrdiff_t size)
{
    double sum = 0.0;
    for (ptrdiff_t channel = 0; channel < c; channel++)
        for (ptrdiff_t at = 0; at < size; at++) sum += grey_of(pixels, c, size, channel, at);
    return rounded(sum / (double)(c * size));
}

static uint8_t blended(double pixel, double base, double factor)
{
    const double value = rounded(factor * pixel + (1.0 - factor) * base);
    return (uint8_t)(value < 0.0 ? 0.0 : value > 255.0 ? 255.0 : value);
}

void cnn_ref_recolour_images(uint8_t *dst, const cnn_image_colours *colours)
{
    enum { BRIGHTNESS, CONTRAST, SATURATION, CHANGES };
    const ptrdiff_t size = colours->h * colours->w, c = colours->c;
    for (ptrdiff_t n = 0; n < colours->n; n++) {
        uint8_t *pixels = dst + n * c * size;
        memcpy(pixels, colours->images + colours->indices[n] * c * size, (size_t)(c * size));
        for (int change = 0; change < CHANGES; change++) {
            const double factor = colours->factors[CHANGES * n + change] / (double)CNN_COLOUR_ONE;
            const double mean = change == CONTRAST ? mean_grey(pixels, c, size) : 0.0; /* before any pixel changes */
            for (ptrdiff_t at = 0; at < size; at++) {
                const double first_grey = grey_of(pixels, c, size, 0, at); /* before its own channels change */
                for (ptrdiff_t channel = 0; channel < c; channel++) {
                    uint8_t *pixel = pixels + channel * size + at;
                    const double grey = c == 3 ? first_grey : *pixel;
                    *pixel = blended(*pixel, change == SATURATION ? grey : mean, factor);
                }
            }
        }
    }
}
