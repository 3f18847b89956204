/* Rows of the benchmark: one op, or one of the functions beside the registry, on one shape. */
#ifndef CNN_BENCH_H
#define CNN_BENCH_H

#include <stdio.h>

#include "common/operands.h"

enum { BENCH_ROUNDS = 101, BENCH_NAME = 32, BENCH_FORM = 128, BENCH_FEW = 3, BENCH_REPEATS = 200 };

typedef struct bench_row bench_row;

/* What a row can be. */
typedef struct bench_kind {
    /* A word of a shape file: "name=value", or "name" alone with an empty value. False: there is no such word. */
    bool (*set)(bench_row *row, const char *name, const char *value);
    /* After the last word: fills in what follows from the others; false when the core cannot run it. */
    bool (*complete)(bench_row *row);
    /* Memory and what it holds; false when there is not enough. */
    bool (*prepare)(bench_row *row);
    /* Seconds of row->repeats runs; below zero when one failed. `changed`: there were other repeats the last time. */
    double (*run)(bench_row *row, bool changed);
    void (*release)(bench_row *row);
    double (*flops)(const bench_row *row); /* of one run; 0: its time is memory's */
    double (*bytes)(const bench_row *row); /* that one run reads and writes */
    void (*describe)(const bench_row *row, char form[BENCH_FORM]);
} bench_kind;

/* An op in a program, as training has it. */
typedef struct bench_op {
    int op;
    cnn_geometry geometry;
    unsigned absent;            /* bit i: operand i is not there */
    int over[CNN_MAX_OPERANDS]; /* the operand in whose memory operand i lies; i itself */
    bool alone;                 /* one worker runs it */
    operand_set operands;
    cnn_program *program;
} bench_op;

typedef struct bench_images {
    cnn_image_batch batch;
    ptrdiff_t count, shift, flip, side, fill, per_sample; /* images to take from; rows and columns at most; ... */
    float *dst;
} bench_images;

typedef struct bench_warp {
    cnn_image_warp warp;
    ptrdiff_t count, degrees, fill; /* images to take from; of the largest turn */
    uint8_t *dst;
} bench_warp;

typedef struct bench_sgemm {
    ptrdiff_t m, n, k, transpose_a, transpose_b;
    float *a, *b, *c;
} bench_sgemm;

struct bench_row {
    char group[BENCH_NAME], layer[BENCH_NAME]; /* the shape file's name, the layer's */
    const char *name;                          /* the op's or function's */
    const bench_kind *kind;
    ptrdiff_t batch;
    union {
        bench_op op;
        bench_images images;
        bench_warp warp;
        bench_sgemm sgemm;
    } as;
    int repeats; /* runs of one measurement, so that it lasts long enough for the clock */
    double seconds[BENCH_ROUNDS];
};

extern const bench_kind bench_op_kind, bench_images_kind, bench_warp_kind, bench_sgemm_kind;

/* A word of a shape file that is a whole number. */
typedef struct bench_whole {
    const char *name;
    ptrdiff_t *field;
} bench_whole;

/* Sets the field of that name; false when there is none, or the value is no whole number. */
bool bench_set_whole(const bench_whole *fields, size_t count, const char *name, const char *value);

/* A row of that op or function; its kind is NULL when there is none of that name. */
bench_row bench_row_of(const char *name, size_t length);

typedef struct bench_table {
    bench_row *rows;
    int count, capacity;
} bench_table;

/* Appends the rows of a shape file: lines "batch N", "layer op[,op...] word ...", comments after '#'. Words:
 *   field=number       of the geometry; strides, dilations and groups are one, OH and OW follow from the rest; pad=N sets
 *                      all pads
 *   operand=operand    the first lies in the memory of the second
 *   -operand           an optional one that is not there
 *   alone              one worker runs it
 * A word goes to those ops of its line that know it. A mistake is reported as "error: file:line: ..." on stderr; false
 * then. */
bool bench_read(const char *path, bench_table *table);
void bench_free(bench_table *table);

/* Memory of a row, and how often to run it for one measurement. Quick: once, and of BENCH_FEW samples at most. False,
 * with a message on stderr, when it cannot run. */
bool bench_prepare(bench_row *row, bool quick);
void bench_release(bench_row *row);

/* Seconds of one run, the mean over the repeats; below zero when it failed. */
double bench_measure(bench_row *row);

/* What the machine does at best, in every round: FLOP/s and bytes/s. */
typedef struct bench_limits {
    double flops[BENCH_ROUNDS], bandwidth[BENCH_ROUNDS];
} bench_limits;

void bench_print(FILE *file, const bench_table *table, const bench_limits *limits, int rounds, int threads);

#endif
