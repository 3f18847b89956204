#include "op_cases.h"

#include <math.h>

#include "common/geometry.h"

typedef void visitor(const op_case *);

/* For `absent`: one operand is. */
static unsigned without(int operand) { return 1u << operand; }

/* Whether operand 0 may share the memory of this one; 0: of none. */
static bool may_alias(int op, int operand)
{
    return operand == 0 || cnn_op_find(op)->operands[operand].use & CNN_IN_PLACE;
}

/* The case with every operand in turn whose memory operand 0 may share, and with none. */
static void visit_aliases(visitor *visit, op_case one)
{
    for (one.alias = 0; one.alias < cnn_op_find(one.op)->operand_count; one.alias++)
        if (may_alias(one.op, one.alias)) visit(&one);
}

/* ---- convolution: one shape serves the three passes ----------------------------------------------------------- */

typedef struct conv_shape {
    ptrdiff_t batch;
    cnn_conv2d_geometry geometry; /* zeros stand for ones, OH and OW follow: geometry_complete() */
} conv_shape;

static const conv_shape conv_shapes[] = {
    {1, {.h = 1, .w = 1, .ic = 1, .oc = 1, .kh = 1, .kw = 1}},
    {2, {.h = 9, .w = 7, .ic = 1, .oc = 17, .kh = 3, .kw = 3}},
    {3,
     {.h = 4,
      .w = 5,
      .ic = 128,
      .oc = 70,
      .kh = 3,
      .kw = 3,
      .pad_top = 1,
      .pad_left = 1,
      .pad_bottom = 1,
      .pad_right = 1}},
    {3,
     {.h = 9,
      .w = 7,
      .ic = 3,
      .oc = 5,
      .kh = 3,
      .kw = 3,
      .pad_top = 1,
      .pad_left = 1,
      .pad_bottom = 1,
      .pad_right = 1}},
    {2,
     {.h = 9,
      .w = 7,
      .ic = 17,
      .oc = 33,
      .kh = 3,
      .kw = 3,
      .pad_top = 1,
      .pad_left = 1,
      .pad_bottom = 1,
      .pad_right = 1}},
    {2,
     {.h = 8,
      .w = 13,
      .ic = 2,
      .oc = 16,
      .kh = 5,
      .kw = 5,
      .pad_top = 2,
      .pad_left = 2,
      .pad_bottom = 2,
      .pad_right = 2}},
    {3, {.h = 7, .w = 9, .ic = 6, .oc = 6, .kh = 1, .kw = 1}},
    {2, {.h = 7, .w = 9, .ic = 6, .oc = 9, .kh = 1, .kw = 1, .stride_h = 2, .stride_w = 3}},
    {2,
     {.h = 9,
      .w = 7,
      .ic = 4,
      .oc = 10,
      .kh = 3,
      .kw = 3,
      .stride_h = 2,
      .stride_w = 2,
      .pad_top = 1,
      .pad_left = 1,
      .pad_bottom = 1,
      .pad_right = 1}},
    {2, {.h = 11, .w = 9, .ic = 3, .oc = 4, .kh = 2, .kw = 3, .stride_h = 3, .stride_w = 1, .pad_left = 2}},
    {2,
     {.h = 9,
      .w = 11,
      .ic = 5,
      .oc = 7,
      .kh = 4,
      .kw = 2,
      .pad_top = 1,
      .pad_left = 0,
      .pad_bottom = 2,
      .pad_right = 1}},
    {3, /* at the edges two rows and a column of Winograd's tiles are not wanted */
     {.h = 10,
      .w = 7,
      .ic = 18,
      .oc = 20,
      .kh = 3,
      .kw = 3,
      .pad_top = 1,
      .pad_left = 1,
      .pad_bottom = 1,
      .pad_right = 1}},
    {2,
     {.h = 10,
      .w = 11,
      .ic = 3,
      .oc = 8,
      .kh = 3,
      .kw = 3,
      .dilation_h = 2,
      .dilation_w = 3,
      .pad_top = 2,
      .pad_left = 3,
      .pad_bottom = 2,
      .pad_right = 3}},
    {1,
     {.h = 12,
      .w = 10,
      .ic = 2,
      .oc = 3,
      .kh = 3,
      .kw = 2,
      .stride_h = 2,
      .stride_w = 3,
      .dilation_h = 2,
      .dilation_w = 2,
      .pad_top = 3,
      .pad_left = 1,
      .pad_bottom = 0,
      .pad_right = 2}},
    {2,
     {.h = 9,
      .w = 7,
      .ic = 6,
      .oc = 9,
      .kh = 3,
      .kw = 3,
      .groups = 3,
      .pad_top = 1,
      .pad_left = 1,
      .pad_bottom = 1,
      .pad_right = 1}},
    {2, {.h = 6, .w = 7, .ic = 34, .oc = 36, .kh = 3, .kw = 3, .groups = 2}},
    {2,
     {.h = 9,
      .w = 7,
      .ic = 11,
      .oc = 11,
      .kh = 3,
      .kw = 3,
      .groups = 11,
      .pad_top = 1,
      .pad_left = 1,
      .pad_bottom = 1,
      .pad_right = 1}},
    {2,
     {.h = 8,
      .w = 7,
      .ic = 4,
      .oc = 12,
      .kh = 5,
      .kw = 3,
      .groups = 4,
      .stride_h = 2,
      .stride_w = 2,
      .pad_top = 2,
      .pad_left = 1,
      .pad_bottom = 1,
      .pad_right = 0}},
    {1, {.h = 3, .w = 3, .ic = 4, .oc = 5, .kh = 3, .kw = 3}},
    {1,
     {.h = 2,
      .w = 2,
      .ic = 3,
      .oc = 4,
      .kh = 5,
      .kw = 5,
      .pad_top = 2,
      .pad_left = 2,
      .pad_bottom = 2,
      .pad_right = 2}},
    {1, {.h = 1, .w = 19, .ic = 3, .oc = 2, .kh = 1, .kw = 7, .pad_left = 3, .pad_right = 3}},
    {1, {.h = 5, .w = 6, .ic = 2, .oc = 3, .kh = 2, .kw = 2, .stride_h = 4, .stride_w = 3}},
    {37,
     {.h = 5,
      .w = 4,
      .ic = 2,
      .oc = 3,
      .kh = 3,
      .kw = 3,
      .pad_top = 1,
      .pad_left = 1,
      .pad_bottom = 1,
      .pad_right = 1}},
    {5,
     {.h = 13,
      .w = 12,
      .ic = 8,
      .oc = 48,
      .kh = 3,
      .kw = 3,
      .pad_top = 1,
      .pad_left = 1,
      .pad_bottom = 1,
      .pad_right = 1}},
    {1, {.h = 28, .w = 28, .ic = 3, .oc = 6, .kh = 5, .kw = 5}},
    {2, {.h = 6, .w = 32, .ic = 2, .oc = 13, .kh = 2, .kw = 1}},
    {2,
     {.h = 9,
      .w = 40,
      .ic = 4,
      .oc = 11,
      .kh = 3,
      .kw = 2,
      .stride_h = 2,
      .dilation_w = 2,
      .pad_top = 1,
      .pad_left = 2,
      .pad_right = 1}},
    {1,
     {.h = 40,
      .w = 33,
      .ic = 3,
      .oc = 16,
      .kh = 3,
      .kw = 3,
      .pad_top = 1,
      .pad_left = 1,
      .pad_bottom = 1,
      .pad_right = 1}},
};

