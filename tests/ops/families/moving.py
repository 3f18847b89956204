"""Ops that move elements: padding, upsampling, transposition, channels."""

from dataclasses import dataclass

from numpy.typing import NDArray

from tests.ops import oracle
from tests.ops.families.base import Family, Function, OpCall, wide
from tests.ops.layouts import to_nhwc
from tests.ops.oracle import Padded

PADDINGS = ("constant", "reflect", "edge")  # numpy.pad's names, in the order of cnn_padding


SAMPLINGS = ("nearest", "half_pixel", "aligned")  # in the order of cnn_sampling


@dataclass(frozen=True)
class Pad2D(Family):
    batch: int
    h: int
    w: int
    c: int
    pad: tuple[int, int, int, int] = (1, 1, 1, 1)  # top, left, bottom, right
    mode: str = "constant"
    channels: tuple[int, int] = (0, 0)

    def draw(self) -> tuple[NDArray, NDArray]:
        rng, (top, left, bottom, right) = self.rng(), self.pad
        out = self.c + sum(self.channels), self.h + top + bottom, self.w + left + right
        return self.normal(rng, self.batch, self.c, self.h, self.w), self.normal(rng, self.batch, *out)

    def calls(self) -> list[OpCall]:
        src, diff_dst = self.draw()
        how = Padded(self.pad, self.mode, self.channels)
        top, left, bottom, right = self.pad
        geometry = {
            "h": self.h, "w": self.w, "c": self.c, "pad_top": top, "pad_left": left, "pad_bottom": bottom,
            "pad_right": right, "channels_before": self.channels[0], "channels_behind": self.channels[1],
            "mode": PADDINGS.index(self.mode),
        }  # fmt: skip
        diff_src = oracle.pad2d_gradient(how, *wide(diff_dst), (self.h, self.w))
        return [
            OpCall(
                "pad2d_forward", geometry, self.batch, {"src": to_nhwc(src)}, {"dst": to_nhwc(oracle.pad2d(how, src))},
                exact=True,
            ),
            OpCall(
                "pad2d_backward", geometry, self.batch, {"diff_dst": to_nhwc(diff_dst)}, {"diff_src": to_nhwc(diff_src)}
            ),
        ]  # fmt: skip

    def function(self) -> Function:
        how = Padded(self.pad, self.mode, self.channels)
        return Function(
            lambda src: oracle.pad2d(how, src),
            lambda diff_dst, src: (oracle.pad2d_gradient(how, diff_dst, (self.h, self.w)),),
            tuple(wide(self.draw()[0])),
        )


@dataclass(frozen=True)
class Upsample2D(Family):
    batch: int
    h: int
    w: int
    c: int
    scale: tuple[int, int] = (2, 2)
    sampling: str = "nearest"

    def draw(self) -> tuple[NDArray, NDArray]:
        rng, out = self.rng(), (self.h * self.scale[0], self.w * self.scale[1])
        return self.normal(rng, self.batch, self.c, self.h, self.w), self.normal(rng, self.batch, self.c, *out)

    def calls(self) -> list[OpCall]:
        src, diff_dst = self.draw()
        geometry = {
            "h": self.h, "w": self.w, "c": self.c, "scale_h": self.scale[0], "scale_w": self.scale[1],
            "sampling": SAMPLINGS.index(self.sampling),
        }  # fmt: skip
        dst = oracle.upsample2d(self.scale, self.sampling, *wide(src))
        diff_src = oracle.upsample2d_gradient(self.scale, self.sampling, *wide(diff_dst))
        return [
            OpCall("upsample2d_forward", geometry, self.batch, {"src": to_nhwc(src)}, {"dst": to_nhwc(dst)}),
            OpCall(
                "upsample2d_backward", geometry, self.batch, {"diff_dst": to_nhwc(diff_dst)},
                {"diff_src": to_nhwc(diff_src)},
            ),
        ]  # fmt: skip

    def function(self) -> Function:
        return Function(
            lambda src: oracle.upsample2d(self.scale, self.sampling, src),
            lambda diff_dst, src: (oracle.upsample2d_gradient(self.scale, self.sampling, diff_dst),),
            tuple(wide(self.draw()[0])),
        )


@dataclass(frozen=True)
class Transpose(Family):
    """The two moves between N C H W and N H W C."""

    batch: int
    h: int
    w: int
    c: int

    def calls(self) -> list[OpCall]:
        images = self.normal(self.rng(), self.batch, self.c, self.h, self.w)
        geometry = {"h": self.h, "w": self.w, "c": self.c}
        inside = to_nhwc(images)
        return [
            OpCall("nchw_to_nhwc", geometry, self.batch, {"src": images}, {"dst": inside}, exact=True),
            OpCall("nhwc_to_nchw", geometry, self.batch, {"src": inside}, {"dst": images}, exact=True),
        ]


@dataclass(frozen=True)
class CopyChannels(Family):
    """One slice into a concatenation; what lies beside it in dst must stay."""

    batch: int
    rows: int
    channels: int
    src_stride: int
    src_offset: int
    dst_stride: int
    dst_offset: int

    def calls(self) -> list[OpCall]:
        rng = self.rng()
        src = self.normal(rng, self.batch * self.rows, self.src_stride)
        before = self.normal(rng, self.batch * self.rows, self.dst_stride)
        after = before.copy()
        after[:, self.dst_offset : self.dst_offset + self.channels] = src[
            :, self.src_offset : self.src_offset + self.channels
        ]
        geometry = {
            "rows": self.rows, "channels": self.channels, "src_stride": self.src_stride,
            "src_offset": self.src_offset, "dst_stride": self.dst_stride, "dst_offset": self.dst_offset,
        }  # fmt: skip
        inputs = {"src": src, "dst": before}
        return [OpCall("copy_channels", geometry, self.batch, inputs, {"dst": after}, exact=True)]
