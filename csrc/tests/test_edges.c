/* What random numbers do not reach: NaN and infinity, ties, extreme logits, values known by hand. */
#include <math.h>
#include <string.h>

#include "test.h"

typedef struct call {
    int op;
    cnn_geometry geometry;
    ptrdiff_t batch;
    void *operands[CNN_MAX_OPERANDS];
} call;

static cnn_run run; /* of the last call */

static cnn_status run_call(const call *c, bool reference)
{
    run = (cnn_run){.batch = c->batch, .learning_rate = 0.1, .detail = -1};
    return cnn_op_run(c->op, &c->geometry, c->operands, &run, 2, reference);
}

static const char *side(int reference) { return reference ? "twin" : "op"; }

static void relu_lets_nan_pass(bool reference)
{
    const float src[5] = {NAN, -1.0f, 0.0f, 2.0f, -INFINITY};
    float dst[5];
    test_begin("%s: relu lets NaN pass", side(reference));
    run_call(&(call){CNN_OP_relu_forward, {.elementwise = {.count = 5}}, 1, {dst, (void *)src}}, reference);
    test_expect(isnan(dst[0]) && dst[1] == 0.0f && dst[2] == 0.0f && dst[3] == 2.0f && dst[4] == 0.0f, "%g %g %g %g %g",
                dst[0], dst[1], dst[2], dst[3], dst[4]);
    test_end();
}

static void maxpool_with_nan_and_ties(bool reference)
{
    /* three windows side by side: a tie, a NaN, nothing above -inf */
    const float src[2 * 6] = {1.0f, 1.0f, 5.0f, NAN,  -INFINITY, -INFINITY,
                              0.0f, 1.0f, 9.0f, 2.0f, -INFINITY, -INFINITY};
    float dst[3];
    uint8_t argmax[3];
    test_begin("%s: maxpool2d takes the first of equals, NaN wins", side(reference));
    const cnn_pool2d_geometry g = {
        .h = 2, .w = 6, .c = 1, .kh = 2, .kw = 2, .oh = 1, .ow = 3, .stride_h = 2, .stride_w = 2};
    run_call(&(call){CNN_OP_maxpool2d_forward, {.pool2d = g}, 1, {dst, argmax, (void *)src}}, reference);
    test_expect(dst[0] == 1.0f && argmax[0] == 0, "tie: %g at %d", dst[0], argmax[0]);
    test_expect(isnan(dst[1]) && argmax[1] == 1, "NaN: %g at %d", dst[1], argmax[1]);
    test_expect(dst[2] == -INFINITY, "all -inf: %g", dst[2]);
    test_end();
}

static void conv_relu_and_pool_with_nan(bool reference)
{
    /* 1x1 convolution, weight 1: the windows hold a NaN, only values below zero, a tie */
    const float src[2 * 6] = {1.0f, NAN, -1.0f, -2.0f, 3.0f, 3.0f, 0.0f, 1.0f, -3.0f, -4.0f, 3.0f, 2.0f};
    float weights[CNN_PANEL] = {1.0f}, dst[3], plain[12];
    uint8_t argmax[3];
    cnn_conv2d_geometry g = {.h = 2,
                             .w = 6,
                             .ic = 1,
                             .oc = 1,
                             .kh = 1,
                             .kw = 1,
                             .oh = 2,
                             .ow = 6,
                             .stride_h = 1,
                             .stride_w = 1,
                             .dilation_h = 1,
                             .dilation_w = 1,
                             .groups = 1,
                             .activation = CNN_ACTIVATION_RELU,
                             .pool = 2};
    test_begin("%s: conv2d with ReLU and pooling", side(reference));
    run_call(&(call){CNN_OP_conv2d_forward, {.conv2d = g}, 1, {dst, argmax, (void *)src, weights, NULL}}, reference);
    test_expect(isnan(dst[0]) && argmax[0] == 1, "NaN: %g at %d", dst[0], argmax[0]);
    test_expect(dst[1] == 0.0f && argmax[1] == 255, "off: %g at %d", dst[1], argmax[1]);
    test_expect(dst[2] == 3.0f && argmax[2] == 0, "tie: %g at %d", dst[2], argmax[2]);
    g.activation = CNN_ACTIVATION_NONE;
    run_call(&(call){CNN_OP_conv2d_forward, {.conv2d = g}, 1, {dst, argmax, (void *)src, weights, NULL}}, reference);
    test_expect(dst[1] == -1.0f && argmax[1] == 0, "no activation: %g at %d", dst[1], argmax[1]);
    g.pool = 0, g.activation = CNN_ACTIVATION_RELU;
    run_call(&(call){CNN_OP_conv2d_forward, {.conv2d = g}, 1, {plain, NULL, (void *)src, weights, NULL}}, reference);
    test_expect(isnan(plain[1]) && plain[2] == 0.0f && plain[4] == 3.0f, "ReLU: %g %g %g", plain[1], plain[2],
                plain[4]);
    test_end();
}

