#define _POSIX_C_SOURCE 200112L
#include "common/operands.h"
#include "internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is(const char *name, const char *other) { return strcmp(name, other) == 0; }

static ptrdiff_t padded(ptrdiff_t columns) { return (columns + CNN_PANEL - 1) / CNN_PANEL * CNN_PANEL; }

static size_t element_bytes(cnn_operand_type type)
{
    switch (type) {
    case CNN_U8:
    case CNN_I8: return 1;
    case CNN_I16: return sizeof(int16_t);
    case CNN_I32: return sizeof(int32_t);
    case CNN_I64: return sizeof(int64_t);
    case CNN_SEGMENTS: return sizeof(cnn_segment);
    case CNN_F32: break;
    }
    return sizeof(float);
}

operand_set operands_describe(int op, const cnn_geometry *geometry, ptrdiff_t batch)
{
    const cnn_op_info *info = cnn_op_find(op);
    operand_set set = {.op = op, .count = info->operand_count};
    for (int i = 0; i < set.count; i++) {
        operand *o = &set.operands[i];
        o->name = info->operands[i].name;
        o->type = info->operands[i].type;
        o->output = (info->operands[i].use & CNN_UPDATED) == CNN_WRITTEN;
        o->bytes = (size_t)cnn_operand_bytes(info, i, geometry, batch);
        o->count = (ptrdiff_t)(o->bytes / element_bytes(o->type));
    }
    return set;
}

/* ---- memory -------------------------------------------------------------------------------------------------- */

static void *exact(size_t bytes)
{
    void *memory = NULL;
    if (posix_memalign(&memory, CNN_ALIGNMENT, bytes ? bytes : 1) != 0) {
        fputs("error: out of memory\n", stderr);
        exit(2);
    }
    return memory;
}

void operands_allocate(operand_set *set)
{
    for (int i = 0; i < set->count; i++)
        if (set->operands[i].count > 0) set->operands[i].data = exact(set->operands[i].bytes);
}

/* The first operand with the same memory; i itself when there is none before. */
static int owner(const operand_set *set, int i)
{
    for (int other = 0; other < i; other++)
        if (set->operands[other].data == set->operands[i].data) return other;
    return i;
}

void operands_free(operand_set *set)
{
    for (int i = set->count - 1; i >= 0; i--)
        if (owner(set, i) == i) free(set->operands[i].data);
    for (int i = 0; i < set->count; i++) set->operands[i].data = NULL;
}

operand_set operands_copy(const operand_set *set)
{
    operand_set copy = *set;
    for (int i = 0; i < set->count; i++) {
        const operand *from = &set->operands[i];
        if (!from->data) continue;
        if (owner(set, i) != i) {
            copy.operands[i].data = copy.operands[owner(set, i)].data;
            continue;
        }
        copy.operands[i].data = exact(from->bytes);
        memcpy(copy.operands[i].data, from->data, from->bytes);
    }
    return copy;
}

/* ---- values -------------------------------------------------------------------------------------------------- */

double random_uniform(uint64_t seed, uint32_t stream, uint64_t index)
{
    const uint64_t block = index / 4;
    const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), stream, 0x7e57u};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t draws[4];
    cnn_philox4x32(counter, key, draws);
    return (draws[index % 4] >> 8) * 0x1p-24;
}

static float value_of(operand_values values, double uniform)
{
    if (values == VALUES_INTEGER) return (float)floor(uniform * 7.0) - 3.0f;
    return (float)((2.0 * uniform - 1.0) * (values == VALUES_WIDE ? 12.0 : 1.0));
}

static void fill_floats(operand *o, operand_values values, uint64_t seed, uint32_t stream)
{
    const bool positive = is(o->name, "running_var") || is(o->name, "save_inv_std") || is(o->name, "second_moment");
    float *data = o->data;
    for (ptrdiff_t i = 0; i < o->count; i++) {
        const double uniform = random_uniform(seed, stream, (uint64_t)i);
        data[i] = positive ? (float)(0.25 + uniform) : value_of(values, uniform);
    }
}

