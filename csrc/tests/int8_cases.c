/* Cases of integer inference: every tail of channels, pixels and quads, with shifts alone and with multipliers. */
#include "common/geometry.h"
#include "op_cases.h"

typedef void visitor(const op_case *);

static void conv_cases(visitor *visit)
{
    static const cnn_conv2d_int8_geometry shapes[] = {
        {.h = 1, .w = 1, .ic = 1, .oc = 1, .kh = 1, .kw = 1},
        {.h = 9,
         .w = 7,
         .ic = 3,
         .oc = 17,
         .kh = 3,
         .kw = 3,
         .pad_top = 1,
         .pad_left = 1,
         .pad_bottom = 1,
         .pad_right = 1},
        {.h = 8,
         .w = 13,
         .ic = 1,
         .oc = 6,
         .kh = 5,
         .kw = 5,
         .pad_top = 2,
         .pad_left = 2,
         .pad_bottom = 2,
         .pad_right = 2},
        {.h = 4,
         .w = 5,
         .ic = 64,
         .oc = 70,
         .kh = 3,
         .kw = 3,
         .pad_top = 1,
         .pad_left = 1,
         .pad_bottom = 1,
         .pad_right = 1},
        {.h = 7, .w = 9, .ic = 12, .oc = 33, .kh = 3, .kw = 3},
        {.h = 7, .w = 19, .ic = 8, .oc = 16, .kh = 1, .kw = 1},
        {.h = 7, .w = 9, .ic = 6, .oc = 9, .kh = 1, .kw = 1, .stride_h = 2, .stride_w = 3},
        {.h = 11, .w = 9, .ic = 5, .oc = 40, .kh = 4, .kw = 2, .stride_h = 3, .pad_top = 2, .pad_right = 3},
        {.h = 10, .w = 11, .ic = 3, .oc = 8, .kh = 3, .kw = 3, .dilation_h = 2, .dilation_w = 3, .pad_left = 3},
        {.h = 9, .w = 7, .ic = 6, .oc = 9, .kh = 3, .kw = 3, .groups = 3, .pad_top = 1, .pad_left = 1},
        {.h = 6, .w = 5, .ic = 5, .oc = 10, .kh = 3, .kw = 3, .groups = 5, .pad_top = 1, .pad_left = 1},
        {.h = 9, .w = 8, .ic = 3, .oc = 3, .kh = 3, .kw = 3, .groups = 3, .pad_top = 1, .pad_left = 1},
        {.h = 9,
         .w = 8,
         .ic = 70,
         .oc = 70,
         .kh = 3,
         .kw = 3,
         .groups = 70,
         .stride_w = 2,
         .pad_top = 1,
         .pad_left = 1},
        {.h = 12, .w = 9, .ic = 65, .oc = 65, .kh = 9, .kw = 8, .groups = 65},
        {.h = 90, .w = 40, .ic = 16, .oc = 4, .kh = 3, .kw = 3, .pad_top = 1, .pad_left = 1}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int wide = 0; wide < 2; wide++) {
            op_case one = {.op = CNN_OP_conv2d_int8, .batch = 1 + 2 * wide, .geometry.conv2d_int8 = shapes[i]};
            cnn_conv2d_int8_geometry *g = &one.geometry.conv2d_int8;
            g->zero_src = 118, g->zero_dst = 60, g->low = wide ? 60 : 0, g->high = wide ? 200 : 0;
            geometry_complete(CNN_GEOMETRY_conv2d_int8, &one.geometry);
            one.values = wide ? VALUES_WIDE : VALUES_UNIFORM;
            visit(&one);
        }
}

/* Maps of whole and of cut tiles, channels that fill panels and pairs and do not, blocks of tiles over several samples. */
static void winograd_cases(visitor *visit)
{
    static const ptrdiff_t shapes[][5] = {{1, 1, 1, 1, 1},    {3, 3, 2, 1, 0},    {5, 6, 3, 17, 1},  {8, 8, 16, 16, 1},
                                          {9, 7, 16, 33, 1},  {6, 6, 32, 48, 0},  {4, 4, 63, 70, 1}, {7, 5, 64, 16, 2},
                                          {16, 18, 16, 8, 1}, {12, 3, 33, 20, 1}, {3, 3, 130, 64, 1}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int wide = 0; wide < 2; wide++) {
            op_case one = {.op = CNN_OP_winograd_int8, .batch = 1 + 2 * wide};
            one.values = wide ? VALUES_WIDE : VALUES_UNIFORM;
            one.geometry.conv2d_int8 = (cnn_conv2d_int8_geometry){.h = shapes[i][0],
                                                                  .w = shapes[i][1],
                                                                  .ic = shapes[i][2],
                                                                  .oc = shapes[i][3],
                                                                  .kh = 3,
                                                                  .kw = 3,
                                                                  .pad_top = shapes[i][4],
                                                                  .pad_left = shapes[i][4],
                                                                  .pad_bottom = shapes[i][4],
                                                                  .pad_right = wide ? 0 : shapes[i][4]};
            cnn_conv2d_int8_geometry *g = &one.geometry.conv2d_int8;
            if (g->w + g->pad_left + g->pad_right < 3) g->pad_right = 2;
            g->zero_src = 118, g->zero_dst = 60, g->low = wide ? 60 : 0, g->high = wide ? 200 : 0;
            geometry_complete(CNN_GEOMETRY_conv2d_int8, &one.geometry);
            visit(&one);
        }
}