static void checks_name_the_first_offender(bool reference)
{
    float values[10] = {0.0f};
    int64_t labels[4] = {0, 2, 3, -1};
    values[7] = NAN, values[4] = -INFINITY;
    test_begin("%s: checks stop at the first offender", side(reference));
    cnn_status status = run_call(&(call){CNN_OP_check_finite, {.elementwise = {.count = 5}}, 2, {values}}, reference);
    test_expect(status == CNN_NONFINITE_INPUT && run.detail == 4, "input: status %d detail %td", status, run.detail);
    status = run_call(&(call){CNN_OP_check_gradients, {.optimizer = {.count = 10}}, 1, {values}}, reference);
    test_expect(status == CNN_NONFINITE_GRADIENT && run.detail == 4, "gradient: status %d detail %td", status,
                run.detail);
    status = run_call(&(call){CNN_OP_check_labels, {.loss = {.classes = 3}}, 4, {labels}}, reference);
    test_expect(status == CNN_LABEL_OUT_OF_RANGE && run.detail == 2, "label: status %d detail %td", status, run.detail);
    status = run_call(&(call){CNN_OP_check_labels, {.loss = {.classes = 3}}, 2, {labels}}, reference);
    test_expect(status == CNN_OK, "two good labels: status %d", status);
    test_end();
}

static void losses_of_extreme_logits(bool reference)
{
    float logits[6] = {1000.0f, -1000.0f, 0.0f, -1000.0f, -1000.0f, -1000.0f}, diff[6];
    const int64_t labels[2] = {0, 1};
    test_begin("%s: losses of extreme logits stay finite", side(reference));
    const cnn_geometry g = {.loss = {.classes = 3}};
    cnn_status status = run_call(&(call){CNN_OP_cross_entropy, g, 2, {diff, logits, (void *)labels}}, reference);
    test_expect(status == CNN_OK && fabs(run.loss - log(3.0) / 2.0) < 1e-6, "loss %.9g status %d", run.loss, status);
    test_expect(fabs(diff[0]) < 1e-6 && fabs(diff[4] + 1.0 / 3.0) < 1e-6, "gradient %g %g", diff[0], diff[4]);
    const float targets[6] = {1.0f, 0.0f, 0.5f, 0.0f, 0.0f, 0.0f};
    status = run_call(&(call){CNN_OP_binary_cross_entropy, g, 2, {diff, logits, (void *)targets}}, reference);
    test_expect(status == CNN_OK && fabs(run.loss - log(2.0) / 6.0) < 1e-6, "binary loss %.9g status %d", run.loss,
                status);
    test_end();

    test_begin("%s: a loss that is not finite stops the program", side(reference));
    logits[2] = NAN;
    status = run_call(&(call){CNN_OP_cross_entropy, g, 2, {diff, logits, (void *)labels}}, reference);
    test_expect(status == CNN_NONFINITE_LOSS, "NaN: status %d", status);
    status = run_call(&(call){CNN_OP_cross_entropy_soft, g, 2, {NULL, logits, (void *)targets}}, reference);
    test_expect(status == CNN_NONFINITE_LOSS, "NaN, soft: status %d", status);
    status = run_call(&(call){CNN_OP_binary_cross_entropy, g, 2, {diff, logits, (void *)targets}}, reference);
    test_expect(status == CNN_NONFINITE_LOSS, "NaN, binary: status %d", status);
    logits[2] = INFINITY;
    status = run_call(&(call){CNN_OP_mean_squared_error, g, 2, {diff, logits, (void *)targets}}, reference);
    test_expect(status == CNN_NONFINITE_LOSS, "infinite: status %d", status);
    test_end();
}

