/* What the machine can do at best, for benchmarks. */
#include "team.h"

double cnn_fma_burst(int64_t rounds)
{
    bool reference;
    const cnn_kernels *kernels = cnn_kernels_current(&reference);
    float sink = 0.0f;
    if (!kernels) return 0.0;
    kernels->fma_burst(rounds, &sink);
    return 2.0 * (double)rounds * kernels->fma_chains * kernels->vector_width;
}

typedef struct reading {
    const float *src;
    ptrdiff_t steps; /* of CNN_READ_STEP elements */
    int64_t rounds;
} reading;

static void read_share(const cnn_worker *worker, void *context)
{
    const reading *r = context;
    ptrdiff_t first, last;
    float sink = 0.0f;
    cnn_share(worker, r->steps, &first, &last);
    worker->kernels->read_burst(r->src + first * CNN_READ_STEP, (last - first) * CNN_READ_STEP, r->rounds, &sink);
}

double cnn_read_burst(const float *src, ptrdiff_t count, int64_t rounds)
{
    bool reference;
    const cnn_kernels *kernels = cnn_kernels_current(&reference);
    const int threads = cnn_get_threads();
    if (!kernels || threads < 1) return 0.0;
    reading r = {src, count / CNN_READ_STEP, rounds};
    cnn_team team;
    cnn_team_init(&team);
    cnn_team_run(&team, threads, kernels, NULL, NULL, 0, read_share, &r);
    cnn_team_destroy(&team);
    return (double)sizeof *src * (double)rounds * (double)(r.steps * CNN_READ_STEP);
}
