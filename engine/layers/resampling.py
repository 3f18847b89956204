"""Layers that show the pixels of a map again elsewhere: padding and upsampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.arguments import assign, pair, truth
from engine.errors import UserError, shown, unknown
from engine.layers.base import Layer, require_feature_map
from engine.program.code import Builder, Tensor
from engine.program.limits import check_geometry, extents, whole
from engine.program.shapes import Shape

PADDING_MODES = ("zeros", "reflect", "replicate")
"""What stands in a padding, by the numbers of cnn_padding."""

UPSAMPLING_MODES = ("nearest", "bilinear")

Sides = int | tuple[int, ...]
"""One number, (height, width) or (top, bottom, left, right)."""


@dataclass(frozen=True)
class Pad2D(Layer):
    """Rows and columns round a (C, H, W) map: (C, top + H + bottom, left + W + right).

    `padding`: one number, (height, width) or (top, bottom, left, right). `mode`: "zeros"; "reflect", the map mirrored
    without its edge (b | a b c | b), which needs less padding than the map is high and wide; "replicate", its edge
    again (a | a b c | c). As PyTorch's ZeroPad2d, ReflectionPad2d and ReplicationPad2d.
    """

    padding: Sides
    mode: str = "zeros"

    def __post_init__(self) -> None:
        assign(
            self,
            padding=checked_sides("Pad2D", self.padding, "pad2d"),
            mode=one_of("Pad2D", "mode", self.mode, PADDING_MODES),
        )

    def pads(self, height: int, width: int) -> tuple[int, int, int, int]:
        """(top, bottom, left, right), of an image of any size."""
        return sides(self.padding)

    def output_shape(self, *shapes: Shape) -> Shape:
        return _padded_shape(
            pad_geometry("Pad2D", require_feature_map(self, shapes[0]), sides(self.padding), self.mode)
        )

    def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
        (source,) = inputs
        return pad(builder, "Pad2D", source, sides(self.padding), self.mode)


@dataclass(frozen=True)
class PadChannels(Layer):
    """Channels of zeros, `before` and `after` those of the input; `after` defaults to as many as before.

    What a shortcut without weights does where a residual network gets wider (He et al. 2016, option A). Vectors get
    elements.
    """

    before: int
    after: int | None = None

    def __post_init__(self) -> None:
        after = None if self.after is None else self._checked("after", self.after)
        assign(self, before=self._checked("before", self.before), after=after)

    def _checked(self, name: str, value: Any) -> int:
        return whole("PadChannels", name, value, "pad2d", "channels_before")

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        padded = _padded_shape(self._geometry(shape))
        return padded[: len(shape)]

    def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
        (source,) = inputs
        output = builder.tensor(self.output_shape(source.shape))
        builder.emit("pad2d_forward", self._geometry(source.shape), dst=output, src=source)
        return output

    def _geometry(self, shape: Shape) -> dict[str, int]:
        channels = self.before, self.before if self.after is None else self.after
        image = (shape[0], shape[1], shape[2]) if len(shape) == 3 else (shape[0], 1, 1)
        return pad_geometry("PadChannels", image, (0, 0, 0, 0), "zeros", channels)


@dataclass(frozen=True)
class Upsample2D(Layer):
    """A (C, H, W) map, `scale` times as high and wide, as PyTorch's Upsample. `scale`: a whole number or
    (height, width).

    `mode` "nearest": every pixel as a block. "bilinear": between the four pixels round a place, where `align_corners`
    says how places of the result lie in the source. False: by the centres of pixels, (i + 1/2) / scale - 1/2, held
    inside the map (ONNX Resize: half_pixel). True: the corner pixels on each other, i * (H - 1) / (OH - 1) (ONNX
    Resize: align_corners). A pixel without weight does not count, were it NaN.
    """

    scale: int | tuple[int, int]
    mode: str = "nearest"
    align_corners: bool = False

    def __post_init__(self) -> None:
        assign(
            self,
            scale=extents("Upsample2D", "scale", self.scale, "upsample2d", "scale_h"),
            mode=one_of("Upsample2D", "mode", self.mode, UPSAMPLING_MODES),
            align_corners=truth("Upsample2D", "align_corners", self.align_corners),
        )
        if self.align_corners and self.mode == "nearest":
            raise UserError("Upsample2D: align_corners goes with mode 'bilinear', not with 'nearest'")

    def output_shape(self, *shapes: Shape) -> Shape:
        channels, height, width = require_feature_map(self, shapes[0])
        self._geometry(channels, height, width)
        scale_h, scale_w = pair(self.scale)
        return channels, height * scale_h, width * scale_w

    def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
        (source,) = inputs
        channels, height, width = source.shape
        output = builder.tensor(self.output_shape(source.shape))
        builder.emit("upsample2d_forward", self._geometry(channels, height, width), dst=output, src=source)
        return output

    def _geometry(self, channels: int, height: int, width: int) -> dict[str, int]:
        scale_h, scale_w = pair(self.scale)
        sampling = UPSAMPLING_MODES.index(self.mode) + self.align_corners
        geometry = {
            "h": height,
            "w": width,
            "c": channels,
            "scale_h": scale_h,
            "scale_w": scale_w,
            "sampling": sampling,
        }
        check_geometry("Upsample2D", "upsample2d_forward", geometry)
        return geometry


def pad(builder: Builder, owner: str, source: Tensor, around: tuple[int, int, int, int], mode: str) -> Tensor:
    """Emit the padding of a map by (top, bottom, left, right)."""
    channels, height, width = source.shape
    geometry = pad_geometry(owner, (channels, height, width), around, mode)
    output = builder.tensor(_padded_shape(geometry))
    builder.emit("pad2d_forward", geometry, dst=output, src=source)
    return output


def pad_geometry(
    owner: str,
    shape: tuple[int, int, int],
    around: tuple[int, int, int, int],
    mode: str,
    channels: tuple[int, int] = (0, 0),
) -> dict[str, int]:
    """The fields of cnn_pad2d_geometry for a (C, H, W) map; UserError where the core cannot compute them."""
    top, bottom, left, right = around
    if mode == "reflect" and (max(top, bottom) >= shape[1] or max(left, right) >= shape[2]):
        raise UserError(
            f"{owner}: a reflect padding must be less than the extent that it mirrors, but a map of "
            f"{shape[1]}x{shape[2]} has (top, bottom, left, right) = {around}"
        )
    geometry = {
        "h": shape[1],
        "w": shape[2],
        "c": shape[0],
        "pad_top": top,
        "pad_left": left,
        "pad_bottom": bottom,
        "pad_right": right,
        "channels_before": channels[0],
        "channels_behind": channels[1],
        "mode": PADDING_MODES.index(mode),
    }
    check_geometry(owner, "pad2d_forward", geometry)
    return geometry


def _padded_shape(geometry: dict[str, int]) -> tuple[int, int, int]:
    return (
        geometry["channels_before"] + geometry["c"] + geometry["channels_behind"],
        geometry["pad_top"] + geometry["h"] + geometry["pad_bottom"],
        geometry["pad_left"] + geometry["w"] + geometry["pad_right"],
    )


def checked_sides(owner: str, padding: Any, kind: str, also: str = "") -> Sides:
    """A padding within the limits of this kind of geometry; `also` names what else the argument may be."""
    if isinstance(padding, (tuple, list)) and len(padding) == 4:
        return tuple(whole(owner, "padding", side, kind, "pad_top") for side in padding)
    if isinstance(padding, (tuple, list)) and len(padding) != 2 or isinstance(padding, str):
        forms = ["a number", "(height, width)", "(top, bottom, left, right)", *([also] if also else [])]
        raise UserError(f"{owner}: padding must be {', '.join(forms[:-1])} or {forms[-1]}, not {shown(padding)}")
    return extents(owner, "padding", padding, kind, "pad_top")


def sides(padding: Sides) -> tuple[int, int, int, int]:
    """A checked padding as (top, bottom, left, right)."""
    if isinstance(padding, int):
        return (padding,) * 4
    if len(padding) == 2:
        return padding[0], padding[0], padding[1], padding[1]
    top, bottom, left, right = padding
    return top, bottom, left, right


def one_of(owner: str, name: str, value: Any, known: Sequence[str]) -> str:
    """`value` where it is one of these words; UserError otherwise."""
    if not isinstance(value, str):
        raise UserError(f"{owner}: {name} must be one of {', '.join(known)}, not {shown(value)}")
    if value not in known:
        raise unknown(f"{name} of {owner}:", value, known)
    return value
