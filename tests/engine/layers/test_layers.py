"""Layers alone: their shapes, parameters, and what they refuse."""

from __future__ import annotations

import math
from typing import Any

import pytest

from engine.errors import UserError
from engine.layers import (
    ELU,
    GELU,
    LAYERS,
    Add,
    AvgPool2D,
    BatchNorm,
    Clip,
    Concat,
    Conv2D,
    ConvTranspose2D,
    Dropout,
    Dropout2D,
    Flatten,
    GlobalAvgPool2D,
    GroupNorm,
    Hardsigmoid,
    Hardswish,
    InstanceNorm,
    Layer,
    LayerNorm,
    Linear,
    MaxPool2D,
    Multiply,
    Pad2D,
    PadChannels,
    PReLU,
    ReLU,
    ReLU6,
    Scale,
    SiLU,
    Softmax,
    Softplus,
    StochasticDepth,
    Upsample2D,
    make_layer,
)

SHAPES: list[tuple[Layer, tuple[tuple[int, ...], ...], tuple[int, ...]]] = [
    (Conv2D(3, 16, 3, 1, 1), ((3, 9, 7),), (16, 9, 7)),
    (Conv2D(3, 16, 5), ((3, 9, 7),), (16, 5, 3)),
    (Conv2D(4, 6, (3, 2), stride=(2, 3), padding=(1, 0), groups=2), ((4, 9, 7),), (6, 5, 2)),
    (Conv2D(4, 6, 3, padding=(0, 1, 2, 0), dilation=2), ((4, 9, 7),), (6, 6, 5)),
    (Conv2D(1, 1, 4, padding="same"), ((1, 9, 7),), (1, 9, 7)),
    (Conv2D(1, 1, 4, stride=2, padding="same"), ((1, 9, 7),), (1, 5, 4)),
    (Conv2D(3, 16, 3, 1, 2, padding_mode="reflect"), ((3, 9, 7),), (16, 11, 9)),
    (Conv2D(3, 16, 3, 2, "same", padding_mode="replicate"), ((3, 9, 7),), (16, 5, 4)),
    (ConvTranspose2D(4, 6, 2, 2), ((4, 9, 7),), (6, 18, 14)),
    (ConvTranspose2D(4, 6, 3, (2, 3), 1, output_padding=(1, 2)), ((4, 9, 7),), (6, 18, 21)),
    (ConvTranspose2D(4, 6, 3, padding=(0, 1, 2, 0), groups=2, bias=False, dilation=2), ((4, 9, 7),), (6, 12, 9)),
    (Pad2D(1), ((3, 9, 7),), (3, 11, 9)),
    (Pad2D((1, 2), "reflect"), ((3, 9, 7),), (3, 11, 11)),
    (Pad2D((1, 2, 0, 4), "replicate"), ((3, 9, 7),), (3, 12, 11)),
    (PadChannels(2), ((3, 9, 7),), (7, 9, 7)),
    (PadChannels(0, 4), ((3,),), (7,)),
    (Upsample2D(2), ((3, 9, 7),), (3, 18, 14)),
    (Upsample2D((1, 3), "bilinear", True), ((3, 9, 7),), (3, 9, 21)),
    (MaxPool2D(2, 2), ((5, 9, 7),), (5, 4, 3)),
    (MaxPool2D(2, 2, ceil_mode=True), ((5, 9, 7),), (5, 5, 4)),
    (MaxPool2D(2, 3, padding=1, ceil_mode=True), ((5, 5, 5),), (5, 2, 2)),
    (MaxPool2D(1, 3, ceil_mode=True), ((5, 5, 5),), (5, 2, 2)),
    (AvgPool2D(3), ((5, 9, 7),), (5, 3, 2)),
    (GlobalAvgPool2D(), ((5, 9, 7),), (5,)),
    (Linear(5, 3), ((5,),), (3,)),
    (Linear(5, 3), ((5, 1, 1),), (3,)),
    (BatchNorm(5), ((5, 9, 7),), (5, 9, 7)),
    (BatchNorm(5), ((5,),), (5,)),
    (BatchNorm(5, scale=False), ((5, 9, 7),), (5, 9, 7)),
    (BatchNorm(5, shift=False, eps=1e-12, momentum=0.4), ((5,),), (5,)),
    (GroupNorm(2, 6), ((6, 9, 7),), (6, 9, 7)),
    (GroupNorm(2, 6, scale=False), ((6,),), (6,)),
    (LayerNorm(5), ((5, 9, 7),), (5, 9, 7)),
    (LayerNorm(5, 1e-3, False, False), ((5,),), (5,)),
    (InstanceNorm(5), ((5, 9, 7),), (5, 9, 7)),
    (Dropout(0.5), ((5, 9, 7),), (5, 9, 7)),
    (Dropout2D(0.5), ((5, 9, 7),), (5, 9, 7)),
    (StochasticDepth(0.5), ((5, 9, 7),), (5, 9, 7)),
    (StochasticDepth(0.5), ((5,),), (5,)),
    (Scale(1 / 9), ((5,),), (5,)),
    (Scale(channels=5), ((5, 9, 7),), (5, 9, 7)),
    (Multiply(), ((5, 9, 7), (5, 9, 7)), (5, 9, 7)),
    (Multiply(), ((5, 9, 7), (5, 1, 1)), (5, 9, 7)),
    (Multiply(), ((5,), (5, 9, 7)), (5, 9, 7)),
    (Multiply(), ((5, 1, 1), (5,)), (5, 1, 1)),
    (Multiply(), ((5,), (5,)), (5,)),
    (ELU(), ((5, 9, 7),), (5, 9, 7)),
    (ELU(0.5), ((5,),), (5,)),
    (GELU(), ((5, 9, 7),), (5, 9, 7)),
    (GELU("tanh"), ((5,),), (5,)),
    (SiLU(), ((5, 9, 7),), (5, 9, 7)),
    (Hardswish(), ((5, 9, 7),), (5, 9, 7)),
    (Hardsigmoid(), ((5,),), (5,)),
    (Softplus(), ((5,),), (5,)),
    (ReLU6(), ((5, 9, 7),), (5, 9, 7)),
    (Clip(0, 4), ((5,),), (5,)),
    (PReLU(), ((5, 9, 7),), (5, 9, 7)),
    (PReLU(5), ((5, 9, 7),), (5, 9, 7)),
    (PReLU(5), ((5,),), (5,)),
    (Softmax(), ((5,),), (5,)),
    (Flatten(), ((5, 9, 7),), (315,)),
    (Add(), ((5, 9, 7), (5, 9, 7), (5, 9, 7)), (5, 9, 7)),
    (Concat(), ((5, 9, 7), (2, 9, 7)), (7, 9, 7)),
    (Concat(), ((5,), (2,)), (7,)),
]


