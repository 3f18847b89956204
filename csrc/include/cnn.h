/*
 * cnn.h: the only public header of the C core.
 *
 * The core runs programs. A program is a flat array of instructions over numbered operands; a planner (Python, in
 * this project) makes it, cnn_program_run() executes all of it in one call on one thread team. Every instruction
 * names an op from the registry below. An op is one C function with a naive twin of the same signature (cnn_ref_...),
 * which is the oracle of its tests.
 *
 * Dimension legend, used word for word in C, Cython and docstrings
 *   N           samples in a batch (the `batch` of a call; every other extent is per sample)
 *   C H W       channels, height, width of an image or feature map
 *   IC OC       input and output channels of a convolution; groups split both
 *   KH KW       height and width of a kernel (filter or pooling window)
 *   OH OW       height and width of an output
 *   stride, pad, dilation   in elements; pad has a value for each side, so that "same" can be asymmetric
 *   M N K       matrix extents: (M x K) * (K x N) = (M x N); a linear layer has K inputs and N outputs
 *   src dst weights bias, and diff_* for the gradient of the loss by each
 *
 * Layouts
 *   feature maps   N H W C, float32, no gaps. Public interfaces speak N C H W; nchw_to_nhwc converts.
 *   panels         weights are stored [groups][ceil(OC/groups / 16)][K][16]: columns (output channels) in panels of
 *                  CNN_PANEL, K = KH*KW*IC/groups in the order kh, kw, ic. Missing columns of the last panel are zero
 *                  and stay zero (their gradient is zero). A linear layer is the case groups = 1, K = its inputs.
 *                  Where every channel has one filter of its own (groups = IC = OC) the channels are the columns of
 *                  one group: [ceil(OC/16)][KH*KW][16]
 *   bias, batch-norm vectors   [C], plain
 *   codes          integer inference: feature maps as above, of uint8 codes q that stand for scale * (q - zero)
 *   int8 panels    weights of conv2d_int8 and linear_int8, as cnn_int8_pack() makes them: int8,
 *                  [groups][ceil(OC/groups / 16)][runs][ceil(length / 4)][16][4]. A run is a stretch of products whose
 *                  codes lie side by side: the KW*IC of a kernel row or, with dilation_w above 1 or groups, the IC/groups
 *                  of a tap; all K of a linear layer. With one channel in each group on either side, channels take the
 *                  place of columns: [ceil(C / 16)][ceil(KH*KW / 4)][16][4]. What is missing is zero.
 *   int16 filters  weights of winograd_int8, as cnn_int8_pack() makes them: int16, [ceil(OC / 16)][16][ceil(IC / 2)][16][2],
 *                  for each of the 4x4 places of a tile the number 2G w (2G)^T of a filter w, with 2G of the rows (2 0 0),
 *                  (1 1 1), (1 -1 1), (0 0 2). What is missing is zero.
 *
 * Alignment: arena, parameters and workspace start on CNN_ALIGNMENT bytes. Outputs of an op never overlap its inputs
 * unless the registry says that it may run in place. Offsets are ptrdiff_t (elements) or int64_t (bytes).
 *
 * The same bits for any number of threads: work is split by shape and batch, never by the size of the team, and sums
 * over samples run over a partition that depends on shape and batch only, added up in a fixed order.
 *
 * Denormals: while ops run, numbers below FLT_MIN (1.18e-38) in size count as zero, read or written, weights among them
 * (flush to zero and denormals are zero; 1e-39 * 1e5 is 0). They make late training crawl, at no gain. The caller's mode
 * is put back. On processors other than x86-64 and AArch64 they are computed as they are.
 */
#ifndef CNN_H
#define CNN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CNN_ABI_VERSION 1
#define CNN_ALIGNMENT 64
#define CNN_PANEL 16
#define CNN_MAX_OPERANDS 12
#define CNN_MAX_EXTERNALS 12
#define CNN_MAX_THREADS 256
#define CNN_MAX_POOL_AREA 255       /* KH * KW of a max-pool */
#define CNN_MAX_WINOGRAD_CODES 1024 /* IC of winograd_int8: 4 * 9 * 255 * 127 * IC is below 2^31 */
#define CNN_MAX_AVERAGE_AREA 65536  /* KH * KW of avgpool2d_int8 */
#define CNN_MAX_SHIFT 62            /* 2^shift divides a product of integer inference */

/* The largest numbers of a geometry, so that no product of an op's own arithmetic leaves 63 bits: an extent, stride or
 * dilation; a padding, which unlike them makes maps larger than any input; elements of an operand (a terabyte of
 * float32). cnn_geometry_find() tells the limits of each field. */
#define CNN_MAX_EXTENT 0x7fffffff
#define CNN_MAX_PADDING 4096
#define CNN_MAX_COUNT ((ptrdiff_t)1 << 38)
#define CNN_NONE_IGNORED (-CNN_MAX_COUNT) /* cnn_pixel_loss_geometry: the label that stands for none */

/* ---- status ------------------------------------------------------------------------------------------------- */

typedef enum cnn_status {
    CNN_OK = 0,
    CNN_OUT_OF_MEMORY,
    CNN_BAD_PROGRAM,     /* an instruction, geometry or operand that does not fit; detail is its index. Or an external
                               that is NULL in a run */
    CNN_BAD_BATCH,       /* batch < 1 or above the program's largest */
    CNN_BAD_THREADS,     /* thread count outside 1 ... CNN_MAX_THREADS */
    CNN_BAD_ISA,         /* CNN_ISA or cnn_set_isa() named a set that is unknown or that this CPU lacks */
    CNN_NONFINITE_INPUT, /* detail: index of the first element that is NaN or infinite */
    CNN_LABEL_OUT_OF_RANGE, /* detail: index of the sample */
    CNN_NONFINITE_LOSS,     /* no parameter was updated; running statistics may have been */
    CNN_NONFINITE_GRADIENT, /* detail: element index into the gradients; no parameter was updated */
    CNN_NONFINITE_OUTPUT,   /* only with check_outputs: detail is the instruction that made it */
    CNN_BAD_WARP,           /* a coefficient, an extent or a fill of cnn_warp_images is out of range */
    CNN_PART_DONE,          /* no mistake: run->more was set, and the gradients of this part have been added up */
} cnn_status;

const char *cnn_status_message(cnn_status status);

/* ---- geometry: one const struct per family of ops; extents are per sample ------------------------------------ */

/* The activations: X(name, NAME). Each has the ops <name>_forward and <name>_backward. Those without a number of their own
 * can also end a convolution, a linear layer or a batch normalisation. */
#define CNN_ACTIVATIONS(X)                                                                                             \
    X(relu, RELU)                                                                                                      \
    X(sigmoid, SIGMOID)                                                                                                \
    X(tanh, TANH)                                                                                                      \
    X(gelu, GELU)                                                                                                      \
    X(gelu_tanh, GELU_TANH)                                                                                            \
    X(silu, SILU)                                                                                                      \
    X(hardswish, HARDSWISH)                                                                                            \
    X(hardsigmoid, HARDSIGMOID)                                                                                        \
    X(relu6, RELU6)                                                                                                    \
    X(softplus, SOFTPLUS)
#define CNN_ACTIVATIONS_WITH_NUMBERS(X)                                                                                \
    X(leaky_relu, LEAKY_RELU)                                                                                          \
    X(elu, ELU)                                                                                                        \
    X(clip, CLIP)

#define CNN_ACTIVATION_ENUM(name, NAME) CNN_ACTIVATION_##NAME,
typedef enum cnn_activation {
    CNN_ACTIVATION_NONE = 0,
    CNN_ACTIVATIONS(CNN_ACTIVATION_ENUM) CNN_ACTIVATIONS_WITH_NUMBERS(CNN_ACTIVATION_ENUM)
} cnn_activation;
#undef CNN_ACTIVATION_ENUM

/* The last that another op can end with. */
enum { CNN_ACTIVATION_FUSED_MOST = CNN_ACTIVATION_SOFTPLUS };

/* The name of an activation that another op can end with; NULL for any other number. */
const char *cnn_activation_name(int activation);

typedef struct cnn_conv2d_geometry {
    ptrdiff_t h, w, ic, oc, kh, kw, oh, ow;
    ptrdiff_t stride_h, stride_w, pad_top, pad_left, pad_bottom, pad_right, dilation_h, dilation_w, groups;
    ptrdiff_t activation; /* cnn_activation, applied after the bias */
    ptrdiff_t pool;       /* 0, or 2: max-pool 2x2 with stride 2 after the activation; dst is (OH/2, OW/2, OC) */
    ptrdiff_t tile;       /* output tile of Winograd's algorithm, 2 or 4; 0 for the direct ops */
} cnn_conv2d_geometry;

typedef struct cnn_pool2d_geometry {
    ptrdiff_t h, w, c, kh, kw, oh, ow;
    ptrdiff_t stride_h, stride_w, pad_top, pad_left;
    ptrdiff_t count_include_pad; /* average pooling: divide by the window's elements in the padded image (1; the padding
                                    behind is as wide as before) or by those inside the image (0) */
} cnn_pool2d_geometry;

typedef enum cnn_padding { CNN_PADDING_ZEROS = 0, CNN_PADDING_REFLECT, CNN_PADDING_REPLICATE } cnn_padding;

typedef struct cnn_pad2d_geometry {
    ptrdiff_t h, w, c;
    ptrdiff_t pad_top, pad_left, pad_bottom, pad_right;
    ptrdiff_t channels_before, channels_behind; /* that are zero, whatever the mode */
    ptrdiff_t mode;                             /* cnn_padding */
} cnn_pad2d_geometry;

typedef enum cnn_sampling { CNN_SAMPLING_NEAREST = 0, CNN_SAMPLING_HALF_PIXEL, CNN_SAMPLING_ALIGNED } cnn_sampling;

typedef struct cnn_upsample2d_geometry {
    ptrdiff_t h, w, c;
    ptrdiff_t scale_h, scale_w; /* OH = H * scale_h */
    ptrdiff_t sampling;         /* cnn_sampling */
} cnn_upsample2d_geometry;

typedef struct cnn_linear_geometry {
    ptrdiff_t k, n;       /* inputs, outputs */
    ptrdiff_t activation; /* cnn_activation */
} cnn_linear_geometry;

typedef struct cnn_elementwise_geometry {
    ptrdiff_t count; /* elements per sample */
    float slope;     /* LeakyReLU: slope of the negative side; ELU: alpha, finite and above 0; scale: the factor */
} cnn_elementwise_geometry;

typedef struct cnn_clip_geometry {
    ptrdiff_t count;
    float low, high;
} cnn_clip_geometry;

typedef struct cnn_prelu_geometry {
    ptrdiff_t rows, c; /* rows per sample of c slopes each; one slope for all: c is 1 */
} cnn_prelu_geometry;

typedef struct cnn_image_geometry {
    ptrdiff_t h, w, c;
} cnn_image_geometry;

typedef struct cnn_norm_geometry {
    ptrdiff_t rows, c;          /* rows per sample (H*W, or 1 after a linear layer) */
    ptrdiff_t w;                /* width of the map, where it is pooled */
    ptrdiff_t activation, pool; /* as in cnn_conv2d_geometry */
    float eps, momentum;
} cnn_norm_geometry;

typedef struct cnn_softmax_geometry {
    ptrdiff_t rows, c; /* softmax runs over c, rows times per sample */
} cnn_softmax_geometry;

