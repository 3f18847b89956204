/* The registry: its marks make sense, and a geometry's table of fields is its struct. */
#include <math.h>
#include <string.h>

#include "test.h"

static void operands_of(const cnn_op_info *info)
{
    bool written = true;
    test_begin("operands of %s", info->name);
    test_expect(info->operand_count >= 1, "there are none");
    for (int i = 0; i < info->operand_count; i++) {
        const cnn_operand_info *operand = &info->operands[i];
        test_expect(operand->use & CNN_UPDATED, "%s is neither read nor written", operand->name);
        written = written && operand->use & CNN_WRITTEN;
        test_expect(written || !(operand->use & CNN_WRITTEN), "%s is written, but stands behind one that is not",
                    operand->name);
        if (!(operand->use & CNN_IN_PLACE)) continue;
        test_expect(operand->use & CNN_READ && !(operand->use & CNN_WRITTEN), "%s can be no source", operand->name);
        test_expect((info->operands[0].use & CNN_UPDATED) == CNN_WRITTEN && operand->type == info->operands[0].type,
                    "%s cannot lie in %s", info->operands[0].name, operand->name);
    }
    test_end();
}

static void names_are_places(void)
{
    const cnn_op_info *adam = cnn_op_find(CNN_OP_adam), *filter = cnn_op_find(CNN_OP_winograd_filter_backward);
    test_begin("the names of operands are their places");
    test_expect(adam->operand_count == CNN_adam_OPERANDS, "adam has %d", adam->operand_count);
    test_expect(strcmp(adam->operands[CNN_adam_gradients].name, "gradients") == 0, "adam reads %s",
                adam->operands[CNN_adam_gradients].name);
    test_expect(strcmp(filter->operands[CNN_winograd_filter_backward_weights].name, "weights") == 0,
                "winograd_filter_backward reads %s", filter->operands[CNN_winograd_filter_backward_weights].name);
    test_end();
}

/* Fields stand one behind the other, and behind the last there is no room for another float but what aligns. */
static void fields_of(const cnn_geometry_info *info, size_t bytes)
{
    size_t end = 0;
    test_begin("fields of the geometry %s", info->name);
    for (int i = 0; i < info->field_count; i++) {
        const cnn_geometry_field *field = &info->fields[i];
        test_expect(field->offset == end, "%s lies at %zu, the one before it ends at %zu", field->name, field->offset,
                    end);
        end = field->offset + (field->real ? sizeof(float) : sizeof(ptrdiff_t));
    }
    test_expect((end + sizeof(ptrdiff_t) - 1) / sizeof(ptrdiff_t) * sizeof(ptrdiff_t) == bytes,
                "they end at %zu, the struct at %zu", end, bytes);
    test_end();
}

static void unknown_kinds(void)
{
    static const int unknown[] = {-1, CNN_GEOMETRY_COUNT, CNN_GEOMETRY_COUNT + 1};
    const cnn_geometry geometry = {.elementwise = {.count = 1}};
    cnn_op_info info = *cnn_op_find(CNN_OP_relu_forward);
    test_begin("an unknown kind of geometry is refused");
    test_expect(cnn_geometry_fits(&info, &geometry), "a known one is");
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        info.geometry = (cnn_geometry_kind)unknown[i];
        test_expect(!cnn_geometry_find(unknown[i]), "there is a kind %d", unknown[i]);
        test_expect(!cnn_geometry_fits(&info, &geometry), "kind %d fits", unknown[i]);
    }
    test_end();
}

/* What fits the geometry need not fit the op. */
static void limits_of_an_op(void)
{
    const cnn_pool2d_geometry window = {
        .h = 16, .w = 16, .c = 1, .kh = 16, .kw = 16, .oh = 1, .ow = 1, .stride_h = 1, .stride_w = 1};
    const cnn_geometry geometry = {.pool2d = window};
    test_begin("a window of 256 pixels has a mean, but its maximum no byte for a place");
    test_expect(cnn_geometry_fits(cnn_op_find(CNN_OP_avgpool2d_forward), &geometry), "no mean");
    test_expect(!cnn_geometry_fits(cnn_op_find(CNN_OP_maxpool2d_forward), &geometry), "a maximum");
    test_end();
}

static void limits_of_elu(void)
{
    static const float alphas[] = {0.0f, -1.0f, NAN, INFINITY};
    test_begin("alpha of ELU is above 0, a slope of either sign, both are finite");
    for (size_t i = 0; i < sizeof alphas / sizeof alphas[0]; i++) {
        const cnn_geometry bad = {.elementwise = {.count = 1, .slope = alphas[i]}};
        test_expect(cnn_geometry_fits(cnn_op_find(CNN_OP_leaky_relu_forward), &bad) == !!isfinite(alphas[i]),
                    "slope %g", alphas[i]);
        test_expect(!cnn_geometry_fits(cnn_op_find(CNN_OP_elu_forward), &bad), "forward with alpha %g", alphas[i]);
        test_expect(!cnn_geometry_fits(cnn_op_find(CNN_OP_elu_backward), &bad), "backward with alpha %g", alphas[i]);
    }
    const cnn_geometry good = {.elementwise = {.count = 1, .slope = 0.5f}};
    test_expect(cnn_geometry_fits(cnn_op_find(CNN_OP_elu_forward), &good), "not with alpha 0.5");
    test_end();
}