static void conv_cases(visitor *visit)
{
    for (size_t i = 0; i < sizeof conv_shapes / sizeof conv_shapes[0]; i++) {
        op_case one = {.batch = conv_shapes[i].batch, .geometry.conv2d = conv_shapes[i].geometry};
        geometry_complete(CNN_GEOMETRY_conv2d, &one.geometry);
        one.op = CNN_OP_conv2d_forward, one.absent = without(CNN_conv2d_forward_argmax);
        visit(&one);
        one.geometry.conv2d.activation = CNN_ACTIVATION_RELU, one.absent |= without(CNN_conv2d_forward_bias);
        visit(&one);
        one.geometry.conv2d.activation = CNN_ACTIVATION_NONE;
        one.op = CNN_OP_conv2d_backward_data, one.absent = without(CNN_conv2d_backward_data_mask);
        visit(&one);
        one.absent = 0, one.values = VALUES_INTEGER; /* so that the mask has zeros */
        visit(&one);
        one.op = CNN_OP_conv2d_backward_weights, one.values = VALUES_UNIFORM;
        visit(&one);
        one.absent = without(CNN_conv2d_backward_weights_diff_bias);
        visit(&one);
        if (one.geometry.conv2d.oh < 2 || one.geometry.conv2d.ow < 2) continue;
        one.op = CNN_OP_conv2d_forward, one.absent = 0, one.geometry.conv2d.pool = 2, one.values = VALUES_INTEGER;
        visit(&one);
        one.geometry.conv2d.activation = CNN_ACTIVATION_RELU;
        visit(&one);
        one.absent = without(CNN_conv2d_forward_bias);
        visit(&one);
        one.op = CNN_OP_conv2d_backward_data, one.values = VALUES_UNIFORM;
        one.absent = without(CNN_conv2d_backward_data_mask);
        visit(&one);
        one.absent = 0;
        visit(&one);
        one.op = CNN_OP_conv2d_backward_weights;
        visit(&one);
        one.absent = without(CNN_conv2d_backward_weights_diff_bias);
        visit(&one);
    }
}

/* The shapes above that Winograd's algorithm can do, with either tile. Pooling meets no integers: whether two of them
 * tie depends on rounding. */
