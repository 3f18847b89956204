/* Rows of the registry's ops, in the form in which a plan has them: operands that are absent, that share memory, and
 * instructions of one worker. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

#include "common/geometry.h"

static int find_operand(const bench_op *o, const char *name)
{
    const cnn_op_info *info = cnn_op_find(o->op);
    for (int i = 0; i < info->operand_count; i++)
        if (strcmp(info->operands[i].name, name) == 0) return i;
    return -1;
}

static int use_of(const bench_op *o, int operand) { return cnn_op_find(o->op)->operands[operand].use; }

static bool leave_out(bench_op *o, const char *name)
{
    const int operand = find_operand(o, name);
    if (operand < 0 || !(use_of(o, operand) & CNN_OPTIONAL)) return false;
    o->absent |= 1u << operand;
    return true;
}

/* What is written may lie over what the registry says; what is only read over anything. */
static bool share_memory(bench_op *o, const char *name, const char *other)
{
    const int operand = find_operand(o, name), under = find_operand(o, other);
    if (operand < 0 || under < 0 || operand == under) return false;
    if ((use_of(o, operand) & CNN_WRITTEN) && !(operand == 0 && (use_of(o, under) & CNN_IN_PLACE))) return false;
    o->over[operand] = under;
    return true;
}

static bool set_pads(cnn_geometry_kind kind, cnn_geometry *geometry, double pad)
{
    static const char *const names[] = {"pad_top", "pad_left", "pad_bottom", "pad_right"};
    bool known = false;
    for (int i = 0; i < 4; i++) known = geometry_set(kind, geometry, names[i], pad) || known;
    return known;
}

static bool set(bench_row *row, const char *name, const char *value)
{
    bench_op *o = &row->as.op;
    const cnn_geometry_kind kind = cnn_op_find(o->op)->geometry;
    if (*value == '\0') {
        if (*name == '-') return leave_out(o, name + 1);
        o->alone = o->alone || strcmp(name, "alone") == 0;
        return strcmp(name, "alone") == 0;
    }
    char *end;
    const double number = strtod(value, &end);
    if (*end != '\0') return share_memory(o, name, value);
    if (strcmp(name, "pad") == 0) return set_pads(kind, &o->geometry, number);
    return geometry_set(kind, &o->geometry, name, number);
}

/* ---- running ------------------------------------------------------------------------------------------------------ */

static bool complete(bench_row *row)
{
    bench_op *o = &row->as.op;
    geometry_complete(cnn_op_find(o->op)->geometry, &o->geometry);
    if (!cnn_geometry_fits(cnn_op_find(o->op), &o->geometry)) return false;
    const operand_set set = operands_describe(o->op, &o->geometry, row->batch);
    for (int i = 0; i < set.count; i++) {
        const int under = o->over[i];
        if (o->over[under] != under || (under != i && o->absent & 1u << under)) return false;
        if (set.operands[i].count != set.operands[under].count) return false;
    }
    return set.count <= CNN_MAX_EXTERNALS;
}

static bool prepare(bench_row *row)
{
    bench_op *o = &row->as.op;
    operand_set set = operands_describe(o->op, &o->geometry, row->batch);
    for (int i = 0; i < set.count; i++)
        if (o->absent & 1u << i) set.operands[i].count = 0, set.operands[i].bytes = 0;
    o->operands = set;
    for (int i = 0; i < set.count; i++)
        if (o->over[i] != i) o->operands.operands[i].count = 0;
    operands_allocate(&o->operands);
    for (int i = 0; i < set.count; i++) {
        o->operands.operands[i].count = set.operands[i].count;
        if (o->over[i] != i) o->operands.operands[i].data = o->operands.operands[o->over[i]].data;
    }
    operands_fill(&o->operands, &o->geometry, VALUES_UNIFORM, 3);
    return true;
}

/* What an op finds places by: a program is checked for it, so it must be a constant. */
static bool is_table(const bench_op *o, int operand)
{
    const cnn_operand_info *info = &cnn_op_find(o->op)->operands[operand];
    return info->type == CNN_SEGMENTS || (info->extent == CNN_ARGMAX && info->use & CNN_READ);
}

/* A program of the same instruction again and again, so that opening the team weighs as little as in a training step.
 * Every operand but a table is an external: its memory is allocated and touched once, as in an arena. */