typedef struct cnn_groupnorm_geometry {
    ptrdiff_t rows, c; /* rows per sample, as in cnn_norm_geometry */
    ptrdiff_t groups;  /* of C / groups neighbouring channels */
    float eps;
} cnn_groupnorm_geometry;

typedef struct cnn_channels_geometry {
    ptrdiff_t rows, c; /* rows per sample, of c channels each */
} cnn_channels_geometry;

typedef struct cnn_dropout_geometry {
    ptrdiff_t count;  /* elements per sample */
    ptrdiff_t draws;  /* of a sample; its element i takes draw i % draws. count: one each; C: channels; 1: samples */
    ptrdiff_t stream; /* which dropout layer this is: keeps their draws apart */
    float rate;       /* probability of zero; kept elements are divided by 1 - rate */
} cnn_dropout_geometry;

typedef struct cnn_slice_geometry {
    ptrdiff_t rows, channels;                                 /* rows per sample; channels copied per row */
    ptrdiff_t src_stride, src_offset, dst_stride, dst_offset; /* in elements, per row */
} cnn_slice_geometry;

/* ---- geometries of integer inference: zero_* are the codes that stand for 0, 0 to 255, scales are not known here ---- */

/* dst of an op that rounds to codes lies in low ... high: a ReLU is low = zero_dst. */
typedef struct cnn_quantize_geometry {
    ptrdiff_t count, zero; /* elements per sample; the code of 0 */
    float scale;           /* of one step between codes, a normal number above 0 */
} cnn_quantize_geometry;

typedef struct cnn_conv2d_int8_geometry {
    ptrdiff_t h, w, ic, oc, kh, kw, oh, ow; /* as in cnn_conv2d_geometry, and up to groups in the same order */
    ptrdiff_t stride_h, stride_w, pad_top, pad_left, pad_bottom, pad_right, dilation_h, dilation_w, groups;
    ptrdiff_t zero_src, zero_dst, low, high; /* padding is zero_src */
} cnn_conv2d_int8_geometry;

typedef struct cnn_linear_int8_geometry {
    ptrdiff_t k, n;
    ptrdiff_t zero_src, zero_dst, low, high;
} cnn_linear_int8_geometry;

typedef struct cnn_avgpool2d_int8_geometry {
    ptrdiff_t h, w, c, kh, kw, oh, ow, stride_h, stride_w, pad_top, pad_left,
        count_include_pad; /* cnn_pool2d_geometry */
    ptrdiff_t zero_src, zero_dst, multiplier, shift, low, high;
} cnn_avgpool2d_int8_geometry;

typedef struct cnn_add_int8_geometry {
    ptrdiff_t count;
    ptrdiff_t zero_a, zero_b, zero_dst, multiplier_a, multiplier_b, shift, low, high;
} cnn_add_int8_geometry;

typedef struct cnn_lookup_geometry {
    ptrdiff_t count;
} cnn_lookup_geometry;

typedef struct cnn_loss_geometry {
    ptrdiff_t classes;     /* columns of the logits, or elements per sample for mean squared error */
    float label_smoothing; /* cross-entropy: label weight moved evenly to all classes */
} cnn_loss_geometry;

typedef struct cnn_pixel_loss_geometry {
    ptrdiff_t rows, classes; /* rows of logits per sample, one for each label: pixels, stored [H][W][classes] */
    ptrdiff_t ignored;       /* pixels with this label do not count; CNN_NONE_IGNORED: all do */
    float label_smoothing;   /* as in cnn_loss_geometry */
} cnn_pixel_loss_geometry;

typedef struct cnn_optimizer_geometry {
    ptrdiff_t count;    /* elements of the parameter arena, gradients and states */
    ptrdiff_t segments; /* entries of the segment table */
    float momentum, nesterov, beta1, beta2, eps;
    float max_norm;       /* clip_gradients: largest Euclidean norm of the whole gradient */
    float momentum_decay; /* nadam: psi of the schedule of the momentum */
    float keras;          /* rmsprop: 1 for Keras's form, 0 for PyTorch's */
} cnn_optimizer_geometry;

/* A run of parameters that share their settings; the table covers every trainable element once, in order. */
typedef struct cnn_segment {
    int64_t offset, count;
    float l2;           /* gradient += l2 * parameter */
    float weight_decay; /* decoupled: parameter *= 1 - lr * weight_decay */
    float lr_scale;     /* this segment's learning rate is lr * lr_scale; 0 freezes it */
    float reserved;
} cnn_segment;

/* The kinds of geometry: one row per struct above. cnn_geometry_find() tells a kind's fields and what it can be. */
#define CNN_GEOMETRIES(X)                                                                                              \
    X(conv2d)                                                                                                          \
    X(pool2d)                                                                                                          \
    X(pad2d)                                                                                                           \
    X(upsample2d)                                                                                                      \
    X(linear)                                                                                                          \
    X(elementwise)                                                                                                     \
    X(clip)                                                                                                            \
    X(prelu)                                                                                                           \
    X(image)                                                                                                           \
    X(norm)                                                                                                            \
    X(groupnorm)                                                                                                       \
    X(channels)                                                                                                        \
    X(softmax)                                                                                                         \
    X(dropout)                                                                                                         \
    X(slice)                                                                                                           \
    X(quantize)                                                                                                        \
    X(conv2d_int8)                                                                                                     \
    X(linear_int8)                                                                                                     \
    X(avgpool2d_int8)                                                                                                  \
    X(add_int8)                                                                                                        \
    X(lookup)                                                                                                          \
    X(loss)                                                                                                            \
    X(pixel_loss)                                                                                                      \
    X(optimizer)

typedef enum cnn_geometry_kind {
#define CNN_GEOMETRY_ENUM(kind) CNN_GEOMETRY_##kind,
    CNN_GEOMETRIES(CNN_GEOMETRY_ENUM)
#undef CNN_GEOMETRY_ENUM
        CNN_GEOMETRY_COUNT
} cnn_geometry_kind;

typedef union cnn_geometry {
#define CNN_GEOMETRY_MEMBER(kind) cnn_##kind##_geometry kind;
    CNN_GEOMETRIES(CNN_GEOMETRY_MEMBER)
#undef CNN_GEOMETRY_MEMBER
} cnn_geometry;

/* A field of a geometry: where it lies in the union, whether it is a float (else it is a ptrdiff_t), and the numbers that
 * it may be, from `least` to `most`. */
typedef struct cnn_geometry_field {
    const char *name;
    size_t offset;
    bool real;
    double least, most;
} cnn_geometry_field;

/* Whether these numbers, each within its limits, describe something together: without it, an op could divide by zero or
 * leave its operands. */
typedef bool cnn_geometry_check(const cnn_geometry *geometry);

/* Which elements of a geometry an operand holds. Those before CNN_WEIGHTS are counted for each sample. */
typedef enum cnn_extent {
    CNN_SOURCE,        /* what the forward pass reads */
    CNN_DESTINATION,   /* what the forward pass writes; pooled, where the op pools */
    CNN_ARGMAX,        /* the destination's, none where the op does not pool */
    CNN_ADDEND,        /* the destination's, none where the op pools */
    CNN_LABELS,        /* one, or one for each row */
    CNN_FACTORS,       /* C of each sample */
    CNN_GROUPS,        /* one for each group of channels of each sample */
    CNN_GROUP_PAIRS,   /* [2][groups] of each sample */
    CNN_WEIGHTS,       /* in panels */
    CNN_FILTER,        /* the weights as Winograd's forward pass reads them */
    CNN_FILTER_TURNED, /* ... as its data gradient does */
    CNN_CHANNELS,
    CNN_CHANNEL_PAIRS, /* [2][C] */
    CNN_PARAMETERS,
    CNN_VELOCITY, /* the parameters', none without momentum */
    CNN_TABLE     /* segments; of a lookup, its 256 codes */
} cnn_extent;

/* How many elements that is, of one sample; more than CNN_MAX_COUNT where it would be too many. */
typedef ptrdiff_t cnn_geometry_count(const cnn_geometry *geometry, cnn_extent extent);

typedef struct cnn_geometry_info {
    const char *name;
    const cnn_geometry_field *fields; /* in the order of the struct */
    int field_count;
    cnn_geometry_check *fits;
    cnn_geometry_count *count;
} cnn_geometry_info;

/* What there is to know about a kind of geometry, NULL when there is none of that number. */
const cnn_geometry_info *cnn_geometry_find(int kind);

/* ---- one run ------------------------------------------------------------------------------------------------ */

/* What changes from run to run; the last five fields are results. */
typedef struct cnn_run {
    ptrdiff_t batch;
    uint64_t seed, step; /* dropout draws are keyed by (seed, stream, step, element); Adam corrects by step + 1 */
    double learning_rate;
    double average;         /* weight of the old values in average and lookahead; below 0: they rest in this run */
    ptrdiff_t first_sample; /* of this batch in that of the step, of which it may be a part */
    double share;           /* of this part in the step's samples: the weight of its gradients */
    bool more;              /* other parts of the step follow: accumulate_gradients ends the program */
    ptrdiff_t from, until;  /* this run is of the instructions from ... until - 1; until 0: to the last */
    void *externals[CNN_MAX_EXTERNALS]; /* input, labels, output, ... as the program numbers them */
    double *seconds;                    /* NULL, or one slot per instruction: adds the time each took */
    /* NULL, or with `seconds` [instructions + 1][waited_workers]: adds the time that each worker waited for others in
     * an instruction (for a row of those that one worker runs, all in the last of them), and in the row behind the
     * instructions how long after the call it began. Workers behind waited_workers are left out. */
    double *waited;
    ptrdiff_t waited_workers;
    bool check_outputs;   /* look for NaN and Inf after every instruction (slow: to find a culprit) */
    double loss;          /* mean over the batch, from a loss op */
    double gradient_norm; /* from clip_gradients, before clipping */
    ptrdiff_t detail;     /* see cnn_status */
    double elapsed;       /* seconds inside cnn_program_run */
    int workers;          /* the size of the team that ran the program */
} cnn_run;

/* ---- ops ---------------------------------------------------------------------------------------------------- */

typedef struct cnn_kernels cnn_kernels; /* table of instruction-set specific inner kernels, see kernels.h */

/* One member of the thread team. Scratch is this worker's own; shared belongs to the running op. */
typedef struct cnn_worker {
    int rank, size;
    const cnn_kernels *kernels;
    void *shared, *scratch;
    struct cnn_team *team; /* for cnn_barrier */
    double *waited;        /* NULL, or where cnn_barrier adds the time that it takes */
} cnn_worker;

/* Operands stand in the order in which the registry names them; an optional one may be NULL. Every worker of the
 * team calls the op with the same call; an op that needs the others waits with cnn_barrier(). An op that finds a
 * reason to stop the program writes *status from one worker; the executor looks at it after ops marked CNN_MAY_STOP. */
typedef struct cnn_call {
    const cnn_geometry *geometry;
    ptrdiff_t batch;
    ptrdiff_t first; /* of these samples in the run's batch: 0, unless the instruction has a window */
    void *operands[CNN_MAX_OPERANDS];
    unsigned cold; /* bit i: operand i was last used so long ago that no cache holds it; of a single op all bits */
    cnn_run *run;
    cnn_status *status;
} cnn_call;

typedef struct cnn_workspace {
    size_t shared, scratch; /* bytes for the op, bytes for each worker */
} cnn_workspace;

