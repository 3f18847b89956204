"""Maximum, average and global average pooling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cnncore import MAX_POOL_AREA

from engine.arguments import assign, pair, size, truth
from engine.errors import UserError
from engine.layers.base import Layer, require_feature_map
from engine.program.code import Builder, Tensor
from engine.program.shapes import Shape


@dataclass(frozen=True)
class MaxPool2D(Layer):
    """Largest element of every window, as PyTorch's MaxPool2d; the first of equals receives the gradient.

    `stride` defaults to the kernel. `padding` adds at most half a kernel of minus infinity on each side.
    OH = floor((H + 2*padding - KH) / stride) + 1; with `ceil_mode` ceil instead of floor, less a last window that
    would start behind the image and its leading padding.
    """

    kernel: int | tuple[int, int]
    stride: int | tuple[int, int] | None = None
    padding: int | tuple[int, int] = 0
    ceil_mode: bool = False

    def __post_init__(self) -> None:
        _check_window(self)
        kernel_h, kernel_w = pair(self.kernel)
        if kernel_h * kernel_w > MAX_POOL_AREA:
            raise UserError(
                f"MaxPool2D: the {kernel_h}x{kernel_w} kernel has {kernel_h * kernel_w} elements, "
                f"at most {MAX_POOL_AREA} are possible"
            )

    def output_shape(self, *shapes: Shape) -> Shape:
        return _output_shape(self, shapes[0])

    def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
        (source,) = inputs
        output = builder.tensor(self.output_shape(source.shape))
        builder.emit(
            "maxpool2d_forward",
            _geometry(self, source.shape, count_include_pad=True),
            dst=output,
            argmax=builder.scratch(output, "uint8") if builder.training else None,
            src=source,
        )
        return output


@dataclass(frozen=True)
class AvgPool2D(Layer):
    """Mean of every window, as PyTorch's AvgPool2d; arguments as MaxPool2D.

    `count_include_pad`: zeros of the padding count as elements of the window.
    """

    kernel: int | tuple[int, int]
    stride: int | tuple[int, int] | None = None
    padding: int | tuple[int, int] = 0
    ceil_mode: bool = False
    count_include_pad: bool = True

    def __post_init__(self) -> None:
        _check_window(self)
        assign(self, count_include_pad=truth("AvgPool2D", "count_include_pad", self.count_include_pad))

    def output_shape(self, *shapes: Shape) -> Shape:
        return _output_shape(self, shapes[0])

    def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
        (source,) = inputs
        output = builder.tensor(self.output_shape(source.shape))
        geometry = _geometry(self, source.shape, self.count_include_pad)
        builder.emit("avgpool2d_forward", geometry, dst=output, src=source)
        return output


@dataclass(frozen=True)
class GlobalAvgPool2D(Layer):
    """Mean of every channel: (C, H, W) becomes the vector (C,)."""

    def output_shape(self, *shapes: Shape) -> Shape:
        return (require_feature_map(self, shapes[0])[0],)

    def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
        (source,) = inputs
        _, height, width = source.shape
        output = builder.tensor(self.output_shape(source.shape))
        geometry = _geometry(AvgPool2D((height, width)), source.shape, count_include_pad=True)
        builder.emit("avgpool2d_forward", geometry, dst=output, src=source)
        return output


_Pool = MaxPool2D | AvgPool2D


def _check_window(pool: _Pool) -> None:
    name = type(pool).__name__
    kernel = size(name, "kernel", pool.kernel, 1)
    padding = size(name, "padding", pool.padding, 0)
    stride = None if pool.stride is None else size(name, "stride", pool.stride, 1)
    assign(pool, kernel=kernel, stride=stride, padding=padding, ceil_mode=truth(name, "ceil_mode", pool.ceil_mode))
    if any(2 * pad > extent for pad, extent in zip(pair(padding), pair(kernel), strict=True)):
        raise UserError(f"{name}: padding {padding} is more than half of the kernel {kernel}")


def _strides(pool: _Pool) -> tuple[int, int]:
    return pair(pool.kernel if pool.stride is None else pool.stride)


def _extent(length: int, kernel: int, stride: int, pad: int, ceil_mode: bool) -> int:
    span = length + 2 * pad - kernel
    outputs = (-(-span // stride) if ceil_mode else span // stride) + 1
    starts_outside = ceil_mode and (outputs - 1) * stride >= length + pad
    return outputs - 1 if starts_outside else outputs


def _output_shape(pool: _Pool, shape: Shape) -> Shape:
    channels, height, width = require_feature_map(pool, shape)
    (kernel_h, kernel_w), (pad_h, pad_w), (stride_h, stride_w) = pair(pool.kernel), pair(pool.padding), _strides(pool)
    if kernel_h > height + 2 * pad_h or kernel_w > width + 2 * pad_w:
        raise UserError(
            f"{type(pool).__name__}: the {kernel_h}x{kernel_w} kernel is larger than the padded image, "
            f"{height + 2 * pad_h}x{width + 2 * pad_w}"
        )
    return (
        channels,
        _extent(height, kernel_h, stride_h, pad_h, pool.ceil_mode),
        _extent(width, kernel_w, stride_w, pad_w, pool.ceil_mode),
    )


def _geometry(pool: _Pool, shape: Shape, count_include_pad: bool) -> dict[str, Any]:
    channels, height, width = shape
    _, out_h, out_w = _output_shape(pool, shape)
    (kernel_h, kernel_w), (pad_h, pad_w), (stride_h, stride_w) = pair(pool.kernel), pair(pool.padding), _strides(pool)
    return {
        "h": height,
        "w": width,
        "c": channels,
        "kh": kernel_h,
        "kw": kernel_w,
        "oh": out_h,
        "ow": out_w,
        "stride_h": stride_h,
        "stride_w": stride_w,
        "pad_top": pad_h,
        "pad_left": pad_w,
        "count_include_pad": int(count_include_pad),
    }