/* Columns that do not exist are zero in a panel. */
static void clear_missing_columns(float *weights, ptrdiff_t groups, ptrdiff_t columns, ptrdiff_t depth)
{
    const ptrdiff_t panels = padded(columns) / CNN_PANEL;
    for (ptrdiff_t row = 0; row < groups * panels * depth; row++)
        for (ptrdiff_t j = 0; j < CNN_PANEL; j++)
            if (row / depth % panels * CNN_PANEL + j >= columns) weights[row * CNN_PANEL + j] = 0.0f;
}

/* The 2x2 pooling that an op has fused. */
static cnn_pool2d_geometry fused_pool(ptrdiff_t h, ptrdiff_t w, ptrdiff_t c)
{
    return (cnn_pool2d_geometry){
        .h = h, .w = w, .c = c, .kh = 2, .kw = 2, .oh = h / 2, .ow = w / 2, .stride_h = 2, .stride_w = 2};
}

/* Any tap that lies inside the image, or none (255). */
static void fill_argmax(operand *o, const cnn_pool2d_geometry *g, uint64_t seed, uint32_t stream)
{
    uint8_t *data = o->data;
    for (ptrdiff_t i = 0; i < o->count; i++) {
        const ptrdiff_t ow = i / g->c % g->ow, oh = i / g->c / g->ow % g->oh, taps = g->kh * g->kw;
        const double uniform = random_uniform(seed, stream, (uint64_t)i);
        data[i] = 255;
        if (uniform > 0.9) continue;
        for (ptrdiff_t step = 0; step < taps && data[i] == 255; step++) {
            const ptrdiff_t tap = ((ptrdiff_t)(uniform * (double)taps) + step) % taps;
            const ptrdiff_t h = oh * g->stride_h - g->pad_top + tap / g->kw;
            const ptrdiff_t w = ow * g->stride_w - g->pad_left + tap % g->kw;
            if (h >= 0 && h < g->h && w >= 0 && w < g->w) data[i] = (uint8_t)tap;
        }
    }
}

/* Runs with gaps of up to three elements between them; the second is frozen. */
static void fill_segments(operand *o, const cnn_optimizer_geometry *g)
{
    cnn_segment *segments = o->data;
    for (ptrdiff_t s = 0; s < o->count; s++) {
        const ptrdiff_t first = g->count * s / o->count, last = g->count * (s + 1) / o->count;
        const ptrdiff_t gap = o->count > 1 && last - first > 3 ? 3 : 0;
        segments[s] = (cnn_segment){.offset = first,
                                    .count = last - first - gap,
                                    .l2 = s % 2 ? 0.0f : 0.01f,
                                    .weight_decay = s % 3 == 2 ? 0.1f : 0.0f,
                                    .lr_scale = s == 1 ? 0.0f : 1.0f / (float)(1 + s)};
    }
}

static void fill_targets(operand *o, ptrdiff_t classes, uint64_t seed, uint32_t stream, bool normalised)
{
    float *data = o->data;
    for (ptrdiff_t row = 0; row < o->count / classes; row++) {
        double sum = 0.0;
        for (ptrdiff_t c = 0; c < classes; c++) sum += random_uniform(seed, stream, (uint64_t)(row * classes + c));
        for (ptrdiff_t c = 0; c < classes; c++) {
            const double uniform = random_uniform(seed, stream, (uint64_t)(row * classes + c));
            data[row * classes + c] = (float)(normalised && sum > 0.0 ? uniform / sum : uniform);
        }
    }
}

static void fill_labels(operand *o, ptrdiff_t classes, uint64_t seed, uint32_t stream)
{
    int64_t *labels = o->data;
    for (ptrdiff_t i = 0; i < o->count; i++)
        labels[i] = (int64_t)(random_uniform(seed, stream, (uint64_t)i) * (double)classes);
}

static void fill_codes(operand *o, uint64_t seed, uint32_t stream)
{
    uint8_t *data = o->data;
    for (ptrdiff_t i = 0; i < o->count; i++) data[i] = (uint8_t)(random_uniform(seed, stream, (uint64_t)i) * 256.0);
}