static void labels_of_pixels(bool reference)
{
    const float logits[8] = {0.0f};
    float diff[8] = {NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    int64_t labels[4] = {255, 255, 255, 255};
    const cnn_geometry g = {.pixel_loss = {.rows = 2, .classes = 2, .ignored = 255}};
    test_begin("%s: pixels without a label that counts", side(reference));
    const call whole = {CNN_OP_pixel_cross_entropy, g, 2, {diff, (void *)logits, labels}};
    cnn_status status = run_call(&whole, reference);
    test_expect(status == CNN_OK && run.loss == 0.0 && diff[0] == 0.0f && diff[7] == 0.0f, "none: %g", run.loss);
    labels[2] = 1;
    status = run_call(&whole, reference);
    test_expect(status == CNN_OK && fabs(run.loss - log(2.0)) < 1e-7, "one: %g", run.loss);
    test_expect(diff[4] == 0.5f && diff[5] == -0.5f && diff[3] == 0.0f, "one: %g %g", diff[4], diff[5]);
    labels[3] = 2;
    status = run_call(&whole, reference);
    test_expect(status == CNN_LABEL_OUT_OF_RANGE && run.detail == 3, "bad: status %d at %td", status, run.detail);
    test_end();
}

static void saturated_activations(bool reference)
{
    const float src[4] = {-200.0f, 200.0f, 0.0f, NAN};
    float s[4], t[4], p[4];
    const cnn_geometry g = {.elementwise = {.count = 4}};
    test_begin("%s: sigmoid, tanh and softmax of extreme inputs", side(reference));
    run_call(&(call){CNN_OP_sigmoid_forward, g, 1, {s, (void *)src}}, reference);
    test_expect(s[0] >= 0.0f && s[0] < 1e-30f && s[1] == 1.0f && s[2] == 0.5f && isnan(s[3]), "sigmoid %g %g %g %g",
                s[0], s[1], s[2], s[3]);
    run_call(&(call){CNN_OP_tanh_forward, g, 1, {t, (void *)src}}, reference);
    test_expect(t[0] == -1.0f && t[1] == 1.0f && t[2] == 0.0f && isnan(t[3]), "tanh %g %g %g %g", t[0], t[1], t[2],
                t[3]);
    run_call(&(call){CNN_OP_softmax_forward, {.softmax = {.rows = 1, .c = 3}}, 1, {p, (void *)src}}, reference);
    test_expect(p[0] < 1e-30f && p[1] == 1.0f && p[2] < 1e-30f, "softmax %g %g %g", p[0], p[1], p[2]);
    test_end();
}

/* -inf and everything far below give -alpha, small numbers keep all their digits, NaN stays NaN. */
static void elu_of_extremes(bool reference)
{
    const float src[8] = {-INFINITY, -200.0f, -18.5f, -1e-6f, -0.0f, 1e-30f, INFINITY, NAN};
    float y[8], slope[8];
    const float ones[8] = {1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f};
    const cnn_geometry g = {.elementwise = {.count = 8, .slope = 0.5f}};
    test_begin("%s: ELU of extreme and tiny inputs", side(reference));
    run_call(&(call){CNN_OP_elu_forward, g, 1, {y, (void *)src}}, reference);
    test_expect(y[0] == -0.5f && y[1] == -0.5f && y[2] == -0.5f && isnan(y[7]), "%g %g %g %g", y[0], y[1], y[2], y[7]);
    test_expect(fabs(y[3] / -0.49999975e-6 - 1.0) < 2e-7, "%.9g of -1e-6", y[3]);
    test_expect(y[4] == 0.0f && y[5] == 1e-30f && y[6] == INFINITY, "%g %g %g", y[4], y[5], y[6]);
    run_call(&(call){CNN_OP_elu_backward, g, 1, {slope, (void *)ones, y}}, reference);
    test_expect(slope[0] == 0.0f && slope[4] == 0.5f && slope[5] == 1.0f && slope[6] == 1.0f, "slopes %g %g %g %g",
                slope[0], slope[4], slope[5], slope[6]);
    test_end();
}

/* What an activation gives for numbers far out, and its slope there: no NaN but from NaN, and no overflow on the way. */
static void activations_of_extremes(bool reference)
{
    static const struct {
        int forward, backward;
        bool by_source;
        float values[4], slopes[4]; /* at -infinity, -1e30, 1e30, infinity */
    } cases[] = {
        {CNN_OP_gelu_forward, CNN_OP_gelu_backward, true, {0, 0, 1e30f, INFINITY}, {0, 0, 1, 1}},
        {CNN_OP_gelu_tanh_forward, CNN_OP_gelu_tanh_backward, true, {0, 0, 1e30f, INFINITY}, {0, 0, 1, 1}},
        {CNN_OP_silu_forward, CNN_OP_silu_backward, true, {0, 0, 1e30f, INFINITY}, {0, 0, 1, 1}},
        {CNN_OP_hardswish_forward, CNN_OP_hardswish_backward, true, {0, 0, 1e30f, INFINITY}, {0, 0, 1, 1}},
        {CNN_OP_hardsigmoid_forward, CNN_OP_hardsigmoid_backward, false, {0, 0, 1, 1}, {0, 0, 0, 0}},
        {CNN_OP_relu6_forward, CNN_OP_relu6_backward, false, {0, 0, 6, 6}, {0, 0, 0, 0}},
        {CNN_OP_softplus_forward, CNN_OP_softplus_backward, false, {0, 0, 1e30f, INFINITY}, {0, 0, 1, 1}},
    };
    const float src[5] = {-INFINITY, -1e30f, 1e30f, INFINITY, NAN}, ones[5] = {1.0f, 1.0f, 1.0f, 1.0f, 1.0f};
    const cnn_geometry g = {.elementwise = {.count = 5}};
    test_begin("%s: activations of extreme inputs", side(reference));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        float y[5], slope[5];
        const char *name = cnn_op_find(cases[i].forward)->name;
        run_call(&(call){cases[i].forward, g, 1, {y, (void *)src}}, reference);
        void *saved = cases[i].by_source ? (void *)src : (void *)y;
        run_call(&(call){cases[i].backward, g, 1, {slope, (void *)ones, saved}}, reference);
        for (int j = 0; j < 4; j++)
            test_expect(y[j] == cases[i].values[j] && slope[j] == cases[i].slopes[j], "%s of %g: %g, slope %g", name,
                        src[j], y[j], slope[j]);
        test_expect(isnan(y[4]), "%s of NaN: %g", name, y[4]);
    }
    test_end();
}

