/* Reading shape files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "common/geometry.h"

typedef struct place {
    const char *path;
    int line;
    char group[BENCH_NAME];
} place;

static bool complain(const place *at, const char *what, const char *word)
{
    fprintf(stderr, "error: %s:%d: %s '%s'\n", at->path, at->line, what, word);
    return false;
}

static int find_op(const char *name, size_t length)
{
    for (int op = 0; op < CNN_OP_COUNT; op++)
        if (strlen(cnn_op_find(op)->name) == length && strncmp(cnn_op_find(op)->name, name, length) == 0) return op;
    return -1;
}

static bool append(bench_table *table, const bench_row *row)
{
    if (table->count == table->capacity) {
        const int capacity = table->capacity ? 2 * table->capacity : 64;
        bench_row *rows = realloc(table->rows, (size_t)capacity * sizeof *rows);
        if (!rows) return false;
        table->rows = rows, table->capacity = capacity;
    }
    table->rows[table->count++] = *row;
    return true;
}

static bool read_fields(const place *at, cnn_geometry_kind kind, const char *text, cnn_geometry *geometry)
{
    char field[BENCH_NAME];
    double value;
    int used;
    for (; sscanf(text, " %31[a-z_0-9]=%lf%n", field, &value, &used) == 2; text += used)
        if (!geometry_set(kind, geometry, field, value)) return complain(at, "no such field", field);
    if (text[strspn(text, " \t")] != '\0') return complain(at, "expected field=number, not", text);
    geometry_complete(kind, geometry);
    return true;
}

static bool read_layer(const place *at, const char *line, ptrdiff_t batch, bench_table *table)
{
    char layer[BENCH_NAME], ops[256];
    int used;
    if (sscanf(line, " %31s %255s%n", layer, ops, &used) != 2)
        return complain(at, "expected a layer and an op, not", line);
    if (batch < 1) return complain(at, "a line 'batch N' must come before", layer);
    for (const char *op = ops; *op; op += strcspn(op, ","), op += *op == ',') {
        bench_row row = {.op = find_op(op, strcspn(op, ",")), .batch = batch};
        if (row.op < 0) return complain(at, "no such op in", ops);
        snprintf(row.group, sizeof row.group, "%s", at->group);
        snprintf(row.layer, sizeof row.layer, "%s", layer);
        if (!read_fields(at, cnn_op_find(row.op)->geometry, line + used, &row.geometry)) return false;
        if (!append(table, &row)) return complain(at, "out of memory at", layer);
    }
    return true;
}

bool bench_read(const char *path, bench_table *table)
{
    FILE *file = fopen(path, "r");
    place at = {.path = path};
    if (!file) return complain(&at, "cannot open", path);
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    snprintf(at.group, sizeof at.group, "%.*s", (int)strcspn(name, "."), name);
    char line[512];
    ptrdiff_t batch = 0;
    bool good = true;
    while (good && fgets(line, sizeof line, file)) {
        at.line++;
        line[strcspn(line, "#\n")] = '\0';
        if (line[strspn(line, " \t")] == '\0') continue;
        if (sscanf(line, "batch %td", &batch) != 1) good = read_layer(&at, line, batch, table);
    }
    fclose(file);
    return good;
}

void bench_free(bench_table *table)
{
    for (int i = 0; i < table->count; i++) {
        cnn_program_destroy(table->rows[i].program);
        operands_free(&table->rows[i].operands);
    }
    free(table->rows);
    *table = (bench_table){0};
}
