/* How many workers a program takes beside others, on machines made of formulas: no clock, no thread. */
#include "pace.h"
#include "test.h"

/* What a run takes on so many workers, and whether somebody was waited for. */
typedef struct machine {
    double seconds[17];
    bool disturbed[17];
} machine;

typedef struct sight {
    int fewest, most; /* workers of any run */
    int last;         /* of the last one */
    double mean;      /* seconds of a run */
} sight;

static double now;

static sight watch(cnn_pace *pace, const machine *machine, int full, double length)
{
    sight seen = {.fewest = full, .most = 1};
    const double start = now;
    int runs = 0;
    for (; now < start + length; runs++) {
        seen.last = cnn_pace_workers(pace, full, now);
        seen.fewest = seen.last < seen.fewest ? seen.last : seen.fewest;
        seen.most = seen.last > seen.most ? seen.last : seen.most;
        const double end = now + machine->seconds[seen.last];
        cnn_pace_account(pace, now, end, 4, machine->disturbed[seen.last]);
        now = end;
    }
    seen.mean = (now - start) / runs;
    return seen;
}

static const machine free_pair = {{0, 270e-6, 150e-6}, {false}};
static const machine shared_pair = {{0, 270e-6, 700e-6}, {[2] = true}};
static const machine slow_alone = {{0, 20e-3, 12e-3}, {[2] = true}};

static void calm(void)
{
    test_begin("pace: nobody else there");
    cnn_pace pace = {0};
    now = 1.0;
    const sight seen = watch(&pace, &free_pair, 2, 1.0);
    test_expect(seen.fewest == 2, "%d workers", seen.fewest);
    test_end();

    test_begin("pace: one disturbance, and another much later");
    const machine once = {{0, 270e-6, 150e-6}, {[2] = true}};
    watch(&pace, &once, 2, 1e-6);
    test_expect(watch(&pace, &free_pair, 2, 0.2).fewest == 2, "tried fewer after one");
    watch(&pace, &once, 2, 1e-6);
    test_expect(watch(&pace, &free_pair, 2, 0.2).fewest == 2, "tried fewer after the second");
    test_end();

    test_begin("pace: a team of one has nothing to try");
    cnn_pace single = {0};
    const machine slow = {{0, 1e-3}, {[1] = true}};
    const sight alone = watch(&single, &slow, 1, 1.0);
    test_expect(alone.fewest == 1 && alone.most == 1, "%d to %d workers", alone.fewest, alone.most);
    test_end();
}

static void beside_one(void)
{
    test_begin("pace: two cores, a neighbour comes and goes");
    cnn_pace pace = {0};
    now = 5.0;
    watch(&pace, &shared_pair, 2, 0.1);
    const sight beside = watch(&pace, &shared_pair, 2, 3.0);
    test_expect(beside.mean < 1.15 * 270e-6, "%g s a run beside it", beside.mean);
    watch(&pace, &free_pair, 2, 0.5);
    const sight after = watch(&pace, &free_pair, 2, 1.0);
    test_expect(after.fewest == 2, "%d workers when it has gone", after.fewest);
    test_end();

    test_begin("pace: a team that is faster all the same is kept");
    cnn_pace kept = {0};
    now = 5.0;
    watch(&kept, &slow_alone, 2, 0.2);
    const sight team = watch(&kept, &slow_alone, 2, 3.0);
    test_expect(team.mean < 1.1 * 12e-3, "%g s a run", team.mean);
    test_end();
}

static void many(void)
{
    test_begin("pace: sixteen cores, one of them taken");
    machine wide = {{0}, {false}};
    for (int workers = 1; workers <= 16; workers++) wide.seconds[workers] = 4e-3 / workers;
    wide.seconds[16] = 3e-3;
    wide.disturbed[16] = true;
    cnn_pace pace = {0};
    now = 2.0;
    watch(&pace, &wide, 16, 0.2);
    const sight seen = watch(&pace, &wide, 16, 5.0);
    test_expect(seen.fewest >= 14, "went down to %d", seen.fewest);
    test_expect(seen.mean < 1.2 * 4e-3 / 15, "%g s a run", seen.mean);
    test_end();

    test_begin("pace: another number of threads begins anew");
    test_expect(cnn_pace_workers(&pace, 3, now) == 3, "not all three");
    test_end();
}

void suite_pace(void)
{
    calm();
    beside_one();
    many();
}