static void optimisers_by_hand(bool reference)
{
    const float gradient[2] = {0.5f, 0.5f};
    cnn_segment segments[2] = {{.offset = 0, .count = 1, .lr_scale = 1.0f},
                               {.offset = 1, .count = 1, .lr_scale = 0.0f}};
    float p[2] = {1.0f, 1.0f}, v[2] = {1.0f, 1.0f}, m[2] = {0}, s[2] = {0};
    cnn_geometry g = {
        .optimizer = {.count = 2, .segments = 2, .momentum = 0.9f, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f}};
    test_begin("%s: optimiser steps worked out by hand; a frozen segment stays", side(reference));
    run_call(&(call){CNN_OP_sgd, g, 1, {p, v, (void *)gradient, segments}}, reference);
    test_expect(fabs(v[0] - 1.4) < 1e-6 && fabs(p[0] - 0.86) < 1e-6, "sgd: v %.9g p %.9g", v[0], p[0]);
    test_expect(v[1] == 1.0f && p[1] == 1.0f, "frozen: v %.9g p %.9g", v[1], p[1]);
    p[0] = 1.0f;
    run_call(&(call){CNN_OP_adam, g, 1, {p, m, s, (void *)gradient, segments}}, reference);
    test_expect(fabs(p[0] - 0.9) < 1e-6, "adam: first step is lr * sign: p %.9g", p[0]);
    test_expect(fabs(m[0] - 0.05) < 1e-6 && fabs(s[0] - 0.00025) < 1e-8, "adam: m %.9g v %.9g", m[0], s[0]);
    test_expect(p[1] == 1.0f && m[1] == 0.0f && s[1] == 0.0f, "frozen: p %.9g m %.9g v %.9g", p[1], m[1], s[1]);
    segments[0].weight_decay = 0.5f;
    p[0] = 1.0f, m[0] = s[0] = 0.0f;
    run_call(&(call){CNN_OP_adam, g, 1, {p, m, s, (void *)gradient, segments}}, reference);
    test_expect(fabs(p[0] - 0.85) < 1e-6, "decoupled decay: p %.9g", p[0]);
    g.optimizer.momentum_decay = 1.0f; /* Keras's */
    segments[0].weight_decay = 0.0f;
    p[0] = 1.0f, m[0] = s[0] = 0.0f;
    run_call(&(call){CNN_OP_nadam, g, 1, {p, m, s, (void *)gradient, segments}}, reference);
    /* momentum 0.468 and 0.48528; (1 - 0.468) / (1 - 0.468) + 0.48528 * 0.1 / (1 - 0.468 * 0.48528) = 1.0627855 */
    test_expect(fabs(p[0] - (1.0 - 0.10627855)) < 1e-6, "nadam: p %.9g", p[0]);
    float square[2] = {1.0f, 1.0f}, fast[2] = {2.0f, 4.0f}, slow[2] = {1.0f, 0.0f};
    p[0] = 1.0f, v[0] = 1.0f, g.optimizer.beta2 = 0.75f, g.optimizer.eps = 0.1875f;
    run_call(&(call){CNN_OP_rmsprop, g, 1, {p, square, v, (void *)gradient, segments}}, reference);
    /* s = 0.8125, v = 0.9 + 0.5 / (sqrt(0.8125) + 0.1875) */
    test_expect(fabs(p[0] - (1.0 - 0.1 * (0.9 + 0.5 / (sqrt(0.8125) + 0.1875)))) < 1e-6, "rmsprop: p %.9g", p[0]);
    p[0] = 1.0f, v[0] = 1.0f, square[0] = 1.0f, g.optimizer.keras = 1.0f;
    run_call(&(call){CNN_OP_rmsprop, g, 1, {p, square, v, (void *)gradient, segments}}, reference);
    test_expect(fabs(p[0] - (1.0 - (0.9 + 0.1 * 0.5))) < 1e-6, "rmsprop in Keras's form: p %.9g", p[0]);
    test_expect(p[1] == 1.0f && square[1] == 1.0f, "frozen: p %.9g s %.9g", p[1], square[1]);
    run_call(&(call){CNN_OP_lookahead, g, 1, {slow, fast}}, reference); /* the run's average is 0: all that is new */
    test_expect(slow[0] == 2.0f && slow[1] == 4.0f && fast[0] == 2.0f, "slow %.9g %.9g", slow[0], slow[1]);
    test_end();

    float long_gradient[2] = {3.0f, 4.0f};
    g.optimizer.max_norm = 1.0f;
    test_begin("%s: clip_gradients scales (3, 4) to norm 1", side(reference));
    run_call(&(call){CNN_OP_clip_gradients, g, 1, {long_gradient}}, reference);
    test_expect(run.gradient_norm == 5.0 && fabs(long_gradient[0] - 0.6) < 1e-6 && fabs(long_gradient[1] - 0.8) < 1e-6,
                "norm %.9g, gradient %.9g %.9g", run.gradient_norm, long_gradient[0], long_gradient[1]);
    test_end();
}

