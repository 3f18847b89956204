/* Fuzzes cnn_program_create() and cnn_program_run() with descriptions that are nearly right.
 *
 * The input is read as a list of instructions. Each has an op, small or hostile numbers in its geometry, and operands of
 * exactly the bytes that it needs in the arena, in an external or among the constants; then some of them are bent: another
 * offset, fewer bytes, another operand's place, absent. What the core accepts is run twice, with externals of exactly
 * the promised size, so that AddressSanitizer sees every byte that is touched beyond them. */
#include <stdlib.h>
#include <string.h>

#include "cnn.h"

enum { MOST_INSTRUCTIONS = 4, MOST_OPERANDS = MOST_INSTRUCTIONS * CNN_MAX_OPERANDS, MOST_BYTES = 1 << 18 };

typedef struct input {
    const uint8_t *data;
    size_t size;
} input;

static unsigned take(input *in)
{
    if (in->size == 0) return 0;
    in->size--;
    return *in->data++;
}

/* Mostly what a layer has; now and then something that no layer has. */
static ptrdiff_t whole(input *in, const cnn_geometry_field *field)
{
    static const ptrdiff_t odd[] = {PTRDIFF_MIN,
                                    -1,
                                    0,
                                    CNN_MAX_PADDING + 1,
                                    CNN_MAX_EXTENT,
                                    (ptrdiff_t)CNN_MAX_EXTENT + 1,
                                    CNN_MAX_COUNT,
                                    (ptrdiff_t)1 << 61,
                                    (ptrdiff_t)1 << 62,
                                    PTRDIFF_MAX};
    const unsigned value = take(in);
    if (value >= 246) return odd[value - 246];
    const ptrdiff_t span = (ptrdiff_t)(field->most - field->least);
    return (ptrdiff_t)field->least + (ptrdiff_t)(span < 24 ? value % (unsigned)(span + 1) : value % 24);
}

static void fill_geometry(input *in, const cnn_geometry_info *kind, cnn_geometry *geometry)
{
    memset(geometry, 0, sizeof *geometry);
    for (int i = 0; i < kind->field_count; i++) {
        const cnn_geometry_field *field = &kind->fields[i];
        char *at = (char *)geometry + field->offset;
        if (field->real)
            *(float *)(void *)at = (float)take(in) / 256.0f;
        else
            *(ptrdiff_t *)(void *)at = whole(in, field);
    }
}

static bool are_small(const ptrdiff_t *values, int count)
{
    for (int i = 0; i < count; i++)
        if (values[i] < 0 || values[i] > 64) return false;
    return true;
}

/* Of most geometries some numbers follow from the rest: few random ones would fit. */
static void complete(input *in, const cnn_op_info *info, cnn_geometry *geometry)
{
    if (take(in) % 8 == 0) return;
    const cnn_geometry_info *kind = cnn_geometry_find((int)info->geometry);
    for (int i = 0; i < kind->field_count; i++)
        if (!kind->fields[i].real && !are_small((ptrdiff_t *)(void *)((char *)geometry + kind->fields[i].offset), 1))
            return;
    if (info->geometry == CNN_GEOMETRY_conv2d) {
        cnn_conv2d_geometry *g = &geometry->conv2d;
        if (g->stride_h < 1 || g->stride_w < 1 || g->groups < 1) return;
        g->ic = g->ic / g->groups * g->groups, g->oc = g->oc / g->groups * g->groups;
        g->oh = (g->h + g->pad_top + g->pad_bottom - g->dilation_h * (g->kh - 1) - 1) / g->stride_h + 1;
        g->ow = (g->w + g->pad_left + g->pad_right - g->dilation_w * (g->kw - 1) - 1) / g->stride_w + 1;
        g->pool = g->pool == 1 ? 2 : g->pool;
    } else if (info->geometry == CNN_GEOMETRY_pool2d) {
        cnn_pool2d_geometry *g = &geometry->pool2d;
        if (g->stride_h < 1 || g->stride_w < 1 || g->kh < 1 || g->kw < 1) return;
        g->pad_top %= g->kh, g->pad_left %= g->kw;
        g->oh = (g->h + g->pad_top - 1) / g->stride_h + 1, g->ow = (g->w + g->pad_left - 1) / g->stride_w + 1;
    } else if (info->geometry == CNN_GEOMETRY_norm) {
        cnn_norm_geometry *g = &geometry->norm;
        g->pool = g->pool == 1 ? 2 : g->pool;
        if (g->pool == 2 && g->w >= 2) g->rows *= g->w;
    } else if (info->geometry == CNN_GEOMETRY_slice) {
        cnn_slice_geometry *g = &geometry->slice;
        g->src_stride = g->channels + g->src_offset + 1, g->dst_stride = g->channels + g->dst_offset;
    }
}

