/* The kinds of geometry: their fields by name, and which numbers an op can run on. A program's numbers come from a
 * planner, but a wrong one must end in a status and not in a division by zero. */
#include <float.h>

#include "checked.h"
#include "int8_layout.h"
#include "internal.h"

/* ---- fields ---------------------------------------------------------------------------------------------------- */

#define WHOLE(kind, name, least, most)                                                                                 \
    {                                                                                                                  \
#name, offsetof(cnn_geometry, kind.name), false, (double)(least), (double)(most)                               \
    }
#define REAL(kind, name, least, most)                                                                                  \
    {                                                                                                                  \
#name, offsetof(cnn_geometry, kind.name), true, (double)(least), (double)(most)                                \
    }
#define EXTENT(kind, name) WHOLE(kind, name, 1, CNN_MAX_EXTENT)
#define COUNT(kind, name) WHOLE(kind, name, 1, CNN_MAX_COUNT)
#define PADDING(kind, name) WHOLE(kind, name, 0, CNN_MAX_PADDING)
#define ACTIVATION(kind) WHOLE(kind, activation, CNN_ACTIVATION_NONE, CNN_ACTIVATION_FUSED_MOST)
#define FINITE(kind, name) REAL(kind, name, -FLT_MAX, FLT_MAX)
#define NOT_NEGATIVE(kind, name) REAL(kind, name, 0, FLT_MAX)
#define CODE(kind, name) WHOLE(kind, name, 0, UINT8_MAX)
#define MULTIPLIER(kind, name) WHOLE(kind, name, 1, INT32_MAX)
#define SHIFT(kind, name) WHOLE(kind, name, 0, CNN_MAX_SHIFT)
#define BELOW_ONE(kind, name) REAL(kind, name, 0, 1 - FLT_EPSILON / 2)

static const cnn_geometry_field conv2d_fields[] = {
    EXTENT(conv2d, h),           EXTENT(conv2d, w),          EXTENT(conv2d, ic),         EXTENT(conv2d, oc),
    EXTENT(conv2d, kh),          EXTENT(conv2d, kw),         EXTENT(conv2d, oh),         EXTENT(conv2d, ow),
    EXTENT(conv2d, stride_h),    EXTENT(conv2d, stride_w),   PADDING(conv2d, pad_top),   PADDING(conv2d, pad_left),
    PADDING(conv2d, pad_bottom), PADDING(conv2d, pad_right), EXTENT(conv2d, dilation_h), EXTENT(conv2d, dilation_w),
    EXTENT(conv2d, groups),      ACTIVATION(conv2d),         WHOLE(conv2d, pool, 0, 2),  WHOLE(conv2d, tile, 0, 4)};
static const cnn_geometry_field pool2d_fields[] = {
    EXTENT(pool2d, h),        EXTENT(pool2d, w),         EXTENT(pool2d, c),
    EXTENT(pool2d, kh),       EXTENT(pool2d, kw),        EXTENT(pool2d, oh),
    EXTENT(pool2d, ow),       EXTENT(pool2d, stride_h),  EXTENT(pool2d, stride_w),
    PADDING(pool2d, pad_top), PADDING(pool2d, pad_left), WHOLE(pool2d, count_include_pad, 0, 1)};
static const cnn_geometry_field pad2d_fields[] = {EXTENT(pad2d, h),
                                                  EXTENT(pad2d, w),
                                                  EXTENT(pad2d, c),
                                                  PADDING(pad2d, pad_top),
                                                  PADDING(pad2d, pad_left),
                                                  PADDING(pad2d, pad_bottom),
                                                  PADDING(pad2d, pad_right),
                                                  WHOLE(pad2d, channels_before, 0, CNN_MAX_EXTENT),
                                                  WHOLE(pad2d, channels_behind, 0, CNN_MAX_EXTENT),
                                                  WHOLE(pad2d, mode, CNN_PADDING_ZEROS, CNN_PADDING_REPLICATE)};
static const cnn_geometry_field upsample2d_fields[] = {
    EXTENT(upsample2d, h),       EXTENT(upsample2d, w),
    EXTENT(upsample2d, c),       EXTENT(upsample2d, scale_h),
    EXTENT(upsample2d, scale_w), WHOLE(upsample2d, sampling, CNN_SAMPLING_NEAREST, CNN_SAMPLING_ALIGNED)};
