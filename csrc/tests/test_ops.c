/* Every op against its naive twin, and against itself with other numbers of threads. */
#include <math.h>
#include <string.h>

#include "common/geometry.h"
#include "op_cases.h"
#include "test.h"

static const double TOLERANCE = 1e-4; /* of the largest absolute value of the twin's result */
static const int teams[] = {1, 2, 3, 5};
enum { TEAMS = sizeof teams / sizeof teams[0] };

typedef struct outcome {
    operand_set set;
    cnn_run run;
    cnn_status status;
} outcome;

static outcome run_on(const op_case *c, const operand_set *inputs, int threads, bool reference)
{
    outcome o = {.set = operands_copy(inputs)};
    void *operands[CNN_MAX_OPERANDS] = {0};
    for (int i = 0; i < o.set.count; i++) operands[i] = o.set.operands[i].data;
    o.run = (cnn_run){.batch = c->batch,
                      .seed = 0x123456789abcull,
                      .step = 3,
                      .learning_rate = 0.05,
                      .average = 0.75,
                      .first_sample = 3,
                      .share = 0.25,
                      .detail = -1};
    o.status = cnn_op_run(c->op, &c->geometry, operands, &o.run, threads, reference);
    return o;
}

/* The first element where the results differ by more than the tolerance; NaN must meet NaN. */
static ptrdiff_t first_difference(const float *result, const float *expected, ptrdiff_t count, double *largest)
{
    *largest = 0.0;
    for (ptrdiff_t i = 0; i < count; i++)
        if (fabs(expected[i]) > *largest) *largest = fabs(expected[i]);
    for (ptrdiff_t i = 0; i < count; i++) {
        if (isnan(expected[i]) && isnan(result[i])) continue;
        if (!(fabs((double)result[i] - expected[i]) <= TOLERANCE * *largest)) return i;
    }
    return -1;
}

static bool close(double a, double b) { return fabs(a - b) <= TOLERANCE * fmax(fabs(a), fabs(b)); }

static void expect_close(const outcome *result, const outcome *expected)
{
    for (int i = 0; i < expected->set.count; i++) {
        const operand *a = &result->set.operands[i], *b = &expected->set.operands[i];
        if (!b->data) continue;
        if (b->type != CNN_F32) {
            test_expect(memcmp(a->data, b->data, b->bytes) == 0, "%s differs from the twin", b->name);
            continue;
        }
        double largest;
        const float *x = a->data, *y = b->data;
        const ptrdiff_t at = first_difference(x, y, b->count, &largest);
        if (at >= 0) test_expect(false, "%s[%td] is %.9g, twin %.9g, largest %.3g", b->name, at, x[at], y[at], largest);
    }
    test_expect(result->status == expected->status, "status %d, twin %d", result->status, expected->status);
    test_expect(close(result->run.loss, expected->run.loss), "loss %.17g, twin %.17g", result->run.loss,
                expected->run.loss);
    test_expect(close(result->run.gradient_norm, expected->run.gradient_norm), "norm %.17g, twin %.17g",
                result->run.gradient_norm, expected->run.gradient_norm);
}

static void expect_same_bits(const outcome *result, const outcome *expected, const char *what, int threads)
{
    for (int i = 0; i < expected->set.count; i++) {
        const operand *a = &result->set.operands[i], *b = &expected->set.operands[i];
        if (b->data)
            test_expect(memcmp(a->data, b->data, b->bytes) == 0, "%s: other bits on %d threads in %s", what, threads,
                        b->name);
    }
    test_expect(memcmp(&result->run.loss, &expected->run.loss, sizeof(double)) == 0, "%s: other loss on %d threads",
                what, threads);
    test_expect(memcmp(&result->run.gradient_norm, &expected->run.gradient_norm, sizeof(double)) == 0,
                "%s: other norm on %d threads", what, threads);
}

/* A program reserves what its largest batch needs; every smaller batch must get by with that. */
static void expect_growing_workspace(const op_case *c)
{
    enum { LARGEST = 130 };
    const cnn_op_info *info = cnn_op_find(c->op);
    cnn_workspace before = {0, 0};
    for (ptrdiff_t batch = 1; batch <= LARGEST; batch++) {
        const cnn_workspace need = info->workspace(&c->geometry, batch);
        if (!test_expect(need.shared >= before.shared && need.scratch >= before.scratch,
                         "batch %td needs %zu + %zu bytes, batch %td %zu + %zu", batch - 1, before.shared,
                         before.scratch, batch, need.shared, need.scratch))
            return;
        before = need;
    }
}

static void check(const op_case *c)
{
    const cnn_op_info *info = cnn_op_find(c->op);
    char text[GEOMETRY_TEXT];
    geometry_print(info->geometry, &c->geometry, text);
    test_begin("%s isa=%s batch=%td %s values=%d absent=%#x alias=%d", info->name, cnn_get_isa(), c->batch, text,
               c->values, c->absent, c->alias);

    expect_growing_workspace(c);
    operand_set inputs = operands_describe(c->op, &c->geometry, c->batch);
    operands_allocate(&inputs);
    operands_fill(&inputs, &c->geometry, c->values, (uint64_t)c->op + 1);
    operand_set used = inputs;
    for (int i = 0; i < used.count; i++)
        if (c->absent >> i & 1u) used.operands[i].data = NULL;
    if (c->alias) used.operands[0].data = used.operands[c->alias].data;

    outcome twin = run_on(c, &used, 1, true), twin_team = run_on(c, &used, 3, true), first = {.status = CNN_OK};
    expect_same_bits(&twin_team, &twin, "twin", 3);
    for (int t = 0; t < TEAMS; t++) {
        outcome o = run_on(c, &used, teams[t], false);
        if (t == 0) {
            expect_close(&o, &twin);
            first = o;
            continue;
        }
        expect_same_bits(&o, &first, "op", teams[t]);
        operands_free(&o.set);
    }
    operands_free(&first.set);
    operands_free(&twin.set);
    operands_free(&twin_team.set);
    operands_free(&inputs);
    test_end();
}

void check_all_ops(void) { each_op_case(check); }

void check_int8_ops(void) { each_int8_case(check); }

/* With the instruction set that is chosen by default, or by CNN_ISA. */
void suite_ops(void) { check_all_ops(); }