static void winograd_cases(visitor *visit)
{
    for (size_t i = 0; i < 2 * sizeof conv_shapes / sizeof conv_shapes[0]; i++) {
        op_case one = {.batch = conv_shapes[i / 2].batch, .geometry.conv2d = conv_shapes[i / 2].geometry};
        geometry_complete(CNN_GEOMETRY_conv2d, &one.geometry);
        cnn_conv2d_geometry *g = &one.geometry.conv2d;
        g->tile = i % 2 ? 4 : 2;
        if (g->kh != g->kw || (g->kh != 3 && (g->kh != 5 || g->tile != 4)) || g->groups > 1 || g->dilation_h > 1 ||
            g->stride_h > 1)
            continue;
        one.op = CNN_OP_winograd_filter;
        visit(&one);
        one.op = CNN_OP_winograd_filter_backward;
        visit(&one);
        one.op = CNN_OP_winograd_forward, one.absent = without(CNN_winograd_forward_argmax);
        visit(&one);
        g->activation = CNN_ACTIVATION_RELU, one.absent |= without(CNN_winograd_forward_bias);
        visit(&one);
        g->activation = CNN_ACTIVATION_NONE;
        one.op = CNN_OP_winograd_backward_data, one.absent = without(CNN_winograd_backward_data_mask);
        visit(&one);
        one.absent = 0, one.values = VALUES_INTEGER; /* so that the mask has zeros */
        visit(&one);
        one.op = CNN_OP_winograd_backward_weights, one.values = VALUES_UNIFORM;
        visit(&one);
        if (g->oh < 2 || g->ow < 2) continue;
        one.op = CNN_OP_winograd_forward, g->pool = 2;
        visit(&one);
        g->activation = CNN_ACTIVATION_RELU;
        visit(&one);
        one.op = CNN_OP_winograd_backward_data;
        visit(&one);
        one.op = CNN_OP_winograd_backward_weights;
        visit(&one);
        one.absent = without(CNN_winograd_backward_weights_diff_bias);
        visit(&one);
    }
}

static const struct {
    ptrdiff_t batch, k, n;
} linear_shapes[] = {{1, 1, 1},    {1, 37, 10},    {3, 17, 33},  {5, 9, 16},    {64, 84, 10},
                     {7, 130, 65}, {13, 256, 120}, {33, 31, 47}, {35, 29, 1030}};

static void linear_cases(visitor *visit)
{
    for (size_t i = 0; i < sizeof linear_shapes / sizeof linear_shapes[0]; i++) {
        op_case one = {.op = CNN_OP_linear_forward, .batch = linear_shapes[i].batch};
        one.geometry.linear = (cnn_linear_geometry){.k = linear_shapes[i].k, .n = linear_shapes[i].n};
        visit(&one);
        one.geometry.linear.activation = CNN_ACTIVATION_RELU, one.absent = without(CNN_linear_forward_bias);
        visit(&one);
        one.geometry.linear.activation = CNN_ACTIVATION_NONE;
        one.op = CNN_OP_linear_backward_data, one.absent = without(CNN_linear_backward_data_mask);
        visit(&one);
        one.absent = 0, one.values = VALUES_INTEGER; /* so that the mask has zeros */
        visit(&one);
        one.op = CNN_OP_linear_backward_weights, one.values = VALUES_UNIFORM;
        visit(&one);
        one.absent = without(CNN_linear_backward_weights_diff_bias);
        visit(&one);
    }
}

/* ---- pooling: windows always hold an element of the image ------------------------------------------------------ */

static const struct {
    ptrdiff_t batch;
    cnn_pool2d_geometry geometry;
} pool_shapes[] = {
    {1, {.h = 1, .w = 1, .c = 1, .kh = 1, .kw = 1}},
    {2, {.h = 8, .w = 6, .c = 5, .kh = 2, .kw = 2, .stride_h = 2, .stride_w = 2}},
    {3, {.h = 9, .w = 7, .c = 17, .kh = 2, .kw = 2, .stride_h = 2, .stride_w = 2}},
    {2, {.h = 9, .w = 7, .c = 3, .kh = 2, .kw = 2, .stride_h = 2, .stride_w = 2, .oh = 5, .ow = 4}}, /* ceil mode */
    {2, {.h = 9, .w = 7, .c = 4, .kh = 3, .kw = 3, .stride_h = 2, .stride_w = 2, .pad_top = 1, .pad_left = 1}},
    {2, {.h = 9, .w = 7, .c = 33, .kh = 3, .kw = 2, .stride_h = 1, .stride_w = 1, .pad_top = 1, .pad_left = 1}},
    {1, {.h = 10, .w = 11, .c = 2, .kh = 2, .kw = 3, .stride_h = 3, .stride_w = 4}},
    {2, {.h = 7, .w = 5, .c = 6, .kh = 7, .kw = 5}},
    {1,
     {.h = 13,
      .w = 11,
      .c = 1,
      .kh = 5,
      .kw = 5,
      .stride_h = 3,
      .stride_w = 2,
      .pad_top = 2,
      .pad_left = 2,
      .oh = 5,
      .ow = 6}},
    {29, {.h = 4, .w = 4, .c = 3, .kh = 2, .kw = 2, .stride_h = 2, .stride_w = 2}},
};

