/* How many threads: the one place that decides. */
#if defined(__linux__)
#define _GNU_SOURCE
#include <sched.h>
#endif
#include <stdlib.h>
#include <unistd.h>

#include "quota.h"
#include "team.h"

#ifdef _OPENMP
#include <omp.h>
#endif

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

/* Where OpenMP binds its threads, GNU's runtime has pinned the thread that loaded it to the first of its places: that
 * thread's affinity says nothing, the places say all. 0: it binds none. */
static int bound_threads(void)
{
    int processors = 0;
#ifdef _OPENMP
    if (omp_get_proc_bind() == omp_proc_bind_false) return 0;
    for (int place = 0; place < omp_get_num_places(); place++) processors += omp_get_place_num_procs(place);
    processors = (int)cnn_min(processors, omp_get_num_procs()); /* places may overlap */
#endif
    return processors;
}

static int affinity_threads(void)
{
    const int bound = bound_threads();
    if (bound > 0) return bound;
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

int cnn_usable_cpus(void)
{
    const double quota = ceil(cnn_quota_cpus(""));
    const ptrdiff_t allowed = quota < CNN_MAX_THREADS ? (ptrdiff_t)quota : CNN_MAX_THREADS;
    return (int)cnn_max(1, cnn_min(affinity_threads(), allowed));
}

const char *cnn_requested_threads(void)
{
    const char *wish = getenv("CNN_NUM_THREADS");
    return wish && *wish ? wish : NULL;
}

/* What OMP_NUM_THREADS says of the outermost team (the first of a list); 0: nothing that OpenMP would heed. */
static int openmp_threads(void)
{
    const char *wish = getenv("OMP_NUM_THREADS");
    if (!wish) return 0;
    char *end;
    const long value = strtol(wish, &end, 10);
    while (*end == ' ') end++;
    if (end == wish || (*end != '\0' && *end != ',') || value < 1) return 0;
    return (int)cnn_min(value, CNN_MAX_THREADS);
}

static int default_threads(void)
{
    const char *wish = cnn_requested_threads();
    if (wish) {
        char *end;
        const long value = strtol(wish, &end, 10);
        return *end == '\0' && value >= 1 && value <= CNN_MAX_THREADS ? (int)value : -1;
    }
    const int limit = openmp_threads();
    return limit ? limit : cnn_usable_cpus();
}

cnn_status cnn_set_threads(int threads)
{
    if (threads < 0 || threads > CNN_MAX_THREADS) return CNN_BAD_THREADS;
    explicit_threads = threads;
    if (threads == 0) usual_threads = 0;
    return CNN_OK;
}

/* More than this no team gets: OMP_THREAD_LIMIT, or the lack of OpenMP. */
static int most_threads(void)
{
#ifdef _OPENMP
    return omp_get_thread_limit();
#else
    return 1;
#endif
}

int cnn_get_threads(void)
{
    if (explicit_threads) return (int)cnn_min(explicit_threads, most_threads());
    if (!usual_threads) usual_threads = default_threads();
    return (int)cnn_min(usual_threads, most_threads());
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