static void limits_of_resampling(void)
{
    const cnn_op_info *pad = cnn_op_find(CNN_OP_pad2d_forward), *up = cnn_op_find(CNN_OP_upsample2d_backward);
    cnn_geometry padded = {
        .pad2d = {.h = 3, .w = 4, .c = 1, .pad_top = 2, .pad_right = 3, .mode = CNN_PADDING_REFLECT}};
    cnn_geometry larger = {.upsample2d = {.h = 1 << 16, .w = 1, .c = 1, .scale_h = 1 << 14, .scale_w = 1}};
    test_begin("a mirror is as wide as the map without its edge, results have extents and elements as inputs do");
    test_expect(cnn_geometry_fits(pad, &padded), "not 2 of 3 rows and 3 of 4 columns");
    padded.pad2d.pad_bottom = 3;
    test_expect(!cnn_geometry_fits(pad, &padded), "3 of 3 rows");
    padded.pad2d.mode = CNN_PADDING_REPLICATE;
    test_expect(cnn_geometry_fits(pad, &padded), "not copies of an edge");
    padded.pad2d.channels_before = CNN_MAX_EXTENT;
    test_expect(!cnn_geometry_fits(pad, &padded), "more channels than an extent");
    test_expect(cnn_geometry_fits(up, &larger), "not 2^30 rows");
    test_expect(!cnn_batch_fits(up, &larger, 512), "2^39 elements");
    larger.upsample2d.scale_h = 1 << 15;
    test_expect(!cnn_geometry_fits(up, &larger), "2^31 rows");
    larger = (cnn_geometry){.upsample2d = {.h = 1, .w = 1, .c = 1, .scale_w = 1}};
    test_expect(!cnn_geometry_fits(up, &larger), "a factor of 0");
    test_end();
}

static void limits_of_clip(void)
{
    static const float bounds[][2] = {{1.0f, 1.0f}, {1.0f, -1.0f}, {NAN, 1.0f}, {0.0f, INFINITY}};
    test_begin("the bounds of a clip are finite, the lower one below the upper one");
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        const cnn_geometry bad = {.clip = {.count = 1, .low = bounds[i][0], .high = bounds[i][1]}};
        test_expect(!cnn_geometry_fits(cnn_op_find(CNN_OP_clip_forward), &bad), "%g to %g", bounds[i][0], bounds[i][1]);
    }
    const cnn_geometry good = {.clip = {.count = 1, .low = 0.0f, .high = 6.0f}};
    test_expect(cnn_geometry_fits(cnn_op_find(CNN_OP_clip_backward), &good), "not 0 to 6");
    test_end();
}

static void limits_of_a_fused_activation(void)
{
    const cnn_op_info *inference = cnn_op_find(CNN_OP_batchnorm_forward_inference),
                      *backward = cnn_op_find(CNN_OP_batchnorm_backward);
    cnn_geometry g = {.norm = {.rows = 4, .c = 1, .w = 2, .activation = CNN_ACTIVATION_GELU}};
    test_begin("a normalisation pools and has a gradient behind no activation but ReLU");
    test_expect(cnn_geometry_fits(inference, &g) && !cnn_geometry_fits(backward, &g), "GELU");
    g.norm.pool = 2;
    test_expect(!cnn_geometry_fits(inference, &g), "a pool behind GELU");
    g.norm.activation = CNN_ACTIVATION_RELU;
    test_expect(cnn_geometry_fits(inference, &g) && cnn_geometry_fits(backward, &g), "not ReLU");
    g.norm.pool = 0, g.norm.activation = CNN_ACTIVATION_FUSED_MOST + 1;
    test_expect(!cnn_geometry_fits(inference, &g), "one that has a number");
    test_expect(!cnn_activation_name(CNN_ACTIVATION_NONE) && !cnn_activation_name(CNN_ACTIVATION_FUSED_MOST + 1),
                "a name for none");
    test_expect(strcmp(cnn_activation_name(CNN_ACTIVATION_GELU), "gelu") == 0, "GELU by another name");
    test_end();
}

