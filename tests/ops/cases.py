"""The table of cases: shapes that an op is likely to get wrong. One row serves forward and every gradient."""

from tests.ops.families.activation import Activation, Dropout, PReLU, Softmax
from tests.ops.families.arithmetic import Add, Multiply, Scale, Shift
from tests.ops.families.base import Family
from tests.ops.families.convolution import Conv2D, Linear, Winograd
from tests.ops.families.losses import Checks, Loss, PixelLoss
from tests.ops.families.moving import CopyChannels, Pad2D, Transpose, Upsample2D
from tests.ops.families.normalization import BatchNorm, GroupNorm
from tests.ops.families.optimizers import SGD, Adam, Averages, Clip, NAdam, RMSprop, Segment
from tests.ops.families.pooling import AvgPool2D, MaxPool2D
from tests.ops.oracle import Decay

SAME = (1, 1, 1, 1)

CONVOLUTIONS: list[Family] = [
    Conv2D(1, 1, 1, 1, 1, kernel=(1, 1)),
    Conv2D(3, 9, 7, 1, 1),
    Conv2D(3, 9, 7, 1, 17),
    Conv2D(3, 9, 7, 3, 5, pad=SAME),
    Conv2D(3, 9, 7, 17, 33, pad=SAME),
    Conv2D(7, 9, 7, 33, 17, bias=False),
    Conv2D(2, 8, 13, 2, 16, kernel=(5, 5), pad=(2, 2, 2, 2)),
    Conv2D(3, 7, 9, 6, 6, kernel=(1, 1)),
    Conv2D(3, 7, 9, 6, 9, kernel=(1, 1), stride=(2, 3)),
    Conv2D(2, 9, 7, 4, 10, stride=(2, 2), pad=SAME),
    Conv2D(3, 9, 7, 16, 32, stride=(2, 1), pad=SAME),
    Conv2D(2, 11, 9, 3, 4, kernel=(2, 3), stride=(3, 1), pad=(0, 2, 0, 0)),
    Conv2D(3, 9, 11, 5, 7, kernel=(4, 2), pad=(1, 0, 2, 1)),
    Conv2D(3, 9, 7, 8, 12, kernel=(4, 4), pad=(1, 1, 2, 2)),
    Conv2D(2, 10, 11, 3, 8, dilation=(2, 3), pad=(2, 3, 2, 3)),
    Conv2D(1, 12, 10, 2, 3, kernel=(3, 2), stride=(2, 3), dilation=(2, 2), pad=(3, 1, 0, 2)),
    Conv2D(3, 9, 7, 6, 9, groups=3, pad=SAME),
    Conv2D(2, 6, 7, 34, 36, groups=2),
    Conv2D(3, 9, 7, 11, 11, groups=11, pad=SAME),
    Conv2D(7, 9, 7, 33, 33, groups=33, pad=SAME, stride=(2, 2)),
    Conv2D(2, 8, 7, 4, 12, kernel=(5, 3), groups=4, stride=(2, 2), pad=(2, 1, 1, 0)),
    Conv2D(2, 13, 9, 6, 4, groups=2, dilation=(3, 2), stride=(2, 1), pad=(3, 0, 1, 4)),
    Conv2D(1, 3, 3, 4, 5),
    Conv2D(2, 2, 2, 3, 3, pad=SAME),
    Conv2D(1, 1, 17, 2, 4, kernel=(1, 5), pad=(0, 2, 0, 2)),
    Conv2D(1, 17, 1, 3, 2, kernel=(7, 1), pad=(3, 0, 3, 0)),
    Conv2D(2, 5, 5, 3, 4, kernel=(5, 5), pad=(4, 4, 4, 4)),
    Conv2D(2, 9, 7, 3, 4, stride=(4, 5)),
    Conv2D(1, 5, 6, 70, 3, pad=SAME),
    Conv2D(3, 9, 7, 5, 16, pad=SAME, relu=True),
    Conv2D(3, 9, 7, 5, 17, pad=SAME, relu=True, bias=False),
    Conv2D(3, 8, 8, 3, 16, pad=SAME, relu=True, pool=True),
    Conv2D(3, 9, 7, 3, 5, pad=SAME, relu=True, pool=True),
    Conv2D(7, 9, 11, 17, 33, relu=True, pool=True),
    Conv2D(3, 10, 9, 2, 6, kernel=(5, 5), pool=True),
    Conv2D(2, 13, 11, 4, 8, stride=(2, 1), groups=2, relu=True, pool=True, bias=False),
    Conv2D(3, 10, 9, 4, 6, kernel=(2, 3), dilation=(2, 1), pool=True),
    Conv2D(1, 28, 28, 1, 6, kernel=(5, 5), pad=(2, 2, 2, 2), relu=True, pool=True),
    Conv2D(5, 14, 14, 6, 16, kernel=(5, 5), relu=True, pool=True),
    Conv2D(7, 14, 14, 32, 48, pad=SAME, relu=True),
    Conv2D(3, 32, 31, 3, 32, pad=SAME, relu=True, pool=True),
    *[Conv2D(1, 9, 7, channels, channels + 1, pad=SAME) for channels in range(2, 18)],
]

