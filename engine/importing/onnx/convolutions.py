"""Conv, ConvTranspose, Gemm and MatMul: what has weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.importing.onnx.document import Op
from engine.importing.onnx.reader import Reader
from engine.importing.onnx.values import Value
from engine.layers.convolution import Conv2D, ConvTranspose2D
from engine.layers.linear import Linear

AUTO_PADS = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


def conv(reader: Reader, op: Op) -> Value:
    value = reader.image(op)
    weights, bias = _weights(reader, op, value)
    kernel, stride, dilation = window(op, value, weights.shape[2:])
    groups = op.whole("group", 1)
    if groups < 1 or weights.shape[1] * groups != value.stored[0]:
        raise op.refused(f"has weights for {weights.shape[1] * groups} channels, but its input has {value.stored[0]}")
    _check_bias(op, bias, len(weights))
    layer = Conv2D(
        value.stored[0],
        weights.shape[0],
        kernel,
        stride,
        pads(op, value, kernel, stride, dilation),
        dilation,
        groups,
        bias is not None,
    )
    return value.like(source := reader.add(op, layer, [value], _arrays(weights, bias)), reader.nodes[source].shape)


def conv_transpose(reader: Reader, op: Op) -> Value:
    value = reader.image(op)
    weights, bias = _weights(reader, op, value)
    kernel, stride, dilation = window(op, value, weights.shape[2:])
    groups = op.whole("group", 1)
    if op.get("output_shape") is not None:
        raise op.refused("has output_shape, which engines read differently: export it with pads and output_padding")
    more = two(op, value, op.wholes("output_padding", ()), 0, "output_padding")
    if weights.shape[0] != value.stored[0] or groups < 1:
        raise op.refused(f"has weights for {weights.shape[0]} channels, but its input has {value.stored[0]}")
    auto = op.text("auto_pad", "NOTSET")
    around = stated_pads(op, value)
    if auto.startswith("SAME"):
        # The output is to have stride times the extent: what is more is cut off.
        extents = zip(kernel, stride, dilation, more, strict=True)
        total = [max((k - 1) * d + 1 + o - s, 0) for k, s, d, o in extents]
        halves = [(each // 2, each - each // 2) for each in total]
        (top, bottom), (left, right) = halves if auto == "SAME_UPPER" else [half[::-1] for half in halves]
        around = top, bottom, left, right
        if any((k - 1) * d + 1 + o < s for k, s, d, o in zip(kernel, stride, dilation, more, strict=True)):
            raise op.refused(f"auto_pad {auto} with a stride beyond the kernel, which engines read differently")
    _check_bias(op, bias, weights.shape[1] * groups)
    layer = ConvTranspose2D(
        value.stored[0], weights.shape[1] * groups, kernel, stride, around, more, groups, bias is not None, dilation
    )
    return value.like(source := reader.add(op, layer, [value], _arrays(weights, bias)), reader.nodes[source].shape)


def gemm(reader: Reader, op: Op) -> Value:
    value = reader.vector(op)
    op.get("broadcast")  # before opset 7
    matrix = reader.floats(op, 1, "second factor")
    alpha, beta = op.number("alpha", 1.0), op.number("beta", 1.0)
    if op.flag("transA", 0):
        raise op.refused("transA: the batch would be summed over")
    if matrix.ndim != 2:
        raise op.refused(f"its second factor has shape {matrix.shape}, expected a matrix")
    weights = matrix if op.flag("transB", 0) else matrix.T
    bias = None
    if op.has(2) and beta != 0:
        bias = reader.floats(op, 2, "third operand")
        if bias.ndim > 2 or (bias.ndim == 2 and bias.shape[0] != 1) or bias.size not in (1, len(weights)):
            raise op.refused(f"its third operand has shape {bias.shape}, expected one number for each output")
        bias = np.broadcast_to(bias.reshape(-1) * np.float32(beta), (len(weights),))
    return linear(reader, op, value, weights if alpha == 1 else weights * np.float32(alpha), bias)


def matmul(reader: Reader, op: Op) -> Value:
    if reader.is_constant(op, 0):
        raise op.refused("its first factor is a constant: the batch would be summed over")
    value = reader.vector(op)
    matrix = reader.floats(op, 1, "second factor")
    if matrix.ndim != 2:
        raise op.refused(f"its second factor has shape {matrix.shape}, expected a matrix")
    return linear(reader, op, value, matrix.T, None)


def linear(
    reader: Reader, op: Op, value: Value, weights: NDArray[np.float32], bias: NDArray[np.float32] | None
) -> Value:
    """A Linear of (out, in) weights, whose columns follow the stored order of the elements."""
    if weights.shape[1] != value.stored[0]:
        raise op.refused(f"has weights for {weights.shape[1]} features, but its input has {value.stored[0]}")
    if value.order is not None:
        stored = np.empty_like(weights)
        stored[:, value.order] = weights
        weights = stored
    layer = Linear(weights.shape[1], weights.shape[0], bias is not None)
    return Value(reader.add(op, layer, [value], _arrays(weights, bias)), (len(weights),), (0,))


def window(
    op: Op, value: Value, weights: tuple[int, ...] | None = None
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Kernel, stride and dilation, (height, width) each; `weights` is the kernel that the weights have."""
    stated = op.wholes("kernel_shape", ())
    if not stated and weights is None:
        raise op.refused("lacks its kernel_shape")
    kernel = two(op, value, stated, 1, "kernel_shape") if stated else (0, 0)
    if weights is not None:
        if stated and kernel != weights:
            raise op.refused(f"kernel_shape is {stated}, but its weights have a kernel of {weights}")
        kernel = weights[0], weights[1]
    return (
        kernel,
        two(op, value, op.wholes("strides", ()), 1, "strides"),
        two(op, value, op.wholes("dilations", ()), 1, "dilations"),
    )