typedef struct program {
    cnn_instruction instructions[MOST_INSTRUCTIONS];
    cnn_operand operands[MOST_OPERANDS];
    int operand_count, externals;
    int64_t arena, constants;
    cnn_program_description description;
} program;

static int64_t aligned(int64_t bytes) { return (bytes + CNN_ALIGNMENT - 1) / CNN_ALIGNMENT * CNN_ALIGNMENT; }

/* An operand of its own, or one that an instruction before has used. */
static int place(input *in, program *p, const cnn_operand_info *info, int64_t bytes)
{
    const unsigned choice = take(in);
    if (choice % 4 == 0 && p->operand_count > 0) return (int)(choice / 4 % (unsigned)p->operand_count);
    cnn_operand *operand = &p->operands[p->operand_count];
    if (info->type == CNN_SEGMENTS || (info->type == CNN_U8 && info->use & CNN_READ && choice % 4 == 1)) {
        *operand = (cnn_operand){CNN_SPACE_CONSTANTS, p->constants, bytes};
        p->constants += aligned(bytes);
    } else if (choice % 4 == 2 && p->externals < CNN_MAX_EXTERNALS) {
        *operand = (cnn_operand){CNN_SPACE_EXTERNAL, p->externals++, bytes};
    } else {
        *operand = (cnn_operand){CNN_SPACE_ARENA, p->arena, bytes};
        p->arena += aligned(bytes);
    }
    return p->operand_count++;
}

/* Whether it is small enough to be run. */
static bool add_instruction(input *in, program *p, ptrdiff_t batch)
{
    cnn_instruction *instruction = &p->instructions[p->description.instruction_count];
    instruction->op = (int)(take(in) % CNN_OP_COUNT);
    const cnn_op_info *info = cnn_op_find(instruction->op);
    fill_geometry(in, cnn_geometry_find((int)info->geometry), &instruction->geometry);
    complete(in, info, &instruction->geometry);
    const bool fits = cnn_batch_fits(info, &instruction->geometry, batch);
    const unsigned absent = take(in);
    instruction->alone = absent & 128;
    for (int i = 0; i < CNN_MAX_OPERANDS; i++) {
        instruction->operands[i] = -1;
        if (i >= info->operand_count) continue;
        const int64_t bytes = fits ? cnn_operand_bytes(info, i, &instruction->geometry, batch) : 64;
        if (bytes > MOST_BYTES) return false;
        const bool needed = (info->operands[i].use & CNN_NEEDED) == CNN_NEEDED;
        if (needed ? bytes == 0 : info->operands[i].use & CNN_OPTIONAL && absent >> (i % 7) & 1) continue;
        instruction->operands[i] = place(in, p, &info->operands[i], bytes);
    }
    p->description.instruction_count++;
    return true;
}