static void dropout_keeps_its_share(bool reference)
{
    enum { COUNT = 40000 };
    static float src[COUNT], dst[COUNT], again[COUNT], other[COUNT];
    for (int i = 0; i < COUNT; i++) src[i] = 1.0f;
    cnn_geometry g = {.dropout = {.count = COUNT, .draws = COUNT, .stream = 1, .rate = 0.3f}};
    test_begin("%s: dropout keeps 70 %%, repeats its draw, differs between streams", side(reference));
    run_call(&(call){CNN_OP_dropout, g, 1, {dst, src}}, reference);
    run_call(&(call){CNN_OP_dropout, g, 1, {again, src}}, reference);
    g.dropout.stream = 2;
    run_call(&(call){CNN_OP_dropout, g, 1, {other, src}}, reference);
    int kept = 0, wrong = 0, same = 0;
    for (int i = 0; i < COUNT; i++) {
        kept += dst[i] != 0.0f;
        wrong += dst[i] != 0.0f && dst[i] != 1.0f / (1.0f - 0.3f);
        same += dst[i] == other[i];
    }
    test_expect(kept > 0.69 * COUNT && kept < 0.71 * COUNT, "kept %d of %d", kept, COUNT);
    test_expect(wrong == 0, "%d kept elements have another value", wrong);
    test_expect(memcmp(dst, again, sizeof dst) == 0, "the second draw differs");
    test_expect(same < 0.62 * COUNT, "two streams agree on %d of %d", same, COUNT);
    test_end();
}

