/* See pace.h. A round: a trial of another number of workers, the same time with the settled one, then the better of the
 * two for as long as makes the trials cheap. */
#include "pace.h"

enum { CALM, TRIED, COMPARED, SETTLED };

/* Linux gives a process 3 or 4 ms at a time: a trial has to see several turns of the neighbour. */
static const double TRIAL = 12e-3, SETTLEMENT = 200e-3;
/* So many disturbances so close are no accident; fewer cost less than trying. */
enum { TOO_MANY = 3 };
static const double CLOSE = 50e-3;

static void enter(cnn_pace *pace, int phase, double now, double length)
{
    pace->phase = phase;
    pace->until = now + length;
    pace->disturbed = false;
    pace->seconds = pace->samples = 0.0;
}

/* One worker more or fewer in turn, where both are possible. */
static void try_another(cnn_pace *pace, double now)
{
    pace->downwards = pace->settled == pace->full || (pace->settled > 1 && !pace->downwards);
    pace->tried = pace->settled + (pace->downwards ? -1 : 1);
    enter(pace, TRIED, now, TRIAL);
}

static void begin_anew(cnn_pace *pace, int full) { *pace = (cnn_pace){.full = full, .settled = full}; }

int cnn_pace_workers(cnn_pace *pace, int full, double now)
{
    if (pace->full != full) begin_anew(pace, full);
    if (pace->phase == SETTLED && now >= pace->until) try_another(pace, now);
    return pace->phase == TRIED ? pace->tried : pace->settled;
}

static void end_round(cnn_pace *pace, double now)
{
    const bool quiet = !pace->disturbed && pace->settled == pace->full;
    if (quiet) {
        begin_anew(pace, pace->full);
        return;
    }
    if (pace->tried_pace < pace->seconds / pace->samples) pace->settled = pace->tried;
    enter(pace, SETTLED, now, SETTLEMENT);
}

void cnn_pace_account(cnn_pace *pace, double start, double end, ptrdiff_t samples, bool disturbed)
{
    pace->seconds += end - start;
    pace->samples += (double)samples;
    pace->disturbed |= disturbed;
    if (pace->phase == CALM) {
        if (!disturbed || pace->full == 1) return;
        if (end - pace->since >= CLOSE) {
            pace->since = end;
            pace->disturbances = 0;
        }
        if (++pace->disturbances >= TOO_MANY) try_another(pace, end);
    } else if (pace->phase == TRIED && end >= pace->until) {
        pace->tried_pace = pace->seconds / pace->samples;
        enter(pace, COMPARED, end, TRIAL);
    } else if (pace->phase == COMPARED && end >= pace->until) {
        end_round(pace, end);
    }
}
