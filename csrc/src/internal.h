/* What the ops share: how work is split, where scratch comes from. */
#ifndef CNN_INTERNAL_H
#define CNN_INTERNAL_H

#include "basics.h"
#include "kernels.h"

/* floor(a / b) for b > 0 and any a; C rounds to zero */
static inline ptrdiff_t cnn_floor_div(ptrdiff_t a, ptrdiff_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

static inline size_t cnn_align(size_t bytes) { return (bytes + CNN_ALIGNMENT - 1) / CNN_ALIGNMENT * CNN_ALIGNMENT; }

/* `offset` bytes into a block of memory; NULL, which stands for "only the size is asked for", stays NULL. */
static inline void *cnn_at(void *memory, size_t offset) { return memory ? (char *)memory + offset : NULL; }

/* Whether every channel has one filter of its own. */
static inline bool cnn_is_depthwise(const cnn_conv2d_geometry *g)
{
    return g->groups > 1 && g->groups == g->ic && g->groups == g->oc;
}

/* Groups of the panels that the weights lie in (see cnn.h). */
static inline ptrdiff_t cnn_weight_groups(const cnn_conv2d_geometry *g) { return cnn_is_depthwise(g) ? 1 : g->groups; }

/* Start of part `index` when `count` things are cut into `parts` nearly equal runs: a function of shape only. */
static inline ptrdiff_t cnn_part(ptrdiff_t count, ptrdiff_t parts, ptrdiff_t index)
{
    return count / parts * index + cnn_min(index, count % parts);
}

/* The tasks [*first, *last) of this worker. Which worker runs a task never changes what the task computes. */
static inline void cnn_share(const cnn_worker *worker, ptrdiff_t tasks, ptrdiff_t *first, ptrdiff_t *last)
{
    *first = cnn_part(tasks, worker->size, worker->rank);
    *last = cnn_part(tasks, worker->size, worker->rank + 1);
}

/*
 * How many parts a sum over samples is cut into, each with a copy of its own: `count`, a function of shape and batch, so
 * that the order of additions and with it every bit is the same for any team. Built with CNN_UNORDERED there is one
 * part per thread, which must then not change while programs live: experiments.checks.determinism_cost measures what the
 * promise costs.
 */
static inline ptrdiff_t cnn_cuts(ptrdiff_t count)
{
#ifdef CNN_UNORDERED
    return cnn_min(count, cnn_get_threads());
#else
    return count;
#endif
}

/* Elementwise ops cut their elements into spans of this many, a multiple of every vector width and cache line. */
enum { CNN_SPAN = 4096 };

static inline void cnn_share_elements(const cnn_worker *worker, ptrdiff_t count, ptrdiff_t *first, ptrdiff_t *last)
{
    cnn_share(worker, cnn_ceil_div(count, CNN_SPAN), first, last);
    *first = cnn_min(*first * CNN_SPAN, count);
    *last = cnn_min(*last * CNN_SPAN, count);
}

/* Zeroed memory that starts on a cache line; free() gives it back. NULL: there is none. */
void *cnn_allocate(size_t bytes);

/* Index of the first NaN or Inf in src, -1 when all are finite. */
ptrdiff_t cnn_find_nonfinite(const float *src, ptrdiff_t count);

/* Sets the call's status where a label is none of the classes of its cnn_loss_geometry. */
void cnn_stop_at_bad_label(const cnn_call *call, const cnn_worker *worker, const int64_t *labels);

/* Seconds of a monotonic clock. */
double cnn_now(void);

/* Whether an operand of so many bytes may be there, or may be absent. */
bool cnn_presence_fits(const cnn_op_info *info, int operand, int64_t bytes, bool present);

/* Whether every segment lies within the elements of the optimiser. */
bool cnn_segments_fit(const cnn_segment *segments, const cnn_optimizer_geometry *geometry);

/* CNN_OK, or the status with which a program is refused and the instruction at fault. */
cnn_status cnn_description_check(const cnn_program_description *description, ptrdiff_t *detail);

/* The cold operands of every instruction, see cnn_call. False: there is no memory. */
bool cnn_find_cold(const cnn_program_description *description, unsigned *cold);

static inline bool cnn_is_cold(const cnn_call *call, int operand) { return call->cold >> operand & 1; }

/* Bytes of a cold operand that are fetched ahead at most: a quarter of a second-level cache, more would drive out what is
 * being computed. */
enum { CNN_FETCHED_AHEAD = 256 << 10 };

cnn_workspace cnn_no_workspace(const cnn_geometry *geometry, ptrdiff_t batch);

/* What an op refuses beside its geometry's own limits, named as in the registry. */
cnn_geometry_check cnn_no_limits, cnn_winograd_limits, cnn_winograd_int8_limits, cnn_maxpool2d_limits, cnn_elu_limits,
    cnn_batchnorm_backward_limits;

#endif