static const cnn_geometry_field linear_fields[] = {COUNT(linear, k), COUNT(linear, n), ACTIVATION(linear)};
static const cnn_geometry_field elementwise_fields[] = {COUNT(elementwise, count), FINITE(elementwise, slope)};
static const cnn_geometry_field clip_fields[] = {COUNT(clip, count), FINITE(clip, low), FINITE(clip, high)};
static const cnn_geometry_field prelu_fields[] = {COUNT(prelu, rows), COUNT(prelu, c)};
static const cnn_geometry_field image_fields[] = {EXTENT(image, h), EXTENT(image, w), EXTENT(image, c)};
static const cnn_geometry_field norm_fields[] = {
    COUNT(norm, rows),       EXTENT(norm, c),         WHOLE(norm, w, 0, CNN_MAX_EXTENT), ACTIVATION(norm),
    WHOLE(norm, pool, 0, 2), NOT_NEGATIVE(norm, eps), REAL(norm, momentum, 0, 1)};
static const cnn_geometry_field softmax_fields[] = {COUNT(softmax, rows), COUNT(softmax, c)};
static const cnn_geometry_field groupnorm_fields[] = {COUNT(groupnorm, rows), EXTENT(groupnorm, c),
                                                      EXTENT(groupnorm, groups), NOT_NEGATIVE(groupnorm, eps)};
static const cnn_geometry_field channels_fields[] = {COUNT(channels, rows), COUNT(channels, c)};
static const cnn_geometry_field dropout_fields[] = {
    COUNT(dropout, count), COUNT(dropout, draws), WHOLE(dropout, stream, 0, CNN_MAX_EXTENT), BELOW_ONE(dropout, rate)};
static const cnn_geometry_field slice_fields[] = {COUNT(slice, rows),       COUNT(slice, channels),
                                                  COUNT(slice, src_stride), WHOLE(slice, src_offset, 0, CNN_MAX_COUNT),
                                                  COUNT(slice, dst_stride), WHOLE(slice, dst_offset, 0, CNN_MAX_COUNT)};
static const cnn_geometry_field quantize_fields[] = {COUNT(quantize, count), CODE(quantize, zero),
                                                     REAL(quantize, scale, FLT_MIN, FLT_MAX)};
static const cnn_geometry_field conv2d_int8_fields[] = {
    EXTENT(conv2d_int8, h),           EXTENT(conv2d_int8, w),          EXTENT(conv2d_int8, ic),
    EXTENT(conv2d_int8, oc),          EXTENT(conv2d_int8, kh),         EXTENT(conv2d_int8, kw),
    EXTENT(conv2d_int8, oh),          EXTENT(conv2d_int8, ow),         EXTENT(conv2d_int8, stride_h),
    EXTENT(conv2d_int8, stride_w),    PADDING(conv2d_int8, pad_top),   PADDING(conv2d_int8, pad_left),
    PADDING(conv2d_int8, pad_bottom), PADDING(conv2d_int8, pad_right), EXTENT(conv2d_int8, dilation_h),
    EXTENT(conv2d_int8, dilation_w),  EXTENT(conv2d_int8, groups),     CODE(conv2d_int8, zero_src),
    CODE(conv2d_int8, zero_dst),      CODE(conv2d_int8, low),          CODE(conv2d_int8, high)};
static const cnn_geometry_field linear_int8_fields[] = {COUNT(linear_int8, k),       COUNT(linear_int8, n),
                                                        CODE(linear_int8, zero_src), CODE(linear_int8, zero_dst),
                                                        CODE(linear_int8, low),      CODE(linear_int8, high)};
static const cnn_geometry_field avgpool2d_int8_fields[] = {
    EXTENT(avgpool2d_int8, h),        EXTENT(avgpool2d_int8, w),         EXTENT(avgpool2d_int8, c),
    EXTENT(avgpool2d_int8, kh),       EXTENT(avgpool2d_int8, kw),        EXTENT(avgpool2d_int8, oh),
    EXTENT(avgpool2d_int8, ow),       EXTENT(avgpool2d_int8, stride_h),  EXTENT(avgpool2d_int8, stride_w),
    PADDING(avgpool2d_int8, pad_top), PADDING(avgpool2d_int8, pad_left), WHOLE(avgpool2d_int8, count_include_pad, 0, 1),
    CODE(avgpool2d_int8, zero_src),   CODE(avgpool2d_int8, zero_dst),    MULTIPLIER(avgpool2d_int8, multiplier),
    SHIFT(avgpool2d_int8, shift),     CODE(avgpool2d_int8, low),         CODE(avgpool2d_int8, high)};
