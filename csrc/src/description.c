/* What a program's description is checked for before anything is allocated. Whoever wrote it, a program that is made
 * reads and writes nothing but its operands: the asserts of the ops are for our own mistakes. */
#include "internal.h"

/* The bytes that an instruction touches of one of its operands. */
typedef struct range {
    cnn_space space;
    int64_t start, end; /* of an external: its number, and none */
} range;

ptrdiff_t cnn_instruction_batch(const cnn_instruction *instruction, ptrdiff_t batch)
{
    if (!instruction->samples) return batch;
    return cnn_max(0, cnn_min(batch - instruction->first, instruction->samples));
}

static bool is_space(cnn_space space) { return space > CNN_SPACE_NONE && space < CNN_SPACE_COUNT; }

static bool spaces_fit(const cnn_program_description *d)
{
    for (int space = CNN_SPACE_NONE + 1; space < CNN_SPACE_COUNT; space++) {
        if (d->space_bytes[space] < 0 || d->space_bytes[space] > CNN_MAX_COUNT * (int64_t)sizeof(float)) return false;
        if (d->space_bytes[space] > 0 && (uintptr_t)d->spaces[space] % CNN_ALIGNMENT != 0) return false;
    }
    return true;
}

static bool counts_fit(const cnn_program_description *d)
{
    return d->instruction_count >= 0 && d->instruction_count <= CNN_MAX_EXTENT && d->operand_count >= 0 &&
           d->operand_count <= CNN_MAX_EXTENT && (d->instructions || d->instruction_count == 0) &&
           (d->operands || d->operand_count == 0);
}

static bool place_fits(const cnn_program_description *d, const cnn_operand *operand, int64_t needed)
{
    if (!is_space(operand->space) || operand->bytes < needed) return false;
    if (operand->space == CNN_SPACE_EXTERNAL) return operand->offset >= 0 && operand->offset < CNN_MAX_EXTERNALS;
    if (operand->offset < 0 || operand->offset % CNN_ALIGNMENT != 0) return false;
    if (operand->bytes > d->space_bytes[operand->space]) return false;
    if (operand->offset > d->space_bytes[operand->space] - operand->bytes) return false;
    return operand->space == CNN_SPACE_ARENA || d->spaces[operand->space];
}

/* The operand at a place of an instruction; NULL: it is absent. */
static const cnn_operand *operand_at(const cnn_program_description *d, const cnn_instruction *instruction, int place)
{
    return instruction->operands[place] < 0 ? NULL : &d->operands[instruction->operands[place]];
}

static int64_t bytes_at(const cnn_program_description *d, const cnn_instruction *instruction, int place)
{
    return cnn_operand_bytes(cnn_op_find(instruction->op), place, &instruction->geometry,
                             cnn_instruction_batch(instruction, d->max_batch));
}

static range range_of(const cnn_operand *operand, int64_t bytes)
{
    if (operand->space == CNN_SPACE_EXTERNAL) return (range){operand->space, operand->offset, operand->offset + 1};
    return (range){operand->space, operand->offset, operand->offset + bytes};
}

static bool overlap(range a, range b) { return a.space == b.space && a.start < b.end && b.start < a.end; }

static range range_at(const cnn_program_description *d, const cnn_instruction *instruction, int place)
{
    return range_of(operand_at(d, instruction, place), bytes_at(d, instruction, place));
}

/* Constants are looked at once, here: a run that wrote over them could make anything of what they say. */
static bool operands_fit(const cnn_program_description *d, const cnn_instruction *instruction, const cnn_op_info *info)
{
    for (int i = 0; i < CNN_MAX_OPERANDS; i++) {
        const int index = instruction->operands[i];
        if (i >= info->operand_count) {
            if (index >= 0) return false;
            continue;
        }
        const int64_t needed = bytes_at(d, instruction, i);
        if (!cnn_presence_fits(info, i, needed, index >= 0)) return false;
        if (index < 0) continue;
        if (index >= d->operand_count || !place_fits(d, &d->operands[index], needed)) return false;
        if (info->operands[i].use & CNN_WRITTEN && d->operands[index].space == CNN_SPACE_CONSTANTS) return false;
    }
    return true;
}