typedef void cnn_op_function(const cnn_call *call, const cnn_worker *worker);
typedef cnn_workspace cnn_workspace_function(const cnn_geometry *geometry, ptrdiff_t batch);

enum { CNN_RUNS_ON = 0, CNN_MAY_STOP = 1 };

typedef enum cnn_operand_type { CNN_F32, CNN_U8, CNN_I64, CNN_SEGMENTS, CNN_I8, CNN_I16, CNN_I32 } cnn_operand_type;

/* What an op does with an operand. */
enum {
    CNN_READ = 1,
    CNN_WRITTEN = 2, /* its old values are never read; copy_channels leaves those beside its slice alone */
    CNN_UPDATED = CNN_READ | CNN_WRITTEN,
    CNN_OPTIONAL = 4, /* may be absent */
    CNN_IN_PLACE = 8, /* the op's first operand may lie in the same memory, where it has as many elements */
    CNN_NEEDED =
        CNN_OPTIONAL | 16, /* absent exactly where the geometry leaves it no elements: argmax without pooling */
};

/*
 * The registry: one row per op. X(name, geometry, limits, flags, workspace, operands)
 *   name        cnn_<name> is the op, cnn_ref_<name> its naive twin
 *   geometry    member of cnn_geometry
 *   limits      cnn_<limits>_limits refuses what fits the geometry, but not the op
 *   workspace   cnn_<workspace>_workspace says what it needs
 *   operands    CNN_OPERANDS_<operands> lists them: O(op, name, type, what the op does with it, extent), those that are
 *               written first. CNN_<op>_<operand> is an operand's place in cnn_call, CNN_<op>_OPERANDS how many there are.
 *
 * check_finite          NaN or Inf in src stops the program (CNN_NONFINITE_INPUT)
 * check_labels          a label outside 0 ... classes-1 stops the program
 * conv2d_forward        argmax goes with geometry.pool, for a backward pass: 0..3 = position in the window (row-major,
 *                       the first of equals), 255 = the activation is off there (no gradient flows)
 * conv2d_backward_*     by the convolution's own output (before pooling; the activation's gradient is applied before).
 *                       With geometry.pool and argmax, both or neither: diff_dst is by the pooled output, and argmax
 *                       says where each of its elements belongs, as conv2d_forward wrote it.
 * mask                  of a *_backward_data, avgpool2d_backward or add: the ReLU output whose gradient they write, which
 *                       is 0 where that is 0 or below, the same bits as a relu_backward behind the op
 * maxpool2d_*           argmax: position in the window, row-major, the first of equals; 255: none. KH*KW <= 255.
 *                       NaN wins. backward overwrites diff_src, zeros included.
 * pad2d_*               zeros round the map, or its own pixels mirrored without the edge (a b c d -> b | a b c d | c) or
 *                       the edge again (a | a b c d | d), and zeros before and behind the channels. backward sums up what
 *                       each pixel was copied to
 * upsample2d_*          nearest: pixel floor(place / scale). Bilinear: between the two pixels of each axis round
 *                       (place + 1/2) / scale - 1/2, held inside (half pixel), or round place * (H-1) / (OH-1) (aligned:
 *                       corners on corners). A pixel with weight 0 is not read. backward is the transpose
 * relu, sigmoid, tanh, elu, hardsigmoid, relu6, softplus and clip backward read the output (dst), the others the input.
 * gelu_*                dst = src * P(X <= src) of a normal X (Hendrycks & Gimpel 2016); gelu_tanh_* their approximation,
 *                       src * sigmoid(2u), u = sqrt(2 / pi) * (src + 0.044715 * src^3)
 * silu_*                src * sigmoid(src) (the same; Ramachandran, Zoph & Le 2017)
 * hardswish_*           src * h, hardsigmoid_*: h = clip(src + 3, 0, 6) / 6 (Howard et al. 2019); at +-3 their gradient is
 *                       that of the flat side, or of the identity
 * relu6_*, clip_*       clip(src, 0, 6), clip(src, low, high); the gradient at a bound is 0
 * softplus_*            ln(1 + e^src)
 * prelu_*               dst = src above 0, weights[c] * src elsewhere (He et al. 2015); at 0 the slope is weights[c]
 * elu_*                 dst = src above 0, slope * (e^src - 1) elsewhere (Clevert, Unterthiner & Hochreiter 2016); its
 *                       derivative is 1 where dst is above 0 and dst + slope elsewhere
 * scale                 dst = slope * src; is its own gradient
 * scale_channels        dst = src * weights, by channel; its gradient by src is itself, run on diff_dst
 * add_channels          dst = src + bias, by channel; its gradient by the bias is add_channels_backward, the sum of diff_dst
 *                       over the rows of all samples
 * multiply              dst = a * b, where the C elements of a sample of b go with each of its rows: b is a vector beside
 *                       a map or, with rows = 1, as large as a. Its gradient by a is itself, run on diff_dst and b;
 *                       multiply_backward gives that by b, the sum over the rows of diff_dst * a
 * dropout               is its own gradient: run it on diff_dst with the same run.seed, run.step and stream. Elements
 *                       count from run.first_sample on: parts of a batch are given the draws of the whole
 * batchnorm_*           biased variance normalises, unbiased goes into running_var; running = (1-momentum) * running
 *                       + momentum * batch. (Ioffe & Szegedy 2015, Algorithm 1) save_inv_std is [C], save_mean [2][C]:
 *                       the mean in float and what its rounding left. argmax goes with geometry.pool, as for
 *                       conv2d_forward; diff_dst is then by the pooled output. diff_src may be src, or diff_dst
 *                       without pooling. weights and bias: absent ones are ones and zeros. An activation beyond ReLU
 *                       goes without pooling and has no backward. addend goes without pooling too: it is added before
 *                       the activation, the same bits as an add behind the op.
 * batchnorm_moments, _normalize   the forward pass in two, for instructions with windows: moments takes the windows in
 *                       the order of the samples and joins each with those before, in save_mean and squares (of the
 *                       deviations, [2][C] likewise); the last one also writes save_inv_std and the running statistics
 * batchnorm_sums, _data the backward pass in two, likewise: sums of the gradient and of the gradient * (src - mean), in
 *                       [2][C]; with the last window come diff_weights, diff_bias and factors, from which data makes
 *                       diff_src
 * groupnorm_*           normalises every group of C / groups channels of a sample by its own mean and biased variance (Wu &
 *                       He 2018, section 3); layer normalisation is groups = 1, instance normalisation groups = C.
 *                       save_* and absent weights and bias as in batchnorm, [2][groups] and [groups] of each sample.
 * copy_channels         one slice of a concatenation: dst[row*dst_stride + dst_offset + i] = src[row*src_stride + ...]
 * Integer inference: rhe rounds the exact rational, a half to even, and clamp holds a code in low ... high. There is no
 * floating point in it but in quantize and dequantize: the bytes are the same on every instruction set and for any
 * number of threads and samples.
 * quantize              dst = clamp(rhe(src / scale) + zero, 0, 255), a division in float; NaN becomes 0
 * dequantize            dst = scale * (src - zero)
 * conv2d_int8           acc = bias + sum of codes * weights, where bias is what cnn_int8_pack() made of the layer's: it takes
 * linear_int8           zero_src off each code. dst = clamp(rhe(acc * multiplier / 2^shift) + zero_dst), by output
 *                       channel. acc and acc * multiplier + 2^shift / 2 must fit 32 and 64 bits: whoever quantises sees to
 *                       it. multipliers in 1 ... 2^31 - 1, shifts in 0 ... 62 (of others, the low six bits count). A
 *                       panel whose multipliers are 1 and whose shifts are 30 or less is rounded in 32 bits, where acc +
 *                       2^shift / 2 must fit: it is faster
 * winograd_int8         what conv2d_int8 computes with the same bias, of 3x3 kernels with stride and dilation 1 and at most
 *                       CNN_MAX_WINOGRAD_CODES input channels, by F(2x2, 3x3) in whole numbers (Lavin & Gray 2016): four times
 *                       the sum of codes * weights is exact modulo 2^32, and fits 32 bits
 * maxpool2d_int8        the largest code of a window; padding never is
 * avgpool2d_int8        dst = clamp(rhe(sum of (code - zero_src) * multiplier / (count * 2^shift)) + zero_dst); fastest with
 *                       multiplier = 2^shift
 * add_int8              dst = clamp(rhe(((a - zero_a) * multiplier_a + (b - zero_b) * multiplier_b) / 2^shift) + zero_dst);
 *                       fastest with multipliers of 2^21 and less and a shift of 30 and less
 * lookup_int8           dst = table[src]
 * copy_channels_int8, nchw_to_nhwc_int8, nhwc_to_nchw_int8   of codes what the ops without _int8 do
 * cross_entropy         from logits, log-sum-exp; diff_logits is the gradient of the mean over the batch; sets run.loss
 * cross_entropy_soft    targets are probabilities [N][classes]
 * pixel_cross_entropy   cross_entropy of each row of a sample with its label; mean over the rows whose label is not
 *                       `ignored`, 0 where there is none; a label that is neither that nor a class stops the program
 * binary_cross_entropy  from logits; mean over batch and classes; mean_squared_error likewise
 * check_gradients       NaN or Inf in the gradients stops the program
 * accumulate_gradients  sums (= for run.first_sample 0, else +=) run.share * gradients; with run.more the program ends
 *                       there (CNN_PART_DONE), otherwise gradients = sums
 * clip_gradients        scales in place so that the Euclidean norm is at most max_norm; sets run.gradient_norm
 * sgd                   v = momentum*v + g; p -= lr * (nesterov ? g + momentum*v : v), g with l2 (PyTorch's form)
 * adam                  Kingma & Ba 2015, Algorithm 1, with l2 or decoupled decay (Loshchilov & Hutter 2019) per segment
 * nadam                 Dozat 2016: Adam with Nesterov's momentum, beta1 of step t times 1 - 0.96^(t*psi) / 2
 * rmsprop               Tieleman & Hinton 2012: s = beta2*s + (1-beta2)*g^2; PyTorch's form, v = momentum*v +
 *                       g/(sqrt(s)+eps), p -= lr*v, or Keras's, v = momentum*v + lr*g/sqrt(s+eps), p -= v
 * average               average += (1 - run.average) * (parameters - average), of whatever run of floats
 * lookahead             likewise, then parameters = average (Zhang et al. 2019)
 */
/* Operands of the ops; those that take the same share a list. */
#define CNN_OPERANDS_check_finite(O, op) O(op, src, CNN_F32, CNN_READ, CNN_SOURCE)
#define CNN_OPERANDS_check_labels(O, op) O(op, labels, CNN_I64, CNN_READ, CNN_LABELS)
#define CNN_OPERANDS_plain(O, op)                                                                                      \
    O(op, dst, CNN_F32, CNN_WRITTEN, CNN_DESTINATION)                                                                  \
    O(op, src, CNN_F32, CNN_READ, CNN_SOURCE)
#define CNN_OPERANDS_conv2d_forward(O, op)                                                                             \
    O(op, dst, CNN_F32, CNN_WRITTEN, CNN_DESTINATION)                                                                  \
    O(op, argmax, CNN_U8, CNN_WRITTEN | CNN_OPTIONAL, CNN_ARGMAX)                                                      \
    O(op, src, CNN_F32, CNN_READ, CNN_SOURCE)                                                                          \
    O(op, weights, CNN_F32, CNN_READ, CNN_WEIGHTS)                                                                     \
    O(op, bias, CNN_F32, CNN_READ | CNN_OPTIONAL, CNN_CHANNELS)