static const cnn_geometry_field add_int8_fields[] = {COUNT(add_int8, count),
                                                     CODE(add_int8, zero_a),
                                                     CODE(add_int8, zero_b),
                                                     CODE(add_int8, zero_dst),
                                                     MULTIPLIER(add_int8, multiplier_a),
                                                     MULTIPLIER(add_int8, multiplier_b),
                                                     SHIFT(add_int8, shift),
                                                     CODE(add_int8, low),
                                                     CODE(add_int8, high)};
static const cnn_geometry_field lookup_fields[] = {COUNT(lookup, count)};
static const cnn_geometry_field loss_fields[] = {COUNT(loss, classes), REAL(loss, label_smoothing, 0, 1)};
static const cnn_geometry_field pixel_loss_fields[] = {COUNT(pixel_loss, rows), COUNT(pixel_loss, classes),
                                                       WHOLE(pixel_loss, ignored, CNN_NONE_IGNORED, CNN_MAX_COUNT),
                                                       REAL(pixel_loss, label_smoothing, 0, 1)};
static const cnn_geometry_field optimizer_fields[] = {WHOLE(optimizer, count, 0, CNN_MAX_COUNT),
                                                      WHOLE(optimizer, segments, 0, CNN_MAX_COUNT),
                                                      FINITE(optimizer, momentum),
                                                      FINITE(optimizer, nesterov),
                                                      BELOW_ONE(optimizer, beta1),
                                                      BELOW_ONE(optimizer, beta2),
                                                      NOT_NEGATIVE(optimizer, eps),
                                                      REAL(optimizer, max_norm, 0, INFINITY),
                                                      REAL(optimizer, momentum_decay, 0, 1),
                                                      REAL(optimizer, keras, 0, 1)};

/* Whether every field is within its limits; a NaN is not. */
static bool fields_fit(const cnn_geometry_info *kind, const cnn_geometry *geometry)
{
    for (int i = 0; i < kind->field_count; i++) {
        const cnn_geometry_field *field = &kind->fields[i];
        const char *at = (const char *)geometry + field->offset;
        /* a whole number that a double rounds is far beyond its limits either way */
        const double value =
            field->real ? *(const float *)(const void *)at : (double)*(const ptrdiff_t *)(const void *)at;
        if (!(value >= field->least && value <= field->most)) return false;
    }
    return true;
}

/* ---- what the fields are together --------------------------------------------------------------------------------- */

/* Whether `out` windows of `kernel` taps, and no more, end inside the padded extent. */
static bool windows_fit(ptrdiff_t extent, ptrdiff_t pads, ptrdiff_t kernel, ptrdiff_t dilation, ptrdiff_t stride,
                        ptrdiff_t out)
{
    const ptrdiff_t rest = extent + pads - dilation * (kernel - 1) - 1;
    return rest >= 0 && out == rest / stride + 1;
}

/* Beside the windows: the padded source, of either side's channels, is what an op copies at most. */
static bool conv2d_fits(const cnn_geometry *geometry)
{
    const cnn_conv2d_geometry *g = &geometry->conv2d;
    const ptrdiff_t rows = g->h + g->pad_top + g->pad_bottom, columns = g->w + g->pad_left + g->pad_right;
    return g->ic % g->groups == 0 && g->oc % g->groups == 0 &&
           windows_fit(g->h, g->pad_top + g->pad_bottom, g->kh, g->dilation_h, g->stride_h, g->oh) &&
           windows_fit(g->w, g->pad_left + g->pad_right, g->kw, g->dilation_w, g->stride_w, g->ow) &&
           cnn_times(cnn_times(rows, columns), g->ic + g->oc) <= CNN_MAX_COUNT &&
           (g->pool == 0 || (g->pool == 2 && g->oh >= 2 && g->ow >= 2));
}

