/* Rows of the benchmark: one op on one shape, with its operands and a program of that instruction. */
#ifndef CNN_BENCH_H
#define CNN_BENCH_H

#include "common/operands.h"

enum { BENCH_ROUNDS = 101, BENCH_NAME = 32 };

typedef struct bench_row {
    char group[BENCH_NAME], layer[BENCH_NAME]; /* the shape file's name, the layer's */
    int op;
    ptrdiff_t batch;
    cnn_geometry geometry;
    operand_set operands;
    cnn_program *program;
    int repeats; /* how often the program holds the instruction, so that a run lasts long enough for the clock */
    double seconds[BENCH_ROUNDS];
} bench_row;

typedef struct bench_table {
    bench_row *rows;
    int count, capacity;
} bench_table;

/* Appends the rows of a shape file. Lines: "batch N", "layer op[,op...] field=value ...", comments after '#'.
 * A mistake is reported as "error: file:line: ..." on stderr; false then. */
bool bench_read(const char *path, bench_table *table);

/* Operands and program of a row, and how often to repeat it; false when the core refuses it. */
bool bench_prepare(bench_row *row);

/* Seconds of the op, the mean over the repeats of one run. */
double bench_measure(bench_row *row);

void bench_free(bench_table *table);

#endif