/* What falls is 0 whatever it was, what stays passes NaN on; the elements of a sample share a fate, or those of a channel. */
static void dropout_of_rows(bool reference)
{
    enum { SAMPLES = 40, ROWS = 9, C = 3, COUNT = ROWS * C };
    static float src[SAMPLES * COUNT], dst[SAMPLES * COUNT];
    test_begin("%s: dropout of samples and of channels", side(reference));
    for (int i = 0; i < SAMPLES * COUNT; i++) src[i] = i % COUNT == 13 ? NAN : 1.0f;
    for (ptrdiff_t draws = 1; draws <= C; draws += 2) {
        const cnn_geometry g = {.dropout = {.count = COUNT, .draws = draws, .rate = 0.5f}};
        run_call(&(call){CNN_OP_dropout, g, SAMPLES, {dst, src}}, reference);
        int kept = 0, wrong = 0;
        for (int i = 0; i < SAMPLES * COUNT; i++) {
            const bool stays = dst[i / COUNT * COUNT + i % draws] != 0.0f;
            kept += stays && i % COUNT < draws;
            wrong += stays ? (isnan(src[i]) ? !isnan(dst[i]) : dst[i] != 2.0f) : dst[i] != 0.0f;
        }
        test_expect(wrong == 0, "%d elements are not what their draw says, of %td draws", wrong, draws);
        test_expect(kept > SAMPLES * draws / 4 && kept < SAMPLES * draws * 3 / 4, "%d of %td draws stay", kept,
                    SAMPLES * draws);
    }
    test_end();
}

