/* The kinds of geometry: their fields by name, and which numbers an op can run on. A program's numbers come from a
 * planner, but a wrong one must end in a status and not in a division by zero. */
#include "internal.h"

/* ---- fields ---------------------------------------------------------------------------------------------------- */

#define WHOLE(kind, name)                                                                                              \
    {                                                                                                                  \
#name, offsetof(cnn_geometry, kind.name), false                                                                \
    }
#define REAL(kind, name)                                                                                               \
    {                                                                                                                  \
#name, offsetof(cnn_geometry, kind.name), true                                                                 \
    }

static const cnn_geometry_field conv2d_fields[] = {
    WHOLE(conv2d, h),          WHOLE(conv2d, w),          WHOLE(conv2d, ic),         WHOLE(conv2d, oc),
    WHOLE(conv2d, kh),         WHOLE(conv2d, kw),         WHOLE(conv2d, oh),         WHOLE(conv2d, ow),
    WHOLE(conv2d, stride_h),   WHOLE(conv2d, stride_w),   WHOLE(conv2d, pad_top),    WHOLE(conv2d, pad_left),
    WHOLE(conv2d, pad_bottom), WHOLE(conv2d, pad_right),  WHOLE(conv2d, dilation_h), WHOLE(conv2d, dilation_w),
    WHOLE(conv2d, groups),     WHOLE(conv2d, activation), WHOLE(conv2d, pool),       WHOLE(conv2d, tile)};
static const cnn_geometry_field pool2d_fields[] = {
    WHOLE(pool2d, h),        WHOLE(pool2d, w),       WHOLE(pool2d, c),        WHOLE(pool2d, kh),
    WHOLE(pool2d, kw),       WHOLE(pool2d, oh),      WHOLE(pool2d, ow),       WHOLE(pool2d, stride_h),
    WHOLE(pool2d, stride_w), WHOLE(pool2d, pad_top), WHOLE(pool2d, pad_left), WHOLE(pool2d, count_include_pad)};
static const cnn_geometry_field linear_fields[] = {WHOLE(linear, k), WHOLE(linear, n), WHOLE(linear, activation)};
static const cnn_geometry_field elementwise_fields[] = {WHOLE(elementwise, count), REAL(elementwise, slope)};
static const cnn_geometry_field image_fields[] = {WHOLE(image, h), WHOLE(image, w), WHOLE(image, c)};
static const cnn_geometry_field norm_fields[] = {WHOLE(norm, rows),       WHOLE(norm, c),    WHOLE(norm, w),
                                                 WHOLE(norm, activation), WHOLE(norm, pool), REAL(norm, eps),
                                                 REAL(norm, momentum)};
static const cnn_geometry_field softmax_fields[] = {WHOLE(softmax, rows), WHOLE(softmax, c)};
static const cnn_geometry_field dropout_fields[] = {WHOLE(dropout, count), WHOLE(dropout, stream), REAL(dropout, rate)};
static const cnn_geometry_field slice_fields[] = {WHOLE(slice, rows),       WHOLE(slice, channels),
                                                  WHOLE(slice, src_stride), WHOLE(slice, src_offset),
                                                  WHOLE(slice, dst_stride), WHOLE(slice, dst_offset)};
static const cnn_geometry_field loss_fields[] = {WHOLE(loss, classes), REAL(loss, label_smoothing)};
static const cnn_geometry_field optimizer_fields[] = {
    WHOLE(optimizer, count), WHOLE(optimizer, segments), REAL(optimizer, momentum), REAL(optimizer, nesterov),
    REAL(optimizer, beta1),  REAL(optimizer, beta2),     REAL(optimizer, eps),      REAL(optimizer, max_norm)};

/* ---- limits ---------------------------------------------------------------------------------------------------- */

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

static bool conv2d_fits(const cnn_geometry *geometry)
{
    const cnn_conv2d_geometry *g = &geometry->conv2d;
    const ptrdiff_t extents[] = {g->h,  g->w,        g->ic,       g->oc,         g->kh,         g->kw,    g->oh,
                                 g->ow, g->stride_h, g->stride_w, g->dilation_h, g->dilation_w, g->groups};
    return positive(extents, sizeof extents / sizeof extents[0]) && g->pad_top >= 0 && g->pad_left >= 0 &&
           g->pad_bottom >= 0 && g->pad_right >= 0 && g->ic % g->groups == 0 && g->oc % g->groups == 0 &&
           windows_fit(g->h, g->pad_top + g->pad_bottom, g->kh, g->dilation_h, g->stride_h, g->oh) &&
           windows_fit(g->w, g->pad_left + g->pad_right, g->kw, g->dilation_w, g->stride_w, g->ow) &&
           (g->activation == CNN_ACTIVATION_NONE || g->activation == CNN_ACTIVATION_RELU) &&
           (g->pool == 0 || (g->pool == 2 && g->oh >= 2 && g->ow >= 2));
}

