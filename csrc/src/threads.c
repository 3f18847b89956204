/* How many threads, and the barrier between the phases of a program. */
#if defined(__linux__)
#define _GNU_SOURCE
#include <sched.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "internal.h"

#ifdef _OPENMP
#include <omp.h>
#endif

static int explicit_threads; /* 0: not set */

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

static int default_threads(void)
{
    const char *wish = getenv("CNN_NUM_THREADS");
    if (wish && *wish) {
        char *end;
        const long value = strtol(wish, &end, 10);
        if (*end == '\0' && value >= 1 && value <= CNN_MAX_THREADS) return (int)value;
    }
    const ptrdiff_t usable = cnn_min(affinity_threads(), quota_threads());
    return (int)cnn_max(1, cnn_min(usable, CNN_MAX_THREADS));
}

cnn_status cnn_set_threads(int threads)
{
    if (threads < 0 || threads > CNN_MAX_THREADS) return CNN_BAD_THREADS;
    explicit_threads = threads;
    return CNN_OK;
}

int cnn_get_threads(void)
{
    if (!cnn_has_openmp()) return 1;
    return explicit_threads ? explicit_threads : default_threads();
}

int cnn_measure_team(void)
{
    int members = 0;
#pragma omp parallel num_threads(cnn_get_threads())
    {
#pragma omp atomic
        members++;
    }
    return members;
}

void cnn_barrier(const cnn_worker *worker)
{
    if (worker->size > 1) {
#pragma omp barrier
    }
}
