/* Weights and biases of integer inference as the ops read them. */
#include "int8_layout.h"
#include "internal.h"

/* Where the weight of a column at an element of a run lies. */
static ptrdiff_t place_of(const cnn_int8_layout *l, ptrdiff_t group, ptrdiff_t column, ptrdiff_t run, ptrdiff_t at)
{
    const ptrdiff_t panel = group * cnn_ceil_div(l->columns, CNN_PANEL) + column / CNN_PANEL;
    return panel * cnn_int8_panel_bytes(l) +
           ((run * cnn_int8_quads(l->length) + at / CNN_QUAD) * CNN_PANEL + column % CNN_PANEL) * CNN_QUAD +
           at % CNN_QUAD;
}

/* The weights [IC/groups][KH][KW] of one output channel. */
static void pack_filter(const cnn_conv2d_int8_geometry *g, const cnn_int8_layout *l, ptrdiff_t oc,
                        const int8_t *weights, int8_t *panels)
{
    const ptrdiff_t ic = g->ic / g->groups, taps = g->kh * g->kw;
    const ptrdiff_t group = l->depthwise ? 0 : oc / l->columns, column = l->depthwise ? oc : oc % l->columns;
    for (ptrdiff_t c = 0; c < ic; c++)
        for (ptrdiff_t tap = 0; tap < taps; tap++) {
            ptrdiff_t run = tap, at = c;
            if (l->depthwise)
                run = 0, at = tap;
            else if (l->runs == g->kh && l->length == g->kw * ic)
                run = tap / g->kw, at = tap % g->kw * ic + c;
            panels[place_of(l, group, column, run, at)] = weights[c * taps + tap];
        }
}

/* The weights [IC][3][3] of one output channel: 2G w (2G)^T, see cnn.h. */
static void pack_transformed(const cnn_conv2d_int8_geometry *g, ptrdiff_t oc, const int8_t *weights, int16_t *filters)
{
    static const int16_t doubled[4][3] = {{2, 0, 0}, {1, 1, 1}, {1, -1, 1}, {0, 0, 2}};
    const ptrdiff_t pairs = cnn_ceil_div(g->ic, 2);
    int16_t *panel = filters + oc / CNN_PANEL * CNN_CODE_TAPS * pairs * CNN_PANEL * 2 + oc % CNN_PANEL * 2;
    for (ptrdiff_t c = 0; c < g->ic; c++, weights += 9)
        for (int tap = 0; tap < CNN_CODE_TAPS; tap++) {
            int sum = 0;
            for (int y = 0; y < 3; y++)
                for (int x = 0; x < 3; x++) sum += doubled[tap / 4][y] * doubled[tap % 4][x] * weights[3 * y + x];
            panel[(tap * pairs + c / 2) * CNN_PANEL * 2 + c % 2] = (int16_t)sum;
        }
}

/* Sums wrap round: what counts is that the whole sum of an output fits. */
static int32_t corrected_bias(const int8_t *weights, ptrdiff_t count, int32_t bias, ptrdiff_t zero)
{
    uint32_t sum = 0;
    for (ptrdiff_t i = 0; i < count; i++) sum += (uint32_t)(int32_t)weights[i];
    return (int32_t)((uint32_t)bias - (uint32_t)zero * sum);
}

cnn_status cnn_int8_pack(int op, const cnn_geometry *geometry, const int8_t *weights, const int32_t *bias, void *panels,
                         int32_t *corrected)
{
    const cnn_op_info *info = cnn_op_find(op);
    if (op != CNN_OP_conv2d_int8 && op != CNN_OP_linear_int8 && op != CNN_OP_winograd_int8) return CNN_BAD_PROGRAM;
    if (!cnn_batch_fits(info, geometry, 1)) return CNN_BAD_PROGRAM;
    cnn_conv2d_int8_geometry g = geometry->conv2d_int8;
    if (op == CNN_OP_linear_int8) {
        const cnn_linear_int8_geometry *linear = &geometry->linear_int8;
        g = (cnn_conv2d_int8_geometry){.ic = linear->k,
                                       .oc = linear->n,
                                       .kh = 1,
                                       .kw = 1,
                                       .dilation_w = 1,
                                       .groups = 1,
                                       .zero_src = linear->zero_src};
    }
    const cnn_int8_layout layout = cnn_int8_layout_of(&g);
    const ptrdiff_t count = g.ic / g.groups * g.kh * g.kw;
    memset(panels, 0, (size_t)cnn_operand_bytes(info, CNN_conv2d_int8_weights, geometry, 1));
    for (ptrdiff_t oc = 0; oc < g.oc; oc++) {
        if (op == CNN_OP_winograd_int8)
            pack_transformed(&g, oc, weights + oc * count, panels);
        else
            pack_filter(&g, &layout, oc, weights + oc * count, panels);
        corrected[oc] = corrected_bias(weights + oc * count, count, bias ? bias[oc] : 0, g.zero_src);
    }
    return CNN_OK;
}