/* What is written overlaps nothing else of the instruction, but where the op works in place: exactly there. */
static bool is_apart(const cnn_program_description *d, const cnn_instruction *instruction, const cnn_op_info *info)
{
    for (int i = 0; i < info->operand_count; i++) {
        if (!(info->operands[i].use & CNN_WRITTEN) || !operand_at(d, instruction, i)) continue;
        for (int j = 0; j < info->operand_count; j++) {
            if (j == i || !operand_at(d, instruction, j)) continue;
            const range a = range_at(d, instruction, i), b = range_at(d, instruction, j);
            const bool same = a.start == b.start && bytes_at(d, instruction, i) == bytes_at(d, instruction, j);
            if (overlap(a, b) && !(i == 0 && same && info->operands[j].use & CNN_IN_PLACE)) return false;
        }
    }
    return true;
}

/* What is in a space that must not change while the program lives. */
static const void *constant_at(const cnn_program_description *d, const cnn_operand *operand)
{
    if (operand->space != CNN_SPACE_CONSTANTS) return NULL;
    return (const char *)d->spaces[CNN_SPACE_CONSTANTS] + operand->offset;
}

/* The segments lie in the optimiser's elements. They are read at every run, so they must be constants. */
static bool segments_fit(const cnn_program_description *d, const cnn_instruction *instruction, const cnn_op_info *info)
{
    for (int i = 0; i < info->operand_count; i++) {
        if (info->operands[i].type != CNN_SEGMENTS) continue;
        const cnn_segment *segments = constant_at(d, operand_at(d, instruction, i));
        if (!segments || !cnn_segments_fit(segments, &instruction->geometry.optimizer)) return false;
    }
    return true;
}

/* ---- where maxima were ------------------------------------------------------------------------------------------ */

/* The pooling of an instruction that writes or reads argmax. */
static cnn_pool2d_geometry pooling_of(const cnn_op_info *info, const cnn_geometry *geometry)
{
    cnn_pool2d_geometry pool = {.kh = 2, .kw = 2, .stride_h = 2, .stride_w = 2};
    if (info->geometry == CNN_GEOMETRY_pool2d) {
        pool = geometry->pool2d;
        pool.count_include_pad = 0;
        return pool;
    }
    if (info->geometry == CNN_GEOMETRY_conv2d)
        pool.h = geometry->conv2d.oh, pool.w = geometry->conv2d.ow, pool.c = geometry->conv2d.oc;
    else
        pool.h = geometry->norm.rows / geometry->norm.w, pool.w = geometry->norm.w, pool.c = geometry->norm.c;
    pool.oh = pool.h / 2, pool.ow = pool.w / 2;
    return pool;
}

static bool writes_into(const cnn_program_description *d, const cnn_instruction *instruction, range target)
{
    const cnn_op_info *info = cnn_op_find(instruction->op);
    for (int i = 0; i < info->operand_count; i++)
        if (info->operands[i].use & CNN_WRITTEN && operand_at(d, instruction, i) &&
            overlap(range_at(d, instruction, i), target))
            return true;
    return false;
}

/* Whether it writes what `reader` reads as argmax, of the same pooling and for the same samples. */
static bool writes_argmax(const cnn_instruction *instruction, const cnn_instruction *reader, int operand,
                          const cnn_pool2d_geometry *pool)
{
    const cnn_op_info *info = cnn_op_find(instruction->op);
    if (instruction->first != reader->first || instruction->samples != reader->samples) return false;
    for (int i = 0; i < info->operand_count; i++) {
        if (info->operands[i].extent != CNN_ARGMAX || !(info->operands[i].use & CNN_WRITTEN)) continue;
        if (instruction->operands[i] != operand) continue;
        const cnn_pool2d_geometry written = pooling_of(info, &instruction->geometry);
        return memcmp(&written, pool, sizeof written) == 0;
    }
    return false;
}

