/* Whole programs: a small network trains, bad programs are refused, bad input stops a run before anything changes. */
#define _POSIX_C_SOURCE 199309L /* nanosleep */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/operands.h"
#include "test.h"

/* conv 3x3 (2 -> 5 channels) + ReLU + max-pool, linear 60 -> 3, cross-entropy, all gradients, SGD. */
enum { BATCH = 6, H = 8, W = 6, IC = 2, OC = 5, PIXELS = H * W, POOLED = PIXELS / 4, FLAT = POOLED * OC, CLASSES = 3 };
enum { CONV_WEIGHTS = 9 * IC * CNN_PANEL, LINEAR_WEIGHTS = FLAT * CNN_PANEL };
enum {
    INPUT,
    LABELS,
    IMAGE,
    MAP,
    ARGMAX,
    LOGITS,
    DIFF_LOGITS,
    DIFF_MAP,
    DIFF_CONV, /* data */
    WEIGHTS,
    BIAS,
    LINEAR,
    LINEAR_BIAS,
    DIFF_WEIGHTS,
    DIFF_BIAS,
    DIFF_LINEAR,
    DIFF_LINEAR_BIAS, /* learnt */
    PARAMETERS,
    GRADIENTS,
    VELOCITY,
    SEGMENTS,
    OPERANDS,
    ABSENT = -1
};
enum { INSTRUCTIONS = 13, CONV_INSTRUCTION = 3, LOSS_INSTRUCTION = 5 };
enum { LEARNT = CONV_WEIGHTS + 16 + LINEAR_WEIGHTS + 16 }; /* each part starts on 64 bytes */

typedef struct network {
    cnn_operand operands[OPERANDS];
    cnn_instruction instructions[INSTRUCTIONS];
    cnn_program_description description;
    _Alignas(CNN_ALIGNMENT) float parameters[LEARNT], gradients[LEARNT], velocity[LEARNT];
    _Alignas(CNN_ALIGNMENT) cnn_segment segments[4];
    float input[BATCH * IC * PIXELS];
    int64_t labels[BATCH];
} network;

static cnn_operand place(cnn_space space, int64_t *end, int64_t bytes)
{
    const cnn_operand operand = {space, *end, bytes};
    *end += (bytes + CNN_ALIGNMENT - 1) / CNN_ALIGNMENT * CNN_ALIGNMENT;
    return operand;
}

static void place_operands(network *net)
{
    cnn_operand *o = net->operands;
    int64_t arena = 0, parameters = 0, gradients = 0;
    o[INPUT] = (cnn_operand){CNN_SPACE_EXTERNAL, 0, sizeof net->input};
    o[LABELS] = (cnn_operand){CNN_SPACE_EXTERNAL, 1, sizeof net->labels};
    o[IMAGE] = place(CNN_SPACE_ARENA, &arena, BATCH * IC * PIXELS * 4);
    o[MAP] = place(CNN_SPACE_ARENA, &arena, BATCH * FLAT * 4);
    o[ARGMAX] = place(CNN_SPACE_ARENA, &arena, BATCH * FLAT);
    o[LOGITS] = place(CNN_SPACE_ARENA, &arena, BATCH * CLASSES * 4);
    o[DIFF_LOGITS] = place(CNN_SPACE_ARENA, &arena, BATCH * CLASSES * 4);
    o[DIFF_MAP] = place(CNN_SPACE_ARENA, &arena, BATCH * FLAT * 4);
    o[DIFF_CONV] = place(CNN_SPACE_ARENA, &arena, BATCH * PIXELS * OC * 4);
    static const int64_t counts[4] = {CONV_WEIGHTS, OC, LINEAR_WEIGHTS, CLASSES};
    for (int i = 0; i < 4; i++) {
        net->segments[i] = (cnn_segment){.offset = parameters / 4, .count = counts[i], .lr_scale = 1.0f};
        o[WEIGHTS + i] = place(CNN_SPACE_PARAMETERS, &parameters, counts[i] * 4);
        o[DIFF_WEIGHTS + i] = place(CNN_SPACE_GRADIENTS, &gradients, counts[i] * 4);
    }
    o[PARAMETERS] = (cnn_operand){CNN_SPACE_PARAMETERS, 0, LEARNT * 4};
    o[GRADIENTS] = (cnn_operand){CNN_SPACE_GRADIENTS, 0, LEARNT * 4};
    o[VELOCITY] = (cnn_operand){CNN_SPACE_STATES, 0, LEARNT * 4};
    o[SEGMENTS] = (cnn_operand){CNN_SPACE_CONSTANTS, 0, sizeof net->segments};
    net->description.space_bytes[CNN_SPACE_ARENA] = arena;
}

