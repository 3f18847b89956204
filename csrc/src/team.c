/* Opening a team and the barrier between the phases of its work.
 *
 * The barrier is ours and not OpenMP's because of machines that are shared: a member that spins for another, whose
 * core somebody else has taken, keeps the scheduler from running that other one where it spins; every barrier then
 * costs a time slice. So members spin for as long as a well-balanced phase may differ, then sleep; and once somebody
 * had to sleep, the next meetings are hurried: hardly any spinning, until the machine had time to calm down. (Measured on
 * two cores with one foreign process: a step of lenet took 7 ms instead of 15 to 150, of 1.1 ms undisturbed.)
 */
#include <unistd.h>

#include "team.h"

#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum {
    PATIENT_SPINS = 50000, /* about a millisecond: longer than the phases of a small step differ */
    HURRIED_SPINS = 300,
    HURRIED_MEETINGS = 100, /* a few training steps */
};

void cnn_team_init(cnn_team *team)
{
    atomic_init(&team->arrived, 0);
    atomic_init(&team->generation, 0);
    atomic_init(&team->asleep, 0);
    atomic_init(&team->hurried, 0);
    atomic_init(&team->given_up, 0);
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->met, NULL);
}

void cnn_team_destroy(cnn_team *team)
{
    pthread_cond_destroy(&team->met);
    pthread_mutex_destroy(&team->lock);
}

static inline void relax(void)
{
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void sleep_until_met(cnn_team *team, unsigned generation)
{
    pthread_mutex_lock(&team->lock);
    atomic_fetch_add(&team->asleep, 1);
    while (atomic_load(&team->generation) == generation) pthread_cond_wait(&team->met, &team->lock);
    atomic_fetch_sub(&team->asleep, 1);
    pthread_mutex_unlock(&team->lock);
}

static void meet(const cnn_worker *worker)
{
    cnn_team *team = worker->team;
    const unsigned generation = atomic_load_explicit(&team->generation, memory_order_acquire);
    if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) == worker->size - 1) {
        atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
        atomic_store(&team->generation, generation + 1);
        /* whoever falls asleep counts itself before it looks at the generation, so one of the two is seen */
        if (atomic_load(&team->asleep) > 0) {
            pthread_mutex_lock(&team->lock);
            pthread_cond_broadcast(&team->met);
            pthread_mutex_unlock(&team->lock);
        }
        return;
    }
    const int hurried = atomic_load_explicit(&team->hurried, memory_order_relaxed);
    for (int spins = hurried > 0 ? HURRIED_SPINS : PATIENT_SPINS; spins > 0; spins--) {
        if (atomic_load_explicit(&team->generation, memory_order_acquire) != generation) {
            if (hurried > 0) atomic_store_explicit(&team->hurried, hurried - 1, memory_order_relaxed);
            return;
        }
        relax();
    }
    atomic_store_explicit(&team->hurried, hurried > 0 ? hurried - 1 : HURRIED_MEETINGS, memory_order_relaxed);
    if (hurried == 0) atomic_fetch_add_explicit(&team->given_up, 1, memory_order_relaxed);
    sleep_until_met(team, generation);
}

void cnn_barrier(const cnn_worker *worker)
{
    if (worker->size == 1) return;
    const double start = worker->waited ? cnn_now() : 0.0;
    meet(worker);
    if (worker->waited) *worker->waited += cnn_now() - start;
}

/* ---- floating-point mode -------------------------------------------------------------------------------------- */

/* Denormals make late training crawl: flush them on every worker while a team runs, and put the mode back. */
static uint64_t flush_denormals(void)
{
#if defined(__x86_64__)
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040u); /* FTZ and DAZ */
    return before;
#elif defined(__aarch64__)
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(before | (UINT64_C(1) << 24)));
    return before;
#else
    return 0;
#endif
}

static void restore_mode(uint64_t before)
{
#if defined(__x86_64__)
    _mm_setcsr((unsigned)before);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(before));
#else
    (void)before;
#endif
}

/* ---- running ---------------------------------------------------------------------------------------------------- */

#ifdef _OPENMP
/* A forked child has none of its parent's threads, but libgomp believes that it has and waits for them: there a team
 * has one member, and the results are the same. */
static bool after_fork(void)
{
    static _Atomic long opened_by;
    const long self = (long)getpid();
    long none = 0;
    return !atomic_compare_exchange_strong(&opened_by, &none, self) && none != self;
}
#endif

static void work(const cnn_worker *worker, cnn_team_function *function, void *context)
{
    const uint64_t mode = flush_denormals();
    function(worker, context);
    restore_mode(mode);
}

void cnn_team_run(cnn_team *team, int threads, const cnn_kernels *kernels, void *shared, void *scratch,
                  size_t scratch_bytes, cnn_team_function *function, void *context)
{
    const cnn_worker first = {
        .rank = 0, .size = 1, .kernels = kernels, .shared = shared, .scratch = scratch, .team = team};
#ifdef _OPENMP
    if (threads > 1 && !after_fork()) {
        omp_set_dynamic(0); /* the count asked for is the count given */
#pragma omp parallel num_threads(threads)
        {
            cnn_worker worker = first;
            worker.rank = omp_get_thread_num();
            worker.size = omp_get_num_threads();
            worker.scratch = (char *)scratch + scratch_bytes * (size_t)worker.rank;
            work(&worker, function, context);
        }
        return;
    }
#endif
    (void)threads, (void)scratch_bytes;
    work(&first, function, context);
}
