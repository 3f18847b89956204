/* Descriptions by whoever: each op alone in a program whose operands have exactly the bytes that they need, then with one
 * number of it changed. A description is refused with a status, or its program runs within its operands: sanitizers see
 * to that. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/geometry.h"
#include "op_cases.h"
#include "test.h"

enum { CASES_OF_AN_OP = 4 };

typedef struct described {
    const cnn_op_info *info;
    operand_set set;
    cnn_operand operands[CNN_MAX_OPERANDS];
    cnn_instruction instruction;
    cnn_program_description description;
    ptrdiff_t batch; /* that there is memory for */
} described;

static const ptrdiff_t hostile[] = {PTRDIFF_MIN,
                                    -1,
                                    0,
                                    1,
                                    2,
                                    255,
                                    CNN_MAX_PADDING + 1,
                                    1 << 20,
                                    INT_MAX,
                                    (ptrdiff_t)1 << 32,
                                    (ptrdiff_t)1 << 38,
                                    (ptrdiff_t)1 << 61,
                                    (ptrdiff_t)1 << 62,
                                    PTRDIFF_MAX};
enum { HOSTILE = sizeof hostile / sizeof hostile[0] };

/* What an op finds places by: a constant, as nothing in the program writes it. */
static bool is_table(const cnn_operand_info *info)
{
    return info->type == CNN_SEGMENTS || (info->extent == CNN_ARGMAX && info->use & CNN_READ);
}

static void describe(described *d, const op_case *one)
{
    memset(d, 0, sizeof *d);
    d->info = cnn_op_find(one->op), d->batch = one->batch;
    d->set = operands_describe(one->op, &one->geometry, one->batch);
    for (int i = 0; i < d->set.count; i++)
        if (one->absent & 1u << i) d->set.operands[i].count = 0, d->set.operands[i].bytes = 0;
    operands_allocate(&d->set);
    operands_fill(&d->set, &one->geometry, one->values, 11);
    d->instruction = (cnn_instruction){.op = one->op, .geometry = one->geometry};
    d->description = (cnn_program_description){.instructions = &d->instruction,
                                               .instruction_count = 1,
                                               .operands = d->operands,
                                               .operand_count = CNN_MAX_OPERANDS,
                                               .max_batch = one->batch};
    for (int i = 0; i < CNN_MAX_OPERANDS; i++) {
        const int64_t bytes = i < d->set.count ? (int64_t)d->set.operands[i].bytes : 0;
        d->instruction.operands[i] = i < d->set.count && d->set.operands[i].data ? i : -1;
        d->operands[i] = (cnn_operand){CNN_SPACE_EXTERNAL, i, bytes};
        if (i >= d->set.count || !is_table(&d->info->operands[i]) || !d->set.operands[i].data) continue;
        d->operands[i] = (cnn_operand){CNN_SPACE_CONSTANTS, 0, bytes};
        d->description.spaces[CNN_SPACE_CONSTANTS] = d->set.operands[i].data;
        d->description.space_bytes[CNN_SPACE_CONSTANTS] = bytes;
    }
}

/* The status of making it; what is made runs once, on as many samples as there is memory for. */
static cnn_status attempt(described *d)
{
    cnn_program *program;
    ptrdiff_t detail;
    const cnn_status status = cnn_program_create(&d->description, &program, &detail);
    if (status != CNN_OK) return status;
    cnn_run run = {.batch = d->batch < d->description.max_batch ? d->batch : d->description.max_batch, .seed = 1};
    for (int i = 0; i < d->set.count; i++) run.externals[i] = d->set.operands[i].data;
    (void)cnn_program_run(program, &run);
    cnn_program_destroy(program);
    return CNN_OK;
}

static bool is_refused(cnn_status status)
{
    return status == CNN_BAD_PROGRAM || status == CNN_BAD_BATCH || status == CNN_OUT_OF_MEMORY;
}