static void place_instructions(network *net)
{
    const cnn_geometry input = {.elementwise = {.count = IC * PIXELS}}, image = {.image = {.h = H, .w = W, .c = IC}};
    const cnn_geometry loss = {.loss = {.classes = CLASSES}}, linear = {.linear = {.k = FLAT, .n = CLASSES}};
    const cnn_geometry pool = {
        .pool2d = {.h = H, .w = W, .c = OC, .kh = 2, .kw = 2, .oh = H / 2, .ow = W / 2, .stride_h = 2, .stride_w = 2}};
    cnn_geometry conv = {.conv2d = {.h = H,
                                    .w = W,
                                    .ic = IC,
                                    .oc = OC,
                                    .kh = 3,
                                    .kw = 3,
                                    .oh = H,
                                    .ow = W,
                                    .stride_h = 1,
                                    .stride_w = 1,
                                    .pad_top = 1,
                                    .pad_left = 1,
                                    .pad_bottom = 1,
                                    .pad_right = 1,
                                    .dilation_h = 1,
                                    .dilation_w = 1,
                                    .groups = 1}};
    cnn_geometry fused = conv;
    fused.conv2d.activation = CNN_ACTIVATION_RELU, fused.conv2d.pool = 2;
    const cnn_geometry optimizer = {.optimizer = {.count = LEARNT, .segments = 4, .momentum = 0.9f, .max_norm = 5.0f}};
    const cnn_instruction all[INSTRUCTIONS] = {
        {CNN_OP_check_finite, {INPUT}, input, false, 0, 0},
        {CNN_OP_check_labels, {LABELS}, loss, false, 0, 0},
        {CNN_OP_nchw_to_nhwc, {IMAGE, INPUT}, image, false, 0, 0},
        {CNN_OP_conv2d_forward, {MAP, ARGMAX, IMAGE, WEIGHTS, BIAS}, fused, false, 0, 0},
        {CNN_OP_linear_forward, {LOGITS, MAP, LINEAR, LINEAR_BIAS}, linear, false, 0, 0},
        {CNN_OP_cross_entropy, {DIFF_LOGITS, LOGITS, LABELS}, loss, false, 0, 0},
        {CNN_OP_linear_backward_weights, {DIFF_LINEAR, DIFF_LINEAR_BIAS, MAP, DIFF_LOGITS}, linear, false, 0, 0},
        {CNN_OP_linear_backward_data, {DIFF_MAP, DIFF_LOGITS, LINEAR, ABSENT}, linear, false, 0, 0},
        {CNN_OP_maxpool2d_backward, {DIFF_CONV, DIFF_MAP, ARGMAX}, pool, false, 0, 0},
        {CNN_OP_conv2d_backward_weights, {DIFF_WEIGHTS, DIFF_BIAS, IMAGE, DIFF_CONV, ABSENT}, conv, false, 0, 0},
        {CNN_OP_check_gradients, {GRADIENTS}, optimizer, false, 0, 0},
        {CNN_OP_clip_gradients, {GRADIENTS}, optimizer, false, 0, 0},
        {CNN_OP_sgd, {PARAMETERS, VELOCITY, GRADIENTS, SEGMENTS}, optimizer, false, 0, 0},
    };
    for (int i = 0; i < INSTRUCTIONS; i++) {
        net->instructions[i] = all[i];
        for (int j = cnn_op_find(all[i].op)->operand_count; j < CNN_MAX_OPERANDS; j++)
            net->instructions[i].operands[j] = ABSENT;
    }
}

static void fill(float *values, ptrdiff_t count, uint32_t stream, double scale)
{
    for (ptrdiff_t i = 0; i < count; i++)
        values[i] = (float)((2.0 * random_uniform(5, stream, (uint64_t)i) - 1.0) * scale);
}

static void fill_panel(float *weights, ptrdiff_t depth, ptrdiff_t columns, uint32_t stream)
{
    for (ptrdiff_t k = 0; k < depth; k++) fill(weights + k * CNN_PANEL, columns, stream + (uint32_t)k, 0.2);
}

