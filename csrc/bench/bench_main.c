/* Speed of every op on the layers of real networks: milliseconds, and GFLOP/s or GB/s with their share of what the
 * machine does at best.
 *
 * All rows are measured in turn, round after round, so that a busy neighbour meets all of them. The peak of FMA and the
 * rate at which memory is read are measured in every round too, on as many threads; shares are of the best round's, and
 * when the median round falls far below it the machine was busy. GFLOP/s are those of the direct, dense algorithm:
 * Winograd's, and a gradient that is mostly zero, go beyond 100 %. So do GB/s of operands that stay in a cache.
 */
#define _POSIX_C_SOURCE 200112L
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "internal.h"

enum { FEWEST_ROUNDS = 3, WARM_UPS = 20, READ_BYTES = 256 << 20 };

typedef struct options {
    double seconds;
    int threads;
    bool quick;
    const char *op;
} options;

/* FLOP/s of independent FMAs on the whole team, over about a millisecond or two. */
static double measure_peak(int threads)
{
    (void)threads; /* without OpenMP there is one */
    double flops = 0.0;
    const double start = cnn_now();
#pragma omp parallel num_threads(threads) reduction(+ : flops)
    flops += cnn_fma_burst(200000);
    return flops / (cnn_now() - start);
}

/* Bytes/s from so much memory that the caches of a core hold little of it. */
static double measure_bandwidth(const float *memory)
{
    const double start = cnn_now();
    const double bytes = cnn_read_burst(memory, READ_BYTES / (ptrdiff_t)sizeof *memory, 1);
    return bytes / (cnn_now() - start);
}

static bool measure_round(bench_table *table, const options *o, const float *memory, bench_limits *limits, int round)
{
    limits->flops[round] = measure_peak(o->threads);
    limits->bandwidth[round] = measure_bandwidth(memory);
    for (int i = 0; i < table->count; i++) {
        table->rows[i].seconds[round] = bench_measure(&table->rows[i]);
        if (table->rows[i].seconds[round] < 0.0) {
            fprintf(stderr, "error: %s %s %s did not run\n", table->rows[i].group, table->rows[i].layer,
                    table->rows[i].name);
            return false;
        }
    }
    return true;
}

/* The number of rounds; 0 when a row failed. */
static int measure(bench_table *table, const options *o, const float *memory, bench_limits *limits)
{
    const double start = cnn_now();
    const int fewest = o->quick ? 1 : FEWEST_ROUNDS, most = o->quick ? 1 : BENCH_ROUNDS;
    for (int i = 0; i < WARM_UPS && !o->quick; i++) measure_peak(o->threads);
    int rounds = 0;
    while (rounds < fewest || (rounds < most && cnn_now() - start < o->seconds))
        if (!measure_round(table, o, memory, limits, rounds++)) return 0;
    return rounds;
}

static bool run(bench_table *table, const options *o)
{
    bench_limits limits;
    float *memory = malloc(READ_BYTES);
    bool good = memory != NULL;
    if (!good) fputs("error: out of memory\n", stderr);
    if (good) memset(memory, 0, READ_BYTES);
    for (int i = 0; i < table->count && good; i++) good = bench_prepare(&table->rows[i], o->quick);
    const int rounds = good ? measure(table, o, memory, &limits) : 0;
    if (rounds) bench_print(stdout, table, &limits, rounds, o->threads);
    free(memory);
    return rounds > 0;
}

static void keep_only(bench_table *table, const char *op)
{
    int kept = 0;
    for (int i = 0; i < table->count; i++)
        if (strstr(table->rows[i].name, op)) table->rows[kept++] = table->rows[i];
    table->count = kept;
}

static bool read_arguments(int argc, char **argv, options *o, bench_table *table)
{
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--seconds=", 10) == 0)
            o->seconds = strtod(argv[i] + 10, NULL);
        else if (strncmp(argv[i], "--threads=", 10) == 0)
            o->threads = (int)strtol(argv[i] + 10, NULL, 10);
        else if (strncmp(argv[i], "--op=", 5) == 0)
            o->op = argv[i] + 5;
        else if (strcmp(argv[i], "--quick") == 0)
            o->quick = true;
        else if (!bench_read(argv[i], table))
            return false;
    }
    if (o->op) keep_only(table, o->op);
    if (table->count > 0) return true;
    fprintf(stderr, "usage: %s [--quick] [--seconds=S] [--threads=N] [--op=PART_OF_NAME] SHAPES.txt ...\n", argv[0]);
    return false;
}

int main(int argc, char **argv)
{
    options o = {.seconds = 12.0};
    bench_table table = {0};
    if (!read_arguments(argc, argv, &o, &table)) return 2;
    if (cnn_set_threads(o.threads) != CNN_OK || !cnn_get_isa()) {
        fprintf(stderr, "error: --threads or CNN_ISA names what is not to be had\n");
        return 2;
    }
    o.threads = cnn_get_threads();
    const bool good = run(&table, &o);
    bench_free(&table);
    return good ? 0 : 2;
}
