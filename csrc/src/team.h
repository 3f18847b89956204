/* A thread team: opened for one program, op or product; its members know their place and wait for each other. */
#ifndef CNN_TEAM_H
#define CNN_TEAM_H

#include <pthread.h>
#include <stdatomic.h>

#include "internal.h"

/* The meeting point of a team; it may serve any number of runs, one at a time. */
typedef struct cnn_team {
    _Alignas(CNN_ALIGNMENT) atomic_int arrived;
    _Alignas(CNN_ALIGNMENT) atomic_uint generation; /* how often everybody has met */
    _Alignas(CNN_ALIGNMENT) atomic_int asleep;
    atomic_int hurried;   /* meetings left at which nobody spins for long */
    atomic_uint given_up; /* meetings at which somebody was waited for in vain and went to sleep */
    pthread_mutex_t lock;
    pthread_cond_t met;
} cnn_team;

void cnn_team_init(cnn_team *team);
void cnn_team_destroy(cnn_team *team);

typedef void cnn_team_function(const cnn_worker *worker, void *context);

/* Call `function` on every member of a team of `threads`. Worker i has scratch + i * scratch_bytes. Denormals are
 * flushed meanwhile, and the caller's floating-point mode is put back. */
void cnn_team_run(cnn_team *team, int threads, const cnn_kernels *kernels, void *shared, void *scratch,
                  size_t scratch_bytes, cnn_team_function *function, void *context);

#endif