static network *make_network(void)
{
    network *net = aligned_alloc(CNN_ALIGNMENT, sizeof *net);
    if (!net) abort();
    memset(net, 0, sizeof *net);
    place_operands(net);
    place_instructions(net);
    fill_panel(net->parameters, 9 * IC, OC, 100);
    fill_panel(net->parameters + CONV_WEIGHTS + 16, FLAT, CLASSES, 200);
    fill(net->input, BATCH * IC * PIXELS, 1, 1.0);
    for (int n = 0; n < BATCH; n++) net->labels[n] = n % CLASSES;
    cnn_program_description *d = &net->description;
    d->instructions = net->instructions, d->instruction_count = INSTRUCTIONS;
    d->operands = net->operands, d->operand_count = OPERANDS, d->max_batch = BATCH;
    d->spaces[CNN_SPACE_PARAMETERS] = net->parameters, d->space_bytes[CNN_SPACE_PARAMETERS] = LEARNT * 4;
    d->spaces[CNN_SPACE_GRADIENTS] = net->gradients, d->space_bytes[CNN_SPACE_GRADIENTS] = LEARNT * 4;
    d->spaces[CNN_SPACE_STATES] = net->velocity, d->space_bytes[CNN_SPACE_STATES] = LEARNT * 4;
    d->spaces[CNN_SPACE_CONSTANTS] = net->segments, d->space_bytes[CNN_SPACE_CONSTANTS] = sizeof net->segments;
    return net;
}

static cnn_run make_run(network *net, ptrdiff_t batch)
{
    return (cnn_run){.batch = batch, .learning_rate = 0.1, .externals = {net->input, net->labels}};
}

/* ---- running ---------------------------------------------------------------------------------------------------- */

/* Bit i of a pattern leaves instruction i to one worker. */
static const struct {
    int threads;
    unsigned alone;
} teams[] = {{1, 0}, {2, 0}, {3, 0}, {5, 0}, {3, 0x1fff}, {3, 0x0a37}, {2, 0x1555}, {5, 0x0006}};

enum { MOST_THREADS = 5 };

static void leave_alone(network *net, unsigned pattern)
{
    for (int i = 0; i < INSTRUCTIONS; i++) net->instructions[i].alone = pattern >> i & 1;
}

/* Nobody waits for less than nothing, or for longer than the run; one worker waits for none, and each began. */
static void expect_waiting(const double *waited, int threads, double elapsed)
{
    for (int worker = 0; worker < threads; worker++) {
        double sum = 0.0;
        for (int i = 0; i <= INSTRUCTIONS; i++) {
            test_expect(waited[i * threads + worker] >= 0.0, "worker %d waited %g s in instruction %d", worker,
                        waited[i * threads + worker], i);
            if (i < INSTRUCTIONS) sum += waited[i * threads + worker];
        }
        test_expect(threads > 1 ? sum <= elapsed : sum == 0.0, "worker %d waited %g of %g s", worker, sum, elapsed);
    }
    test_expect(waited[INSTRUCTIONS * threads] > 0.0, "the first worker began at once");
}

static void trains_alike_on_any_team(void)
{
    enum { STEPS = 30 };
    static float expected[LEARNT];
    double expected_last = 0.0;
    for (size_t t = 0; t < sizeof teams / sizeof teams[0]; t++) {
        network *net = make_network();
        cnn_program *program;
        ptrdiff_t detail;
        double seconds[INSTRUCTIONS] = {0}, waited[(INSTRUCTIONS + 1) * MOST_THREADS] = {0};
        const int threads = teams[t].threads;
        test_begin("a network trains on %d threads, instructions for one worker %#x", threads, teams[t].alone);
        leave_alone(net, teams[t].alone);
        test_expect(cnn_set_threads(threads) == CNN_OK, "thread count refused");
        test_expect(!cnn_has_openmp() || cnn_measure_team() == threads, "the team has %d", cnn_measure_team());
        cnn_status status = cnn_program_create(&net->description, &program, &detail);
        test_expect(status == CNN_OK, "create: status %d at instruction %td", status, detail);
        cnn_run run = make_run(net, BATCH);
        double first = 0.0;
        for (int step = 0; step < STEPS && status == CNN_OK; step++) {
            run.step = (uint64_t)step;
            run.seconds = step == 0 ? seconds : NULL;
            run.waited = step == 0 ? waited : NULL;
            run.waited_workers = threads;
            status = cnn_program_run(program, &run);
            if (step == 0) first = run.loss;
            if (step == 0) expect_waiting(waited, threads, run.elapsed);
        }
        test_expect(status == CNN_OK, "run: status %d", status);
        test_expect(run.loss < 0.5 * first, "loss went from %g to %g", first, run.loss);
        test_expect(run.gradient_norm > 0.0 && run.elapsed > 0.0 && seconds[CONV_INSTRUCTION] > 0.0,
                    "norm %g, %g s, convolution %g s", run.gradient_norm, run.elapsed, seconds[CONV_INSTRUCTION]);
        if (t == 0) memcpy(expected, net->parameters, sizeof expected), expected_last = run.loss;
        test_expect(memcmp(expected, net->parameters, sizeof expected) == 0, "other parameters than on one thread");
        test_expect(memcmp(&run.loss, &expected_last, sizeof run.loss) == 0, "other loss than on one thread");
        cnn_program_destroy(program);
        free(net);
        test_end();
    }
    cnn_set_threads(0);
}