static bool make_program(bench_row *row)
{
    static cnn_instruction instructions[BENCH_REPEATS];
    bench_op *o = &row->as.op;
    cnn_operand operands[CNN_MAX_OPERANDS];
    cnn_instruction instruction = {.op = o->op, .geometry = o->geometry, .alone = o->alone};
    for (int i = 0; i < CNN_MAX_OPERANDS; i++) instruction.operands[i] = -1;
    cnn_program_description description = {.instructions = instructions,
                                           .instruction_count = row->repeats,
                                           .operands = operands,
                                           .operand_count = o->operands.count,
                                           .max_batch = row->batch};
    for (int i = 0; i < o->operands.count; i++) {
        const operand *from = &o->operands.operands[i];
        operands[i] = (cnn_operand){CNN_SPACE_EXTERNAL, i, (int64_t)from->bytes};
        if (!from->data) continue;
        instruction.operands[i] = i;
        if (!is_table(o, i)) continue; /* an op has one at most */
        operands[i] = (cnn_operand){CNN_SPACE_CONSTANTS, 0, (int64_t)from->bytes};
        description.spaces[CNN_SPACE_CONSTANTS] = from->data;
        description.space_bytes[CNN_SPACE_CONSTANTS] = (int64_t)from->bytes;
    }
    for (int i = 0; i < row->repeats; i++) instructions[i] = instruction;
    ptrdiff_t detail;
    cnn_program_destroy(o->program);
    return cnn_program_create(&description, &o->program, &detail) == CNN_OK;
}

static double run(bench_row *row, bool changed)
{
    bench_op *o = &row->as.op;
    if (changed && !make_program(row)) return -1.0;
    cnn_run run = {.batch = row->batch, .seed = 1};
    for (int i = 0; i < o->operands.count; i++) run.externals[i] = o->operands.operands[i].data;
    return cnn_program_run(o->program, &run) == CNN_OK ? run.elapsed : -1.0;
}

static void release(bench_row *row)
{
    cnn_program_destroy(row->as.op.program);
    operands_free(&row->as.op.operands);
    row->as.op.program = NULL;
}

/* ---- what it is --------------------------------------------------------------------------------------------------- */

static double flops(const bench_row *row) { return geometry_flops(row->as.op.op, &row->as.op.geometry, row->batch); }

/* Of a wider row, copy_channels touches a slice. */
static double touched_share(const bench_op *o, int operand)
{
    if (cnn_op_find(o->op)->geometry != CNN_GEOMETRY_slice) return 1.0;
    const cnn_slice_geometry *g = &o->geometry.slice;
    return (double)g->channels / (double)(operand == CNN_copy_channels_dst ? g->dst_stride : g->src_stride);
}

static double bytes(const bench_row *row)
{
    const bench_op *o = &row->as.op;
    double sum = 0.0;
    for (int i = 0; i < o->operands.count; i++) {
        if (o->over[i] != i && !(use_of(o, i) & CNN_WRITTEN)) continue; /* read already, under another name */
        const int passes = !!(use_of(o, i) & CNN_READ) + !!(use_of(o, i) & CNN_WRITTEN);
        sum += passes * touched_share(o, i) * (double)o->operands.operands[i].bytes;
    }
    return sum;
}

static void add_word(char form[BENCH_FORM], const char *word)
{
    const size_t length = strlen(form);
    if (*word) snprintf(form + length, BENCH_FORM - length, "%s%s", length ? " " : "", word);
}

static const char *variant_name(cnn_variant variant)
{
    switch (variant) {
    case CNN_VARIANT_USUAL: break;
    case CNN_VARIANT_LANES: return "lanes";
    case CNN_VARIANT_SPARSE: return "sparse";
    case CNN_VARIANT_PICK: return "pick";
    case CNN_VARIANT_FEW_ROWS: return "few rows";
    case CNN_VARIANT_DEPTHWISE: return "depthwise";
    }
    return "";
}

/* A whole number of the geometry by its name; 0 where it has none. */
static ptrdiff_t number(const bench_op *o, const char *field)
{
    const cnn_geometry_info *info = cnn_geometry_find((int)cnn_op_find(o->op)->geometry);
    for (int i = 0; i < info->field_count; i++)
        if (strcmp(info->fields[i].name, field) == 0 && !info->fields[i].real)
            return *(const ptrdiff_t *)(const void *)((const char *)&o->geometry + info->fields[i].offset);
    return 0;
}

static void describe(const bench_row *row, char form[BENCH_FORM])
{
    const bench_op *o = &row->as.op;
    form[0] = '\0';
    add_word(form, variant_name(cnn_op_blocking(o->op, &o->geometry, row->batch).variant));
    const char *activation = cnn_activation_name((int)number(o, "activation"));
    add_word(form, activation ? activation : "");
    add_word(form, number(o, "pool") ? "maxpool" : "");
    for (int i = 0; i < o->operands.count; i++) {
        char word[BENCH_NAME];
        snprintf(word, sizeof word, "-%s", o->operands.operands[i].name);
        add_word(form, o->absent & 1u << i ? word : "");
    }
    add_word(form, o->over[0] != 0 ? "in place" : "");
    add_word(form, o->alone ? "alone" : "");
}

const bench_kind bench_op_kind = {.set = set,
                                  .complete = complete,
                                  .prepare = prepare,
                                  .run = run,
                                  .release = release,
                                  .flops = flops,
                                  .bytes = bytes,
                                  .describe = describe};