#define CNN_OPERANDS_conv2d_backward_data(O, op)                                                                       \
    O(op, diff_src, CNN_F32, CNN_WRITTEN, CNN_SOURCE)                                                                  \
    O(op, diff_dst, CNN_F32, CNN_READ, CNN_DESTINATION)                                                                \
    O(op, weights, CNN_F32, CNN_READ, CNN_WEIGHTS)                                                                     \
    O(op, argmax, CNN_U8, CNN_READ | CNN_NEEDED, CNN_ARGMAX)                                                           \
    O(op, mask, CNN_F32, CNN_READ | CNN_OPTIONAL, CNN_SOURCE)
#define CNN_OPERANDS_conv2d_backward_weights(O, op)                                                                    \
    O(op, diff_weights, CNN_F32, CNN_WRITTEN, CNN_WEIGHTS)                                                             \
    O(op, diff_bias, CNN_F32, CNN_WRITTEN | CNN_OPTIONAL, CNN_CHANNELS)                                                \
    O(op, src, CNN_F32, CNN_READ, CNN_SOURCE)                                                                          \
    O(op, diff_dst, CNN_F32, CNN_READ, CNN_DESTINATION)                                                                \
    O(op, argmax, CNN_U8, CNN_READ | CNN_NEEDED, CNN_ARGMAX)
#define CNN_OPERANDS_winograd_filter(O, op)                                                                            \
    O(op, dst, CNN_F32, CNN_WRITTEN, CNN_FILTER)                                                                       \
    O(op, weights, CNN_F32, CNN_READ, CNN_WEIGHTS)
#define CNN_OPERANDS_winograd_filter_backward(O, op)                                                                   \
    O(op, dst, CNN_F32, CNN_WRITTEN, CNN_FILTER_TURNED)                                                                \
    O(op, weights, CNN_F32, CNN_READ, CNN_WEIGHTS)
#define CNN_OPERANDS_winograd_forward(O, op)                                                                           \
    O(op, dst, CNN_F32, CNN_WRITTEN, CNN_DESTINATION)                                                                  \
    O(op, argmax, CNN_U8, CNN_WRITTEN | CNN_OPTIONAL, CNN_ARGMAX)                                                      \
    O(op, src, CNN_F32, CNN_READ, CNN_SOURCE)                                                                          \
    O(op, filter, CNN_F32, CNN_READ, CNN_FILTER)                                                                       \
    O(op, bias, CNN_F32, CNN_READ | CNN_OPTIONAL, CNN_CHANNELS)
#define CNN_OPERANDS_winograd_backward_data(O, op)                                                                     \
    O(op, diff_src, CNN_F32, CNN_WRITTEN, CNN_SOURCE)                                                                  \
    O(op, diff_dst, CNN_F32, CNN_READ, CNN_DESTINATION)                                                                \
    O(op, filter, CNN_F32, CNN_READ, CNN_FILTER_TURNED)                                                                \
    O(op, argmax, CNN_U8, CNN_READ | CNN_NEEDED, CNN_ARGMAX)                                                           \
    O(op, mask, CNN_F32, CNN_READ | CNN_OPTIONAL, CNN_SOURCE)
#define CNN_OPERANDS_linear_forward(O, op)                                                                             \
    O(op, dst, CNN_F32, CNN_WRITTEN, CNN_DESTINATION)                                                                  \
    O(op, src, CNN_F32, CNN_READ, CNN_SOURCE)                                                                          \
    O(op, weights, CNN_F32, CNN_READ, CNN_WEIGHTS)                                                                     \
    O(op, bias, CNN_F32, CNN_READ | CNN_OPTIONAL, CNN_CHANNELS)
#define CNN_OPERANDS_linear_backward_data(O, op)                                                                       \
    O(op, diff_src, CNN_F32, CNN_WRITTEN, CNN_SOURCE)                                                                  \
    O(op, diff_dst, CNN_F32, CNN_READ, CNN_DESTINATION)                                                                \
    O(op, weights, CNN_F32, CNN_READ, CNN_WEIGHTS)                                                                     \
    O(op, mask, CNN_F32, CNN_READ | CNN_OPTIONAL, CNN_SOURCE)
#define CNN_OPERANDS_linear_backward_weights(O, op)                                                                    \
    O(op, diff_weights, CNN_F32, CNN_WRITTEN, CNN_WEIGHTS)                                                             \
    O(op, diff_bias, CNN_F32, CNN_WRITTEN | CNN_OPTIONAL, CNN_CHANNELS)                                                \
    O(op, src, CNN_F32, CNN_READ, CNN_SOURCE)                                                                          \
    O(op, diff_dst, CNN_F32, CNN_READ, CNN_DESTINATION)
#define CNN_OPERANDS_maxpool2d_forward(O, op)                                                                          \
    O(op, dst, CNN_F32, CNN_WRITTEN, CNN_DESTINATION)                                                                  \
    O(op, argmax, CNN_U8, CNN_WRITTEN | CNN_OPTIONAL, CNN_ARGMAX)                                                      \
    O(op, src, CNN_F32, CNN_READ, CNN_SOURCE)
#define CNN_OPERANDS_maxpool2d_backward(O, op)                                                                         \
    O(op, diff_src, CNN_F32, CNN_WRITTEN, CNN_SOURCE)                                                                  \
    O(op, diff_dst, CNN_F32, CNN_READ, CNN_DESTINATION)                                                                \
    O(op, argmax, CNN_U8, CNN_READ, CNN_ARGMAX)
#define CNN_OPERANDS_avgpool2d_backward(O, op)                                                                         \
    O(op, diff_src, CNN_F32, CNN_WRITTEN, CNN_SOURCE)                                                                  \
    O(op, diff_dst, CNN_F32, CNN_READ, CNN_DESTINATION)                                                                \
    O(op, mask, CNN_F32, CNN_READ | CNN_OPTIONAL, CNN_SOURCE)
#define CNN_OPERANDS_plain_backward(O, op)                                                                             \
    O(op, diff_src, CNN_F32, CNN_WRITTEN, CNN_SOURCE)                                                                  \
    O(op, diff_dst, CNN_F32, CNN_READ, CNN_DESTINATION)
#define CNN_OPERANDS_activation(O, op)                                                                                 \
    O(op, dst, CNN_F32, CNN_WRITTEN, CNN_DESTINATION)                                                                  \
    O(op, src, CNN_F32, CNN_READ | CNN_IN_PLACE, CNN_SOURCE)
#define CNN_OPERANDS_activation_backward(O, op)                                                                        \
    O(op, diff_src, CNN_F32, CNN_WRITTEN, CNN_SOURCE)                                                                  \
    O(op, diff_dst, CNN_F32, CNN_READ | CNN_IN_PLACE, CNN_DESTINATION)                                                 \
    O(op, dst, CNN_F32, CNN_READ | CNN_IN_PLACE, CNN_DESTINATION)
#define CNN_OPERANDS_activation_backward_by_source(O, op)                                                              \
    O(op, diff_src, CNN_F32, CNN_WRITTEN, CNN_SOURCE)                                                                  \
    O(op, diff_dst, CNN_F32, CNN_READ | CNN_IN_PLACE, CNN_DESTINATION)                                                 \
    O(op, src, CNN_F32, CNN_READ | CNN_IN_PLACE, CNN_SOURCE)
#define CNN_OPERANDS_prelu_forward(O, op)                                                                              \
    O(op, dst, CNN_F32, CNN_WRITTEN, CNN_DESTINATION)                                                                  \
    O(op, src, CNN_F32, CNN_READ | CNN_IN_PLACE, CNN_SOURCE)                                                           \
    O(op, weights, CNN_F32, CNN_READ, CNN_CHANNELS)
#define CNN_OPERANDS_prelu_backward(O, op)                                                                             \
    O(op, diff_src, CNN_F32, CNN_WRITTEN, CNN_SOURCE)                                                                  \
    O(op, diff_weights, CNN_F32, CNN_WRITTEN | CNN_OPTIONAL, CNN_CHANNELS)                                             \
    O(op, diff_dst, CNN_F32, CNN_READ | CNN_IN_PLACE, CNN_DESTINATION)                                                 \
    O(op, src, CNN_F32, CNN_READ | CNN_IN_PLACE, CNN_SOURCE)                                                           \
    O(op, weights, CNN_F32, CNN_READ, CNN_CHANNELS)
#define CNN_OPERANDS_softmax_backward(O, op)                                                                           \
    O(op, diff_src, CNN_F32, CNN_WRITTEN, CNN_SOURCE)                                                                  \
    O(op, diff_dst, CNN_F32, CNN_READ, CNN_DESTINATION)                                                                \
    O(op, dst, CNN_F32, CNN_READ, CNN_DESTINATION)
#define CNN_OPERANDS_batchnorm_forward_training(O, op)                                                                 \
    O(op, dst, CNN_F32, CNN_WRITTEN, CNN_DESTINATION)                                                                  \
    O(op, argmax, CNN_U8, CNN_WRITTEN | CNN_OPTIONAL, CNN_ARGMAX)                                                      \
    O(op, save_mean, CNN_F32, CNN_WRITTEN, CNN_CHANNEL_PAIRS)                                                          \
    O(op, save_inv_std, CNN_F32, CNN_WRITTEN, CNN_CHANNELS)                                                            \
    O(op, running_mean, CNN_F32, CNN_UPDATED, CNN_CHANNELS)                                                            \
    O(op, running_var, CNN_F32, CNN_UPDATED, CNN_CHANNELS)                                                             \
    O(op, src, CNN_F32, CNN_READ, CNN_SOURCE)                                                                          \
    O(op, addend, CNN_F32, CNN_READ | CNN_OPTIONAL | CNN_IN_PLACE, CNN_ADDEND)                                         \
    O(op, weights, CNN_F32, CNN_READ | CNN_OPTIONAL, CNN_CHANNELS)                                                     \
    O(op, bias, CNN_F32, CNN_READ | CNN_OPTIONAL, CNN_CHANNELS)
#define CNN_OPERANDS_batchnorm_forward_inference(O, op)                                                                \
    O(op, dst, CNN_F32, CNN_WRITTEN, CNN_DESTINATION)                                                                  \
    O(op, src, CNN_F32, CNN_READ, CNN_SOURCE)                                                                          \
    O(op, weights, CNN_F32, CNN_READ | CNN_OPTIONAL, CNN_CHANNELS)                                                     \
    O(op, bias, CNN_F32, CNN_READ | CNN_OPTIONAL, CNN_CHANNELS)                                                        \
    O(op, running_mean, CNN_F32, CNN_READ, CNN_CHANNELS)                                                               \
    O(op, running_var, CNN_F32, CNN_READ, CNN_CHANNELS)
