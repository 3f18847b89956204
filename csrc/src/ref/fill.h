/* Where pixels outside of an image come from, for the twins. */
#ifndef CNN_REF_FILL_H
#define CNN_REF_FILL_H

#include "basics.h"

/* The pixel of a row or column that stands for the one at `at`: what a walk over copies of the image, laid side by side,
 * finds there; -1: the fill value. */
static inline ptrdiff_t ref_fill_source(cnn_fill fill, ptrdiff_t at, ptrdiff_t extent)
{
    if (at >= 0 && at < extent) return at;
    if (fill == CNN_FILL_CONSTANT) return -1;
    if (fill == CNN_FILL_NEAREST) return at < 0 ? 0 : extent - 1;
    if (fill == CNN_FILL_MIRROR) { /* there and back between the outermost pixels; both sides of 0 look the same */
        const ptrdiff_t back = 2 * (extent - 1), walked = extent > 1 ? (at < 0 ? -at : at) % back : 0;
        return walked < extent ? walked : back - walked;
    }
    if (at < 0 && fill == CNN_FILL_REFLECT) at = -1 - at; /* reflected at 0, it is the same again */
    const ptrdiff_t rest = at % extent, inside = rest < 0 ? rest + extent : rest;
    return fill == CNN_FILL_REFLECT && at / extent % 2 == 1 ? extent - 1 - inside : inside;
}

#endif
