/* Which geometries an op can run on. A program's numbers come from a planner, but a wrong one must end in a status and
 * not in a division by zero. */
#include "internal.h"

static bool positive(const ptrdiff_t *values, int count)
{
    for (int i = 0; i < count; i++)
        if (values[i] < 1) return false;
    return true;
}

/* Whether `out` windows of `kernel` taps fit: the last one ends inside the padded extent. */
static bool windows_fit(ptrdiff_t extent, ptrdiff_t pads, ptrdiff_t kernel, ptrdiff_t dilation, ptrdiff_t stride,
                        ptrdiff_t out)
{
    return (out - 1) * stride + dilation * (kernel - 1) + 1 <= extent + pads;
}

static bool conv2d_fits(const cnn_conv2d_geometry *g)
{
    const ptrdiff_t extents[] = {g->h,  g->w,        g->ic,       g->oc,         g->kh,         g->kw,    g->oh,
                                 g->ow, g->stride_h, g->stride_w, g->dilation_h, g->dilation_w, g->groups};
    return positive(extents, sizeof extents / sizeof extents[0]) && g->pad_top >= 0 && g->pad_left >= 0 &&
           g->pad_bottom >= 0 && g->pad_right >= 0 && g->ic % g->groups == 0 && g->oc % g->groups == 0 &&
           windows_fit(g->h, g->pad_top + g->pad_bottom, g->kh, g->dilation_h, g->stride_h, g->oh) &&
           windows_fit(g->w, g->pad_left + g->pad_right, g->kw, g->dilation_w, g->stride_w, g->ow) &&
           (g->activation == CNN_ACTIVATION_NONE || g->activation == CNN_ACTIVATION_RELU) &&
           (g->pool == 0 || (g->pool == 2 && g->oh >= 2 && g->ow >= 2));
}

/* The variants that csrc/winograd/generate.py has written; they know neither strides, dilation nor groups. */
static bool winograd_fits(const cnn_conv2d_geometry *g)
{
    return conv2d_fits(g) && ((g->kh == 3 && (g->tile == 2 || g->tile == 4)) || (g->kh == 5 && g->tile == 4)) &&
           g->kw == g->kh && g->stride_h == 1 && g->stride_w == 1 && g->dilation_h == 1 && g->dilation_w == 1 &&
           g->groups == 1;
}

/* Every window holds an element of the image. */
static bool pool2d_fits(const cnn_pool2d_geometry *g)
{
    const ptrdiff_t extents[] = {g->h, g->w, g->c, g->kh, g->kw, g->oh, g->ow, g->stride_h, g->stride_w};
    return positive(extents, sizeof extents / sizeof extents[0]) && g->pad_top >= 0 && g->pad_left >= 0 &&
           g->pad_top < g->kh && g->pad_left < g->kw && (g->oh - 1) * g->stride_h - g->pad_top < g->h &&
           (g->ow - 1) * g->stride_w - g->pad_left < g->w;
}

static bool norm_fits(const cnn_norm_geometry *g)
{
    if (g->rows < 1 || g->c < 1 || g->activation < CNN_ACTIVATION_NONE || g->activation > CNN_ACTIVATION_RELU)
        return false;
    return g->pool == 0 || (g->pool == 2 && g->w >= 2 && g->rows >= 2 * g->w && g->rows % g->w == 0);
}

bool cnn_geometry_fits(const cnn_op_info *info, const cnn_geometry *geometry)
{
    const cnn_geometry *g = geometry;
    if (strncmp(info->name, "winograd", 8) == 0) return winograd_fits(&g->conv2d);
    if (strcmp(info->geometry, "conv2d") == 0) return conv2d_fits(&g->conv2d);
    if (strcmp(info->geometry, "pool2d") == 0) {
        /* where the maximum was is a byte, whose last value means nowhere */
        const bool is_max = strncmp(info->name, "max", 3) == 0;
        return pool2d_fits(&g->pool2d) && (!is_max || g->pool2d.kh * g->pool2d.kw <= CNN_MAX_POOL_AREA);
    }
    if (strcmp(info->geometry, "linear") == 0)
        return g->linear.k >= 1 && g->linear.n >= 1 && g->linear.activation >= 0 && g->linear.activation <= 1;
    if (strcmp(info->geometry, "elementwise") == 0) return g->elementwise.count >= 1;
    if (strcmp(info->geometry, "image") == 0) return g->image.h >= 1 && g->image.w >= 1 && g->image.c >= 1;
    if (strcmp(info->geometry, "norm") == 0) return norm_fits(&g->norm);
    if (strcmp(info->geometry, "softmax") == 0) return g->softmax.rows >= 1 && g->softmax.c >= 1;
    if (strcmp(info->geometry, "dropout") == 0)
        return g->dropout.count >= 1 && g->dropout.rate >= 0.0f && g->dropout.rate < 1.0f;
    if (strcmp(info->geometry, "slice") == 0)
        return g->slice.rows >= 1 && g->slice.channels >= 1 && g->slice.src_offset >= 0 && g->slice.dst_offset >= 0 &&
               g->slice.src_offset + g->slice.channels <= g->slice.src_stride &&
               g->slice.dst_offset + g->slice.channels <= g->slice.dst_stride;
    if (strcmp(info->geometry, "loss") == 0) return g->loss.classes >= 1;
    return g->optimizer.count >= 0 && g->optimizer.segments >= 0;
}
