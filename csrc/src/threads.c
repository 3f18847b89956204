/* How many threads: the one place that decides. */
#if defined(__linux__)
#define _GNU_SOURCE
#include <sched.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "team.h"

static _Atomic int explicit_threads; /* 0: not set */
static _Atomic int usual_threads;    /* the default once it is known: finding it reads files; 0: not yet, -1: refused */

bool cnn_has_openmp(void)
{
#ifdef _OPENMP
    return true;
#else
    return false;
#endif
}

static int affinity_threads(void)
{
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

/* Whole CPUs in the cgroup's quota, rounded up; INT_MAX-like when there is none. Reads v2, then v1. */
static int quota_threads(void)
{
    double quota = -1.0, period = 0.0;
    char first[32];
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "r");
    if (file) {
        if (fscanf(file, "%31s %lf", first, &period) == 2 && first[0] != 'm') quota = strtod(first, NULL);
        fclose(file);
    } else if ((file = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "r"))) {
        if (fscanf(file, "%lf", &quota) != 1) quota = -1.0;
        fclose(file);
        file = fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "r");
        if (file) {
            if (fscanf(file, "%lf", &period) != 1) period = 0.0;
            fclose(file);
        }
    }
    if (quota <= 0.0 || period <= 0.0) return CNN_MAX_THREADS;
    return (int)ceil(quota / period);
}

const char *cnn_requested_threads(void)
{
    const char *wish = getenv("CNN_NUM_THREADS");
    return wish && *wish ? wish : NULL;
}

static int default_threads(void)
{
    const char *wish = cnn_requested_threads();
    if (wish) {
        char *end;
        const long value = strtol(wish, &end, 10);
        return *end == '\0' && value >= 1 && value <= CNN_MAX_THREADS ? (int)value : -1;
    }
    const ptrdiff_t usable = cnn_min(affinity_threads(), quota_threads());
    return (int)cnn_max(1, cnn_min(usable, CNN_MAX_THREADS));
}

cnn_status cnn_set_threads(int threads)
{
    if (threads < 0 || threads > CNN_MAX_THREADS) return CNN_BAD_THREADS;
    explicit_threads = threads;
    if (threads == 0) usual_threads = 0;
    return CNN_OK;
}

int cnn_get_threads(void)
{
    if (explicit_threads) return cnn_has_openmp() ? explicit_threads : 1;
    if (!usual_threads) usual_threads = default_threads();
    return usual_threads > 0 && !cnn_has_openmp() ? 1 : usual_threads;
}

static void count_member(const cnn_worker *worker, void *context)
{
    (void)worker;
    atomic_fetch_add((atomic_int *)context, 1);
}

int cnn_measure_team(void)
{
    atomic_int members;
    atomic_init(&members, 0);
    cnn_team team;
    cnn_team_init(&team);
    cnn_team_run(&team, (int)cnn_max(1, cnn_get_threads()), NULL, NULL, NULL, 0, count_member, &members);
    cnn_team_destroy(&team);
    return atomic_load(&members);
}