/* Every window holds an element of the image. */
static bool pool2d_fits(const cnn_geometry *geometry)
{
    const cnn_pool2d_geometry *g = &geometry->pool2d;
    return g->pad_top < g->kh && g->pad_left < g->kw && (g->oh - 1) * g->stride_h - g->pad_top < g->h &&
           (g->ow - 1) * g->stride_w - g->pad_left < g->w;
}

/* A mirror shows what lies before it, but not the edge: there must be as many pixels. */
static bool pad2d_fits(const cnn_geometry *geometry)
{
    const cnn_pad2d_geometry *g = &geometry->pad2d;
    const bool shown = cnn_max(g->pad_top, g->pad_bottom) < g->h && cnn_max(g->pad_left, g->pad_right) < g->w;
    return (g->mode != CNN_PADDING_REFLECT || shown) && g->h + g->pad_top + g->pad_bottom <= CNN_MAX_EXTENT &&
           g->w + g->pad_left + g->pad_right <= CNN_MAX_EXTENT &&
           g->c + g->channels_before + g->channels_behind <= CNN_MAX_EXTENT;
}

static bool upsample2d_fits(const cnn_geometry *geometry)
{
    const cnn_upsample2d_geometry *g = &geometry->upsample2d;
    return cnn_times(g->h, g->scale_h) <= CNN_MAX_EXTENT && cnn_times(g->w, g->scale_w) <= CNN_MAX_EXTENT;
}

static bool clip_fits(const cnn_geometry *geometry) { return geometry->clip.low < geometry->clip.high; }

static bool norm_fits(const cnn_geometry *geometry)
{
    const cnn_norm_geometry *g = &geometry->norm;
    return g->pool == 0 || (g->pool == 2 && g->w >= 2 && g->rows >= 2 * g->w && g->rows % g->w == 0 &&
                            g->activation <= CNN_ACTIVATION_RELU);
}

static bool groupnorm_fits(const cnn_geometry *geometry)
{
    return geometry->groupnorm.c % geometry->groupnorm.groups == 0;
}

static bool dropout_fits(const cnn_geometry *geometry)
{
    return geometry->dropout.count % geometry->dropout.draws == 0;
}

static bool slice_fits(const cnn_geometry *geometry)
{
    const cnn_slice_geometry *g = &geometry->slice;
    return g->src_offset + g->channels <= g->src_stride && g->dst_offset + g->channels <= g->dst_stride;
}

/* The part that a float convolution has too. */
static cnn_geometry as_conv2d(const cnn_conv2d_int8_geometry *g)
{
    cnn_geometry plain = {.conv2d = {0}};
    memcpy(&plain.conv2d, g, offsetof(cnn_conv2d_int8_geometry, zero_src));
    return plain;
}

static bool conv2d_int8_fits(const cnn_geometry *geometry)
{
    const cnn_geometry plain = as_conv2d(&geometry->conv2d_int8);
    return conv2d_fits(&plain) && geometry->conv2d_int8.low <= geometry->conv2d_int8.high;
}

static bool linear_int8_fits(const cnn_geometry *geometry)
{
    return geometry->linear_int8.low <= geometry->linear_int8.high;
}

/* Sums of codes stay below 2^31, and with a multiplier and 2^shift of CNN_AVERAGE_SHIFT at most below 2^63. */
static bool avgpool2d_int8_fits(const cnn_geometry *geometry)
{
    const cnn_avgpool2d_int8_geometry *g = &geometry->avgpool2d_int8;
    cnn_geometry plain = {.pool2d = {0}};
    memcpy(&plain.pool2d, g, offsetof(cnn_avgpool2d_int8_geometry, zero_src));
    return pool2d_fits(&plain) && cnn_times(g->kh, g->kw) <= CNN_MAX_AVERAGE_AREA && g->low <= g->high;
}

static bool add_int8_fits(const cnn_geometry *geometry) { return geometry->add_int8.low <= geometry->add_int8.high; }

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

bool cnn_winograd_int8_limits(const cnn_geometry *geometry)
{
    const cnn_conv2d_int8_geometry *g = &geometry->conv2d_int8;
    return g->kh == 3 && g->kw == 3 && g->stride_h == 1 && g->stride_w == 1 && g->dilation_h == 1 &&
           g->dilation_w == 1 && g->groups == 1 && g->ic <= CNN_MAX_WINOGRAD_CODES;
}