/* Every whole number of the geometry in turn: whatever it is now, the bytes of the operands are as before. */
static void changed_fields(described *d)
{
    const cnn_geometry_info *kind = cnn_geometry_find((int)d->info->geometry);
    for (int i = 0; i < kind->field_count; i++) {
        if (kind->fields[i].real) continue;
        ptrdiff_t *field = (ptrdiff_t *)(void *)((char *)&d->instruction.geometry + kind->fields[i].offset);
        const ptrdiff_t before = *field;
        for (int j = 0; j < HOSTILE; j++) {
            *field = hostile[j];
            const cnn_status status = attempt(d);
            const bool outside =
                (double)hostile[j] < kind->fields[i].least || (double)hostile[j] > kind->fields[i].most;
            test_expect(status == CNN_OK || is_refused(status), "%s %td: status %d", kind->fields[i].name, hostile[j],
                        (int)status);
            test_expect(!outside || status == CNN_BAD_PROGRAM, "%s %td is outside its limits, but accepted",
                        kind->fields[i].name, hostile[j]);
        }
        *field = before;
    }
}

static void changed_operands(described *d)
{
    for (int i = 0; i < d->set.count; i++) {
        const char *name = d->info->operands[i].name;
        if (!d->set.operands[i].data) continue;
        const cnn_operand before = d->operands[i];
        d->operands[i].bytes -= 1;
        test_expect(attempt(d) == CNN_BAD_PROGRAM, "a byte less of %s", name);
        d->operands[i].bytes = 0;
        test_expect(attempt(d) == CNN_BAD_PROGRAM, "nothing of %s", name);
        d->operands[i] = before;
        for (int j = 0; j < HOSTILE; j++) {
            if (hostile[j] >= 0 && hostile[j] < CNN_MAX_EXTERNALS) continue;
            d->operands[i].offset = hostile[j];
            test_expect(attempt(d) == CNN_BAD_PROGRAM, "%s at %td", name, hostile[j]);
        }
        d->operands[i] = before;
        d->instruction.operands[i] = -1;
        const bool optional = d->info->operands[i].use & CNN_OPTIONAL;
        const bool needed = (d->info->operands[i].use & CNN_NEEDED) == CNN_NEEDED;
        test_expect((attempt(d) == CNN_OK) == (optional && !needed), "without %s", name);
        d->instruction.operands[i] = CNN_MAX_OPERANDS;
        test_expect(attempt(d) == CNN_BAD_PROGRAM, "%s behind the table", name);
        d->instruction.operands[i] = i;
    }
}

static void changed_batch(described *d)
{
    bool per_sample = false;
    for (int i = 0; i < d->set.count; i++)
        per_sample = per_sample || (d->set.operands[i].data && d->info->operands[i].extent < CNN_WEIGHTS);
    for (int j = 0; j < HOSTILE; j++) {
        d->description.max_batch = hostile[j];
        const cnn_status status = attempt(d);
        const bool fits = hostile[j] >= 1 && (hostile[j] <= d->batch || (!per_sample && hostile[j] <= CNN_MAX_COUNT));
        test_expect(fits ? status == CNN_OK : is_refused(status), "%td samples: status %d", hostile[j], (int)status);
    }
    d->description.max_batch = d->batch;
}

static void changed_spaces(described *d)
{
    for (int space = 0; space < CNN_SPACE_COUNT; space++) {
        const int64_t before = d->description.space_bytes[space];
        d->description.space_bytes[space] = -1;
        test_expect(attempt(d) == CNN_BAD_PROGRAM || space == CNN_SPACE_NONE, "space %d of -1 bytes", space);
        d->description.space_bytes[space] = INT64_MAX;
        test_expect(attempt(d) == CNN_BAD_PROGRAM || space == CNN_SPACE_NONE, "space %d of 2^63 - 1 bytes", space);
        d->description.space_bytes[space] = before;
    }
    const ptrdiff_t counts[] = {-1, PTRDIFF_MAX};
    for (int i = 0; i < 2; i++) {
        d->description.instruction_count = counts[i];
        test_expect(attempt(d) == CNN_BAD_PROGRAM, "%td instructions", counts[i]);
        d->description.instruction_count = 1, d->description.operand_count = counts[i];
        test_expect(attempt(d) == CNN_BAD_PROGRAM, "%td operands", counts[i]);
        d->description.operand_count = CNN_MAX_OPERANDS;
    }
}