@pytest.mark.parametrize(("layer", "inputs", "output"), SHAPES, ids=lambda value: str(value).replace(" ", ""))
def test_output_shape(layer: Layer, inputs: tuple[tuple[int, ...], ...], output: tuple[int, ...]) -> None:
    assert layer.output_shape(*inputs) == output


@pytest.mark.parametrize("extent", range(1, 12))
@pytest.mark.parametrize("kernel", range(1, 5))
@pytest.mark.parametrize("stride", range(1, 4))
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_padding_is_that_of_keras(extent: int, kernel: int, stride: int, dilation: int) -> None:
    layer = Conv2D(1, 1, kernel, stride, "same", dilation)
    assert layer.output_shape((1, extent, extent)) == (1, -(-extent // stride), -(-extent // stride))
    top, bottom, left, right = layer.pads(extent, extent)
    assert (top, bottom) == (left, right) and 0 <= bottom - top <= 1


REFUSED: list[tuple[Layer, tuple[tuple[int, ...], ...], str]] = [
    (Conv2D(3, 4, 5), ((3, 4, 9),), "5x5 kernel is larger than the padded image, 4x9"),
    (Conv2D(3, 4, 3, padding=1, dilation=4), ((3, 6, 6),), r"3x3 kernel \(spanning 9x9 .* padded image, 8x8"),
    (Conv2D(3, 4, 5), ((1, 9, 9),), "in_channels = 3, but its input has 1 channels"),
    (Conv2D(3, 4, 5), ((3,),), r"needs a \(C, H, W\) feature map"),
    (Conv2D(3, 4, 3, padding=4, padding_mode="reflect"), ((3, 4, 9),), "Conv2D: a reflect padding must be less than"),
    (ConvTranspose2D(3, 4, 3), ((1, 9, 9),), "ConvTranspose2D has in_channels = 3, but its input has 1 channels"),
    (ConvTranspose2D(3, 4, 3, 2, 3), ((3, 2, 4),), "leaves nothing of the 5x9 pixels that a map of 2x4 gives"),
    (ConvTranspose2D(3, 4, 3, 2**31 - 1), ((3, 9, 9),), "ConvTranspose2D: h would be"),
    (
        Pad2D(4, "reflect"),
        ((3, 4, 9),),
        r"less than the extent that it mirrors, but a map of 4x9 has .* \(4, 4, 4, 4\)",
    ),
    (Pad2D(1), ((3,),), r"Pad2D needs a \(C, H, W\) feature map"),
    (PadChannels(2**31 - 1), ((3, 2, 2),), "PadChannels: pad2d_forward cannot be computed"),
    (Upsample2D(2), ((3,),), r"Upsample2D needs a \(C, H, W\) feature map"),
    (Upsample2D(2**30), ((3, 2, 2),), "Upsample2D: upsample2d_forward cannot be computed"),
    (MaxPool2D(3), ((3, 2, 5),), "3x3 kernel is larger than the padded image, 2x5"),
    (GlobalAvgPool2D(), ((3,),), "feature map"),
    (Linear(12, 4), ((3, 2, 2),), r"put Flatten\(\) before it"),
    (Linear(12, 4), ((13,),), "in_features = 12, but its input has 13 features"),
    (BatchNorm(4), ((3, 2, 2),), "channels = 4, but its input has 3"),
    (PReLU(4), ((3, 2, 2),), "channels = 4, but its input has 3"),
    (GroupNorm(2, 4), ((3, 2, 2),), "GroupNorm has channels = 4, but its input has 3"),
    (GroupNorm(4, 4), ((4,),), r"GroupNorm: of an input of shape \(4,\), each of the 4 groups has one value"),
    (LayerNorm(1), ((1, 1, 1),), "each of the 1 groups has one value"),
    (InstanceNorm(3), ((3, 1, 1),), "InstanceNorm: .* each of the 3 groups has one value, which has no variance"),
    (Dropout2D(0.5), ((3,),), r"Dropout2D needs a \(C, H, W\) feature map"),
    (Scale(channels=4), ((3, 2, 2),), "Scale has channels = 4, but its input has 3"),
    (Multiply(), ((3, 2, 2), (3, 2, 1)), r"one value for each of its channels; they are \(3, 2, 2\), \(3, 2, 1\)"),
    (Multiply(), ((3, 2, 2), (4,)), "Multiply needs two inputs"),
    (Multiply(), ((3,), (1,)), "Multiply needs two inputs"),
    (Add(), ((3, 2, 2), (3, 2, 1)), "inputs of one shape"),
    (Concat(), ((3, 2, 2), (3, 2, 1)), "but for the channels"),
]


@pytest.mark.parametrize(("layer", "inputs", "message"), REFUSED, ids=lambda value: str(value)[:40])
def test_inputs_that_do_not_fit(layer: Layer, inputs: tuple[tuple[int, ...], ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        layer.output_shape(*inputs)


WRONG: list[tuple[type[Layer], dict[str, Any], str]] = [
    (Conv2D, {"in_channels": 0, "out_channels": 4, "kernel": 3}, "in_channels must be a whole number of at least 1"),
    (Conv2D, {"in_channels": 3, "out_channels": 4, "kernel": 3.5}, "kernel"),
    (Conv2D, {"in_channels": 3, "out_channels": 4, "kernel": (1, 2, 3)}, "height, width"),
    (Conv2D, {"in_channels": 3, "out_channels": 4, "kernel": 3, "padding": "valid"}, "'same', not 'valid'"),
    (Conv2D, {"in_channels": 3, "out_channels": 4, "kernel": 3, "padding": -1}, "at least 0, not -1"),
    (Conv2D, {"in_channels": 3, "out_channels": 4, "kernel": 3, "groups": 2}, "in_channels = 3 is not a multiple"),
    (Conv2D, {"in_channels": 4, "out_channels": 3, "kernel": 3, "groups": 2}, "out_channels = 3 is not a multiple"),
    (Conv2D, {"in_channels": 3, "out_channels": 4, "kernel": 3, "padding_mode": "circular"}, "unknown padding_mode of"),
    (
        ConvTranspose2D,
        {"in_channels": 3, "out_channels": 4, "kernel": 3, "groups": 2},
        "in_channels = 3 is not a multi",
    ),
    (ConvTranspose2D, {"in_channels": 3, "out_channels": 4, "kernel": 3, "padding": "same"}, "right\\), not 'same'"),
    (
        ConvTranspose2D,
        {"in_channels": 3, "out_channels": 4, "kernel": 3, "output_padding": 1},
        "less than the stride 1",
    ),
    (Pad2D, {"padding": -1}, "Pad2D: padding must be a whole number of at least 0, not -1"),
    (
        Pad2D,
        {"padding": (1, 2, 3)},
        "Pad2D: padding must be a number, .height, width. or .top, bottom, left, right., not",
    ),
    (Pad2D, {"padding": 4097}, "padding must be a whole number of at most 4096"),
    (Pad2D, {"padding": 1, "mode": "mirror"}, "unknown mode of Pad2D: 'mirror'"),
    (Pad2D, {"padding": 1, "mode": None}, "Pad2D: mode must be one of zeros, reflect, replicate, not None"),
    (PadChannels, {"before": -1}, "PadChannels: before must be a whole number of at least 0"),
    (PadChannels, {"before": 1, "after": 0.5}, "PadChannels: after must be a whole number"),
    (Upsample2D, {"scale": 0}, "Upsample2D: scale must be a whole number of at least 1, not 0"),
    (Upsample2D, {"scale": 1.5}, "scale must be a whole number"),
    (Upsample2D, {"scale": 2, "mode": "cubic"}, "unknown mode of Upsample2D: 'cubic'"),
    (Upsample2D, {"scale": 2, "align_corners": True}, "align_corners goes with mode 'bilinear'"),
    (MaxPool2D, {"kernel": 16}, "256 elements, at most 255"),
    (MaxPool2D, {"kernel": 2, "padding": 2}, "more than half of the kernel"),
    (AvgPool2D, {"kernel": 2, "stride": 0}, "stride"),
    (Linear, {"in_features": 3, "out_features": True}, "out_features"),
    (BatchNorm, {"channels": 3, "eps": math.nan}, "eps"),
    (BatchNorm, {"channels": 3, "momentum": 1.5}, "from 0.0 to 1.0"),
    (ELU, {"alpha": 0.0}, "alpha must be a number above 0.0, not 0.0"),
    (ELU, {"alpha": -1.0}, "alpha must be a number above 0.0, not -1.0"),
    (ELU, {"alpha": math.nan}, "alpha must be a number above 0.0, not nan"),
    (ELU, {"alpha": math.inf}, "alpha must be a number above 0.0, not inf"),
    (ELU, {"alpha": "1"}, "alpha must be a number above 0.0, not '1'"),
    (ELU, {"alpha": 1e-40}, "alpha must be a number above 0.0, but 1e-40 is 0 as a float32"),
    (ELU, {"alpha": 1e39}, "but 1e\\+39 is infinite as a float32"),
    (GELU, {"approximate": "erf"}, "approximate must be 'none' or 'tanh', not 'erf'"),
    (GELU, {"approximate": True}, "approximate must be 'none' or 'tanh', not True"),
    (Clip, {"low": 1.0, "high": 1.0}, "low must be below high as a float32, but they are 1 and 1"),
    (Clip, {"low": 1.0, "high": 1.0 + 1e-9}, "low must be below high"),
    (Clip, {"low": 2}, "low must be below high"),
    (Clip, {"low": -math.inf}, "low must be a number"),
    (Clip, {"high": math.nan}, "high must be a number"),
    (Clip, {"high": 1e39}, "but 1e\\+39 is infinite as a float32"),
    (PReLU, {"channels": 0}, "channels must be a whole number of at least 1"),
    (PReLU, {"channels": 1.5}, "channels must be a whole number"),
    (Dropout, {"rate": 1.0}, "from 0.0 to below 1.0, not 1.0"),
    (Dropout2D, {"rate": 1.0}, "Dropout2D: rate must be a number from 0.0 to below 1.0"),
    (StochasticDepth, {"rate": -0.1}, "StochasticDepth: rate must be a number from 0.0 to below 1.0"),
    (BatchNorm, {"channels": 3, "scale": "no"}, "BatchNorm: scale must be true or false, not 'no'"),
    (BatchNorm, {"channels": 3, "shift": 2}, "BatchNorm: shift must be true or false, not 2"),
    (GroupNorm, {"groups": 4, "channels": 6}, "channels = 6 is not a multiple of groups = 4"),
    (GroupNorm, {"groups": 0, "channels": 6}, "groups must be a whole number of at least 1"),
    (LayerNorm, {"channels": 6, "eps": 0.0}, "LayerNorm: eps must be a number above 0.0, not 0.0"),
    (InstanceNorm, {"channels": 6, "eps": 1e-50}, "InstanceNorm: eps must be a number above 0.0, but 1e-50 is 0"),
    (InstanceNorm, {"channels": 6, "shift": None}, "InstanceNorm: shift must be true or false"),
    (Scale, {}, "Scale: expected either a factor, or channels"),
    (Scale, {"factor": 2.0, "channels": 3}, "Scale: expected either a factor, or channels"),
    (Scale, {"factor": math.inf}, "Scale: factor must be a number that is finite"),
    (Scale, {"factor": 1e-42}, "but 1e-42 is 0 as a float32"),
    (Scale, {"channels": 0}, "Scale: channels must be a whole number of at least 1"),
]


@pytest.mark.parametrize(("layer", "arguments", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_arguments_that_are_wrong(layer: type[Layer], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        layer(**arguments)


@pytest.mark.parametrize("layer", [layer for layer, _, _ in SHAPES], ids=str)
def test_a_layer_is_its_name_and_arguments(layer: Layer) -> None:
    assert make_layer(type(layer).__name__, layer.arguments()) == layer


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("Conv2d", {}, "unknown layer 'Conv2d'; did you mean 'Conv2D'"),
        ("os.system", {}, "unknown layer"),
        ("Dropout", {"rat": 0.5}, "did you mean 'rate'"),
        ("Dropout", {}, "lacks its argument 'rate'"),
        ("Dropout", [0.5], "mapping"),
    ],
)
def test_unknown_layers_and_arguments(name: str, arguments: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_layer(name, arguments)


def test_fan_in_and_out_count_as_torch_does() -> None:
    weights, bias = Conv2D(8, 12, (3, 5), groups=4).parameters()
    assert (weights.shape, weights.fan_in, weights.fan_out) == ((12, 2, 3, 5), 30, 180)
    assert bias.shape == (12,)
    assert Conv2D(8, 12, 3, bias=False).parameters()[1:] == ()


def test_every_layer_says_what_it_is() -> None:
    assert all(layer.__doc__ for layer in LAYERS.values())
    assert str(Conv2D(3, 16, 3, padding=1)) == "Conv2D(3, 16, 3, padding=1)"
    assert str(ReLU()) == "ReLU()"