/* Every window holds an element of the image. */
static bool pool2d_fits(const cnn_geometry *geometry)
{
    const cnn_pool2d_geometry *g = &geometry->pool2d;
    const ptrdiff_t extents[] = {g->h, g->w, g->c, g->kh, g->kw, g->oh, g->ow, g->stride_h, g->stride_w};
    return positive(extents, sizeof extents / sizeof extents[0]) && g->pad_top >= 0 && g->pad_left >= 0 &&
           g->pad_top < g->kh && g->pad_left < g->kw && (g->oh - 1) * g->stride_h - g->pad_top < g->h &&
           (g->ow - 1) * g->stride_w - g->pad_left < g->w;
}

static bool linear_fits(const cnn_geometry *geometry)
{
    const cnn_linear_geometry *g = &geometry->linear;
    return g->k >= 1 && g->n >= 1 && g->activation >= CNN_ACTIVATION_NONE && g->activation <= CNN_ACTIVATION_RELU;
}

static bool elementwise_fits(const cnn_geometry *geometry) { return geometry->elementwise.count >= 1; }

static bool image_fits(const cnn_geometry *geometry)
{
    const cnn_image_geometry *g = &geometry->image;
    return g->h >= 1 && g->w >= 1 && g->c >= 1;
}

static bool norm_fits(const cnn_geometry *geometry)
{
    const cnn_norm_geometry *g = &geometry->norm;
    if (g->rows < 1 || g->c < 1 || g->activation < CNN_ACTIVATION_NONE || g->activation > CNN_ACTIVATION_RELU)
        return false;
    return g->pool == 0 || (g->pool == 2 && g->w >= 2 && g->rows >= 2 * g->w && g->rows % g->w == 0);
}

static bool softmax_fits(const cnn_geometry *geometry)
{
    return geometry->softmax.rows >= 1 && geometry->softmax.c >= 1;
}

static bool dropout_fits(const cnn_geometry *geometry)
{
    const cnn_dropout_geometry *g = &geometry->dropout;
    return g->count >= 1 && g->rate >= 0.0f && g->rate < 1.0f;
}

static bool slice_fits(const cnn_geometry *geometry)
{
    const cnn_slice_geometry *g = &geometry->slice;
    return g->rows >= 1 && g->channels >= 1 && g->src_offset >= 0 && g->dst_offset >= 0 &&
           g->src_offset + g->channels <= g->src_stride && g->dst_offset + g->channels <= g->dst_stride;
}

static bool loss_fits(const cnn_geometry *geometry) { return geometry->loss.classes >= 1; }

static bool optimizer_fits(const cnn_geometry *geometry)
{
    return geometry->optimizer.count >= 0 && geometry->optimizer.segments >= 0;
}

bool cnn_no_limits(const cnn_geometry *geometry)
{
    (void)geometry;
    return true;
}

/* The variants that csrc/winograd/generate.py has written; they know neither strides, dilation nor groups. */
bool cnn_winograd_limits(const cnn_geometry *geometry)
{
    const cnn_conv2d_geometry *g = &geometry->conv2d;
    return ((g->kh == 3 && (g->tile == 2 || g->tile == 4)) || (g->kh == 5 && g->tile == 4)) && g->kw == g->kh &&
           g->stride_h == 1 && g->stride_w == 1 && g->dilation_h == 1 && g->dilation_w == 1 && g->groups == 1;
}

/* Where the maximum was is a byte, and 255 means nowhere. */
bool cnn_maxpool2d_limits(const cnn_geometry *geometry)
{
    return geometry->pool2d.kh * geometry->pool2d.kw <= CNN_MAX_POOL_AREA;
}

/* Its gradient takes the sign of the input from the output's: alpha may be neither 0 nor below, and no NaN. */
bool cnn_elu_limits(const cnn_geometry *geometry)
{
    return geometry->elementwise.slope > 0.0f && isfinite(geometry->elementwise.slope);
}

/* ---- the kinds -------------------------------------------------------------------------------------------------- */

static const cnn_geometry_info kinds[] = {
#define GEOMETRY_ROW(kind) {#kind, kind##_fields, sizeof kind##_fields / sizeof kind##_fields[0], kind##_fits},
    CNN_GEOMETRIES(GEOMETRY_ROW)
#undef GEOMETRY_ROW
};

const cnn_geometry_info *cnn_geometry_find(int kind)
{
    return kind >= 0 && kind < CNN_GEOMETRY_COUNT ? &kinds[kind] : NULL;
}

bool cnn_geometry_fits(const cnn_op_info *info, const cnn_geometry *geometry)
{
    const cnn_geometry_info *kind = cnn_geometry_find((int)info->geometry);
    return kind && kind->fits(geometry) && info->limits(geometry);
}
