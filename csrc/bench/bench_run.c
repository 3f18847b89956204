/* Running one row. */
#include <stdio.h>

#include "bench.h"

enum { MOST_REPEATS = 200 };
static const double ENOUGH = 1e-3; /* seconds of one measurement */

static cnn_run make_run(const bench_row *row)
{
    cnn_run run = {.batch = row->batch, .seed = 1};
    for (int i = 0; i < row->operands.count; i++) run.externals[i] = row->operands.operands[i].data;
    return run;
}

static double run_once(bench_row *row)
{
    cnn_run run = make_run(row);
    return cnn_program_run(row->program, &run) == CNN_OK ? run.elapsed : -1.0;
}

/* A program of `repeats` times the same instruction, so that opening the team weighs as little as in a training step.
 * Every operand is an external: its memory is allocated and touched once, as in an arena. */
static bool make_program(bench_row *row, int repeats)
{
    static cnn_instruction instructions[MOST_REPEATS];
    cnn_operand operands[CNN_MAX_OPERANDS];
    cnn_instruction instruction = {.op = row->op, .geometry = row->geometry};
    if (row->operands.count > CNN_MAX_EXTERNALS) return false;
    for (int i = 0; i < CNN_MAX_OPERANDS; i++) instruction.operands[i] = -1;
    for (int i = 0; i < row->operands.count; i++) {
        operands[i] = (cnn_operand){CNN_SPACE_EXTERNAL, i, (int64_t)row->operands.operands[i].bytes};
        if (row->operands.operands[i].data) instruction.operands[i] = i;
    }
    for (int i = 0; i < repeats; i++) instructions[i] = instruction;
    const cnn_program_description description = {.instructions = instructions,
                                                 .instruction_count = repeats,
                                                 .operands = operands,
                                                 .operand_count = row->operands.count,
                                                 .max_batch = row->batch};
    ptrdiff_t detail;
    cnn_program_destroy(row->program);
    row->repeats = repeats;
    return cnn_program_create(&description, &row->program, &detail) == CNN_OK && run_once(row) >= 0.0;
}

/* The least of a few runs: the first ones may wait for threads to start or for the clock rate to rise. */
static double estimate(bench_row *row)
{
    double least = run_once(row);
    for (int i = 0; i < 5; i++) {
        const double seconds = run_once(row);
        if (seconds < least) least = seconds;
    }
    return least;
}

bool bench_prepare(bench_row *row)
{
    row->operands = operands_describe(row->op, &row->geometry, row->batch);
    operands_allocate(&row->operands);
    operands_fill(&row->operands, &row->geometry, VALUES_UNIFORM, 3);
    bool good = make_program(row, 1);
    if (good) {
        const int repeats = (int)(ENOUGH / (estimate(row) + ENOUGH / MOST_REPEATS)) + 1;
        good = make_program(row, repeats < MOST_REPEATS ? repeats : MOST_REPEATS);
    }
    if (!good) fprintf(stderr, "error: %s %s: the core refuses this shape\n", row->group, row->layer);
    return good;
}

double bench_measure(bench_row *row) { return run_once(row) / row->repeats; }
