/* Speed of every op on the layers of real networks: milliseconds, GFLOP/s and share of the FMA peak, GB/s.
 *
 * All rows are measured in turn, round after round, so that a busy neighbour meets all of them; the table shows the
 * median over the rounds and half the interquartile range. The peak is measured in every round too, on as many threads;
 * shares are of the best round's, and when the median round falls far below it the machine was busy.
 */
#define _POSIX_C_SOURCE 200112L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "common/geometry.h"
#include "internal.h"

enum { FEWEST_ROUNDS = 3, WARM_UPS = 20 };
static const double BUSY = 0.8; /* of the best round's peak */

typedef struct options {
    double seconds;
    int threads;
    const char *op;
} options;

typedef struct statistic {
    double median, spread; /* spread: half the interquartile range, as a share of the median */
} statistic;

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static statistic summarise(const double *samples, int count)
{
    double sorted[BENCH_ROUNDS];
    memcpy(sorted, samples, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, ascending);
    const double median = 0.5 * (sorted[(count - 1) / 2] + sorted[count / 2]);
    return (statistic){median, 0.5 * (sorted[3 * (count - 1) / 4] - sorted[(count - 1) / 4]) / median};
}

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

static double operand_bytes(const bench_row *row)
{
    double bytes = 0.0;
    for (int i = 0; i < row->operands.count; i++) bytes += (double)row->operands.operands[i].bytes;
    return bytes;
}

static void print_row(const bench_row *row, int rounds, double peak)
{
    const statistic time = summarise(row->seconds, rounds);
    const double flops = geometry_flops(row->op, &row->geometry, row->batch);
    printf("%-10s %-10s %-28s %9.3f %4.0f%%", row->group, row->layer, cnn_op_find(row->op)->name, 1e3 * time.median,
           100.0 * time.spread);
    if (flops > 0.0)
        printf(" %9.1f %6.0f%%\n", 1e-9 * flops / time.median, 100.0 * flops / time.median / peak);
    else
        printf(" %9s %7s %8.1f\n", "", "", 1e-9 * operand_bytes(row) / time.median);
}

static double largest(const double *samples, int count)
{
    double most = samples[0];
    for (int i = 1; i < count; i++)
        if (samples[i] > most) most = samples[i];
    return most;
}

static void print_table(const bench_table *table, const double *peaks, int rounds, int threads)
{
    const double peak = largest(peaks, rounds), usual = summarise(peaks, rounds).median;
    printf("%s, %d threads, FMA peak %.1f GFLOP/s, median of %d interleaved rounds\n", cnn_get_isa(), threads,
           1e-9 * peak, rounds);
    if (usual < BUSY * peak)
        printf("The machine was busy: half of the rounds reached %.0f%% of the peak or less.\n", 100.0 * usual / peak);
    printf("\n%-10s %-10s %-28s %9s %5s %9s %7s %8s\n", "network", "layer", "op", "ms", "+-", "GFLOP/s", "of peak",
           "GB/s");
    for (int i = 0; i < table->count; i++) print_row(&table->rows[i], rounds, peak);
}

static int measure(bench_table *table, const options *o, double *peaks)
{
    const double start = cnn_now();
    int rounds = 0;
    while (rounds < FEWEST_ROUNDS || (rounds < BENCH_ROUNDS && cnn_now() - start < o->seconds)) {
        peaks[rounds] = measure_peak(o->threads);
        for (int i = 0; i < table->count; i++) table->rows[i].seconds[rounds] = bench_measure(&table->rows[i]);
        rounds++;
    }
    return rounds;
}

static void keep_only(bench_table *table, const char *op)
{
    int kept = 0;
    for (int i = 0; i < table->count; i++)
        if (strstr(cnn_op_find(table->rows[i].op)->name, op)) table->rows[kept++] = table->rows[i];
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
        else if (!bench_read(argv[i], table))
            return false;
    }
    if (o->op) keep_only(table, o->op);
    if (table->count > 0) return true;
    fprintf(stderr, "usage: %s [--seconds=S] [--threads=N] [--op=PART_OF_NAME] SHAPES.txt ...\n", argv[0]);
    return false;
}

int main(int argc, char **argv)
{
    options o = {.seconds = 12.0};
    bench_table table = {0};
    double peaks[BENCH_ROUNDS];
    if (!read_arguments(argc, argv, &o, &table)) return 2;
    if (cnn_set_threads(o.threads) != CNN_OK || !cnn_get_isa()) {
        fprintf(stderr, "error: --threads or CNN_ISA names what is not to be had\n");
        return 2;
    }
    o.threads = cnn_get_threads();
    bool good = true;
    for (int i = 0; i < WARM_UPS; i++) measure_peak(o.threads);
    for (int i = 0; i < table.count && good; i++) good = bench_prepare(&table.rows[i]);
    if (good) print_table(&table, peaks, measure(&table, &o, peaks), o.threads);
    bench_free(&table);
    return good ? 0 : 2;
}
