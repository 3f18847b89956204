/*
 * What the ops share that sum by channel over the rows of a matrix [rows][C]: how it is cut, and the sums of a part.
 *
 * Sums are taken over parts of the rows, cut by shape and batch only, and joined in order. Statistics take one pass over
 * a part: deviations from the mean of a few rows, and again from their own mean where that guess lay far off; the parts
 * are joined by the update of Chan, Golub & LeVeque (1979).
 *
 * When channels are few, several rows are taken as one: the kernels always see dozens of columns.
 */
#ifndef CNN_OPS_NORM_H
#define CNN_OPS_NORM_H

#include "internal.h"

enum {
    WIDE = 64,             /* from here on a row fills the vectors by itself */
    SLICE = 128,           /* channels of a task, where parts alone are too few tasks */
    ENOUGH_PARTS = 16,     /* ... these are enough */
    PART_ELEMENTS = 32768, /* what a part should hold: a second pass over it reads the second-level cache */
    PART_ROWS = 64,        /* ... and the fewest rows */
    PARTS = 128,           /* most parts */
    GUESS_ROWS = 16,       /* rows that the first guess of a mean is taken from */
    FAR = 32,              /* squares from the guess against squares from the mean: the bits that cancel in between */
};

/* The slice [channel, channel + channels) of the matrix, `groups` rows side by side as `columns` columns. */
typedef struct slice {
    ptrdiff_t channel, channels, groups, columns, stride;
} slice;

/* Consecutive rows of the matrix. */
typedef struct range {
    ptrdiff_t first, count;
} range;

static inline ptrdiff_t greatest_common_divisor(ptrdiff_t a, ptrdiff_t b)
{
    while (b) {
        const ptrdiff_t rest = a % b;
        a = b, b = rest;
    }
    return a;
}

/* Rows that are taken as one. */
static inline ptrdiff_t group_count(ptrdiff_t c)
{
    if (c >= WIDE) return 1;
    ptrdiff_t groups = CNN_PANEL / greatest_common_divisor(CNN_PANEL, c);
    while (groups * c < WIDE) groups *= 2;
    return groups;
}

static inline ptrdiff_t part_count(ptrdiff_t rows, ptrdiff_t c)
{
    const ptrdiff_t wished = cnn_min(rows * c / PART_ELEMENTS, rows / PART_ROWS);
    return cnn_max(1, cnn_min(wished, PARTS));
}

static inline ptrdiff_t slice_width(ptrdiff_t parts) { return parts < ENOUGH_PARTS ? SLICE : CNN_NORM_COLUMNS; }

static inline ptrdiff_t slice_count(ptrdiff_t c, ptrdiff_t parts)
{
    return c < WIDE ? 1 : cnn_ceil_div(c, slice_width(parts));
}

static inline slice slice_of(ptrdiff_t c, ptrdiff_t parts, ptrdiff_t index)
{
    const ptrdiff_t groups = group_count(c), width = slice_width(parts), channel = index * width;
    if (groups > 1) return (slice){0, c, groups, groups * c, groups * c};
    const ptrdiff_t channels = cnn_min(width, c - channel);
    return (slice){channel, channels, 1, channels, c};
}

static inline range part_of(ptrdiff_t rows, ptrdiff_t parts, ptrdiff_t index)
{
    const ptrdiff_t first = cnn_part(rows, parts, index);
    return (range){first, cnn_part(rows, parts, index + 1) - first};
}

static inline float weight_at(const float *weights, ptrdiff_t channel) { return weights ? weights[channel] : 1.0f; }

static inline float bias_at(const float *bias, ptrdiff_t channel) { return bias ? bias[channel] : 0.0f; }

/* Writes a channel's value for all rows side by side. */
static inline void put(float *vector, ptrdiff_t channel, ptrdiff_t c, float value)
{
    for (ptrdiff_t group = 0; group < group_count(c); group++) vector[group * c + channel] = value;
}

/* Adds the columns of each channel to the first of them. */
static inline void fold(const slice *s, double *columns)
{
    for (ptrdiff_t group = 1; group < s->groups; group++)
        for (ptrdiff_t j = 0; j < s->channels; j++) columns[j] += columns[group * s->channels + j];
}