#define CNN_OPERANDS_batchnorm_backward(O, op)                                                                         \
    O(op, diff_src, CNN_F32, CNN_WRITTEN, CNN_SOURCE)                                                                  \
    O(op, diff_weights, CNN_F32, CNN_WRITTEN | CNN_OPTIONAL, CNN_CHANNELS)                                             \
    O(op, diff_bias, CNN_F32, CNN_WRITTEN | CNN_OPTIONAL, CNN_CHANNELS)                                                \
    O(op, src, CNN_F32, CNN_READ | CNN_IN_PLACE, CNN_SOURCE)                                                           \
    O(op, diff_dst, CNN_F32, CNN_READ | CNN_IN_PLACE, CNN_DESTINATION)                                                 \
    O(op, weights, CNN_F32, CNN_READ | CNN_OPTIONAL, CNN_CHANNELS)                                                     \
    O(op, bias, CNN_F32, CNN_READ | CNN_OPTIONAL, CNN_CHANNELS)                                                        \
    O(op, save_mean, CNN_F32, CNN_READ, CNN_CHANNEL_PAIRS)                                                             \
    O(op, save_inv_std, CNN_F32, CNN_READ, CNN_CHANNELS)                                                               \
    O(op, argmax, CNN_U8, CNN_READ | CNN_NEEDED, CNN_ARGMAX)                                                           \
    O(op, mask, CNN_F32, CNN_READ | CNN_OPTIONAL | CNN_IN_PLACE, CNN_SOURCE)
#define CNN_OPERANDS_batchnorm_moments(O, op)                                                                          \
    O(op, save_mean, CNN_F32, CNN_UPDATED, CNN_CHANNEL_PAIRS)                                                          \
    O(op, save_inv_std, CNN_F32, CNN_WRITTEN, CNN_CHANNELS)                                                            \
    O(op, squares, CNN_F32, CNN_UPDATED, CNN_CHANNEL_PAIRS)                                                            \
    O(op, running_mean, CNN_F32, CNN_UPDATED, CNN_CHANNELS)                                                            \
    O(op, running_var, CNN_F32, CNN_UPDATED, CNN_CHANNELS)                                                             \
    O(op, src, CNN_F32, CNN_READ, CNN_SOURCE)
#define CNN_OPERANDS_batchnorm_normalize(O, op)                                                                        \
    O(op, dst, CNN_F32, CNN_WRITTEN, CNN_DESTINATION)                                                                  \
    O(op, argmax, CNN_U8, CNN_WRITTEN | CNN_OPTIONAL, CNN_ARGMAX)                                                      \
    O(op, src, CNN_F32, CNN_READ, CNN_SOURCE)                                                                          \
    O(op, addend, CNN_F32, CNN_READ | CNN_OPTIONAL | CNN_IN_PLACE, CNN_ADDEND)                                         \
    O(op, weights, CNN_F32, CNN_READ | CNN_OPTIONAL, CNN_CHANNELS)                                                     \
    O(op, bias, CNN_F32, CNN_READ | CNN_OPTIONAL, CNN_CHANNELS)                                                        \
    O(op, save_mean, CNN_F32, CNN_READ, CNN_CHANNEL_PAIRS)                                                             \
    O(op, save_inv_std, CNN_F32, CNN_READ, CNN_CHANNELS)
#define CNN_OPERANDS_batchnorm_sums(O, op)                                                                             \
    O(op, factors, CNN_F32, CNN_WRITTEN, CNN_CHANNEL_PAIRS)                                                            \
    O(op, diff_weights, CNN_F32, CNN_WRITTEN | CNN_OPTIONAL, CNN_CHANNELS)                                             \
    O(op, diff_bias, CNN_F32, CNN_WRITTEN | CNN_OPTIONAL, CNN_CHANNELS)                                                \
    O(op, sums, CNN_F32, CNN_UPDATED, CNN_CHANNEL_PAIRS)                                                               \
    O(op, products, CNN_F32, CNN_UPDATED, CNN_CHANNEL_PAIRS)                                                           \
    O(op, src, CNN_F32, CNN_READ, CNN_SOURCE)                                                                          \
    O(op, diff_dst, CNN_F32, CNN_READ, CNN_DESTINATION)                                                                \
    O(op, weights, CNN_F32, CNN_READ | CNN_OPTIONAL, CNN_CHANNELS)                                                     \
    O(op, bias, CNN_F32, CNN_READ | CNN_OPTIONAL, CNN_CHANNELS)                                                        \
    O(op, save_mean, CNN_F32, CNN_READ, CNN_CHANNEL_PAIRS)                                                             \
    O(op, save_inv_std, CNN_F32, CNN_READ, CNN_CHANNELS)                                                               \
    O(op, argmax, CNN_U8, CNN_READ | CNN_NEEDED, CNN_ARGMAX)
#define CNN_OPERANDS_batchnorm_data(O, op)                                                                             \
    O(op, diff_src, CNN_F32, CNN_WRITTEN, CNN_SOURCE)                                                                  \
    O(op, src, CNN_F32, CNN_READ | CNN_IN_PLACE, CNN_SOURCE)                                                           \
    O(op, diff_dst, CNN_F32, CNN_READ | CNN_IN_PLACE, CNN_DESTINATION)                                                 \
    O(op, weights, CNN_F32, CNN_READ | CNN_OPTIONAL, CNN_CHANNELS)                                                     \
    O(op, bias, CNN_F32, CNN_READ | CNN_OPTIONAL, CNN_CHANNELS)                                                        \
    O(op, save_mean, CNN_F32, CNN_READ, CNN_CHANNEL_PAIRS)                                                             \
    O(op, save_inv_std, CNN_F32, CNN_READ, CNN_CHANNELS)                                                               \
    O(op, factors, CNN_F32, CNN_READ, CNN_CHANNEL_PAIRS)                                                               \
    O(op, argmax, CNN_U8, CNN_READ | CNN_NEEDED, CNN_ARGMAX)                                                           \
    O(op, mask, CNN_F32, CNN_READ | CNN_OPTIONAL | CNN_IN_PLACE, CNN_SOURCE)
#define CNN_OPERANDS_groupnorm_forward(O, op)                                                                          \
    O(op, dst, CNN_F32, CNN_WRITTEN, CNN_DESTINATION)                                                                  \
    O(op, save_mean, CNN_F32, CNN_WRITTEN | CNN_OPTIONAL, CNN_GROUP_PAIRS)                                             \
    O(op, save_inv_std, CNN_F32, CNN_WRITTEN | CNN_OPTIONAL, CNN_GROUPS)                                               \
    O(op, src, CNN_F32, CNN_READ | CNN_IN_PLACE, CNN_SOURCE)                                                           \
    O(op, weights, CNN_F32, CNN_READ | CNN_OPTIONAL, CNN_CHANNELS)                                                     \
    O(op, bias, CNN_F32, CNN_READ | CNN_OPTIONAL, CNN_CHANNELS)
#define CNN_OPERANDS_groupnorm_backward(O, op)                                                                         \
    O(op, diff_src, CNN_F32, CNN_WRITTEN, CNN_SOURCE)                                                                  \
    O(op, diff_weights, CNN_F32, CNN_WRITTEN | CNN_OPTIONAL, CNN_CHANNELS)                                             \
    O(op, diff_bias, CNN_F32, CNN_WRITTEN | CNN_OPTIONAL, CNN_CHANNELS)                                                \
    O(op, src, CNN_F32, CNN_READ | CNN_IN_PLACE, CNN_SOURCE)                                                           \
    O(op, diff_dst, CNN_F32, CNN_READ | CNN_IN_PLACE, CNN_DESTINATION)                                                 \
    O(op, weights, CNN_F32, CNN_READ | CNN_OPTIONAL, CNN_CHANNELS)                                                     \
    O(op, save_mean, CNN_F32, CNN_READ, CNN_GROUP_PAIRS)                                                               \
    O(op, save_inv_std, CNN_F32, CNN_READ, CNN_GROUPS)
#define CNN_OPERANDS_scale_channels(O, op)                                                                             \
    O(op, dst, CNN_F32, CNN_WRITTEN, CNN_DESTINATION)                                                                  \
    O(op, src, CNN_F32, CNN_READ | CNN_IN_PLACE, CNN_SOURCE)                                                           \
    O(op, weights, CNN_F32, CNN_READ, CNN_CHANNELS)
#define CNN_OPERANDS_scale_channels_backward_weights(O, op)                                                            \
    O(op, diff_weights, CNN_F32, CNN_WRITTEN, CNN_CHANNELS)                                                            \
    O(op, src, CNN_F32, CNN_READ, CNN_SOURCE)                                                                          \
    O(op, diff_dst, CNN_F32, CNN_READ, CNN_DESTINATION)
#define CNN_OPERANDS_add_channels(O, op)                                                                               \
    O(op, dst, CNN_F32, CNN_WRITTEN, CNN_DESTINATION)                                                                  \
    O(op, src, CNN_F32, CNN_READ | CNN_IN_PLACE, CNN_SOURCE)                                                           \
    O(op, bias, CNN_F32, CNN_READ, CNN_CHANNELS)
#define CNN_OPERANDS_add_channels_backward(O, op)                                                                      \
    O(op, diff_bias, CNN_F32, CNN_WRITTEN, CNN_CHANNELS)                                                               \
    O(op, diff_dst, CNN_F32, CNN_READ, CNN_DESTINATION)
#define CNN_OPERANDS_multiply(O, op)                                                                                   \
    O(op, dst, CNN_F32, CNN_WRITTEN, CNN_DESTINATION)                                                                  \
    O(op, a, CNN_F32, CNN_READ | CNN_IN_PLACE, CNN_SOURCE)                                                             \
    O(op, b, CNN_F32, CNN_READ | CNN_IN_PLACE, CNN_FACTORS)
#define CNN_OPERANDS_multiply_backward(O, op)                                                                          \
    O(op, diff_b, CNN_F32, CNN_WRITTEN, CNN_FACTORS)                                                                   \
    O(op, a, CNN_F32, CNN_READ, CNN_SOURCE)                                                                            \
    O(op, diff_dst, CNN_F32, CNN_READ, CNN_DESTINATION)
#define CNN_OPERANDS_add(O, op)                                                                                        \
    O(op, dst, CNN_F32, CNN_WRITTEN, CNN_DESTINATION)                                                                  \
    O(op, a, CNN_F32, CNN_READ | CNN_IN_PLACE, CNN_SOURCE)                                                             \
    O(op, b, CNN_F32, CNN_READ | CNN_IN_PLACE, CNN_SOURCE)                                                             \
    O(op, mask, CNN_F32, CNN_READ | CNN_OPTIONAL | CNN_IN_PLACE, CNN_SOURCE)
#define CNN_OPERANDS_quantize(O, op)                                                                                   \
    O(op, dst, CNN_U8, CNN_WRITTEN, CNN_DESTINATION)                                                                   \
    O(op, src, CNN_F32, CNN_READ, CNN_SOURCE)
#define CNN_OPERANDS_dequantize(O, op)                                                                                 \
    O(op, dst, CNN_F32, CNN_WRITTEN, CNN_DESTINATION)                                                                  \
    O(op, src, CNN_U8, CNN_READ, CNN_SOURCE)
#define CNN_OPERANDS_codes(O, op)                                                                                      \
    O(op, dst, CNN_U8, CNN_WRITTEN, CNN_DESTINATION)                                                                   \
    O(op, src, CNN_U8, CNN_READ, CNN_SOURCE)
#define CNN_OPERANDS_layer_int8(O, op)                                                                                 \
    O(op, dst, CNN_U8, CNN_WRITTEN, CNN_DESTINATION)                                                                   \
    O(op, src, CNN_U8, CNN_READ, CNN_SOURCE)                                                                           \
    O(op, weights, CNN_I8, CNN_READ, CNN_WEIGHTS)                                                                      \
    O(op, bias, CNN_I32, CNN_READ, CNN_CHANNELS)                                                                       \
    O(op, multipliers, CNN_I32, CNN_READ, CNN_CHANNELS)                                                                \
    O(op, shifts, CNN_I32, CNN_READ, CNN_CHANNELS)