static void pool_cases(visitor *visit)
{
    for (size_t i = 0; i < sizeof pool_shapes / sizeof pool_shapes[0]; i++) {
        op_case one = {.batch = pool_shapes[i].batch, .geometry.pool2d = pool_shapes[i].geometry};
        geometry_complete(CNN_GEOMETRY_pool2d, &one.geometry);
        one.op = CNN_OP_maxpool2d_forward, one.values = VALUES_INTEGER;
        visit(&one);
        one.values = VALUES_UNIFORM;
        visit(&one);
        one.absent = without(CNN_maxpool2d_forward_argmax);
        visit(&one);
        one.absent = 0, one.op = CNN_OP_maxpool2d_backward;
        visit(&one);
        for (ptrdiff_t include = 0; include < 2; include++) {
            one.geometry.pool2d.count_include_pad = include;
            one.op = CNN_OP_avgpool2d_forward;
            visit(&one);
            one.op = CNN_OP_avgpool2d_backward;
            visit(&one);
            one.absent = without(CNN_avgpool2d_backward_mask);
            visit(&one);
            one.absent = 0;
        }
    }
}

/* Mirrors as wide as they can be, copies of an edge wider than the map, zeros before and behind the channels. */
static void pad_cases(visitor *visit)
{
    static const cnn_pad2d_geometry shapes[] = {
        {.h = 1, .w = 1, .c = 1},
        {.h = 9, .w = 7, .c = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1},
        {.h = 5, .w = 4, .c = 17, .pad_top = 4, .pad_left = 3, .pad_bottom = 4, .pad_right = 3},
        {.h = 3, .w = 8, .c = 33, .pad_top = 2, .pad_right = 5},
        {.h = 4, .w = 5, .c = 4, .pad_left = 2, .channels_before = 3, .channels_behind = 2},
        {.h = 6, .w = 3, .c = 1, .channels_before = 1},
        {.h = 2, .w = 2, .c = 5, .pad_top = 1, .pad_bottom = 1, .pad_right = 1, .channels_behind = 19}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (ptrdiff_t mode = CNN_PADDING_ZEROS; mode <= CNN_PADDING_REPLICATE; mode++) {
            op_case one = {.op = CNN_OP_pad2d_forward, .batch = 3, .geometry.pad2d = shapes[i]};
            one.geometry.pad2d.mode = mode;
            visit(&one);
            one.op = CNN_OP_pad2d_backward;
            visit(&one);
            if (mode == CNN_PADDING_REFLECT) continue;
            one.geometry.pad2d.pad_top += 7, one.geometry.pad2d.pad_right += 9;
            visit(&one);
            one.op = CNN_OP_pad2d_forward;
            visit(&one);
        }
}

static void upsample_cases(visitor *visit)
{
    static const cnn_upsample2d_geometry shapes[] = {
        {.h = 1, .w = 1, .c = 1, .scale_h = 1, .scale_w = 1},  {.h = 1, .w = 4, .c = 5, .scale_h = 3, .scale_w = 2},
        {.h = 5, .w = 3, .c = 17, .scale_h = 2, .scale_w = 2}, {.h = 4, .w = 1, .c = 3, .scale_h = 1, .scale_w = 4},
        {.h = 3, .w = 2, .c = 33, .scale_h = 4, .scale_w = 3}, {.h = 2, .w = 6, .c = 1, .scale_h = 5, .scale_w = 1}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (ptrdiff_t sampling = CNN_SAMPLING_NEAREST; sampling <= CNN_SAMPLING_ALIGNED; sampling++) {
            op_case one = {.op = CNN_OP_upsample2d_forward, .batch = 3, .geometry.upsample2d = shapes[i]};
            one.geometry.upsample2d.sampling = sampling;
            visit(&one);
            one.op = CNN_OP_upsample2d_backward;
            visit(&one);
        }
}

/* ---- elementwise and row-wise ops ------------------------------------------------------------------------------ */

static const int elementwise_ops[] = {
    CNN_OP_relu_forward,
    CNN_OP_relu_backward,
    CNN_OP_leaky_relu_forward,
    CNN_OP_leaky_relu_backward,
    CNN_OP_sigmoid_forward,
    CNN_OP_sigmoid_backward,
    CNN_OP_tanh_forward,
    CNN_OP_tanh_backward,
    CNN_OP_elu_forward,
    CNN_OP_elu_backward,
    CNN_OP_gelu_forward,
    CNN_OP_gelu_backward,
    CNN_OP_gelu_tanh_forward,
    CNN_OP_gelu_tanh_backward,
    CNN_OP_silu_forward,
    CNN_OP_silu_backward,
    CNN_OP_hardswish_forward,
    CNN_OP_hardswish_backward,
    CNN_OP_hardsigmoid_forward,
    CNN_OP_hardsigmoid_backward,
    CNN_OP_relu6_forward,
    CNN_OP_relu6_backward,
    CNN_OP_softplus_forward,
    CNN_OP_softplus_backward,
    CNN_OP_add,
    CNN_OP_scale,
};

static void elementwise_cases(visitor *visit)
{
    static const ptrdiff_t counts[] = {1, 63, 4099};
    for (size_t i = 0; i < sizeof elementwise_ops / sizeof elementwise_ops[0]; i++)
        for (size_t j = 0; j < sizeof counts / sizeof counts[0]; j++) {
            op_case one = {.op = elementwise_ops[i], .batch = 3};
            one.geometry.elementwise = (cnn_elementwise_geometry){.count = counts[j], .slope = 0.01f};
            visit_aliases(visit, one);
            one.values = VALUES_WIDE;
            visit_aliases(visit, one);
            one.values = VALUES_INTEGER;
            visit_aliases(visit, one);
            if (one.op != CNN_OP_add) continue;
            one.absent = without(CNN_add_mask);
            visit_aliases(visit, one);
        }
}

static void clip_cases(visitor *visit)
{
    static const ptrdiff_t counts[] = {1, 63, 4099};
    static const int ops[] = {CNN_OP_clip_forward, CNN_OP_clip_backward};
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < sizeof counts / sizeof counts[0]; j++) {
            op_case one = {.op = ops[i], .batch = 3};
            one.geometry.clip = (cnn_clip_geometry){.count = counts[j], .low = -0.5f, .high = 0.25f};
            visit_aliases(visit, one);
            one.values = VALUES_INTEGER;
            visit_aliases(visit, one);
        }
}

/* One slope, few channels that stand side by side, rows left over, and more columns than a kernel sums. */
static void prelu_cases(visitor *visit)
{
    static const cnn_prelu_geometry shapes[] = {{1, 1}, {4099, 1}, {63, 3}, {50, 17}, {9, 64}, {33, 100}, {2, 1050}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        op_case one = {.op = CNN_OP_prelu_forward, .batch = 3};
        one.geometry.prelu = shapes[i];
        visit_aliases(visit, one);
        one.op = CNN_OP_prelu_backward;
        visit_aliases(visit, one);
        one.values = VALUES_INTEGER;
        visit_aliases(visit, one);
        one.absent = without(CNN_prelu_backward_diff_weights);
        visit(&one);
    }
}

/* Every activation that ends another op, where its kernels have ways of their own: few samples and channels, whole
 * tiles and parts of them, pools. */
static void ending_cases(visitor *visit)
{
    for (ptrdiff_t kind = CNN_ACTIVATION_NONE + 1; kind <= CNN_ACTIVATION_FUSED_MOST; kind++) {
        for (ptrdiff_t batch = 1; batch <= 9; batch += 4) {
            op_case one = {.op = CNN_OP_linear_forward, .batch = batch};
            one.geometry.linear = (cnn_linear_geometry){.k = 19, .n = 45, .activation = kind};
            visit(&one);
        }
        for (ptrdiff_t pool = 0; pool <= 2; pool += 2)
            for (ptrdiff_t oc = 2; oc <= 38; oc += 36) {
                op_case one = {.op = CNN_OP_conv2d_forward, .batch = 2};
                one.geometry.conv2d = (cnn_conv2d_geometry){.h = 8, .w = 9, .ic = 3, .oc = oc, .kh = 3, .kw = 3};
                one.geometry.conv2d.activation = kind, one.geometry.conv2d.pool = pool;
                geometry_complete(CNN_GEOMETRY_conv2d, &one.geometry);
                one.absent = without(CNN_conv2d_forward_argmax);
                visit(&one);
                one.op = CNN_OP_winograd_forward, one.geometry.conv2d.tile = 4;
                one.absent = without(CNN_winograd_forward_argmax);
                visit(&one);
            }
        for (ptrdiff_t c = 5; c <= 70; c += 65) {
            op_case one = {.op = CNN_OP_batchnorm_forward_training, .batch = 3};
            one.geometry.norm = (cnn_norm_geometry){.rows = 36, .c = c, .w = 6, .activation = kind, .eps = 1e-5f};
            one.absent = without(CNN_batchnorm_forward_training_argmax);
            visit(&one);
            one.op = CNN_OP_batchnorm_forward_inference, one.absent = 0;
            visit(&one);
        }
    }
}

static void dropout_cases(visitor *visit)
{
    static const float rates[] = {0.0f, 0.2f, 0.5f, 0.9f};
    static const struct {
        ptrdiff_t count, draws;
    } counts[] = {{1, 1},      {7, 7},         {4101, 4101}, {7, 1},          {4101, 1},
                  {63 * 5, 5}, {301 * 63, 63}, {9 * 70, 70}, {2 * 4101, 4101}};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++)
        for (size_t j = 0; j < sizeof counts / sizeof counts[0]; j++) {
            op_case one = {.op = CNN_OP_dropout, .batch = 3};
            one.geometry.dropout = (cnn_dropout_geometry){
                .count = counts[j].count, .draws = counts[j].draws, .stream = (ptrdiff_t)(2 + i), .rate = rates[i]};
            visit_aliases(visit, one);
        }
}