static void geometries_that_divide(void)
{
    cnn_geometry groups = {.groupnorm = {.rows = 4, .c = 6, .groups = 3, .eps = 1e-5f}};
    cnn_geometry drops = {.dropout = {.count = 12, .draws = 3, .rate = 0.5f}};
    test_begin("groups divide channels, draws divide elements");
    test_expect(cnn_geometry_fits(cnn_op_find(CNN_OP_groupnorm_forward), &groups), "not 3 groups of 6 channels");
    test_expect(cnn_geometry_fits(cnn_op_find(CNN_OP_dropout), &drops), "not 3 draws for 12 elements");
    groups.groupnorm.groups = 4, drops.dropout.draws = 5;
    test_expect(!cnn_geometry_fits(cnn_op_find(CNN_OP_groupnorm_forward), &groups), "4 groups of 6 channels");
    test_expect(!cnn_geometry_fits(cnn_op_find(CNN_OP_dropout), &drops), "5 draws for 12 elements");
    groups.groupnorm.groups = 0, drops.dropout.draws = 0;
    test_expect(!cnn_geometry_fits(cnn_op_find(CNN_OP_groupnorm_backward), &groups), "no group");
    test_expect(!cnn_geometry_fits(cnn_op_find(CNN_OP_dropout), &drops), "no draw");
    test_end();
}

static void limits_of_codes(void)
{
    const cnn_op_info *layer = cnn_op_find(CNN_OP_linear_int8), *mean = cnn_op_find(CNN_OP_avgpool2d_int8),
                      *sum = cnn_op_find(CNN_OP_add_int8), *numbers = cnn_op_find(CNN_OP_quantize);
    cnn_geometry g = {.linear_int8 = {.k = 5, .n = 17, .low = 7, .high = 7}};
    test_begin("codes are bytes, a range of them is not empty, multipliers and shifts keep products within 64 bits");
    test_expect(cnn_geometry_fits(layer, &g), "not one code");
    test_expect(cnn_operand_bytes(layer, CNN_linear_int8_weights, &g, 3) == 2 * 8 * 16, "other panels");
    g.linear_int8.low = 8;
    test_expect(!cnn_geometry_fits(layer, &g), "an empty range");
    g.linear_int8.high = 256;
    test_expect(!cnn_geometry_fits(layer, &g), "a code of 256");
    g = (cnn_geometry){.avgpool2d_int8 = {.h = 256, .w = 256, .c = 1, .kh = 256, .kw = 256, .oh = 1, .ow = 1}};
    g.avgpool2d_int8.stride_h = g.avgpool2d_int8.stride_w = g.avgpool2d_int8.multiplier = 1;
    test_expect(cnn_geometry_fits(mean, &g), "not the mean of 2^16 codes");
    g.avgpool2d_int8.h = g.avgpool2d_int8.kh = 257;
    test_expect(!cnn_geometry_fits(mean, &g), "the mean of more");
    g = (cnn_geometry){.add_int8 = {.count = 1, .multiplier_a = INT32_MAX, .multiplier_b = 1, .shift = 62}};
    test_expect(cnn_geometry_fits(sum, &g), "not the largest numbers");
    g.add_int8.shift = 63;
    test_expect(!cnn_geometry_fits(sum, &g), "a shift of 63");
    g.add_int8.shift = 0, g.add_int8.multiplier_b = 0;
    test_expect(!cnn_geometry_fits(sum, &g), "a multiplier of 0");
    g = (cnn_geometry){.quantize = {.count = 1, .zero = 0, .scale = 1e-40f}};
    test_expect(!cnn_geometry_fits(numbers, &g), "a scale that counts as zero");
    test_end();
}

static void panels_of_others(void)
{
    const cnn_geometry g = {.linear_int8 = {.k = 3, .n = 1, .zero_src = 2, .high = 255}};
    const int8_t weights[3] = {1, -2, 127};
    int8_t panels[64];
    int32_t bias;
    test_begin("weights are packed for the two ops that have some");
    test_expect(cnn_int8_pack(CNN_OP_conv2d_forward, &g, weights, NULL, panels, &bias) == CNN_BAD_PROGRAM,
                "another op");
    test_expect(cnn_int8_pack(-1, &g, weights, NULL, panels, &bias) == CNN_BAD_PROGRAM, "no op");
    test_expect(cnn_int8_pack(CNN_OP_linear_int8, &g, weights, NULL, panels, &bias) == CNN_OK,
                "not for a linear layer");
    test_expect(bias == -2 * 126 && panels[0] == 1 && panels[1] == -2 && panels[2] == 127 && panels[3] == 0,
                "bias %d, weights %d %d %d %d", (int)bias, panels[0], panels[1], panels[2], panels[3]);
    test_end();
}

void suite_registry(void)
{
    static const size_t bytes[] = {
#define GEOMETRY_BYTES(kind) sizeof(cnn_##kind##_geometry),
        CNN_GEOMETRIES(GEOMETRY_BYTES)
#undef GEOMETRY_BYTES
    };
    for (int op = 0; op < CNN_OP_COUNT; op++) operands_of(cnn_op_find(op));
    for (int kind = 0; kind < CNN_GEOMETRY_COUNT; kind++) fields_of(cnn_geometry_find(kind), bytes[kind]);
    names_are_places();
    unknown_kinds();
    limits_of_an_op();
    limits_of_elu();
    limits_of_resampling();
    limits_of_clip();
    limits_of_a_fused_activation();
    geometries_that_divide();
    limits_of_codes();
    panels_of_others();
}
