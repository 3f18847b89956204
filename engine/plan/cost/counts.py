"""What an instruction costs: floating-point operations and bytes of its operands. Pure functions of the plan.

A multiply-add counts as two operations; padding is counted as if it were image. Both are for a whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cnncore

from engine.errors import UserError
from engine.program.code import ACTIVATION_NAMES, Instruction, Value

Geometry = Mapping[str, Any]


ACTIVATIONS = {
    "relu": 1, "leaky_relu": 2, "sigmoid": 4, "tanh": 4, "elu": 3, "gelu": 4, "gelu_tanh": 9, "silu": 5,
    "hardswish": 5, "hardsigmoid": 4, "relu6": 2, "softplus": 4, "clip": 2,
}  # fmt: skip
"""Operations per element; transcendental functions count as one each."""

ACTIVATION_GRADIENTS = {
    "relu": 1, "leaky_relu": 2, "sigmoid": 3, "tanh": 3, "elu": 2, "gelu": 8, "gelu_tanh": 15, "silu": 8,
    "hardswish": 5, "hardsigmoid": 3, "relu6": 3, "softplus": 3, "clip": 3,
}  # fmt: skip
"""... of the gradient, the product with what arrives included."""


FUNCTIONS = {
    "sigmoid": (28, 3), "tanh": (44, 3), "elu": (29, 2), "gelu": (62, 64), "gelu_tanh": (40, 51), "silu": (36, 45),
    "softplus": (67, 27),
}  # fmt: skip
"""What the kernels do for an element of an activation with a transcendental function, and for its gradient: additions,
multiplications, divisions and comparisons of csrc/src/bodies/math.h, a multiply-add as two. So many bound an op by its
arithmetic, which the counts above would call bound by memory."""


_FUNCTION_OPS = frozenset(f"{name}_{direction}" for name in FUNCTIONS for direction in ("forward", "backward"))


def is_function(op: str) -> bool:
    """Whether an op is an activation with a transcendental function, or its gradient."""
    return op in _FUNCTION_OPS


def _activation(g: Geometry) -> int:
    """Of the activation that an op has fused."""
    return ACTIVATIONS[ACTIVATION_NAMES[g["activation"]]] if g["activation"] else 0


def _conv2d(g: Geometry) -> int:
    macs = g["oh"] * g["ow"] * g["oc"] * g["kh"] * g["kw"] * (g["ic"] // g["groups"])
    return 2 * macs


def _conv2d_forward(g: Geometry) -> int:
    outputs = g["oh"] * g["ow"] * g["oc"]
    return _conv2d(g) + outputs * (1 + _activation(g) + bool(g["pool"]))


# Multiply-adds per element of a transformed tile: about one for every row of the transforms' matrices, twice.
def _transform(g: Geometry) -> int:
    return 2 * 2 * (g["tile"] + g["kh"] - 1)


def winograd_positions(direction: str, g: Geometry) -> int:
    """Elements of all transformed tiles of a sample that are multiplied: tile + kernel - 1 along each side of a tile,
    at the lower and right edge less by what the tile has beyond the map (csrc/src/ops/winograd.h)."""
    height, width = ("h", "w") if direction == "backward_data" else ("oh", "ow")
    windows = 2 if g["pool"] and direction != "backward_data" else 1  # a row outside all windows is not wanted
    product = 1
    for extent in (g[height] // windows * windows, g[width] // windows * windows):
        tiles = -(-extent // g["tile"])
        product *= tiles * (g["kh"] - 1) + extent
    return product


def _winograd(direction: str) -> Callable[[Geometry], int]:
    """Products of transformed tiles, and the transforms of both sides' maps."""

    def count(g: Geometry) -> int:
        return int(winograd_positions(direction, g) * (2 * g["ic"] * g["oc"] + _transform(g) * (g["ic"] + g["oc"])))

    return count