/* Where the maximum was is a byte, and 255 means nowhere. */
bool cnn_maxpool2d_limits(const cnn_geometry *geometry)
{
    return cnn_times(geometry->pool2d.kh, geometry->pool2d.kw) <= CNN_MAX_POOL_AREA;
}

/* Its gradient takes the sign of the input from the output's: alpha may be neither 0 nor below. */
bool cnn_elu_limits(const cnn_geometry *geometry) { return geometry->elementwise.slope > 0.0f; }

/* What it computes anew is enough for the derivative of ReLU; another would cost more than to keep what it needs. */
bool cnn_batchnorm_backward_limits(const cnn_geometry *geometry)
{
    return geometry->norm.activation <= CNN_ACTIVATION_RELU;
}

/* ---- elements of operands ------------------------------------------------------------------------------------------ */

static ptrdiff_t product(ptrdiff_t a, ptrdiff_t b, ptrdiff_t c) { return cnn_times(cnn_times(a, b), c); }

static ptrdiff_t whole_panels(ptrdiff_t columns) { return cnn_ceil_div(columns, CNN_PANEL) * CNN_PANEL; }

static ptrdiff_t conv2d_count(const cnn_geometry *geometry, cnn_extent extent)
{
    const cnn_conv2d_geometry *g = &geometry->conv2d;
    const ptrdiff_t alpha = g->tile + g->kh - 1;
    switch (extent) {
    case CNN_SOURCE: return product(g->h, g->w, g->ic);
    case CNN_WEIGHTS:
        return cnn_times(product(cnn_weight_groups(g), whole_panels(g->oc / cnn_weight_groups(g)), g->ic / g->groups),
                         cnn_times(g->kh, g->kw));
    case CNN_FILTER: return product(cnn_times(alpha, alpha), whole_panels(g->oc), g->ic);
    case CNN_FILTER_TURNED: return product(cnn_times(alpha, alpha), whole_panels(g->ic), g->oc);
    case CNN_CHANNELS: return g->oc;
    case CNN_ARGMAX:
        if (!g->pool) return 0;
        return product(g->oh / 2, g->ow / 2, g->oc);
    default: return g->pool ? product(g->oh / 2, g->ow / 2, g->oc) : product(g->oh, g->ow, g->oc);
    }
}

static ptrdiff_t pool2d_count(const cnn_geometry *geometry, cnn_extent extent)
{
    const cnn_pool2d_geometry *g = &geometry->pool2d;
    return extent == CNN_SOURCE ? product(g->h, g->w, g->c) : product(g->oh, g->ow, g->c);
}

static ptrdiff_t pad2d_count(const cnn_geometry *geometry, cnn_extent extent)
{
    const cnn_pad2d_geometry *g = &geometry->pad2d;
    if (extent == CNN_SOURCE) return product(g->h, g->w, g->c);
    return product(g->h + g->pad_top + g->pad_bottom, g->w + g->pad_left + g->pad_right,
                   g->c + g->channels_before + g->channels_behind);
}

static ptrdiff_t upsample2d_count(const cnn_geometry *geometry, cnn_extent extent)
{
    const cnn_upsample2d_geometry *g = &geometry->upsample2d;
    if (extent == CNN_SOURCE) return product(g->h, g->w, g->c);
    return product(cnn_times(g->h, g->scale_h), cnn_times(g->w, g->scale_w), g->c);
}

static ptrdiff_t linear_count(const cnn_geometry *geometry, cnn_extent extent)
{
    const cnn_linear_geometry *g = &geometry->linear;
    if (extent == CNN_SOURCE) return g->k;
    return extent == CNN_WEIGHTS ? cnn_times(g->k, whole_panels(g->n)) : g->n;
}

static ptrdiff_t elementwise_count(const cnn_geometry *geometry, cnn_extent extent)
{
    (void)extent;
    return geometry->elementwise.count;
}

static ptrdiff_t clip_count(const cnn_geometry *geometry, cnn_extent extent)
{
    (void)extent;
    return geometry->clip.count;
}

static ptrdiff_t prelu_count(const cnn_geometry *geometry, cnn_extent extent)
{
    return extent == CNN_CHANNELS ? geometry->prelu.c : cnn_times(geometry->prelu.rows, geometry->prelu.c);
}