/* Products and sums by channel: narrow rows and wide ones, alone and many, in one run and in several. */
static void product_cases(visitor *visit)
{
    static const cnn_channels_geometry shapes[] = {{1, 1},    {1, 4099}, {9, 1},    {63, 3},    {49, 17},   {301, 33},
                                                   {300, 64}, {7, 100},  {3, 1030}, {3, 20011}, {1, 20011}, {2500, 16}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        op_case one = {.op = CNN_OP_scale_channels, .batch = 3, .geometry.channels = shapes[i]};
        one.alias = CNN_scale_channels_src;
        visit(&one);
        one.alias = 0;
        visit(&one);
        one.op = CNN_OP_scale_channels_backward_weights;
        visit(&one);
        one.op = CNN_OP_add_channels_backward;
        visit(&one);
        one.op = CNN_OP_add_channels;
        visit_aliases(visit, one);
        one.op = CNN_OP_multiply_backward;
        visit(&one);
        one.op = CNN_OP_multiply;
        visit(&one);
        one.alias = CNN_multiply_a;
        visit(&one);
        one.alias = shapes[i].rows == 1 ? CNN_multiply_b : 0;
        visit(&one);
    }
}

/* By samples and, of few large ones, by parts; all groups from one to the channels. */
static void group_norm_cases(visitor *visit)
{
    static const struct {
        ptrdiff_t batch;
        cnn_groupnorm_geometry geometry;
    } shapes[] = {{1, {1, 2, 1, 1e-5f}},      {3, {1, 100, 4, 1e-5f}},     {5, {63, 6, 3, 1e-5f}},
                  {5, {63, 33, 33, 1e-5f}},   {17, {49, 17, 1, 1e-3f}},    {3, {900, 96, 8, 1e-5f}},
                  {17, {900, 96, 96, 1e-5f}}, {2, {130, 1030, 10, 1e-5f}}, {2, {9000, 10, 5, 0.01f}}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        op_case one = {.batch = shapes[i].batch, .geometry.groupnorm = shapes[i].geometry};
        one.op = CNN_OP_groupnorm_forward;
        visit_aliases(visit, one);
        one.absent = without(CNN_groupnorm_forward_weights) | without(CNN_groupnorm_forward_save_mean) |
                     without(CNN_groupnorm_forward_save_inv_std);
        visit(&one);
        one.absent = without(CNN_groupnorm_forward_bias);
        visit(&one);
        one.op = CNN_OP_groupnorm_backward, one.absent = 0;
        visit_aliases(visit, one);
        one.absent = without(CNN_groupnorm_backward_weights) | without(CNN_groupnorm_backward_diff_weights);
        visit(&one);
        one.absent = without(CNN_groupnorm_backward_diff_bias);
        visit(&one);
        one.absent |= without(CNN_groupnorm_backward_weights) | without(CNN_groupnorm_backward_diff_weights);
        visit(&one);
    }
}