def _winograd_int8(g: Geometry) -> int:
    """In whole tiles of 2x2"""
    whole = {**g, "tile": 2, "pool": 0, "oh": -(-g["oh"] // 2) * 2, "ow": -(-g["ow"] // 2) * 2}
    return _winograd("forward")(whole) + 4 * g["oh"] * g["ow"] * g["oc"]


def _filter(g: Geometry) -> int:
    return int((g["tile"] + g["kh"] - 1) ** 2 * g["ic"] * g["oc"] * 2 * 2 * g["kh"])


def _linear(g: Geometry) -> int:
    return 2 * g["k"] * g["n"]


def _linear_forward(g: Geometry) -> int:
    return _linear(g) + g["n"] * (1 + _activation(g))


def _norm(g: Geometry) -> int:
    """ReLU is free."""
    activation = _activation(g) if g["activation"] > cnncore.ACTIVATIONS["relu"] else 0
    return int((2 + activation) * g["rows"] * g["c"])


def _windows(g: Geometry) -> int:
    return g["oh"] * g["ow"] * g["c"] * g["kh"] * g["kw"]


def _padded(g: Geometry) -> int:
    rows, columns = g["pad_top"] + g["h"] + g["pad_bottom"], g["pad_left"] + g["w"] + g["pad_right"]
    return rows * columns * g["c"] if g["mode"] else 0


def _upsampled(nearest: int, bilinear: int) -> Callable[[Geometry], int]:
    def count(g: Geometry) -> int:
        elements = g["h"] * g["scale_h"] * g["w"] * g["scale_w"] * g["c"]
        return int(elements * (bilinear if g["sampling"] else nearest))

    return count


def _per_element(operations: int) -> Callable[[Geometry], int]:
    return lambda g: operations * g["count"]


def _per_channel(operations: int) -> Callable[[Geometry], int]:
    return lambda g: operations * g["rows"] * g["c"]


def _nothing(_: Geometry) -> int:
    return 0


PER_SAMPLE: dict[str, Callable[[Geometry], int]] = {
    "check_finite": _nothing,
    "check_labels": _nothing,
    "nchw_to_nhwc": _nothing,
    "nhwc_to_nchw": _nothing,
    "copy_channels": _nothing,
    "conv2d_forward": _conv2d_forward,
    "conv2d_backward_data": _conv2d,
    "conv2d_backward_weights": _conv2d,
    "winograd_forward": _winograd("forward"),
    "winograd_backward_data": _winograd("backward_data"),
    "winograd_backward_weights": _winograd("backward_weights"),
    "linear_forward": _linear_forward,
    "linear_backward_data": _linear,
    "linear_backward_weights": _linear,
    "maxpool2d_forward": _windows,
    "maxpool2d_backward": _windows,
    "avgpool2d_forward": _windows,
    "avgpool2d_backward": _windows,
    "pad2d_forward": _nothing,
    "pad2d_backward": _padded,
    "upsample2d_forward": _upsampled(0, 6),
    "upsample2d_backward": _upsampled(2, 6),
    "softmax_forward": _per_channel(5),
    "softmax_backward": _per_channel(4),
    "batchnorm_forward_training": _per_channel(7),
    "batchnorm_forward_inference": _norm,
    "batchnorm_backward": _per_channel(9),
    "batchnorm_moments": _per_channel(5),
    "batchnorm_normalize": _per_channel(2),
    "batchnorm_sums": _per_channel(4),
    "batchnorm_data": _per_channel(5),
    "groupnorm_forward": _per_channel(7),
    "groupnorm_backward": _per_channel(9),
    "dropout": _per_element(2),
    "scale": _per_element(1),
    "scale_channels": _per_channel(1),
    "scale_channels_backward_weights": _per_channel(2),
    "add_channels": _per_channel(1),
    "add_channels_backward": _per_channel(1),
    "multiply": _per_channel(1),
    "multiply_backward": _per_channel(2),
    "add": _per_element(1),
    **{f"{name}_forward": _per_element(operations) for name, operations in ACTIVATIONS.items()},
    **{f"{name}_backward": _per_element(operations) for name, operations in ACTIVATION_GRADIENTS.items()},
    "prelu_forward": _per_channel(2),
    "prelu_backward": _per_channel(4),
    "quantize": _per_element(4),
    "dequantize": _per_element(2),
    "conv2d_int8": lambda g: _conv2d(g) + 4 * g["oh"] * g["ow"] * g["oc"],
    "linear_int8": lambda g: _linear(g) + 4 * g["n"],
    "winograd_int8": _winograd_int8,
    "maxpool2d_int8": _windows,
    "avgpool2d_int8": _windows,
    "add_int8": _per_element(5),
    "lookup_int8": _nothing,
    "copy_channels_int8": _nothing,
    "nchw_to_nhwc_int8": _nothing,
    "nhwc_to_nchw_int8": _nothing,
    "cross_entropy": lambda g: 5 * g["classes"],
    "cross_entropy_soft": lambda g: 6 * g["classes"],
    "pixel_cross_entropy": lambda g: 5 * g["rows"] * g["classes"],
    "mean_squared_error": lambda g: 3 * g["classes"],
    "binary_cross_entropy": lambda g: 8 * g["classes"],
}
"""Operations per sample; transcendental functions count as one each, and so do those on integers."""

PER_RUN: dict[str, Callable[[Geometry], int]] = {
    "winograd_filter": _filter,
    "winograd_filter_backward": _filter,
    "check_gradients": _nothing,
    "clip_gradients": _per_element(3),
    "sgd": _per_element(6),
    "adam": _per_element(14),
    "nadam": _per_element(17),
    "rmsprop": _per_element(12),
    "average": _per_element(3),
    "lookahead": _per_element(3),
    "accumulate_gradients": _per_element(2),
}
"""Operations of an op whose extent does not depend on the batch."""


_OUTPUTS: dict[str, Callable[[Geometry], int]] = {
    "conv2d_forward": lambda g: g["oh"] * g["ow"] * g["oc"],
    "winograd_forward": lambda g: g["oh"] * g["ow"] * g["oc"],
    "linear_forward": lambda g: g["n"],
    "batchnorm_forward_inference": lambda g: g["rows"] * g["c"],
}  # elements per sample behind which an op computes a fused activation


def flops(instruction: Instruction, batch: int) -> int:
    """Floating-point operations of one run at this batch; UserError for an op that has no cost."""
    if instruction.op in PER_RUN:
        return PER_RUN[instruction.op](instruction.geometry)
    if instruction.op not in PER_SAMPLE:
        raise UserError(
            f"op {instruction.op!r} of layer {instruction.layer!r} has no cost: its operations belong into PER_SAMPLE "
            "or PER_RUN of engine/plan/cost/counts.py"
        )
    return PER_SAMPLE[instruction.op](instruction.geometry) * batch


def done(instruction: Instruction, batch: int) -> int:
    """Operations that the kernels do: those of `flops`, with the arithmetic of transcendental functions."""
    return flops(instruction, batch) + function_flops(instruction, batch)


def function_flops(instruction: Instruction, batch: int) -> int:
    """What the transcendental functions of an activation, or of one that an op has fused, take beyond one operation
    each."""
    g = instruction.geometry
    if instruction.op in _FUNCTION_OPS:
        name, _, direction = instruction.op.rpartition("_")
        plain, place = (ACTIVATIONS, 0) if direction == "forward" else (ACTIVATION_GRADIENTS, 1)
        return int(g["count"] * batch * (FUNCTIONS[name][place] - plain[name]))
    fused = ACTIVATION_NAMES[g["activation"]] if g.get("activation") else ""
    if fused not in FUNCTIONS or instruction.op not in _OUTPUTS:
        return 0
    return int(_OUTPUTS[instruction.op](g) * batch * (FUNCTIONS[fused][0] - ACTIVATIONS[fused]))


def direct_flops(instruction: Instruction, batch: int) -> int:
    """Operations that the direct algorithm would need: those of the op, but where Winograd's algorithm saves some.

    Filters are no work of its own.
    """
    if instruction.op.startswith("winograd_filter"):
        return 0
    if instruction.op.startswith("winograd_"):
        return PER_SAMPLE[instruction.op.replace("winograd_", "conv2d_")](instruction.geometry) * batch
    return flops(instruction, batch)


def bytes_touched(instruction: Instruction, values: Sequence[Value], batch: int) -> int:
    """Bytes of all operands at this batch: the least traffic that the op can have."""
    return sum(values[value].bytes(batch) for value in instruction.operands.values())