/* A group of equal values has no deviation: what is left is the bias. A NaN stays in its group. */
static void groupnorm_of_extremes(bool reference)
{
    const float src[8] = {1e37f, 1.0f, 1e37f, 2.0f, 1e-30f, NAN, 1e-30f, 4.0f}; /* 2 samples of 2 rows of 2 channels */
    const float weights[2] = {2.0f, 1.0f}, bias[2] = {0.25f, 0.5f};
    float dst[8], save_mean[8], save_inv_std[4];
    const cnn_geometry g = {.groupnorm = {.rows = 2, .c = 2, .groups = 2, .eps = 1e-5f}};
    test_begin("%s: groupnorm of constants, huge numbers and NaN", side(reference));
    run_call(
        &(call){
            CNN_OP_groupnorm_forward, g, 2, {dst, save_mean, save_inv_std, (void *)src, (void *)weights, (void *)bias}},
        reference);
    test_expect(dst[0] == 0.25f && dst[2] == 0.25f && dst[4] == 0.25f && dst[6] == 0.25f, "constants: %g %g %g %g",
                dst[0], dst[2], dst[4], dst[6]);
    test_expect(fabs(dst[1] + 0.49998) < 1e-5 && fabs(dst[3] - 1.49998) < 1e-5, "1 and 2: %g %g", dst[1], dst[3]);
    test_expect(isnan(dst[5]) && isnan(dst[7]), "NaN and 4: %g %g", dst[5], dst[7]);
    test_expect(save_mean[0] == 1e37f && save_mean[2] == 0.0f && save_mean[1] == 1.5f, "means %g %g", save_mean[0],
                save_mean[1]);
    test_expect(fabs(save_inv_std[0] / 316.2278 - 1.0) < 1e-5, "1 / sqrt(eps) is %g", save_inv_std[0]);
    test_end();
}

/* Without weights and bias, and with an eps that float32 loses beside a variance of 1. */
static void batchnorm_without_parameters(bool reference)
{
    const float src[4] = {1.0f, 5.0f, 3.0f, 5.0f};
    float dst[4], save_mean[4], save_inv_std[2], mean[2] = {0.0f}, var[2] = {1.0f, 1.0f};
    const cnn_geometry g = {.norm = {.rows = 1, .c = 2, .eps = 1e-12f, .momentum = 0.4f}};
    test_begin("%s: batchnorm without weights and bias", side(reference));
    run_call(&(call){CNN_OP_batchnorm_forward_training,
                     g,
                     2,
                     {dst, NULL, save_mean, save_inv_std, mean, var, (void *)src, NULL, NULL}},
             reference);
    test_expect(dst[0] == -1.0f && dst[2] == 1.0f && dst[1] == 0.0f && dst[3] == 0.0f, "%g %g %g %g", dst[0], dst[2],
                dst[1], dst[3]);
    test_expect(fabs(mean[0] - 0.8) < 1e-6 && fabs(var[0] - 1.4) < 1e-6, "running %g %g", mean[0], var[0]);
    test_end();
}

static bool same(const float *values, const float *expected, int count)
{
    for (int i = 0; i < count; i++)
        if (isnan(expected[i]) ? !isnan(values[i]) : values[i] != expected[i]) return false;
    return true;
}

/* What a place shows goes there as it is; what is zero stays zero beside NaN and infinity. */
static void padding_by_hand(bool reference)
{
    const float src[4] = {NAN, INFINITY, 1e-30f, 4.0f};
    const float zeros[7] = {0.0f, 0.0f, NAN, INFINITY, 1e-30f, 4.0f, 0.0f};
    const float mirrored[7] = {1e-30f, INFINITY, NAN, INFINITY, 1e-30f, 4.0f, 1e-30f};
    const float edges[7] = {NAN, NAN, NAN, INFINITY, 1e-30f, 4.0f, 4.0f};
    const float *const expected[3] = {zeros, mirrored, edges};
    const float gradient[7] = {1.0f, 2.0f, 4.0f, 8.0f, 16.0f, 32.0f, NAN};
    const float sums[3][4] = {{4.0f, 8.0f, 16.0f, 32.0f}, {4.0f, 10.0f, NAN, 32.0f}, {7.0f, 8.0f, 16.0f, NAN}};
    test_begin("%s: padding shows what it should", side(reference));
    for (ptrdiff_t mode = 0; mode < 3; mode++) {
        const cnn_geometry g = {.pad2d = {.h = 1, .w = 4, .c = 1, .pad_left = 2, .pad_right = 1, .mode = mode}};
        float dst[7], diff_src[4];
        run_call(&(call){CNN_OP_pad2d_forward, g, 1, {dst, (void *)src}}, reference);
        test_expect(same(dst, expected[mode], 7), "mode %td: %g %g %g ... %g", mode, dst[0], dst[1], dst[2], dst[6]);
        run_call(&(call){CNN_OP_pad2d_backward, g, 1, {diff_src, (void *)gradient}}, reference);
        test_expect(same(diff_src, sums[mode], 4), "gradient, mode %td: %g %g %g %g", mode, diff_src[0], diff_src[1],
                    diff_src[2], diff_src[3]);
    }
    const cnn_geometry channels = {.pad2d = {.h = 2, .w = 2, .c = 1, .channels_before = 1, .channels_behind = 1}};
    const float wide[12] = {0.0f, NAN, 0.0f, 0.0f, INFINITY, 0.0f, 0.0f, 1e-30f, 0.0f, 0.0f, 4.0f, 0.0f};
    float dst[12];
    run_call(&(call){CNN_OP_pad2d_forward, channels, 1, {dst, (void *)src}}, reference);
    test_expect(same(dst, wide, 12), "channels: %g %g %g", dst[0], dst[1], dst[2]);
    test_end();
}