static ptrdiff_t image_count(const cnn_geometry *geometry, cnn_extent extent)
{
    (void)extent;
    return product(geometry->image.h, geometry->image.w, geometry->image.c);
}

static ptrdiff_t norm_count(const cnn_geometry *geometry, cnn_extent extent)
{
    const cnn_norm_geometry *g = &geometry->norm;
    switch (extent) {
    case CNN_SOURCE: return cnn_times(g->rows, g->c);
    case CNN_CHANNELS: return g->c;
    case CNN_CHANNEL_PAIRS: return 2 * g->c;
    default:
        if (!g->pool) return extent == CNN_ARGMAX ? 0 : cnn_times(g->rows, g->c);
        return extent == CNN_ADDEND ? 0 : product(g->rows / g->w / 2, g->w / 2, g->c);
    }
}

static ptrdiff_t groupnorm_count(const cnn_geometry *geometry, cnn_extent extent)
{
    const cnn_groupnorm_geometry *g = &geometry->groupnorm;
    switch (extent) {
    case CNN_CHANNELS: return g->c;
    case CNN_GROUPS: return g->groups;
    case CNN_GROUP_PAIRS: return 2 * g->groups;
    default: return cnn_times(g->rows, g->c);
    }
}

static ptrdiff_t channels_count(const cnn_geometry *geometry, cnn_extent extent)
{
    const cnn_channels_geometry *g = &geometry->channels;
    return extent == CNN_SOURCE || extent == CNN_DESTINATION ? cnn_times(g->rows, g->c) : g->c;
}

static ptrdiff_t softmax_count(const cnn_geometry *geometry, cnn_extent extent)
{
    (void)extent;
    return cnn_times(geometry->softmax.rows, geometry->softmax.c);
}

static ptrdiff_t dropout_count(const cnn_geometry *geometry, cnn_extent extent)
{
    (void)extent;
    return geometry->dropout.count;
}

static ptrdiff_t slice_count(const cnn_geometry *geometry, cnn_extent extent)
{
    const cnn_slice_geometry *g = &geometry->slice;
    return cnn_times(g->rows, extent == CNN_SOURCE ? g->src_stride : g->dst_stride);
}

static ptrdiff_t quantize_count(const cnn_geometry *geometry, cnn_extent extent)
{
    (void)extent;
    return geometry->quantize.count;
}

static ptrdiff_t whole_quads(ptrdiff_t length) { return cnn_ceil_div(length, CNN_QUAD) * CNN_QUAD; }

/* By int8 panels and int16 filters, see cnn.h. A run of a kernel row has 2^62 elements at most. */
static ptrdiff_t conv2d_int8_count(const cnn_geometry *geometry, cnn_extent extent)
{
    const cnn_conv2d_int8_geometry *g = &geometry->conv2d_int8;
    if (extent == CNN_WEIGHTS) {
        const cnn_int8_layout layout = cnn_int8_layout_of(g);
        const ptrdiff_t run = layout.length > CNN_MAX_COUNT ? CNN_TOO_MANY : whole_quads(layout.length);
        return cnn_times(product(layout.groups, whole_panels(layout.columns), layout.runs), run);
    }
    if (extent == CNN_FILTER) return product(CNN_CODE_TAPS, whole_panels(g->oc), cnn_ceil_div(g->ic, 2) * 2);
    const cnn_geometry plain = as_conv2d(g);
    return conv2d_count(&plain, extent);
}

static ptrdiff_t linear_int8_count(const cnn_geometry *geometry, cnn_extent extent)
{
    const cnn_linear_int8_geometry *g = &geometry->linear_int8;
    if (extent == CNN_SOURCE) return g->k;
    return extent == CNN_WEIGHTS ? cnn_times(whole_quads(g->k), whole_panels(g->n)) : g->n;
}

static ptrdiff_t avgpool2d_int8_count(const cnn_geometry *geometry, cnn_extent extent)
{
    const cnn_avgpool2d_int8_geometry *g = &geometry->avgpool2d_int8;
    return extent == CNN_SOURCE ? product(g->h, g->w, g->c) : product(g->oh, g->ow, g->c);
}

static ptrdiff_t add_int8_count(const cnn_geometry *geometry, cnn_extent extent)
{
    (void)extent;
    return geometry->add_int8.count;
}

