/* What ops and their naive twins have in common, beside cnn.h: no more than small arithmetic, and who works alone. */
#ifndef CNN_BASICS_H
#define CNN_BASICS_H

#include <assert.h>
#include <math.h>
#include <string.h>

#include "cnn.h"

static inline ptrdiff_t cnn_min(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
static inline ptrdiff_t cnn_max(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }

/* ceil(a / b) for b > 0, a >= 0 */
static inline ptrdiff_t cnn_ceil_div(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }

/* The worker that does what only one may do. The others must not read its result before the next barrier. */
static inline bool cnn_is_first(const cnn_worker *worker) { return worker->rank == 0; }

#endif
