/* How many workers a program takes beside foreign processes. */
#ifndef CNN_PACE_H
#define CNN_PACE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * A team waits for its slowest member. On a machine of its own that costs nothing; where a foreign process has taken one
 * of the cores, the worker there is put aside for milliseconds at a time, and a run that takes a fraction of one waits
 * for it. A smaller team that nobody has to wait for is then faster. So once meetings are disturbed, a program tries one
 * worker more or fewer in turn and stays with what takes the least time for a sample, until it is left alone again.
 * How many workers compute never changes a result.
 *
 * Zeroed, it is new. Times are seconds of one monotonic clock.
 */
typedef struct cnn_pace {
    int phase;        /* one of pace.c's */
    int full;         /* workers that were asked for */
    int settled;      /* workers while nothing is tried; 0: all */
    int tried;        /* workers of the trial */
    bool downwards;   /* the last trial was of fewer */
    bool disturbed;   /* somebody was waited for in this phase */
    double until;     /* when the phase ends */
    int disturbances; /* in a calm phase, since `since` */
    double since;
    double seconds, samples; /* of the runs in this phase */
    double tried_pace;       /* seconds per sample of the trial */
} cnn_pace;

/* Workers for the next run, which begins at `now`; 1 to `full`. */
int cnn_pace_workers(cnn_pace *pace, int full, double now);

/* What a run on that many workers took. `disturbed`: a member of the team was waited for in vain for a while. */
void cnn_pace_account(cnn_pace *pace, double start, double end, ptrdiff_t samples, bool disturbed);

#endif
