/* The table: the median over the rounds and half the interquartile range, and shares of what the machine does at best. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

static const double BUSY = 0.8; /* of the best round's peak */

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

static double largest(const double *samples, int count)
{
    double most = samples[0];
    for (int i = 1; i < count; i++)
        if (samples[i] > most) most = samples[i];
    return most;
}

static void print_row(FILE *file, const bench_row *row, int rounds, double peak, double bandwidth)
{
    const statistic time = summarise(row->seconds, rounds);
    const double flops = row->kind->flops(row), bytes = row->kind->bytes(row);
    char form[BENCH_FORM];
    row->kind->describe(row, form);
    fprintf(file, "%-10s %-12s %-28s %-32s %4td %9.3f %4.0f%%", row->group, row->layer, row->name, form, row->batch,
            1e3 * time.median, 100.0 * time.spread);
    if (flops > 0.0)
        fprintf(file, " %9.1f %8s %5.0f%%\n", 1e-9 * flops / time.median, "", 100.0 * flops / time.median / peak);
    else
        fprintf(file, " %9s %8.1f %5.0f%%\n", "", 1e-9 * bytes / time.median, 100.0 * bytes / time.median / bandwidth);
}

void bench_print(FILE *file, const bench_table *table, const bench_limits *limits, int rounds, int threads)
{
    const double peak = largest(limits->flops, rounds), bandwidth = largest(limits->bandwidth, rounds);
    const double usual = summarise(limits->flops, rounds).median;
    fprintf(file, "%s, %d threads, FMA peak %.1f GFLOP/s, memory read at %.1f GB/s, median of %d interleaved rounds\n",
            cnn_get_isa(), threads, 1e-9 * peak, 1e-9 * bandwidth, rounds);
    if (usual < BUSY * peak)
        fprintf(file, "The machine was busy: half of the rounds reached %.0f%% of the peak or less.\n",
                100.0 * usual / peak);
    fprintf(file, "\n%-10s %-12s %-28s %-32s %4s %9s %5s %9s %8s %6s\n", "network", "layer", "op", "form", "N", "ms",
            "+-", "GFLOP/s", "GB/s", "share");
    for (int i = 0; i < table->count; i++) print_row(file, &table->rows[i], rounds, peak, bandwidth);
}
