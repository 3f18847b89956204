/* Where a weight lies in the panel layout of cnn.h: [groups][ceil(columns/16)][depth][16]. */
#ifndef CNN_REF_PANELS_H
#define CNN_REF_PANELS_H

#include "basics.h"

static inline ptrdiff_t panel_index(ptrdiff_t columns, ptrdiff_t depth, ptrdiff_t group, ptrdiff_t k, ptrdiff_t column)
{
    const ptrdiff_t panels = cnn_ceil_div(columns, CNN_PANEL);
    return ((group * panels + column / CNN_PANEL) * depth + k) * CNN_PANEL + column % CNN_PANEL;
}

/* Columns counted with the empty ones of the last panel. */
static inline ptrdiff_t panel_columns(ptrdiff_t columns) { return cnn_ceil_div(columns, CNN_PANEL) * CNN_PANEL; }

/* Groups of the panels of a convolution's weights: filters of one channel each are the columns of one group. */
static inline ptrdiff_t ref_weight_groups(const cnn_conv2d_geometry *g)
{
    const bool one_each = g->ic == g->groups && g->oc == g->groups;
    return one_each ? 1 : g->groups;
}

#endif