def two(op: Op, value: Value, numbers: tuple[int, ...], default: int, name: str) -> tuple[int, int]:
    """(height, width), of as many numbers as the input has axes of place, or none for the default."""
    places = len(value.shape) - 1
    if not numbers:
        return default, default
    if len(numbers) != places:
        raise op.refused(f"{name} has {len(numbers)} numbers, expected {places}")
    return (numbers[0], numbers[1]) if places == 2 else (default, numbers[0])


def stated_pads(op: Op, value: Value) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) as the attribute has them."""
    auto = op.text("auto_pad", "NOTSET")
    if auto not in AUTO_PADS:
        raise op.refused(f"auto_pad must be one of {', '.join(AUTO_PADS)}, not {auto[:40]!r}")
    numbers, places = op.wholes("pads", ()), len(value.shape) - 1
    if auto != "NOTSET" and any(numbers):
        raise op.refused(f"has both pads and auto_pad {auto}")
    if not numbers:
        return 0, 0, 0, 0
    if len(numbers) != 2 * places:
        raise op.refused(f"pads has {len(numbers)} numbers, expected {2 * places}")
    if any(number < 0 for number in numbers):
        raise op.refused("has negative pads, which the engine does not have")
    return (numbers[0], numbers[2], numbers[1], numbers[3]) if places == 2 else (0, 0, numbers[0], numbers[1])


def pads(
    op: Op, value: Value, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    """(top, bottom, left, right): as stated, or such that the output has ceil(extent / stride) places."""
    around = stated_pads(op, value)
    auto = op.text("auto_pad", "NOTSET")
    if not auto.startswith("SAME"):
        return around
    halves = []
    for extent, k, s, d in zip(value.stored[1:], kernel, stride, dilation, strict=True):
        if s < 1:
            raise op.refused(f"strides must be positive, not {s}")
        total = (-(-extent // s) - 1) * s + d * (k - 1) + 1 - extent
        if total < 0 and op.kind != "Conv":  # of which engines agree
            raise op.refused(f"auto_pad {auto} where strides leave pixels out, which engines read differently")
        total = max(total, 0)
        half = total // 2, total - total // 2
        halves.append(half if auto == "SAME_UPPER" else half[::-1])
    (top, bottom), (left, right) = halves
    return top, bottom, left, right


def _weights(reader: Reader, op: Op, value: Value) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """The weights with two axes of place, and the bias."""
    weights = reader.floats(op, 1, "weights")
    places = len(value.shape) - 1
    if weights.ndim != places + 2 or weights.size == 0:
        raise op.refused(f"its weights have shape {weights.shape}, expected {places + 2} axes")
    bias = reader.floats(op, 2, "bias") if op.has(2) else None
    if places == 1:
        weights = weights[:, :, None, :]
    return weights, bias


def _check_bias(op: Op, bias: NDArray[np.float32] | None, channels: int) -> None:
    if bias is not None and bias.shape != (channels,):
        raise op.refused(f"its bias has shape {bias.shape}, expected ({channels},)")


def _arrays(weights: NDArray[np.float32], bias: NDArray[np.float32] | None) -> dict[str, NDArray[np.float32]]:
    return {"weights": weights} if bias is None else {"weights": weights, "bias": bias}