/* After a pause a brief program is one worker's; in quick succession the team runs it, sooner or later. */
static void a_brief_program_wakes_nobody(void)
{
    enum { RUNS = 2000, THREADS = 2 };
    for (int brief = 0; brief < 2; brief++) {
        network *net = make_network();
        cnn_program *program;
        ptrdiff_t detail;
        test_begin("a %s program after a pause", brief ? "brief" : "long");
        cnn_set_threads(THREADS);
        net->description.brief = brief;
        if (test_expect(cnn_program_create(&net->description, &program, &detail) == CNN_OK, "create failed")) {
            cnn_run run = make_run(net, BATCH);
            const int rested = brief || !cnn_has_openmp() ? 1 : THREADS;
            for (int i = 0; i < 3; i++) {
                test_expect(cnn_program_run(program, &run) == CNN_OK && run.workers == rested, "%d ran it",
                            run.workers);
                nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
            }
            for (int i = 0; i < RUNS && (i == 0 || run.workers < THREADS); i++)
                test_expect(cnn_program_run(program, &run) == CNN_OK, "run failed");
            test_expect(run.workers == THREADS || !cnn_has_openmp(), "the team never ran it");
            cnn_program_destroy(program);
        }
        free(net);
        test_end();
    }
    cnn_set_threads(0);
}

static void no_more_workers_than_help(void)
{
    enum { THREADS = 3 };
    static const int most[] = {-1, 0, 1, 2, THREADS, THREADS + 1},
                     expected[] = {THREADS, THREADS, 1, 2, THREADS, THREADS};
    cnn_set_threads(THREADS);
    for (size_t i = 0; i < sizeof most / sizeof most[0]; i++) {
        network *net = make_network();
        cnn_program *program;
        ptrdiff_t detail;
        test_begin("%d workers at most of %d", most[i], THREADS);
        net->description.most_workers = most[i];
        if (test_expect(cnn_program_create(&net->description, &program, &detail) == CNN_OK, "create failed")) {
            cnn_run run = make_run(net, BATCH);
            test_expect(cnn_program_run(program, &run) == CNN_OK, "run failed");
            test_expect(run.workers == expected[i] || !cnn_has_openmp(), "%d ran it", run.workers);
            cnn_program_destroy(program);
        }
        free(net);
        test_end();
    }
    cnn_set_threads(0);
}

static void agrees_with_the_twins(void)
{
    double loss[2] = {0.0, 0.0};
    static float parameters[2][LEARNT];
    const char *sets[2] = {cnn_get_isa(), "reference"};
    test_begin("one step of %s and of the twins", sets[0]);
    for (int i = 0; i < 2; i++) {
        network *net = make_network();
        cnn_program *program;
        ptrdiff_t detail;
        cnn_set_isa(sets[i]);
        if (test_expect(cnn_program_create(&net->description, &program, &detail) == CNN_OK, "create failed")) {
            cnn_run run = make_run(net, BATCH - 1);
            test_expect(cnn_program_run(program, &run) == CNN_OK, "run failed");
            loss[i] = run.loss;
            memcpy(parameters[i], net->parameters, sizeof parameters[i]);
            cnn_program_destroy(program);
        }
        free(net);
    }
    cnn_set_isa(sets[0]);
    double largest = 0.0;
    for (int i = 0; i < LEARNT; i++) largest = fmax(largest, fabs((double)parameters[0][i] - parameters[1][i]));
    test_expect(fabs(loss[0] - loss[1]) < 1e-5, "losses %.9g and %.9g", loss[0], loss[1]);
    test_expect(largest < 1e-5, "parameters differ by up to %g", largest);
    test_end();
}

