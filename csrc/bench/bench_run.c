/* One row: which kind it is, and how often it runs for one measurement. */
#include "bench.h"

#include <string.h>

enum { TRIALS = 6 };
static const double ENOUGH = 1e-3; /* seconds of one measurement */

static bool is(const char *name, const char *other, size_t length)
{
    return strlen(name) == length && strncmp(name, other, length) == 0;
}

bench_row bench_row_of(const char *name, size_t length)
{
    static const struct {
        const char *name;
        const bench_kind *kind;
    } functions[] = {
        {"gather_images", &bench_images_kind}, {"warp_images", &bench_warp_kind}, {"sgemm", &bench_sgemm_kind}};
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (is(functions[i].name, name, length))
            return (bench_row){.name = functions[i].name, .kind = functions[i].kind};
    for (int op = 0; op < CNN_OP_COUNT; op++) {
        if (!is(cnn_op_find(op)->name, name, length)) continue;
        bench_row row = {.name = cnn_op_find(op)->name, .kind = &bench_op_kind, .as.op.op = op};
        for (int i = 0; i < CNN_MAX_OPERANDS; i++) row.as.op.over[i] = i;
        return row;
    }
    return (bench_row){0};
}

/* The least of a few runs: the first ones may wait for threads to start or for the clock rate to rise. */
static double estimate(bench_row *row)
{
    double least = row->kind->run(row, false);
    for (int i = 1; i < TRIALS; i++) {
        const double seconds = row->kind->run(row, false);
        if (seconds < least) least = seconds;
    }
    return least;
}

static bool choose_repeats(bench_row *row)
{
    const double seconds = estimate(row);
    if (seconds < 0.0) return false;
    const int repeats = (int)(ENOUGH / (seconds + ENOUGH / BENCH_REPEATS)) + 1;
    row->repeats = repeats < BENCH_REPEATS ? repeats : BENCH_REPEATS;
    return row->kind->run(row, true) >= 0.0;
}

bool bench_prepare(bench_row *row, bool quick)
{
    if (quick && row->batch > BENCH_FEW) row->batch = BENCH_FEW;
    row->repeats = 1;
    if (row->kind->prepare(row) && row->kind->run(row, true) >= 0.0 && (quick || choose_repeats(row))) return true;
    fprintf(stderr, "error: %s %s %s: cannot be run\n", row->group, row->layer, row->name);
    return false;
}

void bench_release(bench_row *row) { row->kind->release(row); }

double bench_measure(bench_row *row) { return row->kind->run(row, false) / row->repeats; }
