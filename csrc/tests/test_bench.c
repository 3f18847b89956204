/* The benchmark's rows: every op has one, so has every way in which an op does its work, and all of them run. Nothing is
 * timed here. */
#define _POSIX_C_SOURCE 200112L
#include "bench/bench.h"

#include <glob.h>
#include <string.h>

#include "common/geometry.h"
#include "test.h"

static const char *const SHAPES = "bench/shapes/*.txt"; /* from csrc, where make runs the tests */

/* Ways other than the usual one, which every op has. */
static const struct {
    int op;
    cnn_variant variant;
} variants[] = {
    {CNN_OP_conv2d_forward, CNN_VARIANT_LANES},           {CNN_OP_conv2d_forward, CNN_VARIANT_DEPTHWISE},
    {CNN_OP_conv2d_backward_data, CNN_VARIANT_DEPTHWISE}, {CNN_OP_conv2d_backward_weights, CNN_VARIANT_DEPTHWISE},
    {CNN_OP_conv2d_backward_data, CNN_VARIANT_SPARSE},    {CNN_OP_conv2d_backward_weights, CNN_VARIANT_SPARSE},
    {CNN_OP_conv2d_backward_weights, CNN_VARIANT_PICK},   {CNN_OP_linear_forward, CNN_VARIANT_FEW_ROWS}};
enum { VARIANTS = sizeof variants / sizeof variants[0] };

static bool is_op(const bench_row *row) { return row->kind == &bench_op_kind; }

/* The first op that only rows of `left_out` measure, or none at all; CNN_OP_COUNT: there is none. */
static int first_unmeasured(const bench_table *table, int left_out)
{
    bool measured[CNN_OP_COUNT] = {false};
    for (int i = 0; i < table->count; i++)
        if (is_op(&table->rows[i]) && table->rows[i].as.op.op != left_out) measured[table->rows[i].as.op.op] = true;
    int op = 0;
    while (op < CNN_OP_COUNT && measured[op]) op++;
    return op;
}

static void check_ops(const bench_table *table)
{
    test_begin("bench: every op has a row");
    const int missing = first_unmeasured(table, -1);
    test_expect(missing == CNN_OP_COUNT, "%s has none: add a line to a file of bench/shapes",
                missing < CNN_OP_COUNT ? cnn_op_find(missing)->name : "");
    for (int op = 0; op < CNN_OP_COUNT && missing == CNN_OP_COUNT; op++)
        test_expect(first_unmeasured(table, op) == op, "without its rows, %s is not missed", cnn_op_find(op)->name);
    test_end();
}

static void check_functions(const bench_table *table)
{
    static const struct {
        const char *name;
        const bench_kind *kind;
    } functions[] = {
        {"gather_images", &bench_images_kind}, {"warp_images", &bench_warp_kind}, {"sgemm", &bench_sgemm_kind}};
    test_begin("bench: the functions beside the registry have a row");
    for (size_t k = 0; k < sizeof functions / sizeof functions[0]; k++) {
        int rows = 0;
        for (int i = 0; i < table->count; i++) rows += table->rows[i].kind == functions[k].kind;
        test_expect(rows > 0, "%s has none", functions[k].name);
    }
    test_end();
}

static bool is_measured(const bench_table *table, int op, cnn_variant variant)
{
    for (int i = 0; i < table->count; i++) {
        const bench_op *o = &table->rows[i].as.op;
        if (is_op(&table->rows[i]) && o->op == op && cnn_geometry_fits(cnn_op_find(op), &o->geometry) &&
            cnn_op_blocking(op, &o->geometry, table->rows[i].batch).variant == variant)
            return true;
    }
    return false;
}

static void check_variants(const bench_table *table)
{
    test_begin("bench: every way of an op has a row");
    for (int op = 0; op < CNN_OP_COUNT; op++)
        test_expect(is_measured(table, op, CNN_VARIANT_USUAL), "%s, the usual way", cnn_op_find(op)->name);
    for (int i = 0; i < VARIANTS; i++)
        test_expect(is_measured(table, variants[i].op, variants[i].variant), "%s, variant %d",
                    cnn_op_find(variants[i].op)->name, (int)variants[i].variant);
    test_end();
}

/* With it an op does more, or other, work. An argmax is there where its row pools. */
static void check_optional_operands(const bench_table *table)
{
    test_begin("bench: every optional operand is there in some row");
    for (int op = 0; op < CNN_OP_COUNT; op++)
        for (int operand = 0; operand < cnn_op_find(op)->operand_count; operand++) {
            int rows = 0;
            for (int i = 0; i < table->count; i++) {
                const bench_op *o = &table->rows[i].as.op;
                if (!is_op(&table->rows[i]) || o->op != op || o->absent & 1u << operand) continue;
                rows += operands_describe(op, &o->geometry, table->rows[i].batch).operands[operand].count > 0;
            }
            test_expect(rows > 0, "%s of %s", cnn_op_find(op)->operands[operand].name, cnn_op_find(op)->name);
        }
    test_end();
}

static void check_row(bench_row *row)
{
    char text[GEOMETRY_TEXT] = "";
    if (is_op(row)) geometry_print(cnn_op_find(row->as.op.op)->geometry, &row->as.op.geometry, text);
    test_begin("bench %s %s %s batch=%td %s", row->group, row->layer, row->name, row->batch, text);
    if (is_op(row)) test_expect(cnn_geometry_fits(cnn_op_find(row->as.op.op), &row->as.op.geometry), "does not fit");
    if (test_expect(bench_prepare(row, true), "is refused")) {
        row->seconds[0] = bench_measure(row);
        test_expect(row->seconds[0] >= 0.0, "does not run");
    }
    test_expect(row->kind->bytes(row) > 0.0, "touches nothing");
    bench_release(row);
    test_end();
}

/* A heading of three lines, and one for each row. */
static void check_table(const bench_table *table)
{
    static bench_limits limits = {.flops = {1e9}, .bandwidth = {1e9}};
    FILE *file = tmpfile();
    int lines = 0;
    test_begin("bench: the table");
    if (test_expect(file != NULL, "no temporary file")) {
        bench_print(file, table, &limits, 1, 1);
        rewind(file);
        for (int c = fgetc(file); c != EOF; c = fgetc(file)) lines += c == '\n';
        fclose(file);
        test_expect(lines == table->count + 3, "%d lines for %d rows", lines, table->count);
    }
    test_end();
}

void suite_bench(void)
{
    bench_table table = {0};
    glob_t files;
    bool good = glob(SHAPES, 0, NULL, &files) == 0;
    test_begin("bench: the files of shapes");
    test_expect(good, "there are none: %s", SHAPES);
    for (size_t i = 0; good && i < files.gl_pathc; i++)
        good = test_expect(bench_read(files.gl_pathv[i], &table), "%s", files.gl_pathv[i]);
    test_end();
    if (good) {
        check_ops(&table), check_functions(&table), check_variants(&table), check_optional_operands(&table);
        for (int i = 0; i < table.count; i++) check_row(&table.rows[i]);
        check_table(&table);
    }
    globfree(&files);
    bench_free(&table);
}