/* Batch normalisation without weights, or bias, or both. */
static void absent_norm_cases(visitor *visit, op_case norm)
{
    for (int absent = 1; absent < 4; absent++) {
        const bool weights = absent & 1, bias = absent & 2;
        norm.op = CNN_OP_batchnorm_forward_training;
        norm.absent =
            (weights ? without(CNN_batchnorm_forward_training_weights) : 0u) |
            (bias ? without(CNN_batchnorm_forward_training_bias) | without(CNN_batchnorm_forward_training_addend)
                  : 0u) |
            (norm.geometry.norm.pool ? 0u : without(CNN_batchnorm_forward_training_argmax));
        visit(&norm);
        norm.op = CNN_OP_batchnorm_forward_inference;
        norm.absent = (weights ? without(CNN_batchnorm_forward_inference_weights) : 0u) |
                      (bias ? without(CNN_batchnorm_forward_inference_bias) : 0u);
        visit(&norm);
        norm.op = CNN_OP_batchnorm_backward;
        norm.absent =
            without(CNN_batchnorm_backward_mask) |
            (weights ? without(CNN_batchnorm_backward_weights) | without(CNN_batchnorm_backward_diff_weights) : 0u) |
            (bias ? without(CNN_batchnorm_backward_bias) | without(CNN_batchnorm_backward_diff_bias) : 0u) |
            (norm.geometry.norm.pool ? 0u : without(CNN_batchnorm_backward_argmax));
        visit(&norm);
    }
}