/* Denormals are flushed while a program runs, and only then. */
static void restores_the_floating_point_mode(void)
{
    network *net = make_network();
    cnn_program *program;
    ptrdiff_t detail;
    test_begin("a run leaves the floating-point mode of the caller alone");
    if (test_expect(cnn_program_create(&net->description, &program, &detail) == CNN_OK, "create failed")) {
        cnn_run run = make_run(net, BATCH);
        test_expect(cnn_program_run(program, &run) == CNN_OK, "run failed");
        volatile float tiny = 1e-40f;
        tiny = tiny * 0.5f;
        test_expect(tiny != 0.0f, "denormals are flushed after the run");
        cnn_program_destroy(program);
    }
    free(net);
    test_end();
}

static void expect_stop(const char *what, network *net, bool check_outputs, ptrdiff_t batch, cnn_status expected,
                        ptrdiff_t detail)
{
    static float before[LEARNT];
    memcpy(before, net->parameters, sizeof before);
    for (size_t t = 0; t < sizeof teams / sizeof teams[0]; t++) {
        cnn_program *program;
        ptrdiff_t at;
        leave_alone(net, teams[t].alone);
        test_begin("a run on %d threads, instructions for one worker %#x, stops: %s", teams[t].threads, teams[t].alone,
                   what);
        if (test_expect(cnn_program_create(&net->description, &program, &at) == CNN_OK, "create failed at %td", at)) {
            cnn_set_threads(teams[t].threads);
            cnn_run run = make_run(net, batch);
            run.check_outputs = check_outputs;
            const cnn_status status = cnn_program_run(program, &run);
            test_expect(status == expected, "status %d (%s), expected %d", status, cnn_status_message(status),
                        expected);
            if (detail >= 0) test_expect(run.detail == detail, "detail %td, expected %td", run.detail, detail);
            test_expect(memcmp(before, net->parameters, sizeof before) == 0, "parameters changed");
            cnn_set_threads(0);
            cnn_program_destroy(program);
        }
        test_end();
    }
    free(net);
}

static void stops_before_the_update(void)
{
    network *net = make_network();
    net->input[17] = NAN;
    expect_stop("NaN in the input", net, false, BATCH, CNN_NONFINITE_INPUT, 17);
    net = make_network();
    net->input[BATCH * IC * PIXELS - 1] = INFINITY;
    expect_stop("infinity in the last element", net, false, BATCH, CNN_NONFINITE_INPUT, BATCH * IC * PIXELS - 1);
    net = make_network();
    net->labels[4] = CLASSES;
    expect_stop("label out of range", net, false, BATCH, CNN_LABEL_OUT_OF_RANGE, 4);
    net = make_network();
    net->parameters[0] = NAN;
    expect_stop("NaN in a weight", net, false, BATCH, CNN_NONFINITE_LOSS, -1);
    net = make_network();
    net->parameters[0] = NAN;
    expect_stop("NaN in a weight, looking for the culprit", net, true, BATCH, CNN_NONFINITE_OUTPUT, CONV_INSTRUCTION);
    expect_stop("batch 0", make_network(), false, 0, CNN_BAD_BATCH, -1);
    expect_stop("batch above the largest", make_network(), false, BATCH + 1, CNN_BAD_BATCH, -1);
    /* a gradient that is not finite while the loss is: the check on its own */
    net = make_network();
    net->gradients[33] = NAN;
    net->description.instructions = net->instructions + 10, net->description.instruction_count = 3;
    expect_stop("NaN in the gradient", net, false, BATCH, CNN_NONFINITE_GRADIENT, 33);
}

/* ---- refusing --------------------------------------------------------------------------------------------------- */

static void expect_refusal(const char *what, network *net, cnn_status expected, ptrdiff_t at)
{
    cnn_program *program = (cnn_program *)net;
    ptrdiff_t detail = -7;
    test_begin("a program is refused: %s", what);
    const cnn_status status = cnn_program_create(&net->description, &program, &detail);
    test_expect(status == expected, "status %d (%s), expected %d", status, cnn_status_message(status), expected);
    test_expect(program == NULL, "a program came out");
    if (at >= 0) test_expect(detail == at, "detail %td, expected %td", detail, at);
    if (status == CNN_OK) cnn_program_destroy(program);
    free(net);
    test_end();
}

