/* Reading shape files. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

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

/* The rows of a line, one for each of its ops. */
static bool append_ops(const place *at, const char *layer, const char *ops, ptrdiff_t batch, bench_table *table)
{
    for (const char *op = ops; *op; op += strcspn(op, ","), op += *op == ',') {
        bench_row row = bench_row_of(op, strcspn(op, ","));
        if (!row.kind) return complain(at, "no such op in", ops);
        row.batch = batch;
        snprintf(row.group, sizeof row.group, "%s", at->group);
        snprintf(row.layer, sizeof row.layer, "%s", layer);
        if (!append(table, &row)) return complain(at, "out of memory at", layer);
    }
    return true;
}

/* A word goes to the rows that know it. */
static bool set_word(const place *at, char *word, bench_row *rows, int count)
{
    char *equals = strchr(word, '=');
    bool known = false;
    if (equals) *equals = '\0';
    for (int i = 0; i < count; i++) known = rows[i].kind->set(&rows[i], word, equals ? equals + 1 : "") || known;
    return known || complain(at, "none of the ops knows the word", word);
}

static bool read_layer(const place *at, char *line, ptrdiff_t batch, bench_table *table)
{
    static const char *const blanks = " \t";
    const char *layer = strtok(line, blanks), *ops = strtok(NULL, blanks);
    const int first = table->count;
    if (!ops) return complain(at, "expected a layer and an op, not", line);
    if (batch < 1) return complain(at, "a line 'batch N' must come before", layer);
    bool good = append_ops(at, layer, ops, batch, table);
    for (char *word = strtok(NULL, blanks); good && word; word = strtok(NULL, blanks))
        good = set_word(at, word, table->rows + first, table->count - first);
    for (int i = first; good && i < table->count; i++)
        good =
            table->rows[i].kind->complete(&table->rows[i]) || complain(at, "the core cannot run", table->rows[i].name);
    return good;
}

bool bench_set_whole(const bench_whole *fields, size_t count, const char *name, const char *value)
{
    char *end;
    const long number = strtol(value, &end, 10);
    if (*value == '\0' || *end != '\0') return false;
    for (size_t i = 0; i < count; i++)
        if (strcmp(fields[i].name, name) == 0) {
            *fields[i].field = number;
            return true;
        }
    return false;
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
        if (!strchr(line, '\n') && !feof(file)) good = complain(&at, "too long a line", line);
        line[strcspn(line, "#\r\n")] = '\0';
        if (!good || line[strspn(line, " \t")] == '\0') continue;
        if (sscanf(line, "batch %td", &batch) != 1) good = read_layer(&at, line, batch, table);
    }
    fclose(file);
    return good;
}

void bench_free(bench_table *table)
{
    for (int i = 0; i < table->count; i++) bench_release(&table->rows[i]);
    free(table->rows);
    *table = (bench_table){0};
}