WINOGRAD: list[Family] = [
    Winograd(1, 3, 3, 1, 1),
    Winograd(1, 1, 1, 2, 3, pad=SAME),
    Winograd(2, 2, 7, 3, 5, pad=SAME, bias=False),
    Winograd(3, 9, 7, 5, 17, pad=SAME, relu=True),
    Winograd(3, 8, 8, 16, 32, pad=SAME, relu=True, pool=True),
    Winograd(2, 9, 11, 17, 33, pad=SAME, relu=True, pool=True, bias=False),
    Winograd(2, 10, 13, 8, 20, pad=(2, 0, 1, 2), pool=True),
    Winograd(1, 7, 6, 33, 9, pad=(0, 2, 2, 0), relu=True),
    Winograd(2, 6, 5, 4, 6, pad=(3, 4, 2, 3)),
    Winograd(7, 14, 14, 32, 48, pad=SAME, relu=True),
    Winograd(3, 6, 5, 150, 100, pad=SAME),
    Winograd(2, 4, 4, 40, 130, pad=SAME),
    Winograd(1, 3, 4, 3, 4, pad=SAME, tile=2),
    Winograd(3, 9, 7, 17, 18, pad=SAME, relu=True, pool=True, tile=2),
    Winograd(5, 7, 7, 33, 40, pad=(1, 0, 2, 1), relu=True, tile=2),
    Winograd(2, 5, 4, 150, 70, tile=2),
    Winograd(2, 9, 7, 5, 18, kernel=(5, 5), pad=(2, 2, 2, 2), relu=True, pool=True),
    Winograd(3, 14, 13, 24, 33, kernel=(5, 5), pad=(0, 1, 2, 0), relu=True),
    Winograd(1, 8, 8, 70, 72, kernel=(5, 5), pad=(2, 2, 2, 2), bias=False),
    Winograd(3, 8, 11, 34, 33, kernel=(5, 5), pad=(1, 3, 2, 0)),
    *[Winograd(1, 6, 9, channels, channels + 1, pad=SAME, tile=4) for channels in range(6, 18)],
    # every number of rows and of columns of a tile beyond the map, with tiles of all kinds in a block
    *[Winograd(5, h, w, 19, 20, pad=SAME, pool=True) for h in range(5, 9) for w in range(5, 9)],
    *[Winograd(3, side, 13 - side, 9, 8, (5, 5), pad=(2, 2, 2, 2), relu=True) for side in range(5, 9)],
    *[Winograd(3, h, w, 20, 17, pad=SAME, relu=True, pool=True, tile=2) for h in (3, 4) for w in (3, 4)],
    Winograd(30, 7, 6, 18, 20, pad=SAME, relu=True),
    Winograd(30, 3, 2, 33, 40, pad=SAME, pool=True),
]

LINEAR: list[Family] = [
    Linear(1, 1, 1),
    Linear(1, 17, 10),
    Linear(3, 5, 7, bias=False),
    Linear(3, 33, 16, relu=True),
    Linear(7, 64, 33),
    Linear(7, 129, 65, relu=True, bias=False),
    Linear(33, 31, 17),
    Linear(64, 400, 120, relu=True),
    Linear(65, 1152, 130),
    Linear(35, 29, 1030),
    Linear(2, 1, 100),
    Linear(100, 3, 1),
]