/* What is written over what is read, where the op does not work in place. */
static void overlapping(described *d)
{
    for (int i = 0; i < d->set.count; i++)
        for (int j = 0; j < d->set.count; j++) {
            if (i == j || !d->set.operands[i].data || !d->set.operands[j].data) continue;
            if (!(d->info->operands[i].use & CNN_WRITTEN) || is_table(&d->info->operands[j])) continue;
            const bool in_place = i == 0 && d->info->operands[j].use & CNN_IN_PLACE &&
                                  d->set.operands[i].bytes == d->set.operands[j].bytes;
            const cnn_operand before = d->operands[i];
            d->operands[i].offset = d->operands[j].offset;
            if (!in_place)
                test_expect(attempt(d) == CNN_BAD_PROGRAM, "%s over %s", d->info->operands[i].name,
                            d->info->operands[j].name);
            d->operands[i] = before;
        }
}

/* The memory is there and large enough, and would be changed. */
static void written_constants(described *d)
{
    void *memory = d->description.spaces[CNN_SPACE_CONSTANTS];
    const int64_t bytes = d->description.space_bytes[CNN_SPACE_CONSTANTS];
    for (int i = 0; i < d->set.count; i++) {
        operand *written = &d->set.operands[i];
        if (!(d->info->operands[i].use & CNN_WRITTEN) || !written->data) continue;
        const cnn_operand before = d->operands[i];
        d->operands[i] = (cnn_operand){CNN_SPACE_CONSTANTS, 0, (int64_t)written->bytes};
        d->description.spaces[CNN_SPACE_CONSTANTS] = written->data;
        d->description.space_bytes[CNN_SPACE_CONSTANTS] = (int64_t)written->bytes;
        test_expect(attempt(d) == CNN_BAD_PROGRAM, "%s among the constants", written->name);
        d->operands[i] = before;
    }
    d->description.spaces[CNN_SPACE_CONSTANTS] = memory;
    d->description.space_bytes[CNN_SPACE_CONSTANTS] = bytes;
}

static void places_that_are_none(described *d)
{
    for (int i = 0; i < d->set.count; i++) {
        if (!is_table(&d->info->operands[i]) || !d->set.operands[i].data) continue;
        operand *table = &d->set.operands[i];
        d->operands[i] = (cnn_operand){CNN_SPACE_EXTERNAL, i, (int64_t)table->bytes};
        test_expect(attempt(d) == CNN_BAD_PROGRAM, "an external %s", table->name);
        d->operands[i] = (cnn_operand){CNN_SPACE_CONSTANTS, 0, (int64_t)table->bytes};
        if (table->type == CNN_U8) {
            uint8_t *last = (uint8_t *)table->data + table->count - 1, before = *last;
            *last = 254;
            test_expect(attempt(d) == CNN_BAD_PROGRAM, "a place of 254");
            *last = before;
            continue;
        }
        cnn_segment *segment = (cnn_segment *)table->data + table->count - 1, before = *segment;
        const int64_t wrong[][2] = {
            {-1, 1}, {0, -1}, {before.offset, before.count + 4}, {INT64_MAX, 1}, {1, INT64_MAX}};
        for (size_t k = 0; k < sizeof wrong / sizeof wrong[0]; k++) {
            segment->offset = wrong[k][0], segment->count = wrong[k][1];
            test_expect(attempt(d) == CNN_BAD_PROGRAM, "a segment of %lld from %lld", (long long)segment->count,
                        (long long)segment->offset);
        }
        *segment = before;
    }
}