/* Whether every place lies in its window and in the map, or is none. */
static bool places_fit(const uint8_t *argmax, const cnn_pool2d_geometry *pool, ptrdiff_t batch)
{
    const ptrdiff_t row = pool->ow * pool->c;
    for (ptrdiff_t y = 0; y < batch * pool->oh; y++)
        for (ptrdiff_t i = 0; i < row; i++) {
            const ptrdiff_t tap = argmax[y * row + i];
            const ptrdiff_t h = y % pool->oh * pool->stride_h - pool->pad_top + tap / pool->kw;
            const ptrdiff_t w = i / pool->c * pool->stride_w - pool->pad_left + tap % pool->kw;
            const bool inside = h >= 0 && h < pool->h && w >= 0 && w < pool->w;
            if (tap != 255 && (tap >= pool->kh * pool->kw || !inside)) return false;
        }
    return true;
}

/* Whether the last instruction before `reader` that wrote into these bytes is the forward pass of the same pooling. */
static bool is_from_forward(const cnn_program_description *d, ptrdiff_t reader, int operand, range bytes,
                            const cnn_pool2d_geometry *pool)
{
    for (ptrdiff_t i = reader - 1; i >= 0; i--)
        if (writes_into(d, &d->instructions[i], bytes))
            return writes_argmax(&d->instructions[i], &d->instructions[reader], operand, pool);
    return false;
}

/* A backward pass writes where argmax says: what a forward pass left in the arena, or a constant that is looked at. */
static bool argmax_fits(const cnn_program_description *d, ptrdiff_t reader, const cnn_op_info *info)
{
    const cnn_instruction *instruction = &d->instructions[reader];
    for (int i = 0; i < info->operand_count; i++) {
        const cnn_operand *operand = operand_at(d, instruction, i);
        if (info->operands[i].extent != CNN_ARGMAX || !(info->operands[i].use & CNN_READ) || !operand) continue;
        const cnn_pool2d_geometry pool = pooling_of(info, &instruction->geometry);
        const uint8_t *constant = constant_at(d, operand);
        if (constant) return places_fit(constant, &pool, cnn_instruction_batch(instruction, d->max_batch));
        return operand->space == CNN_SPACE_ARENA &&
               is_from_forward(d, reader, instruction->operands[i], range_at(d, instruction, i), &pool);
    }
    return true;
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

/* Whether the window, if there is one, lies in the largest batch. An external begins with the first of all samples. */
static bool window_fits(const cnn_program_description *d, const cnn_instruction *instruction, const cnn_op_info *info)
{
    if (!instruction->samples) return instruction->first == 0;
    for (int i = 0; i < info->operand_count; i++) {
        const int index = instruction->operands[i];
        if (index >= 0 && index < d->operand_count && d->operands[index].space == CNN_SPACE_EXTERNAL) return false;
    }
    return instruction->first >= 0 && instruction->samples > 0 && instruction->first < d->max_batch &&
           instruction->samples <= d->max_batch - instruction->first;
}

static bool instruction_fits(const cnn_program_description *d, ptrdiff_t i)
{
    const cnn_instruction *instruction = &d->instructions[i];
    const cnn_op_info *info = cnn_op_find(instruction->op);
    return info && window_fits(d, instruction, info) &&
           cnn_batch_fits(info, &instruction->geometry, cnn_instruction_batch(instruction, d->max_batch)) &&
           operands_fit(d, instruction, info) && is_apart(d, instruction, info) && segments_fit(d, instruction, info) &&
           argmax_fits(d, i, info);
}

cnn_status cnn_description_check(const cnn_program_description *description, ptrdiff_t *detail)
{
    *detail = -1;
    if (description->max_batch < 1 || description->max_batch > CNN_MAX_COUNT) return CNN_BAD_BATCH;
    if (!counts_fit(description) || !spaces_fit(description)) return CNN_BAD_PROGRAM;
    for (ptrdiff_t i = 0; i < description->instruction_count; i++) {
        if (instruction_fits(description, i)) continue;
        *detail = i;
        return CNN_BAD_PROGRAM;
    }
    return CNN_OK;
}
