"""Maximum, average and global average pooling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from cnncore import MAX_POOL_AREA
from numpy.typing import NDArray

from engine.arguments import assign, pair, truth
from engine.errors import UserError
from engine.layers.base import Layer, require_feature_map
from engine.program.code import Builder, Tensor
from engine.program.limits import check_geometry, extents
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

    op: ClassVar[str] = "maxpool2d_forward"

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
        geometry = pool_geometry(self, source.shape)
        output = builder.tensor(_extents(geometry))
        builder.emit(
            self.op,
            geometry,
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

    op: ClassVar[str] = "avgpool2d_forward"

    def __post_init__(self) -> None:
        _check_window(self)
        assign(self, count_include_pad=truth("AvgPool2D", "count_include_pad", self.count_include_pad))

    def output_shape(self, *shapes: Shape) -> Shape:
        return _output_shape(self, shapes[0])

    def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
        (source,) = inputs
        geometry = pool_geometry(self, source.shape)
        output = builder.tensor(_extents(geometry))
        builder.emit(self.op, geometry, dst=output, src=source)
        return output


@dataclass(frozen=True)
class GlobalAvgPool2D(Layer):
    """Mean of every channel: (C, H, W) becomes the vector (C,)."""

    def output_shape(self, *shapes: Shape) -> Shape:
        return (require_feature_map(self, shapes[0])[0],)

    def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
        (source,) = inputs
        _, height, width = source.shape
        pool = AvgPool2D((height, width))
        output = builder.tensor(self.output_shape(source.shape))
        builder.emit(pool.op, pool_geometry(pool, source.shape), dst=output, src=source)
        return output


def whole_by_counted(pool: AvgPool2D, height: int, width: int) -> NDArray[np.float64]:
    """Elements of a window by those of them that count in its mean, for every place of the output: (OH, OW)."""
    geometry = pool_geometry(pool, (1, height, width))
    factors = []
    for length, side, pad in ((height, "h", "pad_top"), (width, "w", "pad_left")):
        kernel, padding = geometry[f"k{side}"], geometry[pad]
        start = np.arange(geometry[f"o{side}"]) * geometry[f"stride_{side}"] - padding
        low, high = (-padding, length + padding) if pool.count_include_pad else (0, length)
        factors.append(kernel / (np.minimum(start + kernel, high) - np.maximum(start, low)))
    return np.outer(*factors)


_Pool = MaxPool2D | AvgPool2D


def _check_window(pool: _Pool) -> None:
    name = type(pool).__name__
    kernel = extents(name, "kernel", pool.kernel, "pool2d", "kh")
    padding = extents(name, "padding", pool.padding, "pool2d", "pad_top")
    stride = None if pool.stride is None else extents(name, "stride", pool.stride, "pool2d", "stride_h")
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
    return _extents(pool_geometry(pool, shape))


def _extents(geometry: Mapping[str, Any]) -> Shape:
    return geometry["c"], geometry["oh"], geometry["ow"]


def pool_geometry(pool: _Pool, shape: Shape) -> dict[str, Any]:
    """The fields of cnn_pool2d_geometry for an input of this shape; UserError where the core cannot compute them."""
    name = type(pool).__name__
    channels, height, width = require_feature_map(pool, shape)
    (kernel_h, kernel_w), (pad_h, pad_w), (stride_h, stride_w) = pair(pool.kernel), pair(pool.padding), _strides(pool)
    if kernel_h > height + 2 * pad_h or kernel_w > width + 2 * pad_w:
        raise UserError(
            f"{name}: the {kernel_h}x{kernel_w} kernel is larger than the padded image, "
            f"{height + 2 * pad_h}x{width + 2 * pad_w}"
        )
    geometry = {
        "h": height,
        "w": width,
        "c": channels,
        "kh": kernel_h,
        "kw": kernel_w,
        "oh": _extent(height, kernel_h, stride_h, pad_h, pool.ceil_mode),
        "ow": _extent(width, kernel_w, stride_w, pad_w, pool.ceil_mode),
        "stride_h": stride_h,
        "stride_w": stride_w,
        "pad_top": pad_h,
        "pad_left": pad_w,
        "count_include_pad": int(getattr(pool, "count_include_pad", True)),
    }
    check_geometry(name, pool.op, geometry)
    return geometry