static void visit(const op_case *one)
{
    static int seen[CNN_OP_COUNT];
    char text[GEOMETRY_TEXT];
    if (one->alias || seen[one->op] >= CASES_OF_AN_OP) return;
    seen[one->op]++;
    described d;
    describe(&d, one);
    geometry_print(d.info->geometry, &one->geometry, text);
    test_begin("description %s batch=%td %s absent=%x", d.info->name, one->batch, text, one->absent);
    if (test_expect(attempt(&d) == CNN_OK, "is refused as it is")) {
        changed_operands(&d);
        changed_batch(&d);
        changed_spaces(&d);
        overlapping(&d);
        written_constants(&d);
        places_that_are_none(&d);
        changed_fields(&d);
        test_expect(attempt(&d) == CNN_OK, "is refused in the end");
    }
    test_end();
    operands_free(&d.set);
}

/* A pooled backward pass in the arena: its argmax must be what the forward pass of the same pooling wrote last. */
static void argmax_in_the_arena(void)
{
    const cnn_pool2d_geometry pool = {
        .h = 4, .w = 4, .c = 3, .kh = 2, .kw = 2, .oh = 2, .ow = 2, .stride_h = 2, .stride_w = 2};
    enum { MAP = 4 * 4 * 3 * 4, POOLED = 2 * 2 * 3 * 4 }; /* bytes: 192, 48 */
    enum { SRC, DST, ARGMAX, DIFF_SRC, DIFF_DST, OPERANDS };
    const cnn_operand operands[OPERANDS] = {{CNN_SPACE_EXTERNAL, 0, MAP},
                                            {CNN_SPACE_ARENA, 0, POOLED},
                                            {CNN_SPACE_ARENA, 64, POOLED / 4},
                                            {CNN_SPACE_ARENA, 128, MAP},
                                            {CNN_SPACE_EXTERNAL, 1, POOLED}};
    cnn_instruction forward = {.op = CNN_OP_maxpool2d_forward, .operands = {DST, ARGMAX, SRC}};
    cnn_instruction backward = {.op = CNN_OP_maxpool2d_backward, .operands = {DIFF_SRC, DIFF_DST, ARGMAX}};
    cnn_instruction over = {.op = CNN_OP_relu_forward, .operands = {ARGMAX, DIFF_DST}};
    for (int i = 3; i < CNN_MAX_OPERANDS; i++) forward.operands[i] = backward.operands[i] = over.operands[i] = -1;
    over.operands[2] = -1;
    forward.geometry.pool2d = backward.geometry.pool2d = pool;
    over.geometry.elementwise.count = 3;
    cnn_instruction narrow = forward;
    narrow.geometry.pool2d.w = 3, narrow.geometry.pool2d.stride_w = 1;
    const struct {
        const char *what;
        cnn_instruction instructions[3];
        ptrdiff_t count;
        cnn_status expected;
    } rows[] = {{"written before", {forward, backward}, 2, CNN_OK},
                {"written never", {backward}, 1, CNN_BAD_PROGRAM},
                {"written after", {backward, forward}, 2, CNN_BAD_PROGRAM},
                {"written over", {forward, over, backward}, 3, CNN_BAD_PROGRAM},
                {"written again", {over, forward, backward}, 3, CNN_OK},
                {"of another pooling", {narrow, backward}, 2, CNN_BAD_PROGRAM}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cnn_program_description description = {.instructions = rows[i].instructions,
                                               .instruction_count = rows[i].count,
                                               .operands = operands,
                                               .operand_count = OPERANDS,
                                               .max_batch = 1};
        description.space_bytes[CNN_SPACE_ARENA] = 128 + MAP;
        cnn_program *program;
        ptrdiff_t detail;
        test_begin("description: an argmax %s", rows[i].what);
        const cnn_status status = cnn_program_create(&description, &program, &detail);
        test_expect(status == rows[i].expected, "status %d at %td", (int)status, detail);
        cnn_program_destroy(program);
        test_end();
    }
}

void suite_description(void)
{
    each_op_case(visit);
    argmax_in_the_arena();
}
