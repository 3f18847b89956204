"""Two-dimensional convolution, and its transpose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from engine.arguments import assign, pair, truth
from engine.errors import UserError
from engine.layers.base import Layer, require_feature_map
from engine.layers.resampling import PADDING_MODES, Sides, checked_sides, one_of, pad, pad_geometry, sides
from engine.program.code import Builder, Tensor
from engine.program.limits import check_geometry, extents, whole
from engine.program.shapes import Shape, spatial
from engine.program.slots import ParameterSpec

Padding = Sides | str


@dataclass(frozen=True)
class Conv2D(Layer):
    """Cross-correlation of a (C, H, W) map with `out_channels` filters, as PyTorch's Conv2d.

    `kernel`, `stride`, `dilation`: one number or (height, width). `padding`: one number, (height, width),
    (top, bottom, left, right), or "same": OH = ceil(H / stride), the odd row and column at bottom and right (Keras).
    Weights are (out, in/groups, KH, KW), the bias (out,).
    OH = floor((H + top + bottom - dilation*(KH-1) - 1) / stride) + 1. `padding_mode`: what stands in the padding, as
    the modes of Pad2D; "reflect" needs less padding than the map is high and wide.
    """

    in_channels: int
    out_channels: int
    kernel: int | tuple[int, int]
    stride: int | tuple[int, int] = 1
    padding: Padding = 0
    dilation: int | tuple[int, int] = 1
    groups: int = 1
    bias: bool = True
    padding_mode: str = "zeros"

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
            padding_mode=one_of("Conv2D", "padding_mode", self.padding_mode, PADDING_MODES),
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
        assert not isinstance(self.padding, str)
        return sides(self.padding)

    def padded(self, *shapes: Shape) -> int:
        channels, height, width = shapes[0]
        top, bottom, left, right = self.pads(height, width)
        padding = top or bottom or left or right
        return channels * (height + top + bottom) * (width + left + right) if padding else 0

    def geometry(self, height: int, width: int) -> dict[str, Any]:
        """The fields of cnn_conv2d_geometry for an image of this size; UserError where the core cannot compute them.

        With a padding that is not of zeros they are of the padded image, which an op before makes.
        """
        kernel_h, kernel_w = pair(self.kernel)
        stride_h, stride_w = pair(self.stride)
        dilation_h, dilation_w = pair(self.dilation)
        top, bottom, left, right = self.pads(height, width)
        if self.padding_mode != "zeros":
            shape = self.in_channels, height, width
            pad_geometry("Conv2D", shape, (top, bottom, left, right), self.padding_mode)
            height, width = top + height + bottom, left + width + right
            top = bottom = left = right = 0
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
        if self.padding_mode != "zeros":
            source = pad(builder, "Conv2D", source, self.pads(height, width), self.padding_mode)
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


@dataclass(frozen=True)
class ConvTranspose2D(Layer):
    """The transpose of a convolution, as PyTorch's ConvTranspose2d: it maps as a Conv2D's gradient by its input does.

    `kernel`, `stride`, `output_padding`, `dilation`: one number or (height, width). `padding`: one number, (height,
    width) or (top, bottom, left, right), which is cut off the result; `output_padding`, less than the stride, adds rows
    at the bottom and columns at the right. Weights are (in, out/groups, KH, KW), the bias (out,).
    OH = (H - 1) * stride - top - bottom + dilation*(KH-1) + 1 + output_padding. In plans and in choices of algorithms
    its passes have the names of that convolution's: what computes its output is called backward_data.
    """

    in_channels: int
    out_channels: int
    kernel: int | tuple[int, int]
    stride: int | tuple[int, int] = 1
    padding: Sides = 0
    output_padding: int | tuple[int, int] = 0
    groups: int = 1
    bias: bool = True
    dilation: int | tuple[int, int] = 1

    kind: ClassVar[str] = "conv"

    def __post_init__(self) -> None:
        name = "ConvTranspose2D"
        assign(
            self,
            in_channels=whole(name, "in_channels", self.in_channels, "conv2d", "oc"),
            out_channels=whole(name, "out_channels", self.out_channels, "conv2d", "ic"),
            kernel=extents(name, "kernel", self.kernel, "conv2d", "kh"),
            stride=extents(name, "stride", self.stride, "conv2d", "stride_h"),
            padding=checked_sides(name, self.padding, "conv2d"),
            output_padding=extents(name, "output_padding", self.output_padding, "conv2d", "pad_bottom"),
            groups=whole(name, "groups", self.groups, "conv2d", "groups"),
            bias=truth(name, "bias", self.bias),
            dilation=extents(name, "dilation", self.dilation, "conv2d", "dilation_h"),
        )
        for argument, channels in (("in_channels", self.in_channels), ("out_channels", self.out_channels)):
            if channels % self.groups:
                raise UserError(f"{name}: {argument} = {channels} is not a multiple of groups = {self.groups}")
        if any(more >= step for more, step in zip(pair(self.output_padding), pair(self.stride), strict=True)):
            raise UserError(f"{name}: output_padding {self.output_padding} must be less than the stride {self.stride}")

    def pads(self, height: int, width: int) -> tuple[int, int, int, int]:
        """(top, bottom, left, right), of an image of any size."""
        return sides(self.padding)

    def output_shape(self, *shapes: Shape) -> Shape:
        channels, height, width = require_feature_map(self, shapes[0])
        if channels != self.in_channels:
            raise UserError(
                f"ConvTranspose2D has in_channels = {self.in_channels}, but its input has {channels} channels"
            )
        geometry = self.geometry(height, width)
        return self.out_channels, geometry["h"], geometry["w"]

    def parameters(self) -> tuple[ParameterSpec, ...]:
        kernel_h, kernel_w = pair(self.kernel)
        outputs, area = self.out_channels // self.groups, kernel_h * kernel_w
        weights = ParameterSpec(
            "weights",
            (self.in_channels, outputs, kernel_h, kernel_w),
            "weights",
            fan_in=outputs * area,  # PyTorch counts the second extent of any weights as inputs
            fan_out=self.in_channels * area,
        )
        return (weights, ParameterSpec("bias", (self.out_channels,), "bias")) if self.bias else (weights,)

    def geometry(self, height: int, width: int) -> dict[str, Any]:
        """The fields of cnn_conv2d_geometry of the convolution that this is the transpose of: its output is our input,
        of this size. UserError where the core cannot compute them."""
        kernel_h, kernel_w = pair(self.kernel)
        stride_h, stride_w = pair(self.stride)
        dilation_h, dilation_w = pair(self.dilation)
        more_h, more_w = pair(self.output_padding)
        top, bottom, left, right = sides(self.padding)
        whole_h = (height - 1) * stride_h + dilation_h * (kernel_h - 1) + 1 + more_h
        whole_w = (width - 1) * stride_w + dilation_w * (kernel_w - 1) + 1 + more_w
        if whole_h <= top + bottom or whole_w <= left + right:
            raise UserError(
                f"ConvTranspose2D: the padding, (top, bottom, left, right) = {(top, bottom, left, right)}, leaves "
                f"nothing of the {whole_h}x{whole_w} pixels that a map of {height}x{width} gives"
            )
        geometry = {
            "h": whole_h - top - bottom,
            "w": whole_w - left - right,
            "ic": self.out_channels,
            "oc": self.in_channels,
            "kh": kernel_h,
            "kw": kernel_w,
            "oh": height,
            "ow": width,
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
        check_geometry("ConvTranspose2D", "conv2d_backward_data", geometry)
        return geometry

    def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
        (source,) = inputs
        _, height, width = source.shape
        output = builder.tensor(self.output_shape(source.shape))
        weights = builder.parameter("weights")
        geometry = self.geometry(height, width)
        builder.emit("conv2d_backward_data", geometry, diff_src=output, diff_dst=source, weights=weights)
        if not self.bias:
            return output
        shifted = builder.tensor(output.shape)
        rows = {"rows": spatial(output.shape), "c": self.out_channels}
        builder.emit("add_channels", rows, dst=shifted, src=output, bias=builder.parameter("bias"))
        return shifted


def _checked_padding(padding: Any) -> Padding:
    if isinstance(padding, str) and padding == "same":
        return padding
    return checked_sides("Conv2D", padding, "conv2d", "'same'")


def _same_padding(extent: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Before and after, so that the output has ceil(extent / stride) elements (TensorFlow's "SAME")."""
    outputs = -(-extent // stride)
    total = max((outputs - 1) * stride + dilation * (kernel - 1) + 1 - extent, 0)
    return total // 2, total - total // 2