#define CNN_OPERANDS_winograd_int8(O, op)                                                                              \
    O(op, dst, CNN_U8, CNN_WRITTEN, CNN_DESTINATION)                                                                   \
    O(op, src, CNN_U8, CNN_READ, CNN_SOURCE)                                                                           \
    O(op, weights, CNN_I16, CNN_READ, CNN_FILTER)                                                                      \
    O(op, bias, CNN_I32, CNN_READ, CNN_CHANNELS)                                                                       \
    O(op, multipliers, CNN_I32, CNN_READ, CNN_CHANNELS)                                                                \
    O(op, shifts, CNN_I32, CNN_READ, CNN_CHANNELS)
#define CNN_OPERANDS_add_int8(O, op)                                                                                   \
    O(op, dst, CNN_U8, CNN_WRITTEN, CNN_DESTINATION)                                                                   \
    O(op, a, CNN_U8, CNN_READ | CNN_IN_PLACE, CNN_SOURCE)                                                              \
    O(op, b, CNN_U8, CNN_READ | CNN_IN_PLACE, CNN_SOURCE)
#define CNN_OPERANDS_lookup_int8(O, op)                                                                                \
    O(op, dst, CNN_U8, CNN_WRITTEN, CNN_DESTINATION)                                                                   \
    O(op, src, CNN_U8, CNN_READ | CNN_IN_PLACE, CNN_SOURCE)                                                            \
    O(op, table, CNN_U8, CNN_READ, CNN_TABLE)
#define CNN_OPERANDS_cross_entropy(O, op)                                                                              \
    O(op, diff_logits, CNN_F32, CNN_WRITTEN | CNN_OPTIONAL, CNN_SOURCE)                                                \
    O(op, logits, CNN_F32, CNN_READ, CNN_SOURCE)                                                                       \
    O(op, labels, CNN_I64, CNN_READ, CNN_LABELS)
#define CNN_OPERANDS_loss_of_targets(O, op)                                                                            \
    O(op, diff_logits, CNN_F32, CNN_WRITTEN | CNN_OPTIONAL, CNN_SOURCE)                                                \
    O(op, logits, CNN_F32, CNN_READ, CNN_SOURCE)                                                                       \
    O(op, targets, CNN_F32, CNN_READ, CNN_SOURCE)
#define CNN_OPERANDS_mean_squared_error(O, op)                                                                         \
    O(op, diff_src, CNN_F32, CNN_WRITTEN | CNN_OPTIONAL, CNN_SOURCE)                                                   \
    O(op, src, CNN_F32, CNN_READ, CNN_SOURCE)                                                                          \
    O(op, targets, CNN_F32, CNN_READ, CNN_SOURCE)
#define CNN_OPERANDS_check_gradients(O, op) O(op, gradients, CNN_F32, CNN_READ, CNN_PARAMETERS)
#define CNN_OPERANDS_accumulate_gradients(O, op)                                                                       \
    O(op, gradients, CNN_F32, CNN_UPDATED, CNN_PARAMETERS)                                                             \
    O(op, sums, CNN_F32, CNN_UPDATED, CNN_PARAMETERS)
#define CNN_OPERANDS_clip_gradients(O, op) O(op, gradients, CNN_F32, CNN_UPDATED, CNN_PARAMETERS)
#define CNN_OPERANDS_sgd(O, op)                                                                                        \
    O(op, parameters, CNN_F32, CNN_UPDATED, CNN_PARAMETERS)                                                            \
    O(op, velocity, CNN_F32, CNN_UPDATED | CNN_NEEDED, CNN_VELOCITY)                                                   \
    O(op, gradients, CNN_F32, CNN_READ, CNN_PARAMETERS)                                                                \
    O(op, segments, CNN_SEGMENTS, CNN_READ, CNN_TABLE)
#define CNN_OPERANDS_adam(O, op)                                                                                       \
    O(op, parameters, CNN_F32, CNN_UPDATED, CNN_PARAMETERS)                                                            \
    O(op, first_moment, CNN_F32, CNN_UPDATED, CNN_PARAMETERS)                                                          \
    O(op, second_moment, CNN_F32, CNN_UPDATED, CNN_PARAMETERS)                                                         \
    O(op, gradients, CNN_F32, CNN_READ, CNN_PARAMETERS)                                                                \
    O(op, segments, CNN_SEGMENTS, CNN_READ, CNN_TABLE)
#define CNN_OPERANDS_rmsprop(O, op)                                                                                    \
    O(op, parameters, CNN_F32, CNN_UPDATED, CNN_PARAMETERS)                                                            \
    O(op, second_moment, CNN_F32, CNN_UPDATED, CNN_PARAMETERS)                                                         \
    O(op, velocity, CNN_F32, CNN_UPDATED | CNN_NEEDED, CNN_VELOCITY)                                                   \
    O(op, gradients, CNN_F32, CNN_READ, CNN_PARAMETERS)                                                                \
    O(op, segments, CNN_SEGMENTS, CNN_READ, CNN_TABLE)
#define CNN_OPERANDS_average(O, op)                                                                                    \
    O(op, average, CNN_F32, CNN_UPDATED, CNN_PARAMETERS)                                                               \
    O(op, parameters, CNN_F32, CNN_READ, CNN_PARAMETERS)
#define CNN_OPERANDS_lookahead(O, op)                                                                                  \
    O(op, average, CNN_F32, CNN_UPDATED, CNN_PARAMETERS)                                                               \
    O(op, parameters, CNN_F32, CNN_UPDATED, CNN_PARAMETERS)

#define CNN_OPS(X)                                                                                                     \
    X(check_finite, elementwise, no, CNN_MAY_STOP, check, check_finite)                                                \
    X(check_labels, loss, no, CNN_MAY_STOP, check, check_labels)                                                       \
    X(nchw_to_nhwc, image, no, CNN_RUNS_ON, no, plain)                                                                 \
    X(nhwc_to_nchw, image, no, CNN_RUNS_ON, no, plain)                                                                 \
    X(conv2d_forward, conv2d, no, CNN_RUNS_ON, conv2d_forward, conv2d_forward)                                         \
    X(conv2d_backward_data, conv2d, no, CNN_RUNS_ON, conv2d_backward_data, conv2d_backward_data)                       \
    X(conv2d_backward_weights, conv2d, no, CNN_RUNS_ON, conv2d_backward_weights, conv2d_backward_weights)              \
    X(winograd_filter, conv2d, winograd, CNN_RUNS_ON, no, winograd_filter)                                             \
    X(winograd_filter_backward, conv2d, winograd, CNN_RUNS_ON, winograd_filter_backward, winograd_filter_backward)     \
    X(winograd_forward, conv2d, winograd, CNN_RUNS_ON, winograd_forward, winograd_forward)                             \
    X(winograd_backward_data, conv2d, winograd, CNN_RUNS_ON, winograd_backward_data, winograd_backward_data)           \
    X(winograd_backward_weights, conv2d, winograd, CNN_RUNS_ON, winograd_backward_weights, conv2d_backward_weights)    \
    X(linear_forward, linear, no, CNN_RUNS_ON, linear_forward, linear_forward)                                         \
    X(linear_backward_data, linear, no, CNN_RUNS_ON, linear_backward_data, linear_backward_data)                       \
    X(linear_backward_weights, linear, no, CNN_RUNS_ON, linear_backward_weights, linear_backward_weights)              \
    X(maxpool2d_forward, pool2d, maxpool2d, CNN_RUNS_ON, no, maxpool2d_forward)                                        \
    X(maxpool2d_backward, pool2d, maxpool2d, CNN_RUNS_ON, no, maxpool2d_backward)                                      \
    X(avgpool2d_forward, pool2d, no, CNN_RUNS_ON, no, plain)                                                           \
    X(avgpool2d_backward, pool2d, no, CNN_RUNS_ON, no, avgpool2d_backward)                                             \
    X(pad2d_forward, pad2d, no, CNN_RUNS_ON, no, plain)                                                                \
    X(pad2d_backward, pad2d, no, CNN_RUNS_ON, no, plain_backward)                                                      \
    X(upsample2d_forward, upsample2d, no, CNN_RUNS_ON, upsample2d, plain)                                              \
    X(upsample2d_backward, upsample2d, no, CNN_RUNS_ON, upsample2d, plain_backward)                                    \
    X(relu_forward, elementwise, no, CNN_RUNS_ON, no, activation)                                                      \
    X(relu_backward, elementwise, no, CNN_RUNS_ON, no, activation_backward)                                            \
    X(leaky_relu_forward, elementwise, no, CNN_RUNS_ON, no, activation)                                                \
    X(leaky_relu_backward, elementwise, no, CNN_RUNS_ON, no, activation_backward_by_source)                            \
    X(sigmoid_forward, elementwise, no, CNN_RUNS_ON, no, activation)                                                   \
    X(sigmoid_backward, elementwise, no, CNN_RUNS_ON, no, activation_backward)                                         \
    X(tanh_forward, elementwise, no, CNN_RUNS_ON, no, activation)                                                      \
    X(tanh_backward, elementwise, no, CNN_RUNS_ON, no, activation_backward)                                            \
    X(elu_forward, elementwise, elu, CNN_RUNS_ON, no, activation)                                                      \
    X(elu_backward, elementwise, elu, CNN_RUNS_ON, no, activation_backward)                                            \
    X(gelu_forward, elementwise, no, CNN_RUNS_ON, no, activation)                                                      \
    X(gelu_backward, elementwise, no, CNN_RUNS_ON, no, activation_backward_by_source)                                  \
    X(gelu_tanh_forward, elementwise, no, CNN_RUNS_ON, no, activation)                                                 \
    X(gelu_tanh_backward, elementwise, no, CNN_RUNS_ON, no, activation_backward_by_source)                             \
    X(silu_forward, elementwise, no, CNN_RUNS_ON, no, activation)                                                      \
    X(silu_backward, elementwise, no, CNN_RUNS_ON, no, activation_backward_by_source)                                  \
    X(hardswish_forward, elementwise, no, CNN_RUNS_ON, no, activation)                                                 \
    X(hardswish_backward, elementwise, no, CNN_RUNS_ON, no, activation_backward_by_source)                             \
    X(hardsigmoid_forward, elementwise, no, CNN_RUNS_ON, no, activation)                                               \
    X(hardsigmoid_backward, elementwise, no, CNN_RUNS_ON, no, activation_backward)                                     \
    X(relu6_forward, elementwise, no, CNN_RUNS_ON, no, activation)                                                     \
    X(relu6_backward, elementwise, no, CNN_RUNS_ON, no, activation_backward)                                           \
    X(softplus_forward, elementwise, no, CNN_RUNS_ON, no, activation)                                                  \
    X(softplus_backward, elementwise, no, CNN_RUNS_ON, no, activation_backward)                                        \
    X(clip_forward, clip, no, CNN_RUNS_ON, no, activation)                                                             \
    X(clip_backward, clip, no, CNN_RUNS_ON, no, activation_backward)                                                   \
    X(prelu_forward, prelu, no, CNN_RUNS_ON, prelu, prelu_forward)                                                     \
    X(prelu_backward, prelu, no, CNN_RUNS_ON, prelu, prelu_backward)                                                   \
    X(softmax_forward, softmax, no, CNN_RUNS_ON, no, plain)                                                            \
    X(softmax_backward, softmax, no, CNN_RUNS_ON, no, softmax_backward)                                                \
    X(batchnorm_forward_training, norm, no, CNN_RUNS_ON, batchnorm, batchnorm_forward_training)                        \
    X(batchnorm_forward_inference, norm, no, CNN_RUNS_ON, batchnorm, batchnorm_forward_inference)                      \
    X(batchnorm_backward, norm, batchnorm_backward, CNN_RUNS_ON, batchnorm, batchnorm_backward)                        \
    X(batchnorm_moments, norm, no, CNN_RUNS_ON, batchnorm, batchnorm_moments)                                          \
    X(batchnorm_normalize, norm, no, CNN_RUNS_ON, batchnorm, batchnorm_normalize)                                      \
    X(batchnorm_sums, norm, batchnorm_backward, CNN_RUNS_ON, batchnorm, batchnorm_sums)                                \
    X(batchnorm_data, norm, batchnorm_backward, CNN_RUNS_ON, batchnorm, batchnorm_data)                                \
    X(groupnorm_forward, groupnorm, no, CNN_RUNS_ON, groupnorm, groupnorm_forward)                                     \
    X(groupnorm_backward, groupnorm, no, CNN_RUNS_ON, groupnorm, groupnorm_backward)                                   \
    X(dropout, dropout, no, CNN_RUNS_ON, dropout, activation)                                                          \
    X(scale, elementwise, no, CNN_RUNS_ON, no, activation)                                                             \
    X(scale_channels, channels, no, CNN_RUNS_ON, no, scale_channels)                                                   \
    X(scale_channels_backward_weights, channels, no, CNN_RUNS_ON, channel_sums, scale_channels_backward_weights)       \
    X(add_channels, channels, no, CNN_RUNS_ON, no, add_channels)                                                       \
    X(add_channels_backward, channels, no, CNN_RUNS_ON, channel_sums, add_channels_backward)                           \
    X(multiply, channels, no, CNN_RUNS_ON, no, multiply)                                                               \
    X(multiply_backward, channels, no, CNN_RUNS_ON, no, multiply_backward)                                             \
    X(add, elementwise, no, CNN_RUNS_ON, no, add)                                                                      \
    X(copy_channels, slice, no, CNN_RUNS_ON, no, plain)                                                                \
    X(quantize, quantize, no, CNN_RUNS_ON, no, quantize)                                                               \
    X(dequantize, quantize, no, CNN_RUNS_ON, no, dequantize)                                                           \
    X(conv2d_int8, conv2d_int8, no, CNN_RUNS_ON, conv2d_int8, layer_int8)                                              \
    X(linear_int8, linear_int8, no, CNN_RUNS_ON, linear_int8, layer_int8)                                              \
    X(winograd_int8, conv2d_int8, winograd_int8, CNN_RUNS_ON, winograd_int8, winograd_int8)                            \
    X(maxpool2d_int8, pool2d, no, CNN_RUNS_ON, no, codes)                                                              \
    X(avgpool2d_int8, avgpool2d_int8, no, CNN_RUNS_ON, no, codes)                                                      \
    X(add_int8, add_int8, no, CNN_RUNS_ON, no, add_int8)                                                               \
    X(lookup_int8, lookup, no, CNN_RUNS_ON, no, lookup_int8)                                                           \
    X(copy_channels_int8, slice, no, CNN_RUNS_ON, no, codes)                                                           \
    X(nchw_to_nhwc_int8, image, no, CNN_RUNS_ON, no, codes)                                                            \
    X(nhwc_to_nchw_int8, image, no, CNN_RUNS_ON, no, codes)                                                            \
    X(cross_entropy, loss, no, CNN_MAY_STOP, loss, cross_entropy)                                                      \
    X(cross_entropy_soft, loss, no, CNN_MAY_STOP, loss, loss_of_targets)                                               \
    X(pixel_cross_entropy, pixel_loss, no, CNN_MAY_STOP, pixel_loss, cross_entropy)                                    \
    X(mean_squared_error, loss, no, CNN_MAY_STOP, loss, mean_squared_error)                                            \
    X(binary_cross_entropy, loss, no, CNN_MAY_STOP, loss, loss_of_targets)                                             \
    X(check_gradients, optimizer, no, CNN_MAY_STOP, gradient_sums, check_gradients)                                    \
    X(accumulate_gradients, optimizer, no, CNN_MAY_STOP, no, accumulate_gradients)                                     \
    X(clip_gradients, optimizer, no, CNN_RUNS_ON, gradient_sums, clip_gradients)                                       \
    X(sgd, optimizer, no, CNN_RUNS_ON, no, sgd)                                                                        \
    X(adam, optimizer, no, CNN_RUNS_ON, no, adam)                                                                      \
    X(nadam, optimizer, no, CNN_RUNS_ON, no, adam)                                                                     \
    X(rmsprop, optimizer, no, CNN_RUNS_ON, no, rmsprop)                                                                \
    X(average, optimizer, no, CNN_RUNS_ON, no, average)                                                                \
    X(lookahead, optimizer, no, CNN_RUNS_ON, no, lookahead)

