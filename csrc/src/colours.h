/* What a change of colours computes for a pixel, in whole numbers. */
#ifndef CNN_COLOURS_H
#define CNN_COLOURS_H

#include "cnn.h"

/* The grey of a pixel of three channels. The weights add up to 2^16. */
static inline int32_t cnn_grey(int32_t red, int32_t green, int32_t blue)
{
    return (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16;
}

/* factor * pixel + (1 - factor) * base as a grey level. */
static inline uint8_t cnn_blended(int32_t pixel, int32_t base, int32_t factor)
{
    const int32_t sum = factor * pixel + (CNN_COLOUR_ONE - factor) * base + CNN_COLOUR_ONE / 2;
    const int32_t value = (sum < 0 ? 0 : sum) >> CNN_COLOUR_BITS;
    return (uint8_t)(value > 255 ? 255 : value);
}

#endif
