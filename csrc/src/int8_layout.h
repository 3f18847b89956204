/* How the weights of integer inference lie in memory: the panels of cnn.h. */
#ifndef CNN_INT8_LAYOUT_H
#define CNN_INT8_LAYOUT_H

#include "basics.h"

enum {
    CNN_QUAD = 4,                              /* codes that meet their weights in one step */
    CNN_QUAD_BYTES = CNN_QUAD * CNN_PANEL,     /* of one step of a panel */
    CNN_CODE_TAPS = 16,                        /* of Winograd's F(2x2, 3x3) */
    CNN_CODES_BEHIND = 2 * CNN_QUAD_BYTES + 64 /* codes that may be read behind those that are used */
};

/* [groups][ceil(columns / 16)][runs][ceil(length / 4)][16][4] */
typedef struct cnn_int8_layout {
    ptrdiff_t groups, columns, runs, length;
    bool depthwise; /* columns are the channels, the run goes over the taps */
} cnn_int8_layout;

static inline cnn_int8_layout cnn_int8_layout_of(const cnn_conv2d_int8_geometry *g)
{
    if (g->groups > 1 && g->groups == g->ic && g->groups == g->oc)
        return (cnn_int8_layout){1, g->oc, 1, g->kh * g->kw, true};
    if (g->groups > 1 || g->dilation_w > 1)
        return (cnn_int8_layout){g->groups, g->oc / g->groups, g->kh * g->kw, g->ic / g->groups, false};
    return (cnn_int8_layout){1, g->oc, g->kh, g->kw * g->ic, false};
}

static inline ptrdiff_t cnn_int8_quads(ptrdiff_t length) { return cnn_ceil_div(length, CNN_QUAD); }

static inline ptrdiff_t cnn_int8_panel_bytes(const cnn_int8_layout *l)
{
    return l->runs * cnn_int8_quads(l->length) * CNN_QUAD_BYTES;
}

#endif