typedef enum cnn_op {
#define CNN_OP_ENUM(name, geometry, limits, flags, workspace, operands) CNN_OP_##name,
    CNN_OPS(CNN_OP_ENUM)
#undef CNN_OP_ENUM
        CNN_OP_COUNT
} cnn_op;

#define CNN_OP_DECLARE(name, geometry, limits, flags, workspace, operands)                                             \
    cnn_op_function cnn_##name;                                                                                        \
    cnn_op_function cnn_ref_##name;
CNN_OPS(CNN_OP_DECLARE)
#undef CNN_OP_DECLARE

/* CNN_adam_gradients and so on */
#define CNN_OPERAND_ENUM(op, name, type, use, extent) CNN_##op##_##name,
#define CNN_OPERANDS_ENUM(name, geometry, limits, flags, workspace, operands)                                          \
    enum { CNN_OPERANDS_##operands(CNN_OPERAND_ENUM, name) CNN_##name##_OPERANDS };
CNN_OPS(CNN_OPERANDS_ENUM)
#undef CNN_OPERANDS_ENUM
#undef CNN_OPERAND_ENUM

typedef struct cnn_operand_info {
    const char *name;
    cnn_operand_type type;
    int use; /* CNN_READ, ... */
    cnn_extent extent;
} cnn_operand_info;

typedef struct cnn_op_info {
    const char *name;
    cnn_geometry_kind geometry;
    cnn_geometry_check *limits;
    int flags;
    cnn_workspace_function *workspace;
    const cnn_operand_info *operands; /* as cnn_call has them */
    int operand_count;
    cnn_op_function *function, *reference;
} cnn_op_info;

/* The registry row of an op, NULL when there is none of that number. */
const cnn_op_info *cnn_op_find(int op);

/* Whether these numbers describe something that the op can run on: what a program is checked for. A kind of geometry
 * that there is not fits no op. */
bool cnn_geometry_fits(const cnn_op_info *info, const cnn_geometry *geometry);

/* ... for that many samples: no operand is larger than CNN_MAX_COUNT elements. */
bool cnn_batch_fits(const cnn_op_info *info, const cnn_geometry *geometry, ptrdiff_t batch);

/* Bytes of an operand, by its place in cnn_call, of an op on a geometry and batch that fit; 0: it has no elements. */
int64_t cnn_operand_bytes(const cnn_op_info *info, int operand, const cnn_geometry *geometry, ptrdiff_t batch);

/* Run one op alone on a team of `threads`: for tests and benchmarks. Operands as in cnn_call; allocates workspace. */
cnn_status cnn_op_run(int op, const cnn_geometry *geometry, void *const operands[CNN_MAX_OPERANDS], cnn_run *run,
                      int threads, bool reference);

/* ---- weights of integer inference ------------------------------------------------------------------------------ */

/* The operands `weights` and `bias` of conv2d_int8 and winograd_int8 (`op` is the number, weights [OC][IC/groups][KH][KW])
 * or linear_int8 ([N][K]): the weights in int8 panels or int16 filters, as many bytes as cnn_operand_bytes() says, and
 * corrected [OC] = bias - zero_src * sum of the channel's weights, by which the codes themselves can be multiplied. bias
 * NULL: zeros. CNN_BAD_PROGRAM for another op and where the geometry does not fit it. */
cnn_status cnn_int8_pack(int op, const cnn_geometry *geometry, const int8_t *weights, const int32_t *bias, void *panels,
                         int32_t *corrected);

/* ---- how an op does its work ---------------------------------------------------------------------------------- */

/* The way that an op takes, where it has several. */
typedef enum cnn_variant {
    CNN_VARIANT_USUAL = 0,
    CNN_VARIANT_LANES,    /* conv2d_forward, to few channels: neighbouring pixels lie in the lanes of a vector */
    CNN_VARIANT_SPARSE,   /* conv2d_backward_*, of a fused pool: only where its gradient is not zero */
    CNN_VARIANT_PICK,     /* conv2d_backward_weights, of a fused pool and few channels: each lane picks its pixel */
    CNN_VARIANT_FEW_ROWS, /* linear_forward, of one or two samples: one pass over the weights */
    CNN_VARIANT_DEPTHWISE /* conv2d_*, with one filter for each channel: channels lie in the lanes */
} cnn_variant;

/*
 * How an op does its work: what a model of its time has to know. 0 stands where an op has no such block.
 *   lane_*           LANES: output channels and vectors of pixels of a register tile, at most
 *   tiles            winograd_forward and winograd_backward_*: output tiles of the batch
 *   tile_block       of these, how many of a large batch meet the filters together; winograd_backward_weights: how many
 *                    are summed up before that is added to memory
 *   ic_blocks, oc_blocks, oc_block   winograd_backward_weights: blocks of channels, each pair of which goes through all
 *                    tiles, and the output channels of the largest, in whole panels
 *   filter_columns   winograd_filter*: columns of dst that lie side by side
 */
typedef struct cnn_blocking {
    cnn_variant variant;
    ptrdiff_t lane_channels, lane_vectors, tiles, tile_block, ic_blocks, oc_blocks, oc_block, filter_columns;
} cnn_blocking;

typedef cnn_blocking cnn_blocking_function(const cnn_geometry *geometry, ptrdiff_t batch);

/* What an op does on a geometry that it can run on, by the functions with which it decides itself. No instruction set
 * changes it; "reference" runs the twins instead. */
cnn_blocking cnn_op_blocking(int op, const cnn_geometry *geometry, ptrdiff_t batch);

/* The largest block of a matrix product that an instruction set keeps in registers. */
typedef struct cnn_register_tile {
    int rows, columns, width; /* width: floats of a vector */
} cnn_register_tile;

/* By the name of the set, whether this CPU has it or not; NULL: there is no such set. "reference" has "portable"'s. */
const cnn_register_tile *cnn_register_tile_of(const char *isa);

/* ---- programs ----------------------------------------------------------------------------------------------- */

/* Where an operand lives. Persistent spaces belong to the caller and outlive the program. */
typedef enum cnn_space {
    CNN_SPACE_NONE = 0,
    CNN_SPACE_ARENA,
    CNN_SPACE_PARAMETERS,
    CNN_SPACE_GRADIENTS,
    CNN_SPACE_BUFFERS,   /* running statistics */
    CNN_SPACE_STATES,    /* optimiser */
    CNN_SPACE_CONSTANTS, /* what does not change while the program lives */
    CNN_SPACE_EXTERNAL,  /* offset is the index into cnn_run.externals */
    CNN_SPACE_COUNT
} cnn_space;

typedef struct cnn_operand {
    cnn_space space;
    int64_t offset, bytes; /* bytes at the largest batch; checked against the size of the space */
} cnn_operand;

typedef struct cnn_instruction {
    int op;
    int operands[CNN_MAX_OPERANDS]; /* indices into the operand table; -1 for an absent optional one */
    cnn_geometry geometry;
    bool alone; /* one worker runs it: for an op that is less work than a meeting of the team */
    /* Its window: it runs on so many samples of the batch at most, from `first` on, and not at all where the batch has
     * none of them; its operands begin with the first of these samples, so none is an external. samples 0: the whole
     * batch. */
    ptrdiff_t first, samples;
} cnn_instruction;

/* How many samples an instruction runs on when the batch has so many. */
ptrdiff_t cnn_instruction_batch(const cnn_instruction *instruction, ptrdiff_t batch);

typedef struct cnn_program_description {
    const cnn_instruction *instructions;
    ptrdiff_t instruction_count;
    const cnn_operand *operands;
    ptrdiff_t operand_count;
    ptrdiff_t max_batch;
    bool brief;       /* a run takes hardly longer than waking a team that sleeps */
    int most_workers; /* more would lose in their meetings what they gain; below 1: there is no such limit */
    void *spaces[CNN_SPACE_COUNT];        /* base pointers; NULL for the arena, which the program allocates */
    int64_t space_bytes[CNN_SPACE_COUNT]; /* the arena's size too */
} cnn_program_description;

typedef struct cnn_program cnn_program;

/* Copies the tables, checks them, allocates arena and workspace once. On failure *program is NULL and *detail the
 * instruction at fault. Running never allocates, except once when the team grows.
 *
 * Whoever wrote the description, a program that is made touches nothing but its operands: each has the bytes that the
 * geometry needs at max_batch, or for its window, and lies in its space; what is written overlaps no other operand of its instruction,
 * except in place; segments are constants, and an argmax that is read is one or was written last by the forward pass of
 * the same pooling. The caller answers for the sizes of spaces and externals. */
cnn_status cnn_program_create(const cnn_program_description *description, cnn_program **program, ptrdiff_t *detail);
void cnn_program_destroy(cnn_program *program);

/* Executes every instruction for run->batch samples on a team of cnn_get_threads() workers, of most_workers if that is
 * fewer, or on the calling thread where every instruction is one worker's, or where a brief program has not run for a
 * while. One run at a time. */
cnn_status cnn_program_run(cnn_program *program, cnn_run *run);

/* The arena, to look at intermediate values after a run (only those that are still live). */
void *cnn_program_arena(cnn_program *program);
int64_t cnn_program_workspace_bytes(const cnn_program *program);

/* ---- batches of images ---------------------------------------------------------------------------------------- */

/* Where a pixel comes from that a shift moved in from outside: a b c d with nothing, a a | a b c d | d d,
 * b a | a b c d | d c, c d | a b c d | a b, c b | a b c d | c b. */
typedef enum cnn_fill {
    CNN_FILL_CONSTANT = 0,
    CNN_FILL_NEAREST,
    CNN_FILL_REFLECT,
    CNN_FILL_WRAP,
    CNN_FILL_MIRROR
} cnn_fill;

/* A batch that is taken from a set of images. The tables that may be NULL have an entry per sample of the batch. */
typedef struct cnn_image_batch {
    const uint8_t *images;  /* [count][C][H][W]; may be a memory map */
    const int64_t *indices; /* [n], each in 0 ... count-1 */
    ptrdiff_t n, c, h, w;
    const float *scale, *offset; /* [C], or [n][C] with per_sample */
    bool per_sample;
    const int32_t *shifts; /* NULL, or [n][2]: rows down, columns to the right */
    cnn_fill fill;
    uint8_t fill_value;    /* with CNN_FILL_CONSTANT */
    const uint8_t *flips;  /* NULL, or [n]: not 0 mirrors left to right */
    const uint8_t *turns;  /* NULL, or [n]: not 0 mirrors top to bottom */
    const int32_t *boxes;  /* NULL, or [n][box_count][4]: top, left, bottom, right, ends exclusive; may reach outside */
    const uint8_t *paints; /* [n][box_count][C], where there are boxes: their pixels */
    ptrdiff_t box_count;
} cnn_image_batch;

/* dst [n][C][H][W] = pixel * scale + offset, both roundings done, of each sample: shifted, then mirrored, then with its
 * boxes painted one after the other. dst does not overlap anything. Every sample is one worker's; threads in
 * 1 ... CNN_MAX_THREADS. */
cnn_status cnn_gather_images(float *dst, const cnn_image_batch *batch, int threads);
void cnn_ref_gather_images(float *dst, const cnn_image_batch *batch);

#define CNN_WARP_ONE (INT64_C(1) << 32) /* a pixel, in the coefficients of a warp */

/* A batch that is warped: each sample by an affine map of its own, from places in the result to places in the source. */
typedef struct cnn_image_warp {
    const uint8_t *images;       /* [count][C][H][W]; may be a memory map */
    const int64_t *indices;      /* [n], each in 0 ... count-1 */
    ptrdiff_t n, c, h, w;        /* h and w at most 2^15 */
    const int64_t *coefficients; /* [n][2][3] in 2^-32 pixels; the third of a row within +-2^61, the others +-2^46 */
    cnn_fill fill;               /* of what lies outside of the source */
    uint8_t fill_value;          /* with CNN_FILL_CONSTANT */
} cnn_image_warp;

/* dst [n][C][H][W]: pixel (x, y) of a sample, counted from its first one, is interpolated between the four pixels round
 * the place (a0*x + a1*y + a2, a3*x + a4*y + a5) of its source. A place is exact in 2^-32 pixels, and each of its two
 * numbers is rounded to 2^-11 pixels, a half up. These are the weights, and the weighed sum is exact and rounded to a
 * grey level, a half up. There is no floating point in it: the bytes are the same on every machine and with every
 * compiler, instruction set and number of threads. A place on a pixel gives that pixel.
 * dst does not overlap anything. Every sample is one worker's; threads in 1 ... CNN_MAX_THREADS. CNN_BAD_WARP for a
 * coefficient, an extent or a fill that is none of these. */
cnn_status cnn_warp_images(uint8_t *dst, const cnn_image_warp *warp, int threads);
void cnn_ref_warp_images(uint8_t *dst, const cnn_image_warp *warp);

enum {
    CNN_COLOUR_BITS = 16,                    /* of a colour factor behind the point */
    CNN_COLOUR_ONE = 1 << CNN_COLOUR_BITS,   /* the factor that changes nothing */
    CNN_COLOUR_LARGEST = 16 * CNN_COLOUR_ONE /* no sum of two products overflows 32 bits */
};

/* A batch whose colours are changed: each sample by three factors of its own. */
typedef struct cnn_image_colours {
    const uint8_t *images;  /* [count][C][H][W]; may be a memory map */
    const int64_t *indices; /* [n], each in 0 ... count-1 */
    ptrdiff_t n, c, h, w;
    const int32_t *factors; /* [n][3]: brightness, contrast, saturation, each in 0 ... CNN_COLOUR_LARGEST */
} cnn_image_colours;

/* dst [n][C][H][W]: each sample brightened, then its contrast and then its saturation changed. Each is the same mean of
 * a pixel and a base, f * pixel + (1 - f) * base, rounded to a grey level, a half up, and cut off at 0 and 255. The base
 * is 0 for brightness; the mean grey of the image, rounded, a half up, for contrast; the pixel's own grey for
 * saturation. Grey is (19595 R + 38470 G + 7471 B) / 2^16 (ITU-R BT.601), rounded, a half up, of three channels, and
 * otherwise each channel by itself, whose saturation stays. Whole numbers throughout, as of a warp.
 * dst does not overlap anything. Every sample is one worker's; threads in 1 ... CNN_MAX_THREADS. */
cnn_status cnn_recolour_images(uint8_t *dst, const cnn_image_colours *colours, int threads);
void cnn_ref_recolour_images(uint8_t *dst, const cnn_image_colours *colours);

/* ---- threads, instruction sets, random numbers, matrices -------------------------------------------------------- */

/* The one place that decides the number of threads. The first of these that says something decides:
 *
 *   1. an explicit count, cnn_set_threads()
 *   2. CNN_NUM_THREADS; a value that is no count from 1 to CNN_MAX_THREADS is refused, not ignored
 *   3. OMP_NUM_THREADS, which job schedulers and process pools (joblib's loky) set; the first of a list; a value that
 *      OpenMP ignores is ignored here too
 *   4. affinity (the places of OpenMP, where it binds threads) or the tightest CPU quota of a cgroup, whichever is less
 *
 * 1 to 3 are honoured above the core count too; OpenMP's OMP_THREAD_LIMIT bounds them all. The variables are read once; cnn_set_threads(0) reads them anew. */
cnn_status cnn_set_threads(int threads); /* 0: back to the default */
int cnn_get_threads(void);               /* -1 when CNN_NUM_THREADS is no count within the range */
const char *cnn_requested_threads(void); /* what CNN_NUM_THREADS says, for the message; NULL: not set */
int cnn_usable_cpus(void);               /* what 4. alone says: 1 or more */
int cnn_measure_team(void);              /* opens a team and counts it */
bool cnn_has_openmp(void);
void cnn_barrier(const cnn_worker *worker);

/* "reference", "portable", "avx2", "avx512", "neon". The default is the best that the CPU has; the variable CNN_ISA
 * overrides it. "reference" runs the naive twins. */
cnn_status cnn_set_isa(const char *name);
const char *cnn_get_isa(void);            /* NULL when CNN_ISA names a set that is not to be had */
const char *cnn_available_isa(int index); /* NULL behind the last */
const char *cnn_requested_isa(void);      /* what CNN_ISA says, for the message */

/* Whether integer inference takes AVX-512 VNNI, which not every CPU of "avx512" has: by default where it is to be had,
 * not where the variable CNN_VNNI is 0. The results are the same. */
void cnn_set_vnni(bool wanted);
bool cnn_uses_vnni(void);

/* Philox4x32-10 (Salmon et al. 2011): four 32-bit draws for a counter and a key. */
void cnn_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t draws[4]);

/* C (M x N, ldc) = alpha * op(A) * op(B) + beta * C, row-major; op transposes when its flag is set. beta = 0
 * overwrites and never reads C. Leading dimensions in elements. Uses cnn_get_threads() workers. */
cnn_status cnn_sgemm(bool transpose_a, bool transpose_b, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, float alpha,
                     const float *a, ptrdiff_t lda, const float *b, ptrdiff_t ldb, float beta, float *c, ptrdiff_t ldc);
void cnn_ref_sgemm(bool transpose_a, bool transpose_b, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, float alpha,
                   const float *a, ptrdiff_t lda, const float *b, ptrdiff_t ldb, float beta, float *c, ptrdiff_t ldc);

/* Busy loop of independent FMAs with the widest vectors of the current instruction set: FLOPs done, for the peak. */
double cnn_fma_burst(int64_t rounds);

/* Reads `count` floats, but for a rest of less than 64, `rounds` times; each of cnn_get_threads() workers reads its own
 * share from front to back. Bytes read, for the bandwidth of the cache or memory that they are in. */
double cnn_read_burst(const float *src, ptrdiff_t count, int64_t rounds);

#ifdef __cplusplus
}
#endif
#endif