static void linear_cases(visitor *visit)
{
    static const ptrdiff_t shapes[][2] = {{1, 1}, {4, 10}, {7, 16}, {84, 10}, {257, 33}, {64, 130}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (ptrdiff_t batch = 1; batch <= 35; batch += 17) {
            op_case one = {.op = CNN_OP_linear_int8, .batch = batch};
            one.geometry.linear_int8 =
                (cnn_linear_int8_geometry){shapes[i][0], shapes[i][1], .zero_dst = 100, .low = 3, .high = 250};
            one.values = batch == 18 ? VALUES_WIDE : VALUES_UNIFORM;
            visit(&one);
        }
}

static void pool_cases(visitor *visit)
{
    static const cnn_pool2d_geometry shapes[] = {
        {.h = 8, .w = 8, .c = 16, .kh = 2, .kw = 2, .stride_h = 2, .stride_w = 2},
        {.h = 9, .w = 7, .c = 5, .kh = 3, .kw = 2, .stride_h = 2, .stride_w = 1, .pad_top = 1, .pad_left = 1},
        {.h = 7, .w = 6, .c = 121, .kh = 7, .kw = 6},
        {.h = 70, .w = 60, .c = 3, .kh = 70, .kw = 60}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        op_case one = {.op = CNN_OP_maxpool2d_int8, .batch = 3, .geometry.pool2d = shapes[i]};
        geometry_complete(CNN_GEOMETRY_pool2d, &one.geometry);
        visit(&one);
        const cnn_pool2d_geometry g = one.geometry.pool2d;
        for (int form = 0; form < 4; form++) {
            one.op = CNN_OP_avgpool2d_int8;
            one.geometry = (cnn_geometry){.avgpool2d_int8 = {.h = g.h,
                                                             .w = g.w,
                                                             .c = g.c,
                                                             .kh = g.kh,
                                                             .kw = g.kw,
                                                             .oh = g.oh,
                                                             .ow = g.ow,
                                                             .stride_h = g.stride_h,
                                                             .stride_w = g.stride_w,
                                                             .pad_top = g.pad_top,
                                                             .pad_left = g.pad_left,
                                                             .count_include_pad = form % 2}};
            cnn_avgpool2d_int8_geometry *mean = &one.geometry.avgpool2d_int8;
            mean->zero_src = 77, mean->zero_dst = 40, mean->high = 250;
            mean->multiplier = form < 2 ? 4 : INT32_MAX, mean->shift = form < 2 ? 2 : form == 2 ? 31 : 62;
            visit(&one);
        }
    }
}

static void element_cases(visitor *visit)
{
    static const ptrdiff_t counts[] = {1, 63, 5001};
    static const ptrdiff_t sums[][3] = {{1, 1, 0}, {4, 1, 3}, {1 << 21, 1 << 20, 30}, {INT32_MAX, 3, 31}, {3, 5, 62}};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        op_case one = {.op = CNN_OP_quantize, .batch = 3};
        one.geometry.quantize = (cnn_quantize_geometry){counts[i], 100, 0.05f};
        visit(&one);
        one.values = VALUES_WIDE;
        visit(&one);
        one.op = CNN_OP_dequantize;
        visit(&one);
        one = (op_case){.op = CNN_OP_lookup_int8, .batch = 3, .geometry.lookup = {counts[i]}};
        visit(&one);
        one.alias = CNN_lookup_int8_src;
        visit(&one);
        for (size_t j = 0; j < sizeof sums / sizeof sums[0]; j++) {
            one = (op_case){.op = CNN_OP_add_int8, .batch = 2};
            one.geometry.add_int8 = (cnn_add_int8_geometry){.count = counts[i],
                                                            .zero_a = 130,
                                                            .zero_b = 3,
                                                            .zero_dst = 90,
                                                            .multiplier_a = sums[j][0],
                                                            .multiplier_b = sums[j][1],
                                                            .shift = sums[j][2],
                                                            .low = 90,
                                                            .high = 255};
            for (one.alias = 0; one.alias <= CNN_add_int8_b; one.alias++) visit(&one);
        }
    }
}

static void layout_cases(visitor *visit)
{
    static const cnn_image_geometry images[] = {{1, 1, 1}, {9, 7, 3}, {8, 8, 65}, {33, 5, 33}};
    static const cnn_slice_geometry slices[] = {{63, 5, 5, 0, 22, 17}, {63, 17, 22, 0, 17, 0}, {1, 1, 1, 0, 3, 1}};
    for (size_t i = 0; i < sizeof images / sizeof images[0]; i++) {
        op_case one = {.op = CNN_OP_nchw_to_nhwc_int8, .batch = 3, .geometry.image = images[i]};
        visit(&one);
        one.op = CNN_OP_nhwc_to_nchw_int8;
        visit(&one);
    }
    for (size_t i = 0; i < sizeof slices / sizeof slices[0]; i++)
        visit(&(op_case){.op = CNN_OP_copy_channels_int8, .batch = 3, .geometry.slice = slices[i]});
}

void each_int8_case(visitor *visit)
{
    conv_cases(visit);
    winograd_cases(visit);
    linear_cases(visit);
    pool_cases(visit);
    element_cases(visit);
    layout_cases(visit);
}