MAX_POOLING: list[Family] = [
    MaxPool2D(1, 2, 2, 1),
    MaxPool2D(3, 9, 7, 5),
    MaxPool2D(3, 9, 7, 17, argmax=False),
    MaxPool2D(3, 9, 7, 5, ceil=True),
    MaxPool2D(3, 8, 6, 16, ties=True),
    MaxPool2D(7, 9, 7, 33, kernel=(3, 3), pad=SAME),
    MaxPool2D(3, 9, 7, 3, kernel=(3, 3), stride=(1, 1), pad=SAME, ties=True),
    MaxPool2D(2, 10, 11, 6, kernel=(3, 2), stride=(2, 3), pad=(1, 0, 0, 1), ceil=True),
    MaxPool2D(2, 10, 7, 65, kernel=(3, 3), stride=(2, 2), ceil=True),
    MaxPool2D(1, 7, 9, 2, kernel=(5, 4), stride=(3, 5), pad=(2, 1, 2, 1)),
    MaxPool2D(3, 9, 7, 4, kernel=(9, 7), stride=(9, 7)),
    MaxPool2D(2, 9, 8, 3, kernel=(1, 1), stride=(3, 2)),
]

AVERAGE_POOLING: list[Family] = [
    AvgPool2D(1, 2, 2, 1),
    AvgPool2D(3, 9, 7, 17),
    AvgPool2D(3, 9, 7, 5, ceil=True, count_include_pad=False),
    AvgPool2D(7, 9, 7, 33, kernel=(3, 3), pad=SAME),
    AvgPool2D(2, 9, 7, 4, kernel=(3, 3), stride=(1, 1), pad=SAME, count_include_pad=False),
    AvgPool2D(2, 10, 11, 6, kernel=(3, 2), stride=(2, 3), pad=(1, 0, 0, 1), ceil=True),
    AvgPool2D(3, 9, 7, 16, kernel=(9, 7), stride=(1, 1)),
    AvgPool2D(3, 28, 28, 65, kernel=(28, 28), stride=(28, 28)),
    AvgPool2D(2, 9, 8, 3, kernel=(1, 1), stride=(3, 2)),
]

RESAMPLING: list[Family] = [
    Pad2D(1, 1, 1, 1),
    Pad2D(3, 9, 7, 17),
    Pad2D(3, 5, 7, 3, pad=(0, 3, 12, 1)),
    Pad2D(2, 5, 4, 16, channels=(8, 8), pad=(0, 0, 0, 0)),
    Pad2D(2, 5, 4, 3, channels=(0, 5), pad=(1, 0, 0, 2)),
    Pad2D(3, 9, 7, 17, mode="reflect"),
    Pad2D(2, 4, 5, 33, mode="reflect", pad=(3, 4, 3, 4)),
    Pad2D(2, 2, 3, 1, mode="reflect", pad=(1, 0, 0, 2), channels=(1, 0)),
    Pad2D(3, 9, 7, 17, mode="edge"),
    Pad2D(2, 1, 2, 5, mode="edge", pad=(4, 9, 0, 3)),
    Pad2D(2, 3, 3, 4, mode="edge", pad=(2, 1, 1, 0), channels=(3, 2)),
    *[
        Upsample2D(*shape, scale=scale, sampling=sampling)
        for sampling in ("nearest", "half_pixel", "aligned")
        for shape, scale in [
            ((1, 1, 1, 1), (1, 1)),
            ((3, 9, 7, 17), (2, 2)),
            ((2, 1, 5, 33), (3, 1)),
            ((2, 4, 1, 3), (1, 4)),
            ((2, 5, 6, 16), (4, 3)),
            ((3, 2, 2, 1), (7, 5)),
        ]
    ],
]

KINDS = (
    "relu", "leaky_relu", "sigmoid", "tanh", "elu", "gelu", "gelu_tanh", "silu", "hardswish", "hardsigmoid", "relu6",
    "softplus", "clip",
)  # fmt: skip

