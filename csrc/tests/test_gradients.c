/* The twins' gradients against central differences of the twins' forward passes.
 *
 * L = sum of diff_dst * dst (a loss op: its loss). A gradient op takes what it needs from the forward op by operand
 * name; its output diff_X must be the derivative of L by the forward op's X.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/geometry.h"
#include "common/operands.h"
#include "test.h"

enum { PROBES = 40 }; /* elements looked at per gradient */
static const double STEP = 0x1p-8, TOLERANCE = 5e-3;

typedef struct gradient_case {
    int forward, backward; /* the same op: a loss */
    ptrdiff_t batch;
    cnn_geometry geometry;
} gradient_case;

static const gradient_case cases[] = {
    {CNN_OP_conv2d_forward,
     CNN_OP_conv2d_backward_data,
     2,
     {.conv2d = {.h = 7,
                 .w = 6,
                 .ic = 4,
                 .oc = 6,
                 .kh = 3,
                 .kw = 2,
                 .stride_h = 2,
                 .groups = 2,
                 .pad_top = 1,
                 .pad_left = 1,
                 .pad_bottom = 2}}},
    {CNN_OP_conv2d_forward,
     CNN_OP_conv2d_backward_weights,
     2,
     {.conv2d = {.h = 7,
                 .w = 9,
                 .ic = 3,
                 .oc = 5,
                 .kh = 3,
                 .kw = 3,
                 .stride_w = 2,
                 .dilation_h = 2,
                 .pad_top = 1,
                 .pad_right = 1}}},
    {CNN_OP_conv2d_forward,
     CNN_OP_conv2d_backward_data,
     1,
     {.conv2d = {.h = 7, .w = 9, .ic = 3, .oc = 17, .kh = 3, .kw = 3, .stride_w = 3, .dilation_w = 2, .pad_left = 4}}},
    {CNN_OP_linear_forward, CNN_OP_linear_backward_data, 3, {.linear = {.k = 7, .n = 19}}},
    {CNN_OP_linear_forward, CNN_OP_linear_backward_weights, 3, {.linear = {.k = 7, .n = 19}}},
    {CNN_OP_maxpool2d_forward,
     CNN_OP_maxpool2d_backward,
     2,
     {.pool2d = {.h = 7, .w = 6, .c = 3, .kh = 3, .kw = 2, .stride_h = 2, .stride_w = 1, .pad_top = 1, .pad_left = 1}}},
    {CNN_OP_avgpool2d_forward,
     CNN_OP_avgpool2d_backward,
     2,
     {.pool2d = {.h = 7, .w = 6, .c = 3, .kh = 3, .kw = 2, .stride_h = 2, .stride_w = 1, .pad_top = 1, .pad_left = 1}}},
    {CNN_OP_avgpool2d_forward,
     CNN_OP_avgpool2d_backward,
     2,
     {.pool2d = {.h = 7,
                 .w = 6,
                 .c = 3,
                 .kh = 2,
                 .kw = 2,
                 .stride_h = 2,
                 .stride_w = 2,
                 .pad_top = 1,
                 .pad_left = 1,
                 .count_include_pad = 1}}},
    {CNN_OP_pad2d_forward,
     CNN_OP_pad2d_backward,
     2,
     {.pad2d = {.h = 4, .w = 3, .c = 2, .pad_top = 2, .pad_left = 1, .pad_right = 2, .channels_behind = 1}}},
    {CNN_OP_pad2d_forward,
     CNN_OP_pad2d_backward,
     2,
     {.pad2d = {.h = 4,
                .w = 3,
                .c = 2,
                .pad_top = 3,
                .pad_left = 1,
                .pad_bottom = 2,
                .pad_right = 2,
                .mode = CNN_PADDING_REFLECT}}},
    {CNN_OP_pad2d_forward,
     CNN_OP_pad2d_backward,
     2,
     {.pad2d = {.h = 4,
                .w = 3,
                .c = 2,
                .pad_top = 5,
                .pad_left = 1,
                .pad_bottom = 2,
                .channels_before = 2,
                .mode = CNN_PADDING_REPLICATE}}},
    {CNN_OP_upsample2d_forward,
     CNN_OP_upsample2d_backward,
     2,
     {.upsample2d = {.h = 3, .w = 4, .c = 2, .scale_h = 2, .scale_w = 3}}},
    {CNN_OP_upsample2d_forward,
     CNN_OP_upsample2d_backward,
     2,
     {.upsample2d = {.h = 3, .w = 4, .c = 2, .scale_h = 2, .scale_w = 3, .sampling = CNN_SAMPLING_HALF_PIXEL}}},
    {CNN_OP_upsample2d_forward,
     CNN_OP_upsample2d_backward,
     2,
     {.upsample2d = {.h = 3, .w = 4, .c = 2, .scale_h = 2, .scale_w = 3, .sampling = CNN_SAMPLING_ALIGNED}}},
    {CNN_OP_relu_forward, CNN_OP_relu_backward, 2, {.elementwise = {.count = 20}}},
    {CNN_OP_leaky_relu_forward, CNN_OP_leaky_relu_backward, 2, {.elementwise = {.count = 20, .slope = 0.1f}}},
    {CNN_OP_sigmoid_forward, CNN_OP_sigmoid_backward, 2, {.elementwise = {.count = 20}}},
    {CNN_OP_tanh_forward, CNN_OP_tanh_backward, 2, {.elementwise = {.count = 20}}},
    {CNN_OP_elu_forward, CNN_OP_elu_backward, 2, {.elementwise = {.count = 20, .slope = 0.5f}}},
    {CNN_OP_gelu_forward, CNN_OP_gelu_backward, 2, {.elementwise = {.count = 20}}},
    {CNN_OP_gelu_tanh_forward, CNN_OP_gelu_tanh_backward, 2, {.elementwise = {.count = 20}}},
    {CNN_OP_silu_forward, CNN_OP_silu_backward, 2, {.elementwise = {.count = 20}}},
    {CNN_OP_hardswish_forward, CNN_OP_hardswish_backward, 2, {.elementwise = {.count = 20}}},
    {CNN_OP_hardsigmoid_forward, CNN_OP_hardsigmoid_backward, 2, {.elementwise = {.count = 20}}},
    {CNN_OP_relu6_forward, CNN_OP_relu6_backward, 2, {.elementwise = {.count = 20}}},
    {CNN_OP_softplus_forward, CNN_OP_softplus_backward, 2, {.elementwise = {.count = 20}}},
    {CNN_OP_clip_forward, CNN_OP_clip_backward, 2, {.clip = {.count = 20, .low = -9.0f, .high = 9.0f}}},
    {CNN_OP_prelu_forward, CNN_OP_prelu_backward, 2, {.prelu = {.rows = 4, .c = 5}}},
    {CNN_OP_prelu_forward, CNN_OP_prelu_backward, 3, {.prelu = {.rows = 20, .c = 1}}},
    {CNN_OP_softmax_forward, CNN_OP_softmax_backward, 2, {.softmax = {.rows = 3, .c = 5}}},
    {CNN_OP_batchnorm_forward_training,
     CNN_OP_batchnorm_backward,
     3,
     {.norm = {.rows = 6, .c = 4, .eps = 1e-5f, .momentum = 0.1f}}},
    {CNN_OP_groupnorm_forward,
     CNN_OP_groupnorm_backward,
     3,
     {.groupnorm = {.rows = 6, .c = 4, .groups = 2, .eps = 1e-5f}}},
    {CNN_OP_groupnorm_forward,
     CNN_OP_groupnorm_backward,
     2,
     {.groupnorm = {.rows = 6, .c = 4, .groups = 4, .eps = 1e-5f}}},
    {CNN_OP_groupnorm_forward,
     CNN_OP_groupnorm_backward,
     3,
     {.groupnorm = {.rows = 1, .c = 9, .groups = 1, .eps = 1e-3f}}},
    {CNN_OP_scale_channels, CNN_OP_scale_channels_backward_weights, 3, {.channels = {.rows = 5, .c = 4}}},
    {CNN_OP_add_channels, CNN_OP_add_channels_backward, 3, {.channels = {.rows = 5, .c = 4}}},
    {CNN_OP_multiply, CNN_OP_multiply_backward, 3, {.channels = {.rows = 5, .c = 4}}},
    {CNN_OP_multiply, CNN_OP_multiply_backward, 3, {.channels = {.rows = 1, .c = 7}}},
    {CNN_OP_cross_entropy, CNN_OP_cross_entropy, 4, {.loss = {.classes = 5}}},
    {CNN_OP_cross_entropy, CNN_OP_cross_entropy, 4, {.loss = {.classes = 5, .label_smoothing = 0.2f}}},
    {CNN_OP_cross_entropy_soft, CNN_OP_cross_entropy_soft, 4, {.loss = {.classes = 5, .label_smoothing = 0.2f}}},
    {CNN_OP_pixel_cross_entropy,
     CNN_OP_pixel_cross_entropy,
     2,
     {.pixel_loss = {.rows = 6, .classes = 3, .ignored = 1, .label_smoothing = 0.2f}}},
    {CNN_OP_mean_squared_error, CNN_OP_mean_squared_error, 4, {.loss = {.classes = 5}}},
    {CNN_OP_binary_cross_entropy, CNN_OP_binary_cross_entropy, 4, {.loss = {.classes = 5}}},
};

