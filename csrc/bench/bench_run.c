/* Running one row. */
#include <stdio.h>

#include "bench.h"

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

/* Every operand is an external of the program: its memory is allocated and touched once, as in an arena. */
static bool make_program(bench_row *row)
{
    cnn_operand operands[CNN_MAX_OPERANDS];
    cnn_instruction instruction = {.op = row->op, .geometry = row->geometry};
    if (row->operands.count > CNN_MAX_EXTERNALS) return false;
    for (int i = 0; i < CNN_MAX_OPERANDS; i++) instruction.operands[i] = -1;
    for (int i = 0; i < row->operands.count; i++) {
        operands[i] = (cnn_operand){CNN_SPACE_EXTERNAL, i, (int64_t)row->operands.operands[i].bytes};
        if (row->operands.operands[i].data) instruction.operands[i] = i;
    }
    const cnn_program_description description = {.instructions = &instruction,
                                                 .instruction_count = 1,
                                                 .operands = operands,
                                                 .operand_count = row->operands.count,
                                                 .max_batch = row->batch};
    ptrdiff_t detail;
    return cnn_program_create(&description, &row->program, &detail) == CNN_OK;
}

bool bench_prepare(bench_row *row)
{
    static const double ENOUGH = 1e-3;
    row->operands = operands_describe(row->op, &row->geometry, row->batch);
    operands_allocate(&row->operands);
    operands_fill(&row->operands, &row->geometry, VALUES_UNIFORM, 3);
    if (!make_program(row) || run_once(row) < 0.0) {
        fprintf(stderr, "error: %s %s: the core refuses this shape\n", row->group, row->layer);
        return false;
    }
    const double seconds = run_once(row);
    row->repeats = seconds < ENOUGH ? (int)(ENOUGH / (seconds + 1e-6)) + 1 : 1;
    return true;
}

double bench_measure(bench_row *row)
{
    double seconds = 0.0;
    for (int i = 0; i < row->repeats; i++) seconds += run_once(row);
    return seconds / row->repeats;
}
