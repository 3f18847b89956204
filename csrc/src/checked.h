/* Arithmetic on counts of 0 and more that cannot overflow: what is above CNN_MAX_COUNT stays above it. */
#ifndef CNN_CHECKED_H
#define CNN_CHECKED_H

#include "cnn.h"

/* Beyond every count, and small enough that two of them can be added. */
#define CNN_TOO_MANY ((ptrdiff_t)1 << 60)

static inline ptrdiff_t cnn_plus(ptrdiff_t a, ptrdiff_t b)
{
    return a > CNN_MAX_COUNT || b > CNN_MAX_COUNT ? CNN_TOO_MANY : a + b;
}

static inline ptrdiff_t cnn_times(ptrdiff_t a, ptrdiff_t b)
{
    if (a == 0 || b == 0) return 0;
    return a > CNN_MAX_COUNT || b > CNN_MAX_COUNT / a ? CNN_TOO_MANY : a * b;
}

#endif