static operand *find(operand_set *set, const char *name)
{
    for (int i = 0; i < set->count; i++)
        if (strcmp(set->operands[i].name, name) == 0) return &set->operands[i];
    return NULL;
}

static double run(const gradient_case *c, const cnn_geometry *geometry, const operand_set *set)
{
    void *operands[CNN_MAX_OPERANDS] = {0};
    for (int i = 0; i < set->count; i++) operands[i] = set->operands[i].data;
    cnn_run r = {.batch = c->batch};
    cnn_op_run(set->op, geometry, operands, &r, 1, true);
    return r.loss;
}

static double objective(const gradient_case *c, const cnn_geometry *geometry, operand_set *forward,
                        const operand *diff_dst)
{
    const double loss = run(c, geometry, forward);
    if (!diff_dst) return loss;
    double sum = 0.0;
    for (ptrdiff_t i = 0; i < diff_dst->count; i++)
        sum += (double)((float *)diff_dst->data)[i] * ((float *)find(forward, "dst")->data)[i];
    return sum;
}

static double difference(const gradient_case *c, const cnn_geometry *geometry, operand_set *forward,
                         const operand *diff_dst, float *element)
{
    const float before = *element;
    const volatile float above = before + (float)STEP, below = before - (float)STEP;
    *element = above;
    const double high = objective(c, geometry, forward, diff_dst);
    *element = below;
    const double low = objective(c, geometry, forward, diff_dst);
    *element = before;
    return (high - low) / ((double)above - below);
}