/* A neighbour without weight does not count, were it NaN or infinite. */
static void upsampling_by_hand(bool reference)
{
    const float src[3] = {0.0f, 4.0f, NAN}, huge[2] = {3e38f, 3e38f};
    const float nearest[6] = {0.0f, 0.0f, 4.0f, 4.0f, NAN, NAN};
    const float half[6] = {0.0f, 1.0f, 3.0f, NAN, NAN, NAN};
    const float aligned[9] = {0.0f, 1.0f, 2.0f, 3.0f, 4.0f, NAN, NAN, NAN, NAN};
    float dst[9];
    test_begin("%s: upsampling reads the pixels round a place", side(reference));
    cnn_geometry g = {.upsample2d = {.h = 1, .w = 3, .c = 1, .scale_h = 1, .scale_w = 2}};
    run_call(&(call){CNN_OP_upsample2d_forward, g, 1, {dst, (void *)src}}, reference);
    test_expect(same(dst, nearest, 6), "nearest: %g %g %g %g", dst[0], dst[1], dst[2], dst[3]);
    g.upsample2d.sampling = CNN_SAMPLING_HALF_PIXEL;
    run_call(&(call){CNN_OP_upsample2d_forward, g, 1, {dst, (void *)src}}, reference);
    test_expect(same(dst, half, 6), "half pixel: %g %g %g %g", dst[0], dst[1], dst[2], dst[3]);
    g.upsample2d.scale_w = 3, g.upsample2d.sampling = CNN_SAMPLING_ALIGNED;
    run_call(&(call){CNN_OP_upsample2d_forward, g, 1, {dst, (void *)src}}, reference);
    test_expect(same(dst, aligned, 9), "aligned: %g %g %g %g %g", dst[0], dst[1], dst[2], dst[3], dst[4]);
    g = (cnn_geometry){.upsample2d = {.h = 2, .w = 1, .c = 1, .scale_h = 4, .scale_w = 1, .sampling = 1}};
    run_call(&(call){CNN_OP_upsample2d_forward, g, 1, {dst, (void *)huge}}, reference);
    for (int i = 0; i < 8; i++) test_expect(isfinite(dst[i]), "huge: %g", dst[i]);
    test_end();
}

void suite_edges(void)
{
    for (int reference = 0; reference < 2; reference++) {
        relu_lets_nan_pass(reference);
        maxpool_with_nan_and_ties(reference);
        conv_relu_and_pool_with_nan(reference);
        padding_by_hand(reference);
        upsampling_by_hand(reference);
        checks_name_the_first_offender(reference);
        losses_of_extreme_logits(reference);
        labels_of_pixels(reference);
        saturated_activations(reference);
        elu_of_extremes(reference);
        activations_of_extremes(reference);
        optimisers_by_hand(reference);
        dropout_keeps_its_share(reference);
        dropout_of_rows(reference);
        groupnorm_of_extremes(reference);
        batchnorm_without_parameters(reference);
    }
}