/* The mean of some rows, evenly spaced, for all columns. */
static inline void guess(const cnn_kernels *kernels, const slice *s, const float *src, ptrdiff_t rows, float *center)
{
    const ptrdiff_t full = rows / s->groups, taken = cnn_max(1, cnn_min(full, GUESS_ROWS));
    const ptrdiff_t columns = full ? s->columns : rows * s->channels; /* fewer rows than stand side by side */
    memset(center, 0, (size_t)s->columns * sizeof *center);
    kernels->add_rows(center, src, taken, columns, cnn_max(full, 1) / taken * s->stride);
    for (ptrdiff_t j = s->channels; j < columns; j++) center[j % s->channels] += center[j];
    for (ptrdiff_t j = 0; j < s->channels; j++) center[j] /= (float)(taken * columns / s->channels);
    for (ptrdiff_t j = s->channels; j < s->columns; j++) center[j] = center[j - s->channels];
}

/* Mean and sum of squared deviations of the rows, by channel. */
static inline void part_moments(const cnn_kernels *kernels, const slice *s, const float *src, ptrdiff_t rows,
                                double *mean, double *squares)
{
    double sum[CNN_NORM_COLUMNS], square[CNN_NORM_COLUMNS];
    float center[CNN_NORM_COLUMNS];
    const ptrdiff_t full = rows / s->groups, rest = rows % s->groups * s->channels;
    bool far = true;
    guess(kernels, s, src, rows, center);
    for (int attempt = 0; far && attempt < 2; attempt++) {
        memset(sum, 0, (size_t)s->columns * sizeof *sum);
        memset(square, 0, (size_t)s->columns * sizeof *square);
        kernels->deviation_sums(sum, square, src, center, full, s->columns, s->stride);
        kernels->deviation_sums(sum, square, src + full * s->stride, center, rest > 0, rest, s->stride);
        fold(s, sum);
        fold(s, square);
        far = false;
        for (ptrdiff_t j = 0; j < s->channels; j++) {
            const double left = square[j] - sum[j] * sum[j] / (double)rows;
            mean[j] = (double)center[j] + sum[j] / (double)rows;
            squares[j] = left < 0.0 ? 0.0 : left;
            far |= square[j] > FAR * squares[j];
        }
        for (ptrdiff_t j = 0; far && j < s->columns; j++) center[j] = (float)mean[j % s->channels];
    }
}

/* Joins the parts of a channel, of `rows` rows in all. Returns the squared deviations from *all, their mean. */
static inline double join_parts(const double *mean, const double *squares, ptrdiff_t rows, ptrdiff_t parts,
                                ptrdiff_t stride, double *all)
{
    *all = mean[0];
    if (parts == 1) return squares[0];
    double joined = mean[0], total = squares[0], seen = (double)part_of(rows, parts, 0).count;
    for (ptrdiff_t part = 1; part < parts; part++) {
        const double count = (double)part_of(rows, parts, part).count, both = seen + count;
        const double step = mean[part * stride] - joined;
        joined += step * (count / both);
        total += squares[part * stride] + step * step * (seen * count / both);
        seen = both;
    }
    *all = joined;
    return total;
}

/* ---- gradients ---------------------------------------------------------------------------------------------------- */

/* Sums of dy and of dy * (x - mean) over the rows, by channel. `norm` begins at the slice. */
static inline void part_products(const cnn_kernels *kernels, const slice *s, const float *src, const float *diff_dst,
                                 const cnn_norm *norm, ptrdiff_t rows, double *sums, double *products)
{
    const ptrdiff_t full = rows / s->groups, rest = rows % s->groups * s->channels, tail = full * s->stride;
    double sum[CNN_NORM_COLUMNS] = {0.0}, product[CNN_NORM_COLUMNS] = {0.0};
    kernels->gradient_sums(sum, product, diff_dst, src, norm, full, s->columns, s->stride);
    kernels->gradient_sums(sum, product, diff_dst + tail, src + tail, norm, rest > 0, rest, s->stride);
    fold(s, sum);
    fold(s, product);
    memcpy(sums, sum, (size_t)s->channels * sizeof *sums);
    memcpy(products, product, (size_t)s->channels * sizeof *products);
}

#endif