/* Weights of -127 to 127, in panels: what is missing there is zero. */
static void fill_panels(operand *o, const cnn_geometry *g, int op, uint64_t seed, uint32_t stream)
{
    const bool linear = op == CNN_OP_linear_int8;
    const ptrdiff_t channels = linear ? g->linear_int8.n : g->conv2d_int8.oc;
    int8_t *weights = exact((size_t)o->count);
    int32_t *bias = exact((size_t)channels * sizeof *bias);
    for (ptrdiff_t i = 0; i < o->count; i++)
        weights[i] = (int8_t)(random_uniform(seed, stream, (uint64_t)i) * 255.0 - 127.0);
    if (cnn_int8_pack(op, g, weights, NULL, o->data, bias) != CNN_OK) fputs("error: weights are not packed\n", stderr);
    free(weights);
    free(bias);
}

/* Sums of a layer spread over the codes: by a shift alone or, of wide values, a multiplier for each channel. */
static void fill_whole(operand *o, operand_values values, uint64_t seed, uint32_t stream)
{
    int32_t *data = o->data;
    for (ptrdiff_t i = 0; i < o->count; i++) {
        const double uniform = random_uniform(seed, stream, (uint64_t)i);
        if (is(o->name, "multipliers"))
            data[i] = values == VALUES_WIDE ? (int32_t)(0x40000000 + uniform * 0x3fffffff) : 1;
        else if (is(o->name, "shifts"))
            data[i] = (int32_t)(8.0 + 4.0 * uniform) + (values == VALUES_WIDE ? 30 : 0);
        else
            data[i] = (int32_t)(uniform * 20000.0 - 10000.0);
    }
}

static void poison(operand *o)
{
    if (o->type != CNN_F32) {
        memset(o->data, 0xA5, o->bytes);
        return;
    }
    for (ptrdiff_t i = 0; i < o->count; i++) ((float *)o->data)[i] = NAN;
}

static void fill_input(operand *o, cnn_geometry_kind kind, const cnn_geometry *g, operand_values values, uint64_t seed,
                       uint32_t stream, int op)
{
    const cnn_pool2d_geometry pool = kind == CNN_GEOMETRY_conv2d ? fused_pool(g->conv2d.oh, g->conv2d.ow, g->conv2d.oc)
                                     : kind == CNN_GEOMETRY_norm && g->norm.pool
                                         ? fused_pool(g->norm.rows / g->norm.w, g->norm.w, g->norm.c)
                                         : g->pool2d;
    if (o->type == CNN_I32)
        fill_whole(o, values, seed, stream);
    else if (o->type == CNN_I8 || o->type == CNN_I16)
        fill_panels(o, g, op, seed, stream);
    else if (o->type == CNN_U8 && !is(o->name, "argmax"))
        fill_codes(o, seed, stream);
    else if (is(o->name, "argmax"))
        fill_argmax(o, &pool, seed, stream);
    else if (is(o->name, "segments"))
        fill_segments(o, &g->optimizer);
    else if (is(o->name, "labels"))
        fill_labels(o, op == CNN_OP_pixel_cross_entropy ? g->pixel_loss.classes : g->loss.classes, seed, stream);
    else if (is(o->name, "targets"))
        fill_targets(o, g->loss.classes, seed, stream, op == CNN_OP_cross_entropy_soft);
    else
        fill_floats(o, values, seed, stream);
    if (!is(o->name, "weights")) return;
    if (kind == CNN_GEOMETRY_linear) clear_missing_columns(o->data, 1, g->linear.n, g->linear.k);
    if (kind == CNN_GEOMETRY_conv2d)
        clear_missing_columns(o->data, cnn_weight_groups(&g->conv2d), g->conv2d.oc / cnn_weight_groups(&g->conv2d),
                              g->conv2d.kh * g->conv2d.kw * (g->conv2d.ic / g->conv2d.groups));
}

void operands_fill(operand_set *set, const cnn_geometry *geometry, operand_values values, uint64_t seed)
{
    for (int i = 0; i < set->count; i++)
        if (set->operands[i].data && set->operands[i].output) poison(&set->operands[i]);
    for (int i = 0; i < set->count; i++)
        if (set->operands[i].data && !set->operands[i].output)
            fill_input(&set->operands[i], cnn_op_find(set->op)->geometry, geometry, values, seed, (uint32_t)i, set->op);
}