/* Batch normalisation in the parts that take windows, here of one window. */
static void split_norm_cases(visitor *visit, op_case norm)
{
    const bool pool = norm.geometry.norm.pool != 0;
    norm.alias = 0, norm.absent = 0;
    norm.op = CNN_OP_batchnorm_moments;
    visit(&norm);
    norm.op = CNN_OP_batchnorm_normalize;
    if (!pool) norm.absent = without(CNN_batchnorm_normalize_argmax);
    visit(&norm);
    norm.absent |= without(CNN_batchnorm_normalize_weights) | without(CNN_batchnorm_normalize_argmax) |
                   without(CNN_batchnorm_normalize_addend);
    visit(&norm);
    norm.op = CNN_OP_batchnorm_sums, norm.absent = pool ? 0 : without(CNN_batchnorm_sums_argmax);
    visit(&norm);
    norm.absent |= without(CNN_batchnorm_sums_weights) | without(CNN_batchnorm_sums_diff_weights) |
                   without(CNN_batchnorm_sums_bias) | without(CNN_batchnorm_sums_diff_bias);
    visit(&norm);
    norm.op = CNN_OP_batchnorm_data, norm.absent = pool ? 0 : without(CNN_batchnorm_data_argmax);
    visit(&norm);
    norm.absent |= without(CNN_batchnorm_data_mask) | without(CNN_batchnorm_data_bias);
    norm.alias = CNN_batchnorm_data_src;
    visit(&norm);
}

/* Batch normalisation with what it fuses: ReLU, max-pool, the mask of a ReLU before. */
static void fused_norm_cases(visitor *visit, ptrdiff_t columns)
{
    for (int fused = 1; fused < 4; fused++)
        for (ptrdiff_t w = 2; w <= 7; w += 5) {
            op_case norm = {.batch = 3};
            norm.geometry.norm = (cnn_norm_geometry){.rows = 9 * w,
                                                     .c = columns,
                                                     .w = w,
                                                     .activation = fused & 1,
                                                     .pool = fused & 2,
                                                     .eps = 1e-5f,
                                                     .momentum = 0.1f};
            norm.absent = fused & 2 ? 0 : without(CNN_batchnorm_forward_training_argmax);
            norm.op = CNN_OP_batchnorm_forward_training;
            visit(&norm);
            norm.absent = 0;
            norm.op = CNN_OP_batchnorm_forward_inference;
            visit(&norm);
            norm.op = CNN_OP_batchnorm_backward;
            norm.absent = fused & 2 ? 0 : without(CNN_batchnorm_backward_argmax);
            visit(&norm);
            norm.absent |= without(CNN_batchnorm_backward_mask);
            visit(&norm);
            norm.alias = CNN_batchnorm_backward_src;
            visit(&norm);
            norm.alias = 0;
            absent_norm_cases(visit, norm);
            split_norm_cases(visit, norm);
        }
}

static void row_cases(visitor *visit)
{
    static const ptrdiff_t columns[] = {1, 2, 10, 17, 33, 100};
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        op_case one = {.batch = 5, .geometry.softmax = {.rows = 3, .c = columns[i]}};
        one.op = CNN_OP_softmax_backward;
        visit(&one);
        one.op = CNN_OP_softmax_forward;
        visit(&one);
        one.values = VALUES_WIDE;
        visit(&one);
        op_case norm = {.batch = 5};
        for (ptrdiff_t rows = 1; rows <= 63; rows += 62) {
            norm.geometry.norm = (cnn_norm_geometry){.rows = rows, .c = columns[i], .eps = 1e-5f, .momentum = 0.1f};
            norm.op = CNN_OP_batchnorm_forward_training;
            norm.absent = without(CNN_batchnorm_forward_training_argmax);
            visit(&norm);
            norm.op = CNN_OP_batchnorm_forward_inference, norm.absent = 0;
            visit(&norm);
            norm.op = CNN_OP_batchnorm_backward, norm.absent = without(CNN_batchnorm_backward_argmax);
            visit_aliases(visit, norm);
            absent_norm_cases(visit, norm);
            split_norm_cases(visit, norm);
            norm.absent = 0;
        }
        fused_norm_cases(visit, columns[i]);
    }
    op_case big = {.op = CNN_OP_batchnorm_forward_training, .batch = 41};
    big.absent = without(CNN_batchnorm_forward_training_argmax);
    big.geometry.norm = (cnn_norm_geometry){.rows = 121, .c = 19, .eps = 1e-3f, .momentum = 0.01f};
    visit(&big);
    big.op = CNN_OP_batchnorm_backward, big.absent = without(CNN_batchnorm_backward_argmax);
    visit(&big);
}

static void layout_cases(visitor *visit)
{
    static const cnn_image_geometry images[] = {{1, 1, 1}, {9, 7, 1}, {9, 7, 3}, {8, 8, 17}, {33, 5, 33}};
    for (size_t i = 0; i < sizeof images / sizeof images[0]; i++) {
        op_case one = {.op = CNN_OP_nchw_to_nhwc, .batch = 3, .geometry.image = images[i]};
        visit(&one);
        one.op = CNN_OP_nhwc_to_nchw;
        visit(&one);
    }
    static const cnn_slice_geometry slices[] = {
        {63, 5, 5, 0, 22, 17}, {63, 17, 22, 0, 17, 0}, {1, 1, 1, 0, 3, 1}, {7, 16, 40, 8, 33, 16}};
    for (size_t i = 0; i < sizeof slices / sizeof slices[0]; i++)
        visit(&(op_case){.op = CNN_OP_copy_channels, .batch = 3, .geometry.slice = slices[i]});
}

