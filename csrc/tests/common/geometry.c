#include "common/geometry.h"

#include <stdio.h>
#include <string.h>

static double get(const cnn_geometry_field *field, const cnn_geometry *geometry)
{
    const char *at = (const char *)geometry + field->offset;
    if (field->real) return *(const float *)(const void *)at;
    return (double)*(const ptrdiff_t *)(const void *)at;
}

void geometry_print(cnn_geometry_kind kind, const cnn_geometry *geometry, char text[GEOMETRY_TEXT])
{
    const cnn_geometry_info *info = cnn_geometry_find((int)kind);
    size_t length = 0;
    text[0] = '\0';
    for (int i = 0; i < info->field_count && length < GEOMETRY_TEXT; i++) {
        const double value = get(&info->fields[i], geometry);
        if (value == 0.0) continue;
        length += (size_t)snprintf(text + length, GEOMETRY_TEXT - length, "%s%s=%g", length ? " " : "",
                                   info->fields[i].name, value);
    }
}

bool geometry_set(cnn_geometry_kind kind, cnn_geometry *geometry, const char *name, double value)
{
    const cnn_geometry_info *info = cnn_geometry_find((int)kind);
    for (int i = 0; i < info->field_count; i++) {
        if (strcmp(info->fields[i].name, name) != 0) continue;
        char *at = (char *)geometry + info->fields[i].offset;
        if (info->fields[i].real)
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

static void high_if_zero(ptrdiff_t *field)
{
    if (*field == 0) *field = 255;
}

void geometry_complete(cnn_geometry_kind kind, cnn_geometry *geometry)
{
    if (kind == CNN_GEOMETRY_conv2d) {
        cnn_conv2d_geometry *g = &geometry->conv2d;
        one_if_zero(&g->stride_h), one_if_zero(&g->stride_w), one_if_zero(&g->groups);
        one_if_zero(&g->dilation_h), one_if_zero(&g->dilation_w);
        if (!g->oh) g->oh = (g->h + g->pad_top + g->pad_bottom - g->dilation_h * (g->kh - 1) - 1) / g->stride_h + 1;
        if (!g->ow) g->ow = (g->w + g->pad_left + g->pad_right - g->dilation_w * (g->kw - 1) - 1) / g->stride_w + 1;
    } else if (kind == CNN_GEOMETRY_pool2d) {
        cnn_pool2d_geometry *g = &geometry->pool2d;
        one_if_zero(&g->stride_h), one_if_zero(&g->stride_w);
        if (!g->oh) g->oh = (g->h + 2 * g->pad_top - g->kh) / g->stride_h + 1;
        if (!g->ow) g->ow = (g->w + 2 * g->pad_left - g->kw) / g->stride_w + 1;
    } else if (kind == CNN_GEOMETRY_conv2d_int8) {
        cnn_conv2d_int8_geometry *g = &geometry->conv2d_int8;
        one_if_zero(&g->stride_h), one_if_zero(&g->stride_w), one_if_zero(&g->groups);
        one_if_zero(&g->dilation_h), one_if_zero(&g->dilation_w), high_if_zero(&g->high);
        if (!g->oh) g->oh = (g->h + g->pad_top + g->pad_bottom - g->dilation_h * (g->kh - 1) - 1) / g->stride_h + 1;
        if (!g->ow) g->ow = (g->w + g->pad_left + g->pad_right - g->dilation_w * (g->kw - 1) - 1) / g->stride_w + 1;
    } else if (kind == CNN_GEOMETRY_avgpool2d_int8) {
        cnn_avgpool2d_int8_geometry *g = &geometry->avgpool2d_int8;
        one_if_zero(&g->stride_h), one_if_zero(&g->stride_w), one_if_zero(&g->multiplier), high_if_zero(&g->high);
        if (!g->oh) g->oh = (g->h + 2 * g->pad_top - g->kh) / g->stride_h + 1;
        if (!g->ow) g->ow = (g->w + 2 * g->pad_left - g->kw) / g->stride_w + 1;
    } else if (kind == CNN_GEOMETRY_linear_int8)
        high_if_zero(&geometry->linear_int8.high);
    else if (kind == CNN_GEOMETRY_add_int8) {
        cnn_add_int8_geometry *g = &geometry->add_int8;
        one_if_zero(&g->multiplier_a), one_if_zero(&g->multiplier_b), high_if_zero(&g->high);
    } else if (kind == CNN_GEOMETRY_dropout && !geometry->dropout.draws)
        geometry->dropout.draws = geometry->dropout.count;
}

double geometry_flops(int op, const cnn_geometry *geometry, ptrdiff_t batch)
{
    const cnn_geometry_kind kind = cnn_op_find(op)->geometry;
    const cnn_conv2d_geometry *conv = &geometry->conv2d;
    if (op == CNN_OP_winograd_filter || op == CNN_OP_winograd_filter_backward) return 0.0;
    if (kind == CNN_GEOMETRY_conv2d)
        return 2.0 * (double)(batch * conv->oh * conv->ow * conv->oc) *
               (double)(conv->kh * conv->kw * conv->ic / conv->groups);
    if (kind == CNN_GEOMETRY_linear)
        return 2.0 * (double)batch * (double)geometry->linear.k * (double)geometry->linear.n;
    if (kind == CNN_GEOMETRY_conv2d_int8) {
        const cnn_conv2d_int8_geometry *g = &geometry->conv2d_int8;
        return 2.0 * (double)(batch * g->oh * g->ow * g->oc) * (double)(g->kh * g->kw * g->ic / g->groups);
    }
    if (kind == CNN_GEOMETRY_linear_int8)
        return 2.0 * (double)batch * (double)geometry->linear_int8.k * (double)geometry->linear_int8.n;
    return 0.0;
}