static void bend(input *in, program *p)
{
    for (unsigned changes = take(in) % 4; changes > 0 && p->operand_count > 0; changes--) {
        cnn_operand *operand = &p->operands[take(in) % (unsigned)p->operand_count];
        cnn_instruction *instruction = &p->instructions[take(in) % (unsigned)p->description.instruction_count];
        const unsigned what = take(in), amount = take(in);
        switch (what % 7) {
        case 0: operand->bytes -= (int64_t)amount; break;
        case 1: operand->offset += ((int64_t)amount - 128) * CNN_ALIGNMENT; break;
        case 2: operand->space = (cnn_space)(amount % (CNN_SPACE_COUNT + 1)); break;
        case 3: instruction->operands[amount % CNN_MAX_OPERANDS] = (int)(what / 7) % (p->operand_count + 2) - 1; break;
        case 4: p->arena -= (int64_t)amount * 16; break;
        case 5:
            instruction->first = (ptrdiff_t)(amount % 6) - 1, instruction->samples = (ptrdiff_t)(what / 7 % 6) - 1;
            break;
        default: p->description.max_batch = amount < 8 ? INT64_MAX >> amount : (ptrdiff_t)amount % 9; break;
        }
    }
}

/* The bytes of all operands that are the same external. */
static size_t external_bytes(const program *p, int64_t number)
{
    int64_t most = 0;
    for (int i = 0; i < p->operand_count; i++)
        if (p->operands[i].space == CNN_SPACE_EXTERNAL && p->operands[i].offset == number &&
            p->operands[i].bytes > most)
            most = p->operands[i].bytes;
    return (size_t)most;
}

static void fill(uint8_t *memory, size_t bytes, unsigned seed)
{
    for (size_t i = 0; i < bytes; i++) memory[i] = (uint8_t)((i * 37 + seed) % 251 % 5); /* tiny floats, labels, taps */
}

static void run(cnn_program *made, const program *p)
{
    cnn_run state = {.seed = 3, .learning_rate = 0.01};
    for (int i = 0; i < CNN_MAX_EXTERNALS; i++) {
        const size_t bytes = external_bytes(p, i);
        state.externals[i] = malloc(bytes ? bytes : 1);
        if (!state.externals[i]) abort();
        fill(state.externals[i], bytes, (unsigned)i);
    }
    state.batch = p->description.max_batch;
    (void)cnn_program_run(made, &state);
    state.batch = 1, state.step = 1, state.check_outputs = true;
    (void)cnn_program_run(made, &state);
    for (int i = 0; i < CNN_MAX_EXTERNALS; i++) free(state.externals[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static program p;
    input in = {data, size};
    memset(&p, 0, sizeof p);
    p.description.max_batch = 1 + take(&in) % 4;
    cnn_set_threads(1 + (int)(take(&in) % 2));
    const unsigned count = 1 + take(&in) % MOST_INSTRUCTIONS;
    const ptrdiff_t batch = p.description.max_batch;
    for (unsigned i = 0; i < count; i++)
        if (!add_instruction(&in, &p, batch)) return 0;
    bend(&in, &p);
    if (p.arena > 16 * MOST_BYTES) return 0;
    uint8_t *constants = p.constants > 0 ? aligned_alloc(CNN_ALIGNMENT, (size_t)p.constants) : NULL;
    if (constants) {
        memset(constants, 0, (size_t)p.constants);
        for (int64_t i = 0; i < p.constants && take(&in) % 2; i += 8) constants[i] = (uint8_t)take(&in);
    }
    p.description.instructions = p.instructions;
    p.description.operands = p.operands;
    p.description.operand_count = p.operand_count;
    p.description.space_bytes[CNN_SPACE_ARENA] = p.arena;
    p.description.spaces[CNN_SPACE_CONSTANTS] = constants;
    p.description.space_bytes[CNN_SPACE_CONSTANTS] = p.constants;
    cnn_program *made;
    ptrdiff_t detail;
    const cnn_status status = cnn_program_create(&p.description, &made, &detail);
    if (status == CNN_OK) {
        run(made, &p);
        cnn_program_destroy(made);
    }
    free(constants);
    return 0;
}