ELEMENTWISE: list[Family] = [
    *[
        Activation(kind, batch, count, spread=spread)
        for kind in KINDS
        for batch, count, spread in [(1, 1, 2.0), (3, 17, 2.0), (7, 9 * 7 * 33, 2.0), (3, 1025, 60.0)]
    ],
    Activation("leaky_relu", 3, 33, slope=0.3),
    Activation("sigmoid", 3, 129, spread=0.01),
    Activation("tanh", 3, 129, spread=0.01),
    Activation("elu", 7, 9 * 7 * 33, slope=1.0),
    Activation("elu", 3, 1025, slope=1.7, spread=60.0),
    Activation("elu", 3, 129, slope=1.0, spread=0.01),
    *[Activation(kind, 3, 129, spread=0.01) for kind in ("gelu", "gelu_tanh", "silu", "hardswish", "softplus")],
    Activation("clip", 3, 129, slope=-0.7),
    PReLU(1, 1, 1),
    PReLU(3, 4099, 1),
    PReLU(3, 63, 17),
    PReLU(7, 9 * 7, 33),
    PReLU(33, 196, 64),
    PReLU(3, 2, 1050),
    Softmax(1, 1, 1),
    Softmax(7, 1, 10),
    Softmax(3, 63, 17),
    Softmax(3, 2, 1000),
    Softmax(3, 1, 33, spread=80.0),
    Add(1, 1),
    Add(3, 17),
    Add(7, 9 * 7 * 33),
    Dropout(1, 1, 0.5),
    Dropout(3, 17, 0.2, seed=7, step=3, stream=2),
    Dropout(7, 1023, 0.5, seed=2**63 + 11, step=2**31, stream=1),
    Dropout(64, 257, 0.7, seed=1, step=5),
    Dropout(3, 33, 0.0, seed=1),
    Dropout(33, 1023, 0.5, seed=7, step=3, draws=1),
    Dropout(7, 9 * 63, 0.2, seed=7, step=3, stream=2, draws=63),
    Dropout(5, 63 * 17, 0.7, seed=2**63 + 11, step=2**31, draws=17),
    Dropout(3, 4097 * 3, 0.3, draws=3),
    Dropout(3, 7 * 1030, 0.5, stream=1, draws=1030),
    Scale(1, 1, 1, factor=-3.0),
    Scale(3, 1, 17, factor=1.0 / 9.0),
    Scale(7, 63, 33, factor=0.0),
    Scale(20, 196, 48),
    Scale(2, 63, 1030),
    Shift(1, 1, 1),
    Shift(3, 1, 17),
    Shift(7, 63, 33, offset=100.0),
    Shift(20, 196, 48),
    Shift(2, 63, 1030),
    Multiply(1, 1, 1),
    Multiply(3, 1, 4099),
    Multiply(3, 63, 5),
    Multiply(7, 49, 33),
    Multiply(3, 900, 64),
    Multiply(2, 9, 1030),
]

NORMALISATION: list[Family] = [
    BatchNorm(2, 1, 1),
    BatchNorm(1, 1, 5),
    BatchNorm(7, 1, 33),
    BatchNorm(3, 63, 17),
    BatchNorm(7, 63, 5, eps=1e-3, momentum=0.01),
    BatchNorm(3, 64, 16, offset=100.0),
    BatchNorm(33, 196, 32),
    BatchNorm(1, 63, 65),
    BatchNorm(3, 63, 17, relu=True),
    BatchNorm(40, 49, 32, relu=True),
    BatchNorm(3, 2 * 2, 5, w=2, relu=True, pool=True),
    BatchNorm(3, 9 * 7, 17, w=7, pool=True),
    BatchNorm(7, 8 * 9, 33, w=9, relu=True, pool=True),
    BatchNorm(20, 14 * 14, 48, w=14, relu=True, pool=True),
    BatchNorm(2, 9 * 8, 1030, w=8, pool=True),
    BatchNorm(70, 1, 1100, relu=True),
    BatchNorm(3, 63, 17, scale=False, eps=1e-12, momentum=0.4),
    BatchNorm(7, 1, 33, shift=False),
    BatchNorm(7, 8 * 9, 33, w=9, relu=True, pool=True, scale=False),
    BatchNorm(40, 49, 32, relu=True, scale=False, shift=False),
    GroupNorm(2, 1, 2, 1),
    GroupNorm(3, 1, 33, 1),
    GroupNorm(70, 1, 1100, 1, shift=False),
    GroupNorm(3, 2, 5, 5),
    GroupNorm(7, 63, 17, 17, scale=False, shift=False),
    GroupNorm(7, 63, 6, 3, eps=1e-3),
    GroupNorm(33, 49, 48, 8, scale=False),
    GroupNorm(3, 64, 16, 4, offset=100.0),
    GroupNorm(2, 900, 96, 8),
    GroupNorm(17, 900, 96, 1, shift=False),
    GroupNorm(1, 4097, 33, 11),
    GroupNorm(2, 130, 1030, 10),
]

