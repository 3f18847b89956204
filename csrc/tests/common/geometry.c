#include "common/geometry.h"

#include <stdio.h>
#include <string.h>

typedef struct field {
    const char *kind, *name;
    size_t offset;
    bool real; /* float, else ptrdiff_t */
} field;

#define WHOLE(kind, name)                                                                                              \
    {                                                                                                                  \
#kind, #name, offsetof(cnn_##kind##_geometry, name), false                                                     \
    }
#define REAL(kind, name)                                                                                               \
    {                                                                                                                  \
#kind, #name, offsetof(cnn_##kind##_geometry, name), true                                                      \
    }

static const field fields[] = {
    WHOLE(conv2d, h),
    WHOLE(conv2d, w),
    WHOLE(conv2d, ic),
    WHOLE(conv2d, oc),
    WHOLE(conv2d, kh),
    WHOLE(conv2d, kw),
    WHOLE(conv2d, oh),
    WHOLE(conv2d, ow),
    WHOLE(conv2d, stride_h),
    WHOLE(conv2d, stride_w),
    WHOLE(conv2d, pad_top),
    WHOLE(conv2d, pad_left),
    WHOLE(conv2d, pad_bottom),
    WHOLE(conv2d, pad_right),
    WHOLE(conv2d, dilation_h),
    WHOLE(conv2d, dilation_w),
    WHOLE(conv2d, groups),
    WHOLE(conv2d, activation),
    WHOLE(conv2d, pool),
    WHOLE(conv2d, tile),
    WHOLE(pool2d, h),
    WHOLE(pool2d, w),
    WHOLE(pool2d, c),
    WHOLE(pool2d, kh),
    WHOLE(pool2d, kw),
    WHOLE(pool2d, oh),
    WHOLE(pool2d, ow),
    WHOLE(pool2d, stride_h),
    WHOLE(pool2d, stride_w),
    WHOLE(pool2d, pad_top),
    WHOLE(pool2d, pad_left),
    WHOLE(pool2d, count_include_pad),
    WHOLE(linear, k),
    WHOLE(linear, n),
    WHOLE(linear, activation),
    WHOLE(elementwise, count),
    REAL(elementwise, slope),
    WHOLE(image, h),
    WHOLE(image, w),
    WHOLE(image, c),
    WHOLE(norm, rows),
    WHOLE(norm, c),
    WHOLE(norm, w),
    WHOLE(norm, activation),
    WHOLE(norm, pool),
    REAL(norm, eps),
    REAL(norm, momentum),
    WHOLE(softmax, rows),
    WHOLE(softmax, c),
    WHOLE(dropout, count),
    WHOLE(dropout, stream),
    REAL(dropout, rate),
    WHOLE(slice, rows),
    WHOLE(slice, channels),
    WHOLE(slice, src_stride),
    WHOLE(slice, src_offset),
    WHOLE(slice, dst_stride),
    WHOLE(slice, dst_offset),
    WHOLE(loss, classes),
    REAL(loss, label_smoothing),
    WHOLE(optimizer, count),
    WHOLE(optimizer, segments),
    REAL(optimizer, momentum),
    REAL(optimizer, nesterov),
    REAL(optimizer, beta1),
    REAL(optimizer, beta2),
    REAL(optimizer, eps),
    REAL(optimizer, max_norm),
};
enum { FIELDS = sizeof fields / sizeof fields[0] };

static double get(const field *f, const cnn_geometry *geometry)
{
    const char *at = (const char *)geometry + f->offset;
    if (f->real) return *(const float *)(const void *)at;
    return (double)*(const ptrdiff_t *)(const void *)at;
}

void geometry_print(const char *kind, const cnn_geometry *geometry, char text[GEOMETRY_TEXT])
{
    size_t length = 0;
    text[0] = '\0';
    for (int i = 0; i < FIELDS && length < GEOMETRY_TEXT; i++) {
        if (strcmp(fields[i].kind, kind) != 0 || get(&fields[i], geometry) == 0.0) continue;
        length += (size_t)snprintf(text + length, GEOMETRY_TEXT - length, "%s%s=%g", length ? " " : "", fields[i].name,
                                   get(&fields[i], geometry));
    }
}

bool geometry_set(const char *kind, cnn_geometry *geometry, const char *name, double value)
{
    for (int i = 0; i < FIELDS; i++) {
        if (strcmp(fields[i].kind, kind) != 0 || strcmp(fields[i].name, name) != 0) continue;
        char *at = (char *)geometry + fields[i].offset;
        if (fields[i].real)
            *(float *)(void *)at = (float)value;
        else
            *(ptrdiff_t *)(void *)at = (ptrdiff_t)value;
        return true;
    }
    return false;
}

static void one_if_zero(ptrdiff_t *field)
{
    if (*field == 0) *field = 1;
}

void geometry_complete(const char *kind, cnn_geometry *geometry)
{
    if (strcmp(kind, "conv2d") == 0) {
        cnn_conv2d_geometry *g = &geometry->conv2d;
        one_if_zero(&g->stride_h), one_if_zero(&g->stride_w), one_if_zero(&g->groups);
        one_if_zero(&g->dilation_h), one_if_zero(&g->dilation_w);
        if (!g->oh) g->oh = (g->h + g->pad_top + g->pad_bottom - g->dilation_h * (g->kh - 1) - 1) / g->stride_h + 1;
        if (!g->ow) g->ow = (g->w + g->pad_left + g->pad_right - g->dilation_w * (g->kw - 1) - 1) / g->stride_w + 1;
    } else if (strcmp(kind, "pool2d") == 0) {
        cnn_pool2d_geometry *g = &geometry->pool2d;
        one_if_zero(&g->stride_h), one_if_zero(&g->stride_w);
        if (!g->oh) g->oh = (g->h + 2 * g->pad_top - g->kh) / g->stride_h + 1;
        if (!g->ow) g->ow = (g->w + 2 * g->pad_left - g->kw) / g->stride_w + 1;
    }
}

double geometry_flops(int op, const cnn_geometry *geometry, ptrdiff_t batch)
{
    const char *kind = cnn_op_find(op)->geometry;
    const cnn_conv2d_geometry *conv = &geometry->conv2d;
    if (strcmp(kind, "conv2d") == 0)
        return 2.0 * (double)(batch * conv->oh * conv->ow * conv->oc) *
               (double)(conv->kh * conv->kw * conv->ic / conv->groups);
    if (strcmp(kind, "linear") == 0)
        return 2.0 * (double)batch * (double)geometry->linear.k * (double)geometry->linear.n;
    return 0.0;
}