/* ---- losses, checks, optimisers -------------------------------------------------------------------------------- */

static void loss_cases(visitor *visit)
{
    static const int ops[] = {CNN_OP_cross_entropy, CNN_OP_cross_entropy_soft, CNN_OP_mean_squared_error,
                              CNN_OP_binary_cross_entropy, CNN_OP_check_labels};
    static const int gradients[] = {CNN_cross_entropy_diff_logits, CNN_cross_entropy_soft_diff_logits,
                                    CNN_mean_squared_error_diff_src, CNN_binary_cross_entropy_diff_logits};
    static const ptrdiff_t classes[] = {1, 2, 10, 33};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        for (size_t j = 0; j < sizeof classes / sizeof classes[0]; j++)
            for (ptrdiff_t batch = 1; batch <= 70; batch += 23)
                for (int smooth = 0; smooth < 2; smooth++) {
                    const bool entropy = i < 2;
                    if (smooth && !entropy) continue;
                    op_case one = {.op = ops[i], .batch = batch};
                    one.geometry.loss = (cnn_loss_geometry){classes[j], smooth ? 0.1f : 0.0f};
                    visit(&one);
                    one.values = VALUES_WIDE;
                    visit(&one);
                    if (ops[i] == CNN_OP_check_labels) continue;
                    one.absent = without(gradients[i]);
                    visit(&one);
                }
}

static void pixel_loss_cases(visitor *visit)
{
    static const ptrdiff_t classes[] = {1, 2, 21, 1500}, rows[] = {1, 35, 300};
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        for (size_t j = 0; j < sizeof rows / sizeof rows[0]; j++)
            for (ptrdiff_t ignored = -1; ignored < 2; ignored++) { /* none, all of one class, or some */
                op_case one = {.op = CNN_OP_pixel_cross_entropy, .batch = 3};
                one.geometry.pixel_loss = (cnn_pixel_loss_geometry){
                    rows[j], classes[i], ignored < 0 ? CNN_NONE_IGNORED : ignored, ignored ? 0.1f : 0.0f};
                visit(&one);
                one.values = VALUES_WIDE;
                visit(&one);
                one.absent = without(CNN_pixel_cross_entropy_diff_logits);
                visit(&one);
            }
}

static void optimizer_cases(visitor *visit)
{
    static const ptrdiff_t counts[] = {1, 17, 1000, 20011};
    static const struct {
        float momentum, nesterov;
    } settings[] = {{0.0f, 0.0f}, {0.9f, 0.0f}, {0.9f, 1.0f}};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        for (ptrdiff_t segments = 1; segments <= 5; segments += 4) {
            if (counts[i] < segments) continue;
            op_case one = {.batch = 2};
            cnn_optimizer_geometry *g = &one.geometry.optimizer;
            *g = (cnn_optimizer_geometry){.count = counts[i],
                                          .segments = segments,
                                          .beta1 = 0.9f,
                                          .beta2 = 0.999f,
                                          .eps = 1e-8f,
                                          .max_norm = 2.0f};
            one.op = CNN_OP_adam;
            visit(&one);
            one.op = CNN_OP_nadam;
            g->momentum_decay = 0.004f;
            visit(&one);
            one.op = CNN_OP_average;
            visit(&one);
            one.op = CNN_OP_lookahead;
            visit(&one);
            one.op = CNN_OP_accumulate_gradients;
            visit(&one);
            one.op = CNN_OP_rmsprop;
            for (int form = 0; form < 4; form++) {
                g->keras = (float)(form % 2), g->momentum = form < 2 ? 0.0f : 0.9f;
                one.absent = form < 2 ? without(CNN_rmsprop_velocity) : 0u;
                visit(&one);
            }
            g->momentum = 0.0f, one.absent = 0u;
            one.op = CNN_OP_check_gradients;
            visit(&one);
            one.op = CNN_OP_clip_gradients;
            visit(&one);
            g->max_norm = 1e6f;
            visit(&one);
            one.op = CNN_OP_sgd;
            for (size_t s = 0; s < sizeof settings / sizeof settings[0]; s++) {
                g->momentum = settings[s].momentum, g->nesterov = settings[s].nesterov;
                one.absent = g->momentum == 0.0f ? without(CNN_sgd_velocity) : 0u;
                visit(&one);
            }
        }
}

void each_op_case(visitor *visit)
{
    conv_cases(visit);
    winograd_cases(visit);
    linear_cases(visit);
    pool_cases(visit);
    pad_cases(visit);
    upsample_cases(visit);
    elementwise_cases(visit);
    clip_cases(visit);
    prelu_cases(visit);
    ending_cases(visit);
    dropout_cases(visit);
    product_cases(visit);
    row_cases(visit);
    group_norm_cases(visit);
    layout_cases(visit);
    loss_cases(visit);
    pixel_loss_cases(visit);
    optimizer_cases(visit);
    each_int8_case(visit);
    visit(&(op_case){.op = CNN_OP_check_finite, .batch = 3, .geometry.elementwise = {.count = 5001}});
}