MOVES: list[Family] = [
    Transpose(1, 1, 1, 1),
    Transpose(3, 9, 7, 1),
    Transpose(3, 9, 7, 3),
    Transpose(7, 9, 7, 33),
    Transpose(2, 1, 1, 40),
    Transpose(3, 17, 16, 16),
    CopyChannels(1, 1, 1, 1, 0, 1, 0),
    CopyChannels(3, 63, 5, 5, 0, 22, 17),
    CopyChannels(3, 63, 17, 22, 5, 17, 0),
    CopyChannels(7, 4, 33, 40, 3, 50, 9),
]

LOSSES: list[Family] = [
    *[
        Loss(kind, batch, classes)
        for kind in ("cross_entropy", "cross_entropy_soft", "mean_squared_error", "binary_cross_entropy")
        for batch, classes in [(1, 1), (1, 10), (7, 17), (64, 10), (129, 62)]
    ],
    Loss("cross_entropy", 7, 10, label_smoothing=0.1),
    Loss("cross_entropy_soft", 7, 33, label_smoothing=0.2),
    Loss("cross_entropy", 7, 10, spread=80.0),
    Loss("binary_cross_entropy", 7, 10, spread=80.0),
    *[PixelLoss(batch, rows, classes) for batch, rows, classes in [(1, 1, 1), (1, 6, 2), (3, 35, 21), (2, 300, 5)]],
    PixelLoss(3, 35, 21, ignored=255, share=0.3, label_smoothing=0.1),
    PixelLoss(2, 64, 4, ignored=2, share=0.3),
    PixelLoss(2, 9, 4, ignored=255, share=1.0),
    PixelLoss(2, 9, 1500, ignored=-100, share=0.5, spread=80.0),
    PixelLoss(2, 64, 4, ignored=255, share=0.3, gradient=False),
    Loss("cross_entropy", 3, 10, gradient=False),
    Loss("cross_entropy_soft", 3, 10, gradient=False),
    Loss("mean_squared_error", 3, 10, gradient=False),
    Loss("binary_cross_entropy", 3, 10, gradient=False),
    Checks(1, 1),
    Checks(7, 33),
    Checks(64, 784),
]

PLAIN = (Segment(1),)
MIXED = (
    Segment(33, Decay(l2=0.01)),
    Segment(1, Decay(lr_scale=0.0)),
    Segment(130, Decay(weight_decay=0.1, lr_scale=0.5)),
    Segment(17, Decay(l2=0.02, weight_decay=0.01, lr_scale=2.0)),
    Segment(9),
)
LARGE = (Segment(40_000, Decay(l2=1e-3)), Segment(30_011), Segment(16, Decay(weight_decay=0.01)))

OPTIMISERS: list[Family] = [
    Clip(1, 100.0),
    Clip(33, 1.0),
    Clip(33, 1000.0),
    Clip(70_027, 5.0),
    *[
        SGD(segments, momentum=momentum, nesterov=nesterov)
        for segments in (PLAIN, MIXED, LARGE)
        for momentum, nesterov in [(0.0, False), (0.9, False), (0.9, True)]
    ],
    *[Adam(segments, step=step) for segments in (PLAIN, MIXED, LARGE) for step in (0, 9)],
    Adam(MIXED, betas=(0.5, 0.9), eps=1e-3, step=1000),
    *[NAdam(segments, step=step) for segments in (PLAIN, MIXED, LARGE) for step in (0, 9)],
    NAdam(MIXED, betas=(0.99, 0.9), eps=1e-3, step=1000, momentum_decay=1.0),
    *[
        RMSprop(segments, momentum=momentum, keras=keras)
        for segments in (PLAIN, MIXED, LARGE)
        for momentum in (0.0, 0.9)
        for keras in (False, True)
    ],
    Averages(1),
    Averages(33, keep=-1.0, first_sample=0, more=True),
    Averages(70_027, keep=0.0, more=True),
    Averages(70_027, keep=0.99, first_sample=0),
]

CASES: list[Family] = [
    *CONVOLUTIONS,
    *WINOGRAD,
    *LINEAR,
    *MAX_POOLING,
    *AVERAGE_POOLING,
    *RESAMPLING,
    *ELEMENTWISE,
    *NORMALISATION,
    *MOVES,
    *LOSSES,
    *OPTIMISERS,
]