static void refuses_bad_programs(void)
{
    network *net = make_network();
    net->instructions[4].op = CNN_OP_COUNT;
    expect_refusal("unknown op", net, CNN_BAD_PROGRAM, 4);
    net = make_network();
    net->instructions[2].op = -1;
    expect_refusal("negative op", net, CNN_BAD_PROGRAM, 2);
    net = make_network();
    net->operands[LINEAR].bytes += LEARNT * 4;
    expect_refusal("operand larger than its space", net, CNN_BAD_PROGRAM, 4);
    net = make_network();
    net->operands[MAP].offset = net->description.space_bytes[CNN_SPACE_ARENA];
    expect_refusal("operand behind the arena", net, CNN_BAD_PROGRAM, CONV_INSTRUCTION);
    net = make_network();
    net->operands[MAP].offset = -CNN_ALIGNMENT;
    expect_refusal("negative offset", net, CNN_BAD_PROGRAM, CONV_INSTRUCTION);
    net = make_network();
    net->operands[MAP].offset += 4;
    expect_refusal("offset that is not aligned", net, CNN_BAD_PROGRAM, CONV_INSTRUCTION);
    net = make_network();
    net->operands[LOGITS].offset = INT64_MAX / CNN_ALIGNMENT * CNN_ALIGNMENT;
    expect_refusal("offset that would overflow", net, CNN_BAD_PROGRAM, 4);
    net = make_network();
    net->operands[LABELS].offset = CNN_MAX_EXTERNALS;
    expect_refusal("external beyond the last", net, CNN_BAD_PROGRAM, 1);
    net = make_network();
    net->operands[IMAGE].space = CNN_SPACE_COUNT;
    expect_refusal("unknown space", net, CNN_BAD_PROGRAM, 2);
    net = make_network();
    net->instructions[LOSS_INSTRUCTION].operands[CNN_cross_entropy_logits] = ABSENT;
    expect_refusal("operand missing", net, CNN_BAD_PROGRAM, LOSS_INSTRUCTION);
    net = make_network();
    net->instructions[6].operands[CNN_linear_backward_weights_diff_weights] = OPERANDS;
    expect_refusal("operand beyond the table", net, CNN_BAD_PROGRAM, 6);
    net = make_network();
    net->instructions[6].operands[CNN_linear_backward_weights_OPERANDS] = MAP;
    expect_refusal("one operand too many", net, CNN_BAD_PROGRAM, 6);
    net = make_network();
    net->description.spaces[CNN_SPACE_STATES] = NULL;
    expect_refusal("space without memory", net, CNN_BAD_PROGRAM, 12);
    net = make_network();
    net->instructions[2].samples = 1;
    expect_refusal("window on what the caller gives", net, CNN_BAD_PROGRAM, 2);
    net = make_network();
    net->instructions[4].first = BATCH - 1, net->instructions[4].samples = 2;
    expect_refusal("window that leaves the batch", net, CNN_BAD_PROGRAM, 4);
    net = make_network();
    net->instructions[4].first = 1;
    expect_refusal("first sample of no window", net, CNN_BAD_PROGRAM, 4);
    net = make_network();
    net->instructions[CONV_INSTRUCTION].samples = BATCH - 1;
    expect_refusal("places of maxima of fewer samples than are read", net, CNN_BAD_PROGRAM, 8);
    net = make_network();
    net->description.max_batch = 0;
    expect_refusal("largest batch 0", net, CNN_BAD_BATCH, -1);
}

static void thread_counts(void)
{
    test_begin("thread counts out of range are refused");
    test_expect(cnn_set_threads(-1) == CNN_BAD_THREADS, "-1 accepted");
    test_expect(cnn_set_threads(CNN_MAX_THREADS + 1) == CNN_BAD_THREADS, "%d accepted", CNN_MAX_THREADS + 1);
    test_expect(cnn_set_threads(0) == CNN_OK && cnn_get_threads() >= 1, "default is %d", cnn_get_threads());
    test_end();
    test_begin("every status has its message");
    for (int status = CNN_OK; status <= CNN_NONFINITE_OUTPUT; status++)
        test_expect(strcmp(cnn_status_message((cnn_status)status), "unknown status") != 0, "status %d", status);
    test_end();
}

void suite_program(void)
{
    trains_alike_on_any_team();
    a_brief_program_wakes_nobody();
    no_more_workers_than_help();
    agrees_with_the_twins();
    restores_the_floating_point_mode();
    stops_before_the_update();
    refuses_bad_programs();
    thread_counts();
}