/* Missing columns of a panel have no gradient: their element of the gradient is zero whatever L does. */
static bool is_missing(const operand *o, ptrdiff_t i)
{
    return strcmp(o->name, "weights") == 0 && ((float *)o->data)[i] == 0.0f;
}

static void probe(const gradient_case *c, const cnn_geometry *geometry, operand_set *forward, const operand *diff_dst,
                  const operand *gradient)
{
    const operand *source = find(forward, gradient->name + strlen("diff_"));
    const float *values = gradient->data;
    double largest = 1e-3;
    for (ptrdiff_t i = 0; i < gradient->count; i++) largest = fmax(largest, fabs(values[i]));
    const ptrdiff_t probes = gradient->count < PROBES ? gradient->count : PROBES;
    for (ptrdiff_t p = 0; p < probes; p++) {
        const ptrdiff_t i = gradient->count * p / probes;
        if (is_missing(source, i)) {
            test_expect(values[i] == 0.0f, "%s[%td] of a missing column is %g", gradient->name, i, values[i]);
            continue;
        }
        const double expected = difference(c, geometry, forward, diff_dst, (float *)source->data + i);
        if (!test_expect(fabs(values[i] - expected) <= TOLERANCE * largest, "%s[%td] is %.7g, difference %.7g",
                         gradient->name, i, values[i], expected))
            return;
    }
}

/* The gradient op's operands: its own outputs and diff_dst, the rest lent by the forward op. No mask: it is the
 * derivative of another op. */
static operand_set lend(const operand_set *own, operand_set *forward)
{
    operand_set set = *own;
    for (int i = 0; i < set.count; i++) {
        operand *lender = find(forward, set.operands[i].name);
        if (!set.operands[i].output && lender) set.operands[i].data = lender->data;
        if (strcmp(set.operands[i].name, "mask") == 0) set.operands[i].data = NULL;
    }
    return set;
}

/* ReLU bends at zero: no input may come within a step of it. */
static void keep_off_zero(operand *src)
{
    float *values = src->data;
    for (ptrdiff_t i = 0; i < src->count; i++) values[i] += (float)(values[i] < 0.0f ? -2.0 * STEP : 2.0 * STEP);
}

static void check(const gradient_case *c)
{
    const cnn_geometry_kind kind = cnn_op_find(c->forward)->geometry;
    cnn_geometry geometry = c->geometry;
    char text[GEOMETRY_TEXT];
    geometry_complete(kind, &geometry);
    geometry_print(kind, &geometry, text);
    test_begin("gradient of %s by %s batch=%td %s", cnn_op_find(c->forward)->name, cnn_op_find(c->backward)->name,
               c->batch, text);
    operand_set forward = operands_describe(c->forward, &geometry, c->batch);
    operands_allocate(&forward);
    operands_fill(&forward, &geometry, VALUES_UNIFORM, 11);
    if (kind == CNN_GEOMETRY_elementwise || kind == CNN_GEOMETRY_prelu) keep_off_zero(find(&forward, "src"));
    run(c, &geometry, &forward);
    if (c->forward == c->backward) {
        operand_set after = operands_copy(&forward);
        probe(c, &geometry, &forward, NULL, &after.operands[0]);
        operands_free(&after);
    } else {
        operand_set own = operands_describe(c->backward, &geometry, c->batch);
        operands_allocate(&own);
        operands_fill(&own, &geometry, VALUES_UNIFORM, 12);
        operand_set backward = lend(&own, &forward);
        run(c, &geometry, &backward);
        for (int i = 0; i < backward.count; i++)
            if (backward.operands[i].output)
                probe(c, &geometry, &forward, find(&backward, "diff_dst"), &backward.operands[i]);
        operands_free(&own);
    }
    operands_free(&forward);
    test_end();
}

void suite_gradients(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) check(&cases[i]);
}