static ptrdiff_t lookup_count(const cnn_geometry *geometry, cnn_extent extent)
{
    return extent == CNN_TABLE ? UINT8_MAX + 1 : geometry->lookup.count;
}

static ptrdiff_t loss_count(const cnn_geometry *geometry, cnn_extent extent)
{
    return extent == CNN_LABELS ? 1 : geometry->loss.classes;
}

static ptrdiff_t pixel_loss_count(const cnn_geometry *geometry, cnn_extent extent)
{
    const cnn_pixel_loss_geometry *g = &geometry->pixel_loss;
    return extent == CNN_LABELS ? g->rows : cnn_times(g->rows, g->classes);
}

static ptrdiff_t optimizer_count(const cnn_geometry *geometry, cnn_extent extent)
{
    const cnn_optimizer_geometry *g = &geometry->optimizer;
    if (extent == CNN_TABLE) return g->segments;
    return extent == CNN_VELOCITY && g->momentum == 0.0f ? 0 : g->count;
}

static ptrdiff_t operand_count(const cnn_op_info *info, int operand, const cnn_geometry *geometry, ptrdiff_t batch)
{
    const cnn_extent extent = info->operands[operand].extent;
    const ptrdiff_t count = cnn_geometry_find((int)info->geometry)->count(geometry, extent);
    return extent < CNN_WEIGHTS ? cnn_times(batch, count) : count;
}

static int64_t element_bytes(cnn_operand_type type)
{
    switch (type) {
    case CNN_U8:
    case CNN_I8: return 1;
    case CNN_I16: return sizeof(int16_t);
    case CNN_I32: return sizeof(int32_t);
    case CNN_I64: return sizeof(int64_t);
    case CNN_SEGMENTS: return sizeof(cnn_segment);
    default: return sizeof(float);
    }
}

/* ---- the kinds -------------------------------------------------------------------------------------------------- */

/* These numbers, each within its limits, are always something together. */
#define linear_fits cnn_no_limits
#define elementwise_fits cnn_no_limits
#define prelu_fits cnn_no_limits
#define image_fits cnn_no_limits
#define softmax_fits cnn_no_limits
#define channels_fits cnn_no_limits
#define quantize_fits cnn_no_limits
#define lookup_fits cnn_no_limits
#define loss_fits cnn_no_limits
#define pixel_loss_fits cnn_no_limits
#define optimizer_fits cnn_no_limits

static const cnn_geometry_info kinds[] = {
#define GEOMETRY_ROW(kind)                                                                                             \
    {#kind, kind##_fields, sizeof kind##_fields / sizeof kind##_fields[0], kind##_fits, kind##_count},
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
    return kind && fields_fit(kind, geometry) && kind->fits(geometry) && info->limits(geometry);
}

bool cnn_batch_fits(const cnn_op_info *info, const cnn_geometry *geometry, ptrdiff_t batch)
{
    if (batch < 1 || batch > CNN_MAX_COUNT || !cnn_geometry_fits(info, geometry)) return false;
    for (int i = 0; i < info->operand_count; i++)
        if (operand_count(info, i, geometry, batch) > CNN_MAX_COUNT) return false;
    return true;
}

int64_t cnn_operand_bytes(const cnn_op_info *info, int operand, const cnn_geometry *geometry, ptrdiff_t batch)
{
    assert(operand >= 0 && operand < info->operand_count && cnn_batch_fits(info, geometry, batch));
    return operand_count(info, operand, geometry, batch) * element_bytes(info->operands[operand].type);
}

bool cnn_presence_fits(const cnn_op_info *info, int operand, int64_t bytes, bool present)
{
    const int use = info->operands[operand].use;
    if ((use & CNN_NEEDED) == CNN_NEEDED) return present == (bytes > 0);
    return present || use & CNN_OPTIONAL;
}

bool cnn_segments_fit(const cnn_segment *segments, const cnn_optimizer_geometry *geometry)
{
    for (ptrdiff_t s = 0; s < geometry->segments; s++) {
        const cnn_segment *segment = &segments[s];
        if (segment->offset < 0 || segment->count < 0 || segment->count > geometry->count ||
            segment->offset > geometry->count - segment->count)
            return false;
    }
    return true;
}
