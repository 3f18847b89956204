"""Two-dimensional convolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from engine.arguments import assign, pair, truth
from engine.errors import UserError, shown
from engine.layers.base import Layer, require_feature_map
from engine.program.code import Builder, Tensor
from engine.program.limits import check_geometry, extents, whole
from engine.program.shapes import Shape
from engine.program.slots import ParameterSpec

Padding = int | tuple[int, ...] | str


@dataclass(frozen=True)
class Conv2D(Layer):
    """Cross-correlation of a (C, H, W) map with `out_channels` filters, as PyTorch's Conv2d.

    `kernel`, `stride`, `dilation`: one number or (height, width). `padding`: one number, (height, width),
    (top, bottom, left, right), or "same": OH = ceil(H / stride), the odd row and column at bottom and right (Keras).
    Weights are (out, in/groups, KH, KW), the bias (out,).
    OH = floor((H + top + bottom - dilation*(KH-1) - 1) / stride) + 1.
    """

    in_channels: int
    out_channels: int
    kernel: int | tuple[int, int]
    stride: int | tuple[int, int] = 1
    padding: Padding = 0
    dilation: int | tuple[int, int] = 1
    groups: int = 1
    bias: bool = True

    kind: ClassVar[str] = "conv"

    def __post_init__(self) -> None:
        assign(
            self,
            in_channels=whole("Conv2D", "in_channels", self.in_channels, "conv2d", "ic"),
            out_channels=whole("Conv2D", "out_channels", self.out_channels, "conv2d", "oc"),
            kernel=extents("Conv2D", "kernel", self.kernel, "conv2d", "kh"),
            stride=extents("Conv2D", "stride", self.stride, "conv2d", "stride_h"),
            padding=_checked_padding(self.padding),
            dilation=extents("Conv2D", "dilation", self.dilation, "conv2d", "dilation_h"),
            groups=whole("Conv2D", "groups", self.groups, "conv2d", "groups"),
            bias=truth("Conv2D", "bias", self.bias),
        )
        for name, channels in (("in_channels", self.in_channels), ("out_channels", self.out_channels)):
            if channels % self.groups:
                raise UserError(f"Conv2D: {name} = {channels} is not a multiple of groups = {self.groups}")

    def output_shape(self, *shapes: Shape) -> Shape:
        channels, height, width = require_feature_map(self, shapes[0])
        if channels != self.in_channels:
            raise UserError(f"Conv2D has in_channels = {self.in_channels}, but its input has {channels} channels")
        geometry = self.geometry(height, width)
        return self.out_channels, geometry["oh"], geometry["ow"]

    def parameters(self) -> tuple[ParameterSpec, ...]:
        kernel_h, kernel_w = pair(self.kernel)
        inputs = self.in_channels // self.groups
        area = kernel_h * kernel_w
        weights = ParameterSpec(
            "weights",
            (self.out_channels, inputs, kernel_h, kernel_w),
            "weights",
            fan_in=inputs * area,
            fan_out=self.out_channels * area,
        )
        return (weights, ParameterSpec("bias", (self.out_channels,), "bias")) if self.bias else (weights,)

    def pads(self, height: int, width: int) -> tuple[int, int, int, int]:
        """(top, bottom, left, right) for an image of this size, in elements."""
        if self.padding == "same":
            extents = zip((height, width), pair(self.kernel), pair(self.stride), pair(self.dilation), strict=True)
            (top, bottom), (left, right) = (_same_padding(*extent) for extent in extents)
            return top, bottom, left, right
        if isinstance(self.padding, int):
            return (self.padding,) * 4
        assert isinstance(self.padding, tuple)
        if len(self.padding) == 2:
            return self.padding[0], self.padding[0], self.padding[1], self.padding[1]
        top, bottom, left, right = self.padding
        return top, bottom, left, right

    def padded(self, *shapes: Shape) -> int:
        channels, height, width = shapes[0]
        top, bottom, left, right = self.pads(height, width)
        padding = top or bottom or left or right
        return channels * (height + top + bottom) * (width + left + right) if padding else 0

    def geometry(self, height: int, width: int) -> dict[str, Any]:
        """The fields of cnn_conv2d_geometry for an image of this size; UserError where the core cannot compute them."""
        kernel_h, kernel_w = pair(self.kernel)
        stride_h, stride_w = pair(self.stride)
        dilation_h, dilation_w = pair(self.dilation)
        top, bottom, left, right = self.pads(height, width)
        span_h, span_w = dilation_h * (kernel_h - 1) + 1, dilation_w * (kernel_w - 1) + 1
        padded_h, padded_w = height + top + bottom, width + left + right
        if span_h > padded_h or span_w > padded_w:
            dilated = f" (spanning {span_h}x{span_w} when dilated)" if (dilation_h, dilation_w) != (1, 1) else ""
            raise UserError(
                f"Conv2D: the {kernel_h}x{kernel_w} kernel{dilated} is larger than the padded image, "
                f"{padded_h}x{padded_w}"
            )
        geometry = {
            "h": height,
            "w": width,
            "ic": self.in_channels,
            "oc": self.out_channels,
            "kh": kernel_h,
            "kw": kernel_w,
            "oh": (padded_h - span_h) // stride_h + 1,
            "ow": (padded_w - span_w) // stride_w + 1,
            "stride_h": stride_h,
            "stride_w": stride_w,
            "pad_top": top,
            "pad_left": left,
            "pad_bottom": bottom,
            "pad_right": right,
            "dilation_h": dilation_h,
            "dilation_w": dilation_w,
            "groups": self.groups,
            "activation": 0,
            "pool": 0,
            "tile": 0,
        }
        check_geometry("Conv2D", "conv2d_forward", geometry)
        return geometry

    def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
        (source,) = inputs
        _, height, width = source.shape
        geometry = self.geometry(height, width)
        output = builder.tensor((self.out_channels, geometry["oh"], geometry["ow"]))
        builder.emit(
            "conv2d_forward",
            geometry,
            dst=output,
            src=source,
            weights=builder.parameter("weights"),
            bias=builder.parameter("bias") if self.bias else None,
        )
        return output


def _checked_padding(padding: Any) -> Padding:
    if isinstance(padding, str) and padding == "same":
        return "same"
    if isinstance(padding, (tuple, list)) and len(padding) == 4:
        return tuple(whole("Conv2D", "padding", side, "conv2d", "pad_top") for side in padding)
    if isinstance(padding, (tuple, list)) and len(padding) != 2 or isinstance(padding, str):
        raise UserError(
            f"Conv2D: padding must be a number, (height, width), (top, bottom, left, right) or 'same', "
            f"not {shown(padding)}"
        )
    return extents("Conv2D", "padding", padding, "conv2d", "pad_top")


def _same_padding(extent: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Before and after, so that the output has ceil(extent / stride) elements (TensorFlow's "SAME")."""
    outputs = -(-extent // stride)
    total = max((outputs - 1) * stride + dilation * (kernel - 1) + 1 - extent, 0)
    return total // 2, total - total // 2
